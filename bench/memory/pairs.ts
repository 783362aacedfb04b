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
    "y′ = −y over T = 5 with the midpoint rule and λ = .99: how far the first value is from what " +
    "it was after all steps and their inverses, and whether the gradient with a tape is exact. " +
    "`--scale` leaves out the longer ones.",
  async run({ scale, progress }) {
    const rows: (string | number)[][] = [], claims: Claim[] = [];
    for (const length of [500, 2000, 10_000].filter((n) => n <= Math.max(500, 10_000 * scale))) {
      progress(`${length} steps`);
      const pair = rg.steps.coupled({ field: (y: T) => y.neg(), h: 5 / length, coupling: 0.99 });
      const y0 = rg.tensor([1]);
      const there = rg.loop(pair.step, pair.start(y0), { length });
      const back = rg.loop((c, i) => pair.inverse(c, i.neg().add(length - 1)), there, { length });
      const off = await back.y.sub(y0).abs().max().item() as number;
      const loss = (backward: rg.Backward) => (y0: T): T =>
        pair.value(rg.loop(pair.step, pair.start(y0), { length, backward })).square().sum();
      const [exact, stored] = [
        await rg.grad(loss(rg.reverse({ ...pair, exact: "tape" })))(y0).item(),
        await rg.grad(loss("store"))(y0).item(),
      ];
      rows.push([length, off.toPrecision(2), exact === stored ? "yes" : "no"]);
      claims.push({ text: `${length} steps: the gradient is exact`, met: exact === stored });
      if (length === 10_000) {
        claims.push({ text: `10 000 steps: diverges without the tape (${off})`, met: !(off < 1) });
      }
    }
    return {
      tables: [{ title: "Reconstruction", columns: ["steps", "off by", "tape exact"], rows }],
      claims,
    };
  },
};
