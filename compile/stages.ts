/**
 * Chains: a program whose way there passes through moments at which a single value crosses, layer
 * after layer, is a chain of stages, as unlike as they may be. For such a chain the dynamic program
 * over bytes (checkpoint/chain.ts) knows the best order of checkpoints and repetitions, to any depth
 * of nesting; here its plans become schedules.
 *
 * @module
 */
import { leastBudget, peakOf, planChain, type Stage } from "../checkpoint/chain.ts";
import { liveBytes, momentOf, pruned, type Schedule, type TaskGraph } from "./schedule.ts";

/** Stages at most: the dynamic program takes the cube of their number. */
const mostStages = 64;

/** A chain found in a schedule. */
interface Chain {
  /** The steps of each stage. */
  readonly steps: readonly (readonly number[])[];
  readonly stages: readonly Stage[];
  /** Steps of the way back, and the last stage of which each reads something, or -1. */
  readonly late: readonly { readonly step: number; readonly reads: number }[];
}

/** Schedules by which a chain goes there and back, from much memory to little. */
export function* chainSchedules(
  graph: TaskGraph,
  start: Schedule,
  levels: number,
): Generator<Schedule> {
  const chain = chainOf(graph, start);
  if (chain === undefined) return;
  const { stages } = chain, n = stages.length;
  const keepAll = [
    ...stages.map((_, stage) => ({ do: "forward" as const, stage, keep: "all" as const })),
    ...stages.map((_, i) => ({ do: "backward" as const, stage: n - 1 - i })),
  ];
  const [most, least] = [peakOf(stages, keepAll), leastBudget(stages)];
  for (let level = 1; level <= levels; level++) {
    const budget = Math.max(least, most - (most - least) * level / levels);
    const schedule = scheduleOf(graph, chain, planChain(stages, budget).actions);
    if (schedule !== undefined) yield schedule;
  }
}

function chainOf(graph: TaskGraph, start: Schedule): Chain | undefined {
  const { tasks, bytes } = graph;
  if (new Set(start).size < start.length) return undefined;
  const live = liveBytes(graph, start);
  const at = live.reduce((best, b, i) => b > live[best]! ? i : best, 0);
  const { made, read, wanted } = momentOf(graph, start, at);
  // How many values cross from each step to the next, and which, as a sum of numbers.
  const count = new Int32Array(at + 2), which = new Float64Array(at + 2);
  bytes.forEach((_, v) => {
    if (made[v]! < 0 || read[v]! <= made[v]!) return;
    count[made[v]!]!++;
    count[read[v]!]!--;
    which[made[v]!]! += v;
    which[read[v]!]! -= v;
  });
  const ends: { readonly step: number; readonly value: number }[] = [];
  for (let i = 0; i < at; i++) {
    if (i > 0) {
      count[i]! += count[i - 1]!;
      which[i]! += which[i - 1]!;
    }
    const value = which[i]!;
    if (count[i] === 1 && ends.at(-1)?.value !== value) ends.push({ step: i, value });
  }
  if (ends.length < 4) return undefined;
  const stride = Math.ceil(ends.length / mostStages);
  const chosen = ends.filter((_, i) => i % stride === stride - 1);
  const stageOf = new Int32Array(at + 1);
  const steps: number[][] = [];
  let first = 0;
  for (const last of [...chosen.map(({ step }) => step), at]) {
    const stage: number[] = [];
    for (let i = first; i <= last; i++) {
      stageOf[i] = steps.length;
      stage.push(start[i]!);
    }
    steps.push(stage);
    first = last + 1;
  }
  const kept = steps.map((_, s) => chosen[s] === undefined ? 0 : bytes[chosen[s]!.value]!);
  for (const v of wanted) {
    const s = stageOf[made[v]!]!;
    if (chosen[s]?.value !== v) kept[s]! += bytes[v]!;
  }
  const late = start.slice(at + 1).map((step) => ({
    step,
    reads: tasks[step]!.reads.reduce(
      (most, v) => made[v]! < 0 ? most : Math.max(most, stageOf[made[v]!]!),
      -1,
    ),
  }));
  const back = steps.map(() => 0);
  for (const { step, reads } of late) if (reads >= 0) back[reads]! += tasks[step]!.time;
  const stages = steps.map((stage, s): Stage => ({
    forward: stage.reduce((sum, r) => sum + tasks[r]!.time, 0),
    backward: back[s]!,
    output: chosen[s] === undefined ? 0 : bytes[chosen[s]!.value]!,
    kept: kept[s]!,
  }));
  return { steps, stages, late };
}

/** The steps of a plan; undefined if one would read an argument that is overwritten by then. */
function scheduleOf(
  graph: TaskGraph,
  { steps, late }: Chain,
  actions: ReturnType<typeof planChain>["actions"],
): Schedule | undefined {
  const schedule: number[] = [], ran = new Set<number>();
  let legal = true;
  const run = (r: number): void => {
    legal &&= !graph.tasks[r]!.doomed.some((region) => ran.has(region));
    ran.add(r);
    schedule.push(r);
  };
  const here = new Set<number>();
  let next = 0;
  const advance = (): void => {
    const action = actions[next++]!;
    if (action.do === "backward") return;
    for (const r of steps[action.stage]!) run(r);
    if (action.keep === "all") here.add(action.stage);
  };
  while (next < actions.length && actions[next]!.do === "forward") advance();
  for (const { step, reads } of late) {
    while (reads >= 0 && !here.has(reads) && next < actions.length) advance();
    run(step);
  }
  return legal ? pruned(graph, schedule) : undefined;
}
