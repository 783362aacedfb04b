/**
 * The strategy that is none yet: the compiler chooses one for each loop, when it knows the memory
 * that a program may take. Until then its plan has the first and the last state at hand, which every
 * loop has anyway, and whatever the user allowed.
 *
 * @module
 */
import type { Gauge } from "../check.ts";
import { checkNames, describe } from "../describe.ts";
import type { Strategy } from "../scan.ts";
import type { Plan, When } from "./replay.ts";

/** What may be chosen besides storing states and computing them again. */
export interface AutoOptions {
  /** Running the steps backwards: `reverse` with `exact: "tape"` or `"grid"`. */
  readonly reverse?: Strategy;
  /**
   * States that may lie in the host's memory at once.
   *
   * @default {as many as `offload` of `compile` has bytes for}
   */
  readonly host?: number;
  /**
   * States that may lie on disk at once.
   *
   * @default {as many as `offload` of `compile` has bytes for}
   */
  readonly disk?: number;
}

/** A plan that stands for those among which the compiler chooses. */
export class AutoPlan implements Plan {
  /** What is chosen among. */
  constructor(
    readonly name: string,
    /** A plan that runs backwards. */
    readonly reverse: Plan | undefined,
    /** States that may lie there; undefined if the program is to say. */
    readonly host: number | undefined,
    readonly disk: number | undefined,
  ) {}

  /** See {@linkcode Plan}. */
  get inverts(): boolean {
    return this.reverse !== undefined;
  }

  /** See {@linkcode Plan}. */
  get check(): Plan["check"] {
    return this.reverse?.check;
  }

  /** Where the length is not known, the first state is the one snapshot that every loop has. */
  get open(): number | undefined {
    const { host = 0, disk = 0 } = this;
    return host + disk === 0 ? 1 : undefined;
  }

  /** See {@linkcode Plan}. */
  gauge(tape: string, loop: string): Gauge {
    return this.reverse!.gauge!(tape, loop);
  }

  /** See {@linkcode Plan}. */
  atTurn(length: number): readonly When[] {
    return [length, 0];
  }
}

const known = new Map<string, AutoPlan>();

/**
 * Leaves it to the compiler what the way back of a loop keeps. With memory to spare that is every
 * state, which is fastest. Under a budget (`compile(f, { memory })`) it is whatever fits and takes
 * the least time, as predicted: all states, some of them (`revolve`), or what the options allow, by
 * itself or under an outer `revolve`. With `compile(f, { memory, offload })` states may lie outside
 * of the device, too, within its bytes. In `whileLoop` it is a number of snapshots, 64 at most, or
 * segments that `reverse` goes back over between few of them.
 * The gradient is that of `"store"`, to the bit. As `backward`, the text `"auto"` is `auto()`.
 *
 * @throws {TypeError} if `reverse` is not exact.
 * @throws {RangeError} if a number of states is no integer of at least 0.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const wave = (backward: rg.Backward) => (x: rg.Tensor) =>
 *   rg.loop((x) => x.mul(1.1).sin(), x, { length: 100, backward }).sum();
 * const x = rg.ones([4096]);
 * const little = rg.compile((x: rg.Tensor) => rg.grad(wave("auto"))(x), { memory: "300 kB" });
 * assertEquals(await little(x).array(), await rg.grad(wave("store"))(x).array());
 * ```
 */
export function auto(options: AutoOptions = {}): Strategy {
  checkNames(options, { reverse: true, host: true, disk: true }, "make auto");
  const { reverse, host, disk } = options;
  for (const [store, count] of [["host", host], ["disk", disk]] as const) {
    if (count === undefined || Number.isSafeInteger(count) && count >= 0) continue;
    throw new RangeError(
      `Cannot make auto: ${store} is ${String(count)}, expected an integer of at least 0`,
    );
  }
  const check = reverse?.plan?.check;
  if (reverse !== undefined && (reverse?.inverse === undefined || check === "drift" || !check)) {
    throw new TypeError(
      `Cannot make auto: reverse is ${reverse?.plan?.name ?? describe(reverse)}, expected ` +
        'reverse({ inverse, exact: "tape" or "grid" })',
    );
  }
  const name = `auto(${reverse?.plan.name ?? "no inverse"}, ${host ?? "any"}, ${disk ?? "any"})`;
  let plan = known.get(name);
  if (plan === undefined) known.set(name, plan = new AutoPlan(name, reverse?.plan, host, disk));
  return { plan, ...(reverse && { inverse: reverse.inverse! }) };
}
