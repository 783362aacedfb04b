/**
 * Rows that lie side by side in memory, of a number that four does not divide: sums over leading
 * axes of [n, 211]. Their elements are read in vectors of memory all the same. A vector of the k-th
 * line begins k·rows mod 4 components before a four of rows does, which is the same for all elements
 * of a partial sum; so each partial sum stays in the components where it lies, and only when they
 * are folded do lanes take what the next one holds of their rows. Eight lanes of a subgroup so have
 * the totals of seven fours of rows, and the eighth is there for its neighbour.
 *
 * @module
 */
import type { Node } from "../../graph/node.ts";
import { sizeOf } from "../../graph/shape.ts";
import { lane, type Value } from "../emit.ts";
import {
  add,
  constant,
  flatten,
  type Index,
  isMultiple,
  offset,
  scale,
  substitute,
  variable,
} from "../index.ts";
import { footprintOf, type Places, placesOf, rowsAreInner } from "../region.ts";
import { type Body, elementFlops, groupNumber, type Job, operationsOf } from "../shader.ts";
import { typeName } from "../wgsl.ts";
import { fullOutputsOf, interleave, phasesOf, rowsFrame, writeRowOutputs } from "./layout.ts";
import { finishPhase, reductionOf, widen } from "./reduction.ts";

/** Fours of rows that the eight lanes of a team have whole. */
const foursOfTeam = 7;

/** Fours of lines whose partial sums are apart. */
const turns = interleave / 4;

/** Whether rows are read in vectors that way, and are enough of them to be worth it. */
export function canShift(job: Job): boolean {
  const frame = rowsFrame(job), { rows, cols } = frame;
  const singly = Math.ceil(rows / 8), shifted = Math.ceil(rows / (4 * foursOfTeam));
  if (rows % 4 === 0 || 2 * shifted > singly || !rowsAreInner(frame)) return false;
  if (operationsOf(job.region) > 32) return false;
  const plain = add(scale(variable("col", cols), rows), variable("row", rows));
  const large = largeReads(job), written = fullOutputsOf(job).map(({ buffer }) => buffer);
  return large.length > 0 &&
    large.every(([x, places]) =>
      !written.includes(job.emitter.buffers.get(x)!) &&
      [...places.values()].every((place) =>
        isMultiple(add(flatten(place, x.shape), scale(plain, -1)), 4)
      )
    );
}

/** What is read of values that have an element for each of the frame. */
function largeReads(job: Job): [Node, ReadonlyMap<string, readonly Index[]>][] {
  const { rows, cols } = rowsFrame(job);
  return [...footprintOf(job.region).reads].filter(([{ shape }]) => sizeOf(shape) >= rows * cols);
}

/** Writes the body of a rows region in vectors that belong to fours of rows in part. */
export function writeShifted(job: Job): Body {
  const frame = rowsFrame(job), { emitter } = job, { rows, cols } = frame;
  const teams = Math.ceil(rows / (4 * foursOfTeam)), lines = Math.ceil(cols / 4);
  const r = variable("r", teams * foursOfTeam + 1), c = variable("c", lines);
  // By how much the vectors of a line begin before their fours of rows, by its number mod 4.
  const early = [0, 1, 2, 3].map((j) => j * rows % 4);
  const rowAt = (before: number): Index => offset(add(scale(r, 4), lane), -before);
  const placesAt = (before: number, col: Index): Places =>
    placesOf(frame, { row: rowAt(before), col });
  const full = fullOutputsOf(job);
  // They begin anywhere, and a vector in them may belong to two teams.
  for (const { buffer } of full) buffer.vector = false;
  // Totals of earlier phases, as they lie in vectors that begin so much before.
  const known = new Map([0, ...early].map((before) => [before, new Map<Node, Value>()]));
  emitter.open("r");
  emitter.line("var seen = 0u;");
  for (const [number, phase] of phasesOf(job).entries()) {
    const tracks = phase.flatMap((node) =>
      reductionOf(node).tracks.map((track) => {
        const total = emitter.fresh("total"), type = typeName(track.type, 4);
        emitter.declare(total);
        emitter.line(`var ${total} = ${type}(${track.start});`);
        return { node, track, total, type };
      })
    );
    emitter.open("u");
    for (const { track, total, type } of tracks) {
      for (const j of early.keys()) emitter.line(`var ${total}p${j} = ${type}(${track.start});`);
    }
    emitter.open("c");
    early.forEach((before, j) => {
      emitter.computed = known.get(before)!;
      const places = placesAt(before, offset(scale(c, 4), j));
      // The last four lines may be there in part.
      const there = cols % 4 !== 0 && j >= cols % 4;
      for (const { node, track, total, type } of tracks) {
        const [x] = node.inputs;
        const value = emitter.splat(emitter.value(x!, places.full(x!.shape)), 4);
        const lifted = track.lift(widen(value, node, 4), 4);
        const term = there
          ? `select(${type}(${track.start}), ${lifted}, c * 4 + ${j} < ${cols})`
          : lifted;
        emitter.line(`${total}p${j} = ${track.combine(`${total}p${j}`, term)};`);
      }
    });
    if (number === 0) emitter.line(...touch(job));
    const loop = emitter.close();
    emitter.line(`for (var c = u; c < ${lines}; c += ${turns}) {`, ...loop, "}");
    early.forEach((before, j) => {
      for (const { track, total, type } of tracks) {
        const own = `${total}p${j}`, next = `${own}n`;
        if (before > 0) emitter.line(`let ${next} = subgroupShuffle(${own}, after);`);
        const term = before === 0 ? own : `${type}(${across(own, next, before)})`;
        emitter.line(`${total} = ${track.combine(total, term)};`);
      }
    });
    const block = emitter.close();
    emitter.line(`for (var u = 0; u < ${Math.min(turns, lines)}; u++) {`, ...block, "}");
    if (number === 0) {
      const [{ track, total }] = tracks as [typeof tracks[number]];
      const bits = `bitcast<vec4<u32>>(${total}) ^ vec4<u32>(seen & zero)`;
      emitter.line(`${total} = bitcast<${typeName(track.type, 4)}>(${bits});`);
    }
    for (const [before, values] of known) {
      emitter.computed = values;
      const moved = tracks.map((track) => {
        if (before === 0) return track;
        const total = `${track.total}b${before}`, last = `${total}l`;
        emitter.declare(total);
        emitter.line(
          `let ${last} = subgroupShuffle(${track.total}, ahead);`,
          `let ${total} = ${track.type}(${across(last, track.total, 4 - before)});`,
        );
        return { ...track, total };
      });
      finishPhase(emitter, phase, moved, 4);
    }
  }

  emitter.computed = known.get(0)!;
  const fours = Math.floor(rows / 4), rest = rows % 4;
  if (full.length > 0) {
    const col = variable("c", cols), { shape } = frame;
    emitter.byComponent = true;
    emitter.open("c");
    const places = placesAt(0, col), address = flatten(places.full(shape), shape);
    const values = full.map(({ node }) =>
      emitter.splat(emitter.value(node, places.full(node.shape)), 4)
    );
    const stores = [0, 1, 2, 3].map((l) =>
      full.map(({ buffer }, i) => {
        const value: Value = { ...values[i]!, text: `${values[i]!.text}[${l}]`, width: 1 };
        return emitter.store(buffer, value, substitute(address, new Map([["lane", constant(l)]])));
      })
    );
    emitter.line(...stores.slice(0, rest).flat());
    emitter.line(`if (r < ${fours}) {`, ...stores.slice(rest).flat(), "}");
    const loop = emitter.close();
    emitter.byComponent = false;
    emitter.line("if (own) {", `for (var c = 0; c < ${cols}; c++) {`, ...loop, "}", "}");
  }
  emitter.open("none");
  writeRowOutputs(job, rowAt(0), placesAt(0, constant(0)));
  const rowOutputs = emitter.close();
  if (rowOutputs.length > 0) emitter.line("if (own) {", ...rowOutputs, "}");
  const text = emitter.close();
  const hoisted = emitter.close();
  return {
    name: "columns",
    workgroupSize: 8,
    workgroups: teams,
    subgroups: true,
    lines: [
      "let part = i32(invocation & 7u);",
      `let r = ${groupNumber(teams, job.adapter)} * ${foursOfTeam} + part;`,
      `let own = part < ${foursOfTeam} && r <= ${fours};`,
      "let after = (invocation + 1u) & 7u;",
      "let ahead = (invocation + 7u) & 7u;",
      ...hoisted,
      ...text,
    ],
    flops: elementFlops(job.region),
  };
}

/**
 * Asks for the four lines that come next, all at once: a lane each for one of the two cache lines
 * that a team has of a line and the team before it has not. Else they would come one after the
 * other, when they are read: what a vector reads is in two or three of them.
 */
function touch(job: Job): string[] {
  const { emitter } = job, { rows, cols } = rowsFrame(job);
  const at = new Map([["row", variable("near", rows)], ["col", variable("soon", cols)]]);
  emitter.byComponent = true;
  emitter.open("near", "soon");
  for (const [x, places] of largeReads(job)) {
    const [place] = [...places.values()];
    const { text, dtype } = emitter.value(x, place!.map((e) => substitute(e, at)));
    const bits = dtype === "bool" || dtype === "f16" ? `u32(${text})` : `bitcast<u32>(${text})`;
    emitter.line(`seen = seen | ${bits};`);
  }
  emitter.byComponent = false;
  return [
    `let soon = min((c + ${turns}) * 4 + part / 2, ${cols - 1});`,
    `let near = min(r * 4 - part * 4 + 16 + part % 2 * 15, ${rows - 1});`,
    ...emitter.close(),
  ];
}

/** Four components from the one numbered `from` on: of a vector, and then of the next. */
function across(vector: string, next: string, from: number): string {
  return `${vector}.${"xyzw".slice(from)}, ${next}.${"xyzw".slice(0, from)}`;
}
