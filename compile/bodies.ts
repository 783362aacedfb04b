/**
 * The bodies of a program's loops. Each compiles once, whatever is tried around it. Under a budget a
 * body is a program like others: what lies within a step can be let go of and made again before the
 * step is over. So a loop may run in more memory or in less; how much it gets is what is left beside
 * it while it runs.
 *
 * @module
 */
import type { Graph, Node } from "../graph/node.ts";
import type { Region } from "../kernels/region.ts";
import { prepareBack } from "./back.ts";
import { type PreparedLoop, prepareLoop } from "./loop.ts";
import { spread, undominated } from "./plan.ts";
import type { Program, Target } from "./program.ts";
import { type Compile, compileLoop } from "./steps.ts";

/** Loops with their bodies, by their regions. */
export type Loops = ReadonlyMap<Region, PreparedLoop>;

/** Programs of bodies, by what they compute. */
export class BodyPrograms {
  readonly #known = new Map<string, Program>();

  /** Compiled like this, without a budget. */
  constructor(private readonly compile: Compile) {}

  /** A body's fastest program. */
  of(body: Graph, donate: readonly number[]): Program {
    const ids = (nodes: readonly Node[]): string => nodes.map(({ id }) => id).join();
    const key = `${body.name}: ${ids(body.parameters)}; ${ids(body.results)}; ${donate}`;
    let program = this.#known.get(key);
    if (program === undefined) this.#known.set(key, program = this.compile(body, donate));
    return program;
  }
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
  #fittings: ReadonlyMap<Region, readonly Fitting[]> | undefined;

  /** In the order in which they run; `timeOf` is that of a region, which may be such a loop. */
  constructor(
    regions: readonly Region[],
    private readonly programs: BodyPrograms,
    private readonly target: Target,
    private readonly timeOf: (region: Region, loop: PreparedLoop) => number,
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
    const fittings = this.#fittings ??= new Map(
      this.#regions.map((region) => [region, this.#fittingsOf(region)]),
    );
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

  /** The ways of running a loop that no other beats, the fastest first. */
  #fittingsOf(region: Region): Fitting[] {
    const rooms = new Set<number>();
    this.#prepare(region, (program) => {
      for (const other of program.alternatives()) rooms.add(ownBytes(other));
      return program;
    });
    const loops = [this.fastest.get(region)!];
    for (const room of spread([...rooms].sort((a, b) => b - a), mostRooms)) {
      const within = (program: Program): Program => {
        if (ownBytes(program) <= room) return program;
        const all = program.alternatives();
        return all.find((other) => ownBytes(other) <= room) ?? all.at(-1)!;
      };
      const loop = this.#prepare(region, within);
      loops.push(loop);
      // In one, a step back may take more at once than in two.
      if (loop.isAtOnce) loops.push(this.#prepare(region, within, false));
    }
    return undominated(loops.map((loop) => ({
      loop,
      bytes: loop.scratch.reduce((sum, { bytes }) => sum + bytes, 0),
      time: this.timeOf(region, loop),
    })));
  }

  /** A loop, with other programs than the fastest for its bodies. */
  #prepare(
    region: Region,
    pick: (fastest: Program) => Program = (fastest) => fastest,
    atOnce?: boolean,
  ): PreparedLoop {
    const { frame, outputs } = region;
    if (frame.is !== "loop") throw new Error("Cannot prepare a region that is no loop");
    const { loop } = frame, { replay } = loop.attributes;
    const compile: Compile = (body, donate) => pick(this.programs.of(body, donate));
    const steps = compileLoop(loop, compile);
    if (replay === undefined || replay.states === 0) {
      return prepareLoop(loop, outputs, steps, this.target);
    }
    const forward = (of: Node<"loop">) => compileLoop(of, compile);
    const options = { forward, compile, ...(atOnce !== undefined && { atOnce }) };
    return prepareBack(loop, outputs, steps.steps, this.target, options);
  }
}
