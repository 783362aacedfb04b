/**
 * Checking gradients: the derivative along random directions by the way back, by forward mode, and
 * by central differences, which must agree. Differences are taken at two distances and extrapolated
 * (Richardson 1911); what f32 rounds away is estimated and allowed for.
 *
 * @module
 */
import { tensor } from "../graph/create.ts";
import { checkNames } from "../graph/describe.ts";
import { isFloat } from "../graph/dtype.ts";
import { is, type Node } from "../graph/node.ts";
import { sizeOf } from "../graph/shape.ts";
import { readAll, type Tensor } from "../graph/tensor.ts";
import { isTensor } from "../graph/transforms/trace.ts";
import { jvp, vjp } from "../graph/transforms.ts";
import { flatten, leafPaths, unflatten } from "../graph/tree.ts";
import { topological } from "../graph/walk.ts";
import { compile } from "./compile.ts";

/** How gradients are checked. */
export interface CheckOptions {
  /**
   * How far to step for differences, in units of the size of each tensor's values.
   *
   * @default {0.01, or 0.1 where anything is computed in f16}
   */
  readonly step?: number;
  /**
   * How much the derivatives may differ, relative to the larger.
   *
   * @default {0.01}
   */
  readonly tolerance?: number;
  /**
   * Seed of the random directions.
   *
   * @default {0}
   */
  readonly seed?: number;
}

/** The derivative along one direction, three times. */
export interface CheckedDirection {
  /** Which tensor the direction moves: its path in the arguments, or `all`. */
  readonly path: string;
  /** By the way back. */
  readonly gradient: number;
  /** By forward mode. */
  readonly forward: number;
  /** By central differences. */
  readonly difference: number;
  /** What rounding may make of the differences. */
  readonly rounding: number;
  /** Whether the three agree. */
  readonly agrees: boolean;
}

/** The outcome of a check. */
export interface CheckReport {
  /** Seed of the directions. */
  readonly seed: number;
  /** One for each float tensor of the arguments, and one for all of them. */
  readonly directions: readonly CheckedDirection[];
  /** A table. */
  toString(): string;
}

/** Numbers from -1 to 1, and signs, by a small generator (mulberry32). */
function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 31 - 1;
  };
}

/**
 * Compares the derivatives of a function with differences, along a random direction in each float
 * tensor of its arguments and one in all of them. Results of any shape are weighed with random
 * numbers and summed. Choose arguments away from kinks (0 for relu).
 *
 * @throws {Error} if they disagree, with the whole table.
 * @throws {TypeError} if no argument or no result is a float tensor.
 * @throws {RangeError} if the step or the tolerance is not positive.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 *
 * await rg.init({ software: "allow" });
 * const report = await rg.checkGradients((x: rg.Tensor) => x.tanh().sum(), [rg.tensor([1, -2])]);
 * console.log(`${report}`);
 * ```
 */
export async function checkGradients(
  f: (...args: never[]) => unknown,
  args: readonly unknown[],
  options: CheckOptions = {},
): Promise<CheckReport> {
  checkNames(
    options,
    { step: true, tolerance: true, seed: true },
    `check ${f.name || "the function"}`,
  );
  const { step: asked, tolerance = 0.01, seed = 0 } = options;
  const name = f.name || "the function";
  for (const [option, value] of Object.entries({ step: asked, tolerance })) {
    if (value === undefined || value > 0 && value < Infinity) continue;
    throw new RangeError(`Cannot check ${name}: ${option} is ${value}, expected a positive number`);
  }
  if (!Number.isSafeInteger(seed) || seed < 0) {
    throw new RangeError(
      `Cannot check ${name}: the seed is ${seed}, expected a non-negative integer`,
    );
  }
  const random = generator(seed);
  const { leaves, structure } = flatten(args, isTensor, `arguments of ${name}`);
  const moved = leaves.flatMap((x, i) => isFloat(x.dtype) && x.size > 0 ? [i] : []);
  if (moved.length === 0) {
    throw new TypeError(`Cannot check ${name}: no argument is a float tensor, expected one`);
  }
  const values = await readAll(moved.map((i) => leaves[i]!));
  const paths = leafPaths(structure);

  /** The function of the tensors that move, as one number. */
  const weights: Tensor[] = [];
  let half = moved.some((i) => leaves[i]!.dtype === "f16");
  const scalar = (...moving: Tensor[]): Tensor => {
    const all = [...leaves];
    moved.forEach((i, k) => all[i] = moving[k]!);
    const result = f(...unflatten(structure, all) as never[]);
    const parts = flatten(result, isTensor, `what ${name} returned`).leaves
      .filter(({ dtype, size }) => isFloat(dtype) && size > 0);
    if (parts.length === 0) {
      throw new TypeError(`Cannot check ${name}: it returned no float tensor, expected one`);
    }
    half ||= usesHalf(parts.map(({ node }) => node));
    const terms = parts.map((x, i) => {
      weights[i] ??= tensor(Float32Array.from({ length: x.size }, random), { shape: x.shape });
      return x.cast("f32").mul(weights[i]).sum();
    });
    return terms.reduce((a, b) => a.add(b));
  };

  type Tensors = readonly Tensor[];
  const derivatives = compile((x: Tensors, u: Tensors): Tensors => {
    const [value, pull] = vjp(scalar, ...x as Tensor[]);
    const gradients = pull(tensor(1));
    const along = gradients.map((g, i) => g.cast("f32").mul(u[i]!.cast("f32")).sum());
    const [, forward] = jvp(scalar, x as Tensor[], u as Tensor[]);
    return [value, along.reduce((a, b) => a.add(b)), forward];
  }, { name: `derivatives of ${name}` });
  const at = compile(
    (x: Tensors, u: Tensors, h: Tensor) =>
      scalar(...x.map((x, i) => x.add(u[i]!.mul(h).cast(x.dtype)))),
    { name },
  );

  const x = moved.map((i) => leaves[i]!);
  const scales = values.map((data) => {
    let square = 0;
    for (const value of data) square += value * value;
    return Math.sqrt(square / data.length) || 1;
  });
  /** Signs, so that every element moves by the step; zero in the tensors that stay. */
  const direction = (which: number): Tensor[] =>
    x.map(({ shape, dtype }, k) => {
      const signs = Float32Array.from(
        { length: sizeOf(shape) },
        () => (which < 0 || which === k) ? Math.sign(random() || 1) * scales[k]! : 0,
      );
      return tensor(signs, { shape }).cast(dtype);
    });
  const directions: CheckedDirection[] = [];
  try {
    for (const which of moved.length > 1 ? [...moved.keys(), -1] : [-1]) {
      const u = direction(which);
      const exact = derivatives(x, u); // this is the first that traces the function
      const epsilon = half ? 2 ** -10 : 2 ** -23, step = asked ?? (half ? 0.1 : 0.01);
      const offsets = [step, -step, step / 2, -step / 2];
      const found = await readAll([...exact, ...offsets.map((h) => at(x, u, h))]);
      const [value, gradient, forward, a, b, c, d] = found.map(([value]) => value!) as Seven;
      const far = (a - b) / (2 * step), near = (c - d) / step;
      const difference = (4 * near - far) / 3;
      const largest = Math.max(...[value, a, b, c, d].map(Math.abs));
      const rounding = 8 * epsilon * largest / step;
      const size = Math.max(Math.abs(gradient), Math.abs(difference), Math.abs(forward));
      // Differences cannot tell what is smaller than their rounding; the other two can.
      const agrees = Math.abs(gradient - difference) <= tolerance * size + rounding &&
        Math.abs(gradient - forward) <= tolerance * size + 64 * epsilon * largest;
      const path = which < 0 ? "all" : paths[moved[which]!]!;
      directions.push({ path, gradient, forward, difference, rounding, agrees });
    }
  } finally {
    derivatives.dispose();
    at.dispose();
  }
  const report: CheckReport = { seed, directions, toString: () => table(seed, directions) };
  const wrong = directions.filter(({ agrees }) => !agrees).map(({ path }) => path);
  if (wrong.length > 0) {
    throw new Error(
      `Cannot confirm the gradient of ${name}: derivatives differ in ${wrong.join(", ")}, ` +
        `expected agreement to ${tolerance}\n${report}`,
    );
  }
  return report;
}

/** Whether anything on the way to some nodes is computed in f16, in the bodies of loops and all. */
function usesHalf(roots: readonly Node[]): boolean {
  return topological(roots).some((node) =>
    node.dtype === "f16" ||
    is(node, "loop") && usesHalf(node.attributes.body.results) ||
    is(node, "call") && usesHalf(node.attributes.graph.results)
  );
}

type Seven = [number, number, number, number, number, number, number];

function table(seed: number, directions: readonly CheckedDirection[]): string {
  const columns = ["gradient", "forward", "difference", "rounding"] as const;
  const lines = [columns.map((name) => name.padStart(14)).join("") + `        seed ${seed}`];
  for (const row of directions) {
    const cells = columns.map((name) => row[name].toExponential(4).padStart(14)).join("");
    lines.push(`${cells}  ${row.agrees ? "ok   " : "WRONG"} ${row.path}`);
  }
  return lines.join("\n");
}
