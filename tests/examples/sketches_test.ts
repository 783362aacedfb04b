import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import * as rg from "@retrograd/retrograd";
import { network as dense } from "../../examples/papers/sketched_mnist.ts";
import { descend } from "../../examples/papers/sketched_pde.ts";
import { network as recurrent } from "../../examples/papers/sketched_rnn.ts";
import { lastLoss, train, type Trainee, variantsOf } from "../../examples/papers/sketches.ts";
import { gpu } from "../gpu.ts";

/** Images of two kinds: bright above, bright below. */
function halves(n: number): rg.data.Dataset {
  const y = rg.random.randint(rg.random.key(1), [n], 0, 2);
  const row = rg.arange(28).reshape(1, 28, 1).less(14).broadcastTo([n, 28, 28]);
  const upper = y.equal(0).reshape(n, 1, 1).broadcastTo([n, 28, 28]);
  const noise = rg.random.uniform(rg.random.key(2), [n, 28, 28]);
  const x = rg.where(row.equal(upper), noise.add(1), noise).reshape(n, 784);
  return new rg.data.Dataset(rg.data.tensorColumn(x), rg.data.tensorColumn(y));
}

for (const [name, network] of [["dense", dense], ["recurrent", recurrent]] as const) {
  Deno.test(`a ${name} net learns from a tenth of its activations`, async () => {
    await gpu();
    const variant = variantsOf(20, 5).find(({ name }) => name === "same sample .1")!;
    const plan = {
      data: halves(200),
      batch: variant.batch,
      iterations: 10,
      optimizer: rg.optim.sgd({ rate: 0.02 }),
      seed: 0,
      points: 2,
    };
    const course = await train(network(variant) as Trainee, plan, () => {});
    assertEquals(course.points.map(([i]) => i), [0, 5, 10]);
    assert(lastLoss(course) < course.points[0]![1], `${course.points}`);
    const [inputs, masks] = name === "dense" ? [1684, 900] : [4900, 4900];
    assertAlmostEquals(course.held / (20 * (0.4 * inputs + masks / 8)), 1, 0.05);
  });
}

Deno.test("the reaction is controlled with a part of the states", async () => {
  await gpu();
  const [all, tenth] = [await descend(12, 5, 1, () => {}), await descend(12, 5, 0.1, () => {})];
  // Of the second loop nothing is held but 109 numbers of each of two fields and 12 steps.
  assertEquals([all.held, tenth.held], [0, 4 * 2 * 109 * 12]);
  assert(tenth.peak < 0.6 * all.peak, `${tenth.peak} of ${all.peak}`);
  assertEquals(tenth.points[0], all.points[0]);
  assert(tenth.points.at(-1)![1] < tenth.points[0]![1], `${tenth.points}`);
});
