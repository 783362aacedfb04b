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

Deno.test("saveTree() refuses two tensors under one name, of which it could keep but one", async () => {
  await inFolder(async (folder) => {
    for (
      const tree of [{ "a.b": tensor(1), a: { b: tensor(2) } }, { "": tensor(1), value: tensor(2) }]
    ) {
      const path = join(folder, "tree.safetensors");
      await assertRejects(() => saveTree(path, tree), TypeError, "two of its tensors are at ");
      await assertRejects(() => Deno.stat(path), Deno.errors.NotFound);
    }
  });
});

Deno.test("saveTree() refuses metadata under the keys that every file has, and writes nothing", async () => {
  await inFolder(async (folder) => {
    for (const key of ["sha256", "retrograd.place"]) {
      await assertRejects(
        () => saveTree(join(folder, "tree.safetensors"), { x: tensor([1]) }, { [key]: "mine" }),
        TypeError,
        `Cannot save a tree: its metadata has ${key}`,
      );
    }
    assertEquals([...Deno.readDirSync(folder)], []);
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

Deno.test("loadTree() notices every damaged byte, also of names and metadata", async () => {
  await inFolder(async (folder) => {
    const path = join(folder, "tree.safetensors");
    const tree = { a: tensor([1, 2, 3]), b: tensor([4, 5, 6]), n: tensor(7, { dtype: "u32" }) };
    await saveTree(path, tree, { note: 'steps: 3, "sha256":"é' });
    assertEquals((await loadTree(path, tree)).metadata, { note: 'steps: 3, "sha256":"é' });
    const whole = await Deno.readFile(path);
    const header = Number(new DataView(whole.buffer).getBigUint64(0, true));
    const text = new TextDecoder("latin1").decode(whole.subarray(0, 8 + header));
    // Without the name of the digest it is a file of another program's, which has none.
    const name = text.lastIndexOf('"sha256":');
    for (let i = 8; i < whole.length; i++) {
      if (i >= name && i < name + 8) continue;
      const damaged = whole.slice();
      damaged[i]! ^= 1;
      await Deno.writeFile(path, damaged);
      await assertRejects(() => loadTree(path, tree), RangeError, "Cannot ");
    }
    // Two tensors of one shape that change places.
    const swapped = text.replace('"a":', '"x":').replace('"b":', '"a":').replace('"x":', '"b":');
    const bytes = Uint8Array.from(swapped, (letter) => letter.charCodeAt(0));
    await Deno.writeFile(path, new Uint8Array([...bytes, ...whole.subarray(8 + header)]));
    await assertRejects(
      () => loadTree(path, tree),
      RangeError,
      "it is not what was saved, expected an undamaged file",
    );
  });
});

Deno.test("loadTree() says so where there is no file, or a folder in its place", async () => {
  await inFolder(async (folder) => {
    const path = join(folder, "none");
    await assertRejects(
      () => loadTree(path, tensor(1)),
      Deno.errors.NotFound,
      `Cannot load ${path}: there is no such file, expected one that saveTree wrote`,
    );
    await assertRejects(
      () => loadTree(folder, tensor(1)),
      TypeError,
      `Cannot load ${folder}: it is a folder, expected a file`,
    );
  });
});
