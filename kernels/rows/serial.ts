/**
 * Rows one by one: an invocation has a row to itself, or four neighbouring rows where rows are
 * contiguous in memory (sums over the outer axes), and takes the partial sums one after the other.
 *
 * @module
 */
import { lane } from "../emit.ts";
import { add, constant, type Index, scale, variable } from "../index.ts";
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
import { finishPhase, reductionOf, widen } from "./reduction.ts";

/** Writes the body of a rows region with a row (or four) for every invocation. */
export function writeSerial(job: Job): Body {
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
    // for u: for c = u, u + partials …: part += element; then total += part, lane by lane
    const partWidth: Width = inner || step === 4 ? 4 : 1, totalWidth: Width = inner ? 4 : 1;
    const tracks = phase.flatMap((node) =>
      reductionOf(node).tracks.map((track) => {
        const total = emitter.fresh("total");
        emitter.declare(total);
        emitter.line(`var ${total} = ${typeName(track.type, totalWidth)}(${track.start});`);
        return { node, track, total, part: `${total}p` };
      })
    );
    emitter.open("u");
    for (const { track, part } of tracks) {
      emitter.line(`var ${part} = ${typeName(track.type, partWidth)}(${track.start});`);
    }
    const accumulate = (places: Places, component: string, width: Width): void => {
      for (const { node, track, part } of tracks) {
        const [x] = node.inputs;
        const value = emitter.splat(emitter.value(x!, places.full(x!.shape)), width);
        const target = part + component;
        const lifted = track.lift(widen(value, node, width), width);
        emitter.line(`${target} = ${track.combine(target, lifted)};`);
      }
    };
    emitter.open("c");
    accumulate(at(col), "", partWidth);
    const loop = emitter.close();
    if (partials > 1) {
      emitter.line(`for (var c = u; c < ${whole}; c += ${partials}) {`, ...loop, "}");
    } else {
      emitter.line(`for (var c = 0; c < ${whole}; c++) {`, ...loop, "}");
    }
    if (rest > 0) {
      // The last few elements belong to the first lanes of one partial sum.
      emitter.open("u");
      for (let l = 0; l < rest; l++) accumulate(at(constant(whole * step + l)), `.${"xyzw"[l]}`, 1);
      const tail = emitter.close();
      if (partials > 1) emitter.line(`if (u == ${whole % partials}) {`, ...tail, "}");
      else emitter.line(...tail);
    }
    for (const { track, total, part } of tracks) {
      const terms = partWidth === 4 && !inner ? [..."xyzw"].map((l) => `${part}.${l}`) : [part];
      for (const term of terms) emitter.line(`${total} = ${track.combine(total, term)};`);
    }
    const block = emitter.close();
    if (partials > 1) emitter.line(`for (var u = 0; u < ${partials}; u++) {`, ...block, "}");
    else emitter.line("{", ...block, "}");
    finishPhase(emitter, phase, tracks, totalWidth);
  }

  if (hasFullOutputs(job)) {
    emitter.open("c");
    writeFullOutputs(job, at(col));
    const loop = emitter.close();
    emitter.line(`for (var c = 0; c < ${whole}; c++) {`, ...loop, "}");
    for (let l = 0; l < rest; l++) {
      emitter.open("none");
      writeFullOutputs(job, at(constant(whole * step + l)));
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
