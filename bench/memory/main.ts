/**
 * `deno task bench:memory NAME`: what the ways back cost in bytes and time, one experiment by name,
 * with tables, pictures and whether it showed what it must.
 *
 * @module
 */
import { chain } from "./chain.ts";
import { main } from "./command.ts";
import { costs } from "./costs.ts";
import type { Experiment } from "./experiment.ts";
import { flow } from "./flow.ts";
import { grid } from "./grid.ts";
import { hypergradients } from "./hypergradients.ts";
import { leaves } from "./leaves.ts";
import { pairs } from "./pairs.ts";
import { revnet } from "./revnet.ts";
import { revolve } from "./revolve.ts";
import { strategies } from "./strategies.ts";
import { tape } from "./tape.ts";

/** Every experiment by its name on the command line. */
export const experiments: Readonly<Record<string, Experiment>> = {
  chain,
  costs,
  flow,
  grid,
  hypergradients,
  leaves,
  pairs,
  revnet,
  revolve,
  strategies,
  tape,
};

if (import.meta.main) {
  await main({
    task: "bench:memory",
    about:
      `Runs experiments on what the ways back cost in bytes and time; prints tables and what was to be
shown, and writes both, with pictures. Ends with 1 if something was not shown.`,
    out: "runs/memory",
    experiments,
  });
}
