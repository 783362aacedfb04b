/** Trees: what is a leaf, what order leaves have, and where two trees differ. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import {
  countLeaves,
  difference,
  flatten,
  leafPaths,
  leavesOf,
  mapTree,
  structureKey,
  unflatten,
} from "../../graph/tree.ts";
import "../seed.ts";

/** Stands for a tensor: the module knows none. */
class Leaf {
  constructor(readonly value: number) {}
}
const isLeaf = (x: unknown): x is Leaf => x instanceof Leaf;
const leaf = (value: number): Leaf => new Leaf(value);
const values = (tree: unknown): number[] => flatten(tree, isLeaf).leaves.map((x) => x.value);

Deno.test("flatten() takes keys in sorted order and arrays in theirs", () => {
  assertEquals(values({ b: leaf(1), a: [leaf(2), { d: leaf(3), c: leaf(4) }] }), [2, 4, 3, 1]);
  assertEquals(values(leaf(7)), [7]);
  assertEquals(values([]), []);
});

Deno.test("flatten() keeps static values in the structure", () => {
  const tree = { a: leaf(1), n: 3, s: "x", t: true, u: undefined, z: null };
  const { leaves, structure } = flatten(tree, isLeaf);
  assertEquals(leaves.length, 1);
  assertEquals(unflatten(structure, leaves), tree);
});

Deno.test("structureKey() tells apart what does not fit, and only that", () => {
  const key = (tree: unknown): string => structureKey(flatten(tree, isLeaf).structure);
  assertEquals(key({ a: leaf(1), b: leaf(2) }), key({ b: leaf(3), a: leaf(4) }));
  const all = [
    leaf(1),
    [leaf(1)],
    [leaf(1), leaf(2)],
    { a: leaf(1) },
    { b: leaf(1) },
    [[leaf(1)]],
    1,
    "1",
    "*",
    null,
    undefined,
    "null",
    true,
    [],
    {},
    { "a,b": 1 },
    { a: 1, b: 1 },
    0,
    -0,
    NaN,
    ["*"],
  ];
  const keys = all.map(key);
  assertEquals(new Set(keys).size, all.length);
  all.forEach((a, i) =>
    all.forEach((b, j) => {
      const found = difference(flatten(a, isLeaf).structure, flatten(b, isLeaf).structure);
      assertEquals(found === undefined, i === j, `${keys[i]} and ${keys[j]}: ${found}`);
    })
  );
});

Deno.test("leafPaths() joins keys by dots", () => {
  const { structure } = flatten({ l: [{ w: leaf(1), b: leaf(2) }], a: leaf(3), n: 1 }, isLeaf);
  assertEquals(leafPaths(structure), ["a", "l.0.b", "l.0.w"]);
  assertEquals(countLeaves(structure), 3);
});

Deno.test("flatten() names the path of what is no tree", () => {
  const bad = { layers: [leaf(1), { "odd key": new Map() }] };
  assertThrows(
    () => flatten(bad, isLeaf, "params"),
    TypeError,
    'params.layers[1]["odd key"] is a Map, expected a tensor',
  );
  assertThrows(() => flatten([() => 1], isLeaf), TypeError, "tree[0] is a function");
  assertThrows(() => flatten({ x: new Float32Array(2) }, isLeaf), TypeError, "a Float32Array");
  assertThrows(() => flatten({ x: 1n }, isLeaf), TypeError, "tree.x is a bigint");
});

Deno.test("flatten() reports a cycle instead of overflowing the stack", () => {
  const cycle: unknown[] = [];
  cycle.push(cycle);
  assertThrows(() => flatten(cycle, isLeaf), RangeError, "without cycles");
});

Deno.test("mapTree() goes over trees in step and names where they differ", () => {
  const add = (...leaves: Leaf[]): Leaf => leaf(leaves.reduce((n, x) => n + x.value, 0));
  const sum = mapTree(isLeaf, add, { a: leaf(1), b: [leaf(2)] }, { b: [leaf(30)], a: leaf(10) });
  assertEquals(values(sum), [11, 32]);
  const differ = (other: unknown): unknown => mapTree(isLeaf, add, { a: [leaf(1)] }, other);
  assertThrows(() => differ({ a: [leaf(1), leaf(2)] }), TypeError, "at a: 1 and 2 items");
  assertThrows(() => differ({ a: [3] }), TypeError, "at a[0]: a tensor and 3");
  assertThrows(() => differ({ b: [leaf(1)] }), TypeError, 'only one has the key "a"');
  assertThrows(() => differ([leaf(1)]), TypeError, "at the root");
});

Deno.test("unflatten() refuses the wrong number of leaves", () => {
  const { structure } = flatten([leaf(1), leaf(2)], isLeaf);
  assertThrows(() => unflatten(structure, [leaf(1), leaf(2), leaf(3)]), RangeError, "3 leaves");
});

Deno.test("flatten() and unflatten() are inverse", () => {
  const { tree } = fc.letrec((tie) => ({
    tree: fc.oneof(
      { maxDepth: 4 },
      fc.integer().map(leaf),
      fc.oneof(fc.integer(), fc.string(), fc.boolean(), fc.constant(null)),
      fc.array(tie("tree"), { maxLength: 4 }),
      fc.dictionary(fc.string(), tie("tree"), { maxKeys: 4 }),
      fc.constant(JSON.parse('{"__proto__": 1}')),
    ),
  }));
  fc.assert(
    fc.property(tree, (value) => {
      const { leaves, structure } = flatten(value, isLeaf);
      const again = flatten(unflatten(structure, leaves), isLeaf);
      assertEquals(again.leaves, leaves);
      assert(structureKey(again.structure) === structureKey(structure));
      assertEquals(leafPaths(structure).length, leaves.length);
    }),
    { seed: 11 },
  );
});

Deno.test("leavesOf() takes leaves in flatten()'s order, from trees of the same structure alone", () => {
  const { structure } = flatten({ b: [leaf(1), 2, undefined], a: leaf(3) }, isLeaf);
  const found = (tree: unknown) => leavesOf(structure, tree, isLeaf)?.map(({ value }) => value);
  assertEquals(found({ b: [leaf(4), 2, undefined], a: leaf(5) }), [5, 4]);
  assertEquals(found(Object.assign(Object.create(null), { a: leaf(6), b: [leaf(7), 2, ,] })), [
    6,
    7,
  ]);
  const others = [
    leaf(1),
    null,
    2,
    [],
    { a: leaf(1) },
    { a: leaf(1), c: [leaf(1), 2, undefined] },
    { a: leaf(1), b: [leaf(1), 2, undefined], c: undefined },
    { a: leaf(1), b: [leaf(1), 2] },
    { a: leaf(1), b: [leaf(1), "2", undefined] },
    { a: leaf(1), b: [leaf(1), leaf(2), undefined] },
    { a: leaf(1), b: [1, 2, undefined] },
    { a: leaf(1), b: { 0: leaf(1), 1: 2, 2: undefined } },
    { a: [leaf(1)], b: [leaf(1), 2, undefined] },
    new (class {
      a = leaf(1);
      b = [leaf(1), 2, undefined];
    })(),
  ];
  for (const other of others) assertEquals(found(other), undefined);
});

Deno.test("leavesOf() and structureKey() agree on which trees fit", () => {
  const { tree } = fc.letrec<{ tree: unknown; list: unknown; record: unknown }>((tie) => ({
    tree: fc.oneof(
      { maxDepth: 2 },
      fc.integer().map(leaf),
      fc.constantFrom(0, -0, NaN, "x", null, undefined, true),
      tie("list"),
      tie("record"),
    ),
    list: fc.array(tie("tree"), { maxLength: 2 }),
    record: fc.dictionary(fc.constantFrom("a", "b", "__proto__"), tie("tree"), { maxKeys: 2 }),
  }));
  fc.assert(fc.property(tree, tree, (a, b) => {
    const from = flatten(a, isLeaf), to = flatten(b, isLeaf);
    const fit = structureKey(from.structure) === structureKey(to.structure);
    assertEquals(leavesOf(from.structure, b, isLeaf), fit ? to.leaves : undefined);
    assertEquals(leavesOf(to.structure, b, isLeaf), to.leaves);
  }));
});
