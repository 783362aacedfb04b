/** A misspelt option does not go unheard: `deno run` does not look at types. */
import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import * as rg from "../../mod.ts";

await rg.init({ software: "allow" });

const x = rg.ones([1, 4, 4, 1]), kernel = rg.ones([2, 2, 1, 1]);
const key = rg.random.key(0);
const samples = new rg.data.Dataset(rg.data.tensorColumn(x), rg.data.tensorColumn(x));
const sum = (x: rg.Tensor): rg.Tensor => x.sum();
const same = (x: rg.Tensor): rg.Tensor => x;

const calls: Readonly<Record<string, (options: never) => unknown>> = {
  compile: (o) => rg.compile(sum, o),
  grad: (o) => rg.grad(sum, o)(x),
  valueAndGrad: (o) => rg.valueAndGrad(sum, o),
  vmap: (o) => rg.vmap(sum, o),
  checkpoint: (o) => rg.checkpoint(same, o),
  scan: (o) => rg.scan((c: rg.Tensor) => [c, null], x, null, Object.assign({ length: 2 }, o)),
  loop: (o) => rg.loop(same, x, Object.assign({ length: 2 }, o)),
  whileLoop: (o) => rg.whileLoop((c: rg.Tensor) => c.sum().less(9), same, x, o),
  revolve: (o) => rg.revolve(Object.assign({ snapshots: 2 }, o)),
  online: (o) => rg.online(Object.assign({ snapshots: 2 }, o)),
  offload: (o) => rg.offload(Object.assign({ device: 2 }, o)),
  auto: (o) => rg.auto(o),
  sketch: (o) => rg.sketch(same, Object.assign({ keep: 0.5, key: rg.random.key(0) }, o)),
  sum: (o) => x.sum(0, o),
  mean: (o) => x.mean(0, o),
  variance: (o) => x.variance(0, o),
  norm: (o) => x.norm(0, o),
  argmax: (o) => x.argmax(0, o),
  conv: (o) => rg.conv(x, kernel, o),
  convTranspose: (o) => rg.convTranspose(x, kernel, o),
  maxPool: (o) => rg.maxPool(x, 2, o),
  averagePool: (o) => rg.averagePool(x, 2, o),
  upsample: (o) => rg.upsample(x, Object.assign({ scale: 2 }, o)),
  gridSample: (o) => rg.gridSample(x, rg.zeros([1, 2, 2, 2]), o),
  tensor: (o) => rg.tensor([1], o),
  zeros: (o) => rg.zeros([1], o),
  onesLike: (o) => rg.onesLike(x, o),
  full: (o) => rg.full([1], 2, o),
  arange: (o) => rg.arange(3, o),
  linspace: (o) => rg.linspace(0, 1, 3, o),
  eye: (o) => rg.eye(2, 2, o),
  gelu: (o) => x.gelu(o),
  cumsum: (o) => x.cumsum(1, o),
  sort: (o) => x.sort(1, o),
  argsort: (o) => x.argsort(1, o),
  topK: (o) => rg.ones([3]).topK(1, o),
  uniform: (o) => rg.random.uniform(key, [1], o),
  normal: (o) => rg.random.normal(key, [1], o),
  truncatedNormal: (o) => rg.random.truncatedNormal(key, [1], o),
  randint: (o) => rg.random.randint(key, [1], 0, 2, o),
  customVjp: (o) => rg.customVjp(same, () => [null], o),
  jacobian: (o) => rg.jacobian(same, o),
  jacfwd: (o) => rg.jacfwd(same, o),
  jacrev: (o) => rg.jacrev(same, o),
  hessian: (o) => rg.hessian(sum, o),
  triangularSolve: (o) => rg.linalg.triangularSolve(rg.eye(2), rg.ones([2]), o),
  reversible: (o) => rg.reversible(same, same, x, o),
  leapfrog: (o) => rg.steps.leapfrog(Object.assign({ force: same, h: 1 }, o)),
  coupled: (o) => rg.steps.coupled(Object.assign({ field: same, h: 1 }, o)),
  wave: (o) => rg.steps.wave(Object.assign({ h: 1 }, o)),
  brownianPath: (o) => rg.steps.brownianPath(Object.assign({ key, like: x, t1: 1 }, o)),
  varianceScaling: (o) => rg.nn.varianceScaling(o),
  orthogonal: (o) => rg.nn.orthogonal(o),
  dotProductAttention: (o) => rg.nn.dotProductAttention(x, x, x, o),
  cosineAttention: (o) => rg.nn.cosineAttention(x, x, x, o),
  "a pooling layer": (o) => rg.nn.maxPool(2, o),
  transformerBlock: (o) => rg.nn.transformerBlock(4, 2, o),
  gpt: (o) =>
    rg.nn.gpt(
      Object.assign({ vocabulary: 4, length: 4, features: 4, layers: 1, heads: 2 }, o),
    ),
  "dropout's apply": (o) => rg.nn.dropout(0.5).apply(null, x, o),
  fixedPointLayer: (o) => rg.nn.fixedPointLayer(rg.nn.linear(2, 2), o),
  deepNorm: (o) => rg.nn.deepNorm(rg.nn.linear(2, 2), 2, Object.assign({ depth: 1 }, o)),
  resnet: (o) => rg.nn.resnet(Object.assign({ classes: 2 }, o)),
  weightNorm: (o) => rg.nn.weightNorm(rg.nn.linear(2, 2), o),
  sgd: (o) => rg.optim.sgd(Object.assign({ rate: 1 }, o)),
  adamw: (o) => rg.optim.adamw(o),
  nadam: (o) => rg.optim.nadam(o),
  addDecayedWeights: (o) => rg.optim.addDecayedWeights(0.1, o),
  scaleByTrustRatio: (o) => rg.optim.scaleByTrustRatio(o),
  ema: (o) => rg.optim.ema(0.9, o),
  lineSearch: (o) => rg.optim.lineSearch(sum, x, x, o),
  conjugateGradient: (o) => rg.optim.conjugateGradient(same, x, o),
  fixedPoint: (o) => rg.optim.fixedPoint(rg.optim.adam(), o),
  hypergradient: (o) => rg.optim.hypergradient(sum, Object.assign({ steps: 2 }, o)),
  readIdx: (o) => rg.data.readIdx(new Uint8Array([0, 0, 8, 1, 0, 0, 0, 1, 7]), o),
  batches: (o) => samples.batches(Object.assign({ size: 1 }, o)).next(),
  split: (o) => samples.split({ all: 1 }, o),
  byteColumn: (o) => rg.data.byteColumn(new Uint8Array(4), [4], o),
  explain: (o) => rg.compile(sum).explain(o),
};

const waited: Readonly<Record<string, (options: never) => Promise<unknown>>> = {
  checkGradients: (o) => rg.checkGradients(sum, [rg.ones([2])], o),
  profile: (o) => rg.profile(sum, [x], o),
  locateNaN: (o) => rg.locateNaN(sum, [x], o),
  fromStream: async (o) => await rg.data.fromStream([], o).next(),
  encodeNpz: async (o) => await rg.data.encodeNpz(new Map(), o),
  localLipschitz: (o) => rg.train.localLipschitz(same, rg.ones([2, 1]), o),
};

for (const [name, call] of Object.entries(waited)) {
  Deno.test(`${name} refuses an option that nobody reads, after a wait`, async () => {
    await call({} as never);
    await assertRejects(
      async () => await call({ keepdim: true } as never),
      TypeError,
      "there is an option keepdim, expected",
    );
  });
}

for (const [name, call] of Object.entries(calls)) {
  Deno.test(`${name} refuses an option that nobody reads`, () => {
    call({} as never);
    assertThrows(
      () => call({ keepdim: true } as never),
      TypeError,
      "there is an option keepdim, expected",
    );
  });
}

Deno.test("a flag is true or false, and nothing like them", () => {
  const image = rg.ones([1, 4, 4, 1]);
  for (const wrong of [1, 0, "false", null] as const) {
    const flag = wrong as never;
    for (
      const [name, call] of [
        ["ceil", () => rg.maxPool(image, 2, { ceil: flag })],
        ["ceil", () => rg.nn.maxPool(2, { ceil: flag })],
        ["countPadding", () => rg.averagePool(image, 2, { countPadding: flag })],
        ["keepDims", () => x.sum(0, { keepDims: flag })],
        ["descending", () => x.sort(0, { descending: flag })],
        ["alignCorners", () => rg.upsample(image, { scale: 2, alignCorners: flag })],
        ["nesterov", () => rg.optim.trace(0.9, { nesterov: flag })],
        ["bias", () => rg.nn.linear(2, 2, { bias: flag })],
        ["hasAux", () => rg.grad(sum as never, { hasAux: flag })],
      ] as const
    ) {
      const found = wrong === "false" ? '"false"' : String(wrong);
      assertThrows(call, TypeError, `${name} is ${found}, expected true or false`);
    }
  }
  assertEquals(rg.maxPool(image, 2, { ceil: undefined } as never).shape, [1, 2, 2, 1]);
});
