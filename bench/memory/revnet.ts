/**
 * Deep residual networks on MNIST: activations of a plain one and of one whose blocks undo
 * themselves (Gomez, Ren, Urtasun & Grosse, The reversible residual network, 2017), by depth, and
 * what either learns.
 *
 * @module
 */
import * as rg from "../../mod.ts";
import { timesOf } from "./chain.ts";
import type { Claim, Experiment } from "./experiment.ts";

type T = rg.Tensor;
type Branch = { readonly into: T; readonly out: T };
type Params = {
  readonly first: T;
  /** Stacked over the depth; a plain block has one branch. */
  readonly blocks: readonly Branch[];
  readonly last: T;
};

const width = 128, hidden = 64, batch = 128;

/** To mean 0 and variance 1 along the last axis. */
function normalize(x: T): T {
  const centred = x.sub(x.mean(-1, { keepDims: true }));
  return centred.mul(centred.square().mean(-1, { keepDims: true }).add(1e-5).rsqrt());
}

const branch = (x: T, { into, out }: Branch): T => normalize(x).matmul(into).relu().matmul(out);

/** A network of residual blocks, as a loop over its depth. */
interface Net {
  readonly name: string;
  /** Branches of a block, and the features that each of them sees. */
  readonly branches: number;
  readonly body: (x: T, blocks: readonly Branch[]) => T;
}

/** Blocks x + f(x). */
const plain: Net = {
  name: "plain, stored",
  branches: 1,
  body: (x, blocks) =>
    rg.scan((x: T, [f]: readonly Branch[]) => [x.add(branch(x, f!)), null], x, blocks)[0],
};

/** Couplings of halves, gone back over as asked. */
function coupled(name: string, kind: "store" | "tape" | "grid" | false): Net {
  type Halves = [T, T];
  const free = rg.steps.additiveCoupling(
    (x: T, [f]: readonly Branch[]) => branch(x, f!),
    (x: T, [, g]: readonly Branch[]) => branch(x, g!),
  );
  const exact = rg.steps.exactCoupling(
    (x: T, [f]: readonly Branch[]) => branch(x, f!),
    (x: T, [, g]: readonly Branch[]) => branch(x, g!),
    { range: 256 },
  );
  const pair = kind === "grid" ? exact : free;
  const backward = kind === "store" ? kind : rg.reverse({
    inverse: pair.inverse,
    exact: kind,
    ...kind === "tape" && { tape: { bits: 2 } },
  });
  return {
    name,
    branches: 2,
    body(x, blocks) {
      const [a, b] = [x.slice(null, [0, width / 2]), x.slice(null, [width / 2, width])];
      const start: Halves = kind === "grid" ? exact.start([a, b]) : [a, b];
      const [halves] = rg.scan(
        (x: Halves, block: readonly Branch[]) => [pair.step(x, block), null],
        start,
        blocks,
        { backward },
      );
      return rg.concatenate(halves, 1);
    },
  };
}

/** As many weights for either kind. */
function init({ branches }: Net, depth: number, key: T): Params {
  const features = width / branches;
  const normal = (i: number, shape: readonly number[], fan: number): T =>
    rg.random.normal(rg.random.foldIn(key, i), shape).mul(Math.sqrt(2 / fan));
  return {
    first: normal(0, [784, width], 784),
    // The sum over all blocks stays of one size whatever the depth.
    blocks: Array.from({ length: branches }, (_, i) => ({
      into: normal(2 + 2 * i, [depth, features, hidden], features),
      out: normal(3 + 2 * i, [depth, hidden, features], hidden).div(Math.sqrt(depth)),
    })),
    last: normal(1, [width, 10], width),
  };
}

const logits = (net: Net, { first, blocks, last }: Params, x: T): T =>
  normalize(net.body(x.matmul(first), blocks)).matmul(last);

const loss = (net: Net) => (params: Params, { x, y }: rg.data.Batch): T =>
  rg.nn.crossEntropy(logits(net, params, x), y);

/** The bytes of a gradient besides weights, gradients and data; its time, and bits of it. */
async function measure(net: Net, depth: number, data: rg.data.Batch) {
  const params = await rg.realize(init(net, depth, rg.random.key(1)));
  const f = rg.compile((p: Params, data: rg.data.Batch) => rg.grad(loss(net))(p, data));
  const first = await f(params, data).first.data();
  const drop = (): void => {
    const { first, blocks, last } = f(params, data);
    [first, last, ...blocks.flatMap(({ into, out }) => [into, out])].forEach((g) => g.dispose());
  };
  const [time] = await timesOf([drop], 4);
  const { workspace } = f.programs().at(-1)!.memory;
  f.dispose();
  return { bits: first.join(), workspace, time: time! };
}

/** Trains, and says how much of the test set it then gets right. */
async function train(net: Net, depth: number, steps: number): Promise<number> {
  const { train, test } = await rg.data.mnist();
  const optimizer = rg.optim.adam({ rate: rg.optim.cosine(1e-3, { steps }) });
  const step = rg.compile(
    (state: rg.optim.State<Params>, data: rg.data.Batch) =>
      optimizer.update(state, rg.grad(loss(net))(state.params, data)),
    { donate: [0] },
  );
  let state = optimizer.init(init(net, depth, rg.random.key(2)));
  let left = steps;
  for (let epoch = 0; left > 0; epoch++) {
    for (const data of train.batches({ size: batch, seed: epoch })) {
      if (left-- <= 0) break;
      state = step(state, data);
      if (left % 50 === 0) await rg.synchronize();
    }
  }
  const right = rg.compile((params: Params, { x, y }: rg.data.Batch) =>
    logits(net, params, x).argmax(-1).equal(y).cast("f32").sum()
  );
  let sum = 0, count = 0;
  for (const data of test.batches({ size: 1000 })) {
    sum += await right(state.params, data).item();
    count += 1000;
  }
  step.dispose();
  right.dispose();
  return sum / count;
}

/** See the top of the file. */
export const revnet: Experiment = {
  title: "Reversible residual networks beside plain ones",
  about:
    "Residual networks on MNIST of 8 to 64 blocks, normalisation, 64 hidden units and ReLU in each " +
    "branch, batch 128: plain blocks of 128 features with every block's input stored, and " +
    "couplings of two halves with as many weights, run backwards. Workspace is what a gradient " +
    "takes besides weights, gradients and images. Then 1000 steps of Adam for either kind. " +
    "`--scale` trains fewer steps.",
  async run({ scale, kept, progress }) {
    const depths = [8, 16, 32, 64];
    const steps = Math.max(20, Math.round(1000 * scale));
    const { train: images } = await rg.data.mnist();
    const [data] = images.batches({ size: batch, seed: 0 });
    const nets = [
      plain,
      coupled("coupled, stored", "store"),
      coupled("coupled, tape", "tape"),
      coupled("coupled, drifting", false),
      coupled("coupled, grid", "grid"),
    ];
    const rows: (string | number)[][] = [], claims: Claim[] = [];
    const bytes = new Map<string, number[]>(), bits = new Map<string, string>();
    for (const net of nets) {
      const list: number[] = [];
      let time = 0;
      for (const depth of depths) {
        progress(`${net.name}, ${depth} blocks`);
        const found = await measure(net, depth, data!);
        list.push(found.workspace);
        bits.set(`${net.name} ${depth}`, found.bits);
        time = found.time;
      }
      bytes.set(net.name, list);
      rows.push([net.name, ...list.map((b) => (b / 1e3).toFixed(0)), time.toFixed(0)]);
    }
    const growth = (name: string): number => bytes.get(name)!.at(-1)! / bytes.get(name)![0]!;
    for (const name of ["coupled, drifting", "coupled, grid"]) {
      claims.push({
        text: `${name}: ${growth(name).toFixed(2)} times the workspace for 8 times the depth`,
        met: growth(name) < 1.02,
      });
    }
    claims.push({
      text: "coupled, tape: the gradient is that of store, to the bit, at every depth",
      met: depths.every((d) => bits.get(`coupled, tape ${d}`) === bits.get(`coupled, stored ${d}`)),
    });
    const learned: (string | number)[][] = [];
    for (const depth of depths) {
      const scores: number[] = [];
      for (
        const net of [plain, coupled("coupled, drifting", false), coupled("coupled, grid", "grid")]
      ) {
        const part = `${steps} steps of Adam, ${net.name}, ${depth} blocks`;
        progress(part);
        const before = kept.get(part).get("") as number | undefined;
        const score = before ?? await train(net, depth, steps);
        if (before === undefined) await kept.put(part, score);
        scores.push(score);
      }
      learned.push([depth, ...scores.map((s) => `${(100 * s).toFixed(2)} %`)]);
      const [one, ...others] = scores as [number, ...number[]];
      if (steps < 500) continue;
      claims.push({
        text: `${depth} blocks: ${others.map((s) => (100 * s).toFixed(2)).join(" and ")} % right ` +
          `coupled, ${(100 * one).toFixed(2)} % plain, at most one point less`,
        met: others.every((s) => s > one - 0.01),
      });
    }
    return {
      tables: [
        {
          title: "Workspace of a gradient, kB",
          columns: ["network", ...depths.map((d) => `${d} blocks`), "64 blocks, ms"],
          rows,
        },
        {
          title: `Test images right after ${steps} steps`,
          columns: ["blocks", "plain, stored", "coupled, drifting", "coupled, grid"],
          rows: learned,
        },
      ],
      pictures: [{
        name: "revnet-depth",
        title: "Workspace of a gradient by depth",
        xName: "blocks",
        yName: "kB",
        lines: nets.map(({ name }) => ({
          name,
          points: depths.map((d, i) => [d, bytes.get(name)![i]! / 1e3] as const),
        })),
        log: "x",
      }],
      claims,
    };
  },
};
