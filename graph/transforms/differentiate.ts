/**
 * Derivatives of functions on trees of tensors: reverse mode (`grad`, `valueAndGrad`, `vjp`),
 * forward mode (`jvp`), and forward over reverse (`hvp`). They record graph like any other
 * operation, so they nest to any order and compile together with what surrounds them.
 *
 * @module
 */
import { apply, fill, mark } from "../build.ts";
import { checkNames, describe, describeTree } from "../describe.ts";
import { isFloat } from "../dtype.ts";
import { pushforward } from "../jvp.ts";
import { keepWhole, showAval } from "../node.ts";
import type { Tensor } from "../tensor.ts";
import { pullback } from "../vjp.ts";
import { dependents, topological } from "../walk.ts";
import {
  checkFloats,
  checkLike,
  handle,
  isTensor,
  nameOf,
  type Parts,
  partsOf,
  resultsOf,
  run,
  treeOf,
} from "./trace.ts";
import { mapTree } from "../tree.ts";

/** Which arguments a gradient is with respect to. */
export interface GradOptions<N extends number | readonly number[] = number | readonly number[]> {
  /**
   * Position of the argument, or positions: then the gradient is an array.
   *
   * @default {0}
   */
  readonly argnums?: N;
  /**
   * The function returns `[loss, aux]`: only the loss is differentiated, aux is handed on.
   *
   * @default {false}
   */
  readonly hasAux?: boolean;
}

/** The gradient's type: that of the argument, or an array of the arguments' types. */
export type Gradient<A extends readonly unknown[], N extends number | readonly number[]> = N extends
  number ? A[N]
  : { -readonly [K in keyof N]: N[K] extends number ? A[N[K]] : never };

/** Arguments of a function with some marked, so that the way back finds them. */
export interface Marked {
  readonly args: unknown[];
  /** The marks, of one argument after the other. */
  readonly parts: readonly Parts[];
  readonly marks: readonly Parts["nodes"][number][];
}

/** Marks every tensor of some arguments. */
export function markArguments(
  action: string,
  f: { readonly name: string },
  args: readonly unknown[],
  positions: readonly number[],
): Marked {
  const marked = [...args];
  const parts = positions.map((position): Parts => {
    if (!(position in args)) {
      throw new RangeError(
        `Cannot ${action} ${nameOf(f)}: argnums names argument ${position} of ${args.length}, ` +
          "expected the position of an argument",
      );
    }
    const name = `argument ${position} of ${nameOf(f)}`;
    const given = partsOf(args[position], name);
    checkFloats(`${action} ${nameOf(f)}`, name, given);
    const marks = { nodes: given.nodes.map(mark), structure: given.structure };
    marked[position] = treeOf(marks.structure, marks.nodes);
    return marks;
  });
  return { args: marked, parts, marks: parts.flatMap((p) => p.nodes) };
}

/** Nodes dealt out to the trees of marked arguments. */
function deal(parts: readonly Parts[], nodes: readonly Parts["nodes"][number][]): unknown[] {
  let next = 0;
  return parts.map(({ structure, nodes: { length } }) =>
    treeOf(structure, nodes.slice(next, next += length))
  );
}

/**
 * A function that returns the value and the gradient of a scalar loss, in one pass forwards and one
 * back. With `hasAux` the value is the pair `[loss, aux]`.
 *
 * @throws {TypeError} on a call, if the loss is no float scalar, or an argument to differentiate
 * holds a tensor that is no float.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const loss = (p: { w: rg.Tensor; b: rg.Tensor }, x: rg.Tensor) =>
 *   x.mul(p.w).add(p.b).square().sum();
 * const params = { w: rg.tensor(2), b: rg.tensor(1) };
 * const [value, gradient] = rg.valueAndGrad(loss)(params, rg.tensor([1, 2]));
 * assertEquals(await value.item(), 34);
 * assertEquals(await gradient.w.item(), 26);
 * assertEquals(await gradient.b.item(), 16);
 * ```
 */
export function valueAndGrad<A extends readonly unknown[]>(
  f: (...args: A) => Tensor,
): (...args: A) => [Tensor, A[0]];
/** The same with respect to other arguments than the first. */
export function valueAndGrad<
  A extends readonly unknown[],
  const N extends number | readonly number[] = 0,
>(
  f: (...args: A) => Tensor,
  options: GradOptions<N> & { readonly hasAux?: false },
): (...args: A) => [Tensor, Gradient<A, N>];
/** The same for a function that returns `[loss, aux]`. */
export function valueAndGrad<
  A extends readonly unknown[],
  X,
  const N extends number | readonly number[] = 0,
>(
  f: (...args: A) => readonly [Tensor, X],
  options: GradOptions<N> & { readonly hasAux: true },
): (...args: A) => [[Tensor, X], Gradient<A, N>];
export function valueAndGrad(
  f: (...args: never[]) => unknown,
  options: GradOptions = {},
): (...args: readonly unknown[]) => [unknown, unknown] {
  const action = "differentiate";
  checkNames(options, { argnums: true, hasAux: "flag" }, `${action} ${nameOf(f)}`);
  const { argnums = 0, hasAux = false } = options;
  const positions = typeof argnums === "number" ? [argnums] : argnums;
  const differentiated = (...args: readonly unknown[]): [unknown, unknown] => {
    const { args: marked, parts, marks } = markArguments(action, f, args, positions);
    const value = run(action, f, marked);
    const loss = hasAux ? lossOf(f, value) : value;
    const { node } = scalarLoss(f, loss);
    const pulled = pullback([node], marks, [fill(1, [], node.dtype)]);
    const gradients = deal(parts, pulled);
    return [value, typeof argnums === "number" ? gradients[0] : gradients];
  };
  return named(differentiated, `valueAndGrad(${nameOf(f)})`);
}

function lossOf(f: { readonly name: string }, value: unknown): unknown {
  if (Array.isArray(value) && value.length === 2) return value[0];
  throw new TypeError(
    `Cannot differentiate ${nameOf(f)}: hasAux is set and it returned ` +
      `${describeTree(value)}, expected [loss, aux]`,
  );
}

function scalarLoss(f: { readonly name: string }, loss: unknown): Tensor {
  if (!isTensor(loss)) {
    throw new TypeError(
      `Cannot differentiate ${nameOf(f)}: it returned ${describeTree(loss)}, expected ` +
        "a scalar tensor (with { hasAux: true } also [loss, aux])",
    );
  }
  if (loss.shape.length > 0) {
    throw new TypeError(
      `Cannot differentiate ${nameOf(f)}: it returned ${showAval(loss)}, expected ` +
        "a scalar (take .sum() or .mean(), or use vjp or jacobian)",
    );
  }
  if (!isFloat(loss.dtype)) {
    throw new TypeError(
      `Cannot differentiate ${nameOf(f)}: it returned ${loss.dtype}, expected f32 or f16`,
    );
  }
  return loss;
}

function named<F>(f: F, name: string): F {
  return Object.defineProperty(f, "name", { value: name });
}

/**
 * A function that returns the gradient of a scalar loss; with `hasAux` the pair `[gradient, aux]`.
 *
 * @throws {TypeError} as {@linkcode valueAndGrad}.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const cube = (x: rg.Tensor) => x.mul(x).mul(x);
 * assertEquals(await rg.grad(cube)(rg.tensor(2)).item(), 12);
 * assertEquals(await rg.grad(rg.grad(cube))(rg.tensor(2)).item(), 12);
 * assertEquals(await rg.grad(rg.grad(rg.grad(cube)))(rg.tensor(2)).item(), 6);
 * ```
 */
export function grad<A extends readonly unknown[]>(
  f: (...args: A) => Tensor,
): (...args: A) => A[0];
/** The same with respect to other arguments than the first. */
export function grad<
  A extends readonly unknown[],
  const N extends number | readonly number[] = 0,
>(
  f: (...args: A) => Tensor,
  options: GradOptions<N> & { readonly hasAux?: false },
): (...args: A) => Gradient<A, N>;
/** The same for a function that returns `[loss, aux]`. */
export function grad<
  A extends readonly unknown[],
  X,
  const N extends number | readonly number[] = 0,
>(
  f: (...args: A) => readonly [Tensor, X],
  options: GradOptions<N> & { readonly hasAux: true },
): (...args: A) => [Gradient<A, N>, X];
export function grad(
  f: (...args: never[]) => unknown,
  options: GradOptions = {},
): (...args: never[]) => unknown {
  type Both = (...args: never[]) => [unknown, unknown];
  const both = valueAndGrad(f as never, options as never) as unknown as Both;
  const gradient = (...args: never[]): unknown => {
    const [value, pulled] = both(...args);
    return options.hasAux ? [pulled, (value as readonly unknown[])[1]] : pulled;
  };
  return named(gradient, `grad(${nameOf(f)})`);
}

/**
 * The value of a function, and its transposed derivative there: `pull(cotangent)` gives one
 * cotangent for each primal. Both are trees; `pull` may be called any number of times.
 *
 * @throws {TypeError} if a primal holds a tensor that is no float, or a cotangent does not fit.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const [y, pull] = rg.vjp((x: rg.Tensor) => x.mul(x), rg.tensor([1, 2, 3]));
 * const [dx] = pull(rg.tensor([1, 1, 10]));
 * assertEquals(await y.array(), [1, 4, 9]);
 * assertEquals(await dx.array(), [2, 4, 60]);
 * ```
 */
export function vjp<const A extends readonly unknown[], R>(
  f: (...primals: A) => R,
  ...primals: A
): [value: R, pull: (cotangent: R) => A] {
  const action = "take the vjp of";
  const positions = primals.map((_, i) => i);
  const { args, parts, marks } = markArguments(action, f, primals, positions);
  const value = run(action, f, args);
  const results = resultsOf(action, f, value);
  // Between now and the call values may have been computed.
  keepWhole(dependents(topological(results.nodes), new Set(marks)));
  const pull = (cotangent: R): A => {
    const given = partsOf(cotangent, "the cotangent");
    checkLike(`pull back through ${nameOf(f)}`, "the cotangent", given, results);
    return deal(parts, pullback(results.nodes, marks, given.nodes)) as unknown as A;
  };
  return [value as R, pull];
}

/**
 * The value of a function and its directional derivative: tangents of the results from tangents of
 * the primals, in one pass and without keeping anything. Integer results have a zero tangent.
 *
 * @throws {TypeError} if a primal holds a tensor that is no float, or a tangent does not fit.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const [y, dy] = rg.jvp((x: rg.Tensor) => x.mul(x), [rg.tensor(3)], [rg.tensor(1)]);
 * assertEquals([await y.item(), await dy.item()], [9, 6]);
 * ```
 */
export function jvp<const A extends readonly unknown[], R>(
  f: (...primals: A) => R,
  primals: A,
  tangents: A,
): [value: R, tangent: R] {
  const action = "take the jvp of";
  for (const [name, list] of Object.entries({ primals, tangents })) {
    if (Array.isArray(list)) continue;
    throw new TypeError(
      `Cannot ${action} ${nameOf(f)}: ${name} is ${describe(list)}, expected a list with one for ` +
        "each argument",
    );
  }
  const { args, parts, marks } = markArguments(action, f, primals, primals.map((_, i) => i));
  if (tangents.length !== primals.length) {
    throw new TypeError(
      `Cannot ${action} ${nameOf(f)}: ${tangents.length} tangents for ${primals.length} primals, ` +
        "expected one for each",
    );
  }
  const given = parts.map((wanted, i) => {
    const name = `tangent ${i}`, tangent = partsOf(tangents[i], name);
    checkLike(`${action} ${nameOf(f)}`, name, tangent, wanted);
    return tangent.nodes;
  });
  const value = run(action, f, args);
  const results = resultsOf(action, f, value);
  const pushed = pushforward(results.nodes, marks, given.flat());
  return [value as R, treeOf(results.structure, pushed) as R];
}

/**
 * The Hessian of a scalar function at `x` times `v`, by forward mode over reverse mode: about twice
 * the cost of a gradient, and no matrix is ever formed.
 *
 * @throws {TypeError} if the loss is no float scalar, or `v` does not fit `x`.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const f = (x: rg.Tensor) => x.mul(x).mul(x).sum();
 * assertEquals(await rg.hvp(f, rg.tensor([1, 2]), rg.tensor([1, 10])).array(), [6, 120]);
 * ```
 */
export function hvp<T>(f: (x: T) => Tensor, x: T, v: T): T {
  return jvp(grad(f), [x], [v])[1] as T;
}

/**
 * The same tree, held constant: no derivative flows through it.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const f = (x: rg.Tensor) => x.mul(rg.stopGradient(x));
 * assertEquals(await rg.grad(f)(rg.tensor(3)).item(), 3);
 * ```
 */
export function stopGradient<T>(tree: T): T {
  return mapTree(isTensor, (x) => handle(apply("stop", [x.node], {})), tree) as T;
}
