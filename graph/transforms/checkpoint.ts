/**
 * What of a function is held for its way back: `checkpoint(f, { policy })` lets go of everything
 * that is computed inside but for what the policy saves, and computes it again when the cotangent
 * arrives. Chen et al. 2016, "Training deep nets with sublinear memory cost".
 *
 * The function is recorded behind a boundary (a `call`). Its way back is that of the body, read from
 * a copy of it that begins at fresh identities (`again`) on the inputs; what is saved, the copy reads
 * from the original. The compiler takes the copy for the original, since a value computed twice is
 * the same value, and lets its region run a second time (compile/again.ts).
 *
 * @module
 */
import { again, apply, avalOf, call, mark, parameter, rebuild } from "../build.ts";
import { closeOver } from "../close.ts";
import { collectChecks, noteCheck } from "../check.ts";
import { checkNames, describe } from "../describe.ts";
import { isFloat } from "../dtype.ts";
import type { DType } from "../dtype.ts";
import type { Outside } from "../loops/replay.ts";
import { is, type Node, unique } from "../node.ts";
import { kinds } from "../primitive.ts";
import type { Shape } from "../shape.ts";
import { substitute } from "../substitute.ts";
import type { Tensor } from "../tensor.ts";
import { mapTree } from "../tree.ts";
import { type CustomPull, pullback } from "../vjp.ts";
import { topological } from "../walk.ts";
import { handle, isTensor, nameOf, partsOf, resultsOf, run, treeOf } from "./trace.ts";

/** A value inside a checkpointed function, as a policy sees it. */
export interface Residual {
  /** The primitive that computes it: `dot`, `add`, `tanh`, `sum`, … */
  readonly primitive: string;
  /**
   * The kind of primitive: `contract` for products and convolutions, `reduce`, `gather`, `scatter`,
   * `unary`, `binary`, `ternary`, `movement`, `loop`.
   */
  readonly kind: string;
  /** What {@linkcode name} called it. */
  readonly name?: string;
  /** Sizes of the axes. */
  readonly shape: Shape;
  /** Element type. */
  readonly dtype: DType;
  /** Of a product: it has a batch axis. */
  readonly batched?: boolean;
}

/**
 * Which values are held for the way back, and where: on the device, or in a store outside of it,
 * from where they come back before the way back reads them. What is not held is computed again.
 */
export type Policy = (value: Residual) => boolean | Outside;

function checkStore(store: unknown): void {
  if (store === "host" || store === "disk") return;
  throw new TypeError(`Cannot offload: store is ${describe(store)}, expected "host" or "disk"`);
}

function checkTexts(names: unknown, action: string): void {
  if (!Array.isArray(names)) {
    throw new TypeError(
      `Cannot ${action}: there is ${describe(names)}, expected names as text in an array`,
    );
  }
  const wrong = names.findIndex((name) => typeof name !== "string");
  if (wrong < 0) return;
  throw new TypeError(
    `Cannot ${action}: there is ${describe(names[wrong])}, expected names as text`,
  );
}

/**
 * The policies of `jax.checkpoint`, and one by kind of operation.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 *
 * const { policies } = rg;
 * const layer = (x: rg.Tensor, w: rg.Tensor) => rg.name(x.matmul(w), "product").tanh();
 * rg.checkpoint(layer, { policy: policies.dotsSaveable });
 * rg.checkpoint(layer, { policy: policies.saveOnlyTheseNames("product") });
 * rg.checkpoint(layer, { policy: policies.saveKinds("contract", "reduce") });
 * rg.checkpoint(layer, {
 *   policy: policies.saveAndOffloadOnlyTheseNames({ offload: ["product"] }),
 * });
 * ```
 */
export const policies: {
  /** Everything is held, as without a checkpoint. */
  readonly everythingSaveable: Policy;
  /** Only the function's arguments are held. */
  readonly nothingSaveable: Policy;
  /** Products and convolutions are held. */
  readonly dotsSaveable: Policy;
  /** Products without a batch axis are held: those with weights, not those of attention. */
  readonly dotsWithNoBatchDimsSaveable: Policy;
  /** Values that have one of these names are held. */
  readonly saveOnlyTheseNames: (...names: string[]) => Policy;
  /** Values that have a name, but none of these, are held. */
  readonly saveAnyNamesButThese: (...names: string[]) => Policy;
  /** What operations of these kinds compute is held: see {@linkcode Residual}. */
  readonly saveKinds: (...kinds: string[]) => Policy;
  /** What either policy would hold is held, where the first says that would. */
  readonly saveFromBothPolicies: (a: Policy, b: Policy) => Policy;
  /**
   * Values that have one of the names to `save` are held on the device, those that have one of the
   * names to `offload` in the store that is named: in the host's memory if none is.
   */
  readonly saveAndOffloadOnlyTheseNames: (
    names: {
      readonly save?: readonly string[];
      readonly offload?: readonly string[];
      readonly store?: Outside;
    },
  ) => Policy;
  /** Products without a batch axis wait in a store outside of the device: `"host"` or `"disk"`. */
  readonly offloadDotsWithNoBatchDims: (store?: Outside) => Policy;
} = {
  everythingSaveable: () => true,
  nothingSaveable: () => false,
  dotsSaveable: ({ kind }) => kind === "contract",
  dotsWithNoBatchDimsSaveable: ({ kind, batched }) => kind === "contract" && !batched,
  saveOnlyTheseNames(...names) {
    checkTexts(names, "save only these names");
    return ({ name }) => name !== undefined && names.includes(name);
  },
  saveAnyNamesButThese(...names) {
    checkTexts(names, "save any names but these");
    return ({ name }) => name !== undefined && !names.includes(name);
  },
  saveKinds(...wanted) {
    const known = new Set<unknown>(Object.values(kinds));
    const wrong = wanted.find((kind) => !known.has(kind));
    if (wrong === undefined) return ({ kind }) => wanted.includes(kind);
    throw new TypeError(
      `Cannot save kinds: one is ${describe(wrong)}, expected ${[...known].join(", ")}`,
    );
  },
  saveFromBothPolicies: (a, b) => (value) => a(value) || b(value),
  saveAndOffloadOnlyTheseNames(names) {
    checkNames(names, { save: true, offload: true, store: true }, "save and offload names");
    const { save = [], offload = [], store = "host" } = names;
    for (const list of [save, offload]) checkTexts(list, "save and offload names");
    checkStore(store);
    return ({ name }) =>
      name !== undefined && (save.includes(name) || (offload.includes(name) && store));
  },
  offloadDotsWithNoBatchDims(store = "host") {
    checkStore(store);
    return ({ kind, batched }) => kind === "contract" && !batched && store;
  },
};

/** How a function is checkpointed. */
export interface CheckpointOptions {
  /**
   * Which of the values computed inside are held for the way back.
   *
   * @default {policies.nothingSaveable}
   */
  readonly policy?: Policy;
}

/**
 * The function, holding for its way back its arguments and what the policy saves; the rest is
 * computed again, by the kernels that computed it, so that values and gradients are the same to the
 * bit, whatever the policy. (Without a checkpoint the gradient has these bits, too, unless a tensor
 * is used several times by each of several calls: then what they hand back for it is summed call by
 * call.) It matters where something is differentiated, in the memory that a compiled step takes.
 *
 * What a kernel computes on the way to what it writes is never held; where a product that a policy
 * saves is used up inside its kernel, what follows from it there is held instead.
 *
 * @throws {TypeError} if it is no function, or the policy is none.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const layer = rg.checkpoint((x: rg.Tensor, w: rg.Tensor) => x.matmul(w).tanh().matmul(w).tanh());
 * const loss = (w: rg.Tensor, x: rg.Tensor) => layer(layer(x, w), w).sum();
 * const step = rg.compile(rg.grad(loss));
 * assertEquals(step(rg.ones([2, 2]), rg.ones([2, 2])).shape, [2, 2]);
 * ```
 */
export function checkpoint<A extends readonly unknown[], R>(
  f: (...args: A) => R,
  options: CheckpointOptions = {},
): (...args: A) => R {
  if (typeof f !== "function") {
    throw new TypeError(`Cannot checkpoint: ${describe(f)}, expected a function`);
  }
  checkNames(options, { policy: true }, `checkpoint ${nameOf(f)}`);
  const { policy = policies.nothingSaveable } = options;
  if (typeof policy !== "function") {
    throw new TypeError(
      `Cannot checkpoint ${nameOf(f)}: the policy is ${describe(policy)}, expected a function, ` +
        "such as those in policies",
    );
  }
  const name = nameOf(f);
  const checkpointed = (...args: A): R => {
    const given = partsOf(args, `arguments of ${name}`);
    const parameters = given.nodes.map((node, i) => parameter(i, avalOf(node)));
    const { value: returned, checks } = collectChecks(() =>
      run("trace", f, treeOf(given.structure, parameters) as unknown[])
    );
    const results = resultsOf("trace", f, returned), own = results.nodes.length;
    const all = [...results.nodes, ...checks.map(({ flag }) => flag)];
    const { graph, captured } = closeOver(name, parameters, all);
    const pulled = { ...graph, results: graph.results.slice(0, own) };
    const pull: CustomPull = (inputs, _, cotangents) => {
      const order = topological(pulled.results);
      return pullAgain(order, pulled, inputs, cotangents.slice(0, own), policy, name);
    };
    const nodes = call(graph, [...given.nodes, ...captured], { name, pull, open: true });
    checks.forEach(({ message }, i) => noteCheck({ flag: nodes[own + i]!, message }));
    return treeOf(results.structure, nodes.slice(0, own)) as R;
  };
  return Object.defineProperty(checkpointed, "name", { value: f.name });
}

/** The body's own way back, over a copy of it that is computed again. */
function pullAgain(
  order: readonly Node[],
  graph: { readonly parameters: readonly Node[]; readonly results: readonly Node[] },
  inputs: readonly Node[],
  cotangents: readonly Node[],
  policy: Policy,
  name: string,
): (Node | undefined)[] {
  // The body over marks is differentiated; then the marked body is replaced by the copy.
  const marks = inputs.map(mark);
  const marked = new Map<Node, Node>(), original = new Map<Node, Node>();
  const copy = new Map<Node, Node>(), group = unique();
  graph.parameters.forEach((p, i) => {
    marked.set(p, marks[i]!);
    original.set(p, inputs[i]!);
    copy.set(p, again(inputs[i]!, group));
  });
  for (const node of order) {
    if (marked.has(node)) continue;
    const over = (map: ReadonlyMap<Node, Node>): Node =>
      rebuild(node, node.inputs.map((x) => map.get(x)!));
    marked.set(node, over(marked));
    original.set(node, over(original));
    const saved = whereSaved(node, policy, name);
    copy.set(
      node,
      saved === true
        ? original.get(node)!
        : saved
        ? again(original.get(node)!, unique(), saved)
        : over(copy),
    );
  }
  const active = marks.map((x) => isFloat(x.dtype));
  const { value: pulled, checks } = collectChecks(() =>
    pullback(
      graph.results.map((x) => marked.get(x)!),
      marks.filter((_, i) => active[i]),
      cotangents,
    )
  );
  const replaced = new Map<Node, Node>(cotangents.map((g) => [g, g]));
  marks.forEach((x, i) => replaced.set(x, inputs[i]!));
  for (const node of order) {
    const m = marked.get(node)!;
    if (m !== node && !replaced.has(m)) replaced.set(m, copy.get(node)!);
  }
  const found = substitute([...pulled, ...checks.map(({ flag }) => flag)], replaced);
  const gradients = found.slice(0, pulled.length);
  checks.forEach(({ message }, i) => noteCheck({ flag: found[pulled.length + i]!, message }));
  let next = 0;
  return active.map((is) => is ? gradients[next++] : undefined);
}

/** Whether a value inside is held, and where. Several results are held or not one by one. */
function whereSaved(node: Node, policy: Policy, f: string): boolean | Outside {
  if (is(node, "call") || is(node, "loop")) return false;
  const { op, shape, dtype } = node;
  const made = is(node, "project") ? node.inputs[0]! : node;
  const saved: unknown = policy({
    primitive: is(node, "project") ? made.op : op,
    kind: kinds[made.op],
    ...(is(node, "name") && { name: node.attributes.label }),
    shape,
    dtype,
    ...(is(node, "dot") && { batched: shape[0]! > 1 }),
  });
  if (typeof saved === "boolean" || saved === "host" || saved === "disk") return saved;
  throw new TypeError(
    `Cannot checkpoint ${f}: the policy returned ${describe(saved)}, expected true, false, ` +
      '"host" or "disk"',
  );
}

/**
 * The same tree, its tensors named for the policies of {@linkcode checkpoint}. Values stay as they
 * are.
 *
 * @throws {TypeError} if the name is no text.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 *
 * const policy = rg.policies.saveOnlyTheseNames("hidden");
 * const layer = rg.checkpoint(
 *   (x: rg.Tensor, w: rg.Tensor) => rg.name(x.matmul(w).tanh(), "hidden").matmul(w),
 *   { policy },
 * );
 * ```
 */
export function name<T>(tree: T, label: string): T {
  if (typeof label !== "string") {
    throw new TypeError(`Cannot name a value: ${describe(label)}, expected text`);
  }
  return mapTree(isTensor, (x: Tensor) => handle(apply("name", [x.node], { label })), tree) as T;
}
