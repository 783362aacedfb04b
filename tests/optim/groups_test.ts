import { assertEquals, assertThrows } from "@std/assert";
import { tensor } from "../../graph/create.ts";
import type { Tensor } from "../../graph/tensor.ts";
import { flatten, leafPaths } from "../../graph/tree.ts";
import { Tensor as TensorClass } from "../../graph/tensor.ts";
import { chain, clipByGlobalNorm, groups, scaleByRate, sgd } from "../../optim/mod.ts";
import { assertValues, installHost } from "../graph/host.ts";

installHost();

type Params = readonly [{ readonly w: Tensor; readonly b: Tensor }, { readonly w: Tensor }];

const make = (a: number, b: number, c: number): Params => [
  { w: tensor([a]), b: tensor([b]) },
  { w: tensor([c]) },
];

async function assertParams([one, two]: Params, expected: number[]): Promise<void> {
  for (const [i, x] of [one.w, one.b, two.w].entries()) {
    await assertValues(x, [expected[i]!], 1e-6);
  }
}

Deno.test("groups() treats parameters by a label from their path", async () => {
  const optimizer = groups((path) => path.endsWith("b") ? "slow" : "fast", {
    fast: sgd({ rate: 1, momentum: 0.5 }),
    slow: sgd({ rate: 0.1 }),
  });
  let state = optimizer.init(make(0, 0, 0));
  state = optimizer.update(state, make(1, 1, 2));
  state = optimizer.update(state, make(1, 1, 2));
  await assertParams(state.params, [-2.5, -0.2, -5]);
});

Deno.test("groups() remembers each group's own, by path", () => {
  const optimizer = groups((path) => path.endsWith("b") ? "slow" : "fast", {
    fast: sgd({ rate: 1, momentum: 0.5 }),
    slow: sgd({ rate: 0.1 }),
  });
  const { memory } = optimizer.init(make(0, 0, 0));
  const isTensor = (x: unknown): x is Tensor => x instanceof TensorClass;
  const paths = leafPaths(flatten(memory, isTensor).structure);
  assertEquals(paths, ["fast.0.velocity.0.w", "fast.0.velocity.1.w"]);
});

Deno.test("groups() takes a tree of labels, a label standing for its branch", async () => {
  const optimizer = groups(["frozen", { w: "trained" }], {
    frozen: null,
    trained: sgd({ rate: 1 }),
  });
  const state = optimizer.update(optimizer.init(make(1, 2, 3)), make(1, 1, 1));
  await assertParams(state.params, [1, 2, 2]);
});

Deno.test("groups() have norms of their own, and may be nested", async () => {
  const clipped = chain(clipByGlobalNorm(1), scaleByRate(1));
  const inner = groups((path) => path.startsWith("0") ? "first" : "second", {
    first: clipped,
    second: clipped,
  });
  const outer = groups("all", { all: inner });
  const state = outer.update(outer.init(make(0, 0, 0)), make(3, 4, 0.5));
  await assertParams(state.params, [-0.6, -0.8, -0.5]);
});

Deno.test("groups() refuses parameters without a label, and labels without a member", () => {
  const members = { all: sgd({ rate: 1 }) };
  assertThrows(
    () => groups(["all"], members).init(make(0, 0, 0)),
    TypeError,
    "Cannot group parameters: 1.w has no label",
  );
  assertThrows(
    () => groups(() => "some", members).init(make(0, 0, 0)),
    TypeError,
    `0.b has the label "some", expected one of "all"`,
  );
});
