/**
 * Control of a reaction and a diffusion with a random part of the states held (Oktay et al. 2020,
 * section 4.4): φ_t = D∇²φ + C(θ,x,t)·φ on the unit square, φ = 0 on its border, D = ¼, by explicit
 * steps on a grid. C has seven coefficients θ, found by Adam so that φ follows a target. Of every
 * state the way back needs two things: φ itself, for the gradient of C, and how far it is from the
 * target. Both are sketched; the second makes the gradient of the state an estimate, too.
 *
 * @module
 */
import * as rg from "@retrograd/retrograd";
import type { Experiment } from "../../bench/memory/experiment.ts";
import { bytesHeld } from "./sketches.ts";

const diffusion = 0.25, cells = 32, nodes = cells + 1, dt = 1 / 4096;
/** Parts of each state that are held. */
const keeps = [1, 0.1, 0.01, 0.001];

/** Positions along an axis. */
const line = (): rg.Tensor => rg.arange(nodes).cast("f32").mul(1 / cells);

/** What the equation needs of the grid. */
function fields() {
  const x = line().reshape(1, nodes), y = line().reshape(nodes, 1);
  const begin = x.mul(Math.PI).sin().mul(y.mul(Math.PI).sin());
  const sin = x.mul(2 * Math.PI).sin().broadcastTo([nodes, nodes]);
  return {
    begin,
    sin,
    cos: x.mul(2 * Math.PI).cos().broadcastTo([nodes, nodes]),
    sway: sin.mul(y.mul(Math.PI).sin()).mul(0.25),
  };
}

function react(phi: rg.Tensor, source: rg.Tensor): rg.Tensor {
  return phi.mul(source);
}

function distance(away: rg.Tensor): rg.Tensor {
  return away.square().mean();
}

/** Σ dt·mean((φ - target)²) over the steps. */
function simulate(steps: number, keep: number): (theta: rg.Tensor, key: rg.Tensor) => rg.Tensor {
  return (theta, key) => {
    const { begin, sin, cos, sway } = fields();
    const inner = (x: rg.Tensor): rg.Tensor => x.slice([1, cells], [1, cells]);
    type State = { phi: rg.Tensor; loss: rg.Tensor };
    const step = ({ phi, loss }: State, i: rg.Tensor): State => {
      const angle = i.cast("f32").mul(dt * Math.PI), own = rg.random.foldIn(key, i);
      const [s, c] = [angle.sin(), angle.cos()];
      const t = (j: number): rg.Tensor => theta.slice([j, j + 1]).reshape();
      const source = t(0).add(t(1).mul(s)).add(t(2).mul(c))
        .add(t(3).mul(s).add(t(4).mul(c)).mul(sin))
        .add(t(5).mul(s).add(t(6).mul(c)).mul(cos));
      const sketched = (which: number) =>
        ({ keep, batch: 0, key: rg.random.foldIn(own, which) }) as const;
      const around = phi.slice([0, cells - 1], [1, cells]).add(phi.slice([2, nodes], [1, cells]))
        .add(phi.slice([1, cells], [0, cells - 1])).add(phi.slice([1, cells], [2, nodes]));
      const spread = around.sub(inner(phi).mul(4)).mul(diffusion * dt * cells * cells);
      const reaction = rg.sketch(react, sketched(0))(phi, source).mul(dt);
      const next = phi.add(spread.add(inner(reaction)).pad(1));
      const target = begin.add(sway.mul(s));
      const far = rg.sketch(distance, sketched(1))(next.sub(target)).mul(dt);
      return { phi: next, loss: loss.add(far) };
    };
    return rg.loop(step, { phi: begin, loss: rg.tensor(0) }, { length: steps }).loss;
  };
}

/** How a descent went. */
export interface Descent {
  readonly points: readonly (readonly [iteration: number, loss: number])[];
  readonly held: number;
  readonly peak: number;
  readonly seconds: number;
}

/** Adam's descent with a part of the states held. */
export async function descend(
  steps: number,
  iterations: number,
  keep: number,
  progress: (text: string) => void,
): Promise<Descent> {
  const optimizer = rg.optim.adam({ rate: 1e-2 });
  const step = rg.compile((state: rg.optim.State<rg.Tensor>, key: rg.Tensor) => {
    const own = rg.random.foldIn(key, state.step);
    const [loss, gradient] = rg.valueAndGrad(simulate(steps, keep))(state.params, own);
    return [optimizer.update(state, gradient), loss] as const;
  });
  const drawn = rg.random.uniform(rg.random.key(1), [6], { low: -0.1, high: 0.1 });
  let state = optimizer.init<rg.Tensor>(rg.concatenate([rg.tensor([4.932]), drawn], 0));
  const points: [number, number][] = [], key = rg.random.key(2), began = performance.now();
  for (let i = 0; i < iterations; i++) {
    const [next, loss] = step(state, key);
    state = next;
    points.push([i, await loss.item() as number]);
    if (i % 10 === 0) progress(`keep ${keep}: iteration ${i} of ${iterations}: ${points[i]![1]}`);
  }
  const [program] = step.programs(), seconds = (performance.now() - began) / 1000;
  const peak = Number(/^peak +\d+ +(\d+)$/m.exec(step.explain())?.[1]);
  step.dispose();
  return { points, held: bytesHeld(program!), peak, seconds };
}

/** See the top of the file. */
export const sketchedPde: Experiment = {
  title: "Randomized automatic differentiation of a reaction and diffusion",
  about: "Seven coefficients of a source, so that a diffusing density follows a target, with " +
    "random parts of each state held for the way back. `--scale` shortens the time of 10 units " +
    "(40 960 steps), and the 800 iterations by its square root.",
  async run({ scale, kept, progress }) {
    const steps = Math.max(8, Math.round(40_960 * scale));
    const iterations = Math.max(4, Math.round(800 * Math.sqrt(scale)));
    const found: { keep: number; descent: Descent }[] = [], done = kept.get("descent ");
    for (const keep of keeps) {
      let descent = done.get(String(keep)) as Descent | undefined;
      if (descent === undefined) {
        descent = await descend(steps, iterations, keep, progress);
        await kept.put(`descent ${keep}`, descent);
      }
      found.push({ keep, descent });
    }
    const fall = ({ points }: Descent): number => points[0]![1] - points.at(-1)![1];
    const exact = fall(found[0]!.descent), all = 4 * steps * nodes * nodes;
    return {
      tables: [{
        title: `${steps} steps, ${iterations} iterations; all states are ${
          (all / 1e6).toFixed(1)
        } MB`,
        columns: ["keep", "loss at first", "loss at last", "held, MB", "peak, MB", "s"],
        rows: found.map(({ keep, descent: { points, held, peak, seconds } }) => [
          keep,
          points[0]![1].toExponential(3),
          points.at(-1)![1].toExponential(3),
          keep === 1 ? "" : (held / 1e6).toFixed(3),
          (peak / 1e6).toFixed(3),
          seconds.toFixed(0),
        ]),
      }],
      pictures: [{
        name: "sketched-pde",
        title: "Loss of the controlled density",
        xName: "iteration",
        yName: "loss",
        log: "y",
        lines: found.map(({ keep, descent: { points } }) => ({ name: `keep ${keep}`, points })),
      }],
      claims: found.filter(({ keep }) => keep < 1 && keep >= 0.01).map(({ keep, descent }) => {
        const share = fall(descent) / exact;
        return {
          text: `with ${keep} of the states held the loss falls by ${
            (100 * share).toFixed(1)
          } % of what it falls by with all of them, at least 80 %`,
          met: share > 0.8,
        };
      }),
    };
  },
};
