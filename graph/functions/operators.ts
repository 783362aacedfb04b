/**
 * The operators that functions are written in: of nodes and numbers, broadcast and promoted as the
 * user's own are. (graph/arithmetic.ts has those of derivatives, where nothing needs to be.)
 *
 * @module
 */
import { binary, type Operand, unary } from "../build.ts";
import type { Node } from "../node.ts";

export const add = (a: Operand, b: Operand): Node => binary("add", a, b);
export const sub = (a: Operand, b: Operand): Node => binary("sub", a, b);
export const mul = (a: Operand, b: Operand): Node => binary("mul", a, b);
export const div = (a: Operand, b: Operand): Node => binary("div", a, b);
export const equal = (a: Operand, b: Operand): Node => binary("equal", a, b);
export const less = (a: Operand, b: Operand): Node => binary("less", a, b);
export const lessEqual = (a: Operand, b: Operand): Node => binary("lessEqual", a, b);
export const and = (a: Operand, b: Operand): Node => binary("and", a, b);
export const or = (a: Operand, b: Operand): Node => binary("or", a, b);
export const xor = (a: Operand, b: Operand): Node => binary("xor", a, b);
export const not = (a: Node): Node => unary("not", a);
