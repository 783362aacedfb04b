import { assert, assertEquals } from "@std/assert";
import { tensor } from "../../graph/create.ts";
import { readAll, type Tensor } from "../../graph/tensor.ts";
import * as optim from "../../optim/mod.ts";
import { compile } from "../../runtime/compile.ts";
import { init } from "../../runtime/init.ts";
import { force, golden, gradientOf, start, torch } from "./problem.ts";

await init({ software: "allow" });

type Params = { readonly a: Tensor; readonly b: readonly Tensor[] };

/** Adam with everything around it, on numbers, for a tree whose gradient is its parameters. */
function reference(values: number[], steps: number): number[] {
  let x = values.slice(), m = x.map(() => 0), v = x.map(() => 0);
  for (let t = 1; t <= steps; t++) {
    const norm = Math.hypot(...x), clip = norm > 2 ? 2 / norm : 1;
    const rate = 0.05 + (0.5 - 0.05) * (1 + Math.cos(Math.PI * Math.min(t - 1, 20) / 20)) / 2;
    m = m.map((m, i) => 0.9 * m + 0.1 * clip * x[i]!);
    v = v.map((v, i) => 0.999 * v + 0.001 * (clip * x[i]!) ** 2);
    x = x.map((x, i) =>
      x - rate * (m[i]! / (1 - 0.9 ** t) / (Math.sqrt(v[i]! / (1 - 0.999 ** t)) + 1e-8) + 0.01 * x)
    );
  }
  return x;
}

Deno.test("a compiled, donated update follows the algorithm over many steps", async () => {
  const { addDecayedWeights, chain, clipByGlobalNorm, cosine, scaleByAdam, scaleByRate } = optim;
  const optimizer = optim.fromTransformation(chain(
    clipByGlobalNorm(2),
    scaleByAdam(),
    addDecayedWeights(0.01),
    scaleByRate(cosine(0.5, { steps: 20, end: 0.05 })),
  ));
  const step = compile(
    (state: optim.State<Params>) => optimizer.update(state, state.params),
    { donate: [0] },
  );
  const values = [3, -2, 1, 0.5, -0.25, 4, 1, 2];
  // Equal shapes: their moments begin as one and the same node of zeros.
  let state = optimizer.init<Params>({
    a: tensor(values.slice(0, 4), { shape: [2, 2] }),
    b: [tensor(values.slice(4, 6)), tensor(values.slice(6, 8))],
  });
  for (let i = 0; i < 30; i++) state = step(state);
  const { a, b } = state.params;
  const found = (await readAll([a, ...b])).flatMap((data) => [...data]);
  const expected = reference(values, 30);
  found.forEach((x, i) => assert(Math.abs(x - expected[i]!) < 2e-5, `${found} is not ${expected}`));
  assertEquals(await state.step.item(), 30);
});

Deno.test("an update of many parameters is a few dispatches", () => {
  const optimizer = optim.adam();
  const step = compile(
    (state: optim.State<Params>, gradient: Params) => optimizer.update(state, gradient),
    { donate: [0] },
  );
  const make = () => ({ a: tensor([[1, 2]]), b: [tensor([1]), tensor([2, 3, 4])] });
  step(optimizer.init<Params>(make()), make());
  const [program] = step.programs();
  assert(program!.dispatches.length <= 4, `${program!.dispatches.length} dispatches`);
});

type States = { readonly [name: string]: optim.State<Tensor> };

Deno.test("all optimizers follow PyTorch on the device", async () => {
  const names = Object.keys(torch);
  const step = compile(
    (states: States, force: Tensor): States =>
      Object.fromEntries(names.map((name) => {
        const state = states[name]!;
        return [name, torch[name]!.update(state, gradientOf(state.params, force))];
      })),
    { donate: [0] },
  );
  let states: States = Object.fromEntries(
    names.map((name) => [name, torch[name]!.init(tensor(start))]),
  );
  const paths = new Map(names.map((name) => [name, golden(name)]));
  for (const [i, now] of force.entries()) {
    states = step(states, tensor(now));
    if (i % 7 !== 0) continue;
    const found = await readAll(names.map((name) => states[name]!.params));
    names.forEach((name, j) =>
      paths.get(name)![i]!.forEach((expected, k) => {
        const x = Number(found[j]![k]);
        assert(Math.abs(x - expected) < 3e-5, `${name}, step ${i}: ${x} is not ${expected}`);
      })
    );
  }
});
