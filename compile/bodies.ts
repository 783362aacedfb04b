/**
 * The bodies of a program's loops. Each compiles once, whatever is tried around it. Under a budget a
 * body is a program like others: what lies within a step can be let go of and made again before the
 * step is over. So a loop may run in more memory or in less; how much it gets is what is left beside
 * it while it runs.
 *
 * @module
 */
import { type Graph, type Node, objectId } from "../graph/node.ts";
import type { Region } from "../kernels/region.ts";
import { prepareBack } from "./back.ts";
import { spread, undominated } from "./frontier.ts";
import { prepareLoop } from "./loop.ts";
import type { PreparedLoop } from "./prepared.ts";
import { mergeOutside, type OutsidePlan, type Program, type Target, timeOf } from "./program.ts";
import { type Compile, compileLoop } from "./steps.ts";

/** Loops with their bodies, by their regions. */
export type Loops = ReadonlyMap<Region, PreparedLoop>;

/** Programs of bodies, by what they compute. */
export class BodyPrograms {
  readonly #known = new Map<string, Program>();

  /** Compiled like this, without a budget; `away` with what may be outside of the device. */
  constructor(
    private readonly compile: (body: Graph, donate: readonly number[], away: boolean) => Program,
  ) {}

  /** A body's fastest program. */
  of(body: Graph, donate: readonly number[], away = false): Program {
    const ids = (nodes: readonly Node[]): string => nodes.map(({ id }) => id).join();
    const key = `${body.name}: ${ids(body.parameters)}; ${ids(body.results)}; ${donate}; ${away}`;
    let program = this.#known.get(key);
    if (program === undefined) this.#known.set(key, program = this.compile(body, donate, away));
    return program;
  }
}

/** What bodies have outside of the device while their loop runs: loops run in turn. */
export function insideOf(loops: Loops): OutsidePlan {
  return mergeOutside([...loops.values()].map(({ inside }) => inside), "in turn");
}

/** Bytes that a program takes besides its arguments. */
const ownBytes = ({ memory }: Program): number => memory.peak - memory.arguments;

/** Ways of running a loop that are weighed, at most, and of all loops together. */
const mostRooms = 12;

/** A loop as it runs in some memory. */
interface Fitting {
  readonly loop: PreparedLoop;
  /** Bytes that it takes besides what it reads and gives. */
  readonly bytes: number;
  /** Microseconds. */
  readonly time: number;
}

/** The loops among some regions. */
export class Bodies {
  /** All of them as they are fastest. */
  readonly fastest: Loops;
  readonly #regions: readonly Region[];
  #fittings: readonly ReadonlyMap<Region, readonly Fitting[]>[] | undefined;
  /** The ways of bodies, by the first: those whose values stay on the device, and all. */
  readonly #here = new Map<Program, readonly Program[]>();
  readonly #away = new Map<Program, readonly Program[]>();
  /** Ways of running a loop by the programs of its bodies. */
  readonly #prepared = new Map<Region, Map<string, readonly Fitting[]>>();

  /**
   * In the order in which they run; `timeOf` is that of a region, which may be such a loop, `outside`
   * the bytes that steps may have outside of the device.
   */
  constructor(
    regions: readonly Region[],
    private readonly programs: BodyPrograms,
    private readonly target: Target,
    private readonly timeOf: (region: Region, loop: PreparedLoop) => number,
    private readonly outside: OutsidePlan,
  ) {
    this.#regions = regions.filter(({ frame }) => frame.is === "loop");
    this.fastest = new Map(this.#regions.map((region) => [region, this.#prepare(region)]));
  }

  /**
   * The loops in less and less memory: each time a bound on all that is alive while one runs, within
   * which it is as fast as it can be.
   *
   * @param besides Bytes that are alive while a region runs, without what that takes itself.
   */
  smaller(besides: (region: Region) => number): Loops[] {
    this.#fittings ??= (this.outside.host + this.outside.disk > 0 ? [false, true] : [false])
      .map((away) =>
        new Map(this.#regions.map((region) => [region, this.#fittingsOf(region, away)]))
      );
    const all = this.#fittings.flatMap((fittings) => within(fittings, besides));
    const keyOf = (loops: Loops): string => [...loops.values()].map(objectId).join();
    return [...new Map(all.map((loops) => [keyOf(loops), loops])).values()];
  }

  /** The ways of running a loop that no other beats, the fastest first. */
  #fittingsOf(region: Region, away: boolean): Fitting[] {
    const rooms = new Set<number>();
    const bodies: { readonly body: Graph; readonly donate: readonly number[] }[] = [];
    this.#prepare(region, (body, donate) => {
      bodies.push({ body, donate });
      const programs = this.#programsOf(body, donate, away);
      for (const program of programs) rooms.add(ownBytes(program));
      return programs[0]!;
    });
    const keyOf = (compile: Compile): string =>
      bodies.map(({ body, donate }) => objectId(compile(body, donate))).join();
    const fastest = this.#fitting(region, this.fastest.get(region)!);
    let known = this.#prepared.get(region);
    if (known === undefined) {
      known = new Map([[keyOf((body, donate) => this.programs.of(body, donate)), [fastest]]]);
      this.#prepared.set(region, known);
    }
    const fittings = new Set([fastest]);
    for (const room of spread([...rooms].sort((a, b) => b - a), mostRooms)) {
      const within: Compile = (body, donate) => {
        const all = this.#programsOf(body, donate, away);
        return all.find((program) => ownBytes(program) <= room) ?? all.at(-1)!;
      };
      const key = keyOf(within);
      let some = known.get(key);
      if (some === undefined) {
        const loop = this.#prepare(region, within);
        // In one, a step back may take more at once than in two.
        const all = loop.isAtOnce ? [loop, this.#prepare(region, within, false)] : [loop];
        known.set(key, some = all.map((loop) => this.#fitting(region, loop)));
      }
      for (const fitting of some) fittings.add(fitting);
    }
    return undominated([...fittings]);
  }

  #fitting(region: Region, loop: PreparedLoop): Fitting {
    return {
      loop,
      bytes: loop.scratch.reduce((sum, { bytes }) => sum + bytes, 0),
      time: this.timeOf(region, loop),
    };
  }

  /**
   * Programs for a body, the fastest first, then in less and less memory; `away` those among them,
   * too, whose values and states may wait outside of the device within a step.
   */
  #programsOf(body: Graph, donate: readonly number[], away: boolean): readonly Program[] {
    const first = this.programs.of(body, donate), known = away ? this.#away : this.#here;
    let ways = known.get(first);
    if (ways !== undefined) return ways;
    const all = [first, ...first.alternatives()];
    if (away) {
      // What the body says itself comes on top.
      const { host, disk } = mergeOutside([first.outside, this.outside], "at once");
      const others = this.programs.of(body, donate, true).alternatives();
      all.push(...others.filter(({ outside }) => outside.host <= host && outside.disk <= disk));
    }
    // The first may not be the fastest: of a loop in it, states that are cheap to keep are just kept.
    ways = undominated(
      all.map((program) => ({ program, bytes: ownBytes(program), time: timeOf(program) })),
    ).map(({ program }) => program);
    known.set(first, ways);
    return ways;
  }

  /** A loop, with other programs than the fastest for its bodies. */
  #prepare(
    region: Region,
    compile: Compile = (body, donate) => this.programs.of(body, donate),
    atOnce?: boolean,
  ): PreparedLoop {
    const { frame, outputs } = region;
    if (frame.is !== "loop") throw new Error("Cannot prepare a region that is no loop");
    const { loop } = frame, { replay } = loop.attributes;
    const steps = compileLoop(loop, compile);
    if (replay === undefined || replay.states === 0) {
      return prepareLoop(loop, outputs, steps, this.target);
    }
    const forward = (of: Node<"loop">) => compileLoop(of, compile);
    const options = { forward, compile, ...(atOnce !== undefined && { atOnce }) };
    return prepareBack(loop, outputs, steps.steps, this.target, options);
  }
}

/** The fastest of each loop's ways within less and less memory. */
function within(
  fittings: ReadonlyMap<Region, readonly Fitting[]>,
  besides: (region: Region) => number,
): Loops[] {
  const bounds = [...fittings].flatMap(([region, ways]) =>
    ways.slice(1).map(({ bytes }) => besides(region) + bytes)
  );
  const distinct = [...new Set(bounds)].sort((a, b) => b - a);
  return spread(distinct, mostRooms).map((bound) =>
    new Map(
      [...fittings].map(([region, ways]) => {
        const fits = ways.find(({ bytes }) => besides(region) + bytes <= bound);
        return [region, (fits ?? ways.at(-1)!).loop];
      }),
    )
  );
}
