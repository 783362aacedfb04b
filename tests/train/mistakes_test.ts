/**
 * What users get wrong where they make layers, optimizers, data sets and runs: each is an error in
 * the call itself, before the device is asked for anything, that says what was given and what was
 * expected.
 *
 * @module
 */
import { assert, assertRejects, assertThrows } from "@std/assert";
import * as retrograd from "../../mod.ts";

await retrograd.init({ software: "allow" });

// deno-lint-ignore no-explicit-any
type Any = any;

const rg: Any = retrograd, { nn, optim } = rg;
const x = rg.ones([10, 2]), key = rg.random.key(0);
const labels = rg.zeros([10], { dtype: "i32" });
const samples = new rg.data.Dataset(rg.data.tensorColumn(x), rg.data.tensorColumn(labels));
const sizes = { vocabulary: 4, length: 4, features: 4, layers: 1, heads: 2 };
const sum = (x: Any): Any => x.sum();
const batches = (options: Any) => samples.batches(options).next();
const gone: Any = rg.ones([4]);
const giveAway = rg.compile((x: Any) => x.add(1), { donate: [0], name: "giveAway" });
await gone.data();
giveAway(gone);

/** What is called, and what it has to say after "Cannot". */
const mistakes: readonly (readonly [string, () => unknown, string])[] = [
  ["a stride of 0", () => nn.conv(1, 1, 3, { stride: 0 }), "make conv(1, 1, 3×3): stride is 0"],
  [
    "a stride below 0",
    () => nn.conv(1, 1, 3, { stride: [1, -1] }),
    "stride is [1,-1], expected an",
  ],
  [
    "a broken stride",
    () => nn.conv(1, 1, 3, { stride: 1.5 }),
    "stride is 1.5, expected an integer",
  ],
  ["three strides", () => nn.conv(1, 1, 3, { stride: [1, 1, 1] }), "≥ 1, or 2 of them"],
  ["a padding below 0", () => nn.conv(1, 1, 3, { padding: -1 }), "the padding is -1, expected"],
  ["half a padding", () => nn.conv(1, 1, 3, { padding: 0.5 }), "the padding is 0.5, expected"],
  [
    "padding in capitals",
    () => nn.conv(1, 1, 3, { padding: "SAME" }),
    'padding is "SAME", expected',
  ],
  ["a dilation of 0", () => nn.conv(1, 1, 3, { dilation: 0 }), "dilation is 0, expected"],
  ["no dilation backwards", () => nn.convTranspose(1, 1, 3, { dilation: 0 }), "convTranspose(1, 1"],
  ["no groups", () => nn.conv(1, 1, 3, { groups: 0 }), "the number of groups is 0, expected"],
  ["a pool of nothing", () => nn.maxPool(0), "make maxPool: size is 0, expected an integer"],
  ["a pool that stays", () => nn.averagePool(2, { stride: 0 }), "make averagePool: stride is 0"],
  ["a pool padded by text", () => nn.maxPool(2, { padding: "x" }), 'the padding is "x", expected'],
  ["conv() that stays", () => rg.conv(x, x, { stride: 0 }), "conv: "],
  [
    "dropout of everything",
    () => nn.dropout(1),
    "make dropout: the rate is 1, expected one in [0, 1)",
  ],
  ["dropout by text", () => nn.dropout("0.5"), 'make dropout: the rate is "0.5", expected'],
  ["orthogonal by NaN", () => nn.orthogonal({ gain: NaN }), "orthogonal weights: gain is NaN"],
  ["mlp of nothing", () => nn.mlp(), "make mlp: the sizes are undefined, expected a list"],
  ["gpt of nothing", () => nn.gpt(), "make gpt: the options are undefined, expected an object"],
  ["gpt misspelt", () => nn.gpt({ ...sizes, droput: 0.1 }), "make gpt: there is an option droput"],
  ["sgd of NaN", () => optim.sgd({ rate: NaN }), "make sgd: rate is NaN, expected a number >= 0"],
  ["sgd uphill", () => optim.sgd({ rate: -1 }), "make sgd: rate is -1, expected a number >= 0"],
  ["sgd of a number", () => optim.sgd(0.1), "make sgd: the options are 0.1, expected an object"],
  [
    "nesterov alone",
    () => optim.sgd({ rate: 1, nesterov: true }),
    "momentum 0, expected a positive",
  ],
  [
    "dampening alone",
    () => optim.sgd({ rate: 1, dampening: 0.5 }),
    "dampening is 0.5 and momentum 0",
  ],
  [
    "dampening by NaN",
    () => optim.sgd({ rate: 1, dampening: NaN }),
    "dampening is NaN and momentum",
  ],
  [
    "too much momentum",
    () => optim.sgd({ rate: 1, momentum: 2 }),
    "momentum is 2, expected a number",
  ],
  [
    "adam that forgets nothing",
    () => optim.adam({ beta1: 1 }),
    "beta1 is 1, expected a number in [0,",
  ],
  ["adam below 0", () => optim.adam({ beta2: -0.1 }), "beta2 is -0.1, expected a number in [0, 1)"],
  ["adam of null", () => optim.adam(null), "make adam: the options are null, expected an object"],
  [
    "adamw of null",
    () => optim.adamw(null),
    "make adamw: the options are null, expected an object",
  ],
  ["a cosine of no steps", () => optim.cosine(1, { steps: 0 }), "steps is 0, expected a positive"],
  [
    "a cosine without steps",
    () => optim.cosine(1),
    "make a cosine rate: the options are undefined",
  ],
  ["a warm-up of no steps", () => optim.warmup({ steps: 0, then: 1 }), "steps is 0, expected a"],
  [
    "steps of nothing",
    () => optim.stepDecay(1, { every: 0, factor: 0.5 }),
    "every is 0, expected an",
  ],
  [
    "a plateau that grows",
    () => optim.plateau(1, { factor: 2 }),
    "factor is 2, expected a number in",
  ],
  [
    "hypergradient of nothing",
    () => optim.hypergradient(sum),
    "the options are undefined, expected",
  ],
  [
    "hypergradient misspelt",
    () => optim.hypergradient(sum, { steps: 2, tapes: {} }),
    "make a training run: there is an option tapes, expected steps",
  ],
  [
    "hypergradient without rates",
    () => optim.hypergradient(sum, { steps: 2 })(x),
    "train: the options are undefined, expected an object such as { rates: 0.1 }",
  ],
  ["batches of 0", () => batches({ size: 0 }), "size is 0, expected an integer in [1, 10]"],
  ["batches of 1.5", () => batches({ size: 1.5 }), "size is 1.5, expected an integer in [1, 10]"],
  ["batches of nothing", () => batches(undefined), "the options are undefined, expected an object"],
  [
    "half a seed",
    () => batches({ size: 2, seed: 0.5 }),
    "the seed is 0.5, expected a non-negative",
  ],
  ["an epoch below 0", () => batches({ size: 2, seed: 0, epoch: -1 }), "is -1, expected a non-neg"],
  ["a key below 0", () => rg.random.key(-1), "make a key: the seed is -1, expected a whole number"],
  [
    "a data set of nothing",
    () => new rg.data.Dataset(),
    "make a data set: x is undefined, expected",
  ],
  [
    "bytes by NaN",
    () => rg.data.byteColumn(new Uint8Array(4), [4], { scale: NaN }),
    "make a byte column: scale is NaN, expected a finite number",
  ],
  [
    "zeros() of 2^32",
    () => rg.zeros([65536, 65536]),
    "has more than 2^31-1 elements, expected fewer",
  ],
  ["zeros() of 2^53", () => rg.zeros([2 ** 53]), "has more than 2^31-1 elements, expected fewer"],
  [
    "zeros() of half",
    () => rg.zeros([0.5]),
    "fill: shape is [0.5], expected non-negative integers",
  ],
  [
    "add() of 2^32",
    () => rg.ones([65536, 1]).add(rg.ones([65536])),
    "has more than 2^31-1 elements",
  ],
  ["outer() of 2^32", () => rg.ones([65536]).outer(rg.ones([65536])), "has more than 2^31-1"],
  [
    "concatenate() of 2^31",
    () => rg.concatenate([rg.zeros([2 ** 30]), rg.zeros([2 ** 30])], 0),
    "concatenate: shape [2147483648] has more than 2^31-1 elements, expected fewer",
  ],
  ["float32", () => rg.zeros([1], { dtype: "float32" }), "dtype is float32, expected one of f32"],
  [
    "five of six",
    () => rg.tensor(new Float32Array(5), { shape: [2, 3] }),
    "make a tensor: 5 values for shape [2,3], expected 6 values",
  ],
  [
    "bigints",
    () => rg.tensor(new BigInt64Array(2)),
    "data is a BigInt64Array, expected an array of",
  ],
  ["giving away twice", () => giveAway(gone), "no data, it was donated to giveAway, expected one"],
  [
    "no kind of memory",
    () => rg.countAs("weights", x),
    'the kind is "weights", expected one of data',
  ],
  ["grad() of null", () => rg.grad(null)(x), "differentiate: null, expected a function"],
];

const fit = (more: Any) =>
  rg.train.fit({
    model: nn.mlp([2, 3]),
    optimizer: optim.adam(),
    train: samples,
    validation: samples,
    epochs: 1,
    batch: 2,
    sink: null,
    ...more,
  });

/** The same of what is waited for. */
const awaited: readonly (readonly [string, () => Promise<unknown>, string])[] = [
  [
    "fit() of nothing",
    () => rg.train.fit(),
    "train: the options are undefined, expected an object",
  ],
  [
    "fit() without data",
    () => fit({ train: undefined }),
    "train is undefined, expected a data set",
  ],
  ["fit() on an array", () => fit({ train: [1] }), "train is an array of 1, expected a data set"],
  [
    "fit() unseen",
    () => fit({ validation: undefined }),
    "validation is undefined, expected a data",
  ],
  ["fit() of no model", () => fit({ model: undefined }), "model is undefined, expected a layer"],
  ["fit() by nobody", () => fit({ optimizer: undefined }), "optimizer is undefined, expected an"],
  ["fit() told to 3", () => fit({ sink: 3 }), "train: sink is 3, expected what can be written to"],
  [
    "fit() in batches of 0",
    () => fit({ batch: 0 }),
    "the batch is 0, expected an integer in [1, 10]",
  ],
  ["fit() in half batches", () => fit({ batch: 2.5 }), "the batch is 2.5, expected an integer in"],
  ["fit() from half a seed", () => fit({ seed: 0.5 }), "the seed is 0.5, expected a whole number"],
  ["evaluate() of nothing", () => rg.train.evaluate(), "evaluate: the options are undefined"],
  [
    "evaluate() without data",
    () => rg.train.evaluate({ model: nn.mlp([2, 3]) }),
    "evaluate: the data set is undefined, expected a data set",
  ],
  [
    "profile() of no run",
    () => rg.profile(sum, [x], { runs: 0 }),
    "runs is 0, expected a positive",
  ],
  [
    "checkGradients() from half a seed",
    () => rg.checkGradients(sum, [x], { seed: 0.5 }),
    "check sum: the seed is 0.5, expected a non-negative integer",
  ],
  ["reading what was given away", () => gone.data(), "read a value: it was donated to giveAway"],
  ["init() misspelt", () => rg.init({ softwere: "allow" }), "init: there is an option softwere"],
];

const form = /^Cannot [^:]+(: | on \d+ samples: ).+, expected .+[^.]$/s;

for (const [name, call, part] of mistakes) {
  Deno.test(`${name}: an error in the call`, () => {
    const { message } = assertThrows(call, Error);
    assert(message.includes(part), message);
    assert(form.test(message), message);
  });
}

for (const [name, call, part] of awaited) {
  Deno.test(`${name}: an error of the promise`, async () => {
    const { message } = await assertRejects(async () => await call(), Error);
    assert(message.includes(part), message);
    assert(form.test(message), message);
  });
}

Deno.test("what is right after a mistake goes on as if nothing had been", async () => {
  const { params } = await fit({});
  const model = nn.mlp([2, 3]);
  assert(model.apply(params, x).shape[1] === 3);
  assert((await model.apply(params, rg.random.normal(key, [4, 2])).data()).every(Number.isFinite));
});
