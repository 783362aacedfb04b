/**
 * What plans are expected to take beside what they take: by the model of bytes and operations, and
 * by times measured with `profile`, for programs of several kinds within several budgets.
 *
 * @module
 */
import * as rg from "../../mod.ts";
import { gpt } from "../data.ts";
import { chainInputs, chainLoss, timesOf } from "./chain.ts";
import { type Experiment, megabytes } from "./experiment.ts";

/** A loss, and where its gradient is taken. */
interface Case {
  readonly name: string;
  readonly loss: (params: rg.Tree, ...data: rg.Tensor[]) => rg.Tensor;
  readonly params: rg.Tree;
  readonly data: readonly rg.Tensor[];
}

async function chainCase(scale: number): Promise<Case> {
  const depth = Math.max(8, Math.round(64 * scale));
  const { params, x } = await chainInputs(depth);
  const loss = chainLoss(depth) as Case["loss"];
  return { name: `residual chain, depth ${depth}`, loss, params, data: [x] };
}

async function mlpCase(scale: number): Promise<Case> {
  const batch = Math.max(64, Math.round(1024 * scale));
  const model = rg.nn.mlp([784, 1024, 512, 256, 512, 1024, 10]);
  const params = await rg.realize(model.init(rg.random.key(1)));
  const data = await rg.realize([
    rg.random.normal(rg.random.key(2), [batch, 784]),
    rg.random.randint(rg.random.key(3), [batch], 0, 10),
  ]);
  const loss: Case["loss"] = (params, x, y) => rg.nn.crossEntropy(model.apply(params, x!), y!);
  return { name: `MLP of six layers, batch ${batch}`, loss, params, data };
}

async function gptCase(scale: number): Promise<Case> {
  const { length, features, heads, vocabulary } = gpt;
  const batch = Math.max(1, Math.round(gpt.batch * scale));
  const model = rg.nn.gpt({ length, features, heads, vocabulary, layers: 4 });
  const params = await rg.realize(model.init(rg.random.key(1)));
  const [x, y] = await rg.realize(
    [2, 3].map((seed) => rg.random.randint(rg.random.key(seed), [batch, length], 0, vocabulary)),
  );
  const loss: Case["loss"] = (params, x, y) => rg.nn.crossEntropy(model.apply(params, x!), y!);
  return { name: `GPT, 4 layers, batch ${batch}`, loss, params, data: [x!, y!] };
}

function disposeAll(tree: rg.Tree): void {
  if (tree instanceof rg.Tensor) tree.dispose();
  else if (typeof tree === "object" && tree !== null) Object.values(tree).forEach(disposeAll);
}

type Step = rg.Compiled<[rg.Tree, ...rg.Tensor[]], [rg.Tensor, rg.Tree]>;

/** Microseconds that a step is expected to take. */
const predicted = (f: Step): number =>
  f.programs()[0]!.steps().reduce((sum, { time }) => sum + time, 0);

const again = (f: Step): number => f.programs()[0]!.steps().filter(({ again }) => again).length;

/** A row of the table: one budget. */
interface Row {
  readonly cells: readonly (string | number)[];
  /** How far off the ratios are that were predicted, as factors. */
  readonly byModel: number;
  readonly byTimes: number;
}

async function compare(
  { name, loss, params, data }: Case,
  progress: (text: string) => void,
): Promise<Row[]> {
  const compiled = (memory?: number): Step => {
    const f: Step = rg.compile(
      (params: rg.Tree, ...data: rg.Tensor[]) => rg.valueAndGrad(loss)(params, ...data),
      { name, ...(memory !== undefined && { memory }) },
    );
    run(f)();
    return f;
  };
  const run = (f: Step) => () => {
    const [value, gradient] = f(params, ...data);
    value.dispose();
    disposeAll(gradient);
  };
  progress(`${name}, by the model`);
  const store = compiled(), offers = store.programs()[0]!.sweep(), last = offers.length - 1;
  const budgets = [...new Set([1 / 3, 2 / 3, 1].map((share) => Math.round(share * last)))]
    .filter((i) => i > 0).map((i) => offers[i]!.bytes);
  const modelled = budgets.map((memory) => compiled(memory));
  const ratios = modelled.map((f) => predicted(f) / predicted(store));
  progress(`${name}, by measured times`);
  for (const f of [store, ...modelled]) {
    await rg.profile(f as never, [params, ...data], { runs: 3 });
  }
  const known = compiled(), measured = budgets.map((memory) => compiled(memory));
  const knownRatios = measured.map((f) => predicted(f) / predicted(known));
  progress(`${name}, runs`);
  const times = await timesOf([store, ...modelled, ...measured].map(run), 5);
  const [base, ...rest] = times.map((time) => time / times[0]!);
  const rows = budgets.map((memory, i): Row => {
    const [a, b] = [rest[i]! / base!, rest[budgets.length + i]! / base!];
    const off = (said: number, took: number): number => Math.max(said / took, took / said);
    return {
      cells: [
        i === 0 ? `${name}, ${megabytes(store.programs()[0]!.memory.peak)} MB` : "",
        megabytes(memory),
        again(modelled[i]!),
        ratios[i]!.toFixed(3),
        a.toFixed(3),
        again(measured[i]!),
        knownRatios[i]!.toFixed(3),
        b.toFixed(3),
      ],
      byModel: off(ratios[i]!, a),
      byTimes: off(knownRatios[i]!, b),
    };
  });
  for (const f of [store, known, ...modelled, ...measured]) f.dispose();
  return rows;
}

/** See the top of the file. */
export const costs: Experiment = {
  title: "What plans are expected to take, and what they take",
  about: "Value and gradient within three budgets each, from a third of what can be saved to all " +
    "of it: regions run again, and time as a multiple of that where everything is kept, as " +
    "predicted and as run. First the plan that the model of bytes and operations chooses, then " +
    "the one chosen with times that `profile` measured. `--scale` makes the chain shallower and " +
    "batches smaller.",
  async run({ scale, progress }) {
    const rows: Row[] = [];
    for (const make of [chainCase, mlpCase, gptCase]) {
      // Nothing that was measured of one is known of the next.
      rg.shutdown();
      await rg.init({ software: "allow", tuning: false });
      rows.push(...await compare(await make(scale), progress));
    }
    const worst = (of: "byModel" | "byTimes"): number => Math.max(...rows.map((row) => row[of]));
    const claim = (what: string, of: "byModel" | "byTimes") => ({
      text: `${what}, no ratio is off by more than a factor of ${
        worst(of).toFixed(2)
      }, 1.3 at most`,
      met: worst(of) <= 1.3,
    });
    return {
      tables: [{
        title: "Time of everything kept = 1",
        columns: [
          "program",
          "budget, MB",
          "model: again",
          "predicted",
          "run",
          "measured: again",
          "predicted",
          "run",
        ],
        rows: rows.map(({ cells }) => cells),
      }],
      claims: [
        claim("by the model", "byModel"),
        claim("by measured times", "byTimes"),
      ],
    };
  },
};
