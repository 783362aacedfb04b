import { assert, assertEquals } from "@std/assert";
import { tensor } from "../../graph/create.ts";
import type { Tensor } from "../../graph/tensor.ts";
import { lamb, lars, lion, type Optimizer, sgd } from "../../optim/mod.ts";
import { assertValues, installHost } from "../graph/host.ts";
import { force, golden, gradientAt, start, torch } from "./problem.ts";

installHost();

/** The six numbers as two parameters. */
type Params = { readonly weight: Tensor; readonly bias: Tensor };

function paramsOf(x: readonly number[]): Params {
  return { weight: tensor(x.slice(0, 4), { shape: [2, 2] }), bias: tensor(x.slice(4)) };
}

/** Compares a trajectory of 50 steps down, or up against the gradients. */
async function follows(
  optimizer: Optimizer,
  path: number[][],
  tolerance: number,
  sign: 1 | -1 = 1,
): Promise<void> {
  assertEquals(path.length, 50);
  let state = optimizer.init(paramsOf(start));
  for (const [i, expected] of path.entries()) {
    // At the optimizer's own places, so that a wrong step is not corrected by the next.
    const { weight, bias } = state.params;
    const x = [...await weight.data(), ...await bias.data()].map(Number);
    state = optimizer.update(state, paramsOf(gradientAt(x, i).map((g) => sign * g)));
    await assertValues(state.params.weight.flatten(), expected.slice(0, 4), tolerance, `${i}`);
    await assertValues(state.params.bias, expected.slice(4), tolerance, `step ${i}`);
  }
  assertEquals(await state.step.item(), 50);
}

for (const [name, optimizer] of Object.entries(torch)) {
  Deno.test(`optimizers follow PyTorch for 50 steps: ${name}`, () =>
    follows(optimizer, golden(name), 1e-5));
}

Deno.test("negative gradients climb as PyTorch's maximize does, while weights decay", () =>
  follows(
    sgd({ rate: 0.01, momentum: 0.5, weightDecay: 0.1 }),
    golden("ascent"),
    1e-5,
    -1,
  ));

/** A rule of the papers on numbers: the state after, for parameters of the two lengths. */
type Rule = (x: number[], g: number[], memory: number[][], t: number) => number[];

/** The trajectory of a rule that is applied to each of the two parameters by itself. */
function reference(rule: Rule, slots: number): number[][] {
  const parts = [[0, 4], [4, 6]] as const, path: number[][] = [];
  const memory = parts.map(([from, to]) =>
    Array.from({ length: slots }, () => new Array<number>(to - from).fill(0))
  );
  let x = start;
  for (let t = 0; t < force.length; t++) {
    const g = gradientAt(x, t);
    x = parts.flatMap(([from, to], i) => rule(x.slice(from, to), g.slice(from, to), memory[i]!, t));
    path.push(x);
  }
  return path;
}

Deno.test("lion() follows algorithm 2 of Chen et al. in float64", async () => {
  const rule: Rule = (x, g, [m]) =>
    x.map((x, i) => {
      const c = Math.sign(0.9 * m![i]! + 0.1 * g[i]!);
      m![i] = 0.99 * m![i]! + 0.01 * g[i]!;
      return x - 0.05 * (c + 0.1 * x);
    });
  await follows(lion({ rate: 0.05, decoupledDecay: 0.1 }), reference(rule, 1), 1e-5);
});

Deno.test("lars() follows algorithm 1 of You et al. in float64", async () => {
  const rule: Rule = (x, g, [v]) => {
    const local = 0.1 * Math.hypot(...x) / (Math.hypot(...g) + 0.02 * Math.hypot(...x));
    return x.map((x, i) => x - (v![i] = 0.8 * v![i]! + 0.5 * local * (g[i]! + 0.02 * x)));
  };
  const optimizer = lars({ rate: 0.5, momentum: 0.8, weightDecay: 0.02, coefficient: 0.1 });
  await follows(optimizer, reference(rule, 1), 1e-5);
});

Deno.test("lamb() follows algorithm 2 of You et al. in float64", async () => {
  const rule: Rule = (x, g, [m, v], t) => {
    const r = x.map((x, i) => {
      m![i] = 0.9 * m![i]! + 0.1 * g[i]!;
      v![i] = 0.999 * v![i]! + 0.001 * g[i]! ** 2;
      const mean = m![i]! / (1 - 0.9 ** (t + 1)), square = v![i]! / (1 - 0.999 ** (t + 1));
      return mean / (Math.sqrt(square) + 1e-6) + 0.05 * x;
    });
    return x.map((p, i) => p - 0.05 * Math.hypot(...x) / Math.hypot(...r) * r[i]!);
  };
  await follows(lamb({ rate: 0.05, weightDecay: 0.05 }), reference(rule, 2), 1e-5);
});

Deno.test("lars() and lamb() take plain steps where there is nothing to scale by", async () => {
  const zero = { w: tensor([0, 0]) }, gradient = { w: tensor([1, -2]) };
  const a = lars({ rate: 0.1, momentum: 0 });
  await assertValues(a.update(a.init(zero), gradient).params.w, [-0.1, 0.2], 1e-6);
  const b = lamb({ rate: 0.1 });
  await assertValues(b.update(b.init(zero), gradient).params.w, [-0.1, 0.1], 1e-5);
  const some = { w: tensor([3, 4]) };
  const c = lars({ rate: 0.1, momentum: 0, coefficient: 1, applies: (_, path) => path !== "w" });
  await assertValues(c.update(c.init(some), gradient).params.w, [2.9, 4.2], 1e-6);
});

Deno.test("golden trajectories of different optimizers differ", () => {
  const ends = Object.keys(torch).map((name) => JSON.stringify(golden(name).at(-1)));
  assert(new Set(ends).size === ends.length);
});
