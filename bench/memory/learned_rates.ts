/**
 * The experiment of Maclaurin, Duvenaud and Adams 2015, section 3.1: learning rates for every step
 * and layer, learned by differentiating whole runs of training.
 *
 * @module
 */
import * as rg from "../../mod.ts";
import type { Findings } from "./experiment.ts";

/** Maclaurin's experiment at its size: 4 layers with weights and biases, 100 steps, 800 rates. */
export async function learnedRates(
  scale: number,
  progress: (text: string) => void,
): Promise<Findings> {
  const steps = 100, batch = 200;
  const images = Math.max(2 * batch, Math.round(10_000 * scale));
  const rounds = Math.max(5, Math.round(50 * scale));
  const { train } = await rg.data.mnist();
  const rows = rg.tensor(train.order(0, 0).slice(0, images), { dtype: "u32" });
  const data = await rg.realize(train.at(rows));
  const model = rg.nn.mlp([784, 50, 50, 50, 10], { activation: (x) => x.tanh() });
  const like = model.init(rg.random.key(0));
  type Params = { readonly weight: rg.Tensor; readonly bias: rg.Tensor }[];
  type Data = typeof data & { readonly key: rg.Tensor };
  /** Every round begins elsewhere and sees other batches, or rates fit one run's luck. */
  const start = (key: rg.Tensor): Params =>
    like.map(({ weight, bias }, i) => ({
      weight: rg.random.normal(rg.random.foldIn(key, 2 * i), weight.shape).mul(Math.exp(-3)),
      bias: rg.random.normal(rg.random.foldIn(key, 2 * i + 1), bias!.shape).mul(Math.exp(-3)),
    }));
  const loss = (params: Params, { x, y, key }: Data, step: rg.Tensor): rg.Tensor => {
    const rows = rg.random.randint(rg.random.foldIn(key, step.add(100)), [batch], 0, images);
    return rg.nn.crossEntropy(model.apply(params, x.take(rows)), y.take(rows));
  };
  const objective = (params: Params, { x, y }: Data): rg.Tensor =>
    rg.nn.crossEntropy(model.apply(params, x), y);
  const run = rg.optim.trainingRun(loss, { steps, denominator: 2, least: 0.5 });

  type Logs = { readonly weight: rg.Tensor; readonly bias: rg.Tensor }[];
  const ratesOf = (logs: Logs): Logs =>
    logs.map(({ weight, bias }) => ({ weight: weight.exp(), bias: bias.exp() }));
  const optimizer = rg.optim.adam({ rate: 0.04 });
  const metaStep = rg.compile((state: rg.optim.State<Logs>, data: Data) => {
    const [value, gradient] = rg.valueAndGrad((logs: Logs) => {
      const schedule = { rates: ratesOf(logs), momenta: 0.5 };
      return objective(run(start(data.key), schedule, data).params, data);
    })(state.params);
    return { state: optimizer.update(state, gradient), value };
  }, { donate: [0] });
  const initial = (): Logs =>
    like.map(() => ({ weight: rg.full([steps], -1), bias: rg.full([steps], -1) }));
  let state = optimizer.init(initial());
  const values: number[] = [];
  const began = performance.now();
  for (let round = 0; round < rounds; round++) {
    const result = metaStep(state, { ...data, key: rg.random.key(round) });
    state = result.state;
    values.push(await result.value.item());
    progress(`round ${round + 1} of ${rounds}: loss after training ${values.at(-1)!.toFixed(4)}`);
  }
  const seconds = (performance.now() - began) / 1000;
  const learned = ratesOf(state.params);
  const named: { name: string; rates: number[] }[] = [];
  for (const [i, { weight, bias }] of learned.entries()) {
    named.push({ name: `weights ${i + 1}`, rates: [...await weight.data()] });
    named.push({ name: `biases ${i + 1}`, rates: [...await bias.data()] });
  }
  const mean = (x: readonly number[]): number => x.reduce((a, b) => a + b, 0) / x.length;
  const ends = named.map(({ name, rates }) => ({
    name,
    middle: mean(rates.slice(20, 80)),
    end: mean(rates.slice(90)),
  }));
  const isWeight = ({ name }: { readonly name: string }): boolean => name.startsWith("weights");
  const shrunk = ends.filter(isWeight);
  // The losses along a training run, before and after.
  const along = rg.compile((logs: Logs, data: Data) => {
    type Walk = { x: Params; v: Params };
    const rates = ratesOf(logs);
    const step = ({ x, v }: Walk, { rate, i }: { rate: Logs; i: rg.Tensor }): [Walk, rg.Tensor] => {
      const [value, g] = rg.valueAndGrad((x: Params) => loss(x, data, i))(x);
      const next = v.map((v, k) => ({
        weight: v.weight.mul(0.5).sub(g[k]!.weight.mul(0.5)),
        bias: v.bias.mul(0.5).sub(g[k]!.bias.mul(0.5)),
      }));
      const moved = x.map((x, k) => ({
        weight: x.weight.add(next[k]!.weight.mul(rate[k]!.weight)),
        bias: x.bias.add(next[k]!.bias.mul(rate[k]!.bias)),
      }));
      return [{ x: moved, v: next }, value];
    };
    const x = start(data.key);
    const rest = x.map(({ weight, bias }) => ({
      weight: rg.zerosLike(weight),
      bias: rg.zerosLike(bias),
    }));
    const rows = { rate: rates, i: rg.arange(steps).cast("u32") };
    return rg.scan(step, { x, v: rest }, rows)[1];
  });
  const unseen = { ...data, key: rg.random.key(1000) };
  const before = [...await along(initial(), unseen).data()],
    after = [...await along(state.params, unseen).data()];
  const points = (y: readonly number[]) => y.map((y, i) => [i, y] as const);
  return {
    tables: [{
      title: `Rates after ${rounds} rounds of Adam (${
        seconds.toFixed(0)
      } s); all began at exp(-1) = 0.368`,
      columns: ["rates of", "mean of steps 20-79", "mean of the last 10"],
      rows: ends.map(({ name, middle, end }) => [name, middle.toFixed(4), end.toFixed(4)]),
    }],
    pictures: [
      {
        name: "hypergradients-rates",
        title: "Learning rates of weights that were learned, by step",
        xName: "step",
        yName: "rate",
        lines: named.filter(isWeight).map(({ name, rates }) => ({ name, points: points(rates) })),
      },
      {
        name: "hypergradients-rates-biases",
        title: "Learning rates of biases that were learned, by step",
        xName: "step",
        yName: "rate",
        lines: named.filter((of) => !isWeight(of)).map(({ name, rates }) => ({
          name,
          points: points(rates),
        })),
      },
      {
        name: "hypergradients-rounds",
        title: "Training loss after 100 steps, by round of learning the rates",
        xName: "round",
        yName: "loss",
        lines: [{ name: "all images", points: points(values) }],
      },
      {
        name: "hypergradients-training",
        title: "Loss of the batch along a run from an unseen start",
        xName: "step",
        yName: "loss",
        lines: [
          { name: "rates of exp(-1)", points: points(before) },
          { name: "learned rates", points: points(after) },
        ],
      },
    ],
    claims: [
      {
        text: `the training loss falls from ${values[0]!.toFixed(4)} to ${
          values.at(-1)!.toFixed(4)
        }`,
        met: values.at(-1)! < 0.9 * values[0]!,
      },
      // A few rounds do not tell: rates move by 4 % in one.
      ...rounds < 50 ? [] : [{
        text: "the last 10 rates of the weights of every layer shrink: " +
          shrunk.map(({ name, middle, end }) => `${name} to ${(end / middle).toFixed(2)}`)
            .join(", ") +
          " of those in the middle (biases show less structure, as published)",
        met: shrunk.every(({ middle, end }) => end < middle),
      }],
    ],
  };
}
