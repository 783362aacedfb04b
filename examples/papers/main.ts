/**
 * `deno task papers NAME`: experiments of the papers that the project grew from, one by name, beside
 * the figures that were published.
 *
 * @module
 */
import { main } from "../../bench/memory/command.ts";
import type { Experiment } from "../../bench/memory/experiment.ts";
import { curvature } from "./curvature.ts";
import { figures } from "./figures.ts";
import { nielsen } from "./nielsen.ts";
import { sketchedMnist } from "./sketched_mnist.ts";
import { sketchedPde } from "./sketched_pde.ts";
import { sketchedRnn } from "./sketched_rnn.ts";
import { precision } from "./precision.ts";

/** Every experiment by its name on the command line. */
export const experiments: Readonly<Record<string, Experiment>> = {
  figures,
  curvature,
  nielsen,
  "sketched-mnist": sketchedMnist,
  "sketched-rnn": sketchedRnn,
  "sketched-pde": sketchedPde,
  precision,
};

if (import.meta.main) {
  await main({
    task: "papers",
    about:
      `Reproduces experiments from papers; prints tables and what was to be shown, and writes both, with
pictures. Ends with 1 if something was not shown.`,
    out: "runs/papers",
    experiments,
  });
}
