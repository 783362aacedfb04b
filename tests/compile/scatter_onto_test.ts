/**
 * What follows a scatter element by element is done by its kernel: a table that is read many times
 * has one gradient in memory, into which each partial one is added as it comes.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { inOrder } from "../../compile/scatter.ts";
import * as build from "../../graph/build.ts";
import type { DType } from "../../graph/dtype.ts";
import type { Node } from "../../graph/node.ts";
import { sizeOf } from "../../graph/shape.ts";
import * as rg from "../../mod.ts";
import { constantOf, firstDifference, gpu, randomOf, runUnfused, runWith } from "../gpu.ts";

/** Shapes of the indices and of a row, rows of the result, and a dtype. */
const cases: readonly (readonly [readonly number[], readonly number[], number, DType])[] = [
  [[1], [], 1, "f32"],
  [[37], [3], 5, "f32"],
  [[13, 5], [2, 2], 11, "f32"],
  [[300], [8], 40, "f16"],
  [[300], [3], 41, "f16"],
  [[300], [3], 40, "i32"],
  [[17], [], 13, "u32"],
];

Deno.test("what follows a scatter has the same bits in its kernel as in one of its own", async () => {
  for (const [index, row, size, dtype] of cases) {
    const random = randomOf(5), count = sizeOf(index), shape = [size, ...row];
    const numbers = Array.from({ length: count }, () => Math.floor((size + 2) * random()) - 1);
    const valuesOf = (n: number): number[] =>
      Array.from({ length: n }, () => dtype === "f32" ? random() - 0.5 : Math.floor(9 * random()));
    const plain = build.scatterAdd(
      constantOf(valuesOf(count * sizeOf(row)), [...index, ...row], dtype),
      constantOf(numbers, index, "i32"),
      size,
    ) as Node<"scatterAdd">;
    // Those with sorted indices are longer in the making, and their sums end the same way.
    const sorted = count === 37 ? [inOrder(plain, "f32")] : [];
    for (const scatter of [plain, ...sorted]) {
      const other = (): Node => constantOf(valuesOf(sizeOf(shape)), shape, dtype);
      const [a, b] = [other(), other()];
      const sum = build.binary("add", a, scatter);
      const line = build.reshape(build.binary("max", sum, b), [sizeOf(shape)]);
      for (const results of [[line], [sum, scatter, line]]) {
        const what = `${index}, ${row}, ${size} ${dtype}, ${results.map(({ op }) => op)}`;
        const { values, program } = await runWith(results);
        const apart = await runUnfused(results);
        values.forEach((x, i) => assertEquals(firstDifference(x, apart[i]!), undefined, what));
        if (scatter === plain) assertEquals(program.dispatches.length, 1, what);
      }
    }
  }
});

Deno.test("the gradient of a table that is read many times is one table, added up in place", async () => {
  await gpu();
  const [rows, width, count, times] = [300, 32, 40, 5], table = 4 * rows * width;
  const f32 = Math.fround, x = Float32Array.from({ length: rows * width }, (_, i) => Math.sin(i));
  const lists = Array.from(
    { length: times },
    (_, k) => Int32Array.from({ length: count }, (_, i) => (i * i * 37 + 11 * k * i) % rows),
  );
  const given = rg.tensor(x, { shape: [rows, width] });
  const indices = lists.map((list) => rg.tensor(list, { shape: [count] }));
  const w = rg.random.normal(rg.random.key(1), [count, width]);
  const loss = (t: rg.Tensor): rg.Tensor =>
    indices.map((i, k) => t.take(i).mul(w.mul(k + 1)).sum()).reduce((a, b) => a.add(b));
  const f = rg.compile((t: rg.Tensor) => t.sub(rg.grad(loss)(t)), { donate: [0] });
  const actual = await f(given.mul(1)).data(), { memory } = f.programs()[0]!;
  const weights = await w.data();
  const partial = lists.map((list, k) => {
    const sum = new Float32Array(rows * width);
    list.forEach((row, j) => {
      for (let c = 0; c < width; c++) {
        const at = row * width + c;
        sum[at] = f32(sum[at]! + f32(weights[j * width + c]! * (k + 1)));
      }
    });
    return sum;
  });
  const orders = [partial, partial.toReversed()].map((all) => {
    const sum = all.reduce((a, b) => a.map((v, i) => f32(v + b[i]!)));
    return x.map((v, i) => f32(v - sum[i]!));
  });
  assert(orders.some((want) => firstDifference(actual, want) === undefined));
  assert(memory.workspace < 1.8 * table, JSON.stringify(memory));

  // In the body of a loop, the cotangent that is carried is what is added to.
  const all = rg.stack(indices);
  const looped = rg.compile(rg.grad((t: rg.Tensor) =>
    rg.scan(
      (sum: rg.Tensor, i: rg.Tensor) => {
        const next = sum.add(t.take(i).mul(w).sum());
        return [next, next];
      },
      rg.zeros([]),
      all,
    )[0]
  ));
  const got = await looped(given).data();
  const once = await rg.grad((t: rg.Tensor) =>
    indices.toReversed().map((i) => t.take(i).mul(w).sum()).reduce((a, b) => a.add(b))
  )(given).data();
  got.forEach((v, i) => assert(Math.abs(v - once[i]!) <= 1e-4));
  const room = looped.programs()[0]!.memory;
  assert(room.workspace < 0.2 * table, JSON.stringify(room));
});
