/**
 * What a contestant is: a library that brings some kinds of workloads to the device.
 *
 * @module
 */
import type { Case } from "../measure.ts";
import type { Sizes } from "../workloads.ts";

/** The kinds that a library can do, each made ready for given sizes. */
export type Contestant = {
  readonly [K in keyof Sizes]?: (...sizes: Sizes[K]) => Case | Promise<Case>;
};

/** How a contestant is loaded, in a process of its own. */
export const contestants = {
  retrograd: (): Promise<Contestant> => import("./retrograd.ts").then(({ load }) => load()),
  jax: (): Promise<Contestant> => import("./jax.ts").then(({ load }) => load()),
  tfjs: (): Promise<Contestant> => import("./tfjs.ts").then(({ load }) => load()),
} as const;

/** Names of contestants. */
export type ContestantName = keyof typeof contestants;
