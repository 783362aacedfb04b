/**
 * Rows one by one: an invocation has a row to itself, or fours of neighbouring rows where rows are
 * contiguous in memory (sums over the outer axes), and takes a few partial sums at a time.
 *
 * @module
 */
import type { Node } from "../../graph/node.ts";
import { lane, type Value } from "../emit.ts";
import { add, constant, type Index, offset, scale, variable } from "../index.ts";
import { type Places, placesOf, rowsAreInner } from "../region.ts";
import { type Body, elementFlops, groupNumber, type Job } from "../shader.ts";
import { typeName, type Width } from "../wgsl.ts";
import {
  hasFullOutputs,
  interleave,
  phasesOf,
  rowsFrame,
  writeFullOutputs,
  writeRowOutputs,
} from "./layout.ts";
import { finishPhase, reductionOf, type Track, widen } from "./reduction.ts";

/** How an invocation goes through its rows. */
export interface Serial {
  /** Partial sums at a time: so many neighbours are read before it goes on. */
  readonly turns: number;
  /** Fours of neighbouring rows side by side, where rows are contiguous in memory. */
  readonly abreast: number;
}

/** Elements that a row is read in steps of: four neighbours where that is worth it, else one. */
function stepOf(inner: boolean, cols: number): 1 | 4 {
  return inner || cols <= interleave ? 1 : 4;
}

/** Whether rows are taken in fours that lie side by side in memory. */
export function inFours(frame: ReturnType<typeof rowsFrame>): boolean {
  return rowsAreInner(frame) && frame.rows % 4 === 0;
}

/** Partial sums that are taken one after the other. */
export function partialsOf(frame: ReturnType<typeof rowsFrame>): number {
  const step = stepOf(inFours(frame), frame.cols);
  return Math.max(1, Math.min(interleave / step, Math.floor(frame.cols / step)));
}

/** Writes the body of a rows region with a row, or fours of rows, for every invocation. */
export function writeSerial(job: Job, { turns, abreast }: Serial): Body {
  const frame = rowsFrame(job);
  const { emitter } = job;
  const { rows, cols } = frame;
  const inner = inFours(frame);
  const units = inner ? rows / 4 / abreast : rows;
  const unit = variable("r", units);
  const rowsOf = Array.from(
    { length: abreast },
    (_, q) => inner ? add(scale(offset(scale(unit, abreast), q), 4), lane) : unit,
  );
  const step = stepOf(inner, cols);
  const whole = Math.floor(cols / step), rest = cols - whole * step;
  const partials = partialsOf(frame);
  const workgroupSize = units >= 512 ? 32 : 8;
  emitter.open("r");
  const c = variable("c", whole);
  const colAt = (j: number): Index => {
    const at = offset(c, j);
    return step === 4 ? add(scale(at, 4), lane) : at;
  };
  // The same for every four of rows, with the totals of those rows in force.
  const known = rowsOf.map(() => new Map<Node, Value>());
  const eachRow = <T>(f: (at: (col: Index) => Places, q: number) => T): T[] =>
    rowsOf.map((row, q) => {
      emitter.computed = known[q]!;
      return f((col) => placesOf(frame, { row, col }), q);
    });
  const partWidth: Width = inner || step === 4 ? 4 : 1, totalWidth: Width = inner ? 4 : 1;

  for (const phase of phasesOf(job)) {
    // for u: for c = u, u + partials …: parts += elements; then total += part, one after the other
    const tracks = eachRow(() =>
      phase.flatMap((node) =>
        reductionOf(node).tracks.map((track): Sum => {
          const total = emitter.fresh("total");
          emitter.declare(total);
          emitter.line(`var ${total} = ${typeName(track.type, totalWidth)}(${track.start});`);
          return { node, track, total };
        })
      )
    );
    emitter.open("u");
    for (const { track, total } of tracks.flat()) {
      const start = `${typeName(track.type, partWidth)}(${track.start})`;
      for (let j = 0; j < turns; j++) emitter.line(`var ${total}p${j} = ${start};`);
    }
    const accumulate = (col: Index, j: number, component: string, width: Width): void => {
      eachRow((at, q) => {
        for (const { node, track, total } of tracks[q]!) {
          const [x] = node.inputs;
          const value = emitter.splat(emitter.value(x!, at(col).full(x!.shape)), width);
          const target = `${total}p${j}${component}`;
          const lifted = track.lift(widen(value, node, width), width);
          emitter.line(`${target} = ${track.combine(target, lifted)};`);
        }
      });
    };
    emitter.open("c");
    for (let j = 0; j < turns; j++) accumulate(colAt(j), j, "", partWidth);
    const loop = emitter.close();
    const first = partials > turns ? "u" : "0", ragged = whole % turns, even = whole - ragged;
    emitter.line(`for (var c = ${first}; c < ${even}; c += ${partials}) {`, ...loop, "}");
    // What is left is some of the partial sums of one turn.
    const onlyOf = (turn: number, write: () => void): void => {
      emitter.open("u");
      write();
      const tail = emitter.close();
      if (partials > turns) emitter.line(`if (u == ${turn}) {`, ...tail, "}");
      else emitter.line(...tail);
    };
    if (ragged > 0) {
      onlyOf(even % partials, () => {
        for (let j = 0; j < ragged; j++) {
          const col = constant((even + j) * step);
          accumulate(step === 4 ? add(col, lane) : col, j, "", partWidth);
        }
      });
    }
    if (rest > 0) {
      // The last few elements belong to the first lanes of one partial sum.
      const last = whole % partials, j = last % turns;
      onlyOf(last - j, () => {
        for (let l = 0; l < rest; l++) {
          accumulate(constant(whole * step + l), j, `.${"xyzw"[l]}`, 1);
        }
      });
    }
    for (const { track, total } of tracks.flat()) {
      for (let j = 0; j < turns; j++) {
        const part = `${total}p${j}`;
        const terms = partWidth === 4 && !inner ? [..."xyzw"].map((l) => `${part}.${l}`) : [part];
        for (const term of terms) emitter.line(`${total} = ${track.combine(total, term)};`);
      }
    }
    const block = emitter.close();
    if (partials > turns) {
      emitter.line(`for (var u = 0; u < ${partials}; u += ${turns}) {`, ...block, "}");
    } else emitter.line("{", ...block, "}");
    eachRow((_, q) => finishPhase(emitter, phase, tracks[q]!, totalWidth));
  }

  if (hasFullOutputs(job)) {
    emitter.open("c");
    eachRow((at) => writeFullOutputs(job, at(colAt(0))));
    const loop = emitter.close();
    emitter.line(`for (var c = 0; c < ${whole}; c++) {`, ...loop, "}");
    for (let l = 0; l < rest; l++) {
      emitter.open("none");
      eachRow((at) => writeFullOutputs(job, at(constant(whole * step + l))));
      emitter.line("{", ...emitter.close(), "}");
    }
  }
  eachRow((at, q) => writeRowOutputs(job, rowsOf[q]!, at(constant(0))));
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

/** One running value of a reduction, and the variable that it comes to. */
interface Sum {
  readonly node: Node;
  readonly track: Track;
  readonly total: string;
}
