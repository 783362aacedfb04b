/**
 * The plans among which the compiler chooses for one loop (choose.ts): all states stored, ever fewer
 * of them and more steps run again, and what else is allowed: running backwards, segments that run
 * backwards under an outer schedule, states outside of the device.
 *
 * @module
 */
import { offload } from "../checkpoint/offload.ts";
import { scheduleOf, type SchedulePlan } from "../checkpoint/plan.ts";
import { leastAdvances } from "../checkpoint/revolve.ts";
import { online, onlineOver, revolve, revolveOver } from "../checkpoint/strategy.ts";
import type { AutoPlan } from "../graph/loops/auto.ts";
import { replayInputs } from "../graph/loops/replay.ts";
import type { Node } from "../graph/node.ts";
import { spread, undominated } from "./frontier.ts";
import { nowhere, type OutsidePlan } from "./program.ts";
import { bytesOfState, Snapshots } from "./snapshots.ts";
import { tapeShapeOf } from "./tape.ts";
import { expectedSteps } from "./work.ts";

/** How a loop may be gone back over; without a plan all states are stored. */
export interface Choice {
  readonly name: string;
  readonly plan: SchedulePlan | undefined;
  /** About what it holds, in bytes: states, and the tape. */
  readonly bytes: number;
  /** What it takes of the bytes that the program may keep outside of the device. */
  readonly lent: OutsidePlan;
}

/** Steps that a plan may run again, as a multiple of the length. */
const mostAgain = 64;
/** Snapshots of a loop whose length is not known, at most: enough for 2145 steps with two runs each. */
const mostOpen = 64;
/** Plans that go back over segments, at most. */
const mostNested = 8;

/** A number halved, again and again, down to another. */
function* halves(from: number, to: number): Generator<number, void, undefined> {
  for (let n = from; n >= to; n >>= 1) yield n;
}

/** Numbers from one down to another, by a quarter each time, the small ones all. */
function counts(from: number, to: number): number[] {
  const all: number[] = [];
  for (let n = from; n >= to; n = Math.min(n - 1, Math.ceil(0.75 * n))) all.push(n);
  return all;
}

/** By how much plans have to differ in time to be worth a try, as a part of it. */
const worthwhile = 0.04;

/** A plan in numbers. */
interface Sketch {
  /** Steps that lie between two snapshots and are gone back over by tape, if they are. */
  readonly segment?: number;
  readonly snapshots: number;
  /** About what it holds. */
  readonly bytes: number;
  /** About what it runs besides what every plan does, in steps. */
  readonly time: number;
}

/** Snapshots by themselves, and as many steps run again as they ask for. */
function revolving(length: number, bytes: number): Sketch[] {
  const kept: Sketch[] = [];
  for (const snapshots of counts(length >> 1, 1)) {
    const time = leastAdvances(length, snapshots);
    if (time > mostAgain * length) break;
    // Of those that take about the same the smallest. Forward once, and a pull is about three steps.
    const last = kept.at(-2)?.time ?? -Infinity;
    if (time - last < worthwhile * (4 * length + time)) kept.pop();
    kept.push({ snapshots, bytes: snapshots * bytes, time });
  }
  return kept;
}

/** Segments that go back by tape under an outer schedule, where snapshots by themselves are not as good. */
function nested(
  length: number,
  bytes: number,
  tapeOf: (segment: number) => number,
  others: readonly Sketch[],
): Sketch[] {
  const all = counts(length >> 1, 2).flatMap((segment) => {
    const segments = Math.ceil(length / segment), tape = tapeOf(segment);
    return counts(Math.min(segments, length >> 1), 1).map((snapshots): Sketch => ({
      segment,
      snapshots,
      bytes: snapshots * bytes + tape,
      // Each step runs once more to be recorded. How fast steps are undone is not known yet.
      time: leastAdvances(segments, snapshots) * segment + length,
    }));
  }).filter(({ time }) => time - length <= mostAgain * length);
  return undominated([...others, ...all]).filter(({ segment }) => segment !== undefined);
}

/** About what a tape of so many bits an element and step takes. */
function bytesOfTape(
  bits: number,
  state: readonly Node[],
  segment: number,
  length: number,
): number {
  const { elements, segment: steps, headerWords } = tapeShapeOf(state, segment, length);
  return elements * steps * bits / 8 + 4 * headerWords;
}

/** States by the store in which they lie. */
interface Counts {
  readonly device: number;
  readonly host: number;
  readonly disk: number;
}

/**
 * Numbers of states in each store: as many outside as may be; and where these are taken from others,
 * fewer there, with the fewest on the device.
 */
function placings(length: number, { host, disk }: OutsidePlan, isShared: boolean): Counts[] {
  if (host + disk === 0 || length < 2) return [];
  const all = [...halves(length >> 1, 1), 0].map((device) => ({ device, host, disk }));
  if (!isShared) return all;
  for (let [h, d] = [host >> 1, disk >> 1]; h + d > 0; h >>= 1, d >>= 1) {
    all.push({ device: 0, host: h, disk: d });
  }
  return all.filter(({ device, host, disk }) =>
    leastAdvances(length, device + host + disk) <= mostAgain * length
  );
}

/** Bytes of all states of a loop that may keep them where the program says. */
export function needOf(back: Node<"loop">): number {
  const { replay, length } = back.attributes, { host, disk } = replay!.plan as AutoPlan;
  if (replay!.open || (host !== undefined && disk !== undefined)) return 0;
  return length * bytesOfState(replayInputs(back).states);
}

/**
 * The plans of a loop, of which some take of what the program may keep outside of the device: at
 * most a `part` of its bytes.
 */
export function ladderOf(back: Node<"loop">, part: number, outside: OutsidePlan): Choice[] {
  const { replay, length } = back.attributes;
  const own = replay!.plan as AutoPlan, { reverse } = own;
  const { states } = replayInputs(back);
  const state = states.map(([working]) => working!), bytes = bytesOfState(states);
  const choice = (plan: SchedulePlan, bytes: number, lent = nowhere): Choice => ({
    name: plan.name,
    plan,
    bytes,
    lent,
  });
  const leaf = reverse && scheduleOf(reverse), tape = leaf?.parts.tape;
  const tapeOf = (segment: number): number =>
    tape === undefined ? 0 : bytesOfTape(tape.sizes.bits, state, segment, length);
  if (replay!.open) {
    const expected = expectedSteps(length, true);
    const sketches = [...halves(Math.min(mostOpen, length), 1)].map((snapshots): Sketch => ({
      snapshots,
      bytes: snapshots * bytes,
      time: leastAdvances(expected, snapshots),
    }));
    const choices = sketches.map(({ snapshots, bytes }) =>
      choice(scheduleOf(online({ snapshots }).plan), bytes)
    );
    if (leaf === undefined) return choices;
    // With no tape, all steps may be one segment, however many they are.
    const over = tape === undefined
      ? [{ segment: length, snapshots: 1, bytes }]
      : spread(nested(expected, bytes, tapeOf, sketches), mostNested);
    return [
      ...choices,
      ...over.map(({ segment, snapshots, bytes }) =>
        choice(onlineOver(snapshots, segment!, leaf), bytes)
      ),
    ];
  }
  const choices: Choice[] = [
    { name: "store", plan: undefined, bytes: length * bytes, lent: nowhere },
  ];
  const sketches = revolving(length, bytes);
  for (const { snapshots, bytes } of sketches) {
    choices.push(choice(scheduleOf(revolve({ snapshots }).plan), bytes));
  }
  if (leaf !== undefined) {
    choices.push(choice(leaf, bytes + tapeOf(length)));
    // With no tape, what runs backwards holds nothing that a segment would have less of.
    const over = tape === undefined ? [] : nested(length, bytes, tapeOf, sketches);
    for (const { segment, snapshots, bytes } of spread(over, mostNested)) {
      choices.push(choice(revolveOver(snapshots, segment!, leaf), bytes));
    }
  }
  const roomIn = (store: keyof OutsidePlan): number =>
    own[store] ?? (bytes === 0 ? 0 : Math.min(length, Math.floor(part * outside[store] / bytes)));
  // The first state is on the device in any case.
  const isShared = own.host === undefined || own.disk === undefined;
  const rooms = { host: roomIn("host"), disk: roomIn("disk") };
  for (const counts of placings(length, rooms, isShared)) {
    const plan = scheduleOf(offload(counts).plan);
    const away = new Snapshots(plan, length, states, undefined, 0).outside();
    choices.push(choice(plan, (counts.device + 1) * bytes, {
      host: own.host === undefined ? away.host : 0,
      disk: own.disk === undefined ? away.disk : 0,
    }));
  }
  return choices;
}
