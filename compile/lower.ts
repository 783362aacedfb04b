/**
 * Lowering: rewrites that make the graph fit the kernels without changing what it means. Long
 * reductions become reductions of reductions, deep products of few elements become batches of
 * products that are summed, wide concatenations become trees. Every rule depends on shapes alone,
 * never on the device: that is what fixes the order of every sum.
 *
 * @module
 */
import * as build from "../graph/build.ts";
import { type DType, dtypes } from "../graph/dtype.ts";
import { is, type Node } from "../graph/node.ts";
import { kinds } from "../graph/primitive.ts";
import { type Shape, sizeOf } from "../graph/shape.ts";
import { standingFor } from "../graph/source.ts";
import { topological } from "../graph/walk.ts";
import { convolution } from "./convolution.ts";
import { scattered } from "./scatter.ts";
import { withoutSpread } from "./transposed.ts";
import { usesOf, withoutReshapes } from "./store.ts";

/** A rewrite of one node whose inputs are lowered already; undefined where it does not apply. */
interface Lowering {
  readonly name: string;
  readonly why: string;
  readonly apply: (node: Node) => Node | undefined;
}

/** Elements of a row that one kernel reduces: fewer where there are few rows to share the work. */
function longestRow(rows: number): number {
  return rows >= 256 ? 16384 : 4096;
}

/** The value that leaves a reduction as it is. */
export const identities = {
  sum: () => 0,
  prod: () => 1,
  reduceMax: (node: Node) => dtypes[node.dtype].lowest,
  reduceMin: (node: Node) => dtypes[node.dtype].highest,
} as const;

/** Pieces of a long row: all of one length where one divides it, else the last is filled up. */
function piecesOf(
  cols: number,
  longest: number,
): { readonly parts: number; readonly length: number } {
  const least = Math.ceil(cols / longest);
  for (let parts = least; parts < 2 * least; parts++) {
    if (cols % parts === 0) return { parts, length: cols / parts };
  }
  return { parts: least, length: longest };
}

/**
 * x with the axes in one, [before, cols, after]: as it lies where they are neighbours, so that what
 * makes x may be in the same kernel; else with them moved to the end.
 */
function gathered(x: Node, axes: readonly number[]): Node {
  const long = axes.filter((axis) => x.shape[axis] !== 1);
  const first = long[0] ?? 0, last = long.at(-1) ?? 0;
  const between = x.shape.slice(first, last + 1);
  const cols = axes.reduce((n, axis) => n * x.shape[axis]!, 1);
  if (sizeOf(between) === cols) {
    return build.reshape(x, [
      sizeOf(x.shape.slice(0, first)),
      cols,
      sizeOf(x.shape.slice(last + 1)),
    ]);
  }
  const kept = x.shape.map((_, i) => i).filter((i) => !axes.includes(i));
  return build.reshape(build.permute(x, [...kept, ...axes]), [sizeOf(x.shape) / cols, cols, 1]);
}

/** A new node over inputs that are lowered. */
function settle(node: Node): Node {
  for (const { apply } of lowerings) {
    const next = apply(node);
    if (next !== undefined) return next;
  }
  return node;
}

/**
 * What pieces are computed in: f16 is rounded once, at the end, since each piece's rounding would
 * add to the error, and a piece may be more than f16 holds where the whole is not.
 */
function wide({ dtype }: Node): DType {
  return dtype === "f16" ? "f32" : dtype;
}

const lowerings: readonly Lowering[] = [
  {
    name: "convolution without spreading",
    why: "of what is read between the elements of a spread input, nothing but zeros comes",
    apply: (node) => {
      if (!is(node, "convolve")) return undefined;
      return withoutSpread(node, settle);
    },
  },
  {
    name: "convolution as a product",
    why: "a product that reads windows needs no kernel of its own, and is as fast",
    apply: (node) => {
      if (!is(node, "convolve")) return undefined;
      return convolution(node, settle);
    },
  },
  {
    name: "split long reduction",
    why: "one kernel would loop too long, and one invocation would have all the work",
    apply: (node) => {
      if (kinds[node.op] !== "reduce") return undefined;
      const op = node.op as keyof typeof identities;
      const { axes } = node.attributes as { axes: readonly number[] };
      const [x] = node.inputs;
      const cols = axes.reduce((n, axis) => n * x!.shape[axis]!, 1);
      const rows = sizeOf(x!.shape) / Math.max(1, cols);
      const longest = longestRow(rows);
      if (cols <= longest) return undefined;
      const { parts, length } = piecesOf(cols, longest);
      const line = gathered(build.cast(x!, wide(node)), axes);
      const [before, , after] = line.shape as [number, number, number];
      const filled = build.pad(
        line,
        [0, 0, 0],
        [0, parts * length - cols, 0],
        identities[op](node),
      );
      const cut = build.reshape(filled, [before, parts, length, after]);
      const pieces = build.reduce(op, cut, [2]);
      const whole = build.reduce(op, pieces, [1]);
      return build.reshape(build.cast(lower([whole])[0]!, node.dtype), node.shape);
    },
  },
  {
    name: "turn a column",
    why: "kernels spread columns over lanes: a product with one column is read as one row",
    apply: (node) => {
      if (!is(node, "dot")) return undefined;
      const [a, b] = node.inputs as [Node, Node];
      if (b.shape[2] !== 1 || a.shape[1] === 1) return undefined;
      const [x, y] = [b, a].map((operand) => build.permute(operand, [0, 2, 1]));
      const turned = build.dot(x!, y!, node.dtype);
      return build.reshape(lower([turned])[0]!, node.shape);
    },
  },
  {
    name: "split deep product",
    why: "few results over a long k leave most of a device idle",
    apply: (node) => {
      if (!is(node, "dot")) return undefined;
      const [a, b] = node.inputs as [Node, Node];
      const [batch, m, k] = a.shape as [number, number, number], n = b.shape[2]!;
      const few = batch * m * n <= 8192;
      if (k < 1024 || (k <= longestProduct && !few)) return undefined;
      const depth = few ? pieceOf(k) : longestProduct / 2;
      const parts = Math.ceil(k / depth), filled = parts * depth - k;
      const left = build.permute(
        build.reshape(build.pad(a, [0, 0, 0], [0, 0, filled]), [batch, m, parts, depth]),
        [0, 2, 1, 3],
      );
      const right = build.reshape(build.pad(b, [0, 0, 0], [0, filled, 0]), [
        batch,
        parts,
        depth,
        n,
      ]);
      const pieces = build.dot(
        build.reshape(left, [batch * parts, m, depth]),
        build.reshape(right, [batch * parts, depth, n]),
        wide(node),
      );
      const sum = build.reduce("sum", build.reshape(pieces, [batch, parts, m, n]), [1]);
      return build.reshape(build.cast(lower([sum])[0]!, node.dtype), node.shape);
    },
  },
  {
    name: "sort or split long scatter",
    why: "every result looks through all indices, which takes long and is a loop of its length",
    apply: (node) => {
      if (!is(node, "scatterAdd")) return undefined;
      const result = scattered(node, wide(node));
      return result && lower([result])[0];
    },
  },
  {
    name: "loops read memory",
    why: "an operand of a loop lies in memory, but elsewhere a constant is better as a constant",
    apply: (node) => {
      if (!is(node, "loop")) return undefined;
      const { carries } = node.attributes;
      // A carry may begin with one value everywhere: that is written where the carry lies.
      const constant = (x: Node, i: number): boolean => {
        const { op } = withoutReshapes(x);
        return op === "iota" || (op === "fill" && i >= carries);
      };
      if (!node.inputs.some(constant)) return undefined;
      const inputs = node.inputs.map((x, i) => constant(x, i) ? build.unary("barrier", x) : x);
      return build.rebuild(node, inputs);
    },
  },
  {
    name: "concatenate as a tree",
    why: "a kernel binds only so many buffers",
    apply: (node) => {
      if (!is(node, "concatenate") || node.inputs.length <= widest) return undefined;
      const { axis } = node.attributes;
      const groups: Node[] = [];
      for (let i = 0; i < node.inputs.length; i += widest) {
        groups.push(build.concatenate(node.inputs.slice(i, i + widest), axis));
      }
      return lower([build.concatenate(groups, axis)])[0];
    },
  },
];

/** Steps of k in a piece: 256, or a bit less where that divides k and nothing has to be filled up. */
function pieceOf(k: number): number {
  for (let depth = 256; depth >= 128; depth -= 4) if (k % depth === 0) return depth;
  return 256;
}

/** Steps of k that one kernel takes, at most. */
const longestProduct = 32768;

/** Inputs of one concatenation: with the result, four buffers. */
const widest = 3;

/** Neighbouring axes taken together so that their sizes come to those of `whole`, if they do. */
function runsOf(axes: readonly number[], whole: Shape, sizes: Shape): number[][] | undefined {
  let next = 0;
  const runs = whole.map((wanted) => {
    const run: number[] = [];
    for (let size = 1; size < wanted && next < axes.length; next++) {
      run.push(axes[next]!);
      size *= sizes[axes[next]!]!;
    }
    return run;
  });
  const sizeOfRun = (run: readonly number[]): number =>
    run.reduce((n, axis) => n * sizes[axis]!, 1);
  return runs.every((run, i) => sizeOfRun(run) === whole[i]) ? runs : undefined;
}

/**
 * A product of which rows are wanted where its columns are, as the product of the transposed operands
 * in the other order: the same sums, written where they are wanted. Only where nobody wants the
 * product as it was.
 */
function turned(
  node: Node,
  uses: ReadonlyMap<Node, number>,
  lowered: (node: Node) => Node,
): Node | undefined {
  if (!is(node, "permute")) return undefined;
  const x = node.inputs[0]!;
  let product = x, casts = 0;
  // Two casts might lose what one keeps.
  while (
    (is(product, "reshape") || (is(product, "cast") && casts++ === 0)) && uses.get(product) === 1
  ) product = product.inputs[0]!;
  if (!is(product, "dot") || uses.get(product) !== 1) return undefined;
  const axes = x.shape.map((_, axis) => axis);
  const runs = runsOf(axes.filter((axis) => x.shape[axis] !== 1), product.shape, x.shape);
  if (runs === undefined) return undefined;
  const [outer, rows, columns] = runs as [number[], number[], number[]];
  const { order } = node.attributes;
  if (!rows.includes(order.findLast((axis) => x.shape[axis] !== 1)!)) return undefined;
  const [b, a] = product.inputs.map((operand) => build.permute(lowered(operand), [0, 2, 1]));
  const swapped = settle(build.dot(a!, b!, product.dtype));
  const turned = [...axes.filter((axis) => x.shape[axis] === 1), ...outer, ...columns, ...rows];
  return build.permute(
    build.reshape(build.cast(swapped, x.dtype), turned.map((axis) => x.shape[axis]!)),
    order.map((axis) => turned.indexOf(axis)),
  );
}

/** The nodes with every rule applied; `order` is all that they depend on, if that was walked before. */
export function lower(roots: readonly Node[], order = topological(roots)): Node[] {
  const done = new Map<Node, Node>();
  const uses = usesOf(order, roots);
  const lowered = (node: Node): Node => done.get(node)!;
  for (const node of order) {
    const same = build.rebuild(node, node.inputs.map(lowered));
    done.set(node, standingFor(node, () => turned(node, uses, lowered) ?? settle(same)));
  }
  return roots.map(lowered);
}
