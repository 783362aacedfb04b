/**
 * Regions of random graphs under the limits of small devices: whatever fusion does, every region is
 * legal, reads only what is there, and nothing is computed twice or left out.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { fuse } from "../../compile/fuse.ts";
import { lower } from "../../compile/lower.ts";
import { isArgument } from "../../compile/store.ts";
import * as build from "../../graph/build.ts";
import { is, type Node } from "../../graph/node.ts";
import { sizeOf } from "../../graph/shape.ts";
import { simplify } from "../../graph/simplify.ts";
import { defaultMaxOperations, isAnchor, legal, type Limits } from "../../kernels/legal.ts";
import { frameOf, type Region } from "../../kernels/region.ts";
import { constantOf, seed } from "../gpu.ts";
import { graphOf, recipes } from "../graphs.ts";

/** Results as fusion gets them. */
function prepared(results: readonly Node[]): Node[] {
  const roots = simplify(lower(simplify(results))).map((node) => {
    while (is(node, "reshape")) node = node.inputs[0]!;
    return node;
  });
  return [...new Set(roots.filter((n) => !isArgument(n) && sizeOf(n.shape) > 0))];
}

/** Regions, each checked. */
function checkedRegions(results: readonly Node[], limits: Limits): readonly Region[] {
  const roots = prepared(results);
  const { regions } = fuse(roots, limits);
  const written = new Set<Node>();
  regions.forEach((region, i) => {
    const { frame, outputs, inputs } = region;
    const name = `region ${i} (${frame.is})`;
    const isInput = (n: Node): boolean => inputs.includes(n);
    const verdict = legal({ frame, outputs, isInput }, limits);
    assert(typeof verdict !== "string", `${name}: ${verdict}`);
    const unread = inputs.filter((n) => !verdict.reads.has(n));
    assertEquals(unread.length, 0, `${name} binds what it does not read: ${unread[0]?.op}`);
    assert(
      inputs.length + outputs.length <= limits.maxBindings,
      `${name}: ${inputs.length} + ${outputs.length} bindings of ${limits.maxBindings}`,
    );
    for (const input of inputs) {
      assert(
        isArgument(input) || written.has(input),
        `${name} reads ${input.op} before it is there`,
      );
    }
    for (const [node] of verdict.body) {
      assert(!isArgument(node), `${name} computes an argument`);
    }
    for (const output of outputs) {
      assert(!written.has(output), `${name} writes ${output.op} again`);
      written.add(output);
    }
  });
  for (const root of roots) assert(written.has(root), `${root.op} is missing`);
  return regions;
}

const usual: Limits = { maxBindings: 8, maxOperations: defaultMaxOperations };
const limits: fc.Arbitrary<Limits> = fc.record({
  maxBindings: fc.constantFrom(4, 5, 8, 32),
  maxOperations: fc.constantFrom(1, 8, 40, defaultMaxOperations),
});

Deno.test("fuse() forms legal regions of any graph, under any limits", () => {
  console.log(`seed ${seed()}`);
  fc.assert(
    fc.property(recipes(5, 60), limits, (recipe, limits) => {
      checkedRegions(graphOf(recipe, "exact"), limits);
    }),
    { seed: seed(), numRuns: 400 },
  );
});

Deno.test("fuse() stores every reduction, product and scatter that others read, once", () => {
  fc.assert(
    fc.property(recipes(5, 40), (recipe) => {
      const anchors = new Map<Node, number>();
      for (const { outputs, inputs, frame } of checkedRegions(graphOf(recipe, "smooth"), usual)) {
        const verdict = legal({ frame, outputs, isInput: (n) => inputs.includes(n) }, usual);
        if (typeof verdict === "string") continue;
        for (const node of verdict.body.keys()) {
          if (isAnchor(node)) anchors.set(node, (anchors.get(node) ?? 0) + 1);
        }
      }
      for (const [node, times] of anchors) assertEquals(times, 1, `${node.op} is computed again`);
    }),
    { seed: seed(), numRuns: 200 },
  );
});

const input = (...shape: number[]): Node =>
  constantOf(new Array(sizeOf(shape)).fill(0), shape, "f32");

Deno.test("fuse() splits what reads more than a kernel may bind", () => {
  const leaves = Array.from({ length: 40 }, () => input(64));
  const sum = leaves.reduce((a, b) => build.binary("add", a, b));
  const sums = Array.from(
    { length: 12 },
    (_, i) => build.binary("mul", leaves[i]!, leaves[i + 9]!),
  );
  const wide = build.concatenate(leaves, 0);
  const rows = build.reduce("sum", build.concatenate(leaves, 0), [0]);
  for (const maxBindings of [4, 5, 8, 32]) {
    const limits = { maxBindings, maxOperations: defaultMaxOperations };
    checkedRegions([sum], limits);
    checkedRegions(sums, limits);
    checkedRegions([wide], limits);
    checkedRegions([rows, wide, sum], limits);
  }
});

Deno.test("fuse() splits what uses values at ever more places", () => {
  let x = input(4096);
  for (let i = 0; i < 40; i++) {
    const n = x.shape[0]!;
    x = build.binary("add", build.slice(x, [0], [n - 1]), build.slice(x, [1], [n - 1]));
  }
  checkedRegions([x], usual);
  let y = input(16, 16);
  for (let i = 0; i < 12; i++) {
    y = build.binary("mul", build.flip(y, [i % 2]), build.permute(y, [1, 0]));
    y = build.binary("sub", y, build.flip(y, [0, 1]));
  }
  checkedRegions([y], usual);
});

Deno.test("legal() names what is wrong", () => {
  const x = input(8, 16), y = input(8, 16);
  const sum = build.reduce("sum", x, [1]);
  const other = build.reduce("sum", y, [0]);
  const product = build.dot(input(1, 8, 4), input(1, 4, 8));
  const isInput = isArgument;
  const cases: readonly [Parameters<typeof legal>[0], Partial<Limits>, RegExp][] = [
    [{ frame: frameOf(sum), outputs: [sum, build.binary("add", x, y)], isInput }, {
      maxBindings: 3,
    }, /4 storage bindings/],
    [{ frame: frameOf(sum), outputs: [sum, other], isInput }, {}, /place|rows/],
    [
      {
        frame: frameOf(x),
        outputs: [build.binary("mul", build.binary("add", x, y), x)],
        isInput,
      },
      { maxOperations: 1 },
      /2 operations, at most 1/,
    ],
    [{ frame: { is: "map", size: 64 }, outputs: [product], isInput }, {}, /outside of its frame/],
    [
      {
        frame: frameOf(x),
        outputs: [build.unary("exp", x), build.flip(build.unary("exp", x), [0])],
        isInput,
      },
      {},
      /used at another place/,
    ],
    [{ frame: { is: "map", size: 7 }, outputs: [build.unary("exp", x)], isInput }, {}, /no place/],
  ];
  for (const [candidate, part, message] of cases) {
    const verdict = legal(candidate, { ...usual, ...part });
    assert(typeof verdict === "string" && message.test(verdict), `${verdict} for ${message}`);
  }
});
