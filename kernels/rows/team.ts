/**
 * Rows in a team: 32 invocations share a row, one per partial sum, and meet in workgroup memory
 * (hardware); or 8 lanes of one subgroup do, four partial sums each, and meet by broadcast
 * (software with subgroups).
 *
 * @module
 */
import type { Node } from "../../graph/node.ts";
import { type Emitter, lane, type Value } from "../emit.ts";
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
import { finishPhase, isExtreme, reductionOf, type Track, widen } from "./reduction.ts";

/** How several invocations share a row. */
export interface Team {
  readonly lanes: 8 | 32;
  /** Lanes take vectors of four neighbouring elements, so p[c mod 32] is component c mod 4. */
  readonly vector: boolean;
  /** Partial sums meet by subgroup broadcast, or in workgroup memory. */
  readonly shuffle: boolean;
  /** Teams in a workgroup. */
  readonly together: number;
  /** Rows that a team takes side by side, so that what they have in common is loaded once. */
  readonly abreast: number;
}

/**
 * Whether rows begin at unlike remainders by four, and yet are read in vectors. Then a team takes
 * four neighbouring rows, so that each of them has its remainder for good: vectors are those of
 * memory, and the first and last of a row are its own in part. A partial sum is as many components
 * further on as its row begins late, which the fold undoes, so the order is that of all others.
 */
function isStaggered(team: Team, cols: number): boolean {
  return team.vector && cols % 4 !== 0;
}

/** Rows that may be read in vectors though their length is no multiple of four. */
export function canStagger(cols: number): boolean {
  return cols >= 16;
}

/** Partial sums that each lane of a team holds, one after the other; vectors count as one. */
function turns({ lanes, vector }: Team): number {
  return interleave / (lanes * (vector ? 4 : 1));
}

/** Writes the body of a rows region with a team for every row. */
export function writeTeam(job: Job, team: Team): Body {
  const frame = rowsFrame(job);
  const { emitter } = job;
  const { rows, cols } = frame;
  const inner = rowsAreInner(frame);
  const { lanes, together, abreast } = team;
  const width: Width = team.vector ? 4 : 1;
  const staggered = isStaggered(team, cols);
  if (staggered && !(team.shuffle && lanes === 8 && abreast === 4)) {
    throw new Error(
      `Cannot write rows of ${cols} in vectors: a team of ${lanes} lanes has ${abreast} abreast, ` +
        "expected four rows, and the 8 lanes of a subgroup",
    );
  }
  const names = Array.from({ length: abreast }, (_, q) => q === 0 ? "r" : `r${q}`);
  // By how much the vector with a row's first element begins before it.
  const late = names.map((_, q) => staggered ? q * cols % 4 : 0);
  const whole = Math.floor(cols / width);
  const steps = staggered ? Math.floor((cols - 1 + Math.max(...late)) / 4) + 1 : whole;
  const colOf = (at: Index, q: number): Index =>
    width === 4 ? add(offset(scale(at, 4), -late[q]!), lane) : at;
  const fours = Math.ceil(rows / abreast);
  const rowOf = (q: number): Index =>
    staggered ? offset(scale(variable("r", fours), 4), q) : variable(names[q]!, rows);
  emitter.open(...names);
  const globals: string[] = [];
  const ways = turns(team);
  // The same for every row of the team, with the totals of that row in force.
  const known = names.map(() => new Map<Node, Value>());
  const eachRow = <T>(f: (places: (col: Index) => Places, q: number) => T): T[] =>
    names.map((_, q) => {
      emitter.computed = known[q]!;
      return f((col) => placesOf(frame, { row: rowOf(q), col }), q);
    });
  const c = variable("c", steps);
  for (const phase of phasesOf(job)) {
    const tracks = eachRow(() =>
      phase.flatMap((node) =>
        reductionOf(node).tracks.map((track) => {
          const names = Array.from({ length: ways }, () => emitter.fresh("part"));
          for (const name of names) {
            emitter.line(`var ${name} = ${typeName(track.type, width)}(${track.start});`);
          }
          return { node, track, names, total: emitter.fresh("total") };
        })
      )
    );
    for (let u = 0; u < ways; u++) {
      emitter.open("c");
      eachRow((at, q) => {
        if (staggered) emitter.line(`let own${q} = ${ownLanes("c", late[q]!, cols)};`);
        for (const { node, track, names } of tracks[q]!) {
          const [x] = node.inputs;
          const value = emitter.splat(emitter.value(x!, at(colOf(c, q)).full(x!.shape)), width);
          const lifted = track.lift(widen(value, node, width), width);
          const term = staggered
            ? `select(${typeName(track.type, 4)}(${track.start}), ${lifted}, own${q})`
            : lifted;
          emitter.line(`${names[u]} = ${track.combine(names[u]!, term)};`);
        }
      });
      const loop = emitter.close();
      const first = u === 0 ? "part" : `part + ${u * lanes}`;
      emitter.line(`for (var c = ${first}; c < ${steps}; c += ${lanes * ways}) {`, ...loop, "}");
    }
    eachRow((_, q) => {
      for (const track of tracks[q]!) {
        const parts = { ...track, late: late[q]! }, { total } = parts;
        emitter.declare(total);
        emitter.line(`var ${total} = ${typeName(parts.track.type, 1)}(${parts.track.start});`);
        if (team.shuffle) emitter.line(...foldByShuffle(parts, team, staggered));
        else globals.push(...foldInMemory(parts, team, inner, emitter));
      }
      finishPhase(emitter, phase, tracks[q]!, 1);
    });
  }
  const alive = (q: number): string => staggered && rows % 4 !== 0 ? `r * 4 + ${q} < ${rows}` : "";
  if (hasFullOutputs(job)) {
    emitter.open("c");
    eachRow((at, q) => {
      emitter.open("none");
      writeFullOutputs(job, at(colOf(c, q)));
      const stores = emitter.close();
      emitter.line(...alive(q) === "" ? stores : [`if (${alive(q)}) {`, ...stores, "}"]);
    });
    const loop = emitter.close();
    emitter.line("if (alive) {");
    const [first, end] = staggered ? ["part + 1", whole] : ["part", steps];
    emitter.line(`for (var c = ${first}; c < ${end}; c += ${lanes}) {`, ...loop, "}", "}");
  }
  if (hasFullOutputs(job) && staggered) {
    // What is left of a row at both ends is less than eight elements: one for each lane. Those of a
    // vector are of neighbouring rows, which are this team's, one after the other.
    emitter.byComponent = true;
    const edges = eachRow((at, q) => {
      const name = `edge${q}`;
      emitter.open(name);
      writeFullOutputs(job, at(variable(name, cols)));
      const first = `let ${name} = select(part + ${4 * whole - 4}, part, part < ${4 - late[q]!});`;
      const edge = [first, ...emitter.close()];
      return alive(q) === "" ? ["{", ...edge, "}"] : [`if (${alive(q)}) {`, ...edge, "}"];
    });
    emitter.byComponent = false;
    emitter.line(`if (alive && part < ${4 + cols % 4}) {`, ...edges.flat(), "}");
  }
  eachRow((_, q) => {
    // Under a name of its own, so that what only the lead needs is read by the lead only: the output
    // may lie over that very input.
    emitter.open("lead");
    const own = variable("lead", rows);
    writeRowOutputs(job, own, placesOf(frame, { row: own, col: constant(0) }));
    const rowOutputs = emitter.close();
    if (rowOutputs.length > 0) {
      const [lead, too] = staggered ? [`r * 4 + ${q}`, alive(q)] : [names[q]!, ""];
      const condition = ["alive", "part == 0", ...too === "" ? [] : [too]].join(" && ");
      emitter.line(`if (${condition}) {`, `let lead = ${lead};`, ...rowOutputs, "}");
    }
  });
  const lines = emitter.close();
  const hoisted = emitter.close();
  const groups = Math.ceil(fours / together);
  const [by, units] = staggered ? [1, fours] : [abreast, rows - abreast + 1];
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
      `let wanted = (${groupNumber(groups, job.adapter)} * ${together} + own) * ${by};`,
      `let alive = wanted < ${staggered ? fours : rows};`,
      `let r = min(wanted, ${units - 1});`,
      ...staggered ? [] : names.slice(1).map((name, q) => `let ${name} = r + ${q + 1};`),
      ...hoisted,
      ...lines,
    ],
    flops: elementFlops(job.region),
  };
}

/** Which lanes of a vector are a row's own, of one that begins `late` components late. */
function ownLanes(at: string, late: number, cols: number): string {
  const before = [0, 1, 2, 3].map((l) => l - late).join(", ");
  return `vec4<u32>(vec4<i32>(${at} * 4) + vec4<i32>(${before})) < vec4<u32>(${cols}u)`;
}

/** The partial values of one track of a reduction, and the total they are folded into. */
interface Parts {
  readonly node: Node;
  readonly track: Track;
  /** The partial values of a lane, by turn. */
  readonly names: readonly string[];
  readonly total: string;
  /** Components by which the row begins late. */
  readonly late: number;
}

/** p0 … p31 from left to right, each broadcast from the lane that holds it. */
function foldByShuffle(
  { node, track, names, total, late }: Parts,
  { lanes, vector }: Team,
  staggered: boolean,
): string[] {
  const from = (text: string, side: number): string => `subgroupBroadcast(${text}, ${side}u)`;
  if (isExtreme(node)) {
    const own = vector ? [..."xyzw"].map((l) => `${names[0]}.${l}`) : names;
    const sides = Array.from({ length: lanes }, (_, side) => side);
    return [
      ...own.map((name) => `${total} = ${track.combine(total, name)};`),
      ...sides.map((side) => `let ${total}s${side} = ${from(total, side)};`),
      ...sides.map((side) => `${total} = ${track.combine(total, `${total}s${side}`)};`),
    ];
  }
  if (staggered) {
    // Four times over: as a loop, since a driver takes its time for every line. What begins late is
    // first moved to where the others begin.
    const turned = [0, 1, 2, 3].map((l) => {
      const own = `${names[0]}.${"xyzw"[(l + late) % 4]}`;
      return l + late < 4 ? own : `subgroupShuffle(${own}, (invocation + 1u) & 7u)`;
    });
    const terms = [..."xyzw"].map((l) => `subgroupShuffle(${total}t.${l}, side)`);
    return [
      `let ${total}t = ${typeName(track.type, 4)}(${turned.join(", ")});`,
      `for (var side = 0u; side < ${lanes}u; side++) {`,
      ...terms.map((term) => `${total} = ${track.combine(total, term)};`),
      "}",
    ];
  }
  return Array.from({ length: interleave }, (_, p) => {
    const term = vector
      ? from(`${names[0]}.${"xyzw"[p % 4]}`, Math.floor(p / 4))
      : from(names[Math.floor(p / lanes)]!, p % lanes);
    return `${total} = ${track.combine(total, term)};`;
  });
}

/** The same by way of workgroup memory; returns what has to be declared. */
function foldInMemory(
  { track, names, total }: Parts,
  { lanes, together }: Team,
  inner: boolean,
  emitter: Emitter,
): string[] {
  const shared = `${total}w`;
  emitter.line(
    `${shared}[slot] = ${names[0]};`,
    "workgroupBarrier();",
    `for (var k = 0; k < ${lanes}; k++) {`,
    `let other = ${shared}[${inner ? `own + k * ${together}` : `own * ${lanes} + k`}];`,
    `${total} = ${track.combine(total, "other")};`,
    "}",
  );
  return [`var<workgroup> ${shared}: array<${typeName(track.type, 1)}, ${together * lanes}>;`];
}
