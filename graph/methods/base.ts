/**
 * What every tensor has before it can compute anything: its node, reading, and disposal. A tensor
 * records an expression; when a value is asked for, the executor computes it and the expression is
 * replaced by a leaf over the data, so that it is computed once.
 *
 * The methods of {@linkcode Tensor} are spread over classes of one chain, by subject: this one,
 * then element-wise, movement, reductions. Only the last is ever made.
 *
 * @module
 */
import { leaf, type Operand } from "../build.ts";
import { describe } from "../describe.ts";
import type { DType, TypedArray } from "../dtype.ts";
import { executor } from "../executor.ts";
import { is, type Node, showAval } from "../node.ts";
import { expression } from "../print.ts";
import { insideTransform } from "../scope.ts";
import { type Shape, showShape, sizeOf } from "../shape.ts";
import type { Storage } from "../storage.ts";
import type { Tensor } from "../tensor.ts";

/** An operand of a method: a tensor, or a number, which takes the dtype of the tensors. */
export type TensorLike = Tensor | number;

/** Values nested as deep as a tensor has axes. */
export type NestedArray = number | boolean | NestedArray[];

/** The node of an operand; numbers stay numbers. */
export function operandOf(x: TensorLike, action?: string): Operand {
  return typeof x === "number" ? x : nodeOf(x, action, "a tensor or a number");
}

/**
 * The node of a tensor; `action` is what the user called, for the error.
 *
 * @throws {TypeError} if it is none.
 */
export function nodeOf(
  x: TensorBase,
  action: string = "compute",
  expected: string = "a tensor",
): Node {
  if (x instanceof TensorBase) return x.node;
  throw new TypeError(`Cannot ${action}: an operand is ${describe(x)}, expected ${expected}`);
}

const READ = "read a value";

/** The part of a tensor that has nothing to do with arithmetic. */
export abstract class TensorBase {
  #node: Node | undefined;
  /** False for a second handle on a leaf: disposing of it must not take the data from the first. */
  #owns: boolean;
  /** Sizes of the axes; `[]` is a scalar. */
  readonly shape: Shape;
  /** The element type. */
  readonly dtype: DType;

  /** A tensor over a node of the graph; see `tensor()` for making one from data. */
  constructor(node: Node, owns = true) {
    this.#node = node;
    this.#owns = owns;
    this.shape = node.shape;
    this.dtype = node.dtype;
  }

  /**
   * The result of a method on this tensor.
   *
   * @internal
   */
  protected abstract wrap(node: Node): Tensor;

  /** Number of elements. */
  get size(): number {
    return sizeOf(this.shape);
  }

  /** Number of axes. */
  get rank(): number {
    return this.shape.length;
  }

  /**
   * The expression, or a leaf once it is computed.
   *
   * @throws {Error} after `dispose()`.
   *
   * @internal
   */
  get node(): Node {
    if (this.#node === undefined) {
      throw new Error(`Cannot use a tensor: ${this} was disposed of, expected one that was not`);
    }
    return this.#node;
  }

  /**
   * Starts computing the tensors that are still expressions and makes them leaves; returns at
   * once. What `realize()` and reading are made of.
   */
  static settle(tensors: readonly TensorBase[], action: string = READ): void {
    const pending = TensorBase.#readable(tensors, action);
    if (pending.length === 0) return;
    const nodes = [...new Set(pending.map((x) => x.node))];
    const storages = executor(action).realize(nodes);
    const unclaimed = new Map(nodes.map((node, i) => [node, leaf(storages[i]!, node.shape)]));
    const leaves = new Map(unclaimed);
    for (const x of pending) {
      const node = x.node;
      x.#owns = unclaimed.delete(node);
      x.#node = leaves.get(node)!;
    }
  }

  /** Those that have to be computed; throws where that is not possible now. */
  static #readable(tensors: readonly TensorBase[], action: string): TensorBase[] {
    const pending = [...new Set(tensors)].filter((x) => !is(x.node, "leaf"));
    const traced = pending.find((x) => x.node.traced);
    if (traced !== undefined) {
      throw new Error(
        `Cannot ${action}: ${
          written(traced.node)
        } belongs to a function that compile(), vmap() or ` +
          `a loop traces, expected to read it from what they return`,
      );
    }
    if (pending.length > 0 && insideTransform()) {
      // Reading would cut the value off from what it was computed from, and lose its derivative.
      throw new Error(
        `Cannot ${action}: ${written(pending[0]!.node)} is part of a function being ` +
          `differentiated or batched, expected to read it from what that function returns`,
      );
    }
    return pending;
  }

  /**
   * The values in row-major order: a Float32Array, Float16Array, Int32Array or Uint32Array by
   * dtype; bool is a Uint32Array of 0 and 1. The array is a copy.
   *
   * Each wait for the device costs about 11 ms in Deno; `readAll()` reads many tensors in one.
   *
   * @throws {Error} while the tensor is being traced, or without a device.
   */
  async data(): Promise<TypedArray> {
    const [data] = await readAll([this]);
    return data!;
  }

  /**
   * The values as arrays nested by axes, numbers or booleans; a scalar is the value itself.
   *
   * @throws {Error} while the tensor is being traced, or without a device.
   */
  async array(): Promise<NestedArray> {
    return nested(await this.data(), this.shape, this.dtype === "bool");
  }

  /**
   * The value of a tensor with one element; bool is 0 or 1.
   *
   * @throws {TypeError} if there is not exactly one element.
   * @throws {Error} while the tensor is being traced, or without a device.
   */
  async item(): Promise<number> {
    TensorBase.#readable([this], READ);
    if (this.size !== 1) {
      throw new TypeError(
        `Cannot read an item: the shape is ${showShape(this.shape)}, expected one element`,
      );
    }
    return (await this.data())[0]!;
  }

  /**
   * Gives the memory back and makes the tensor unusable. Never necessary: the collector does the
   * same later. It happens now, unless expressions were made of the tensor: those that nobody has
   * read yet may still need the data, which then goes when they do. Nothing happens to a tensor
   * that is being traced, or that is only another handle on someone's data (`x.reshape(x.shape)`).
   */
  dispose(): void {
    const node = this.#node;
    if (node === undefined || node.traced) return;
    this.#node = undefined;
    if (is(node, "leaf") && this.#owns) {
      const { storage } = node.attributes;
      if (storage.used) return;
      const reason = `${this} was disposed of`;
      if (storage.state.at === "device") executor("dispose").release(storage, reason);
      else storage.state = { at: "gone", reason };
    }
  }

  /** {@linkcode TensorBase.dispose}, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  /** `Tensor f32[2,3]`. */
  toString(): string {
    return `Tensor ${showAval(this)}`;
  }

  /** Catches `x + 1` and `x < y`, which JavaScript cannot mean. */
  [Symbol.toPrimitive](hint: string): string {
    if (hint === "string") return this.toString();
    throw new TypeError(
      `Cannot use ${this} with an operator: it is no number, ` +
        `expected a method (x.add(y), x.less(y)) or \`await x.item()\``,
    );
  }

  /** What `console.log` shows. */
  [Symbol.for("Deno.customInspect")](): string {
    return this.toString();
  }
}

/** An expression in few words and where it was written, for errors. */
function written(node: Node): string {
  const line = node.source?.line;
  return expression(node) + (line === undefined ? "" : ` (${line})`);
}

/**
 * The values of many tensors, in one wait for the device.
 *
 * @throws {Error} while a tensor is being traced, or without a device.
 */
export async function readAll(tensors: readonly TensorBase[]): Promise<TypedArray[]> {
  TensorBase.settle(tensors);
  const storages: Storage[] = tensors.map(({ node }) => {
    if (!is(node, "leaf")) throw new Error(`Cannot ${READ}: it was not computed, expected a leaf`);
    return node.attributes.storage;
  });
  for (const { state } of storages) {
    if (state.at === "gone") {
      throw new Error(`Cannot ${READ}: ${state.reason}, expected a tensor that still has its data`);
    }
  }
  // Data that never left the host needs no device.
  const results: (TypedArray | undefined)[] = storages.map(({ state }) =>
    state.at === "host" ? state.data.slice() : undefined
  );
  const distant = [...new Set(storages.filter((_, i) => results[i] === undefined))];
  if (distant.length > 0) {
    const read = await executor(READ).read(distant);
    storages.forEach((storage, i) => {
      const data = read[distant.indexOf(storage)];
      if (data === undefined) return;
      // Two tensors on one storage get an array each.
      results[i] = storages.indexOf(storage) === i ? data : data.slice();
    });
  }
  return results as TypedArray[];
}

function nested(data: TypedArray, shape: Shape, truth: boolean): NestedArray {
  let offset = 0;
  const build = (axis: number): NestedArray => {
    if (axis === shape.length) {
      const value = data[offset++]!;
      return truth ? value !== 0 : value;
    }
    return Array.from({ length: shape[axis]! }, () => build(axis + 1));
  };
  return build(0);
}
