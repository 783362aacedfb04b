/**
 * Reversed leaves under an outer schedule, against the model of what that takes.
 *
 * @module
 */
import * as rg from "../../mod.ts";
import { type Experiment, megabytes } from "./experiment.ts";

type T = rg.Tensor;

const normal = (seed: number, shape: readonly number[]): T =>
  rg.random.normal(rg.random.key(seed), shape);

/** See the top of the file. */
export const leaves: Experiment = {
  title: "Taped leaves under an outer schedule",
  about:
    "A leapfrog of 4096 pendulums over 10^5 steps: revolve keeps 80 states, the leaves of 1250 " +
    "steps between them are reversed by tape. Beside the model s·|state| + leaf·D·b/8 + |tape of one " +
    "step|. `--scale` takes shorter leaves.",
  async run({ scale, progress }) {
    const size = 4096, elements = 2 * size, snapshots = 80;
    const segment = Math.max(40, Math.round(1250 * scale));
    const length = snapshots * segment;
    const pair = rg.steps.leapfrog({ force: (x: T) => x.sin().neg(), h: 0.05 });
    // A little more than they need: no leaf is gone back over in pieces.
    const bits = 0.52;
    progress(`${length} steps`);
    const run = rg.compile((x: T, v: T): T =>
      rg.grad((x: T) =>
        rg.loop(pair.step, { x, v }, {
          length,
          backward: rg.revolve({
            snapshots,
            segment,
            leaf: rg.reverse({ ...pair, exact: "tape", tape: { bits } }),
          }),
        }).x.sum()
      )(x)
    );
    // All swing, none turns over: near the top, gradients leave f32's range within so many steps.
    const args = [normal(1, [size]).mul(0.4), normal(2, [size]).mul(0.4)] as const;
    const began = performance.now();
    const first = await run(...args).data();
    const seconds = (performance.now() - began) / 1000;
    const { peak } = run.programs().at(-1)!.memory;
    const rate = Number(run.explain().match(/bits an element and step: ([\d.]+)/)![1]);
    const state = 4 * elements;
    // Of what is alive besides: the working state, its cotangent, the guess and the codes.
    const model = snapshots * state + segment * elements * rate / 8 + state;
    run.dispose();
    return {
      tables: [{
        title: "Peak",
        columns: ["steps", "leaf", "bits", "peak, MB", "model, MB", "states besides", "s"],
        rows: [[
          length,
          segment,
          rate.toFixed(3),
          megabytes(peak),
          megabytes(model),
          ((peak - model) / state).toFixed(1),
          seconds.toFixed(0),
        ]],
      }],
      claims: [{
        text: `the tape needs ${rate} bits and has ${bits}, so that no leaf goes in pieces`,
        met: rate <= bits,
      }, {
        text: `the peak is ${(peak / model).toFixed(2)} times the model, at most 1.1`,
        met: peak <= 1.1 * model,
      }, { text: "the gradient is finite", met: first.every(Number.isFinite) }],
    };
  },
};
