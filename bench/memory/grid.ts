/**
 * Reversal on a grid: a million steps there and back, with nothing stored, and what plain floats
 * make of it.
 *
 * @module
 */
import * as rg from "../../mod.ts";
import type { Claim, Experiment } from "./experiment.ts";

type T = rg.Tensor;
type Motion = rg.steps.Motion<T>;

const normal = (seed: number, shape: readonly number[]): T =>
  rg.random.normal(rg.random.key(seed), shape);

/**
 * Accelerations of bodies that attract one another, softened, in a bowl that none of them ever leaves;
 * x is [bodies, 3].
 */
function attraction(x: T): T {
  const n = x.shape[0]!, sizes = x.square().sum(1, { keepDims: true });
  // |a - b|² = |a|² + |b|² - 2ab: one product instead of all pairs of vectors.
  const near = sizes.add(sizes.reshape(1, n)).sub(x.matmul(x.transpose()).mul(2)).add(0.05);
  const weights = near.mul(near.sqrt()).reciprocal();
  const pull = weights.matmul(x).sub(x.mul(weights.sum(1, { keepDims: true })));
  return pull.div(n).sub(x.mul(0.1));
}

/** Values whose bits differ after all steps and their inverses, of all values. */
interface Returned {
  readonly differing: number;
  readonly of: number;
  readonly seconds: number;
}

/** Runs there and back. */
async function returned(
  pair: rg.steps.ReversibleStep<Motion>,
  start: Motion,
  length: number,
): Promise<Returned> {
  const began = performance.now();
  const trip = rg.compile((start: Motion): T => {
    const there = rg.loop(pair.step, start, { length });
    const back = rg.loop((c: Motion, i) => pair.inverse(c, i.neg().add(length - 1)), there, {
      length,
    });
    const count = (a: T, b: T): T => a.bitcast("u32").notEqual(b.bitcast("u32")).cast("i32").sum();
    return count(back.x, start.x).add(count(back.v, start.v));
  });
  const differing = await trip(start).item() as number;
  trip.dispose();
  const seconds = (performance.now() - began) / 1000;
  return { differing, of: start.x.size + start.v.size, seconds };
}

/** See the top of the file. */
export const grid: Experiment = {
  title: "A leapfrog on a grid, there and back",
  about:
    "Pendulums and 64 bodies that attract one another in a bowl, a million steps forward and a " +
    "million backward, with sums on a grid and with plain floats. On the software adapter the bodies take a " +
    "quarter of an hour. `--scale` takes fewer steps.",
  async run({ scale, kept, progress }) {
    const length = Math.max(100, Math.round(1e6 * scale));
    const rows: (string | number)[][] = [], claims: Claim[] = [];
    const bodies = { x: normal(1, [64, 3]), v: normal(2, [64, 3]).mul(0.2) };
    const pendulums = { x: rg.tensor([1, 2, 0.5, -2.5]), v: rg.tensor([0, 0.25, 1, -0.5]) };
    const cases = [
      ["pendulums", pendulums, { force: (x: T) => x.sin().neg(), h: 0.05 }, { range: 8 }],
      ["64 bodies", bodies, { force: attraction, h: 0.01 }, { range: 32, velocityRange: 8 }],
    ] as const;
    for (const [name, start, options, range] of cases) {
      const exact = rg.steps.exactLeapfrog({ ...options, ...range });
      const both = [
        ["grid", exact, exact.start(start)],
        ["floats", rg.steps.leapfrog(options), start],
      ] as const;
      for (const [kind, pair, first] of both) {
        const part = `${name}, ${kind}, ${length}`;
        progress(part);
        const before = kept.get(part).get("") as Returned | undefined;
        const found = before ?? await returned(pair, first, length);
        if (before === undefined) await kept.put(part, found);
        const { differing, of, seconds } = found;
        rows.push([`${name}, ${kind}`, length, `${differing} of ${of}`, seconds.toFixed(0)]);
        const met = kind === "grid" ? differing === 0 : differing > 0;
        claims.push({ text: `${name}, ${kind}: ${differing} values differ`, met });
      }
    }
    return {
      tables: [{
        title: "There and back",
        columns: ["motion", "steps each way", "values that differ", "s"],
        rows,
      }],
      claims,
    };
  },
};
