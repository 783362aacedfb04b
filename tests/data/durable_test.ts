import { assertEquals, assertRejects } from "@std/assert";
import { join } from "@std/path";
import { expectWritable, writeDurably } from "../../data/durable.ts";

Deno.test("writeDurably() makes folders, replaces whole files, and leaves nothing beside", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const path = join(folder, "a", "b", "file");
    await writeDurably(path, "first, and longer");
    await writeDurably(path, Uint8Array.of(104, 105));
    assertEquals(await Deno.readTextFile(path), "hi");
    await expectWritable(join(folder, "a", "b"));
    assertEquals(Array.from(Deno.readDirSync(join(folder, "a", "b")), ({ name }) => name), [
      "file",
    ]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("writeDurably() and expectWritable() say in one sentence what the system refuses", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const file = join(folder, "file"), below = join(file, "below");
    await Deno.writeTextFile(file, "kept");
    await assertRejects(() => writeDurably(below, "x"), Error, `Cannot write ${below}: `);
    await assertRejects(() => writeDurably(folder, "x"), Error, `Cannot write ${folder}: `);
    await assertRejects(() => expectWritable(file), Error, `Cannot write ${file}: `);
    assertEquals(Array.from(Deno.readDirSync(folder), ({ name }) => name), ["file"]);
    assertEquals(await Deno.readTextFile(file), "kept");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
