/**
 * Long rows that begin anywhere in memory, as pieces of rows of an odd length do: 8 lanes of a
 * subgroup share one, and read vectors of memory, the first and last of which are the row's own in
 * part. A partial sum is as many components further on as its row begins late, which is known when
 * the kernel runs; lanes undo it before they fold. For regions that have one value per row.
 *
 * @module
 */
import { is, type Node } from "../../graph/node.ts";
import { kinds } from "../../graph/primitive.ts";
import { sizeOf } from "../../graph/shape.ts";
import { lane, lateOf } from "../emit.ts";
import {
  add,
  constant,
  dependsOn,
  factorOf,
  flatten,
  type Index,
  offset,
  scale,
  substitute,
  unclamped,
  variable,
} from "../index.ts";
import { footprintOf, type Places, placesOf, rowsAreInner } from "../region.ts";
import { type Body, elementFlops, groupNumber, type Job } from "../shader.ts";
import { operandIndices } from "../views.ts";
import { literal, typeName } from "../wgsl.ts";
import { hasFullOutputs, phasesOf, rowsFrame, writeRowOutputs } from "./layout.ts";
import { finishPhase, reductionOf, type Track, widen } from "./reduction.ts";

/** Columns from which on the ends of a row are little beside it. */
const longest = 64;

/** Neighbours of a row that lie in it from its k-th element on. */
function neighbours(cols: number): Index {
  return add(variable("k", cols - 3), lane);
}

/** Whether something but what a reduction fills its rows up with is told by where an element is. */
function asksWhere({ region, emitter }: Job): boolean {
  const filled = new Set<Node>(), inside = new Set(region.outputs);
  for (const node of inside) {
    for (const input of node.inputs) if (!region.inputs.includes(input)) inside.add(input);
    if (kinds[node.op] !== "reduce") continue;
    let x = node.inputs[0]!;
    while (is(x, "reshape") && !emitter.buffers.has(x)) x = x.inputs[0]!;
    filled.add(x);
  }
  return [...inside].some((node) =>
    is(node, "concatenate") || is(node, "pad") && !filled.has(node)
  );
}

/** By how much rows begin behind vectors of memory, if all that is large does so alike. */
export function latenessOf(job: Job): Index | undefined {
  const frame = rowsFrame(job), { rows, cols } = frame;
  if (rowsAreInner(frame) || cols < longest || hasFullOutputs(job) || asksWhere(job)) {
    return undefined;
  }
  const at = new Map([["row", variable("r", rows)], ["col", neighbours(cols)]]);
  let late: Index | undefined;
  for (const [{ shape }, places] of footprintOf(job.region).reads) {
    for (const place of places.values()) {
      const address = unclamped(flatten(place.map((e) => substitute(e, at)), shape));
      // A vector begins up to three before a row, or before its end: quotients would not hold there.
      if (dependsOn(address, "k") && factorOf(address, "k") === undefined) return undefined;
      if (2 * sizeOf(shape) < rows * cols) continue;
      const own = lateOf(substitute(address, new Map([["lane", constant(0)]])), "k");
      if (
        factorOf(address, "lane") !== 1 || own === undefined || dependsOn(own, "k") ||
        late !== undefined && own.key !== late.key
      ) {
        return undefined;
      }
      late = own;
    }
  }
  return late;
}

/** What a reduction reads, and how many elements of a row there are if not all. */
interface Term {
  readonly x: Node;
  readonly place: readonly Index[];
  readonly end?: Index;
}

function termOf({ inputs: [x] }: Node, places: Places): Term {
  return { x: x!, place: places.full(x!.shape) };
}

/**
 * What a reduction reads where its row is not filled up at the end with what leaves it as it is: the
 * last piece of a long row may be mostly that.
 */
function withoutPadding(job: Job, node: Node, places: Places): Term {
  const whole = termOf(node, places), { emitter } = job;
  let { x, place } = whole;
  while (is(x, "reshape") && !emitter.buffers.has(x)) {
    place = operandIndices(x, place)[0]!;
    x = x.inputs[0]!;
  }
  const [{ type, start }] = reductionOf(node).tracks as [Track];
  if (!is(x, "pad") || emitter.buffers.has(x) || literal(x.attributes.value, type) !== start) {
    return whole;
  }
  const inner = x.inputs[0]!, { shape, attributes: { before } } = x;
  const axes = shape.map((_, axis) => axis).filter((axis) => shape[axis] !== inner.shape[axis]);
  const axis = axes[0]!;
  if (axes.length !== 1 || before[axis] !== 0) return whole;
  const first = substitute(place[axis]!, new Map(["k", "lane"].map((name) => [name, constant(0)])));
  const along = add(place[axis]!, scale(add(neighbours(rowsFrame(job).cols), first), -1));
  if (along.terms.length > 0 || along.constant !== 0) return whole;
  const end = offset(scale(first, -1), inner.shape[axis]!);
  return { x: inner, place: operandIndices(x, place)[0]!, end };
}

/** Writes the body of a rows region with a team for every row, which begins so much late. */
export function writeLate(job: Job, late: Index): Body {
  const frame = rowsFrame(job), { emitter } = job, { rows, cols } = frame;
  const row = variable("r", rows), places = placesOf(frame, { row, col: neighbours(cols) });
  emitter.open("r");
  emitter.line(`let late = ${emitter.index(late)};`);
  for (const phase of phasesOf(job)) {
    const tracks = phase.flatMap((node) =>
      reductionOf(node).tracks.map((track) => {
        const part = emitter.fresh("part"), type = typeName(track.type, 4);
        emitter.line(`var ${part} = ${type}(${track.start});`);
        return { node, track, part, type, total: emitter.fresh("total") };
      })
    );
    const terms = new Map(phase.map((node) => [node, withoutPadding(job, node, places)]));
    const [{ end }, ...others] = [...terms.values()] as [Term, ...Term[]];
    const cut = end !== undefined && others.every((other) => other.end?.key === end.key);
    const count = emitter.fresh("count");
    emitter.line(`let ${count} = ${cut ? `clamp(${emitter.index(end)}, 0, ${cols})` : cols};`);
    emitter.open("c", "k");
    emitter.aligned = { name: "k", late };
    for (const { node, track, part, type } of tracks) {
      const { x, place } = cut ? terms.get(node)! : termOf(node, places);
      const value = emitter.splat(emitter.value(x, place), 4);
      const lifted = track.lift(widen(value, node, 4), 4);
      emitter.line(
        `${part} = ${track.combine(part, `select(${type}(${track.start}), ${lifted}, own)`)};`,
      );
    }
    emitter.aligned = undefined;
    const loop = emitter.close();
    const vectors = emitter.fresh("vectors");
    // The bound is one that a reader of the text can tell, too.
    emitter.line(
      `let ${vectors} = min((${count} + late + 3) / 4, ${Math.ceil((cols + 3) / 4)});`,
      `for (var c = part; c < ${vectors}; c += 8) {`,
      "let k = c * 4 - late;",
      `let own = vec4<u32>(vec4<i32>(k) + vec4<i32>(0, 1, 2, 3)) < vec4<u32>(u32(${count}));`,
      ...loop,
      "}",
    );
    for (const { track, part, type, total } of tracks) {
      const [next, turned] = [`${part}n`, `${part}t`];
      const turns = [1, 2, 3].map((by) =>
        `${turned} = select(${turned}, ` +
        `${type}(${part}.${"xyzw".slice(by)}, ${next}.${"xyzw".slice(0, by)}), late == ${by});`
      );
      const sides = [..."xyzw"].map((l) => `subgroupShuffle(${turned}.${l}, side)`);
      emitter.declare(total);
      emitter.line(
        `let ${next} = subgroupShuffle(${part}, (invocation + 1u) & 7u);`,
        `var ${turned} = ${part};`,
        ...turns,
        `var ${total} = ${typeName(track.type, 1)}(${track.start});`,
        "for (var side = 0u; side < 8u; side++) {",
        ...sides.map((term) => `${total} = ${track.combine(total, term)};`),
        "}",
      );
    }
    finishPhase(emitter, phase, tracks, 1);
  }
  // Under a name of its own, so that what only the lead needs is read by the lead only: the output
  // may lie over that very input.
  emitter.open("lead");
  const lead = variable("lead", rows);
  writeRowOutputs(job, lead, placesOf(frame, { row: lead, col: constant(0) }));
  const rowOutputs = emitter.close();
  emitter.line("if (wanted == r && part == 0) {", "let lead = r;", ...rowOutputs, "}");
  const lines = emitter.close();
  const hoisted = emitter.close();
  return {
    name: "rows",
    workgroupSize: 8,
    workgroups: rows,
    subgroups: true,
    lines: [
      "let part = i32(invocation & 7u);",
      `let wanted = ${groupNumber(rows, job.adapter)};`,
      `let r = min(wanted, ${rows - 1});`,
      ...hoisted,
      ...lines,
    ],
    flops: elementFlops(job.region),
  };
}
