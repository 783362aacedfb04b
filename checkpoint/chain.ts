/**
 * The way back of a chain whose stages differ in cost and size, under a budget of bytes: Rotor
 * (Beaumont, Eyraud-Dubois, Herrmann, Joly & Shilova 2019, "Optimal checkpointing for heterogeneous
 * chains"). A stage is run forward keeping nothing of its input, keeping its input as a checkpoint,
 * or keeping all that its pull reads; a dynamic program over (first stage, last stage, memory) finds
 * the fastest sequence among those that keep a checkpoint until its own stage is pulled.
 *
 * Memory is counted in units of budget/`units` bytes, sizes rounded up and the budget down: a plan
 * never takes more bytes than it says. Each value alive wastes less than one unit, so the plan is no
 * slower than the best exact one for a budget smaller by (values alive + 1) units.
 *
 * @module
 */

/** One stage: value i goes in, value i+1 comes out. Times in one unit, sizes in bytes. */
export interface Stage {
  /** Time to run forward. */
  readonly forward: number;
  /** Time to pull the cotangent back through, given all that was kept. */
  readonly backward: number;
  /** Bytes of the value that comes out. */
  readonly output: number;
  /** Bytes of all that the pull reads, the output among them and the input not: at least `output`. */
  readonly kept: number;
  /** Bytes of the cotangent of the output. @default output */
  readonly cotangent?: number;
  /** Bytes needed besides while running forward. @default 0 */
  readonly forwardWork?: number;
  /** Bytes needed besides while pulling. @default 0 */
  readonly backwardWork?: number;
}

/** One thing to do to a chain. */
export type ChainAction =
  /** Run a stage; of its input, keep nothing or the input, or keep all that its pull reads. */
  | {
    readonly do: "forward";
    readonly stage: number;
    readonly keep: "nothing" | "input" | "all";
  }
  /** Pull the cotangent through a stage; frees what was kept of it. */
  | { readonly do: "backward"; readonly stage: number };

/** What {@linkcode planChain} found. */
export interface ChainPlan {
  readonly actions: readonly ChainAction[];
  /** Time of all actions. */
  readonly time: number;
  /** Time of all actions if nothing were run twice. */
  readonly least: number;
  /** Bytes in use at the fullest moment, the chain's input not counted: exact, by playing it. */
  readonly peak: number;
  /** Bytes that a unit of the table stands for: the granularity of the search. */
  readonly unit: number;
}

/** Options of {@linkcode planChain}. */
export interface ChainOptions {
  /** Parts into which the budget is divided. @default 256 */
  readonly units?: number;
}

const cotangentOf = (stage: Stage): number => stage.cotangent ?? stage.output;

/**
 * The fastest way forward and back over the stages within `budget` bytes. The input of the chain is
 * there before and after and is not counted; the cotangent of the output is.
 *
 * @throws {RangeError} If no plan fits, naming the least budget that would, or if a stage keeps less
 * than its output.
 */
export function planChain(
  stages: readonly Stage[],
  budget: number,
  { units = 256 }: ChainOptions = {},
): ChainPlan {
  stages.forEach((stage, i) => {
    if (stage.kept >= stage.output) return;
    throw new RangeError(
      `Cannot plan a chain: stage ${i} keeps ${stage.kept} bytes, expected its output of ` +
        `${stage.output} among them`,
    );
  });
  const least = stages.reduce((sum, stage) => sum + stage.forward + stage.backward, 0);
  if (stages.length === 0) return { actions: [], time: 0, least, peak: 0, unit: 0 };
  // A budget larger than all there is would only make the units coarse.
  const full = peakOf(stages, actionsKeepingAll(stages.length));
  if (budget >= full) {
    return { actions: actionsKeepingAll(stages.length), time: least, least, peak: full, unit: 0 };
  }
  const unit = Math.max(budget, 1) / units;
  const plan = budget > 0 ? solve(stages, unit, units) : undefined;
  if (plan === undefined) {
    throw new RangeError(
      `Cannot plan a chain of ${stages.length} stages: the budget is ${budget} bytes, expected ` +
        `at least ${leastBudget(stages, units)}`,
    );
  }
  const { actions, time } = plan;
  return { actions, time, least, peak: peakOf(stages, actions), unit };
}

/** The least budget for which {@linkcode planChain} finds a plan with these units, to 1 part in 1000. */
export function leastBudget(stages: readonly Stage[], units = 256): number {
  let high = peakOf(stages, actionsKeepingAll(stages.length));
  let low = 0;
  while (high - low > Math.max(1, high / 1000)) {
    const middle = Math.ceil((low + high) / 2);
    if (solve(stages, middle / units, units, true) === undefined) low = middle;
    else high = middle;
  }
  return high;
}

/** The plan of whoever has memory enough. */
function actionsKeepingAll(length: number): ChainAction[] {
  const actions: ChainAction[] = [];
  for (let stage = 0; stage < length; stage++) actions.push({ do: "forward", stage, keep: "all" });
  for (let stage = length - 1; stage >= 0; stage--) actions.push({ do: "backward", stage });
  return actions;
}

/**
 * The dynamic program. `time[s][t][m]` is the least time to run stages s … t forward and back with m
 * units free, the input of s being held by someone else.
 */
function solve(
  stages: readonly Stage[],
  unit: number,
  units: number,
  feasibility = false,
): { actions: ChainAction[]; time: number } | undefined {
  const n = stages.length;
  // The tolerance keeps a budget divided by its unit from losing a unit to rounding; playing the
  // plan in bytes decides.
  const up = (bytes: number): number => Math.ceil(bytes / unit - 1e-9);
  const output = stages.map((stage) => up(stage.output));
  const kept = stages.map((stage) => up(stage.kept));
  const cotangent = stages.map((stage) => up(cotangentOf(stage)));
  const forwardWork = stages.map((stage) => up(stage.forwardWork ?? 0));
  const backwardWork = stages.map((stage) => up(stage.backwardWork ?? 0));
  const size = units + 1;
  const row = (s: number, t: number): number => (s * n + t) * size;
  const time = new Float64Array(n * n * size).fill(Infinity);
  /** Where the checkpoint after s lies, or s itself where all of s is kept. */
  const choice = new Int32Array(n * n * size).fill(-1);
  // The cotangent of stage s's input: the chain's own input has none to keep beside its pull.
  const below = (s: number): number => s === 0 ? 0 : cotangent[s - 1]!;
  const prefix = [0];
  for (const stage of stages) prefix.push(prefix.at(-1)! + stage.forward);

  for (let span = 0; span < n; span++) {
    for (let s = 0; s + span < n; s++) {
      const t = s + span;
      const { forward, backward } = stages[s]!;
      const here = row(s, t);
      // While stage s runs; its pull needs the cotangents on both sides.
      const needAll = Math.max(
        cotangent[t]! + kept[s]! + forwardWork[s]!,
        cotangent[s]! + kept[s]! + below(s) + backwardWork[s]!,
      );
      if (span === 0) {
        for (let m = needAll; m <= units; m++) {
          time[here + m] = forward + backward;
          choice[here + m] = s;
        }
        continue;
      }
      const inner = row(s + 1, t) - kept[s]!;
      for (let m = needAll; m <= units; m++) {
        time[here + m] = forward + backward + time[inner + m]!;
        if (time[here + m]! < Infinity) choice[here + m] = s;
      }
      // Advancing to a checkpoint: each stage on the way holds its input (but the first) and output.
      let needWalk = cotangent[t]! + output[s]! + forwardWork[s]!;
      for (let c = s + 1; c <= t; c++) {
        if (c > s + 1) {
          const j = c - 1;
          const walk = cotangent[t]! + output[j - 1]! + output[j]! + forwardWork[j]!;
          needWalk = Math.max(needWalk, walk);
        }
        const walked = prefix[c]! - prefix[s]!;
        const right = row(c, t) - output[c - 1]!;
        const left = row(s, c - 1);
        for (let m = Math.max(needWalk, output[c - 1]!); m <= units; m++) {
          const total = walked + time[right + m]! + time[left + m]!;
          if (total < time[here + m]!) {
            time[here + m] = total;
            choice[here + m] = c;
          }
        }
      }
    }
  }
  const best = time[row(0, n - 1) + units]!;
  if (best === Infinity) return undefined;
  if (feasibility) return { actions: [], time: best };
  const actions: ChainAction[] = [];
  /** What is still to be planned, the next last; an action stands for itself. */
  const todo: (ChainAction | { s: number; t: number; m: number })[] = [{
    s: 0,
    t: n - 1,
    m: units,
  }];
  while (todo.length > 0) {
    const item = todo.pop()!;
    if ("do" in item) {
      actions.push(item);
      continue;
    }
    const { s, t, m } = item;
    const c = choice[row(s, t) + m]!;
    if (c === s) {
      actions.push({ do: "forward", stage: s, keep: "all" });
      todo.push({ do: "backward", stage: s });
      if (s < t) todo.push({ s: s + 1, t, m: m - kept[s]! });
      continue;
    }
    actions.push({ do: "forward", stage: s, keep: "input" });
    for (let j = s + 1; j < c; j++) actions.push({ do: "forward", stage: j, keep: "nothing" });
    todo.push({ s, t: c - 1, m }, { s: c, t, m: m - output[c - 1]! });
  }
  return { actions, time: best };
}

/**
 * Plays a plan in bytes and gives the most in use at once, the chain's input not counted.
 *
 * @throws {Error} If a stage runs without its input, or is pulled out of order or without what it reads.
 */
export function peakOf(stages: readonly Stage[], actions: readonly ChainAction[]): number {
  const n = stages.length;
  /** Values held, by index; value 0 is the chain's input and always there. */
  const held = new Set<number>();
  const kept = new Set<number>();
  let next = n - 1;
  let bytes = 0;
  let peak = 0;
  const has = (value: number): boolean => value === 0 || held.has(value) || kept.has(value - 1);
  const release = (value: number): void => {
    if (held.delete(value)) bytes -= stages[value - 1]!.output;
  };
  if (n > 0) bytes = cotangentOf(stages[n - 1]!);
  for (const action of actions) {
    const i = action.stage;
    const stage = stages[i]!;
    const fail = (what: string): Error => new Error(`Cannot ${action.do} stage ${i}: ${what}`);
    if (!has(i)) throw fail(`value ${i} is not there, expected its input`);
    if (action.do === "forward") {
      bytes += action.keep === "all" ? stage.kept : stage.output;
      peak = Math.max(peak, bytes + (stage.forwardWork ?? 0));
      if (action.keep === "all") kept.add(i);
      else held.add(i + 1);
      if (action.keep === "nothing") release(i);
    } else {
      if (i !== next) throw fail(`stage ${next} is next, expected each once, backwards`);
      if (!kept.has(i)) throw fail("it was not kept, expected a forward that keeps all");
      const below = i === 0 ? 0 : cotangentOf(stages[i - 1]!);
      peak = Math.max(peak, bytes + below + (stage.backwardWork ?? 0));
      kept.delete(i);
      release(i);
      bytes += below - stage.kept - cotangentOf(stage);
      next--;
    }
  }
  if (next >= 0) throw new Error(`Cannot end the plan: stage ${next} was not pulled, expected all`);
  return peak;
}
