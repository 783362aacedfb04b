/**
 * Regions of rows: reductions along rows of `cols` elements, in phases, with what feeds and follows
 * them. A phase runs over the row once for all reductions whose operands are known by then; a last
 * phase writes the outputs that have one value per element.
 *
 * The order of every sum is fixed: 32 interleaved partial sums, p[c mod 32], each taken in
 * ascending order, then p0 + p1 + … + p31 from left to right. All ways of working agree on it to
 * the bit:
 *
 * - *serial*, for software adapters: an invocation has a row to itself, or four neighbouring rows
 *   where rows are contiguous in memory (sums over the outer axes), and runs over the partial sums
 *   one after the other;
 * - in a *team*: 32 invocations share a row, one per partial sum (hardware), or 8 lanes of one
 *   subgroup, four partial sums each (software with subgroups).
 *
 * @module
 */
import { type DType, dtypes } from "../graph/dtype.ts";
import type { Node } from "../graph/node.ts";
import { kinds } from "../graph/primitive.ts";
import { type Emitter, lane, type Value } from "./emit.ts";
import { add, constant, flatten, type Index, scale, variable } from "./index.ts";
import { footprint, frameSize, placeIn, type Places, placesOf } from "./region.ts";
import { type Body, elementFlops, groupNumber, type Job } from "./shader.ts";
import { literal, rules, typeName, type Width } from "./wgsl.ts";
import { sizeOf } from "../graph/shape.ts";

/** Partial sums of a row. */
export const interleave = 32;

/** How each reduction starts and combines; sums of f16 are kept in f32. */
const reductions: {
  readonly [op: string]: {
    readonly start: (dtype: DType) => number;
    readonly combine: (a: string, b: string, dtype: DType, width: Width) => string;
  };
} = {
  sum: { start: () => 0, combine: (a, b) => `${a} + ${b}` },
  prod: { start: () => 1, combine: (a, b) => `${a} * ${b}` },
  reduceMax: { start: (d) => dtypes[d].lowest, combine: extreme("max") },
  reduceMin: { start: (d) => dtypes[d].highest, combine: extreme("min") },
};

function extreme(op: "max" | "min"): (a: string, b: string, d: DType, width: Width) => string {
  return (a, b, dtype, width) => rules[op]!([{ text: a, dtype }, { text: b, dtype }], width, dtype);
}

/** The dtype in which a reduction accumulates. */
function accumulator(dtype: DType): DType {
  return dtype === "f16" ? "f32" : dtype;
}

/** Reductions of a region by phase: a reduction comes after those that its operand rests on. */
function phasesOf(job: Job): Node[][] {
  const { region, frame } = job;
  const isInput = (n: Node): boolean => region.inputs.includes(n);
  const { body } = footprint(frame, region.outputs, isInput, 1 << 20)!;
  const level = new Map<Node, number>();
  const phases: Node[][] = [];
  for (const node of [...body.keys()].sort((a, b) => a.id - b.id)) {
    let deepest = 0;
    for (const input of node.inputs) deepest = Math.max(deepest, level.get(input) ?? 0);
    if (kinds[node.op] === "reduce") (phases[deepest++] ??= []).push(node);
    level.set(node, deepest);
  }
  return phases;
}

/** Writes the body of a rows region. */
export function writeRows(job: Job): Body {
  const frame = rowsFrame(job);
  const { kind, shuffle } = job.adapter;
  if (kind !== "software") {
    return writeTeam(job, {
      lanes: 32,
      vector: false,
      shuffle: false,
      together: Math.min(8, frame.rows),
    });
  }
  // Short rows are not worth sharing, nor are rows whose neighbours lie side by side in memory.
  if (!shuffle || frame.cols < 64 || rowsAreInner(frame)) return writeSerial(job);
  return writeTeam(job, {
    lanes: 8,
    vector: frame.cols % 4 === 0,
    shuffle: true,
    together: 1,
  });
}

function rowsFrame(job: Job): Extract<Job["frame"], { is: "rows" }> {
  if (job.frame.is !== "rows") throw new Error(`Cannot write rows: the frame is ${job.frame.is}`);
  return job.frame;
}

/** True if neighbouring rows are neighbours in memory: the innermost axis is not reduced. */
function rowsAreInner(frame: Extract<Job["frame"], { is: "rows" }>): boolean {
  for (let i = frame.shape.length - 1; i >= 0; i--) {
    if (frame.shape[i] !== 1) return !frame.axes.includes(i);
  }
  return false;
}

function isFull(job: Job, node: Node): boolean {
  return sizeOf(node.shape) === frameSize(job.frame) && kinds[node.op] !== "reduce";
}

function writeSerial(job: Job): Body {
  const frame = rowsFrame(job);
  const { emitter } = job;
  const { rows, cols } = frame;
  const inner = rowsAreInner(frame) && rows % 4 === 0;
  const units = inner ? rows / 4 : rows;
  const unit = variable("r", units);
  const row = inner ? add(scale(unit, 4), lane) : unit;
  // A row is read in vectors where its elements are neighbours and worth it, else one by one.
  const step = inner || cols <= interleave ? 1 : 4;
  const whole = Math.floor(cols / step), rest = cols - whole * step;
  const partials = Math.min(interleave / step, whole);
  const workgroupSize = units >= 512 ? 32 : 8;
  emitter.open("r");
  const c = variable("c", whole);
  const col = step === 4 ? add(scale(c, 4), lane) : c;
  const at = (col: Index): Places => placesOf(frame, { row, col });

  for (const phase of phasesOf(job)) {
    const totals = phase.map((node) => {
      const type = accumulator(node.dtype);
      const name = emitter.fresh("total");
      emitter.declare(name);
      const width: Width = inner ? 4 : 1;
      const start = reductions[node.op]!.start(node.dtype);
      emitter.line(`var ${name} = ${typeName(type, width)}(${literal(start, type)});`);
      return { node, type, name, width, part: `${name}p` };
    });
    const width: Width = inner || step === 4 ? 4 : 1;
    // for u: for c = u, u + partials …: part += value; then total += part, lane by lane
    emitter.open("u");
    for (const { node, type, part } of totals) {
      const start = reductions[node.op]!.start(node.dtype);
      emitter.line(`var ${part} = ${typeName(type, width)}(${literal(start, type)});`);
    }
    const accumulate = (places: Places, lanes?: string): void => {
      for (const { node, type, part } of totals) {
        const [x] = node.inputs;
        const value = emitter.value(x!, places.full(x!.shape));
        const target = lanes === undefined ? part : `${part}${lanes}`;
        const w: Width = lanes === undefined ? width : 1;
        const text = widen(emitter.splat(value, w), type, w);
        emitter.line(`${target} = ${reductions[node.op]!.combine(target, text, type, w)};`);
      }
    };
    emitter.open("c");
    accumulate(at(col));
    const loop = emitter.close();
    if (partials > 1) {
      emitter.line(`for (var c = u; c < ${whole}; c += ${partials}) {`, ...loop, "}");
    } else {
      emitter.line(`for (var c = 0; c < ${whole}; c++) {`, ...loop, "}");
    }
    if (rest > 0) {
      // The last few elements belong to the first lanes of one partial sum.
      emitter.open("u");
      for (let l = 0; l < rest; l++) accumulate(at(constant(whole * step + l)), `.${"xyzw"[l]}`);
      const tail = emitter.close();
      if (partials > 1) emitter.line(`if (u == ${whole % partials}) {`, ...tail, "}");
      else emitter.line(...tail);
    }
    for (const { node, type, name, part } of totals) {
      const { combine } = reductions[node.op]!;
      if (width === 4 && !inner) {
        for (const l of "xyzw") {
          emitter.line(`${name} = ${combine(name, `${part}.${l}`, type, 1)};`);
        }
      } else emitter.line(`${name} = ${combine(name, part, type, inner ? 4 : 1)};`);
    }
    const block = emitter.close();
    if (partials > 1) emitter.line(`for (var u = 0; u < ${partials}; u++) {`, ...block, "}");
    else emitter.line("{", ...block, "}");
    for (const { node, type, name, width } of totals) {
      emitter.computed.set(node, narrow(name, type, node.dtype, width));
    }
  }

  const full = job.region.outputs.map((node, i) => ({ node, buffer: job.outputs[i]! }))
    .filter(({ node }) => isFull(job, node));
  if (full.length > 0) {
    const write = (col: Index): void => {
      emitter.storeAll(
        full.map(({ node, buffer }) => ({
          buffer,
          value: () => emitter.value(node, at(col).full(node.shape)),
        })),
        flatten(at(col).full(frame.shape), frame.shape),
      );
    };
    emitter.open("c");
    write(col);
    const loop = emitter.close();
    emitter.line(`for (var c = 0; c < ${whole}; c++) {`, ...loop, "}");
    for (let l = 0; l < rest; l++) {
      emitter.open("none");
      write(constant(whole * step + l));
      emitter.line("{", ...emitter.close(), "}");
    }
  }
  writeRowOutputs(job, row, at(constant(0)));
  const lines = emitter.close();
  const hoisted = emitter.close();
  const groups = Math.ceil(units / workgroupSize);
  return {
    name: inner ? "columns" : "rows",
    workgroupSize,
    workgroups: groups,
    lines: [
      `let r = ${groupNumber(groups, job.adapter)} * ${workgroupSize} + i32(local);`,
      `if (r >= ${units}) { return; }`,
      ...hoisted,
      ...lines,
    ],
    flops: elementFlops(job.region),
  };
}

function writeRowOutputs(job: Job, row: Index, places: Places): void {
  const { emitter } = job;
  const rows = job.region.outputs.map((node, i) => ({ node, buffer: job.outputs[i]! }))
    .filter(({ node }) => !isFull(job, node));
  emitter.storeAll(
    rows.map(({ node, buffer }) => ({
      buffer,
      value: () => emitter.value(node, placeIn(job.frame, places, node)!),
    })),
    row,
  );
}

/** A value as its accumulator's type. */
function widen(value: Value, type: DType, width: Width): string {
  return value.dtype === type ? value.text : `${typeName(type, width)}(${value.text})`;
}

/** A finished total as a value of the node's dtype. */
function narrow(name: string, type: DType, dtype: DType, width: Width): Value {
  const text = type === dtype ? name : `${typeName(dtype, width)}(${name})`;
  return { text, dtype, width };
}

/** How several invocations share a row. */
interface Team {
  readonly lanes: 8 | 32;
  /** Lanes take vectors of four neighbouring elements, so p[c mod 32] is component c mod 4. */
  readonly vector: boolean;
  /** Partial sums meet by subgroup broadcast, or in workgroup memory. */
  readonly shuffle: boolean;
  /** Rows in a workgroup. */
  readonly together: number;
}

/** Partial sums that each lane of a team holds, one after the other; vectors count as one. */
function turns({ lanes, vector }: Team): number {
  return interleave / (lanes * (vector ? 4 : 1));
}

function writeTeam(job: Job, team: Team): Body {
  const frame = rowsFrame(job);
  const { emitter } = job;
  const { rows, cols } = frame;
  const inner = rowsAreInner(frame);
  const { lanes, together } = team;
  const width: Width = team.vector ? 4 : 1;
  const steps = cols / width;
  const row = variable("r", rows), c = variable("c", steps);
  const col = team.vector ? add(scale(c, 4), lane) : c;
  emitter.open("r");
  const at = (col: Index): Places => placesOf(frame, { row, col });
  const globals: string[] = [];
  const ways = turns(team);
  for (const phase of phasesOf(job)) {
    const parts = phase.map((node) => {
      const type = accumulator(node.dtype);
      const start = literal(reductions[node.op]!.start(node.dtype), type);
      const names = Array.from({ length: ways }, () => emitter.fresh("part"));
      for (const name of names) {
        emitter.line(`var ${name} = ${typeName(type, width)}(${start});`);
      }
      return { node, type, names, start, total: emitter.fresh("total") };
    });
    for (let u = 0; u < ways; u++) {
      emitter.open("c");
      for (const { node, type, names } of parts) {
        const [x] = node.inputs;
        const value = emitter.splat(emitter.value(x!, at(col).full(x!.shape)), width);
        const combined = reductions[node.op]!.combine(
          names[u]!,
          widen(value, type, width),
          type,
          width,
        );
        emitter.line(`${names[u]} = ${combined};`);
      }
      const loop = emitter.close();
      const first = u === 0 ? "part" : `part + ${u * lanes}`;
      emitter.line(`for (var c = ${first}; c < ${steps}; c += ${lanes * ways}) {`, ...loop, "}");
    }
    for (const part of parts) {
      const { node, type, total, start } = part;
      emitter.declare(total);
      emitter.line(`var ${total} = ${typeName(type, 1)}(${start});`);
      if (team.shuffle) emitter.line(...foldByShuffle(part, team));
      else globals.push(...foldInMemory(part, team, inner, emitter));
      emitter.computed.set(node, narrow(total, type, node.dtype, 1));
    }
  }
  const full = job.region.outputs.map((node, i) => ({ node, buffer: job.outputs[i]! }))
    .filter(({ node }) => isFull(job, node));
  if (full.length > 0) {
    emitter.open("c");
    emitter.storeAll(
      full.map(({ node, buffer }) => ({
        buffer,
        value: () => emitter.value(node, at(col).full(node.shape)),
      })),
      flatten(at(col).full(frame.shape), frame.shape),
    );
    const loop = emitter.close();
    emitter.line("if (alive) {");
    emitter.line(`for (var c = part; c < ${steps}; c += ${lanes}) {`, ...loop, "}", "}");
  }
  // Under a name of its own, so that what only the lead needs is read by the lead only: the output
  // may lie over that very input.
  emitter.open("lead");
  const own = variable("lead", rows);
  writeRowOutputs(job, own, placesOf(frame, { row: own, col: constant(0) }));
  const rowOutputs = emitter.close();
  if (rowOutputs.length > 0) {
    emitter.line("if (alive && part == 0) {", "let lead = r;", ...rowOutputs, "}");
  }
  const lines = emitter.close();
  const hoisted = emitter.close();
  const groups = Math.ceil(rows / together);
  return {
    name: inner ? "columns" : "rows",
    workgroupSize: together * lanes,
    workgroups: groups,
    globals,
    subgroups: team.shuffle,
    lines: [
      `let slot = i32(${team.shuffle ? "invocation & 7u" : "local"});`,
      ...(inner
        ? [`let part = slot / ${together};`, `let own = slot % ${together};`]
        : [`let part = slot % ${lanes};`, `let own = slot / ${lanes};`]),
      `let wanted = ${groupNumber(groups, job.adapter)} * ${together} + own;`,
      `let alive = wanted < ${rows};`,
      `let r = min(wanted, ${rows - 1});`,
      ...hoisted,
      ...lines,
    ],
    flops: elementFlops(job.region),
  };
}

/** The partial sums of one reduction, and the total they are folded into. */
interface Parts {
  readonly node: Node;
  readonly type: DType;
  /** The partial sums of a lane, by turn. */
  readonly names: readonly string[];
  readonly total: string;
}

/** Whether partial results may meet in any order: extremes are exact. */
function isExtreme(node: Node): boolean {
  return node.op === "reduceMax" || node.op === "reduceMin";
}

/** p0 … p31 from left to right, each broadcast from the lane that holds it. */
function foldByShuffle({ node, type, names, total }: Parts, { lanes, vector }: Team): string[] {
  const { combine } = reductions[node.op]!;
  const from = (text: string, side: number): string => `subgroupBroadcast(${text}, ${side}u)`;
  const lines: string[] = [];
  if (isExtreme(node)) {
    const own = vector ? [..."xyzw"].map((l) => `${names[0]}.${l}`) : names;
    for (const name of own) lines.push(`${total} = ${combine(total, name, type, 1)};`);
    for (let side = 0; side < lanes; side++) {
      lines.push(`let ${total}s${side} = ${from(total, side)};`);
    }
    for (let side = 0; side < lanes; side++) {
      lines.push(`${total} = ${combine(total, `${total}s${side}`, type, 1)};`);
    }
    return lines;
  }
  const terms = vector
    ? Array.from(
      { length: interleave },
      (_, p) => from(`${names[0]}.${"xyzw"[p % 4]}`, Math.floor(p / 4)),
    )
    : Array.from({ length: interleave }, (_, p) => from(names[Math.floor(p / lanes)]!, p % lanes));
  for (const term of terms) lines.push(`${total} = ${combine(total, term, type, 1)};`);
  return lines;
}

/** The same by way of workgroup memory; returns what has to be declared. */
function foldInMemory(
  { node, type, names, total }: Parts,
  { lanes, together }: Team,
  inner: boolean,
  emitter: Emitter,
): string[] {
  const shared = `${total}w`;
  const { combine } = reductions[node.op]!;
  emitter.line(
    `${shared}[slot] = ${names[0]};`,
    "workgroupBarrier();",
    `for (var k = 0; k < ${lanes}; k++) {`,
    `let other = ${shared}[${inner ? `own + k * ${together}` : `own * ${lanes} + k`}];`,
    `${total} = ${combine(total, "other", type, 1)};`,
    "}",
  );
  return [`var<workgroup> ${shared}: array<${typeName(type, 1)}, ${together * lanes}>;`];
}
