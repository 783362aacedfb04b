/**
 * What all variants of a product share: its sizes and operands, in which direction an operand can be
 * read in vectors, and the epilogue, which computes and stores what follows the product element by
 * element.
 *
 * @module
 */
import type { Node } from "../../graph/node.ts";
import { kinds } from "../../graph/primitive.ts";
import { lane, type Value } from "../emit.ts";
import {
  add,
  constant,
  factorOf,
  flatten,
  type Index,
  isMultiple,
  offset,
  scale,
  substitute,
  variable,
} from "../index.ts";
import { outputsByProduct } from "../legal.ts";
import { placeIn, type Places, placesOf } from "../region.ts";
import type { Body, Job } from "../shader.ts";
import { operandIndices } from "../views.ts";
import { typeName, type Width } from "../wgsl.ts";

/** Sizes and operands of the product of a region. */
export interface Product {
  readonly node: Node<"dot">;
  readonly left: Node;
  readonly right: Node;
  /** What lies in memory: below it nobody looks through views. */
  readonly isInput: (node: Node) => boolean;
  readonly batch: number;
  readonly m: number;
  readonly n: number;
  readonly k: number;
}

/** One product of a region of frame `dot`, and what of the region follows it. */
export interface Part {
  readonly product: Product;
  readonly job: Job;
}

/** The products of a region, each with the outputs that are computed from it; the first with others. */
export function partsOf(job: Job): readonly Part[] {
  const { region } = job, { inputs } = region;
  const isInput = (x: Node): boolean => inputs.includes(x);
  const outputs = outputsByProduct(region.outputs, isInput);
  if (outputs.size === 0) throw new Error("Cannot write a product: the region has none");
  return [...outputs].map(([node, own]) => {
    const [left, right] = node.inputs as [Node, Node];
    const [batch, m, k] = left.shape as [number, number, number];
    return {
      product: { node, left, right, isInput, batch, m, n: right.shape[2]!, k },
      job: {
        ...job,
        region: { ...region, outputs: own },
        outputs: own.map((output) => job.outputs[region.outputs.indexOf(output)]!),
      },
    };
  });
}

/** Writes products side by side: the last dimension of the grid tells them apart. */
export function sideBySide(
  parts: readonly Part[],
  write: (part: Part) => Omit<Body, "flops">,
): Omit<Body, "flops"> {
  const bodies = parts.map((part, i) => {
    // A body closes the outermost scope; every one has its own.
    if (i > 0) part.job.emitter.open();
    return write(part);
  });
  const [first] = bodies as [Omit<Body, "flops">];
  if (bodies.length === 1) return first;
  const [x, y, deep] = first.workgroups as readonly [number, number, number];
  return {
    ...first,
    workgroups: [x, y, deep * bodies.length],
    globals: [...new Set(bodies.flatMap(({ globals = [] }) => globals))],
    lines: bodies.flatMap(({ lines }, i) => [
      `if (group.z / ${deep}u == ${i}u) {`,
      ...lines.map((line) => line.replaceAll("group.z", `(group.z - ${i * deep}u)`)),
      "}",
    ]),
  };
}

/** Tells what lies in memory from what is a view of it. */
type IsInput = Product["isInput"];

/** Where an operand's elements are in memory, with axes named x0, x1, x2. */
function addressOf(operand: Node, places: readonly Index[], isInput: IsInput): Index {
  let index = places, base = operand;
  // What padding clamps is no multiple of anything, and what it leaves alone stays as it is.
  while (kinds[base.op] === "movement" && base.op !== "concatenate" && !isInput(base)) {
    index = operandIndices(base, index)[0]!;
    base = base.inputs[0]!;
  }
  return flatten(index, base.shape);
}

/** Along which of two axes the operand is contiguous: decides how it is loaded in vectors. */
export function contiguousAlong(operand: Node, axis: 1 | 2, isInput: IsInput): boolean {
  const address = addressOf(
    operand,
    operand.shape.map((size, i) =>
      i === axis && size % 4 === 0
        ? add(scale(variable(`x${i}`, size / 4), 4), lane)
        : variable(`x${i}`, size)
    ),
    isInput,
  );
  return factorOf(address, "lane") === 1 &&
    isMultiple(substitute(address, new Map([["lane", constant(0)]])), 4);
}

/** Whether neighbours along an axis are neighbours in memory, wherever rows begin. */
export function neighboursAlong(operand: Node, axis: 1 | 2, isInput: IsInput): boolean {
  const places = operand.shape.map((size, i) => variable(`x${i}`, size));
  return factorOf(addressOf(operand, places, isInput), `x${axis}`) === 1;
}

/**
 * How late each of four neighbouring columns begins, counted from a vector of memory, where they lie
 * along k, one after the other, of whatever length; undefined where they do not.
 */
export function lateAlongK({ right, k, n, isInput }: Product): readonly number[] | undefined {
  if (n < 4 || !neighboursAlong(right, 1, isInput)) return undefined;
  const four = scale(variable("x2", Math.ceil(n / 4)), 4), deep = variable("x1", Math.ceil(k / 4));
  const late: number[] = [];
  for (let column = 0; column < 4; column++) {
    const found = [0, 1, 2, 3].find((late) => {
      const step = add(offset(scale(deep, 4), -late), lane);
      const address = addressOf(right, [
        variable("x0", right.shape[0]!),
        step,
        offset(four, column),
      ], isInput);
      return factorOf(address, "lane") === 1 &&
        isMultiple(substitute(address, new Map([["lane", constant(0)]])), 4);
    });
    if (found === undefined) return undefined;
    late.push(found);
  }
  return late;
}

/** Text of an f32 vector or number, whatever the operand's dtype and width. */
export function inF32({ text, dtype, width }: Value, wanted: Width): string {
  const type = typeName("f32", wanted);
  if (dtype !== "f32" && width === wanted) return `${type}(${text})`;
  if (width === wanted) return text;
  return dtype === "f32" ? `${type}(${text})` : `${type}(f32(${text}))`;
}

/** How a variant holds its results. */
export interface Store {
  /** Variables that hold four results each. */
  readonly results: readonly string[];
  /** Row of result t, and column of the first of its four, as text. */
  readonly row: (t: string) => string;
  readonly column: (t: string) => string;
  /** From one of the four columns to the next. */
  readonly step: number;
}

/**
 * The text of the one among `names` that `t` says, bit by bit. Not an array: a driver that takes
 * the square of its uses compiles one of sixteen results for a tenth of a second.
 */
function chosen(names: readonly string[], t: string, bit = 0): string {
  if (names.length === 1) return names[0]!;
  const [even, odd] = [0, 1].map((side) => names.filter((_, i) => (i & 1) === side));
  const rest = (half: readonly string[]) => chosen(half, t, bit + 1);
  return `select(${rest(even!)}, ${rest(odd!)}, (${t} & ${1 << bit}) != 0)`;
}

/** What follows the product, on four columns at a time where rows allow, else one by one. */
export function epilogue(job: Job, product: Product, store: Store): string[] {
  const { emitter, region, outputs } = job;
  const { node, batch, m, n } = product;
  const whole = n % 4 === 0 && store.step === 1;
  const row = variable("m", m), b = variable("batch", batch);
  const col = whole ? add(scale(variable("n4", n / 4), 4), lane) : variable("n", n);
  const position = add(scale(add(scale(b, m), row), n), col);
  const places: Places = placesOf(job.frame, { position });
  emitter.open("m", "n4", "n", "acc");
  const width: Width = whole ? 4 : 1;
  emitter.computed.set(node, {
    text: node.dtype === "f16" ? `${typeName("f16", width)}(acc)` : "acc",
    dtype: node.dtype,
    width,
  });
  emitter.storeAll(
    region.outputs.map((output, i) => {
      const place = placeIn(job.frame, places, output)!;
      return {
        buffer: outputs[i]!,
        value: () => emitter.value(output, place),
        address: flatten(place, output.shape),
      };
    }),
    position,
  );
  const inner = emitter.close();
  const { results } = store;
  return [
    `for (var t = 0; t < ${results.length}; t++) {`,
    `let m = ${store.row("t")};`,
    `if (m < ${m}) {`,
    `let four = ${chosen(results, "t")};`,
    ...(whole
      ? [
        `let n4 = (${store.column("t")}) / 4;`,
        `if (n4 < ${n / 4}) {`,
        "let acc = four;",
        ...inner,
        "}",
      ]
      : [
        "for (var l = 0; l < 4; l++) {",
        `let n = ${store.column("t")} + l * ${store.step};`,
        `if (n < ${n}) {`,
        "let acc = four[l];",
        ...inner,
        "}",
        "}",
      ]),
    "}",
    "}",
  ];
}
