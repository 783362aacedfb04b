/**
 * What optimizers cost beside the gradients they use, by the number of dispatches.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { ones, zeros } from "../../graph/create.ts";
import { key } from "../../graph/random.ts";
import { parameter } from "../../graph/build.ts";
import { Tensor } from "../../graph/tensor.ts";
import { valueAndGrad } from "../../graph/transforms.ts";
import { crossEntropy, mlp } from "../../nn/mod.ts";
import * as optim from "../../optim/mod.ts";
import { leaves, map, type Tree } from "../../optim/tree.ts";
import { compileFor } from "../gpu.ts";
import { torch } from "./problem.ts";

const model = mlp([784, 512, 512, 10]);

/** The number of dispatches of a whole step of training. */
async function dispatches(optimizer: optim.Optimizer): Promise<number> {
  const parameters: ReturnType<typeof parameter>[] = [];
  const argument = ({ shape, dtype }: Tensor): Tensor => {
    const node = parameter(parameters.length, { shape, dtype });
    parameters.push(node);
    return new Tensor(node);
  };
  type Params = readonly Tree[];
  const state = map(argument, optimizer.init<Params>(model.init(key(0)) as Params));
  const donate = parameters.map((_, i) => i);
  const x = argument(ones([128, 784])), y = argument(zeros([128], { dtype: "i32" }));
  const loss = (params: Params) => crossEntropy(model.apply(params as never, x), y);
  const [value, gradient] = valueAndGrad(loss)(state.params);
  const results = [value, ...leaves(optimizer.update(state, gradient))].map((x) => x.node);
  return (await compileFor({ name: "step", parameters, results }, { donate })).dispatches.length;
}

const elementwise: Readonly<Record<string, optim.Optimizer>> = {
  ...torch,
  lion: optim.lion({ decoupledDecay: 0.1 }),
  values: optim.fromTransformation(optim.chain(optim.clipByValue(1), optim.scaleByRate(1))),
  weights: optim.clipWeights(optim.adam({ rate: optim.cosine(1, { steps: 5, restarts: 2 }) }), 1),
  groups: optim.groups((path) => path.endsWith("bias") ? "plain" : "adaptive", {
    plain: optim.sgd({ rate: 1 }),
    adaptive: optim.adam(),
  }),
  accumulated: optim.accumulate(optim.adam(), 4),
};

Deno.test("element-wise optimizers cost no dispatch over gradient descent", async () => {
  const least = await dispatches(optim.sgd({ rate: 0.1 }));
  const found = new Map<string, number>();
  for (const [name, optimizer] of Object.entries(elementwise)) {
    found.set(name, await dispatches(optimizer));
  }
  assertEquals(
    Object.fromEntries(found),
    Object.fromEntries(Object.keys(elementwise).map((name) => [name, least])),
  );
  assertEquals(least <= 14, true, `${least} dispatches`);
});
