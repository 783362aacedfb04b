/** Snapshots outside of the device: they come back as they went, and nothing is left of them. */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import fc from "fast-check";
import type { Move } from "../../compile/script.ts";
import type { Outside as Store } from "../../graph/loops/replay.ts";
import type { Context } from "../../runtime/context.ts";
import { Outside } from "../../runtime/outside.ts";
import { readBlock } from "../../runtime/queue.ts";
import { Scratch } from "../../runtime/scratch.ts";
import { seed } from "../seed.ts";
import { close, openContext } from "./programs.ts";

const folder = (): string => Deno.makeTempDirSync({ prefix: "retrograd-test-" });

Deno.test("Scratch gives back what was written, in places that are used again", async () => {
  const directory = folder();
  const scratch = new Scratch("test", directory);
  assertEquals([...Deno.readDirSync(directory)], []); // Removed while it is open.
  const data = (n: number): Uint8Array => new Uint8Array(100).fill(n);
  const places = await Promise.all([1, 2, 3].map((n) => scratch.write(data(n))));
  assertEquals(places, [0, 100, 200]);
  assertEquals(await scratch.read(100, 100), data(2));
  scratch.free(100, 100);
  assertEquals(await scratch.write(data(4)), 100);
  assertEquals(await scratch.write(new Uint8Array(7).fill(5)), 300);
  assertEquals(
    await Promise.all(places.map((place) => scratch.read(place, 100))),
    [data(1), data(4), data(3)],
  );
  await assertRejects(() => scratch.read(300, 8), Error, "ends too early");
  await scratch.close();
  assertEquals([...Deno.readDirSync(directory)], []);
  Deno.removeSync(directory);
});

Deno.test("Scratch says what it lacks", async () => {
  assertThrows(
    () => new Scratch("run f", "/nowhere/at/all"),
    Error,
    "Cannot run f: snapshots go to /nowhere/at/all, which is not possible",
  );
  const module = new URL("../../runtime/scratch.ts", import.meta.url);
  const code = `import { Scratch } from "${module}"; new Scratch("run f");`;
  const directory = folder(), file = `${directory}/scratch.ts`;
  Deno.writeTextFileSync(file, code);
  const { success, stderr } = await new Deno.Command("deno", {
    args: ["run", "--no-config", "--no-prompt", file],
  }).output();
  Deno.removeSync(directory, { recursive: true });
  assert(!success);
  const text = new TextDecoder().decode(stderr);
  assert(text.includes("NotCapable: Cannot run f: snapshots go to the folder for temporary"), text);
  assert(text.includes("expected --allow-read and --allow-write for it"), text);
});

/** Some slots of unlike sizes, and ways to fill and to read them. */
function slotsOf(context: Context) {
  const blocks = [16, 256, 48].map((bytes) => context.ledger.take(bytes, "workspace"));
  const { queue } = context.device.gpu;
  const fill = (value: number): void =>
    blocks.forEach(({ gpu, bytes }, i) =>
      queue.writeBuffer(gpu, 0, new Uint32Array(bytes / 4).fill(value + i))
    );
  const values = async (): Promise<number[]> => {
    const read = await Promise.all(blocks.map((block) => readBlock(context, block, block.bytes)));
    return read.map((buffer, i) => {
      const words = new Uint32Array(buffer);
      assert(words.every((word) => word === words[0]), `slot ${i} is torn`);
      return words[0]!;
    });
  };
  return { blocks, fill, values };
}

/** All slots, under tickets of their own. */
const movesOf = (key: number): Move[] =>
  [16, 256, 48].map((bytes, slot) => ({ ticket: 100 + 3 * key + slot, slot, bytes }));

Deno.test("snapshots come back from host and disk as they went, in any order", async () => {
  const context = await openContext();
  const { blocks, fill, values } = slotsOf(context);
  const { live } = context.ledger.report();
  const action = fc.oneof(
    fc.record({
      do: fc.constant("save" as const),
      key: fc.nat(6),
      store: fc.constantFrom<Store>("host", "disk"),
    }),
    fc.record({ do: fc.constant("load" as const), key: fc.nat(6) }),
    fc.record({ do: fc.constant("drop" as const), key: fc.nat(6) }),
    fc.record({ do: fc.constant("flush" as const), key: fc.constant(0) }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(action, { minLength: 5, maxLength: 30 }), async (actions) => {
      const scratch = new Scratch("test");
      const snapshots = new Outside(context, blocks, scratch);
      const model = new Map<number, number>();
      let value = 1000;
      try {
        for (const action of actions) {
          const kept = model.get(action.key);
          if (action.do === "flush") await snapshots.flush();
          else if (action.do === "save" && kept === undefined) {
            fill(value += 10);
            await snapshots.save(action.store, movesOf(action.key));
            model.set(action.key, value);
            fill(0);
          } else if (action.do === "load" && kept !== undefined) {
            if (value % 3 === 0) snapshots.prefetch(movesOf(action.key).map((m) => m.ticket));
            await snapshots.load(movesOf(action.key));
            assertEquals(await values(), [kept, kept + 1, kept + 2]);
          } else if (action.do === "drop") {
            snapshots.drop(movesOf(action.key).map((move) => move.ticket));
            model.delete(action.key);
          }
        }
        const bytes = (store: Store): number => context.outside.report(store).live;
        assertEquals(bytes("host") + bytes("disk"), 320 * model.size);
      } finally {
        await snapshots.close();
        await scratch.close();
      }
    }),
    { seed: seed(), numRuns: 20 },
  );
  assertEquals(context.outside.report("host").live, 0);
  assertEquals(context.outside.report("disk").live, 0);
  assert(context.outside.report("host").peak >= 320);
  context.ledger.trim();
  assertEquals(context.ledger.report().live, live);
  await close(context);
});

Deno.test("snapshots leave in batches: one map for several", async () => {
  const context = await openContext();
  const { blocks, fill, values } = slotsOf(context);
  const snapshots = new Outside(context, blocks, undefined);
  let maps = 0;
  const map = GPUBuffer.prototype.mapAsync;
  GPUBuffer.prototype.mapAsync = function (...args) {
    maps++;
    return map.apply(this, args);
  };
  try {
    for (let i = 0; i < 16; i++) {
      fill(i);
      await snapshots.save("host", movesOf(i));
    }
  } finally {
    GPUBuffer.prototype.mapAsync = map;
  }
  assertEquals(maps, 4);
  await snapshots.load(movesOf(9));
  assertEquals(await values(), [9, 10, 11]);
  await assertRejects(
    () => snapshots.load([{ ticket: 99, slot: 0, bytes: 16 }]),
    Error,
    "nothing is kept for ticket 99",
  );
  await snapshots.close();
  await close(context);
});
