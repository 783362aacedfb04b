/**
 * The way back of a chain whose stages differ in cost and size, under a budget of bytes: Rotor
 * (Beaumont, Eyraud-Dubois, Herrmann, Joly & Shilova 2019, "Optimal checkpointing for heterogeneous
 * chains"). A stage is run forward keeping nothing of its input, keeping its input as a checkpoint,
 * or keeping all that its pull reads; a dynamic program over (first stage, last stage, memory)
 * finds the fastest sequence among those that keep a checkpoint until its own stage is pulled.
 *
 * Memory is counted in units of budget/`units` bytes, sizes rounded up and the budget down: a plan
 * never takes more bytes than it says. Each value alive wastes less than one unit, so the plan is
 * no slower than the best exact one for a budget smaller by (values alive + 1) units.
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
  /**
   * Bytes of all that the pull reads, the output among them and the input not: at least `output`.
   */
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
  /** What to do, in order. */
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
 * @throws {RangeError} If no plan fits, naming the least budget that would, or if a stage keeps
 * less than its output.
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
  const unit = budget / units;
  const plan = budget > 0 ? solve(stages, unit, units) : undefined;
  if (plan !== undefined) return { ...plan, least, peak: peakOf(stages, plan.actions), unit };
  // Rounding may hide the plans that fit with nothing to spare.
  const tight = tightest(stages);
  if (tight.bytes <= budget) {
    const { actions, time, bytes } = tight;
    return { actions, time, least, peak: bytes, unit };
  }
  throw new RangeError(
    `Cannot plan a chain of ${stages.length} stages: the budget is ${budget} bytes, expected ` +
      `at least ${tight.bytes}`,
  );
}

/** The least budget, in exact bytes, that {@linkcode planChain} can meet. */
export function leastBudget(stages: readonly Stage[]): number {
  return stages.length === 0 ? 0 : tightest(stages).bytes;
}

/** The plan of whoever has memory enough. */
function actionsKeepingAll(length: number): ChainAction[] {
  const actions: ChainAction[] = [];
  for (let stage = 0; stage < length; stage++) actions.push({ do: "forward", stage, keep: "all" });
  for (let stage = length - 1; stage >= 0; stage--) actions.push({ do: "backward", stage });
  return actions;
}

/** Sizes of a chain, rounded by `round`, and what its operations need. */
class Sizes {
  readonly output: readonly number[];
  readonly kept: readonly number[];
  readonly #cotangent: readonly number[];
  readonly #forwardWork: readonly number[];
  readonly #backwardWork: readonly number[];

  constructor(stages: readonly Stage[], round: (bytes: number) => number) {
    this.output = stages.map((stage) => round(stage.output));
    this.kept = stages.map((stage) => round(stage.kept));
    this.#cotangent = stages.map((stage) => round(cotangentOf(stage)));
    this.#forwardWork = stages.map((stage) => round(stage.forwardWork ?? 0));
    this.#backwardWork = stages.map((stage) => round(stage.backwardWork ?? 0));
  }

  /** To run and pull stage s keeping all of it, while the cotangent of stage t waits. */
  keeping(s: number, t: number): number {
    // The chain's own input has no cotangent to hold beside the pull.
    const below = s === 0 ? 0 : this.#cotangent[s - 1]!;
    return this.kept[s]! + Math.max(
      this.#cotangent[t]! + this.#forwardWork[s]!,
      this.#cotangent[s]! + below + this.#backwardWork[s]!,
    );
  }

  /** To run stage j on the way from s to a checkpoint, while the cotangent of stage t waits. */
  walking(s: number, j: number, t: number): number {
    const input = j === s ? 0 : this.output[j - 1]!;
    return this.#cotangent[t]! + input + this.output[j]! + this.#forwardWork[j]!;
  }
}

/** Number of the pair s <= t among all pairs of n stages. */
function pair(n: number, s: number, t: number): number {
  return s * n - s * (s + 1) / 2 + t;
}

/**
 * A plan from its choices: the stage c before which stages s … t put a checkpoint, or s for none.
 */
function unroll(
  length: number,
  sizes: Sizes,
  memory: number,
  choice: (s: number, t: number, memory: number) => number,
): ChainAction[] {
  const actions: ChainAction[] = [];
  type Part = { readonly s: number; readonly t: number; readonly m: number };
  /** What is still to be planned, the next last; an action stands for itself. */
  const waiting: (ChainAction | Part)[] = [{ s: 0, t: length - 1, m: memory }];
  while (waiting.length > 0) {
    const item = waiting.pop()!;
    if ("do" in item) {
      actions.push(item);
      continue;
    }
    const { s, t, m } = item;
    const c = choice(s, t, m);
    if (c === s) {
      actions.push({ do: "forward", stage: s, keep: "all" });
      waiting.push({ do: "backward", stage: s });
      if (s < t) waiting.push({ s: s + 1, t, m: m - sizes.kept[s]! });
    } else {
      actions.push({ do: "forward", stage: s, keep: "input" });
      for (let j = s + 1; j < c; j++) actions.push({ do: "forward", stage: j, keep: "nothing" });
      waiting.push({ s, t: c - 1, m }, { s: c, t, m: m - sizes.output[c - 1]! });
    }
  }
  return actions;
}

function timeOf(stages: readonly Stage[], actions: readonly ChainAction[]): number {
  return actions.reduce((sum, action) => sum + stages[action.stage]![action.do], 0);
}

/**
 * The dynamic program. `time[s, t][m]` is the least time to run stages s … t forward and back with
 * m units free, the input of s being held by someone else.
 */
function solve(
  stages: readonly Stage[],
  unit: number,
  units: number,
): { actions: ChainAction[]; time: number } | undefined {
  const n = stages.length;
  // The tolerance keeps a size that is a whole number of units from being rounded past it; the
  // plan is played in bytes after all.
  const sizes = new Sizes(stages, (bytes) => Math.ceil(bytes / unit - 1e-9));
  const { output, kept } = sizes;
  const row = (s: number, t: number): number => pair(n, s, t) * (units + 1);
  const time = new Float64Array(row(n - 1, n - 1) + units + 1).fill(Infinity);
  const choice = new Int16Array(time.length).fill(-1);
  const walked = [0];
  for (const stage of stages) walked.push(walked.at(-1)! + stage.forward);
  for (let s = n - 1; s >= 0; s--) {
    const own = stages[s]!.forward + stages[s]!.backward;
    for (let t = s; t < n; t++) {
      const here = row(s, t);
      const inner = s < t ? row(s + 1, t) - kept[s]! : -1;
      for (let m = sizes.keeping(s, t); m <= units; m++) {
        const total = s < t ? own + time[inner + m]! : own;
        if (total === Infinity) continue;
        time[here + m] = total;
        choice[here + m] = s;
      }
      let need = 0;
      for (let c = s + 1; c <= t; c++) {
        need = Math.max(need, sizes.walking(s, c - 1, t), output[c - 1]!);
        const walk = walked[c]! - walked[s]!;
        const right = row(c, t) - output[c - 1]!;
        const left = row(s, c - 1);
        for (let m = need; m <= units; m++) {
          const total = walk + time[right + m]! + time[left + m]!;
          if (total < time[here + m]!) {
            time[here + m] = total;
            choice[here + m] = c;
          }
        }
      }
    }
  }
  if (time[row(0, n - 1) + units]! === Infinity) return undefined;
  const actions = unroll(n, sizes, units, (s, t, m) => choice[row(s, t) + m]!);
  return { actions, time: timeOf(stages, actions) };
}

/** The plan of least bytes, which needs no units: the same recurrence with bytes for its value. */
function tightest(
  stages: readonly Stage[],
): { actions: ChainAction[]; time: number; bytes: number } {
  const n = stages.length;
  const sizes = new Sizes(stages, (bytes) => bytes);
  const bytes = new Float64Array(pair(n, n - 1, n - 1) + 1);
  const choice = new Int16Array(bytes.length);
  for (let s = n - 1; s >= 0; s--) {
    for (let t = s; t < n; t++) {
      let least = sizes.keeping(s, t);
      if (s < t) least = Math.max(least, sizes.kept[s]! + bytes[pair(n, s + 1, t)]!);
      let best = s;
      let need = 0;
      for (let c = s + 1; c <= t; c++) {
        need = Math.max(need, sizes.walking(s, c - 1, t));
        const right = sizes.output[c - 1]! + bytes[pair(n, c, t)]!;
        const total = Math.max(need, right, bytes[pair(n, s, c - 1)]!);
        if (total < least) [least, best] = [total, c];
      }
      bytes[pair(n, s, t)] = least;
      choice[pair(n, s, t)] = best;
    }
  }
  const actions = unroll(n, sizes, 0, (s, t) => choice[pair(n, s, t)]!);
  return { actions, time: timeOf(stages, actions), bytes: bytes[pair(n, 0, n - 1)]! };
}

/**
 * Plays a plan in bytes and gives the most in use at once, the chain's input not counted.
 *
 * @throws {Error} If a stage runs without its input, or is pulled out of order or without what it
 * reads.
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
