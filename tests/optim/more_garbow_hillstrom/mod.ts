/**
 * All 35 problems of Moré, Garbow and Hillstrom, four of them in two sizes.
 *
 * @module
 */
import { any } from "./any.ts";
import { few } from "./few.ts";
import type { Problem } from "./problem.ts";
import { several } from "./several.ts";

/** The problems, by the paper's numbers. */
export const problems: readonly Problem[] = [...few, ...several, ...any];
