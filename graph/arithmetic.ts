/**
 * Arithmetic on nodes of one shape and dtype, as the rules of derivatives write it: nothing is
 * broadcast and nothing promoted.
 *
 * @module
 */
import { apply, fill } from "./build.ts";
import type { Node } from "./node.ts";

export const add = (a: Node, b: Node): Node => apply("add", [a, b], {});
export const sub = (a: Node, b: Node): Node => apply("sub", [a, b], {});
export const mul = (a: Node, b: Node): Node => apply("mul", [a, b], {});
export const div = (a: Node, b: Node): Node => apply("div", [a, b], {});
export const neg = (a: Node): Node => apply("neg", [a], {});
export const less = (a: Node, b: Node): Node => apply("less", [a, b], {});
export const equal = (a: Node, b: Node): Node => apply("equal", [a, b], {});
/** One value everywhere, of the shape and dtype of x. */
export const like = (x: Node, value: number): Node => fill(value, x.shape, x.dtype);
/** A number times x. */
export const times = (x: Node, factor: number): Node => mul(x, like(x, factor));
