/**
 * What makes a region legal: one pure function, asked by every fusion before it joins two regions
 * and by the tests for every region that comes out. It returns the reason against, or undefined.
 *
 * @module
 */
import { is, type Node } from "../graph/node.ts";
import { isElementwise, kinds } from "../graph/primitive.ts";
import {
  type Footprint,
  footprint,
  type Frame,
  phasesAmong,
  placeIn,
  placesOf,
  rowsAreInner,
} from "./region.ts";
import { indexKey } from "./views.ts";

/** What a device and its driver allow a single kernel. */
export interface Limits {
  /** Storage buffers a kernel may bind. */
  readonly maxBindings: number;
  /** Operations in a kernel: drivers take quadratic time to compile them. */
  readonly maxOperations: number;
}

/** Operations in one kernel, at most; see platform.md on compile times. */
export const defaultMaxOperations = 320;

/** A region under test: its frame, what it would write, and what is in memory already. */
export interface Candidate {
  readonly frame: Frame;
  readonly outputs: readonly Node[];
  /** Values that must be computed in this region without being written. */
  readonly inner?: readonly Node[];
  readonly isInput: (node: Node) => boolean;
  /**
   * How many outputs can be written over what they are computed from, which is one buffer then and
   * not two; asked where bindings are short. @default none
   */
  readonly inPlace?: (found: Footprint) => number;
}

/** Why the candidate can't be one dispatch, or its footprint if it can. */
export function legal(candidate: Candidate, limits: Limits): string | Footprint {
  const { frame, outputs, inner = [], isInput } = candidate;
  const places = placesOf(frame);
  const roots = [...outputs, ...inner];
  const found = footprint(frame, roots, isInput, mostPairs(limits), places);
  if (found === undefined) return "too many operations, or an output has no place in the frame";
  let bindings = found.reads.size + outputs.length;
  if (bindings > limits.maxBindings) bindings -= candidate.inPlace?.(found) ?? 0;
  if (bindings > limits.maxBindings) {
    return `${bindings} storage bindings, the device has ${limits.maxBindings}`;
  }
  let operations = 0;
  const written = new Set(outputs);
  for (const [node, indices] of found.body) {
    operations += operationsOf(node, limits) * indices.size;
    if (!written.has(node) && !isAnchor(node)) continue;
    // Values that exist once (outputs, and results of reductions and products) are only at their
    // own place; anywhere else they would have to be computed again.
    const place = placeIn(frame, places, node);
    if (place === undefined) return `${node.op} has no place in the frame`;
    const key = indexKey(place);
    for (const used of indices.keys()) {
      if (used !== key) return `${node.op} is used at another place than its own`;
    }
    if (kinds[node.op] === "reduce" && !fits(frame, node)) return `${node.op} is over other rows`;
    if (is(node, "dot") && frame.is !== "dot") return "a product outside of its frame";
    if (is(node, "scatterAdd") && frame.is !== "scatter") return "a scatter outside of its frame";
    if (is(node, "kernel") && frame.is !== "kernel") return "a user's kernel outside of its frame";
  }
  if (operations > limits.maxOperations) {
    return `${operations} operations, at most ${limits.maxOperations}`;
  }
  const steps = stepsOf(frame, found);
  if (steps > mostSteps) return `${steps} steps of loops, at most ${mostSteps}`;
  const anchors = [...found.body.keys()].filter((n) => kinds[n.op] !== "reduce" && isAnchor(n));
  if (anchors.length > (frame.is === "dot" ? mostProducts : 1)) return "too many products";
  if (anchors.length > 1) {
    // Each product has what follows it to itself: they are side by side, not one after the other.
    const below = (x: Node): number => isInput(x) ? 0 : productsOf(x, isInput).length;
    const apart = roots.every((root) => productsOf(root, isInput).length <= 1) &&
      anchors.every(({ inputs }) => inputs.every((x) => below(x) === 0));
    if (!apart) return "one value of several products";
  }
  return found;
}

/** Products in one kernel, at most: its text grows with them. */
const mostProducts = 4;

/** The products that a value is computed from inside a region. */
export function productsOf(value: Node, isInput: (node: Node) => boolean): Node<"dot">[] {
  const products: Node<"dot">[] = [], seen = new Set<Node>([value]), stack = [value];
  while (stack.length > 0) {
    const node = stack.pop()!;
    if (is(node, "dot")) {
      products.push(node);
      continue;
    }
    for (const input of node.inputs) {
      if (seen.has(input) || isInput(input)) continue;
      seen.add(input);
      stack.push(input);
    }
  }
  return products;
}

/**
 * Outputs of a region by the product that they follow, those that follow none with the first. Each
 * product is computed with its outputs by workgroups of their own, in no order among them.
 */
export function outputsByProduct(
  outputs: readonly Node[],
  isInput: (node: Node) => boolean,
): ReadonlyMap<Node<"dot">, readonly Node[]> {
  const found = outputs.map((output) => productsOf(output, isInput)[0]);
  const first = found.find((node) => node !== undefined);
  if (first === undefined) return new Map();
  return Map.groupBy(outputs, (_, i) => found[i] ?? first);
}

/**
 * Steps of all loops that one invocation goes through, at most: a software driver silently ends an
 * invocation after 65 535. The rest is for the short loops around the long ones.
 */
const mostSteps = 65_000;

/**
 * Steps of a row's loops where one invocation goes through it alone: every phase, and the stores. Or
 * more than these, where even that is allowed.
 */
function stepsOf(frame: Frame, { body }: Footprint): number {
  if (frame.is !== "rows") return 0;
  const steps = rowsAreInner(frame) ? frame.cols : frame.cols / 4;
  // There are no more phases than values, and rows are seldom long enough to count them.
  const most = steps * (body.size + 1);
  return most > mostSteps ? steps * (phasesAmong(body.keys()).length + 1) : most;
}

/** Pairs of value and place in a kernel, at most: views cost no operations, but have to end. */
export function mostPairs({ maxOperations }: Limits): number {
  return 4 * maxOperations + 16;
}

/**
 * Operations that a value costs at every place: arithmetic one, and so do views that have to choose;
 * between the parts of a concatenation several, since each has bounds and an address of its own.
 * Alone, everything is allowed.
 */
export function operationsOf({ op, inputs }: Node, { maxOperations }: Limits): number {
  if (op === "concatenate") return Math.min(4 * (inputs.length - 1), maxOperations);
  return Number(isElementwise(op) || op === "pad" || op === "gather");
}

/** Computed by a loop of its own: reductions, products, scatters, kernels of users. */
export function isAnchor(node: Node): boolean {
  const kind = kinds[node.op];
  return kind === "reduce" || kind === "contract" || kind === "scatter" || kind === "kernel";
}

/** A reduction belongs to a frame of rows if it runs over the same axes of the same shape. */
function fits(frame: Frame, node: Node): boolean {
  if (frame.is !== "rows") return false;
  const { shape } = node.inputs[0]!;
  const { axes } = node.attributes as { axes: readonly number[] };
  return shape.join() === frame.shape.join() && axes.join() === frame.axes.join();
}
