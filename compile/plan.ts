/**
 * The planner: under a budget of bytes, which values are kept and which are made again. It knows
 * nothing of forward and backward: wherever most is alive, what is idle there can be let go of and
 * made again later. Which values to hold is chosen by minimum cut and knapsack (hold.ts), with the
 * values that cross some evenly spread moments held in any case, so that nothing has to be run again
 * from the very beginning (Chen et al. 2016, "Training deep nets with sublinear memory cost"); for
 * chains also by the dynamic program (stages.ts). Where values may wait outside of the device, all of
 * that is tried with and without.
 *
 * Every candidate is allocated by the real allocator, so what a plan takes is known to the byte.
 * The candidates do not depend on the budget: it only picks among them. So more memory never makes
 * a program slower, and the least budget is the same whoever asks. They do depend on costs; what
 * that means where times were measured is pricing.ts's to settle.
 *
 * @module
 */
import { undominated } from "./frontier.ts";
import { chosen } from "./hold.ts";
import type { OutsidePlan } from "./program.ts";
import {
  type Away,
  bytesAway,
  isTicket,
  liveBytes,
  type Moment,
  momentOf,
  remake,
  type Schedule,
  type TaskGraph,
  timeOfSchedule,
} from "./schedule.ts";
import { chainSchedules } from "./stages.ts";

/** A schedule and what it costs. */
export interface Plan {
  readonly schedule: Schedule;
  /** Microseconds, by the model of costs. */
  readonly time: number;
  /** Bytes of all slots. */
  readonly bytes: number;
}

/** How finely the trade of bytes against time is searched. */
export interface Effort {
  /** Targets of bytes alive that are tried. */
  readonly levels: number;
  /** Numbers of moments whose values are held in any case. */
  readonly segments: readonly number[];
}

/** Less for large programs: each candidate costs time in proportion to the regions. */
export function effortFor(regions: number, most = 24): Effort {
  const levels = Math.max(4, Math.min(most, Math.round(12_000 / regions)));
  const segments = [0, 1, 2, 4, 8, 16, 32, 64].filter((n) => n === 0 || 4 * n <= regions);
  return { levels, segments };
}

/**
 * Plans that no other beats in both bytes and time, from the fastest to the smallest.
 *
 * @param bytesOf What the real allocator gives to a schedule.
 * @param outside Bytes that may wait outside of the device.
 */
export function plansOf(
  graph: TaskGraph,
  start: Schedule,
  effort: Effort,
  bytesOf: (schedule: Schedule) => number,
  outside: OutsidePlan = { host: 0, disk: 0 },
): Plan[] {
  // What waits outside because a checkpoint asks for it comes on top.
  const asked = bytesAway(graph, start);
  const room = { host: outside.host + asked.host, disk: outside.disk + asked.disk };
  const plans: Plan[] = [];
  const seen = new Set<string>();
  const consider = (schedule: Schedule, most: number): void => {
    const key = schedule.join();
    if (seen.has(key)) return;
    seen.add(key);
    const time = timeOfSchedule(graph, schedule), away = bytesAway(graph, schedule);
    if (away.host > room.host || away.disk > room.disk) return;
    // All that is alive at once is the least it could take.
    if (plans.some((plan) => plan.bytes <= most && plan.time <= time)) return;
    plans.push({ schedule, time, bytes: bytesOf(schedule) });
  };
  const live = Math.max(0, ...liveBytes(graph, start));
  consider(start, live);
  const least = leastAlive(graph);
  const rooms = outside.host + outside.disk > 0 ? [undefined, room] : [undefined];
  for (const room of rooms) {
    for (const segments of effort.segments) {
      // A target that is out of reach leaves little for those below it.
      for (let level = 1, missed = 0; level <= effort.levels && missed < 2; level++) {
        const target = live - (live - least) * level / effort.levels;
        let reached = live;
        for (const found of reductions(graph, start, { segments, target, room })) {
          consider(found.schedule, found.most);
          reached = found.most;
        }
        if (reached > target) missed++;
      }
    }
  }
  for (const schedule of chainSchedules(graph, start, effort.levels)) {
    consider(schedule, Math.max(0, ...liveBytes(graph, schedule)));
  }
  return undominated(plans);
}

/** Bytes that any schedule has alive at some moment: of one region, or at the end. */
function leastAlive({ tasks, regions, bytes, results }: TaskGraph): number {
  const sum = (values: Iterable<number>): number => {
    let total = 0;
    for (const v of values) total += bytes[v]!;
    return total;
  };
  let least = sum(results);
  for (const { reads, writes, inside } of tasks.slice(0, regions)) {
    least = Math.max(least, inside + sum(new Set([...reads, ...writes])));
  }
  return least;
}

/** Moments at which a schedule is cut, at most. */
const mostCuts = 12;

/** How a schedule is cut. */
interface Cut {
  /** Moments whose values are held in any case. */
  readonly segments: number;
  /** Bytes alive. */
  readonly target: number;
  /** Bytes that may wait outside of the device; undefined if none may. */
  readonly room: OutsidePlan | undefined;
}

/**
 * Schedules with less and less alive at their fullest moment, until that is `target` or nothing
 * helps any more.
 */
function* reductions(
  graph: TaskGraph,
  start: Schedule,
  how: Cut,
): Generator<{ readonly schedule: Schedule; readonly most: number }> {
  let schedule = start;
  let { most, at } = fullest(graph, schedule);
  for (let cut = 0; cut < mostCuts && most > how.target; cut++) {
    const next = reduced(graph, schedule, at, how);
    const after = fullest(graph, next);
    if (after.most >= most) return;
    schedule = next;
    ({ most, at } = after);
    yield { schedule, most };
  }
}

function fullest(graph: TaskGraph, schedule: Schedule): { most: number; at: number } {
  let most = -1, at = 0;
  liveBytes(graph, schedule).forEach((bytes, i) => {
    if (bytes > most) [most, at] = [bytes, i];
  });
  return { most, at };
}

/** The schedule with less held after step `at`: at most `target` bytes where that can be. */
function reduced(
  graph: TaskGraph,
  schedule: Schedule,
  at: number,
  { segments, target, room: outside }: Cut,
): Schedule {
  const { tasks, bytes, results } = graph;
  const moment = momentOf(graph, schedule, at);
  const { reads, writes, inside } = tasks[schedule[at]!]!;
  const present = new Set([...reads, ...writes]);
  for (const v of moment.wanted) if (results.has(v) || isTicket(graph, v)) present.add(v);
  const held = new Set([...present, ...crossing(graph, moment, segments)]);
  let left = target - inside;
  for (const v of held) left -= bytes[v]!;
  const room = Math.max(0, left);
  const fixed = new Set<number>();
  let ways = waysAway(graph, outside);
  for (;;) {
    const choice = chosen(graph, moment, { held, fixed, room, ways });
    const fitting = outside && withRoom(graph, schedule, choice.moved, outside);
    if (fitting !== undefined && fitting.size < choice.moved.size) {
      ways = fitting;
      continue;
    }
    const made = remake(graph, schedule, at, choice.kept, fitting);
    if ("schedule" in made) return made.schedule;
    for (const v of made.lost) fixed.add(v);
  }
}

/** The store that each value goes to if it is moved: the nearest that there is. */
function waysAway({ away }: TaskGraph, room: OutsidePlan | undefined): ReadonlyMap<number, Away> {
  const found = new Map<number, Away>();
  if (room === undefined) return found;
  away.forEach((ways, v) => {
    const way = ways.find(({ store }) => room[store] > 0);
    if (way !== undefined) found.set(v, way);
  });
  return found;
}

/** Those of the values to move for which there is room, dear ones first, in the nearest store with some. */
function withRoom(
  graph: TaskGraph,
  schedule: Schedule,
  moved: ReadonlyMap<number, Away>,
  room: OutsidePlan,
): ReadonlyMap<number, Away> {
  const { away, bytes, tasks, remaker } = graph;
  const taken = bytesAway(graph, schedule);
  const left = { host: room.host - taken.host, disk: room.disk - taken.disk };
  const worth = (v: number): number => tasks[remaker[v]!]!.time / bytes[v]!;
  const fitting = new Map<number, Away>();
  for (const v of [...moved.keys()].sort((a, b) => worth(b) - worth(a) || a - b)) {
    const way = away[v]!.find(({ store }) => left[store] >= bytes[v]!);
    if (way === undefined) continue;
    left[way.store] -= bytes[v]!;
    fitting.set(v, way);
  }
  return fitting;
}

/**
 * Values that are made before and read after each of `count` moments, spread evenly by the bytes of
 * what is wanted later, each moved a little to where few bytes cross.
 */
function crossing(
  graph: TaskGraph,
  { at, made, read, wanted }: Moment,
  count: number,
): Set<number> {
  const { bytes } = graph;
  const result = new Set<number>();
  if (count === 0) return result;
  const over = new Float64Array(at + 2), weight = new Float64Array(at + 1);
  for (let v = 0; v < bytes.length; v++) {
    if (made[v]! < 0 || read[v]! <= made[v]!) continue;
    over[made[v]!]! += bytes[v]!;
    over[read[v]!]! -= bytes[v]!;
  }
  for (const v of wanted) weight[made[v]!]! += bytes[v]!;
  for (let i = 1; i <= at; i++) {
    over[i]! += over[i - 1]!;
    weight[i]! += weight[i - 1]!;
  }
  const total = weight[at]!;
  for (let k = 1; k <= count; k++) {
    const aim = total * k / (count + 1), slack = total / (count + 1) / 4;
    let best = -1;
    for (let i = 0; i < at; i++) {
      if (weight[i]! < aim - slack || (best >= 0 && weight[i]! > aim + slack)) continue;
      if (best < 0 || over[i]! < over[best]!) best = i;
    }
    for (let v = 0; v < bytes.length; v++) {
      if (best >= 0 && made[v]! >= 0 && made[v]! <= best && read[v]! > best) result.add(v);
    }
  }
  return result;
}
