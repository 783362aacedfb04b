/**
 * Revolve against its table (Griewank & Walther 2000, TOMS 799): the steps that a gradient really
 * runs, counted in the order of its dispatches, and the states that are in its memory.
 *
 * @module
 */
import { played } from "../../compile/script.ts";
import * as rg from "../../mod.ts";
import type { Claim, Experiment } from "./experiment.ts";

/** t(l, s): advances for a chain of l steps with s snapshots, as published. */
export const published:
  readonly (readonly [length: number, snapshots: number, advances: number])[] = [
    [5, 2, 6],
    [10, 2, 20],
    [10, 3, 15],
    [10, 4, 14],
    [10, 6, 12],
    [10, 8, 10],
    [10, 9, 9],
    [14, 3, 27],
    [20, 3, 45],
    [50, 5, 122],
    [100, 1, 4950],
    [100, 2, 845],
    [100, 3, 490],
    [100, 5, 316],
    [100, 8, 245],
    [100, 10, 222],
    [1000, 3, 12155],
    [1000, 5, 6284],
    [1000, 10, 3636],
    [1000, 20, 2747],
  ];

const width = 1024, state = 4 * width;

/** What a gradient through a loop of sines ran, took and gave. */
async function run(length: number, backward: rg.Backward) {
  const f = rg.compile(
    rg.grad((x: rg.Tensor) =>
      rg.loop((x) => x.sin(), x, { length, backward, name: "sines" }).sum()
    ),
  );
  const x = rg.linspace(0.1, 1.5, width);
  const bits = (await f(x).data()).join();
  const program = f.programs()[0]!;
  const isStep = program.dispatches.map(({ expression }) => /\bsin\b/.test(expression));
  let steps = 0;
  for (const dispatch of played(program.script)) if (isStep[dispatch]) steps++;
  f.dispose();
  // The first state is the argument; snapshots and the state that is worked on are workspace.
  const { memory } = program;
  return { bits, steps, states: Math.floor((memory.arguments + memory.workspace) / state) };
}

/** See the top of the file. */
export const revolve: Experiment = {
  title: "Revolve runs what its table says",
  about:
    "The gradient of a loop of l sines with s snapshots, for every pair of the published table: " +
    "steps as dispatched, beside the one that gives the value and those inside of pulls; states " +
    "as they are in memory. `--scale` leaves out longer loops.",
  async run({ scale, progress }) {
    const rows: (string | number)[][] = [], claims: Claim[] = [];
    const stored = new Map<number, string>();
    let [exact, few, same] = [0, 0, 0];
    const pairs = published.filter(([length]) => length <= Math.max(20, 1000 * scale));
    for (const [length, snapshots, advances] of pairs) {
      progress(`${length} steps, ${snapshots} snapshots`);
      if (!stored.has(length)) stored.set(length, (await run(length, "store")).bits);
      const { bits, steps, states } = await run(length, rg.revolve({ snapshots }));
      if (steps - 1 === advances) exact++;
      if (states <= snapshots + 1) few++;
      if (bits === stored.get(length)) same++;
      rows.push([length, snapshots, advances, steps - 1, states]);
    }
    claims.push(
      {
        text: `${exact} of ${pairs.length} pairs run t(l, s) advances`,
        met: exact === pairs.length,
      },
      { text: `${few} of ${pairs.length} have at most s + 1 states`, met: few === pairs.length },
      {
        text: `${same} of ${pairs.length} gradients are those of store, to the bit`,
        met: same === pairs.length,
      },
    );
    return {
      tables: [{
        title: "Advances",
        columns: ["l", "s", "t(l, s)", "advances run", "states at once"],
        rows,
      }],
      claims,
    };
  },
};
