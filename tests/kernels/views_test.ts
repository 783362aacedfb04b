/**
 * Views as index arithmetic, without a device: where a chain of movements reads its input, for every
 * element of its result, against the oracle.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { affineBase } from "../../compile/store.ts";
import * as build from "../../graph/build.ts";
import { is, type Node } from "../../graph/node.ts";
import { kinds } from "../../graph/primitive.ts";
import { type Shape, sizeOf } from "../../graph/shape.ts";
import { constant, flatten, type Index, substitute, variable } from "../../kernels/index.ts";
import { indexKey, operandIndices } from "../../kernels/views.ts";
import { constantOf, seed } from "../gpu.ts";
import { evaluate } from "../oracle.ts";

/** The input, each element its own position. */
function positions(shape: Shape): Node {
  return constantOf(Array.from({ length: sizeOf(shape) }, (_, i) => i), shape);
}

/** Movements, bent until they fit. */
const movements: readonly ((x: Node, more: number) => Node)[] = [
  (x, more) => {
    const size = sizeOf(x.shape);
    const first = [1, 2, 3, 4, 6].filter((n) => size % n === 0)[more % 2] ?? 1;
    return build.reshape(x, more % 3 ? [first, size / first] : [size]);
  },
  (x, more) => build.permute(x, x.shape.map((_, i) => (i + 1 + more) % x.shape.length)),
  (x) => build.permute(x, x.shape.map((_, i) => i).reverse()),
  (x, more) => build.broadcastTo(x, [1 + more % 3, ...x.shape]),
  (x, more) => build.flip(x, [more % x.shape.length]),
  (x, more) => {
    const start = x.shape.map((n) => more % n), step = x.shape.map((_, i) => 1 + (more + i) % 3);
    const size = x.shape.map((n, i) => Math.floor((n - 1 - start[i]!) / step[i]!) + 1);
    return build.slice(x, start, size, step);
  },
  (x, more) => build.pad(x, x.shape.map((_, i) => (more + i) % 3), x.shape.map(() => more % 2), -1),
  (x, more) => {
    const axis = more % x.shape.length;
    return build.concatenate([build.flip(x, [axis]), x], axis);
  },
];

function chainOf(shape: Shape, steps: readonly (readonly [number, number])[]): Node {
  let x = positions(shape);
  for (const [which, more] of steps) {
    const next = movements[which % movements.length]!(x, more);
    if (sizeOf(next.shape) <= 300) x = next;
  }
  return x;
}

const shapes = fc.constantFrom<Shape>([12], [3, 4], [2, 3, 4], [5, 7], [1, 6], [8], [4, 1, 3]);
const steps = fc.array(fc.tuple(fc.nat(99), fc.nat(99)), { maxLength: 6 });

/** Where the leaf below is read, following the element to the part of a concatenation it is in. */
function readAt(node: Node, at: readonly number[]): number | undefined {
  const names = at.map((_, i) => `i${i}`);
  let index: readonly Index[] = names.map((name, i) => variable(name, node.shape[i]!));
  const place = new Map(names.map((name, i) => [name, constant(at[i]!)]));
  const valueOf = (e: Index): number => {
    const value = substitute(e, place);
    assertEquals(value.terms.length, 0, `${e.key} is not known at ${at}`);
    return value.constant;
  };
  while (kinds[node.op] === "movement") {
    const before = index.map(valueOf);
    const indices = operandIndices(node, index);
    let part = 0;
    if (is(node, "pad")) {
      const { before: widths } = node.attributes, x = node.inputs[0]!;
      if (before.some((b, i) => b < widths[i]! || b >= widths[i]! + x.shape[i]!)) return undefined;
    }
    if (is(node, "concatenate")) {
      let rest = before[node.attributes.axis]!;
      while (rest >= node.inputs[part]!.shape[node.attributes.axis]!) {
        rest -= node.inputs[part++]!.shape[node.attributes.axis]!;
      }
    }
    index = indices[part]!;
    node = node.inputs[part]!;
    index.forEach((e, i) => {
      const value = valueOf(e);
      assert(value >= 0 && value < node.shape[i]!, `${value} is outside of axis ${i}`);
    });
  }
  return valueOf(flatten(index, node.shape));
}

function* everyIndex(shape: Shape): Generator<number[]> {
  const size = sizeOf(shape);
  for (let position = 0; position < size; position++) {
    const index: number[] = [];
    let rest = position;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      index[axis] = rest % shape[axis]!;
      rest = Math.floor(rest / shape[axis]!);
    }
    yield index;
  }
}

Deno.test("operandIndices() finds every element of chains of views", () => {
  fc.assert(
    fc.property(shapes, steps, (shape, steps) => {
      const node = chainOf(shape, steps);
      const wanted = evaluate([node])[0]!.data;
      let position = 0;
      for (const at of everyIndex(node.shape)) {
        assertEquals((readAt(node, at) ?? -1) + 0, wanted[position++]! + 0, `at ${at}`);
      }
    }),
    { seed: seed(), numRuns: 300 },
  );
});

Deno.test("affineBase() is a base only where the address is a sum of multiples", () => {
  fc.assert(
    fc.property(shapes, steps, (shape, steps) => {
      const node = chainOf(shape, steps);
      const base = affineBase(node);
      if (base === undefined || base.op !== "leaf" || node.op === "leaf") return;
      const data = evaluate([node])[0]!.data;
      // Differences along each axis are the same everywhere.
      const strides = node.shape.map((_, axis) =>
        node.shape.slice(axis + 1).reduce((a, b) => a * b, 1)
      );
      let position = 0;
      for (const at of everyIndex(node.shape)) {
        let expected = data[0]!;
        at.forEach((i, axis) => {
          if (i > 0) expected += i * (data[strides[axis]!]! - data[0]!);
        });
        assertEquals(data[position++], expected);
      }
    }),
    { seed: seed(), numRuns: 300 },
  );
});

Deno.test("equal places have equal keys, however they were arrived at", () => {
  const x = positions([4, 6]);
  const index = [variable("a", 4), variable("b", 6)];
  const through = (node: Node, at: readonly Index[]): readonly Index[] => {
    while (kinds[node.op] === "movement") {
      at = operandIndices(node, at)[0]!;
      node = node.inputs[0]!;
    }
    return at;
  };
  const same = [
    build.permute(build.permute(x, [1, 0]), [1, 0]),
    build.flip(build.flip(x, [0]), [0]),
    build.reshape(build.reshape(x, [3, 8]), [4, 6]),
    build.reshape(build.reshape(build.reshape(x, [2, 12]), [24]), [4, 6]),
    build.slice(build.pad(x, [0, 0], [2, 2]), [0, 0], [4, 6]),
  ];
  for (const node of same) assertEquals(indexKey(through(node, index)), indexKey(index));
});
