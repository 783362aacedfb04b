/**
 * The way back of a loop: a schedule played over up to three programs. `advance` is what its loop
 * runs forward, the same kernels without those that the state does not need; `pull` takes cotangents
 * over one step; `invert` goes a step back. Where it was tried and had the same bits, one program,
 * `undo`, does both of these. All of them work on one state, the working state, and snapshots are
 * copies of it. Each combination of where things can lie has its dispatches (repertoire.ts); which of
 * them run in what order is the schedule's affair, and is made while it is played. So compiling does
 * not grow with the length, and every plan, storing everything included, gives the same bits.
 *
 * @module
 */
import { scheduleOf, SchedulePlan } from "../checkpoint/plan.ts";
import { online } from "../checkpoint/strategy.ts";
import { forwardOf, replayInputs } from "../graph/loops/replay.ts";
import type { Node } from "../graph/node.ts";
import { fillKernel, setKernel } from "../kernels/copy.ts";
import { type Ground, groundOf, type Movers, pullerOf } from "./ground.ts";
import { beginIn, copyAll, type Memory, type PreparedLoop, type Scratch } from "./prepared.ts";
import { inverseMover, type Mover } from "./movers.ts";
import {
  type Dispatch,
  mergeOutside,
  type OutsidePlan,
  type Probe,
  runAgain,
  type Target,
} from "./program.ts";
import { type Scene, scheduled, setPulled, stored } from "./repertoire.ts";
import { bytesOfState, snapshotName } from "./snapshots.ts";
import {
  assemble,
  type Compile,
  compileSteps,
  type LoopSteps,
  type Make,
  makerFor,
  onlyResults,
  type Part,
  type Steps,
  withoutIdleCounter,
} from "./steps.ts";
import { dispatchesOf, undoOf } from "./undo.ts";
import { effortOf, expectedSteps, idle, repeated, sumOf } from "./work.ts";

/** How a way back may go. */
export interface BackOptions {
  /** The steps of the loop that it belongs to. */
  readonly forward: (loop: Node<"loop">) => LoopSteps;
  readonly compile: Compile;
  /**
   * Inverse and pull may be one program, where that was tried.
   *
   * @default {true}
   */
  readonly atOnce?: boolean;
}

/** A way back, whose body is compiled to `steps`. */
export function prepareBack(
  node: Node<"loop">,
  outputs: readonly Node[],
  steps: Steps,
  target: Target,
  { forward, compile, atOnce = true }: BackOptions,
): PreparedLoop {
  const { body, carries, replay } = node.attributes;
  const stacks = body.results.length > carries || replay!.plan === undefined;
  const pull = pullMover(node, withoutIdleCounter(steps, stacks));
  if (replay!.plan === undefined) return new Back(node, outputs, { pull }, target);
  const { advance, invert } = moversOf(node, forward, compile);
  const apart = { advance, pull, ...(invert !== undefined && { invert }) };
  const { probes } = target;
  // With a tape, the state is put right between the two.
  if (probes === undefined || invert === undefined || replay!.plan.check === "tape") {
    return new Back(node, outputs, apart, target);
  }
  const undo = undoOf(node, forwardOf(node).loop, pull, invert, compile);
  if (undo === undefined) return new Back(node, outputs, apart, target);
  const { mover, probe } = undo;
  const dispatches = {
    one: dispatchesOf(mover.steps),
    two: dispatchesOf(pull.steps) + dispatchesOf(invert.steps),
  };
  const isUsed = atOnce && probes.same(probe.key);
  const movers = isUsed ? { advance, undo: mover } : apart;
  return new Back(node, outputs, movers, target, { probe, isAllowed: atOnce, dispatches });
}

/** What pulls: its carries come after the parts of a state, a counter of its own first. */
function pullMover(
  { attributes: { body, carries, replay }, inputs }: Node<"loop">,
  steps: Steps,
): Mover {
  const { states } = replay!, plain = body.parameters.length - states;
  const numbers = (from: number, length: number) => Array.from({ length }, (_, i) => from + i);
  return {
    steps,
    parts: numbers(states + 1, carries + 1),
    operands: [...inputs.slice(carries, plain), ...numbers(1, states)],
  };
}

function moversOf(
  node: Node<"loop">,
  forward: (loop: Node<"loop">) => LoopSteps,
  compile: Compile,
): { readonly advance: Mover; readonly invert?: Mover } {
  const replay = node.attributes.replay!;
  const { loop, state } = forwardOf(node);
  const { inverse } = replayInputs(node);
  const { carries, length, reverse } = loop.attributes;
  const { steps: whole, inverse: recorded } = forward(loop);
  const parts = Array.from({ length: carries + 1 }, (_, i) => {
    const part = i === 0 ? 0 : state.indexOf(i - 1) + 1;
    return i > 0 && part === 0 ? undefined : part;
  });
  // The tape finds its place by the counter.
  const counted = recorded !== undefined;
  const steps = onlyResults(whole, state.map((carry) => carry + 1), counted);
  const advance: Mover = { steps, parts, operands: loop.inputs.slice(carries) };
  const { invert, invertedRows, states } = replay;
  if (invert === undefined) return { advance };
  const body = { ...invert, carries: states, stacked: invertedRows };
  const inverting = recorded ??
    compileSteps({ ...body, length, reverse, backwards: true }, compile);
  return { advance, invert: inverseMover(withoutIdleCounter(inverting, counted), inverse) };
}

/** What is known of doing a step back in one. */
interface AtOnce {
  readonly probe: Probe;
  /** Whether it may be used, if the bits are the same. */
  readonly isAllowed: boolean;
  /** Dispatches of a step back, in one and in two. */
  readonly dispatches: { readonly one: number; readonly two: number };
}

/** See {@linkcode prepareBack}. */
class Back implements PreparedLoop {
  private readonly make: Make;
  private readonly ground: Ground;
  private readonly puller: Mover;

  constructor(
    private readonly node: Node<"loop">,
    outputs: readonly Node[],
    private readonly movers: Movers,
    private readonly target: Target,
    private readonly atOnce?: AtOnce,
  ) {
    this.make = makerFor(node);
    this.ground = groundOf(node, outputs, movers, this.make, target);
    this.puller = pullerOf(movers).mover;
  }

  /** See {@linkcode PreparedLoop}. */
  get name(): string {
    return this.node.attributes.body.name;
  }

  /** See {@linkcode PreparedLoop}. */
  get scratch(): readonly Scratch[] {
    return this.ground.scratch;
  }

  /** See {@linkcode PreparedLoop}. */
  get isAtOnce(): boolean {
    return this.movers.undo !== undefined;
  }

  /** See {@linkcode PreparedLoop}. */
  get probes(): readonly Probe[] {
    const { movers, atOnce } = this;
    return [
      ...atOnce !== undefined && !this.isAtOnce && atOnce.isAllowed ? [atOnce.probe] : [],
      ...Object.values(movers).flatMap(({ steps }) => steps.program.probes),
    ];
  }

  /** See {@linkcode PreparedLoop}. */
  get efforts(): PreparedLoop["efforts"] {
    const { movers: { advance, invert }, puller } = this;
    const { open, states, recorder, snapshots } = this.ground;
    const length = expectedSteps(this.node.attributes.length, open !== undefined);
    const { plan: given } = this.node.attributes.replay!;
    // One that names no strategy keeps what comes.
    const plan = given instanceof SchedulePlan || open === undefined
      ? given as SchedulePlan | undefined
      : scheduleOf(online({ snapshots: open }).plan);
    const effort = ({ steps }: Mover, times: number) =>
      effortOf(steps.program, steps.script, times);
    const steps = effort(puller, length);
    if (advance === undefined) {
      const bytes = 2 * bytesOfState(states);
      return { steps, besides: { bytes, flops: 0, dispatches: states.length * length } };
    }
    const { advances, inversions, recorded } = plan!.extraSteps(length);
    const again = advances - Number(plan!.atTurn(length)[0]);
    const taken = recorder?.tape.restoring;
    return {
      steps,
      besides: sumOf([
        { ...idle, transfers: snapshots.transfers() },
        effort(advance, again),
        ...invert === undefined ? [] : [effort(invert, inversions)],
        ...recorder === undefined || taken === undefined ? [] : [
          recorder.effort(recorded),
          repeated(taken, inversions),
        ],
      ]),
    };
  }

  /** See {@linkcode PreparedLoop}. */
  get again(): number {
    return runAgain(this.puller.steps.program);
  }

  /** See {@linkcode PreparedLoop}. */
  get outside(): OutsidePlan {
    return this.ground.snapshots.outside();
  }

  /** See {@linkcode PreparedLoop}. */
  get inside(): OutsidePlan {
    const plans = Object.values(this.movers).map(({ steps }) => steps.program.outside);
    return mergeOutside(plans, "in turn");
  }

  describe(): string[] {
    const { length, body, replay } = this.node.attributes;
    const { plan, states, snapshots, open } = this.ground, bytes = bytesOfState(states);
    if (open !== undefined) {
      return [
        `states ${replay!.plan!.name}: ${snapshots.slots} snapshots, ${bytes} B a state, as many ` +
        `steps of ${body.name} as its data say`,
        ...this.#describeUndo(),
      ];
    }
    if (plan === undefined) {
      return [`states stored: ${bytes} B for ${length} steps of ${body.name}`];
    }
    const { advances, inversions } = plan.extraSteps(length);
    const { host, disk } = snapshots.outside();
    return [
      `states ${plan.name}: ${plan.slots(length)} snapshots, ${bytes} B a state, ` +
      `${advances - Number(plan.atTurn(length)[0])} steps of ${length} run again, ` +
      `${inversions} run backwards`,
      ...this.#describeUndo(),
      ...host + disk > 0 ? [`outside of the device: host ${host} B, disk ${disk} B`] : [],
    ];
  }

  /** Whether inverse and pull are one program, and why not. */
  #describeUndo(): string[] {
    if (this.atOnce === undefined) return [];
    const { probe, isAllowed, dispatches: { one, two } } = this.atOnce;
    const dispatches = (n: number): string => n === 1 ? "1 dispatch" : `${n} dispatches`;
    if (this.isAtOnce) {
      return [`inverse and pull of a step are one program: ${dispatches(one)} in place of ${two}`];
    }
    const same = this.target.probes!.same(probe.key);
    const why = same === undefined
      ? "which is used once it was tried, where there is room to, and had the same bits"
      : !same
      ? "which has other bits on this device"
      : isAllowed
      ? "which has the same bits and is used from the next call on"
      : "which takes more memory";
    return [
      `inverse and pull of a step are two programs: ${dispatches(two)}; as one ${one}, ${why}`,
    ];
  }

  place({ slotOf, scratch }: Memory): Part {
    const { node, make, ground, movers, target } = this, { snapshots, recorder } = ground;
    const { length } = node.attributes;
    const memory = new Map(ground.own.map((name, i) => [name, scratch[i]!]));
    for (const [name, result] of ground.ends) memory.set(name, slotOf(result));
    for (const { name, value } of snapshots.given()) memory.set(name, slotOf(value));
    const at = (name: string): number => memory.get(name)!;
    const counter = this.puller.steps.program.arguments[0]!;
    const set = (name: string, value: number): Dispatch =>
      make(setKernel(value), [at(name)], [counter]);
    const found = ground.wanted.get(node.attributes.body.results.length);
    const scene: Scene = {
      node,
      movers,
      ground,
      stage: { at, slotOf, counter, found },
      make,
      target,
      effort: sumOf([this.efforts.steps, this.efforts.besides]),
    };
    const [first] = ground.places.all, beginnings = [...ground.starts];
    const starts: Dispatch[] = [
      ...setPulled(scene, first!.names),
      ...beginIn(
        beginnings.map(([name, value]) => ({ to: at(name), value })),
        slotOf,
        make,
        target.maxBindings,
      ),
    ];
    if (length === 0) return assemble(starts);
    if (found !== undefined) {
      starts.push(make(fillKernel("u32", found.shape[0]!, 0), [slotOf(found)], [found]));
    }
    if (movers.advance === undefined) return assemble([...starts, stored(scene)]);
    if (ground.plan !== undefined) {
      starts.push(set(first!.names[0]!, Number(ground.plan.atTurn(length)[0])));
      for (const { slot, step } of snapshots.held) starts.push(set(snapshotName(slot, 0), step));
    }
    const gauged = recorder === undefined || found === undefined
      ? []
      : [{ from: at(recorder.tape.most), to: slotOf(found), value: found }];
    return assemble([...starts, scheduled(scene), ...copyAll(gauged, make, target.maxBindings)]);
  }
}
