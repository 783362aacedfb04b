/**
 * Kernels by hand: a user's WGSL as a function of tensors. Shapes are declared, buffers are bound by
 * the runtime, and the function is legal wherever others are: in programs, loops and batches, and,
 * with a rule of its own, under differentiation.
 *
 * @module
 */
import { apply, fill } from "./build.ts";
import { checkNames, describe } from "./describe.ts";
import { checkDType } from "./dtype.ts";
import type { Aval } from "./node.ts";
import type { KernelSource } from "./primitive.ts";
import { checkShape, sizeOf } from "./shape.ts";
import { Tensor } from "./tensor.ts";
import { customVjp } from "./transforms/custom.ts";

/** Workgroups in x, y, z; missing ones are 1. */
export type Workgroups = number | readonly [x: number, y?: number, z?: number];

/** A kernel's text, and what the runtime has to know of it. */
export interface KernelOptions {
  /** What it is called in errors, profiles and printed graphs. */
  readonly name: string;
  /**
   * The shader: WGSL with `@compute @workgroup_size(…) fn main(…)`. It does not declare its
   * buffers: each input is `var<storage, read>` under its name, `array<f32>` for f32 and so on
   * (bool is `array<u32>`), the output is `var<storage, read_write> result`. For each there are
   * the constants `x_size`, a u32, and, but for scalars, `x_shape`, an array of u32. Buffers are
   * padded to 16 bytes: bounds are `x_size`, not `arrayLength`. Every element of the result has to
   * be written, and what is written must depend on the inputs alone.
   */
  readonly wgsl: string;
  /** Names of the inputs, in the order in which they are passed. */
  readonly inputs: readonly string[];
  /** Shape and dtype of the result, from those of the inputs. */
  readonly output: (...inputs: Aval[]) => Aval;
  /**
   * How many workgroups to start; at most 65 535 along an axis.
   *
   * @default {as many as the result has elements, divided by the text's workgroup size}
   */
  readonly workgroups?: (output: Aval, ...inputs: Aval[]) => Workgroups;
  /** Buffers that are arrays of `vec4` instead: names of inputs, or `result`. @default {[]} */
  readonly vectors?: readonly string[];
  /**
   * Cotangents of the inputs from that of the result, the result, and the inputs; null for zero.
   * Without it differentiation is an error. See {@linkcode customVjp}.
   */
  readonly vjp?: (
    cotangent: Tensor,
    result: Tensor,
    ...inputs: Tensor[]
  ) => readonly (Tensor | null | undefined)[];
}

const MOST_GROUPS = 65_535;
const identifier = /^[A-Za-z][A-Za-z0-9_]*$/;
const RESULT = "result";

/** What the compiler reads. */
function withoutComments(wgsl: string): string {
  return wgsl.replace(/\/\*[\s\S]*?\*\//g, " ").replace(/\/\/.*$/gm, " ");
}

function check(options: KernelOptions): void {
  checkNames(options, {
    name: true,
    wgsl: true,
    inputs: true,
    output: true,
    workgroups: true,
    vectors: true,
    vjp: true,
  }, "make a kernel");
  const { name, wgsl, inputs, vectors = [] } = options;
  const fail = (is: string, expected: string): never => {
    throw new TypeError(`Cannot make kernel ${name}: ${is}, expected ${expected}`);
  };
  if (typeof name !== "string" || !identifier.test(name)) {
    throw new TypeError(`Cannot make a kernel: the name is ${describe(name)}, expected a word`);
  }
  for (const key of ["output", "workgroups", "vjp"] as const) {
    const f: unknown = options[key];
    if (typeof f === "function" || (f === undefined && key !== "output")) continue;
    fail(`${key} is ${describe(f)}`, "a function");
  }
  if (typeof wgsl !== "string") fail(`its text is ${describe(wgsl)}`, "WGSL");
  if (!Array.isArray(inputs)) fail(`inputs are ${describe(inputs)}`, "an array of names");
  if (!Array.isArray(vectors)) fail(`vectors are ${describe(vectors)}`, "an array of names");
  const labels = [...inputs, RESULT];
  for (const label of labels) {
    if (typeof label !== "string" || !identifier.test(label)) {
      fail(`an input is called ${describe(label)}`, "a word");
    }
  }
  const twice = labels.find((label, i) => labels.indexOf(label) !== i);
  if (twice !== undefined) {
    fail(`${twice} is the name of two buffers`, `different ones (the output is "${RESULT}")`);
  }
  const taken = ["main", ...labels.flatMap((label) => [`${label}_size`, `${label}_shape`])];
  const double = labels.find((label) => taken.includes(label));
  if (double !== undefined) fail(`an input is called ${double}`, "a word that means nothing else");
  const stray = vectors.find((label) => !labels.includes(label));
  if (stray !== undefined) fail(`vectors has ${stray}`, `names among ${labels.join(", ")}`);
  const text = withoutComments(wgsl);
  if (!/@compute\b/.test(text) || !/\bfn\s+main\s*\(/.test(text)) {
    fail("its text has no entry point", "@compute @workgroup_size(…) fn main(…)");
  }
  if (/@group\b|@binding\b|\bvar\s*<\s*(storage|uniform)\b/.test(text)) {
    fail("its text declares buffers", `none (they are declared as ${labels.join(", ")})`);
  }
  const idle = labels.find((label) => !new RegExp(`\\b${label}\\b`).test(text));
  if (idle !== undefined) fail(`its text never uses ${idle}`, "every buffer to be used");
}

/** Workgroups for one invocation an element, by the size of a workgroup that the text states. */
function groupsFor(name: string, wgsl: string, size: number): number {
  const [, sizes] = /@workgroup_size\s*\(([^)]*)\)/.exec(withoutComments(wgsl)) ?? [];
  const factors = (sizes ?? "").split(",").filter((part) => part.trim() !== "")
    .map((part) => Number(part.trim().replace(/[ui]$/, "")));
  if (factors.length === 0 || !factors.every((n) => Number.isInteger(n) && n > 0)) {
    throw new TypeError(
      `Cannot run kernel ${name}: its workgroup size is ${sizes}, expected plain numbers or the ` +
        "option workgroups",
    );
  }
  return Math.ceil(size / factors.reduce((a, b) => a * b));
}

/**
 * A function of tensors computed by a shader of one's own, in one dispatch. It is checked when it
 * is made, and its operands when it is called; what the driver says of its text comes with the
 * line in that text.
 *
 * @throws {TypeError} If the text has no entry point, declares buffers, or does not use one; when
 * called, if operands are not as many tensors as there are inputs, or empty.
 * @throws {RangeError} When called, for more than 65 535 workgroups along an axis.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const cube = rg.kernel({
 *   name: "cube",
 *   inputs: ["x"],
 *   output: (x) => x,
 *   wgsl: `
 *     @compute @workgroup_size(64)
 *     fn main(@builtin(global_invocation_id) id: vec3<u32>) {
 *       let i = id.x;
 *       if (i >= x_size) { return; }
 *       result[i] = x[i] * x[i] * x[i];
 *     }`,
 *   vjp: (g, _y, x) => [g.mul(x!.square()).mul(3)],
 * });
 * const x = rg.tensor([1, 2, 3]);
 * assertEquals(await cube(x).array(), [1, 8, 27]);
 * assertEquals(await rg.grad((x: rg.Tensor) => cube(x).sum())(x).array(), [3, 12, 27]);
 * ```
 */
export function kernel(options: KernelOptions): (...inputs: Tensor[]) => Tensor {
  check(options);
  const { name, wgsl, inputs, output, workgroups, vjp } = options;
  const source: KernelSource = {
    name,
    wgsl,
    inputs: [...inputs],
    vectors: [...options.vectors ?? []],
  };
  const run = (...given: Tensor[]): Tensor => {
    const nodes = given.map((x) => x.node);
    const avals = nodes.map(({ shape, dtype }): Aval => ({ shape, dtype }));
    const result: unknown = output(...avals);
    if (typeof result !== "object" || result === null) {
      throw new TypeError(
        `Cannot run kernel ${name}: its output is ${describe(result)}, expected { shape, dtype }`,
      );
    }
    const { shape, dtype } = result as Aval;
    checkShape(shape, `run kernel ${name}`);
    checkDType(dtype, `run kernel ${name}`);
    const size = sizeOf(shape);
    if (size === 0) return new Tensor(fill(0, shape, dtype));
    const empty = nodes.findIndex((x) => sizeOf(x.shape) === 0);
    if (empty >= 0) {
      throw new TypeError(
        `Cannot run kernel ${name}: ${inputs[empty]} is ${given[empty]}, expected some elements`,
      );
    }
    const asked = workgroups?.({ shape, dtype }, ...avals) ?? groupsFor(name, wgsl, size);
    const [x = 1, y = 1, z = 1] = typeof asked === "number" ? [asked] : asked;
    for (const count of [x, y, z]) {
      if (Number.isSafeInteger(count) && count > 0 && count <= MOST_GROUPS) continue;
      throw new RangeError(
        `Cannot run kernel ${name}: workgroups are ${x}, ${y}, ${z}, expected integers from 1 to ` +
          `${MOST_GROUPS} each`,
      );
    }
    return new Tensor(apply("kernel", nodes, { source, shape, dtype, workgroups: [x, y, z] }));
  };
  Object.defineProperty(run, "name", { value: name });
  const known = vjp === undefined ? run : customVjp<Tensor[], Tensor>(
    run,
    (g, result, ...given) => {
      const pulled: unknown = vjp(g, result, ...given);
      if (Array.isArray(pulled)) return pulled;
      throw new TypeError(
        `Cannot pull back through ${name}: the rule returned ${
          describe(pulled)
        }, expected an array with a cotangent for each input`,
      );
    },
  );
  const called = (...given: Tensor[]): Tensor => {
    const wrong = given.findIndex((x) => !(x instanceof Tensor));
    if (given.length !== inputs.length || wrong >= 0) {
      const what = wrong >= 0
        ? `${inputs[wrong] ?? "one"} is ${describe(given[wrong])}`
        : `there are ${given.length} operands`;
      throw new TypeError(
        `Cannot run kernel ${name}: ${what}, expected ${inputs.length} tensors (${
          inputs.join(", ")
        })`,
      );
    }
    return known(...given);
  };
  Object.defineProperty(called, "name", { value: name });
  return called;
}
