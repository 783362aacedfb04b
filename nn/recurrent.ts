/**
 * Recurrent nets: LSTM (Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000)
 * and GRU (Cho et al. 2014, in the form of cuDNN) as cells, and the loop that runs a cell along a
 * sequence. The inputs of all steps are multiplied by their weights at once, before the loop; the
 * loop is recorded once, whatever the length.
 *
 * @module
 */
import { concatenate } from "../graph/operations.ts";
import { full, zeros } from "../graph/create.ts";
import { checkNames, describe } from "../graph/describe.ts";
import type { DType } from "../graph/dtype.ts";
import { foldIn } from "../graph/random.ts";
import { scan } from "../graph/scan.ts";
import { sameShape, type Shape, showShape } from "../graph/shape.ts";
import type { Tensor } from "../graph/tensor.ts";
import { named, type Tree } from "../optim/tree.ts";
import { glorotUniform, type Initializer, orthogonal } from "./initializers.ts";
import { checkApply, expectFeatures, expectRecord, expectSize, expectTensors } from "./layer.ts";
import type { ApplyOptions, Layer } from "./layer.ts";

/** Options for {@linkcode lstmCell} and {@linkcode gruCell}. */
export interface CellOptions {
  /** Makes the weights of the input, for each gate. @default {glorotUniform} */
  inputInit?: Initializer;
  /** Makes the weights of the state, for each gate. @default {orthogonal()} */
  hiddenInit?: Initializer;
}

/** One step of a recurrent net. The state is a record of tensors [...batch, hidden]. */
export interface Cell<P extends Tree = Tree, S extends Tree = Tree> {
  /** What errors call it, sizes included. */
  readonly name: string;
  /** Features of the input. */
  readonly inputs: number;
  /** Features of the result. */
  readonly hidden: number;
  /** Fresh parameters. */
  init(key: Tensor): P;
  /**
   * The state before the first step. The dtype is that of the projected inputs; a cell that sums in
   * f32, say, need not follow it. Whoever steps by hand names it, too: from a state in f32, all that
   * follows of inputs in f16 is computed in f32.
   *
   * @param dtype The dtype. @default {"f32"}
   */
  initState(batch: Shape, dtype?: DType): S;
  /** What the steps need of the inputs, for any number of them at once: [..., inputs]. */
  project(params: Tree, x: Tensor): Tensor;
  /** The state after a step, from projected inputs, and the result. */
  step(params: Tree, state: Tree, projected: Tensor): [state: S, y: Tensor];
}

/** Parameters of {@linkcode lstmCell}. */
export type LstmParams = {
  /** [inputs, 4·hidden]: input gate, forget gate, candidate, output gate. */
  readonly input: Tensor;
  /** [hidden, 4·hidden]. */
  readonly hidden: Tensor;
  /** [4·hidden]; 1 for the forget gate at first (Jozefowicz et al. 2015). */
  readonly bias: Tensor;
};

/** State of {@linkcode lstmCell}. */
export type LstmState = {
  /** What is handed on and given out. */
  readonly hidden: Tensor;
  /** What is remembered. */
  readonly cell: Tensor;
};

/** Weights of several gates side by side. */
function gates(count: number, init: Initializer, key: Tensor, inputs: number, hidden: number) {
  return concatenate(
    Array.from({ length: count }, (_, i) => init(foldIn(key, i), [inputs, hidden])),
    1,
  );
}

/** Parts of equal size along the last axis. */
function parts(x: Tensor, count: number): Tensor[] {
  return x.split(count, -1);
}

/**
 * One step of an LSTM: gates i, f, o = sigmoid, candidate g = tanh of x·Wx + h·Wh + b; c ← f·c +
 * i·g; h ← o·tanh(c).
 *
 * @throws {RangeError} If a size is not a positive integer.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const cell = rg.nn.lstmCell(3, 8);
 * const params = cell.init(rg.random.key(0));
 * const [state, y] = cell.step(params, cell.initState([5]), cell.project(params, rg.ones([5, 3])));
 * assertEquals([y.shape, state.cell.shape], [[5, 8], [5, 8]]);
 * ```
 */
export function lstmCell(
  inputs: number,
  hidden: number,
  options: CellOptions = {},
): Cell<LstmParams, LstmState> {
  const name = `lstmCell(${inputs}, ${hidden})`;
  const { inputInit = glorotUniform, hiddenInit = orthogonal() } = options;
  checkNames(options, { inputInit: true, hiddenInit: true }, `make ${name}`);
  expectSize(name, "the number of inputs", inputs);
  expectSize(name, "the hidden size", hidden);
  const wide = 4 * hidden;
  const check = (params: Tree) =>
    expectTensors(name, "parameter", params, {
      input: [inputs, wide],
      hidden: [hidden, wide],
      bias: [wide],
    });
  return {
    name,
    inputs,
    hidden,
    init: (key) => ({
      input: gates(4, inputInit, foldIn(key, 0), inputs, hidden),
      hidden: gates(4, hiddenInit, foldIn(key, 1), hidden, hidden),
      bias: full([hidden], 1).pad([[hidden, 2 * hidden]]),
    }),
    initState: (batch, dtype = "f32") => ({
      hidden: zeros([...batch, hidden], { dtype }),
      cell: zeros([...batch, hidden], { dtype }),
    }),
    project(params, x) {
      const { input, bias } = check(params);
      expectFeatures(name, x, inputs);
      return x.matmul(input).add(bias);
    },
    step(params, state, projected) {
      const { hidden: weight } = check(params);
      const { hidden: h, cell: c } = expectRecord<"hidden" | "cell", Tensor>(
        name,
        "state",
        state,
        ["hidden", "cell"],
      );
      const [i, f, g, o] = parts(projected.add(h.matmul(weight)), 4) as [
        Tensor,
        Tensor,
        Tensor,
        Tensor,
      ];
      const cell = f.sigmoid().mul(c).add(i.sigmoid().mul(g.tanh()));
      const y = o.sigmoid().mul(cell.tanh());
      return [{ hidden: y, cell }, y];
    },
  };
}

/** Parameters of {@linkcode gruCell}. */
export type GruParams = {
  /** [inputs, 3·hidden]: reset gate, update gate, candidate. */
  readonly input: Tensor;
  /** [hidden, 3·hidden]. */
  readonly hidden: Tensor;
  /** Of the inputs, [3·hidden]. */
  readonly bias: Tensor;
  /** Of the state's part of the candidate, inside the reset gate, [hidden]. */
  readonly candidateBias: Tensor;
};

/** State of {@linkcode gruCell}. */
export type GruState = {
  /** What is handed on and given out. */
  readonly hidden: Tensor;
};

/**
 * One step of a GRU: gates r, z = sigmoid(x·Wx + h·Wh + b); n = tanh(x·Wx + b + r·(h·Wh + b'));
 * h ← (1 - z)·n + z·h.
 *
 * @throws {RangeError} If a size is not a positive integer.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const cell = rg.nn.gruCell(3, 8);
 * const params = cell.init(rg.random.key(0));
 * const [, y] = cell.step(params, cell.initState([5]), cell.project(params, rg.ones([5, 3])));
 * assertEquals(y.shape, [5, 8]);
 * ```
 */
export function gruCell(
  inputs: number,
  hidden: number,
  options: CellOptions = {},
): Cell<GruParams, GruState> {
  const name = `gruCell(${inputs}, ${hidden})`;
  const { inputInit = glorotUniform, hiddenInit = orthogonal() } = options;
  checkNames(options, { inputInit: true, hiddenInit: true }, `make ${name}`);
  expectSize(name, "the number of inputs", inputs);
  expectSize(name, "the hidden size", hidden);
  const wide = 3 * hidden;
  const check = (params: Tree) =>
    expectTensors(name, "parameter", params, {
      input: [inputs, wide],
      hidden: [hidden, wide],
      bias: [wide],
      candidateBias: [hidden],
    });
  return {
    name,
    inputs,
    hidden,
    init: (key) => ({
      input: gates(3, inputInit, foldIn(key, 0), inputs, hidden),
      hidden: gates(3, hiddenInit, foldIn(key, 1), hidden, hidden),
      bias: zeros([wide]),
      candidateBias: zeros([hidden]),
    }),
    initState: (batch, dtype = "f32") => ({ hidden: zeros([...batch, hidden], { dtype }) }),
    project(params, x) {
      const { input, bias } = check(params);
      expectFeatures(name, x, inputs);
      return x.matmul(input).add(bias);
    },
    step(params, state, projected) {
      const { hidden: weight, candidateBias } = check(params);
      const { hidden: h } = expectRecord<"hidden", Tensor>(name, "state", state, ["hidden"]);
      const [xr, xz, xn] = parts(projected, 3) as [Tensor, Tensor, Tensor];
      const [hr, hz, hn] = parts(h.matmul(weight), 3) as [Tensor, Tensor, Tensor];
      const r = xr.add(hr).sigmoid(), z = xz.add(hz).sigmoid();
      const n = xn.add(r.mul(hn.add(candidateBias))).tanh();
      const y = n.add(z.mul(h.sub(n)));
      return [{ hidden: y }, y];
    },
  };
}

/** Options for {@linkcode recurrent}. */
export interface RecurrentOptions {
  /** From the last step to the first; results stay at the places of their inputs. @default {false} */
  reverse?: boolean;
}

/** How a recurrent layer is applied. */
export interface RecurrentApplyOptions<S extends Tree = Tree> extends ApplyOptions {
  /** The state before the first step. @default {initState} */
  state?: S;
}

/** A cell run along sequences. */
export interface Recurrent<P extends Tree = Tree, S extends Tree = Tree> extends Layer<P> {
  /** The results of all steps: [...batch, T, inputs] to [...batch, T, hidden]. */
  apply(params: Tree, x: Tensor, options?: RecurrentApplyOptions<S>): Tensor;
  /** The state after the last step besides. */
  run(params: Tree, x: Tensor, options?: RecurrentApplyOptions<S>): [state: S, ys: Tensor];
}

/**
 * A cell run along sequences, as a loop: [...batch, T, inputs] to [...batch, T, hidden].
 *
 * @throws {TypeError} If that is no cell.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const { linear, lstmCell, recurrent, sequential } = rg.nn;
 * const model = sequential([recurrent(lstmCell(3, 16)), linear(16, 2)]);
 * const params = model.init(rg.random.key(0));
 * assertEquals(model.apply(params, rg.ones([4, 10, 3])).shape, [4, 10, 2]);
 * ```
 */
export function recurrent<P extends Tree, S extends Tree>(
  cell: Cell<P, S>,
  options: RecurrentOptions = {},
): Recurrent<P, S> {
  if (typeof cell?.project !== "function" || typeof cell.step !== "function") {
    throw new TypeError(
      `Cannot make recurrent: the cell is ${describe(cell)}, expected one such as lstmCell(4, 8)`,
    );
  }
  const name = `recurrent(${cell.name})`, { reverse = false } = options;
  checkNames(options, { reverse: "flag" }, `make ${name}`);
  const run = (
    params: Tree,
    x: Tensor,
    options: RecurrentApplyOptions<S> = {},
  ): [S, Tensor] => {
    checkApply(name, options);
    const { state } = options;
    if (x.rank < 2) {
      throw new TypeError(
        `Cannot apply ${name}: the input is ${x}, expected [...batch, T, ${cell.inputs}]`,
      );
    }
    const inputs = cell.project(params, x).moveAxis(-2, 0);
    // Zeros in f32 would have all that follows computed so.
    const start = cell.initState(x.shape.slice(0, -2), inputs.dtype);
    if (state !== undefined) expectLike(name, state, start);
    const [last, ys] = scan(
      (state: S, projected: Tensor) => cell.step(params, state, projected),
      state ?? start,
      inputs,
      { reverse, name },
    );
    return [last, ys.moveAxis(0, -2)];
  };
  return {
    name,
    init: (key) => cell.init(key),
    run,
    apply: (params, x, options) => run(params, x, options)[1],
  };
}

/** Throws unless a state has the tensors of another. */
function expectLike(name: string, state: Tree, wanted: Tree): void {
  const given = named(state, "state"), own = named(wanted, "state");
  own.paths.forEach((path, i) => {
    const x = given.leaves[given.paths.indexOf(path)], { shape } = own.leaves[i]!;
    if (x !== undefined && sameShape(x.shape, shape)) return;
    throw new TypeError(
      `Cannot apply ${name}: ${path} of the state is ${x}, expected a tensor of shape ${
        showShape(shape)
      }`,
    );
  });
}
