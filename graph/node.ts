/**
 * Nodes of the graph: immutable, and hash-consed, so that equal expressions are one object and a
 * common subexpression costs nothing. Leaves that own data, parameters and marks carry something
 * unique in their key and are equal only to themselves. What a node stands for never changes; one
 * that was computed may become a leaf ({@linkcode becomeLeaf}), lest what it was computed from lives
 * as long as it does.
 *
 * @module
 */
import type { DType } from "./dtype.ts";
import type { Attributes, Primitive } from "./primitive.ts";
import { insideTransform } from "./scope.ts";
import { type Shape, showShape } from "./shape.ts";
import { currentSource, type Source } from "./source.ts";
import type { Storage } from "./storage.ts";

/** Shape and dtype of a value, without the value. */
export interface Aval {
  /** Sizes of the axes, outermost first. */
  readonly shape: Shape;
  /** Element type. */
  readonly dtype: DType;
}

/** `f32[2,3]`, for messages. */
export function showAval({ dtype, shape }: Aval): string {
  return dtype + showShape(shape);
}

/** One operation of the graph; see {@linkcode Attributes} for the attributes of each primitive. */
export interface Node<P extends Primitive = Primitive> extends Aval {
  /** Unique in the process and larger than the ids of the inputs. */
  readonly id: number;
  readonly op: P;
  readonly inputs: readonly Node[];
  readonly attributes: Attributes[P];
  /** Depends on a parameter of a function being traced, so it has no value of its own. */
  readonly traced: boolean;
  /** Several results (`call`, `loop`); `project` picks one. */
  readonly results: readonly Aval[] | undefined;
  /** Where it comes from, if the trace recorded that. */
  readonly source: Source | undefined;
}

/** A closed function over nodes: parameters in, results out. */
export interface Graph {
  readonly name: string;
  readonly parameters: readonly Node<"parameter">[];
  readonly results: readonly Node[];
}

/** True, and narrowed, if the node is the given primitive. */
export function is<P extends Primitive>(node: Node, op: P): node is Node<P> {
  return node.op === op;
}

/** The function behind a boundary: the graph of a `call`, the body of a `loop`. */
export function bodyOf(node: Node): Graph | undefined {
  if (is(node, "call")) return node.attributes.graph;
  return is(node, "loop") ? node.attributes.body : undefined;
}

/** All functions behind a boundary: its body, and inverses of it. */
export function bodiesOf(node: Node): Graph[] {
  const inverses = is(node, "loop") ? [node.attributes.invert, node.attributes.replay?.invert] : [];
  return [bodyOf(node), ...inverses].filter((graph) => graph !== undefined);
}

/**
 * Nodes by their parts, until {@linkcode forgetNodes}. Not weak references: each would keep its
 * node, and the device memory under it, to the end of the job, and a loop that never awaits is one
 * job.
 */
let table = new Map<string, Node>();
const mostNodes = 1 << 18;
/**
 * Bytes of the leaves made since the table was emptied, and how many there may be. Nodes that
 * nobody refers to any more keep the data of leaves as long as they are in the table; in a loop
 * that computes with other data each time and never reads what came of it, nothing else empties it.
 */
let leafBytes = 0;
const mostLeafBytes = 64 * 2 ** 20;
let nextId = 0;
let nextUnique = 0;

/** A number that no node has in its key yet. */
export function unique(): number {
  return ++nextUnique;
}

const objectIds = new WeakMap<object, number>();

/** A number of the object's own, for keys: identity of graphs, storages, rules in attributes. */
export function objectId(object: object): number {
  let id = objectIds.get(object);
  if (id === undefined) objectIds.set(object, id = ++nextUnique);
  return id;
}

/** Attributes as text: numbers and lists by value, objects by identity. */
export function attributeKey(attributes: object): string {
  let key = "";
  for (const name in attributes) {
    const value = (attributes as Record<string, unknown>)[name];
    if (typeof value === "number") key += Object.is(value, -0) ? "-0;" : value + ";";
    else if (typeof value === "string") key += value + ";";
    else if (Array.isArray(value)) key += value.join(",") + ";";
    else if (value === undefined) key += ";";
    else if (typeof value === "boolean") key += value ? "true;" : "false;";
    else key += "#" + objectId(value as object) + ";";
  }
  return key;
}

/** The node of these parts: the existing one if there is one. Does not check; see build.ts. */
export function makeNode<P extends Primitive>(
  op: P,
  inputs: readonly Node[],
  shape: Shape,
  dtype: DType,
  attributes: Attributes[P],
  results?: readonly Aval[],
): Node<P> {
  // Leaves are known to their storages instead, so that both die together.
  if (op === "leaf") {
    leafBytes += (attributes as Attributes["leaf"]).storage.bytes;
    // What a transform records is one expression, however much data it makes.
    if (leafBytes >= mostLeafBytes && !insideTransform()) forgetNodes();
    return newNode(op, inputs, shape, dtype, attributes, false, undefined);
  }
  let key = op + "|" + dtype + "|" + shape.join(",") + "|" + attributeKey(attributes) + "|";
  let traced = op === "parameter";
  for (const input of inputs) {
    key += input.id + ",";
    traced ||= input.traced;
    if (is(input, "leaf")) input.attributes.storage.used = true;
  }
  const known = table.get(key);
  if (known !== undefined) return known as Node<P>;
  const node = newNode(op, inputs, shape, dtype, attributes, traced, results);
  if (table.size >= mostNodes) forgetNodes();
  table.set(key, node);
  return node;
}

function newNode<P extends Primitive>(
  op: P,
  inputs: readonly Node[],
  shape: Shape,
  dtype: DType,
  attributes: Attributes[P],
  traced: boolean,
  results: readonly Aval[] | undefined,
): Node<P> {
  // What computes nothing is nobody's mistake, and leaves outlive whoever made them.
  const source = inputs.length === 0 ? undefined : currentSource();
  // All nodes have the same properties, so that whoever reads one is quick.
  return { id: ++nextId, op, inputs, shape, dtype, attributes, traced, results, source };
}

/** Nodes that are yet to be differentiated, and so have to stay expressions. */
const whole = new WeakSet<Node>();

/** Says that nodes are to be differentiated later. */
export function keepWhole(nodes: Iterable<Node>): void {
  for (const node of nodes) whole.add(node);
}

/** Whether a node may be replaced by its value: not if it is to be differentiated later. */
export function mayBecomeLeaf(node: Node): boolean {
  return node.results === undefined && !whole.has(node);
}

/**
 * Makes a node whose value is known a leaf over it, in place: whoever computes with it reads the
 * value from now on, and what it was computed from can die.
 */
export function becomeLeaf(node: Node, storage: Storage): void {
  const data: Pick<Node<"leaf">, "op" | "inputs" | "attributes"> = {
    op: "leaf",
    inputs: [],
    attributes: { storage },
  };
  Object.assign(node, data);
  storage.leaf = node;
  storage.used = true;
}

/** Graphs by their parts, as nodes are. */
let graphs = new Map<string, Graph>();

/** The graph of these parts: the existing one if there is one. */
export function makeGraph(
  name: string,
  parameters: readonly Node<"parameter">[],
  results: readonly Node[],
): Graph {
  const ids = (nodes: readonly Node[]): string => nodes.map((node) => node.id).join();
  const key = `${ids(parameters)}|${ids(results)}|${name}`;
  const known = graphs.get(key);
  if (known !== undefined) return known;
  const graph: Graph = { name, parameters, results };
  graphs.set(key, graph);
  return graph;
}

/**
 * Lets go of all nodes: equal ones made from here on are other objects. Called when an expression
 * has been computed or compiled, so that what is dropped then can die; a common subexpression is
 * one of one expression. Called as well where nodes, or the data under them, have become many.
 */
export function forgetNodes(): void {
  leafBytes = 0;
  table = new Map();
  graphs = new Map();
}
