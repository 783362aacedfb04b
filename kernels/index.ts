/**
 * Integer index expressions: sums of coefficients times atoms, plus a constant, where an atom is a
 * variable of known range or a quotient or remainder by a constant. Views (reshape, permute,
 * broadcast, slice …) are nothing but such expressions, and most of their arithmetic cancels here,
 * before any of it reaches a shader: unflattening what was just flattened gives back the variable.
 *
 * Everything is exact over the stated ranges, and quotients round down.
 *
 * @module
 */
import { type Shape, stridesOf } from "../graph/shape.ts";

/** What an index expression is a sum of. */
type Atom =
  | { readonly is: "variable"; readonly name: string }
  | { readonly is: "quotient" | "remainder"; readonly of: Index; readonly by: number }
  | { readonly is: "clamp"; readonly of: Index };

interface Term {
  readonly atom: Atom;
  readonly key: string;
  readonly min: number;
  readonly max: number;
  readonly factor: number;
}

/** Σ factor·atom + constant, with the range it can take. */
export interface Index {
  readonly terms: readonly Term[];
  readonly constant: number;
  readonly min: number;
  readonly max: number;
  /** Equal expressions have equal keys. */
  readonly key: string;
}

/** A sum of terms in the order of their keys. Most are steps of some arithmetic: nobody asks for their keys. */
class Sum implements Index {
  readonly min: number;
  readonly max: number;
  private text: string | undefined;

  constructor(readonly terms: readonly Term[], readonly constant: number) {
    let min = constant, max = constant;
    for (let i = 0; i < terms.length; i++) {
      const { factor, min: least, max: most } = terms[i]!;
      min += factor * (factor > 0 ? least : most);
      max += factor * (factor > 0 ? most : least);
    }
    this.min = min;
    this.max = max;
    this.text = undefined;
  }

  get key(): string {
    if (this.text === undefined) {
      let key = "";
      for (const { factor, key: of } of this.terms) key += `${factor}*${of}+`;
      this.text = key + this.constant;
    }
    return this.text;
  }
}

/** A sum of terms in any order. */
function sorted(terms: Iterable<Term>, constant: number): Index {
  const order = [...terms].sort((a, b) => a.key < b.key ? -1 : a.key > b.key ? 1 : 0);
  return new Sum(order, constant);
}

/** A term with another factor. */
function times({ atom, key, min, max }: Term, factor: number): Term {
  return { atom, key, min, max, factor };
}

function atom(a: Atom, key: string, min: number, max: number): Index {
  return min === max ? constant(min) : new Sum([{ atom: a, key, min, max, factor: 1 }], 0);
}

const constants = new Map<number, Index>();

/** A constant. */
export function constant(value: number): Index {
  let index = constants.get(value);
  if (index === undefined) {
    index = new Sum([], value);
    if (constants.size < 4096) constants.set(value, index);
  }
  return index;
}

/** A variable with values 0 … size-1. */
export function variable(name: string, size: number): Index {
  return atom({ is: "variable", name }, name, 0, Math.max(0, size - 1));
}

/** a + b. */
export function add(a: Index, b: Index): Index {
  if (a.terms.length === 0 && a.constant === 0) return b;
  if (b.terms.length === 0 && b.constant === 0) return a;
  const terms = new Map<string, Term>();
  for (const t of a.terms) terms.set(t.key, t);
  for (const t of b.terms) {
    const known = terms.get(t.key);
    if (known === undefined) terms.set(t.key, t);
    else if (known.factor + t.factor === 0) terms.delete(t.key);
    else terms.set(t.key, times(known, known.factor + t.factor));
  }
  return recombine(terms, a.constant + b.constant);
}

/** (x div m)·m·c + (x mod m)·c is x·c: what flattening an unflattened index comes down to. */
function recombine(terms: Map<string, Term>, offset: number): Index {
  for (const t of terms.values()) {
    if (t.atom.is !== "remainder") continue;
    const { of, by } = t.atom;
    const whole = dividedBeside(terms, t, of, by);
    if (whole === undefined) continue;
    terms.delete(t.key);
    terms.delete(whole.quotient.key);
    return add(sorted(terms.values(), offset), scale(whole.of, t.factor));
  }
  return sorted(terms.values(), offset);
}

/** The quotient that a remainder needs beside it, and what both together are. */
function dividedBeside(
  terms: ReadonlyMap<string, Term>,
  remainder: Term,
  of: Index,
  by: number,
): { readonly quotient: Term; readonly of: Index } | undefined {
  const factor = remainder.factor * by;
  const expected = div(of, by), [only] = expected.terms;
  if (expected.terms.length === 1 && expected.constant === 0 && only!.factor === 1) {
    const quotient = terms.get(only!.key);
    if (quotient?.factor === factor) return { quotient, of };
  }
  const own = new Sum([times(remainder, 1)], 0).key;
  for (const quotient of terms.values()) {
    const { atom } = quotient;
    if (quotient.factor !== factor) continue;
    // The remainder of x mod 28 by 2 is written as that of x: its quotient is still of x mod 28.
    if (atom.is === "quotient" && atom.by === by && mod(atom.of, by).key === own) {
      return { quotient, of: atom.of };
    }
    // Or that quotient is written as x / 2 mod 14, where x may have lost multiples of 2 beside it.
    if (atom.is === "remainder") {
      const lost = add(atom.of, scale(expected, -1));
      if (lost.terms.length >= atom.of.terms.length) continue;
      const whole = add(of, scale(lost, by));
      if (div(whole, by).key === atom.of.key && mod(whole, by).key === own) {
        return { quotient, of: mod(whole, by * atom.by) };
      }
    }
  }
  return undefined;
}

/** a · factor. */
export function scale(a: Index, factor: number): Index {
  if (factor === 1) return a;
  if (factor === 0) return constant(0);
  return new Sum(a.terms.map((t) => times(t, t.factor * factor)), a.constant * factor);
}

/** a + value. */
export function offset(a: Index, value: number): Index {
  return value === 0 ? a : new Sum(a.terms, a.constant + value);
}

function gcd(a: number, b: number): number {
  a = Math.abs(a);
  b = Math.abs(b);
  while (b > 0) [a, b] = [b, a % b];
  return a;
}

/** a = by·whole + rest, with the multiples of `by` in whole and a constant 0 … by-1 in rest. */
function split(a: Index, by: number): { whole: Index; rest: Index } {
  const whole: Term[] = [], rest: Term[] = [];
  for (const t of a.terms) {
    if (t.factor % by === 0) whole.push(times(t, t.factor / by));
    else rest.push(t);
  }
  const high = Math.floor(a.constant / by);
  return { whole: new Sum(whole, high), rest: new Sum(rest, a.constant - high * by) };
}

/** A divisor g of `by` such that a = g·high + low with low in 0 … g-1; the largest found. */
function factorOut(a: Index, by: number): { g: number; high: Index; low: Index } | undefined {
  const candidates = [...new Set(a.terms.map((t) => gcd(t.factor, by)))].sort((x, y) => y - x);
  for (const g of candidates) {
    if (g === 1) break;
    const { whole, rest } = split(a, g);
    if (rest.min >= 0 && rest.max < g) return { g, high: whole, low: rest };
  }
  return undefined;
}

/**
 * As {@linkcode split}, with every factor divided: `by + d` of something is one whole and d. Only
 * where what is left then needs no division: rows of `by` read as rows of by + d.
 */
function splitFactors(a: Index, by: number): { whole: Index; rest: Index } | undefined {
  const whole: Term[] = [], rest: Term[] = [];
  for (const t of a.terms) {
    const high = Math.floor(t.factor / by), low = t.factor - high * by;
    if (high !== 0) whole.push(times(t, high));
    if (low !== 0) rest.push(times(t, low));
  }
  const high = Math.floor(a.constant / by);
  const left = new Sum(rest, a.constant - high * by);
  return left.min >= 0 && left.max < by ? { whole: new Sum(whole, high), rest: left } : undefined;
}

/** ⌊a / by⌋. */
export function div(a: Index, by: number): Index {
  if (by === 1) return a;
  if (Math.floor(a.min / by) === Math.floor(a.max / by)) return constant(Math.floor(a.min / by));
  const { whole, rest } = split(a, by);
  if (rest.min >= 0 && rest.max < by) return whole;
  const divided = splitFactors(a, by);
  if (divided !== undefined) return divided.whole;
  if (whole.terms.length > 0 || whole.constant !== 0) return add(whole, div(rest, by));
  const common = factorOut(rest, by);
  if (common !== undefined) return div(common.high, by / common.g);
  const [only] = rest.terms;
  if (rest.terms.length === 1 && rest.constant === 0 && only!.factor === 1) {
    const inner = only!.atom;
    if (inner.is === "quotient") return div(inner.of, inner.by * by);
    // One way to write it, so that equal places have equal keys.
    if (inner.is === "remainder" && inner.by % by === 0) {
      return mod(div(inner.of, by), inner.by / by);
    }
  }
  const { of, lifted } = nonNegative(rest, by);
  const quotient = atom(
    { is: "quotient", of, by },
    `(${of.key}/${by})`,
    Math.floor(of.min / by),
    Math.floor(of.max / by),
  );
  return offset(quotient, -lifted);
}

/** a - by·⌊a / by⌋. */
export function mod(a: Index, by: number): Index {
  if (by === 1) return constant(0);
  if (Math.floor(a.min / by) === Math.floor(a.max / by)) {
    return offset(a, -by * Math.floor(a.min / by));
  }
  const { rest } = split(a, by);
  if (rest.min >= 0 && rest.max < by) return rest;
  const divided = splitFactors(a, by);
  if (divided !== undefined) return divided.rest;
  const common = factorOut(rest, by);
  if (common !== undefined) {
    return add(scale(mod(common.high, by / common.g), common.g), common.low);
  }
  const [only] = rest.terms;
  if (
    rest.terms.length === 1 && rest.constant === 0 && only!.factor === 1 &&
    only!.atom.is === "remainder" && only!.atom.by % by === 0
  ) {
    return mod(only!.atom.of, by);
  }
  const { of } = nonNegative(rest, by);
  return atom({ is: "remainder", of, by }, `(${of.key}%${by})`, 0, Math.min(by - 1, of.max));
}

/** Shaders divide towards zero: what could be negative is lifted by whole multiples of `by`. */
function nonNegative(a: Index, by: number): { of: Index; lifted: number } {
  const lifted = a.min >= 0 ? 0 : Math.ceil(-a.min / by);
  return { of: offset(a, lifted * by), lifted };
}

/** a, held inside low … high. */
export function clamp(a: Index, low: number, high: number): Index {
  if (a.min >= low && a.max <= high) return a;
  const min = Math.max(low, Math.min(a.min, high)), max = Math.min(high, Math.max(a.max, low));
  return atom({ is: "clamp", of: a }, `clamp(${a.key},${min},${max})`, min, max);
}

/** The expression with variables replaced. */
export function substitute(a: Index, by: ReadonlyMap<string, Index>): Index {
  return rebuild(a, (name) => by.get(name), clamp);
}

/**
 * The expression as it is where no clamp changes anything, and elsewhere at any place that a clamp
 * allows: what is read there is not wanted. Blocks that lie inside as a whole or not at all are held
 * as a whole, so that neighbours in them stay neighbours, which can be read as a vector.
 */
export function inBlocks(a: Index): Index {
  return rebuild(a, () => undefined, (of, low, high) => {
    const blocks = factorOut(of, gcd(low, high + 1));
    if (blocks === undefined) return clamp(of, low, high);
    const { g, high: block, low: within } = blocks;
    return add(scale(clamp(block, low / g, (high + 1) / g - 1), g), within);
  });
}

function rebuild(
  a: Index,
  valueOf: (name: string) => Index | undefined,
  held: typeof clamp,
): Index {
  let result = constant(a.constant);
  for (const t of a.terms) {
    let value: Index;
    const { atom } = t;
    if (atom.is === "variable") {
      value = valueOf(atom.name) ?? new Sum([times(t, 1)], 0);
    } else {
      const of = rebuild(atom.of, valueOf, held);
      value = atom.is === "quotient"
        ? div(of, atom.by)
        : atom.is === "remainder"
        ? mod(of, atom.by)
        : held(of, t.min, t.max);
    }
    result = add(result, scale(value, t.factor));
  }
  return result;
}

/** A quotient or remainder of what a variable moves by less than the divisor. */
export interface Step {
  readonly is: "quotient" | "remainder";
  /** What is divided, where the variable is 0. */
  readonly base: Index;
  readonly by: number;
  /** How far the variable moves it from there. */
  readonly step: number;
  /** The largest value that comes out. */
  readonly max: number;
}

/**
 * The expression at a value of a variable, told by where that is 0: a quotient that moves by less
 * than its divisor is the one there or the next, and `carry` says what stands for it. So four
 * neighbours share one division.
 */
export function advance(
  a: Index,
  name: string,
  value: number,
  carry: (step: Step) => Index,
): Index {
  const at = new Map([[name, constant(value)]]), zero = new Map([[name, constant(0)]]);
  let result = constant(a.constant);
  for (const t of a.terms) {
    const { atom, max } = t;
    const own = new Sum([times(t, 1)], 0);
    let moved = substitute(own, at);
    if (atom.is !== "variable" && dependsOn(own, name)) {
      const factor = atom.is === "clamp" ? undefined : factorOf(atom.of, name);
      const step = (factor ?? 0) * value;
      if (atom.is !== "clamp" && factor !== undefined && step > 0 && step <= atom.by) {
        const there = offset(substitute(own, zero), atom.is === "quotient" ? 0 : step);
        // Where the multiples in it tell that there is no carry, that is known by now.
        if (moved.key !== there.key) {
          moved = carry({ is: atom.is, base: substitute(atom.of, zero), by: atom.by, step, max });
        }
      } else {
        const of = advance(atom.of, name, value, carry);
        moved = atom.is === "quotient"
          ? div(of, atom.by)
          : atom.is === "remainder"
          ? mod(of, atom.by)
          : clamp(of, t.min, max);
      }
    }
    result = add(result, scale(moved, t.factor));
  }
  return result;
}

/** The quotient through which alone the expression depends on the variable, if there is one. */
export function onlyQuotient(
  a: Index,
  name: string,
): { readonly of: Index; readonly by: number } | undefined {
  let found: { readonly of: Index; readonly by: number } | undefined;
  for (const { atom } of a.terms) {
    if (atom.is === "variable") {
      if (atom.name === name) return undefined;
      continue;
    }
    if (!dependsOn(atom.of, name)) continue;
    const direct = factorOf(atom.of, name) !== undefined;
    if (direct && atom.is !== "quotient") return undefined;
    const inner = direct ? atom as { of: Index; by: number } : onlyQuotient(atom.of, name);
    if (inner === undefined) return undefined;
    if (found !== undefined && (found.of.key !== inner.of.key || found.by !== inner.by)) {
      return undefined;
    }
    found = inner;
  }
  return found;
}

/** True if the expression depends on the variable. */
export function dependsOn(a: Index, name: string): boolean {
  return a.terms.some(({ atom }) =>
    atom.is === "variable" ? atom.name === name : dependsOn(atom.of, name)
  );
}

/** Coefficient of a variable that appears outside of quotients only; undefined if inside one. */
export function factorOf(a: Index, name: string): number | undefined {
  let factor = 0;
  for (const t of a.terms) {
    if (t.atom.is === "variable") {
      if (t.atom.name === name) factor += t.factor;
    } else if (dependsOn(t.atom.of, name)) return undefined;
  }
  return factor;
}

/** True if every value of the expression is a multiple of m, as far as its factors tell. */
export function isMultiple(a: Index, m: number): boolean {
  return a.constant % m === 0 && a.terms.every((t) => t.factor % m === 0);
}

/** Row-major position of an index vector. */
export function flatten(index: readonly Index[], shape: Shape): Index {
  const strides = stridesOf(shape);
  return index.reduce((sum, x, i) => add(sum, scale(x, strides[i]!)), constant(0));
}

/** Index vector of a row-major position. */
export function unflatten(position: Index, shape: Shape): Index[] {
  const result = new Array<Index>(shape.length);
  // From the innermost axis out, each dividing what the last one left: flatten then finds every
  // remainder beside its quotient.
  for (let i = shape.length - 1; i > 0; i--) {
    const n = shape[i]!;
    result[i] = mod(position, n);
    position = div(position, n);
  }
  if (shape.length > 0) result[0] = shape[0] === 1 ? constant(0) : position;
  return result;
}

/** The expression as WGSL in i32; `name` gives a quotient, remainder or clamp a local name. */
export function toWGSL(a: Index, name: (key: string, text: string) => string): string {
  const parts: string[] = [];
  for (const t of a.terms) {
    const { atom } = t;
    let text: string;
    if (atom.is === "variable") text = atom.name;
    else {
      const of = toWGSL(atom.of, name);
      text = name(
        t.key,
        atom.is === "quotient"
          ? `(${of}) / ${atom.by}`
          : atom.is === "remainder"
          ? `(${of}) % ${atom.by}`
          : `clamp(${of}, ${t.min}, ${t.max})`,
      );
    }
    parts.push(t.factor === 1 ? text : `${text} * ${t.factor}`);
  }
  if (a.constant !== 0 || parts.length === 0) parts.push(String(a.constant));
  return parts.join(" + ");
}
