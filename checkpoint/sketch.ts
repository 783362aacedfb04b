/**
 * Randomized automatic differentiation: of the values that a function's way back needs, a random
 * projection is held instead, small and unbiased. Where the function is linear in them, as layers
 * are in their inputs, the way back is too, so the gradient is right in the mean; and the value and
 * the gradient of the input itself stay exact, to the bit.
 *
 * The function is recorded behind a boundary (a `call`). Its rule differentiates the body and then
 * reads the estimate where it read the value; what the estimate is made from is a `hold`, which the
 * compiler puts in memory on the way forward, and a key, from which the projection is drawn again
 * on the way back (`again`, see compile/again.ts).
 *
 * Oktay, McGreivy, Aduol, Beatson and Adams, Randomized Automatic Differentiation, 2020.
 *
 * @module
 */
import { notAffine } from "../graph/affine.ts";
import { again, avalOf, call, cast, hold, mark, parameter, reshape } from "../graph/build.ts";
import { collectChecks, noteCheck } from "../graph/check.ts";
import { closeOver } from "../graph/close.ts";
import { checkNames, describe } from "../graph/describe.ts";
import { isFloat } from "../graph/dtype.ts";
import { type Graph, is, type Node, unique } from "../graph/node.ts";
import { expression } from "../graph/print.ts";
import { showShape, sizeOf } from "../graph/shape.ts";
import { substitute } from "../graph/substitute.ts";
import type { Tensor } from "../graph/tensor.ts";
import {
  handle,
  isTensor,
  nameOf,
  partsOf,
  resultsOf,
  run,
  treeOf,
} from "../graph/transforms/trace.ts";
import { type CustomPull, pullback } from "../graph/vjp.ts";
import { topological } from "../graph/walk.ts";
import { projections, type SketchKind } from "./projection.ts";

export type { SketchKind } from "./projection.ts";

/** What of an input is held for the way back; see {@linkcode sketch}. */
export interface SketchSettings {
  /** The share of its numbers, above 0; 1 holds all of them, and nothing is estimated. */
  readonly keep: number;
  /**
   * `"sparse"` holds numbers drawn at random, with replacement: Var(x̂) = x²·(n - 1)/k for each of n
   * numbers, of which k = ⌈keep·n⌉ are held. `"project"` holds sums of all of them with random
   * signs: Var(x̂) = (‖x‖² - x²)/k. It spreads the error over all numbers, and takes more work.
   *
   * @default {"sparse"}
   */
  readonly kind?: SketchKind;
  /**
   * One projection for all examples of the batch, rather than one for each. It takes less work; the
   * errors of different examples then do not average out.
   *
   * @default {true}
   */
  readonly shared?: boolean;
  /**
   * How many of the first axes are examples; the others are the numbers of one example.
   *
   * @default {1}
   */
  readonly batch?: number;
  /**
   * `"needed"` leaves everything exact as long as a compiled function fits its budget of memory, and
   * estimates only where no exact plan fits: then every sketch with this setting that the function
   * records. Without a budget, and where nothing is compiled, nothing is estimated.
   *
   * @default {"always"}
   */
  readonly when?: "always" | "needed";
}

/** Options of {@linkcode sketch}. */
export interface SketchOptions extends SketchSettings {
  /** What the projection follows from: another one for every step of training, and every layer. */
  readonly key: Tensor;
}

/** Throws unless settings are what they may be. */
export function checkSketch(
  name: string,
  { keep, kind = "sparse", shared = true, batch = 1, when = "always" }: SketchSettings,
): void {
  const fail = (what: string, value: unknown, expected: string): never => {
    const shown = typeof value === "number" ? String(value) : describe(value);
    throw new RangeError(`Cannot sketch ${name}: ${what} is ${shown}, expected ${expected}`);
  };
  if (typeof keep !== "number" || !(keep > 0 && keep <= 1)) {
    fail("keep", keep, "a number above 0, at most 1");
  }
  if (!Object.hasOwn(projections, kind)) {
    fail("kind", kind, Object.keys(projections).map((k) => `"${k}"`).join(" or "));
  }
  if (typeof shared !== "boolean") fail("shared", shared, "true or false");
  if (!Number.isSafeInteger(batch) || batch < 0) fail("batch", batch, "a number of axes");
  if (when !== "always" && when !== "needed") fail("when", when, '"always" or "needed"');
}

/** Whether sketches that wait until they are needed are, and whether some were met. */
let needs = { are: false, met: false };

/**
 * Records a function with sketches that wait until they are needed left out, or not; and says whether
 * it has any.
 */
export function recordSketched<T>(
  are: boolean,
  record: () => T,
): { readonly value: T; readonly met: boolean } {
  const before = needs, own = needs = { are, met: false };
  try {
    return { value: record(), met: own.met };
  } finally {
    needs = before;
  }
}

/**
 * The function, which for its way back holds a random projection of its first argument, `keep` of
 * its size, instead of the argument. Its value is what it was, to the bit. The first argument is a
 * tensor x of floats; gradients with respect to the others (and to what the function closes over)
 * become estimates, whose mean over keys is the gradient.
 *
 * The way back must be affine in x. If the function is, as products and convolutions with weights
 * are, then the gradient with respect to x does not depend on x, and stays exact; if it is
 * quadratic in x, as a sum of squares is, that becomes an estimate, too.
 *
 * It decides about what is held and nothing else: only what is wrapped is ever estimated, under a
 * memory budget as without one (or only under one that nothing exact fits: `when: "needed"`), and
 * forward mode is exact. Derivatives of the gradient are unbiased
 * as well: what rests on a projection is never pulled through the same one again. Under `vmap` all examples share one projection, unless each has a key of its own. In
 * the body of a `scan` a step holds its own projection, so give each a key of its own with
 * `foldIn`; with another strategy than `"store"` projections are made again from states made again.
 *
 * @throws {TypeError} if it is no function; on a call, if x is no tensor of floats, has no axes but
 * those of the batch, or the way back is not affine in it: the message names the operation.
 * @throws {RangeError} if an option is out of range.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const layer = (x: rg.Tensor, w: rg.Tensor, key: rg.Tensor) =>
 *   rg.sketch((x: rg.Tensor, w: rg.Tensor) => x.matmul(w), { keep: 0.1, key })(x, w);
 * const loss = (w: rg.Tensor, x: rg.Tensor, key: rg.Tensor) => layer(x, w, key).tanh().mean();
 * // Of 150×784 numbers, 150×79 wait for the way back.
 * const step = rg.compile(rg.grad(loss));
 * const gradient = step(rg.zeros([784, 300]), rg.ones([150, 784]), rg.random.key(1));
 * assertEquals(gradient.shape, [784, 300]);
 * ```
 */
export function sketch<A extends readonly [Tensor, ...unknown[]], R>(
  f: (...args: A) => R,
  options: SketchOptions,
): (...args: A) => R {
  if (typeof f !== "function") {
    throw new TypeError(`Cannot sketch: ${describe(f)}, expected a function`);
  }
  const name = nameOf(f);
  checkNames(
    options,
    { keep: true, kind: true, shared: "flag", batch: true, when: true, key: true },
    `sketch ${name}`,
  );
  checkSketch(name, options);
  const { keep, kind = "sparse", shared = true, batch = 1, when = "always", key } = options;
  if (!isTensor(key) || key.dtype !== "u32" || key.rank !== 1 || key.size !== 2) {
    throw new TypeError(
      `Cannot sketch ${name}: the key is ${isTensor(key) ? key : describe(key)}, expected one as ` +
        "of random.key",
    );
  }
  const sketched = (...args: A): R => {
    const x = checkInput(name, args[0], batch);
    // All of it is held: nothing is estimated.
    if (keep === 1 || x.size === 0) return f(...args);
    const examples = sizeOf(x.shape.slice(0, batch)), n = sizeOf(x.shape.slice(batch));
    const k = Math.ceil(keep * n);
    const given = partsOf(args, `arguments of ${name}`);
    const parameters = given.nodes.map((node, i) => parameter(i, avalOf(node)));
    const { value: returned, checks } = collectChecks(() =>
      run("sketch", f, treeOf(given.structure, parameters) as unknown[])
    );
    const results = resultsOf("sketch", f, returned), count = results.nodes.length;
    // The key is an input like others, so that loops and batches see that the way back needs it.
    const at = parameters.length, own = [...parameters, parameter(at, avalOf(key.node))];
    const { graph, captured } = closeOver(name, own, [
      ...results.nodes,
      ...checks.map(({ flag }) => flag),
    ]);
    checkAffine(name, graph, count);
    if (when === "needed") {
      needs.met = true;
      if (!needs.are) return f(...args);
    }
    const projection = projections[kind]({ n, k, examples }, shared);
    const label = `${kind} sketch of ${showShape(x.shape)} for ${name}, ${k} of ${n} numbers` +
      (examples === 1 ? "" : shared ? ", shared by all examples" : ", apart for each example") +
      (when === "needed" ? ", since no exact plan fits the budget" : "");
    const pull: CustomPull = (inputs, _, cotangents) => {
      const flat = handle(inputs[0]!).reshape(examples, n), now = handle(inputs[at]!);
      const kept = handle(hold(projection.compress(flat, now).node, label, true));
      // A gradient of the gradient that this projection has given: twice the same one would be biased.
      if (topological(cotangents).includes(kept.node)) {
        return pullAt(graph, inputs, cotangents.slice(0, count));
      }
      const later = handle(again(inputs[at]!, unique()));
      const estimate = projection.expand(kept, later).reshape(...x.shape);
      const { spread } = projection;
      const product = spread && {
        examples,
        n,
        of: (g: Tensor) => spread(kept.transpose().matmul(g), later),
      };
      const point = [estimate.node, ...inputs.slice(1)];
      return pullAt(graph, point, cotangents.slice(0, count), product);
    };
    const nodes = call(graph, [...given.nodes, key.node, ...captured], { name, pull, open: true });
    checks.forEach(({ message }, i) => noteCheck({ flag: nodes[count + i]!, message }));
    return treeOf(results.structure, nodes.slice(0, count)) as R;
  };
  return Object.defineProperty(sketched, "name", { value: f.name });
}

/** The first argument, if it is something that can be sketched. */
function checkInput(name: string, x: unknown, batch: number): Tensor {
  if (!isTensor(x) || !isFloat(x.dtype)) {
    throw new TypeError(
      `Cannot sketch ${name}: its first argument is ${isTensor(x) ? x : describe(x)}, expected a ` +
        "tensor of floats",
    );
  }
  if (batch <= x.rank) return x;
  throw new TypeError(
    `Cannot sketch ${name}: its first argument is ${x} with ${batch} axes of examples, expected ` +
      "that many axes",
  );
}

/** xᵀ·g for x [examples, n] and g [examples, m], from what is held of x. */
interface SketchedProduct {
  readonly examples: number;
  readonly n: number;
  readonly of: (g: Tensor) => Tensor;
}

/**
 * Cotangents of a graph's inputs at a point. Products of the first input with something are left to
 * `product`, if there is one.
 */
function pullAt(
  graph: Graph,
  point: readonly Node[],
  cotangents: readonly Node[],
  product?: SketchedProduct,
): (Node | undefined)[] {
  const marks = point.map(mark);
  const over = substitute(
    graph.results.slice(0, cotangents.length),
    new Map(graph.parameters.map((p, i) => [p as Node, marks[i]!])),
  );
  const active = marks.filter((x) => isFloat(x.dtype));
  const pulled = pullback(over, active, cotangents);
  const values = new Map<Node, Node>(cotangents.map((g) => [g, g]));
  marks.forEach((x, i) => values.set(x, point[i]!));
  const gradients = substitute(product ? withProducts(pulled, marks[0]!, product) : pulled, values);
  return marks.map((x) => gradients[active.indexOf(x)]);
}

/**
 * The roots with every product xᵀ·g computed by `product`, as the gradient of a weight is: from what
 * is held and g, so that the estimate of x is never written out.
 */
function withProducts(
  roots: readonly Node[],
  x: Node,
  { examples, n, of }: SketchedProduct,
): Node[] {
  const replaced = new Map<Node, Node>();
  for (const node of topological(roots)) {
    if (!is(node, "dot")) continue;
    const [a, g] = node.inputs as [Node, Node];
    if (a.shape.join() !== [1, n, examples].join() || !isTransposed(a, x)) continue;
    const result = of(handle(reshape(g, [examples, g.shape[2]!]))).node;
    replaced.set(node, cast(reshape(result, node.shape), node.dtype));
  }
  return substitute(roots, replaced);
}

/** True of x as one matrix, turned. */
function isTransposed(a: Node, x: Node): boolean {
  if (!is(a, "permute") || a.attributes.order.join() !== "0,2,1") return false;
  let base = a.inputs[0]!;
  while (is(base, "reshape")) base = base.inputs[0]!;
  return base === x;
}

/** Throws, naming the operation, unless the way back is affine in the first parameter. */
function checkAffine(name: string, graph: Graph, results: number): void {
  const cotangents = graph.results.slice(0, results).map((result, i) =>
    parameter(i, avalOf(result))
  );
  const pulled = pullAt(graph, graph.parameters, cotangents).filter((g) => g !== undefined);
  const culprit = notAffine(pulled, graph.parameters[0]!);
  if (culprit === undefined) return;
  throw new TypeError(
    `Cannot sketch ${name}: its way back is not affine in its first argument because of ${
      expression(culprit, 2)
    }, expected a function that is linear in it (a product, a convolution) or quadratic`,
  );
}
