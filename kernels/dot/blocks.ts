/**
 * Products in blocks, for hardware: a workgroup computes a block of `down` × `across` results, each
 * invocation `rows` × `cols` of them in registers. Both operands are staged in workgroup memory,
 * `deep` steps of k at a time; where there is room for two such stages, the next one is fetched
 * while the first is used, and a step costs one barrier (Volkov & Demmel 2008 and what followed).
 *
 * @module
 */
import type { Node } from "../../graph/node.ts";
import { lane } from "../emit.ts";
import { add, scale, variable } from "../index.ts";
import type { Body, Job } from "../shader.ts";
import { contiguousAlong, epilogue, inF32, type Product } from "./product.ts";

/** Sizes of a block, all multiples of four. */
export interface BlockShape {
  /** Results of a workgroup. */
  readonly down: number;
  readonly across: number;
  /** Steps of k in a stage. */
  readonly deep: number;
  /** Results of an invocation. */
  readonly rows: number;
  readonly cols: number;
  readonly stages: 1 | 2;
}

/** Invocations of a workgroup. */
export function invocationsOf({ down, across, rows, cols }: BlockShape): number {
  return (down / rows) * (across / cols);
}

/** Rows of staged operands are that many quads apart: one more than needed spares bank conflicts. */
function pitchOf(side: number): number {
  return side / 4 + 1;
}

/** Bytes of workgroup memory. */
export function bytesOfBlock({ down, across, deep, stages }: BlockShape): number {
  return 16 * stages * deep * (pitchOf(down) + pitchOf(across));
}

/** One operand on its way into workgroup memory. */
interface Staging {
  /** Declarations of what an invocation carries. */
  readonly held: readonly string[];
  /** Statements that load stage `next`. */
  readonly fetch: readonly string[];
  /** Statements that put it where the number `into` says. */
  readonly put: readonly string[];
}

/** Writes the body of a product in blocks. */
export function writeBlocks(job: Job, product: Product, shape: BlockShape): Omit<Body, "flops"> {
  const { emitter } = job;
  const { batch, m, n, k } = product;
  const { down, across, deep, rows, cols, stages } = shape;
  const invocations = invocationsOf(shape), steps = Math.ceil(k / deep);
  const perRow = across / cols, quads = cols / 4;
  // An invocation's rows and columns come in fours, which lie far apart, as neighbours' fours are
  // read together.
  const farDown = down / (rows / 4), farAcross = across / quads;
  emitter.open("batch", "south", "east");
  const names = Array.from({ length: rows * quads }, (_, i) => `c${i}`);
  emitter.line(...names.map((name) => `var ${name} = vec4<f32>();`));
  const staged = [
    stage(job, product, shape, product.left, "left", "tileA"),
    stage(job, product, shape, product.right, "right", "tileB"),
  ];
  const put = (into: string): string[] => [
    "{",
    `let into = ${stages === 1 ? "0" : into};`,
    ...staged.flatMap(({ put }) => put),
    "}",
  ];
  const fetch = (next: string): string[] => [
    "{",
    `let next = ${next};`,
    ...staged.flatMap(({ fetch }) => fetch),
    "}",
  ];
  const step = (j: string): string[] => {
    const at = (name: string, side: number): string =>
      `${name}[(used + ${j}) * ${pitchOf(side)} + `;
    return [
      "{",
      ...Array.from(
        { length: rows / 4 },
        (_, g) => `let a${g} = ${at("tileA", down)}down + ${g * farDown / 4}];`,
      ),
      ...Array.from(
        { length: quads },
        (_, q) => `let b${q} = ${at("tileB", across)}across + ${q * farAcross / 4}];`,
      ),
      ...names.map((c, i) => {
        const r = Math.floor(i / quads), q = i % quads;
        return `${c} = fma(vec4<f32>(a${r >> 2}[${r & 3}]), b${q}, ${c});`;
      }),
      "}",
    ];
  };
  const unrolled = [0, 1, 2, 3].flatMap((i) => step(`j + ${i}`));
  const ragged = k % deep;
  const whole = [`for (var j = 0; j < ${deep}; j += 4) {`, ...unrolled, "}"];
  emitter.line(
    ...staged.flatMap(({ held }) => held),
    ...fetch("0"),
    ...put("0"),
    "workgroupBarrier();",
    `for (var kk = 0; kk < ${steps}; kk++) {`,
    ...(steps > 1 ? [`if (kk < ${steps - 1}) {`, ...fetch("kk + 1"), "}"] : []),
    `let used = ${stages === 1 ? "0" : `(kk & 1) * ${deep}`};`,
    ...(ragged === 0 ? whole : [
      `if (kk < ${steps - 1}) {`,
      ...whole,
      "} else {",
      `for (var j = 0; j < ${ragged}; j++) {`,
      ...step("j"),
      "}",
      "}",
    ]),
    ...(stages === 1 ? ["workgroupBarrier();"] : []),
    ...(steps > 1 ? [`if (kk < ${steps - 1}) {`, ...put("(kk + 1) & 1"), "}"] : []),
    "workgroupBarrier();",
    "}",
  );
  emitter.line(...epilogue(job, product, {
    results: names,
    row: (t) => {
      const r = quads === 1 ? t : `${t} / ${quads}`;
      return `south * ${down} + 4 * down + (${r}) / 4 * ${farDown} + (${r}) % 4`;
    },
    column: (t) => `east * ${across} + 4 * across + ${t} % ${quads} * ${farAcross}`,
    step: 1,
  }));
  const lines = emitter.close();
  const hoisted = emitter.close();
  const tile = (name: string, side: number): string =>
    `var<workgroup> ${name}: array<vec4<f32>, ${stages * deep * pitchOf(side)}>;`;
  return {
    name: "dot blocks",
    workgroupSize: invocations,
    workgroups: [Math.ceil(n / across), Math.ceil(m / down), batch],
    globals: [tile("tileA", down), tile("tileB", across)],
    lines: [
      "let slot = i32(local);",
      `let across = slot % ${perRow};`,
      `let down = slot / ${perRow};`,
      "let batch = i32(group.z);",
      "let south = i32(group.y);",
      "let east = i32(group.x);",
      ...hoisted,
      ...lines,
    ],
  };
}

/**
 * Brings `deep` steps of an operand, as quads along the axis that is contiguous in memory, and lays
 * them down with neighbouring rows (of the left operand) or columns (of the right) side by side.
 * What lies past an edge feeds only results that are not stored; past the end of k nobody reads.
 */
function stage(
  { emitter }: Job,
  { isInput, batch, m, n, k }: Product,
  shape: BlockShape,
  operand: Node,
  which: "left" | "right",
  tile: string,
): Staging {
  const { down, across, deep, stages } = shape;
  const [side, start, size] = which === "left" ? [down, "south", m] : [across, "east", n];
  const b = variable("batch", batch), pitch = pitchOf(side);
  const begin = scale(variable(start, Math.ceil(size / side)), side);
  const k0 = scale(variable("next", Math.ceil(k / deep)), deep);
  const alongSide = contiguousAlong(operand, which === "left" ? 1 : 2, isInput);
  const invocations = invocationsOf(shape), count = side * deep / 4;
  const held: string[] = [], fetch: string[] = [], put: string[] = [];
  for (let i = 0; i * invocations < count; i++) {
    const v = `${tile}${i}`, e = `slot + ${i * invocations}`;
    // Quads along the side, or quads along k.
    const row = alongSide ? side / 4 : deep / 4;
    const [quick, slow] = [emitter.fresh("i"), emitter.fresh("j")];
    emitter.open("next", "slot");
    emitter.declare(quick);
    emitter.declare(slow);
    const q = scale(variable(quick, row), 4), s = variable(slow, count / row);
    const place = add(begin, alongSide ? add(q, lane) : s);
    const step = add(k0, alongSide ? s : add(q, lane));
    const index = which === "left" ? [b, place, step] : [b, step, place];
    const value = inF32(emitter.value(operand, index), 4);
    const loads = emitter.close();
    const names = [`let ${quick} = (${e}) % ${row};`, `let ${slow} = (${e}) / ${row};`];
    const guarded = (lines: string[]): string[] =>
      (i + 1) * invocations <= count
        ? ["{", ...lines, "}"]
        : [`if (${e} < ${count}) {`, ...lines, "}"];
    held.push(`var ${v} = vec4<f32>();`);
    fetch.push(...guarded([...names, ...loads, `${v} = ${value};`]));
    const into = stages === 1 ? "" : `into * ${deep} + `;
    put.push(...guarded([
      ...names,
      ...(alongSide
        ? [`${tile}[(${into}${slow}) * ${pitch} + ${quick}] = ${v};`]
        : [0, 1, 2, 3].map(
          (l) =>
            `${tile}[(${into}4 * ${quick} + ${l}) * ${pitch} + ${slow} / 4][${slow} % 4] = ${v}[${l}];`,
        )),
    ]));
  }
  return { held, fetch, put };
}
