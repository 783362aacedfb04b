import { assertEquals, assertRejects } from "@std/assert";
import { join } from "@std/path";
import { tensor } from "../../graph/create.ts";
import { loadTree, saveTree } from "../../train/checkpoint.ts";
import { assertValues, installHost } from "../graph/host.ts";

installHost();

async function inFolder(f: (out: string) => Promise<void>): Promise<void> {
  const out = await Deno.makeTempDir();
  try {
    await f(out);
  } finally {
    await Deno.remove(out, { recursive: true });
  }
}

const tree = () => ({
  layers: [{ weight: tensor([[1, 2]]), bias: null }, {
    weight: tensor([[3, 4]]),
    bias: tensor([5]),
  }],
  step: tensor(4294967295, { dtype: "u32" }),
  flags: tensor([true, false]),
  "odd.name": tensor([0.5], { dtype: "f16" }),
  rate: 0.1,
});

Deno.test("loadTree() reads back what saveTree() wrote", async () => {
  await inFolder(async (folder) => {
    const path = join(folder, "deep", "tree.safetensors");
    await saveTree(path, tree(), { note: "x" });
    const { tree: read, metadata } = await loadTree(path, tree());
    assertEquals(metadata, { note: "x" });
    await assertValues(read.layers[1]!.weight, [[3, 4]]);
    assertEquals(await read.step.array(), 4294967295);
    assertEquals(await read.flags.array(), [true, false]);
    assertEquals([read["odd.name"].dtype, read.rate, read.layers[0]!.bias], ["f16", 0.1, null]);
    // Nothing but the file is left behind.
    assertEquals([...Deno.readDirSync(join(folder, "deep"))].map((e) => e.name), [
      "tree.safetensors",
    ]);
  });
});

Deno.test("saveTree() computes what is still an expression, and takes a single tensor", async () => {
  await inFolder(async (folder) => {
    const path = join(folder, "one.safetensors");
    await saveTree(path, tensor([1, 2]).mul(2));
    await assertValues((await loadTree(path, tensor([0, 0]))).tree, [2, 4]);
  });
});

Deno.test("loadTree() refuses a file that does not fit, naming the tensor", async () => {
  await inFolder(async (folder) => {
    const path = join(folder, "tree.safetensors");
    await saveTree(path, { a: tensor([1, 2]), b: tensor(3) });
    const load = (like: Parameters<typeof loadTree>[1], message: string) =>
      assertRejects(() => loadTree(path, like), TypeError, message);
    await load({ a: tensor([1, 2]), c: tensor(3) }, "it has no c, expected f32[]");
    await load({ a: tensor([1]), b: tensor(3) }, "its a is f32[2], expected f32[1]");
    await load(
      { a: tensor([1, 2]), b: tensor(3, { dtype: "i32" }) },
      "its b is f32[], expected i32[]",
    );
    await load({ a: tensor([1, 2]) }, "it has a tensor b, expected none");
    await assertRejects(() => loadTree(join(folder, "none"), tensor(1)), Deno.errors.NotFound);
  });
});

Deno.test("loadTree() notices every damaged byte of the tensors", async () => {
  await inFolder(async (folder) => {
    const path = join(folder, "tree.safetensors");
    const tree = { w: tensor([1, 2, 3]), n: tensor(7, { dtype: "u32" }) };
    await saveTree(path, tree, { epoch: "3" });
    const whole = await Deno.readFile(path);
    const header = Number(new DataView(whole.buffer).getBigUint64(0, true));
    for (let i = 8 + header; i < whole.length; i++) {
      const damaged = whole.slice();
      damaged[i]! ^= 1;
      await Deno.writeFile(path, damaged);
      await assertRejects(
        () => loadTree(path, tree),
        RangeError,
        "its tensors are not those that were saved, expected an undamaged file",
      );
    }
  });
});
