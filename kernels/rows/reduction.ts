/**
 * How each reduction is carried out: one or two running values, what an element adds to each, and
 * what they come to. Sums of f16 are kept in f32. The largest and smallest of floats keep a second
 * value beside them, the largest magnitude as bits, which tells at the end whether there was a NaN:
 * cheaper than a test for every element.
 *
 * @module
 */
import { type DType, dtypes } from "../../graph/dtype.ts";
import type { Node } from "../../graph/node.ts";
import type { Emitter, Value } from "../emit.ts";
import { literal, typeName, type Width } from "../wgsl.ts";

/** One running value of a reduction. */
export interface Track {
  readonly type: DType;
  /** The value it starts from, as a literal. */
  readonly start: string;
  readonly combine: (a: string, b: string) => string;
  /** What an element (as the accumulator's type) brings to it. */
  readonly lift: (element: string, width: Width) => string;
}

/** A reduction as running values, and what they come to. */
export interface Reduction {
  readonly tracks: readonly Track[];
  readonly finish: (names: readonly string[], width: Width) => string;
}

const itself = (element: string): string => element;

function plain(start: (d: DType) => number, combine: Track["combine"]): (d: DType) => Reduction {
  return (type) => ({
    tracks: [{ type, start: literal(start(type), type), combine, lift: itself }],
    finish: ([total]) => total!,
  });
}

function extreme(name: "max" | "min", start: (d: DType) => number): (d: DType) => Reduction {
  const combine: Track["combine"] = (a, b) => `${name}(${a}, ${b})`;
  const exact = plain(start, combine);
  return (type) => {
    if (!dtypes[type].float) return exact(type);
    const magnitude: Track = {
      type: "u32",
      start: "0u",
      combine: (a, b) => `max(${a}, ${b})`,
      lift: (element, width) => {
        const bits = typeName("u32", width);
        return `(bitcast<${bits}>(${element}) & ${bits}(0x7fffffffu))`;
      },
    };
    return {
      tracks: [...exact(type).tracks, magnitude],
      finish: ([value, bits], width) => {
        const nan = `${typeName(type, width)}(${literal(NaN, type)})`;
        return `select(${value}, ${nan}, ${bits} > ${typeName("u32", width)}(0x7f800000u))`;
      },
    };
  };
}

const reductions: { readonly [op: string]: (type: DType) => Reduction } = {
  sum: plain(() => 0, (a, b) => `${a} + ${b}`),
  prod: plain(() => 1, (a, b) => `${a} * ${b}`),
  reduceMax: extreme("max", (d) => dtypes[d].lowest),
  reduceMin: extreme("min", (d) => dtypes[d].highest),
};

/** The dtype in which a reduction accumulates. */
export function accumulator(dtype: DType): DType {
  return dtype === "f16" ? "f32" : dtype;
}

/** The reduction that a node stands for. */
export function reductionOf(node: Node): Reduction {
  return reductions[node.op]!(accumulator(node.dtype));
}

/** True if partial results may meet in any order: extremes are exact. */
export function isExtreme(node: Node): boolean {
  return node.op === "reduceMax" || node.op === "reduceMin";
}

/** An element as the type in which the node accumulates. */
export function widen(value: Value, node: Node, width: Width): string {
  const type = accumulator(node.dtype);
  return value.dtype === type ? value.text : `${typeName(type, width)}(${value.text})`;
}

/** What the running values come to, as a value of the node's dtype. */
function finished(node: Node, names: readonly string[], width: Width): string {
  const text = reductionOf(node).finish(names, width);
  return accumulator(node.dtype) === node.dtype ? text : `${typeName(node.dtype, width)}(${text})`;
}

/** Makes the results of a phase known: what the totals of their tracks come to. */
export function finishPhase(
  emitter: Emitter,
  phase: readonly Node[],
  tracks: readonly { readonly node: Node; readonly total: string }[],
  width: Width,
): void {
  for (const node of phase) {
    const totals = tracks.filter((t) => t.node === node).map(({ total }) => total);
    const text = finished(node, totals, width);
    const name = emitter.fresh("r");
    emitter.declare(name);
    emitter.line(`let ${name} = ${text};`);
    emitter.computed.set(node, { text: name, dtype: node.dtype, width });
  }
}
