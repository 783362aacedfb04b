/**
 * What things cost: the interface through which the planner asks, and the answer where nothing has
 * been measured, the roofline model (Williams, Waterman & Patterson 2009): a kernel takes as long
 * as the slower of its memory traffic and its arithmetic, and its dispatch besides.
 *
 * Invariant: times are in microseconds and never negative. Costs steer the choice of a plan and so
 * its speed, never its result.
 *
 * @module
 */
import type { Store } from "./schedule.ts";

/** What a region, or a step made of several, does. */
export interface Work {
  /** Names the kernel and its shapes; equal keys take equal times. */
  readonly key: string;
  /** What is called alike is off from a model by about the same factor. */
  readonly like?: string;
  /** Bytes read and written in device memory. */
  readonly bytes: number;
  /** Floating-point operations. */
  readonly flops: number;
  /** Dispatches. @default 1 */
  readonly dispatches?: number;
}

/** Answers what things cost, in microseconds. The runtime's answers with measured times. */
export interface CostModel {
  /** Time of a region or a step. */
  time(work: Work): number;
  /** Whether that was measured. */
  isMeasured(work: Work): boolean;
  /** Time of moving a snapshot of so many bytes from the device to a store, or back. */
  transfer(store: Store, bytes: number): number;
  /** What answered before anything was measured; undefined if this is it. */
  readonly otherwise?: CostModel;
}

/** A device in a few figures. */
export interface Roofline {
  /** Device memory, bytes per microsecond (that is MB/s divided by 1). */
  readonly bandwidth: number;
  /** Floating-point operations per microsecond. */
  readonly flops: number;
  /** Microseconds of a dispatch that does nothing. */
  readonly dispatch: number;
  /** Per store: bytes per microsecond, and microseconds before the first. */
  readonly transfer: Readonly<
    Record<Store, { readonly bandwidth: number; readonly latency: number }>
  >;
}

/** Figures for a kind of adapter, of the right order and no more. */
export const rooflines: Readonly<Record<"software" | "integrated" | "discrete", Roofline>> = {
  software: {
    bandwidth: 5e3,
    flops: 2e4,
    dispatch: 20,
    transfer: {
      device: { bandwidth: 2.5e3, latency: 20 },
      host: { bandwidth: 2e3, latency: 200 },
      disk: { bandwidth: 300, latency: 1000 },
    },
  },
  integrated: {
    bandwidth: 5e4,
    flops: 1e6,
    dispatch: 5,
    transfer: {
      device: { bandwidth: 2.5e4, latency: 5 },
      host: { bandwidth: 5e3, latency: 300 },
      disk: { bandwidth: 1e3, latency: 1000 },
    },
  },
  discrete: {
    bandwidth: 5e5,
    flops: 1e7,
    dispatch: 5,
    transfer: {
      device: { bandwidth: 2.5e5, latency: 5 },
      host: { bandwidth: 1e4, latency: 300 },
      disk: { bandwidth: 1e3, latency: 1000 },
    },
  },
};

/** The model of bytes and flops. */
export function modelled(roofline: Roofline): CostModel {
  return {
    time: ({ bytes, flops, dispatches = 1 }) =>
      dispatches * roofline.dispatch +
      Math.max(bytes / roofline.bandwidth, flops / roofline.flops),
    isMeasured: () => false,
    transfer: (store, bytes) => {
      const { bandwidth, latency } = roofline.transfer[store];
      return latency + bytes / bandwidth;
    },
  };
}

/** A time that was measured, in microseconds, with the work that took it. */
export interface Timing {
  readonly work: Work;
  readonly time: number;
}

/**
 * Measured times where there are any. What was not measured comes from `otherwise`, scaled by the
 * factor by which the measured kernels are off from it (those called alike, if there are some), so
 * that the two can be compared.
 *
 * @param times By {@linkcode Work.key}.
 */
export function measured(
  times: ReadonlyMap<string, Timing>,
  otherwise: CostModel,
): CostModel {
  if (times.size === 0) return otherwise;
  const factor = factorOf([...times.values()], otherwise) ?? 1;
  const alike = Map.groupBy(times.values(), ({ work }) => work.like);
  const factors = new Map([...alike].map(([like, list]) => [like, factorOf(list, otherwise)]));
  const scale = ({ like }: Work): number =>
    like === undefined ? factor : factors.get(like) ?? factor;
  return {
    time: (work) => times.get(work.key)?.time ?? scale(work) * otherwise.time(work),
    isMeasured: (work) => times.has(work.key),
    transfer: (store, bytes) => otherwise.transfer(store, bytes),
    otherwise,
  };
}

/** By how much times are off from a model: the median, so that a single one does not move it far. */
function factorOf(timings: readonly Timing[], model: CostModel): number | undefined {
  const ratios = timings.map(({ work, time }) => time / model.time(work))
    .filter((ratio) => Number.isFinite(ratio) && ratio > 0)
    .sort((a, b) => a - b);
  return ratios[ratios.length >> 1];
}
