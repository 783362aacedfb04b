/**
 * Products held in registers, without workgroup memory: a workgroup is a few invocations side by
 * side along n, each with `rows` × `cols` results. With `shuffle`, each lane loads a part of the left
 * operand and broadcasts it to the others; else every invocation loads all it needs.
 *
 * On software adapters a load costs as much as dozens of multiplications, whatever its address, so
 * what counts is how often a loaded number is used: 16 rows by shuffle reach twice the speed of the
 * best tile without.
 *
 * @module
 */
import { lane } from "../emit.ts";
import { add, type Index, offset, scale, variable } from "../index.ts";
import type { Body, Job } from "../shader.ts";
import type { Width } from "../wgsl.ts";
import { contiguousAlong, epilogue, inF32, lateAlongK, type Product } from "./product.ts";

/** Shape of a tile. */
export interface TileShape {
  readonly shuffle: boolean;
  /** Rows and columns of results that one invocation holds; columns in fours. */
  readonly rows: number;
  readonly cols: number;
  /** Invocations side by side; 8 where they shuffle. */
  readonly lanes: number;
}

/** Quads of columns in a cache line. */
const lineQuads = 4;

/**
 * A wide tile reads long stretches of every row of the right operand, each number once, and a lane
 * does best with whole cache lines; else lanes take neighbouring quads.
 */
function takesLines({ cols }: TileShape): boolean {
  return cols % (4 * lineQuads) === 0;
}

/**
 * The quads of an invocation in the order in which they are read: of whole lines the first quads
 * first, so that as many lines as possible are on their way from memory at once.
 */
function readingOrder(shape: TileShape): number[] {
  const order = Array.from({ length: shape.cols / 4 }, (_, q) => q);
  return takesLines(shape) ? order.sort((a, b) => a % lineQuads - b % lineQuads || a - b) : order;
}

/** How far the q-th quad of an invocation is from its first, as text. */
function quadText(shape: TileShape): (q: string) => string {
  return (q) =>
    takesLines(shape)
      ? `${q} / ${lineQuads} * ${shape.lanes * lineQuads} + ${q} % ${lineQuads}`
      : `${q} * ${shape.lanes}`;
}

/** How a tile's operands are read: in vectors along an axis, or one by one. */
interface Reading {
  /** Four steps of k at a time if both operands come in vectors, else one. */
  readonly depth: 1 | 4;
  readonly left: "k" | "m" | "single";
  /** Vectors of neighbouring columns, vectors along k, or single columns strided over the lanes. */
  readonly right: "n" | "k" | "single";
  /** Where vectors along k begin before their columns do: by so much, for each of four columns. */
  readonly late?: readonly number[];
}

function readingOf(product: Product, shape: TileShape): Reading {
  const { left, right, m, n } = product, { rows } = shape;
  const byLeft = contiguousAlong(left, 2)
    ? "k"
    : contiguousAlong(left, 1) && rows % 4 === 0
    ? "m"
    : "single";
  const byRight = contiguousAlong(right, 2) ? "n" : contiguousAlong(right, 1) ? "k" : "single";
  const whole = n % 4 === 0;
  // Where each step of k is a long stretch already, four of them are more than need be written.
  const stretched = byRight === "n" && takesLines(shape);
  if (whole && byLeft !== "single" && byRight !== "single" && m > 1 && !stretched) {
    return { depth: 4, left: byLeft, right: byRight };
  }
  if (m === 1 && byLeft === "k" && byRight === "k" && whole) {
    return { depth: 4, left: "k", right: "k" };
  }
  const late = m === 1 && rows === 1 ? lateAlongK(product) : undefined;
  if (late !== undefined) return { depth: 4, left: "k", right: "k", late };
  return { depth: 1, left: "single", right: whole && byRight === "n" ? "n" : "single" };
}

/** `shuffle` and `registers`: tiles held in registers, no workgroup memory. */
export function writeTile(job: Job, product: Product, shape: TileShape): Omit<Body, "flops"> {
  const { emitter } = job;
  const { batch, m, n, k } = product;
  const { rows, cols, shuffle, lanes } = shape;
  const quads = cols / 4, width = lanes * cols;
  const reading = readingOf(product, shape);
  const strided = reading.right === "single";
  const inLines = takesLines(shape), quadAt = quadText(shape);
  emitter.open("batch", "down", "n0", "side");
  const names = Array.from({ length: rows * quads }, () => emitter.fresh("c"));
  for (const name of names) emitter.line(`var ${name} = vec4<f32>();`);
  const places = placesOfTile(job, product, shape, reading);
  const tile: Tile = { job, product, shape, names, ...places };

  const deep = Math.floor(k / reading.depth);
  if (deep > 0) {
    const held = holdFirst(tile, reading);
    emitter.open("kk");
    writeStep({ ...tile, held }, scale(variable("kk", deep), reading.depth), reading);
    emitter.line(`for (var kk = 0; kk < ${deep}; kk++) {`, ...emitter.close(), "}");
  }
  if (deep * reading.depth < k) {
    emitter.open("kk");
    // The few that are left must not keep the others from being read in vectors.
    emitter.byComponent = reading.late !== undefined;
    writeStep(tile, variable("kk", k), {
      depth: 1,
      left: "single",
      right: reading.right === "k" ? "single" : reading.right,
    });
    emitter.byComponent = false;
    const start = deep * reading.depth;
    emitter.line(`for (var kk = ${start}; kk < ${k}; kk++) {`, ...emitter.close(), "}");
  }
  const across = strided ? width : width / 4;
  emitter.line(...epilogue(job, product, {
    results: names,
    row: (t) => `down * ${rows} + ${t} / ${quads}`,
    column: (t) =>
      strided ? `n0 + ${t} % ${quads} * ${4 * lanes}` : `4 * (n0 + ${quadAt(`${t} % ${quads}`)})`,
    step: strided ? lanes : 1,
  }));
  const lines = emitter.close();
  const hoisted = emitter.close();
  return {
    name: shuffle ? "dot shuffle" : "dot registers",
    workgroupSize: lanes,
    // Down first: neighbours in time share columns of the right operand, which then stay in the
    // caches; across first reads all of it for every few rows.
    workgroups: [Math.ceil(m / rows), Math.ceil(n / width), batch],
    subgroups: shuffle,
    lines: [
      "let batch = i32(group.z);",
      "let down = i32(group.x);",
      shuffle ? `let side = i32(invocation & ${lanes - 1}u);` : "let side = i32(local);",
      `let n0 = i32(group.y) * ${across} + side${inLines && !strided ? ` * ${lineQuads}` : ""};`,
      ...hoisted,
      ...lines,
    ],
  };
}

interface Tile {
  readonly job: Job;
  readonly product: Product;
  readonly shape: TileShape;
  /** Accumulators: row by row, quads of columns within a row. */
  readonly names: readonly string[];
  /** Rows (fours of them, where they are read in vectors) that an invocation loads. */
  readonly down: readonly Index[];
  readonly fours: boolean;
  /** Its columns. */
  readonly across: readonly Index[];
  /** Of each column that begins late, the vector of memory that was read last. */
  readonly held?: readonly (string | undefined)[] | undefined;
}

/**
 * Names for the rows and columns of a tile. Each stands for a place inside the operand, so that
 * views of operands simplify; past the edge it is wrong, and what it loads is not stored.
 */
function placesOfTile(
  { emitter }: Job,
  { m, n }: Product,
  shape: TileShape,
  reading: Reading,
): Pick<Tile, "down" | "fours" | "across"> {
  const place = (text: string, size: number): Index => {
    const name = emitter.fresh("p");
    emitter.declare(name);
    emitter.line(`let ${name} = ${text};`);
    return variable(name, size);
  };
  const list = (length: number, f: (i: number) => Index): Index[] =>
    Array.from({ length }, (_, i) => f(i));
  const { rows, cols, shuffle, lanes } = shape, quadAt = quadText(shape);
  const quads = rows / 4, fours = reading.left === "m";
  const down = fours
    ? shuffle
      ? [place(`down * ${quads} + side % ${quads}`, m / 4)]
      : list(quads, (q) => place(`down * ${quads} + ${q}`, m / 4))
    : shuffle
    ? list(rows / lanes, (g) => place(`down * ${rows} + ${g * lanes} + side`, m))
    : list(rows, (r) => place(`down * ${rows} + ${r}`, m));
  if (reading.right === "single") {
    return { down, fours, across: list(cols, (j) => place(`n0 + ${j * lanes}`, n)) };
  }
  const quadsAcross = list(cols / 4, (q) => place(`n0 + ${quadAt(`${q}`)}`, Math.ceil(n / 4)));
  return { down, fours, across: list(cols, (j) => offset(scale(quadsAcross[j >> 2]!, 4), j & 3)) };
}

/**
 * `depth` steps of k from `k0` on, with the multiply-adds in ascending k. What a lane loads of the
 * right operand is used at once: drivers keep the order, and vectors that wait for others to be
 * loaded are spilled.
 */
function writeStep(tile: Tile, k0: Index, reading: Reading): void {
  const { job: { emitter }, shape, names } = tile;
  const { rows, cols } = shape, quads = cols / 4, order = readingOrder(shape);
  const left = loadLeft(tile, k0, reading);
  const right = loadRight(tile, k0, reading);
  for (let i = 0; i < reading.depth; i++) {
    const factors: string[] = [];
    for (const q of order) {
      const b = emitter.fresh("b");
      emitter.line(`let ${b} = ${right(q, i)};`);
      for (let r = 0; r < rows; r++) {
        if (q === 0) {
          factors.push(emitter.fresh("a"));
          emitter.line(`let ${factors[r]} = vec4<f32>(${left(r, i)});`);
        }
        const c = names[r * quads + q]!;
        emitter.line(`${c} = fma(${factors[r]}, ${b}, ${c});`);
      }
    }
  }
}

/** Loads the left operand's part of a step; the result gives the text of (row, step of k). */
function loadLeft(
  { job: { emitter }, product: { left, m, batch }, shape: { shuffle, rows, lanes }, down, fours }:
    Tile,
  k0: Index,
  { depth, left: along }: Reading,
): (r: number, i: number) => string {
  const b = variable("batch", batch);
  const load = (row: Index, k: Index, width: Width): string => {
    const name = emitter.fresh("l");
    emitter.line(`let ${name} = ${inF32(emitter.value(left, [b, row, k]), width)};`);
    return name;
  };
  const from = (text: string, side: number): string => `subgroupBroadcast(${text}, ${side}u)`;
  if (along === "m") {
    const quads = rows / 4;
    const four = (q: number): Index => add(scale(down[q]!, 4), lane);
    if (!shuffle) {
      const loaded = Array.from(
        { length: depth * quads },
        (_, j) => load(four(j % quads), offset(k0, Math.floor(j / quads)), 4),
      );
      return (r, i) => `${loaded[i * quads + (r >> 2)]}[${r & 3}]`;
    }
    // One load brings several steps of k: a lane has four rows of one step.
    const per = lanes / quads;
    const deep = emitter.fresh("deep");
    emitter.declare(deep);
    emitter.line(`let ${deep} = side / ${quads};`);
    const loaded = Array.from(
      { length: depth / per },
      (_, g) => load(four(0), add(offset(k0, g * per), variable(deep, per)), 4),
    );
    return (r, i) => from(`${loaded[Math.floor(i / per)]}[${r & 3}]`, (i % per) * quads + (r >> 2));
  }
  const width = along === "k" ? 4 : 1;
  const k = along === "k" ? add(k0, lane) : k0;
  const pick = (name: string, i: number): string => along === "k" ? `${name}[${i}]` : name;
  // In the tail of k, rows that come in fours elsewhere are read one by one.
  const rowOf = (i: number): Index => {
    if (!fours) return down[i]!;
    const name = emitter.fresh("p");
    emitter.declare(name);
    emitter.line(
      `let ${name} = down * ${rows} + ${shuffle ? `${i * lanes} + side` : `${i}`};`,
    );
    return variable(name, m);
  };
  if (!shuffle) {
    const loaded = Array.from({ length: rows }, (_, r) => load(rowOf(r), k, width));
    return (r, i) => pick(loaded[r]!, i);
  }
  const loaded = Array.from({ length: rows / lanes }, (_, g) => load(rowOf(g), k, width));
  return (r, i) => from(pick(loaded[Math.floor(r / lanes)]!, i), r % lanes);
}

/**
 * Where columns along k begin late, every step needs the end of one vector of memory and the
 * beginning of the next: the first of them are read before the loop, and each is kept for one step,
 * so that a step still reads one vector of a column.
 */
function holdFirst(tile: Tile, { late }: Reading): Tile["held"] {
  const { job: { emitter }, product: { right, batch }, across } = tile;
  return late && across.map((column, j) => {
    const by = late[j & 3]!;
    if (by === 0) return undefined;
    const held = emitter.fresh("held");
    const place = [variable("batch", batch), offset(lane, -by), column];
    emitter.line(`var ${held} = ${inF32(emitter.value(right, place), 4)};`);
    return held;
  });
}

/** Loads the right operand's part of a step; the result gives the text of (quad, step of k). */
function loadRight(
  { job: { emitter }, product: { right, batch }, shape: { cols }, across, held }: Tile,
  k0: Index,
  { right: along, late }: Reading,
): (q: number, i: number) => string {
  const b = variable("batch", batch);
  if (along === "k") {
    const loaded = Array.from({ length: cols }, (_, j) => {
      const from = (k: Index): string =>
        inF32(emitter.value(right, [b, add(k, lane), across[j]!]), 4);
      const last = held?.[j];
      if (last === undefined) return from(k0);
      const by = late![j & 3]!, next = emitter.fresh("next"), four = emitter.fresh("four");
      const parts = [0, 1, 2, 3].map((e) =>
        e + by < 4 ? `${last}[${e + by}]` : `${next}[${e + by - 4}]`
      );
      emitter.line(
        `let ${next} = ${from(offset(k0, 4 - by))};`,
        `let ${four} = vec4<f32>(${parts.join(", ")});`,
        `${last} = ${next};`,
      );
      return four;
    });
    return (q, i) =>
      `vec4<f32>(${[0, 1, 2, 3].map((e) => `${loaded[4 * q + e]}[${i}]`).join(", ")})`;
  }
  if (along === "n") {
    return (q, i) => inF32(emitter.value(right, [b, offset(k0, i), add(across[4 * q]!, lane)]), 4);
  }
  const single = (j: number, k: Index): string =>
    inF32(emitter.value(right, [b, k, across[j]!]), 1);
  return (q, i) =>
    `vec4<f32>(${[0, 1, 2, 3].map((e) => single(4 * q + e, offset(k0, i))).join(", ")})`;
}
