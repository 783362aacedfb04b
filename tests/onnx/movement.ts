/**
 * Operators of ONNX that move elements: shapes, indexing, writing by index.
 *
 * @module
 */
import { arange, full, tensor } from "../../graph/create.ts";
import { concatenate, where } from "../../graph/operations.ts";
import type { Tensor } from "../../graph/tensor.ts";
import type { Call, Operator } from "./call.ts";
import { elementType, fromProto, Unsupported, type Value, valueOf } from "./values.ts";

const whole = (data: readonly number[]): Tensor => tensor(Int32Array.from(data));
const axisOf = (axis: number, rank: number): number => axis < 0 ? axis + rank : axis;
const product = (sizes: readonly number[]): number => sizes.reduce((n, k) => n * k, 1);

function reshape(call: Call): Value {
  const x = call.x(), keepZero = call.int("allowzero", 0) === 1;
  const shape = call.known(1)!.map((n, i) => n === 0 && !keepZero ? x.shape[i]! : n);
  return call.like(x.reshape(shape));
}

function slice(call: Call): Value {
  const x = call.x(), starts = call.known(1)!, ends = call.known(2)!;
  const axes = call.known(3) ?? starts.map((_, i) => i), steps = call.known(4);
  const specs: ([number | null, number | null, number] | null)[] = x.shape.map(() => null);
  axes.forEach((given, i) => {
    const axis = axisOf(given, x.rank), n = x.shape[axis]!, step = steps?.[i] ?? 1;
    // Python's rules, with an end far below 0 for "to the very first".
    const end = ends[i]!, stop = step < 0 && end < -n ? null : end;
    specs[axis] = [starts[i]!, stop, step];
  });
  return call.like(x.slice(...specs));
}

/** Places that padding reads from: reflected at the edge, or the edge itself. */
function padded(call: Call): Value {
  let x = call.x();
  const widths = call.known(1)!, mode = call.text("mode", "constant"), { rank } = x;
  if (mode === "constant") {
    const [value = 0] = call.known(2) ?? [];
    const pairs = x.shape.map((_, i): [number, number] => [widths[i]!, widths[i + rank]!]);
    return call.like(x.pad(pairs, value));
  }
  if (mode !== "reflect" && mode !== "edge") throw new Unsupported(`padding by ${mode}`);
  x.shape.forEach((n, axis) => {
    const before = widths[axis]!, length = before + n + widths[axis + rank]!;
    const places = Array.from({ length }, (_, i) => {
      const at = i - before;
      if (mode === "edge") return Math.min(n - 1, Math.max(0, at));
      const period = Math.max(1, 2 * (n - 1)), folded = ((at % period) + period) % period;
      return Math.min(folded, period - folded);
    });
    x = x.take(whole(places), axis);
  });
  return call.like(x);
}

function split(call: Call): Value[] {
  const x = call.x(), axis = axisOf(call.int("axis", 0), x.rank), n = x.shape[axis]!;
  const count = call.outputs;
  const sizes = call.known(1) ?? Array.from({ length: count }, () => n / count);
  const cuts = sizes.slice(0, -1).map((_, i) => sizes.slice(0, i + 1).reduce((a, b) => a + b, 0));
  return x.split(cuts, axis).map((part) => call.like(part));
}

function gatherND(call: Call): Value {
  const x = call.x(), batch = call.int("batch_dims", 0);
  let index = call.x(1);
  const depth = index.shape.at(-1)!, lead = x.shape.slice(0, batch);
  const parts = Array.from({ length: depth }, (_, i) => {
    const part = index.slice(...index.shape.slice(0, -1).map(() => null), i);
    return part;
  });
  index = parts[0]!;
  // Positions in the batch are indices like any other.
  const rows = lead.map((n, i) =>
    arange(n).reshape(index.shape.map((_, axis) => axis === i ? n : 1))
  );
  return call.like(x.index(...rows, ...parts));
}

/** Rows by their place in the first axes, as one axis. */
function scatterND(call: Call): Value {
  const x = call.x(), index = call.x(1), updates = call.x(2);
  const depth = index.shape.at(-1)!, lead = x.shape.slice(0, depth), row = x.shape.slice(depth);
  let position: Tensor | undefined;
  for (let i = 0; i < depth; i++) {
    const part = index.slice(...index.shape.slice(0, -1).map(() => null), i);
    const at = where(part.less(0), part.add(lead[i]!), part);
    position = position === undefined ? at : position.mul(lead[i]!).add(at);
  }
  const flat = x.reshape([product(lead), ...row]);
  const list = updates.reshape([position!.size, ...row]);
  return call.like(flat.scatter(position!.flatten(), list, modeOf(call)).reshape(x.shape));
}

function modeOf(call: Call): "set" | "add" | "mul" | "min" | "max" {
  const mode = call.text("reduction", "none");
  return mode === "none" ? "set" : mode as "add";
}

const scatterElements: Operator = (call) =>
  call.like(call.x().putAlongAxis(call.x(1), call.x(2), call.int("axis", 0), modeOf(call)));

function oneHot(call: Call): Value {
  const [depth] = call.known(1)!, index = call.x(0).cast("i32"), axis = call.int("axis", -1);
  const hot = where(index.less(0), index.add(depth!), index).oneHot(depth!, "bool");
  const [off, on] = [0, 1].map((i) => call.x(2).slice(i));
  return call.like(where(hot.moveAxis(-1, axis), on!, off!), 2);
}

function reverseSequence(call: Call): Value {
  const x = call.x(), batch = call.int("batch_axis", 1), time = call.int("time_axis", 0);
  const lengths = call.x(1).reshape(x.shape.map((_, i) => i === batch ? x.shape[batch]! : 1));
  const n = x.shape[time]!;
  const at = arange(n).reshape(x.shape.map((_, i) => i === time ? n : 1));
  const place = where(at.less(lengths), lengths.sub(at).sub(1), at);
  return call.like(x.takeAlongAxis(place.broadcastTo(x.shape), time));
}

function depthToSpace(call: Call): Value {
  const x = call.x(), size = call.int("blocksize", 1);
  const [b, c, h, w] = x.shape as [number, number, number, number];
  const depth = c / size ** 2, columns = call.text("mode", "DCR") === "CRD";
  const cut = columns
    ? x.reshape(b, depth, size, size, h, w).transpose([0, 1, 4, 2, 5, 3])
    : x.reshape(b, size, size, depth, h, w).transpose([0, 3, 4, 1, 5, 2]);
  return call.like(cut.reshape(b, depth, h * size, w * size));
}

function spaceToDepth(call: Call): Value {
  const x = call.x(), size = call.int("blocksize", 1);
  const [b, c, h, w] = x.shape as [number, number, number, number];
  const cut = x.reshape(b, c, h / size, size, w / size, size).transpose([0, 3, 5, 1, 2, 4]);
  return call.like(cut.reshape(b, c * size ** 2, h / size, w / size));
}

function shape(call: Call): Value {
  const sizes = call.x().shape, { length } = sizes;
  const hold = (at: number): number => Math.min(length, Math.max(0, axisOf(at, length)));
  return valueOf(whole(sizes.slice(hold(call.int("start", 0)), hold(call.int("end", length)))), 7);
}

/** Movement by name. */
export const movement: { readonly [name: string]: Operator } = {
  Reshape: reshape,
  Flatten: (call) => {
    const x = call.x(), axis = axisOf(call.int("axis", 1), x.rank);
    return call.like(x.reshape(product(x.shape.slice(0, axis)), product(x.shape.slice(axis))));
  },
  Squeeze: (call) => call.like(call.x().squeeze(call.known(1) ?? call.ints("axes"))),
  Unsqueeze: (call) => call.like(call.x().expandDims(call.known(1) ?? call.ints("axes")!)),
  Transpose: (call) => call.like(call.x().transpose(call.ints("perm"))),
  Expand: (call) => {
    const x = call.x(), wanted = call.known(1)!, rank = Math.max(x.rank, wanted.length);
    const from = [...new Array<number>(rank - x.rank).fill(1), ...x.shape];
    const to = [...new Array<number>(rank - wanted.length).fill(1), ...wanted];
    return call.like(x.broadcastTo(from.map((n, i) => n === 1 ? to[i]! : n)));
  },
  Concat: (call) => call.like(concatenate(call.inputs.map((v) => v!.x), call.int("axis", 0))),
  Split: split,
  Slice: slice,
  Pad: padded,
  Tile: (call) => call.like(call.x().tile(call.known(1)!)),
  Gather: (call) => call.like(call.x().take(call.x(1), call.int("axis", 0))),
  GatherElements: (call) => call.like(call.x().takeAlongAxis(call.x(1), call.int("axis", 0))),
  GatherND: gatherND,
  ScatterElements: scatterElements,
  Scatter: scatterElements,
  ScatterND: scatterND,
  Compress: (call) => {
    const axis = call.hasAttribute("axis") ? call.int("axis", 0) : undefined;
    const x = axis === undefined ? call.x().flatten() : call.x();
    const kept = call.known(1)!.flatMap((keep, i) => keep !== 0 ? [i] : []);
    return call.like(x.take(whole(kept), axis ?? 0));
  },
  ReverseSequence: reverseSequence,
  DepthToSpace: depthToSpace,
  SpaceToDepth: spaceToDepth,

  Shape: shape,
  Size: (call) => valueOf(tensor(call.x().size, { dtype: "i32" }), 7),
  ConstantOfShape: (call) => {
    const proto = call.tensor("value"), sizes = call.known(0)!;
    if (proto === undefined) return valueOf(full(sizes, 0), 1);
    const { x, type } = fromProto(proto);
    return { x: x.reshape([]).broadcastTo(sizes), type };
  },
  Range: (call) => {
    const [start, limit, delta] = [0, 1, 2].map((i) => call.known(i)![0]!) as [
      number,
      number,
      number,
    ];
    const length = Math.max(0, Math.ceil((limit - start) / delta));
    return call.like(arange(length).mul(call.x(2)).add(call.x(0)));
  },
  EyeLike: (call) => {
    const x = call.x(), [rows, columns] = x.shape as [number, number], k = call.int("k", 0);
    const type = call.hasAttribute("dtype") ? call.int("dtype", 1) : call.type();
    const on = arange(rows).reshape(rows, 1).add(k).equal(arange(columns));
    return valueOf(on.cast(elementType(type).dtype), type);
  },
  OneHot: oneHot,
  Trilu: (call) => {
    const [k = 0] = call.known(1) ?? [];
    return call.like(call.int("upper", 1) === 1 ? call.x().triu(k) : call.x().tril(k));
  },
};
