/**
 * A region is what one dispatch computes: a set of outputs, down to values that are in memory, over
 * a frame. The frame says how the work is laid out and gives every value of the region its place:
 *
 * - `map`: a line of elements; all outputs have that many, and each is computed on its own.
 * - `rows`: `rows` × `cols`; reductions run along a row, phase after phase, and outputs are either
 *   one value a row or one value an element (softmax and layer norm are one such region).
 * - `dot`: a batched product [b,m,n] over k, with what follows it element by element; or a few of
 *   them side by side.
 * - `scatter`: rows of updates summed into rows of the result by index, with what follows it element
 *   by element.
 * - `kernel`: a shader that a user wrote, over values as they lie in memory.
 *
 * Inside a region a value may be used only at its own place; anything read elsewhere has to come
 * from memory. {@linkcode footprint} finds out who reads what where.
 *
 * @module
 */
import type { Outside } from "../graph/loops/replay.ts";
import { attributeKey, is, type Node } from "../graph/node.ts";
import { kinds } from "../graph/primitive.ts";
import { sameShape, type Shape, sizeOf } from "../graph/shape.ts";
import { add, flatten, type Index, scale, unflatten, variable } from "./index.ts";
import { indexKey, operandIndices } from "./views.ts";

/** How a region's work is laid out. */
export type Frame =
  | { readonly is: "map"; readonly size: number }
  | {
    readonly is: "rows";
    /** Shape of what is reduced, and along which axes. */
    readonly shape: Shape;
    readonly axes: readonly number[];
    readonly rows: number;
    readonly cols: number;
  }
  | { readonly is: "dot"; readonly shape: Shape; readonly k: number }
  | { readonly is: "scatter"; readonly shape: Shape }
  | { readonly is: "kernel"; readonly shape: Shape }
  /** No kernel of its own: a body that is run many times (compile/loop.ts). */
  | { readonly is: "loop"; readonly shape: Shape; readonly loop: Node<"loop"> }
  /** No kernel either: a value goes to where it waits, or comes back (compile/moves.ts). */
  | { readonly is: "save" | "load"; readonly shape: Shape; readonly store: Outside };

/** One dispatch, before it is text. */
export interface Region {
  readonly frame: Frame;
  /** Values it writes to memory. */
  readonly outputs: readonly Node[];
  /** Values it reads from memory. */
  readonly inputs: readonly Node[];
}

/** The frame in which a node that must be stored is computed. */
export function frameOf(node: Node): Frame {
  if (kinds[node.op] === "reduce") {
    const { shape } = node.inputs[0]!;
    const { axes } = node.attributes as { axes: readonly number[] };
    const cols = axes.reduce((n, axis) => n * shape[axis]!, 1);
    return { is: "rows", shape, axes, rows: sizeOf(shape) / cols, cols };
  }
  if (is(node, "dot")) return { is: "dot", shape: node.shape, k: node.inputs[0]!.shape[2]! };
  if (is(node, "scatterAdd")) return { is: "scatter", shape: node.shape };
  if (is(node, "kernel")) return { is: "kernel", shape: node.shape };
  if (is(node, "project")) {
    return { is: "loop", shape: node.shape, loop: node.inputs[0] as Node<"loop"> };
  }
  return { is: "map", size: sizeOf(node.shape) };
}

/** The frame of two regions in one, or undefined where there is none. */
export function joinFrames(a: Frame, b: Frame): Frame | undefined {
  if (a.is === "map" && b.is !== "map") return joinFrames(b, a);
  if (b.is === "map") {
    switch (a.is) {
      case "map":
        return a.size === b.size ? a : undefined;
      case "rows":
        return b.size === a.rows * a.cols || b.size === a.rows ? a : undefined;
      case "dot":
      case "scatter":
        return b.size === sizeOf(a.shape) ? a : undefined;
      default:
        return undefined;
    }
  }
  if (a.is === "dot" && b.is === "dot") {
    return sameShape(a.shape, b.shape) && a.k === b.k ? a : undefined;
  }
  if (a.is === "rows" && b.is === "rows") {
    const same = sameShape(a.shape, b.shape) && sameShape(a.axes, b.axes);
    return same ? a : undefined;
  }
  return undefined;
}

/** Number of elements of the frame: of outputs that are not one value a row. */
export function frameSize(frame: Frame): number {
  switch (frame.is) {
    case "map":
      return frame.size;
    case "rows":
      return frame.rows * frame.cols;
    default:
      return sizeOf(frame.shape);
  }
}

/** The places of a frame, as index expressions over its loop variables. */
export interface Places {
  /** Of a value with one element per element of the frame. */
  full(shape: Shape): readonly Index[];
  /** Of a value with one element per row; undefined in frames without rows. */
  row?(shape: Shape): readonly Index[];
}

/** The places of frames, by what they follow from. */
const places = new Map<string, Places>();

/**
 * The places of a frame over its own variables. Frames that are alike share them, index vector by
 * index vector, since fusion asks for the same ones again and again.
 */
function ownPlaces(frame: Frame): Places {
  const key = frame.is === "rows" ? `${frame.shape} ${frame.axes}` : `${frameSize(frame)}`;
  let known = places.get(key);
  if (known === undefined) {
    noteOne();
    places.set(key, known = remembering(placesOf(frame, {})));
  }
  return known;
}

/** Frames, and index vectors found for them, that are kept at most. */
const mostKept = 1 << 15;
let kept = 0;

/**
 * Notes that one more is kept. All hang on the places of frames, and go with them: else a program
 * that takes a slice at ever another place would leave some of each behind.
 */
function noteOne(): void {
  if (++kept <= mostKept) return;
  places.clear();
  kept = 1;
}

/** The same places, each found once for a shape. */
function remembering({ full, row }: Places): Places {
  const once = (find: (shape: Shape) => readonly Index[]): typeof find => {
    const known = new Map<string, readonly Index[]>();
    return (shape) => {
      const key = shape.join();
      let index = known.get(key);
      if (index === undefined) {
        noteOne();
        known.set(key, index = find(shape));
      }
      return index;
    };
  };
  return { full: once(full), ...(row && { row: once(row) }) };
}

/** Places from variables: `position` alone, or for rows `row` and `col`, as given. */
export function placesOf(
  frame: Frame,
  variables?: { readonly position?: Index; readonly row?: Index; readonly col?: Index },
): Places {
  if (variables === undefined) return ownPlaces(frame);
  if (frame.is !== "rows") {
    const position = variables.position ?? variable("i", frameSize(frame));
    return { full: (shape) => unflatten(position, shape) };
  }
  const { shape, axes, rows, cols } = frame;
  const row = variables.row ?? variable("row", rows);
  const col = variables.col ?? variable("col", cols);
  const kept = shape.map((_, i) => i).filter((i) => !axes.includes(i));
  const rowIndex = unflatten(row, kept.map((i) => shape[i]!));
  const colIndex = unflatten(col, axes.map((i) => shape[i]!));
  const index = shape.map((_, i) =>
    axes.includes(i) ? colIndex[axes.indexOf(i)]! : rowIndex[kept.indexOf(i)]!
  );
  const trailing = axes.every((axis, i) => axis === shape.length - axes.length + i);
  const position = trailing ? add(scale(row, cols), col) : flatten(index, shape);
  return {
    full: (to) => sameShape(to, shape) ? index : unflatten(position, to),
    row: (to) => unflatten(row, to),
  };
}

/**
 * A product whose axes were put in another order, looked at through that order and nothing else; or
 * undefined, for any other value.
 */
export function permutedProduct(node: Node): Node<"dot"> | undefined {
  if (!is(node, "permute")) return undefined;
  let x = node.inputs[0]!;
  while (is(x, "reshape")) x = x.inputs[0]!;
  return is(x, "dot") ? x : undefined;
}

/**
 * The place of a value in a frame, or undefined where it has none. A permuted product is where the
 * product is: so a kernel writes it in the order in which it will be read.
 */
export function placeIn(frame: Frame, places: Places, node: Node): readonly Index[] | undefined {
  const size = sizeOf(node.shape);
  if (frame.is === "dot" && is(node, "permute") && permutedProduct(node) !== undefined) {
    const own = placeIn(frame, places, node.inputs[0]!);
    return own && node.attributes.order.map((axis) => own[axis]!);
  }
  if (kinds[node.op] === "reduce" && frame.is === "rows") return places.row!(node.shape);
  if (size === frameSize(frame)) return places.full(node.shape);
  if (frame.is === "rows" && size === frame.rows) return places.row!(node.shape);
  return undefined;
}

/** Every place at which each value is used when the outputs are computed at theirs. */
export interface Footprint {
  /** Values read from memory: the distinct index vectors, by key. */
  readonly reads: ReadonlyMap<Node, ReadonlyMap<string, readonly Index[]>>;
  /** Values computed inside, likewise. */
  readonly body: ReadonlyMap<Node, ReadonlyMap<string, readonly Index[]>>;
}

/**
 * Walks from the outputs to what `isInput` says is in memory. Operands of a reduction are read at
 * the frame's full place, those of a dot, gather or scatter where its kernel reads them.
 * Undefined if more than `limit` (value, place) pairs turn up.
 */
export function footprint(
  frame: Frame,
  outputs: readonly Node[],
  isInput: (node: Node) => boolean,
  limit: number,
  places: Places = placesOf(frame),
): Footprint | undefined {
  const reads = new Map<Node, Map<string, readonly Index[]>>();
  const body = new Map<Node, Map<string, readonly Index[]>>();
  const stack: { node: Node; index: readonly Index[] }[] = [];
  let count = 0;
  for (const node of outputs) {
    const index = placeIn(frame, places, node);
    if (index === undefined) return undefined;
    stack.push({ node, index });
  }
  const roots = new Set(outputs);
  while (stack.length > 0) {
    const { node, index } = stack.pop()!;
    const read = isInput(node) && !roots.has(node);
    const side = read ? reads : body;
    let known = side.get(node);
    if (known === undefined) side.set(node, known = new Map());
    const key = indexKey(index);
    if (known.has(key)) continue;
    known.set(key, index);
    if (++count > limit) return undefined;
    if (read) continue;
    const { inputs } = node, indices = indicesBelow(places, node, index);
    for (let i = 0; i < inputs.length; i++) stack.push({ node: inputs[i]!, index: indices[i]! });
  }
  return { reads, body };
}

/** Where views and products read at an index vector, by what that follows from. */
const viewed = new WeakMap<readonly Index[], Map<string, readonly (readonly Index[])[]>>();
const looks = new WeakMap<Node, string>();

/** Where the operands of a node are read, given its own index: the same vectors for nodes that are alike. */
function indicesBelow(
  places: Places,
  node: Node,
  index: readonly Index[],
): readonly (readonly Index[])[] {
  const { op, inputs, attributes } = node;
  const find = () => anchorIndices(places, node, index) ?? operandIndices(node, index);
  if (kinds[op] !== "movement" && op !== "dot") return find();
  let known = viewed.get(index);
  if (known === undefined) viewed.set(index, known = new Map());
  let key = looks.get(node);
  if (key === undefined) {
    key = `${op} ${attributeKey(attributes)} ${node.shape}`;
    for (const { shape } of inputs) key += ` ${shape}`;
    looks.set(node, key);
  }
  let indices = known.get(key);
  if (indices === undefined) {
    noteOne();
    known.set(key, indices = find());
  }
  return indices;
}

const footprints = new WeakMap<Region, Footprint>();

/** The footprint of a whole region, found once, since many ask for it; empty where it has none. */
export function footprintOf(region: Region): Footprint {
  let found = footprints.get(region);
  if (found === undefined) {
    const { frame, outputs } = region, given = new Set(region.inputs);
    found = footprint(frame, outputs, (node) => given.has(node), 1 << 20) ??
      { reads: new Map(), body: new Map() };
    footprints.set(region, found);
  }
  return found;
}

/** Reductions among values by phase: a reduction comes after those that its operand rests on. */
export function phasesAmong(values: Iterable<Node>): Node[][] {
  const level = new Map<Node, number>();
  const phases: Node[][] = [];
  for (const node of [...values].sort((a, b) => a.id - b.id)) {
    let deepest = 0;
    for (const input of node.inputs) deepest = Math.max(deepest, level.get(input) ?? 0);
    if (kinds[node.op] === "reduce") (phases[deepest++] ??= []).push(node);
    level.set(node, deepest);
  }
  return phases;
}

/** True if neighbouring rows are neighbours in memory: the innermost axis is not reduced. */
export function rowsAreInner({ shape, axes }: Extract<Frame, { is: "rows" }>): boolean {
  for (let i = shape.length - 1; i >= 0; i--) {
    if (shape[i] !== 1) return !axes.includes(i);
  }
  return false;
}

/** Where operands of primitives that are not computed element by element are read. */
function anchorIndices(
  places: Places,
  node: Node,
  own: readonly Index[],
): (readonly Index[])[] | undefined {
  if (kinds[node.op] === "reduce") return [places.full(node.inputs[0]!.shape)];
  if (is(node, "dot")) {
    const [b, m, k] = node.inputs[0]!.shape, n = node.inputs[1]!.shape[2]!;
    const batch = variable("batch", b!), deep = variable("deep", k!);
    return [[batch, variable("m", m!), deep], [batch, deep, variable("n", n)]];
  }
  if (is(node, "gather")) {
    const [x, index] = node.inputs;
    const lead = own.slice(0, index!.shape.length);
    return [[variable(`found${node.id}`, x!.shape[0]!), ...own.slice(lead.length)], lead];
  }
  if (is(node, "scatterAdd") || is(node, "kernel")) {
    return node.inputs.map((x, i) => x.shape.map((n, axis) => variable(`s${i}_${axis}`, n)));
  }
  return undefined;
}
