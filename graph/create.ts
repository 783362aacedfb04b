/**
 * Making tensors: from data, which is copied, and from constants and ranges, which need no data.
 * Numbers become f32 and booleans bool unless a dtype is asked for; only arange of whole numbers
 * is i32, being mostly used for indices.
 *
 * @module
 */
import { binary, cast, fill, iota, leaf, where } from "./build.ts";
import { checkNames, describe, type Names } from "./describe.ts";
import { checkDType, type DType, dtypes, round, type TypedArray } from "./dtype.ts";
import { checkShape, type Shape, showShape, sizeOf } from "./shape.ts";
import { Storage } from "./storage.ts";
import { Tensor } from "./tensor.ts";

/** Typed arrays that a tensor can be made from. */
export type ArrayData =
  | TypedArray
  | Float64Array
  | Int8Array
  | Int16Array
  | Uint8Array
  | Uint8ClampedArray
  | Uint16Array;

/** What `tensor()` takes: a value, values in nested arrays, or a typed array. */
export type TensorData = number | boolean | ArrayData | readonly TensorData[];

/** The dtype to make. */
export interface DTypeOptions {
  /** The element type; by default it follows from the values. */
  readonly dtype?: DType;
}

/** Shape and dtype to make. */
export interface TensorOptions extends DTypeOptions {
  /** The shape; by default that of the nested arrays, or one axis for a typed array. */
  readonly shape?: Shape;
}

const MAKE = "make a tensor";
const names: Names<DTypeOptions> = { dtype: true };

function wrong(what: string, expected: string, action: string = MAKE): never {
  throw new TypeError(`Cannot ${action}: ${what}, expected ${expected}`);
}

/** Typed arrays by dtype; small integers are i32, which mix with indices and can be subtracted. */
const arrayTypes: readonly (readonly [new (length: number) => ArrayData, DType])[] = [
  [Float32Array, "f32"],
  [Float64Array, "f32"],
  [Float16Array, "f16"],
  [Int32Array, "i32"],
  [Uint32Array, "u32"],
  [Int8Array, "i32"],
  [Int16Array, "i32"],
  [Uint8Array, "i32"],
  [Uint8ClampedArray, "i32"],
  [Uint16Array, "i32"],
];

/** The values in the array type of the dtype, always a copy. */
function convert(values: ArrayLike<number>, dtype: DType): TypedArray {
  const data = new dtypes[dtype].array(values.length);
  // Typed arrays round to floats by themselves, but wrap around where integers should be held.
  if (dtypes[dtype].float || values.constructor === data.constructor && dtype !== "bool") {
    data.set(values);
    return data;
  }
  for (let i = 0; i < values.length; i++) data[i] = round(dtype, values[i]!);
  return data;
}

interface Nested {
  readonly shape: number[];
  readonly values: number[];
  readonly truth: boolean;
}

/** Values and shape of nested arrays; the first element at each depth says what is expected. */
function unnest(data: unknown): Nested {
  const shape: number[] = [];
  for (let x = data; Array.isArray(x); x = x[0]) shape.push(x.length);
  const values: number[] = [];
  let truth = true;
  const place = (path: readonly number[]): string => "data" + path.map((i) => `[${i}]`).join("");
  const visit = (x: unknown, path: readonly number[]): void => {
    const depth = path.length;
    if (depth < shape.length) {
      if (!Array.isArray(x)) wrong(`${place(path)} is ${named(x)}`, `an array of ${shape[depth]}`);
      if (x.length !== shape[depth]) {
        wrong(
          `${place(path)} has ${x.length} elements`,
          `${shape[depth]}, as ${place(path.map(() => 0))} has`,
        );
      }
      // One array for the path of all elements would be changed while it is in use.
      for (let i = 0; i < x.length; i++) visit(x[i], [...path, i]);
      return;
    }
    if (typeof x !== "number" && typeof x !== "boolean") {
      wrong(`${place(path)} is ${named(x)}`, "a number or a boolean");
    }
    truth &&= typeof x === "boolean";
    values.push(Number(x));
  };
  visit(data, []);
  return { shape, values, truth: truth && values.length > 0 };
}

function named(x: unknown): string {
  if (x instanceof Tensor) return `${x} (stack() joins tensors)`;
  if (typeof x === "number" || typeof x === "boolean") return `the single value ${x}`;
  if (Array.isArray(x)) return `an array of ${x.length}`;
  if (typeof x === "object" && x !== null) return `a ${x.constructor?.name ?? "object"}`;
  return x === null || x === undefined ? String(x) : `a ${typeof x}`;
}

/**
 * A tensor of given values: a number, a boolean, nested arrays, or a typed array, which is copied.
 *
 * Numbers and Float64Array become f32, booleans bool; Float32Array, Float16Array, Int32Array and
 * Uint32Array keep their type; arrays of 8 and 16-bit integers become i32. With a dtype, values are
 * rounded to it as `cast` would. The data stays on the host until the device first needs it.
 *
 * @throws {TypeError} if nested arrays are ragged (the message has the place), values are no
 * numbers, or their number does not fit the shape.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(rg.tensor([[1, 2, 3], [4, 5, 6]]).shape, [2, 3]);
 * assertEquals(rg.tensor([true, false]).dtype, "bool");
 * assertEquals(rg.tensor(new Int32Array(6), { shape: [3, 2] }).toString(), "Tensor i32[3,2]");
 * ```
 */
export function tensor(data: TensorData, options: TensorOptions = {}): Tensor {
  checkNames(options, { shape: true, dtype: true }, MAKE);
  if (options.dtype !== undefined) checkDType(options.dtype, MAKE);
  let values: ArrayLike<number>, shape: Shape, dtype: DType;
  if (ArrayBuffer.isView(data)) {
    const found = arrayTypes.find(([type]) => data instanceof type);
    if (found === undefined) {
      wrong(
        `data is a ${(data as object).constructor.name}`,
        "an array of numbers of 32 bits or less",
      );
    }
    [values, shape, dtype] = [data as ArrayData, [data.length], found[1]];
  } else {
    const nested = unnest(data);
    [values, shape, dtype] = [nested.values, nested.shape, nested.truth ? "bool" : "f32"];
  }
  if (options.shape !== undefined) {
    checkShape(options.shape, MAKE);
    if (sizeOf(options.shape) !== values.length) {
      wrong(
        `${values.length} values for shape ${showShape(options.shape)}`,
        `${sizeOf(options.shape)} values`,
      );
    }
    shape = options.shape;
  }
  dtype = options.dtype ?? dtype;
  const storage = new Storage(dtype, values.length, { at: "host", data: convert(values, dtype) });
  return new Tensor(leaf(storage, [...shape]));
}

/** One value everywhere; a number is f32 and a boolean bool unless a dtype is given. */
export function full(shape: Shape, value: number | boolean, options: DTypeOptions = {}): Tensor {
  if (typeof value !== "number" && typeof value !== "boolean") {
    wrong(`the value is ${describe(value)}`, "a number or a boolean", "fill");
  }
  checkNames(options, names, "fill");
  const dtype = checkDType(options.dtype ?? (typeof value === "boolean" ? "bool" : "f32"), "fill");
  checkShape(shape, "fill");
  return new Tensor(fill(Number(value), [...shape], dtype));
}

/** Zeros, f32 by default. */
export function zeros(shape: Shape, options: DTypeOptions = {}): Tensor {
  return full(shape, 0, options);
}

/** Ones, f32 by default. */
export function ones(shape: Shape, options: DTypeOptions = {}): Tensor {
  return full(shape, 1, options);
}

/** Zeros of the shape, and unless told otherwise the dtype, of another tensor. */
export function zerosLike({ shape, dtype }: Tensor, options: DTypeOptions = {}): Tensor {
  checkNames(options, names, "fill");
  return full(shape, 0, { dtype, ...options });
}

/** Ones of the shape, and unless told otherwise the dtype, of another tensor. */
export function onesLike({ shape, dtype }: Tensor, options: DTypeOptions = {}): Tensor {
  checkNames(options, names, "fill");
  return full(shape, 1, { dtype, ...options });
}

/** start, start + step … as far as stop, which is not reached; NumPy's `arange`. */
export function arange(stop: number, options?: DTypeOptions): Tensor;
/**
 * start, start + step … as far as stop, which is not reached: i32 if all are whole numbers, else
 * f32.
 *
 * @throws {RangeError} if the step is 0 or anything is not finite.
 */
export function arange(start: number, stop: number, options?: DTypeOptions): Tensor;
/**
 * start, start + step … as far as stop, which is not reached: i32 if all are whole numbers, else
 * f32.
 *
 * @throws {RangeError} if the step is 0, anything is not finite, or a whole number is more than the
 * dtype holds.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * assertEquals(await rg.arange(4).array(), [0, 1, 2, 3]);
 * assertEquals(await rg.arange(1, 0, -0.25).array(), [1, 0.75, 0.5, 0.25]);
 * ```
 */
export function arange(start: number, stop: number, step: number, options?: DTypeOptions): Tensor;
export function arange(...parts: (number | DTypeOptions | undefined)[]): Tensor {
  const numbers = parts.filter((x) => typeof x === "number");
  const options = parts.find((x) => x !== undefined && typeof x !== "number") ?? {};
  checkNames(options, names, "arange");
  const { dtype } = options;
  const [start, stop, step] = numbers.length === 1
    ? [0, numbers[0]!, 1]
    : [numbers[0]!, numbers[1]!, numbers[2] ?? 1];
  if (step === 0 || ![start, stop, step].every(Number.isFinite)) {
    throw new RangeError(
      `Cannot arange: from ${start} to ${stop} by ${step}, expected finite numbers and a step`,
    );
  }
  const whole = [start, stop, step].every(Number.isInteger);
  const type = checkDType(dtype ?? (whole ? "i32" : "f32"), "arange");
  const count = Math.max(0, Math.ceil((stop - start) / step)), shape = [count];
  checkShape(shape, "arange");
  // Whole numbers are exact in i32, and in f32 only up to 2^24; beyond i32 a float is all there is.
  const last = start + Math.max(0, count - 1) * step;
  const holds = (dtype: DType): boolean => [start, last].every((x) => round(dtype, x) === x);
  if (whole && dtypes[type].integer && !holds(type)) {
    throw new RangeError(
      `Cannot arange: from ${start} to ${stop} by ${step} in ${type}, expected values from ` +
        `${dtypes[type].lowest} to ${dtypes[type].highest} (or the dtype u32 or f32)`,
    );
  }
  const inner = !whole ? "f32" : dtypes[type].integer ? type : holds("i32") ? "i32" : "f32";
  const index = iota(shape, 0, inner);
  // Steps as long as the whole range wrap around, and so come out right.
  const wrapped = (value: number) => inner === "i32" ? value | 0 : value >>> 0;
  const constant = (value: number) => fill(inner === "f32" ? value : wrapped(value), [], inner);
  const scaled = step === 1 ? index : binary("mul", index, constant(step));
  return new Tensor(cast(start === 0 ? scaled : binary("add", scaled, constant(start)), type));
}

/** Options of `linspace`. */
export interface LinspaceOptions extends DTypeOptions {
  /**
   * Whether `stop` is the last value.
   *
   * @default {true}
   */
  readonly endpoint?: boolean;
}

/**
 * `count` values from start to stop at equal distances, f32 by default.
 *
 * @throws {RangeError} if the count is no whole number, or a bound is not finite.
 */
export function linspace(
  start: number,
  stop: number,
  count: number = 50,
  options: LinspaceOptions = {},
): Tensor {
  checkNames(options, { endpoint: "flag", dtype: true }, "linspace");
  const { endpoint = true, dtype = "f32" } = options;
  checkShape([count], "linspace");
  if (!Number.isFinite(stop - start)) {
    throw new RangeError(`Cannot linspace: from ${start} to ${stop}, expected finite numbers`);
  }
  const intervals = endpoint ? count - 1 : count;
  const index = iota([count], 0, "i32");
  const line = binary(
    "add",
    binary("mul", cast(index, "f32"), intervals > 0 ? (stop - start) / intervals : 0),
    fill(start),
  );
  // The last value is to be stop itself, however the sum before it is rounded.
  const exact = endpoint && count > 1
    ? where(binary("equal", index, count - 1), fill(stop), line)
    : line;
  return new Tensor(cast(exact, checkDType(dtype, "linspace")));
}

/** Zeros with ones on the diagonal, square unless the columns are given; f32 by default. */
export function eye(
  rows: number,
  columns: number = rows,
  options: DTypeOptions = {},
): Tensor {
  checkNames(options, names, "eye");
  const { dtype = "f32" } = options, shape = [rows, columns];
  checkShape(shape, "eye");
  const diagonal = binary("equal", iota(shape, 0, "i32"), iota(shape, 1, "i32"));
  return new Tensor(cast(diagonal, checkDType(dtype, "eye")));
}
