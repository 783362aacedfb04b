import { assert, assertEquals } from "@std/assert";
import * as random from "../../graph/random.ts";
import type { Tensor } from "../../graph/tensor.ts";
import * as nn from "../../nn/mod.ts";
import * as optim from "../../optim/mod.ts";
import { compile } from "../../runtime/compile.ts";
import { deviceInfo } from "../../runtime/init.ts";
import { gpu } from "../gpu.ts";

Deno.test("a net trains in f16 as it does in f32, and finds its loss scale by itself", async () => {
  await gpu();
  const half = deviceInfo().features.includes("shader-f16");
  const model = nn.mlp([8, 16, 4]), x = random.normal(random.key(1), [32, 8]);
  const labels = random.randint(random.key(2), [32], 0, 4);
  const train = async (compute: "f16" | "f32" | "auto") => {
    // A loss in the precision of computation: the first scales are beyond f16.
    const mixed = optim.mixedPrecision(optim.adam({ rate: 0.01 }), { compute, scale: 2 ** 20 });
    const both = mixed.valueAndGrad((params: nn.MlpParams, x: Tensor) => {
      const logits = model.apply(params, x);
      return nn.crossEntropy(logits, labels).cast(logits.dtype);
    });
    const step = compile((state: optim.State<nn.MlpParams>, x: Tensor) => {
      const [loss, gradient] = both(state, x);
      return [mixed.update(state, gradient), loss] as const;
    }, { donate: [0] });
    let state = mixed.init(model.init(random.key(0)));
    let loss: Tensor;
    for (let i = 0; i < 120; i++) [state, loss] = step(state, x);
    const { skipped } = state.memory as optim.MixedMemory;
    return { loss: await loss!.item(), skipped: await skipped.item() };
  };
  const single = await train("f32"), automatic = await train("auto");
  assertEquals(single.skipped, 0);
  assert(single.loss < 0.7, `${single.loss}`);
  if (!half) return assertEquals(automatic, single);
  assert(automatic.skipped >= 4, `${automatic.skipped} steps skipped`);
  assert(Math.abs(automatic.loss - single.loss) < 0.1, `${automatic.loss} against ${single.loss}`);
});
