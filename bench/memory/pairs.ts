/**
 * McCallum–Foster pairs, whose inverse grows what rounding got wrong: with and without a tape.
 *
 * @module
 */
import * as rg from "../../mod.ts";
import type { Claim, Experiment } from "./experiment.ts";

type T = rg.Tensor;

/** See the top of the file. */
export const pairs: Experiment = {
  title: "McCallum–Foster pairs, far apart",
  about:
    "y′ = θy, θ = −1, over T = 5 with the midpoint rule and λ = .99: how far the first value is from " +
    "what it was after all steps and their inverses; whether the gradient with a tape is exact, and " +
    "how far off it is without one, by y(0) and by θ, which is summed over all states. `--scale` " +
    "leaves out the longer ones.",
  async run({ scale, progress }) {
    const rows: (string | number)[][] = [], claims: Claim[] = [];
    for (const length of [500, 2000, 10_000].filter((n) => n <= Math.max(500, 10_000 * scale))) {
      progress(`${length} steps`);
      const pairOf = (theta: T) =>
        rg.steps.coupled({ field: (y: T) => y.mul(theta), h: 5 / length, coupling: 0.99 });
      const y0 = rg.tensor([1]), theta = rg.tensor([-1]), pair = pairOf(theta);
      const there = rg.loop(pair.step, pair.start(y0), { length });
      const back = rg.loop((c, i) => pair.inverse(c, i.neg().add(length - 1)), there, { length });
      const off = await back.y.sub(y0).abs().max().item() as number;
      const gradient = async (exact?: "tape" | false): Promise<number[]> => {
        const loss = (y0: T, theta: T): T => {
          const pair = pairOf(theta);
          const backward = exact === undefined ? "store" : rg.reverse({ ...pair, exact });
          return pair.value(rg.loop(pair.step, pair.start(y0), { length, backward })).square()
            .sum();
        };
        const of = rg.grad(loss, { argnums: [0, 1] })(y0, theta);
        return await Promise.all(of.map((g) => g.item() as Promise<number>));
      };
      const [stored, taped, drifting] = [
        await gradient(),
        await gradient("tape"),
        await gradient(false),
      ];
      const exact = taped.every((g, i) => g === stored[i]);
      const apart = Math.abs(drifting[1]! / stored[1]! - 1);
      rows.push([
        length,
        off.toPrecision(2),
        exact ? "yes" : "no",
        Number.isFinite(apart) ? apart.toPrecision(2) : "not finite",
      ]);
      claims.push({ text: `${length} steps: the gradient is exact`, met: exact });
      if (length === 10_000) {
        claims.push({ text: `10 000 steps: diverges without the tape (${off})`, met: !(off < 1) });
        claims.push({ text: "10 000 steps: so does the gradient", met: !(apart < 1) });
      }
    }
    return {
      tables: [{
        title: "Reconstruction",
        columns: ["steps", "off by", "tape exact", "gradient by θ without a tape, relative error"],
        rows,
      }],
      claims,
    };
  },
};
