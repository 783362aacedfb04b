/**
 * Trees: tensors in nested plain objects and arrays, as functions take and return them. A tree is
 * flattened to its leaves and a structure; structures with equal keys fit each other. Object keys
 * are taken in sorted order, not in the order of insertion, so that two trees that a user would
 * call equal have equal leaves, and saved files are stable. Numbers, strings, booleans, null and
 * undefined are kept as they are: they belong to the structure.
 *
 * The module knows no tensors: what counts as a leaf is a predicate.
 *
 * @module
 */

/** Values that belong to a tree's structure instead of being leaves. */
export type Static = number | string | boolean | null | undefined;

/** Leaves in nested plain objects, arrays and tuples. */
export type TreeOf<L> = L | Static | readonly TreeOf<L>[] | { readonly [key: string]: TreeOf<L> };

/** The same tree with every leaf of type L replaced by one of type M. */
export type MapLeaves<T, L, M> = T extends L ? M
  : T extends Static ? T
  : { [K in keyof T]: MapLeaves<T[K], L, M> };

/** Tells leaves from branches. */
export type IsLeaf<L> = (value: unknown) => value is L;

/** A tree without its leaves. */
export type Structure =
  | { readonly kind: "leaf" }
  | { readonly kind: "static"; readonly value: Static }
  | { readonly kind: "list"; readonly items: readonly Structure[] }
  | {
    readonly kind: "record";
    readonly keys: readonly string[];
    readonly items: readonly Structure[];
  };

/** A tree taken apart. */
export interface Flat<L> {
  /** In the order of sorted keys. */
  readonly leaves: L[];
  /** The rest of the tree. */
  readonly structure: Structure;
}

const leafStructure: Structure = { kind: "leaf" };
/** Deeper than any sensible tree: a cycle is reported instead of overflowing the stack. */
const maxDepth = 512;

/**
 * Leaves of a tree in the order of sorted keys, and the rest of it.
 *
 * @throws {TypeError} where something is neither a leaf, a static value, an array nor a plain
 * object; the message names the path below `name`.
 */
export function flatten<L>(tree: unknown, isLeaf: IsLeaf<L>, name = "tree"): Flat<L> {
  const leaves: L[] = [];
  return { leaves, structure: descend(tree, isLeaf, leaves, name, 0, undefined) };
}

/** The way from a branch back to the root, for errors only: nothing is concatenated until then. */
interface Path {
  readonly up: Path | undefined;
  readonly key: string | number;
}

function descend<L>(
  tree: unknown,
  isLeaf: IsLeaf<L>,
  leaves: L[],
  name: string,
  depth: number,
  path: Path | undefined,
): Structure {
  if (isLeaf(tree)) {
    leaves.push(tree);
    return leafStructure;
  }
  if (tree === null || typeof tree !== "object") {
    if (typeof tree === "function" || typeof tree === "symbol" || typeof tree === "bigint") {
      reject(name, path, `a ${typeof tree}`);
    }
    return { kind: "static", value: tree as Static };
  }
  if (depth === maxDepth) {
    throw new RangeError(
      `Cannot flatten ${name}: it is nested more than ${maxDepth} deep, expected a tree ` +
        "without cycles",
    );
  }
  if (Array.isArray(tree)) {
    const items = new Array<Structure>(tree.length);
    for (let i = 0; i < tree.length; i++) {
      items[i] = descend(tree[i], isLeaf, leaves, name, depth + 1, { up: path, key: i });
    }
    return { kind: "list", items };
  }
  const prototype = Object.getPrototypeOf(tree);
  if (prototype !== Object.prototype && prototype !== null) {
    reject(name, path, `a ${prototype.constructor?.name ?? "class instance"}`);
  }
  const record = tree as Record<string, unknown>;
  const keys = sortedKeys(record);
  const items = new Array<Structure>(keys.length);
  for (let i = 0; i < keys.length; i++) {
    const key = keys[i]!;
    items[i] = descend(record[key], isLeaf, leaves, name, depth + 1, { up: path, key });
  }
  return { kind: "record", keys, items };
}

/** The leaves of a tree that has this very structure; undefined for any other. */
export function leavesOf<L>(
  structure: Structure,
  tree: unknown,
  isLeaf: IsLeaf<L>,
): L[] | undefined {
  const leaves: L[] = [];
  return fits(structure, tree, isLeaf, leaves) ? leaves : undefined;
}

function fits<L>(at: Structure, tree: unknown, isLeaf: IsLeaf<L>, leaves: L[]): boolean {
  if (isLeaf(tree)) {
    leaves.push(tree);
    return at.kind === "leaf";
  }
  if (tree === null || typeof tree !== "object") {
    return at.kind === "static" && Object.is(at.value, tree);
  }
  if (Array.isArray(tree)) {
    if (at.kind !== "list" || at.items.length !== tree.length) return false;
    // By index, since `every` would pass over holes.
    for (let i = 0; i < tree.length; i++) {
      if (!fits(at.items[i]!, tree[i], isLeaf, leaves)) return false;
    }
    return true;
  }
  const prototype = Object.getPrototypeOf(tree);
  if (at.kind !== "record" || prototype !== Object.prototype && prototype !== null) return false;
  const record = tree as Record<string, unknown>, { keys, items } = at;
  const own = Object.keys(record);
  const same = (key: string, i: number): boolean => key === keys[i];
  if (own.length !== keys.length || !own.every(same) && !own.sort().every(same)) return false;
  for (let i = 0; i < keys.length; i++) {
    if (!fits(items[i]!, record[keys[i]!], isLeaf, leaves)) return false;
  }
  return true;
}

function reject(name: string, path: Path | undefined, what: string): never {
  throw new TypeError(
    `Cannot flatten ${name}: ${name}${showPath(path)} is ${what}, expected a tensor, a number, ` +
      "a string, a boolean, null, or plain objects and arrays of these",
  );
}

function showPath(path: Path | undefined): string {
  let text = "";
  for (let at = path; at !== undefined; at = at.up) text = showKey(at.key) + text;
  return text;
}

function showKey(key: string | number): string {
  if (typeof key === "number") return `[${key}]`;
  return /^[A-Za-z_$][\w$]*$/.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`;
}

/** Most objects are written with few keys; those already in order are not sorted again. */
function sortedKeys(record: object): string[] {
  const keys = Object.keys(record);
  for (let i = 1; i < keys.length; i++) {
    if (keys[i - 1]! > keys[i]!) return keys.sort();
  }
  return keys;
}

/** The tree of a structure around new leaves. */
export function unflatten(structure: Structure, leaves: readonly unknown[]): unknown {
  const cursor = { next: 0 };
  const tree = assemble(structure, leaves, cursor);
  if (cursor.next !== leaves.length) {
    throw new RangeError(
      `Cannot unflatten: ${leaves.length} leaves for a structure of ${cursor.next}, expected as ` +
        "many as it has",
    );
  }
  return tree;
}

function assemble(
  structure: Structure,
  leaves: readonly unknown[],
  cursor: { next: number },
): unknown {
  switch (structure.kind) {
    case "leaf":
      return leaves[cursor.next++];
    case "static":
      return structure.value;
    case "list":
      return structure.items.map((item) => assemble(item, leaves, cursor));
    case "record": {
      const record: Record<string, unknown> = {};
      for (let i = 0; i < structure.keys.length; i++) {
        const key = structure.keys[i]!, value = assemble(structure.items[i]!, leaves, cursor);
        // Assigning to __proto__ would set the prototype and lose the leaf.
        if (key === "__proto__") Object.defineProperty(record, key, own(value));
        else record[key] = value;
      }
      return record;
    }
  }
}

function own(value: unknown): PropertyDescriptor {
  return { value, writable: true, enumerable: true, configurable: true };
}

/** Number of leaves of a structure. */
export function countLeaves(structure: Structure): number {
  if (structure.kind === "leaf") return 1;
  if (structure.kind === "static") return 0;
  let count = 0;
  for (const item of structure.items) count += countLeaves(item);
  return count;
}

const keyOf = new WeakMap<Structure, string>();

/** Text that is equal for structures that fit each other, static values included. */
export function structureKey(structure: Structure): string {
  if (structure.kind === "leaf") return "*";
  if (structure.kind === "static") return showStatic(structure.value);
  let key = keyOf.get(structure);
  if (key !== undefined) return key;
  if (structure.kind === "list") {
    key = `[${structure.items.map(structureKey).join(",")}]`;
  } else {
    const { keys, items } = structure;
    key = `{${keys.map((k, i) => JSON.stringify(k) + ":" + structureKey(items[i]!)).join(",")}}`;
  }
  keyOf.set(structure, key);
  return key;
}

function showStatic(value: Static): string {
  if (Object.is(value, -0)) return "-0";
  // JSON has no NaN and infinities, and String has no quotes.
  return typeof value === "string" ? JSON.stringify(value) : String(value);
}

/**
 * Path of each leaf, keys joined by dots: `layers.0.weight`. The path of a tree that is a single
 * leaf is empty.
 */
export function leafPaths(structure: Structure): string[] {
  const paths: string[] = [];
  const visit = (at: Structure, path: string): void => {
    if (at.kind === "leaf") paths.push(path);
    if (at.kind === "leaf" || at.kind === "static") return;
    at.items.forEach((item, i) => {
      const key = at.kind === "record" ? at.keys[i]! : String(i);
      visit(item, path === "" ? key : `${path}.${key}`);
    });
  };
  visit(structure, "");
  return paths;
}

/** Where two structures first differ, in words, or undefined where they fit. */
export function difference(a: Structure, b: Structure, path = ""): string | undefined {
  const at = path === "" ? "at the root" : `at ${path.replace(/^\./, "")}`;
  if (a.kind !== b.kind) return `${at}: ${describe(a)} and ${describe(b)}`;
  if (a.kind === "static" && b.kind === "static") {
    return Object.is(a.value, b.value) ? undefined : `${at}: ${describe(a)} and ${describe(b)}`;
  }
  if (a.kind === "record" && b.kind === "record") {
    const missing = a.keys.find((key) => !b.keys.includes(key)) ??
      b.keys.find((key) => !a.keys.includes(key));
    if (missing !== undefined) return `${at}: only one has the key ${JSON.stringify(missing)}`;
  }
  if ((a.kind === "list" || a.kind === "record") && a.kind === b.kind) {
    if (a.items.length !== b.items.length) {
      return `${at}: ${a.items.length} and ${b.items.length} items`;
    }
    for (let i = 0; i < a.items.length; i++) {
      const key = a.kind === "record" ? showKey(a.keys[i]!) : showKey(i);
      const found = difference(a.items[i]!, (b as typeof a).items[i]!, path + key);
      if (found !== undefined) return found;
    }
  }
  return undefined;
}

function describe(structure: Structure): string {
  switch (structure.kind) {
    case "leaf":
      return "a tensor";
    case "static":
      return showStatic(structure.value);
    case "list":
      return `an array of ${structure.items.length}`;
    case "record":
      return `an object {${structure.keys.join(", ")}}`;
  }
}

/** Throws, naming the place, unless two structures fit each other. */
export function checkSame(action: string, a: Structure, b: Structure): void {
  const found = difference(a, b);
  if (found !== undefined) {
    throw new TypeError(`Cannot ${action}: trees differ ${found}, expected the same structure`);
  }
}

/**
 * The tree whose leaves are `f` of the corresponding leaves of trees of one structure.
 *
 * @throws {TypeError} naming the path where the trees differ.
 */
export function mapTree<L>(
  isLeaf: IsLeaf<L>,
  f: (...leaves: L[]) => unknown,
  tree: unknown,
  ...others: readonly unknown[]
): unknown {
  const first = flatten(tree, isLeaf, "the first tree");
  const rest = others.map((other, i) => flatten(other, isLeaf, `tree ${i + 2}`));
  for (const other of rest) checkSame("map over trees", first.structure, other.structure);
  return unflatten(
    first.structure,
    first.leaves.map((leaf, i) => f(leaf, ...rest.map((other) => other.leaves[i]!))),
  );
}
