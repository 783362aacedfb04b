/**
 * Which values must be in memory before any fusion: results, whatever a loop of its own computes
 * (reductions, products, scatters), operands that kernels read many times over, and cuts through
 * expressions that grow too large for one kernel. Everything else is computed where it is used.
 *
 * @module
 */
import { attributeKey, is, type Node } from "../graph/node.ts";
import { isElementwise, kinds, type Primitive } from "../graph/primitive.ts";
import { sizeOf } from "../graph/shape.ts";
import { factorOf, flatten, type Index, variable } from "../kernels/index.ts";
import { isAnchor, type Limits, mostPairs, operationsOf } from "../kernels/legal.ts";
import { footprint, frameOf, permutedProduct } from "../kernels/region.ts";
import { contiguousAlong } from "../kernels/dot/product.ts";
import { operandIndices } from "../kernels/views.ts";
import { bytesOf } from "./order.ts";

/** So many elements cost nothing to keep, and leave a device idle while they are made. */
export const fewItems = 4096;

/** Rough cost of an element-wise primitive against an addition. */
const costs: { readonly [P in Primitive]?: number } = {
  div: 4,
  sqrt: 4,
  exp: 8,
  log: 8,
  sin: 10,
  cos: 10,
  atan: 12,
  tanh: 12,
  erf: 16,
  pow: 20,
  mod: 4,
  floorDiv: 4,
};

/** Cost of one element of a node, its operands not counted. */
export function costOf(node: Node): number {
  return isElementwise(node.op) ? costs[node.op] ?? 1 : 0;
}

/** A reshape of a stored value is that value, with another shape. */
export function withoutReshapes(node: Node): Node {
  while (is(node, "reshape")) node = node.inputs[0]!;
  return node;
}

/** A value that is there already, or costs nothing to make. */
export function isGiven(node: Node): boolean {
  return kinds[node.op] === "leaf";
}

/** In memory already: parameters and leaves. */
export function isArgument(node: Node): boolean {
  return node.op === "parameter" || node.op === "leaf";
}

/** What lies below the views that a node is, and where in there its elements are, by axes a0, a1 … */
interface Viewed {
  readonly base: Node;
  readonly address: Index;
}

/** Looks through views as far as to a node that is there `already`. */
function lookThrough(node: Node, already: (base: Node) => boolean): Viewed {
  let index: readonly Index[] = node.shape.map((n, i) => variable(`a${i}`, n));
  let base = node;
  while (
    kinds[base.op] === "movement" && base.op !== "pad" && base.op !== "concatenate" &&
    !already(base)
  ) {
    index = operandIndices(base, index)[0]!;
    base = base.inputs[0]!;
  }
  return { base, address: flatten(index, base.shape) };
}

/** True if an address is a sum of multiples of the indices along these axes, and of others. */
function isAffine({ address }: Viewed, axes: readonly number[]): boolean {
  return axes.every((axis) => factorOf(address, `a${axis}`) !== undefined);
}

/** What lies below a node that a kernel can read as an affine view: see dot. */
export function affineBase(
  node: Node,
  already: (base: Node) => boolean = () => false,
): Node | undefined {
  const viewed = lookThrough(node, already);
  return isAffine(viewed, node.shape.map((_, i) => i)) ? viewed.base : undefined;
}

/**
 * What a product reads an operand from: what lies below its views, if they are affine or leave
 * vectors along one of the axes; and always below windows, which hold every element many times over
 * and are better looked up than written out.
 */
function operandBase(
  operand: Node,
  stored: ReadonlySet<Node>,
  uses: ReadonlyMap<Node, number>,
): Node {
  const isStored = (x: Node): boolean => stored.has(x);
  const affine = affineBase(operand, isStored);
  if (affine !== undefined) return isConstant(affine) ? operand : affine;
  const permuted = worthPermuting(operand, uses);
  if (permuted !== undefined) return permuted;
  let base = operand, windows = false;
  while (kinds[base.op] === "movement" && base.op !== "concatenate" && !isStored(base)) {
    windows ||= base.op === "window";
    base = base.inputs[0]!;
  }
  const inPlace = windows || contiguousAlong(operand, 1, isStored) ||
    contiguousAlong(operand, 2, isStored);
  return inPlace && base.op !== "concatenate" && !isConstant(base) ? base : operand;
}

/**
 * A permuted product that an operand is a view of, if nobody reads the product in another order and
 * only the permuted one has rows and columns at steady distances: as where the heads of an attention
 * come together. What is vectors of the product remains so.
 */
function worthPermuting(operand: Node, uses: ReadonlyMap<Node, number>): Node | undefined {
  const { base } = lookThrough(operand, (x) => permutedProduct(x) !== undefined);
  const product = permutedProduct(base);
  if (product === undefined) return undefined;
  const [x] = base.inputs, { order } = base.attributes as { order: readonly number[] };
  const last = x!.shape.findLastIndex((n) => n !== 1);
  if (order.findLast((axis) => x!.shape[axis] !== 1) !== last) return undefined;
  for (let node = x!;; node = node.inputs[0]!) {
    if (uses.get(node) !== 1) return undefined;
    if (node === product) break;
  }
  const isGood = (already: Node): boolean =>
    isAffine(lookThrough(operand, (x) => x === already), [1, 2]);
  return isGood(base) && !isGood(product) ? base : undefined;
}

/**
 * {@linkcode operandBase}, found once for operands that are views of the same kind, read and stored
 * alike: it is told by how many views lie above it.
 */
function operandBases(
  stored: ReadonlySet<Node>,
  uses: ReadonlyMap<Node, number>,
): (operand: Node) => Node {
  const depths = new Map<string, number>();
  return (operand) => {
    let key = "", below = operand;
    const keep = (node: Node): string => `${stored.has(node)} ${uses.get(node) === 1}`;
    for (; kinds[below.op] === "movement" && below.op !== "concatenate"; below = below.inputs[0]!) {
      key += `${below.op} ${below.shape} ${attributeKey(below.attributes)} ${keep(below)}|`;
    }
    key += `${below.op} ${below.shape} ${keep(below)}`;
    let depth = depths.get(key);
    if (depth === undefined) {
      const base = operandBase(operand, stored, uses);
      depth = 0;
      for (let x = operand; x !== base; x = x.inputs[0]!) depth++;
      depths.set(key, depth);
    }
    let base = operand;
    for (; depth > 0; depth--) base = base.inputs[0]!;
    return base;
  };
}

const isConstant = (node: Node): boolean => node.op === "fill" || node.op === "iota";

/** What computing a node takes, down to what is stored: see {@linkcode Limits}. */
interface Load {
  readonly operations: number;
  /** Pairs of value and place. */
  readonly pairs: number;
  readonly reads: number;
}

const nothing: Load = { operations: 0, pairs: 0, reads: 0 };
const oneRead: Load = { operations: 0, pairs: 1, reads: 1 };

/** How far a load goes towards the limits; over 1 it exceeds one of them. */
function fullness({ operations, pairs, reads }: Load, limits: Limits): number {
  return Math.max(
    operations / limits.maxOperations,
    pairs / mostPairs(limits),
    reads / (limits.maxBindings - 1),
  );
}

/** Nodes that must be stored, so that each of them can be computed by a kernel of its own. */
export function chooseStored(
  order: readonly Node[],
  results: readonly Node[],
  limits: Limits,
): Set<Node> {
  const stored = new Set<Node>(), uses = usesOf(order, results);
  const baseOf = operandBases(stored, uses);
  const store = (node: Node): void => {
    if (!isArgument(node) && sizeOf(node.shape) > 0) stored.add(node);
  };
  for (const node of results) store(node);
  for (const node of order) storeAround(node, store, baseOf);
  // What would be computed again, per element; and upper bounds of loads (shared parts count
  // twice), made exact only where they are over the limits.
  const cost = new Map<Node, number>(), bounds = new Map<Node, Load>();
  const isInput = (node: Node): boolean => stored.has(node) || isArgument(node);
  const boundOf = (node: Node): Load => isInput(node) ? oneRead : bounds.get(node)!;
  const costBelow = (node: Node): number => isInput(node) ? 0 : cost.get(node)!;
  const inLoop = (node: Node): boolean => node.op === "loop" || node.op === "project";
  const weigh = (node: Node): void => {
    if (inLoop(node)) {
      bounds.set(node, nothing);
      cost.set(node, 0);
      return;
    }
    if (is(node, "broadcast")) {
      // A value that many elements share is better computed once than by each of them.
      const x = withoutReshapes(node.inputs[0]!);
      if (costBelow(x) >= 8 && sizeOf(node.shape) >= 16 * sizeOf(x.shape)) store(x);
      else if (worthSharing(x, uses)) store(x);
    } else if (uses.get(node)! > 1 && worthSharing(node, uses)) store(node);
    else if (is(node, "add")) {
      const sum = runningSum(node, isInput, uses);
      if (sum !== undefined) store(sum);
    }
    let bound = boundFrom(node, boundOf, limits);
    if (fullness(bound, limits) > 1) {
      bound = cutToFit(node, stored, limits, (x) => fullness(boundOf(x), limits));
    }
    bounds.set(node, bound);
    let below = 0;
    for (const input of node.inputs) below = Math.max(below, costBelow(input));
    cost.set(node, costOf(node) + below);
  };
  const weighAgain = (node: Node): void => {
    if (inLoop(node)) return;
    const bound = boundFrom(node, boundOf, limits);
    bounds.set(node, bound);
    if (stored.has(node) && fullness(bound, limits) > 1) {
      cutToFit(node, stored, limits, (x) => fullness(boundOf(x), limits));
    }
  };
  for (const node of order) weigh(node);
  // What was stored for the sake of one reader is one more buffer for others.
  for (let settled = false; !settled;) {
    const before = stored.size;
    for (const node of order) weighAgain(node);
    settled = stored.size === before;
  }
  return stored;
}

/** Stores what a node is, or what it reads, if that has to be in memory whatever is around it. */
function storeAround(
  node: Node,
  store: (node: Node) => void,
  baseOf: (operand: Node) => Node,
): void {
  if (isAnchor(node)) store(node);
  if (is(node, "dot")) {
    for (const operand of node.inputs) store(baseOf(operand));
  }
  if (is(node, "scatterAdd")) { for (const operand of node.inputs) store(operand); }
  // A loop reads its operands from memory, as they are, and leaves its results there.
  if (is(node, "loop")) {
    for (const operand of node.inputs) {
      const base = withoutReshapes(operand);
      if (!is(base, "fill")) store(base);
    }
  }
  // So does a kernel of a user, for which a constant is a buffer like any other.
  if (is(node, "kernel")) {
    for (const operand of node.inputs) store(withoutReshapes(operand));
  }
  if (is(node, "project")) store(node);
  if (is(node, "hold")) store(withoutReshapes(node));
}

/** How often each value is an operand or a result. */
export function usesOf(order: readonly Node[], results: readonly Node[]): Map<Node, number> {
  const uses = new Map<Node, number>();
  const use = (node: Node): void => void uses.set(node, (uses.get(node) ?? 0) + 1);
  for (const { inputs } of order) for (const node of inputs) use(node);
  for (const node of results) use(node);
  return uses;
}

/**
 * True if a value is computed element by element from a product, or from rows that are looked up,
 * which nobody else reads: stored, it takes the product's place in memory, and whoever shares it
 * need not compute it again.
 */
function worthSharing(x: Node, uses: ReadonlyMap<Node, number>): boolean {
  const follow = (node: Node, depth: number): boolean => {
    if (is(node, "dot") || is(node, "gather")) return uses.get(node) === 1;
    if (depth === 0 || (node !== x && uses.get(node) !== 1)) return false;
    if (node.op !== "reshape" && !isElementwise(node.op)) return false;
    return node.inputs.some((input) => follow(input, depth - 1));
  };
  return isElementwise(x.op) && follow(x, 16);
}

/**
 * The operand of a sum that is a sum itself, and smaller than the values it is made of, while the
 * other operand is made of others: as in the gradient of a weight that is used many times. In memory,
 * what is added is so as it comes, by the kernel that makes it, instead of waiting for all the rest.
 */
function runningSum(
  { inputs }: Node<"add">,
  isInput: (node: Node) => boolean,
  uses: ReadonlyMap<Node, number>,
): Node | undefined {
  const isSum = (x: Node): boolean => is(x, "add") && !isInput(x) && uses.get(x) === 1;
  const [left, right] = inputs.map(withoutReshapes) as [Node, Node];
  const [sum, rest] = isSum(left) ? [left, right] : [right, left];
  if (!isSum(sum)) return undefined;
  const size = sizeOf(sum.shape);
  if (size <= fewItems) return undefined;
  const isMade = (x: Node): boolean => !isArgument(x) && sizeOf(x.shape) >= size;
  const made = readsBelow(sum, isInput).filter(isMade);
  const isLess = made.reduce((bytes, x) => bytes + bytesOf(x), 0) > bytesOf(sum);
  return isLess && readsBelow(rest, isInput).some((x) => isMade(x) && !made.includes(x))
    ? sum
    : undefined;
}

/** What is in memory that a value is computed from. */
function readsBelow(root: Node, isInput: (node: Node) => boolean): Node[] {
  const reads: Node[] = [], seen = new Set<Node>([root]), stack = [root];
  while (stack.length > 0) {
    const node = stack.pop()!;
    if (isInput(node)) {
      reads.push(node);
      continue;
    }
    for (const input of node.inputs) {
      if (seen.has(input)) continue;
      seen.add(input);
      stack.push(input);
    }
  }
  return reads;
}

function boundFrom(node: Node, boundOf: (input: Node) => Load, limits: Limits): Load {
  let { operations, pairs, reads } = nothing;
  for (const input of node.inputs) {
    const bound = boundOf(input);
    operations += bound.operations;
    pairs += bound.pairs;
    reads += bound.reads;
  }
  return { operations: operations + operationsOf(node, limits), pairs: pairs + 1, reads };
}

/**
 * Stores what a node is made of until its exact load is inside the limits: what would be computed
 * at many places, as the sum behind the gradient of a sliding window is, else the largest operand.
 */
function cutToFit(
  node: Node,
  stored: Set<Node>,
  limits: Limits,
  sizeOfOperand: (x: Node) => number,
): Load {
  for (;;) {
    const load = exactLoad(node, stored, limits);
    if (fullness(load, limits) <= 1) return load;
    const repeated = mostRepeated(node, stored, limits, sizeOfOperand);
    if (repeated !== undefined) {
      stored.add(repeated);
      continue;
    }
    const operands = node.inputs.filter((x) => !stored.has(x) && !isArgument(x));
    if (operands.length === 0) return load;
    stored.add(operands.reduce((a, b) => sizeOfOperand(b) > sizeOfOperand(a) ? b : a));
  }
}

/** What it must save, as a part of the limits: little is better computed again than read. */
const worthStoring = 0.25;

/** The value below a node that costs most to compute again wherever it is wanted, if any does. */
function mostRepeated(
  node: Node,
  stored: ReadonlySet<Node>,
  limits: Limits,
  sizeOfValue: (x: Node) => number,
): Node | undefined {
  const isInput = (x: Node): boolean => stored.has(x) || isArgument(x);
  const found = footprint(frameOf(node), [node], isInput, 4 * mostPairs(limits));
  let best: Node | undefined, most = worthStoring;
  for (const [value, places] of found?.body ?? []) {
    if (places.size < 2 || !isElementwise(value.op)) continue;
    // All of it must be no more work than the places at which it is wanted.
    if (sizeOf(value.shape) > places.size * sizeOf(node.shape)) continue;
    const saved = (places.size - 1) * sizeOfValue(value);
    if (saved > most) [best, most] = [value, saved];
  }
  return best;
}

/** The load of a node, counted until it is over the limits. */
function exactLoad(node: Node, stored: ReadonlySet<Node>, limits: Limits): Load {
  const isInput = (x: Node): boolean => stored.has(x) || isArgument(x);
  let operations = 0, pairs = 0, reads = 0, moves = false;
  const seen = new Set<Node>([node]);
  const stack = [node];
  while (stack.length > 0) {
    const next = stack.pop()!;
    pairs++;
    if (next !== node && isInput(next)) {
      reads++;
      continue;
    }
    operations += operationsOf(next, limits);
    moves ||= !isElementwise(next.op);
    if (fullness({ operations, pairs, reads }, limits) > 1) break;
    for (const input of next.inputs) {
      if (seen.has(input)) continue;
      seen.add(input);
      stack.push(input);
    }
  }
  const counted: Load = { operations, pairs, reads };
  if (!moves || fullness(counted, limits) > 1) return counted;
  // Views may ask for one value at many places.
  const found = footprint(frameOf(node), [node], isInput, mostPairs(limits));
  if (found === undefined) return { ...counted, pairs: Infinity };
  const { body } = found;
  operations = 0;
  for (const [value, places] of body) operations += operationsOf(value, limits) * places.size;
  return { ...counted, operations };
}
