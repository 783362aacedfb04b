import { assert, assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import { full, tensor, zeros } from "../../graph/create.ts";
import * as random from "../../graph/random.ts";
import type { Tensor } from "../../graph/tensor.ts";
import * as nn from "../../nn/mod.ts";
import * as optim from "../../optim/mod.ts";
import { diagnose, type DiagnoseOptions, type Diagnosis } from "../../train/diagnose.ts";
import { gpu } from "../gpu.ts";

const x = () => random.normal(random.key(1), [12, 4]);
const y = () => random.randint(random.key(2), [12], 0, 2);
const look = async (model: nn.Layer | nn.StatefulLayer, options: DiagnoseOptions = {}) => {
  await gpu();
  return await diagnose(model, { x: x(), y: y() }, { lipschitz: false, ...options });
};
const kinds = ({ verdicts }: Diagnosis) => verdicts.map(({ kind }) => kind);

Deno.test("diagnose() measures what it says it does", async () => {
  const model = nn.mlp([2, 2, 1]);
  const params = [
    { weight: tensor([[1, -1], [2, -2]]), bias: tensor([0, 0]) },
    { weight: tensor([[3], [4]]), bias: zeros([1]) },
  ];
  await gpu();
  const found = await diagnose(model, { x: tensor([[1, 0], [0, 1]]), y: tensor([[1], [1]]) }, {
    params,
    optimizer: optim.sgd({ rate: 0.001 }),
    lipschitz: true,
  });
  // Hidden (1, -1), (2, -2); after ReLU (1, 0), (2, 0); outputs 3, 6; loss (4 + 25) / 2.
  assertAlmostEquals(found.loss, 14.5, 1e-5);
  const [first, middle, last] = found.layers;
  assertEquals(found.layers.map(({ name }) => name), ["linear(2, 2)", "relu", "linear(2, 1)"]);
  assertEquals(found.layers.map(({ path }) => path), ["0", "", "1"]);
  assertAlmostEquals(first!.activation, Math.sqrt(10 / 4), 1e-6);
  assertEquals([first!.dead, middle!.dead, last!.dead], [0, 0.5, 0]);
  assertAlmostEquals(middle!.activation, Math.sqrt(5 / 4), 1e-6);
  assertAlmostEquals(last!.largest, 6, 1e-6);
  // d loss / d output = (2, 5); times the weight (3, 4).
  assertAlmostEquals(last!.gradient, Math.sqrt(29), 1e-5);
  assertAlmostEquals(middle!.gradient, Math.sqrt(29) * 5, 1e-4);
  assertAlmostEquals(first!.gradient, Math.sqrt(29) * 3, 1e-4);
  assertAlmostEquals(first!.gradientRatio!, 3 / 5, 1e-6);
  assertEquals(last!.gradientRatio, undefined);
  assertEquals(middle!.saturated, 0);
  const weight = found.parameters.find(({ path }) => path === "1.weight")!;
  assertAlmostEquals(weight.norm, 5, 1e-6);
  // (1, 2) · (2, 5) = 12 for the first unit, 0 for the other.
  assertAlmostEquals(weight.gradient, 12, 1e-4);
  assertAlmostEquals(weight.update, 0.012, 1e-6);
  assertAlmostEquals(weight.spectralNorm!, 5, 1e-4);
  assertAlmostEquals(last!.lipschitz!, 5, 1e-4);
  assertAlmostEquals(first!.lipschitz!, Math.sqrt(10), 1e-4);
  assertAlmostEquals(found.lipschitz!.whole, Math.hypot(3, 6), 1e-3);
  assertAlmostEquals(found.lipschitz!.product, Math.sqrt(10) * 5, 1e-2);
  assertEquals(kinds(found), ["dead"]);
});

Deno.test("diagnose() calls fifty layers of sigmoids vanishing, and says by how much", async () => {
  const sizes = [4, ...new Array<number>(50).fill(4), 2];
  const model = nn.mlp(sizes, { activation: nn.sigmoid, weightInit: nn.glorotNormal });
  const found = await look(model, { name: "deep" });
  assertEquals(found.layers.length, 101);
  assertEquals(kinds(found)[0], "vanishing");
  const { measure, advice } = found.verdicts[0]!;
  assert(/a factor of 0\.\d+ for each of 101 layers/.test(measure), measure);
  assert(advice.includes("residual"), advice);
  assert(found.layers[0]!.gradient > 0 && found.layers[0]!.gradient < 1e-20);
});

Deno.test("diagnose() reports 1 for ReZero at the beginning, at any depth", async () => {
  const block = () => nn.reZero(nn.sequential([nn.linear(4, 4), nn.tanh]));
  const found = await look(nn.sequential([block(), block()]), {
    lipschitz: true,
    loss: (output) => output.square().mean(),
  });
  for (const layer of found.layers) {
    assertAlmostEquals(layer.lipschitz!, 1, 1e-6);
    if (layer.gradientRatio !== undefined) assertAlmostEquals(layer.gradientRatio, 1, 1e-6);
  }
  assertAlmostEquals(found.lipschitz!.whole, 1, 1e-6);
  assert(!kinds(found).includes("vanishing"));
});

Deno.test("diagnose() tells exploding, saturated and dead nets, and nets that are well", async () => {
  const wide = (activation: nn.Activation, deviation: number, depth = 4) =>
    nn.mlp([4, ...new Array<number>(depth).fill(8), 2], {
      activation,
      weightInit: nn.normal(deviation),
    });
  assertEquals(kinds(await look(wide(nn.relu, 5)))[0], "exploding");
  const saturated = await look(wide(nn.tanh, 20));
  const verdict = saturated.verdicts.find(({ kind }) => kind === "saturated")!;
  assert(
    /^\d+\.\d+ % of the outputs of layer \d+ of 9, tanh/.test(verdict.measure),
    verdict.measure,
  );
  const dead = nn.mlp([4, 8, 2]);
  const [first, last] = dead.init(random.key(0));
  const found = await look(dead, { params: [{ ...first!, bias: full([8], -100) }, last!] });
  assertEquals(kinds(found).filter((kind) => kind === "dead"), ["dead"]);
  assertEquals(found.verdicts.find(({ kind }) => kind === "dead")!.where, "relu");
  assert(kinds(found).includes("no update"));
  assertEquals(kinds(await look(nn.mlp([4, 16, 16, 2], { activation: nn.gelu }))), []);
});

Deno.test("diagnose() finds where numbers end, and updates that are too large", async () => {
  const model = nn.sequential([nn.linear(4, 3), function log(x: Tensor) {
    return x.sub(100).log();
  }, nn.linear(3, 2)]);
  const found = await look(model);
  assertEquals(kinds(found)[0], "not finite");
  assert(found.verdicts[0]!.measure.includes("layer 2 of 3, log"), found.verdicts[0]!.measure);
  const json = JSON.parse(JSON.stringify(found));
  assertEquals(json.layers[1].activation, "NaN");
  const wild = await look(nn.mlp([4, 8, 2]), { optimizer: optim.sgd({ rate: 100 }) });
  assert(kinds(wild).includes("large update"));
});

Deno.test("diagnose() takes models with state, tokens, and any loss", async () => {
  const stateful = nn.statefulSequential([
    nn.linear(4, 8),
    nn.batchNorm(8),
    nn.relu,
    nn.linear(8, 2),
  ]);
  const found = await look(stateful);
  assertEquals(found.layers.map(({ path }) => path), ["0", "1", "", "3"]);
  const sizes = { vocabulary: 7, length: 4, features: 4, layers: 1, heads: 2 };
  const tokens = random.randint(random.key(3), [3, 4], 0, 7);
  const gpt = await diagnose(nn.gpt(sizes), { x: tokens, y: tokens }, { lipschitz: false });
  assertEquals(gpt.layers.map(({ path }) => path), ["tokens", "blocks.0", "norm"]);
  assertAlmostEquals(gpt.loss, Math.log(7), 0.1);
  const table = await diagnose(nn.embedding(7, 3), { x: tokens });
  assertEquals([table.lipschitz, table.layers[0]!.lipschitz], [undefined, undefined]);
  assert(table.parameters[0]!.spectralNorm! > 0);
  await assertRejects(
    () => diagnose(nn.sequential([nn.relu]), { x: zeros([2, 4]) }),
    TypeError,
    "Cannot diagnose sequential(relu): it has no parameters",
  );
  const bad = { x: zeros([0, 4]) };
  await assertRejects(
    () => diagnose(stateful, bad),
    TypeError,
    "expected a tensor of some samples",
  );
  await assertRejects(() => diagnose(stateful, { x: zeros([2, 3]) }), TypeError, "linear(4, 8)");
});

Deno.test("a diagnosis is a page, plain data, and text", async () => {
  const found = await look(nn.mlp([4, 8, 2]), { name: "<mine> & co" });
  const html = found.toHTML();
  assert(html.startsWith("<!doctype html>") && html.includes("&lt;mine&gt; &amp; co"));
  assert(!/<script|https?:\/\/(?!www\.w3\.org)|<link/.test(html), "nothing from elsewhere");
  assert(html.includes("<svg") && html.includes("linear(4, 8)"));
  const { layers, parameters, verdicts } = JSON.parse(JSON.stringify(found));
  assertEquals([layers.length, parameters.length], [3, 4]);
  assertEquals(verdicts, found.verdicts);
  assert(`${found}`.includes("<mine> & co, loss") && `${found}`.includes("relu"));
});
