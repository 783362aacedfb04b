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

/** What stays in a core's own cache from one workgroup to the next. */
const cacheBytes = 1 << 19;

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
  /** Steps of k at a time: more than one where both operands come in vectors. */
  readonly depth: 1 | 2 | 4;
  readonly left: "k" | "m" | "single";
  /** Vectors of neighbouring columns, vectors along k, or single columns strided over the lanes. */
  readonly right: "n" | "k" | "single";
  /** Where vectors along k begin before their columns do: by so much, for each of four columns. */
  readonly late?: readonly number[];
}

function readingOf(product: Product, shape: TileShape): Reading {
  const { left, right, isInput, m, n } = product, { rows } = shape;
  const byLeft = contiguousAlong(left, 2, isInput)
    ? "k"
    : contiguousAlong(left, 1, isInput) && rows % 4 === 0
    ? "m"
    : "single";
  const byRight = contiguousAlong(right, 2, isInput)
    ? "n"
    : contiguousAlong(right, 1, isInput)
    ? "k"
    : "single";
  const whole = n % 4 === 0;
  // Where each step of k is a long stretch already, four of them are more than need be written.
  const stretched = byRight === "n" && takesLines(shape);
  if (whole && byLeft !== "single" && byRight !== "single" && m > 1 && !stretched) {
    // Without vectors along k, two steps are as fast as four where they feed as many results.
    const depth = byLeft === "m" && byRight === "n" && rows >= 32 ? 2 : 4;
    return { depth, left: byLeft, right: byRight };
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
  // Neighbours in time share what stays in the caches: the right operand, if all of it does, so that
  // the left one is read from memory once; else the columns of the right one, going down.
  const acrossFirst = 4 * k * n <= cacheBytes;
  const groupsDown = Math.ceil(m / rows), groupsAcross = Math.ceil(n / width);
  return {
    name: shuffle ? "dot shuffle" : "dot registers",
    workgroupSize: lanes,
    workgroups: acrossFirst ? [groupsAcross, groupsDown, batch] : [groupsDown, groupsAcross, batch],
    subgroups: shuffle,
    lines: [
      "let batch = i32(group.z);",
      // A number, so that products which differ in it may share a text.
      `let turned = ${acrossFirst ? 1 : 0} == 1;`,
      "let down = i32(select(group.x, group.y, turned));",
      shuffle ? `let side = i32(invocation & ${lanes - 1}u);` : "let side = i32(local);",
      `let n0 = i32(select(group.y, group.x, turned)) * ${across} + side${
        inLines && !strided ? ` * ${lineQuads}` : ""
      };`,
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

/** Of how many quads of rows the lanes bring all steps of k with one load. */
function quadsASide({ lanes }: TileShape, { depth }: Reading): number {
  return lanes / depth;
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
  const side = quadsASide(shape, reading);
  const down = fours
    ? shuffle
      ? list(
        Math.ceil(quads / side),
        (g) => place(`down * ${quads} + ${g * side} + side / ${reading.depth}`, m / 4),
      )
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
 * `depth` steps of k from `k0` on. What is loaded of the right operand is used at once, since drivers
 * keep the order, and vectors that wait for others to be loaded are spilled. A result takes all its
 * steps in a row: there are more results than registers, so each turn costs a load and a store.
 */
function writeStep(tile: Tile, k0: Index, reading: Reading): void {
  const { job: { emitter }, shape, names } = tile;
  const quads = shape.cols / 4;
  const left = loadLeft(tile, k0, reading);
  const right = loadRight(tile, k0, reading);
  for (const q of readingOrder(shape)) {
    const vectors = right(q).map((text) => {
      const b = emitter.fresh("b");
      emitter.line(`let ${b} = ${text};`);
      return b;
    });
    for (let r = 0; r < shape.rows; r++) {
      const c = names[r * quads + q]!;
      vectors.forEach((b, i) => emitter.line(`${c} = fma(vec4<f32>(${left(r, i)}), ${b}, ${c});`));
    }
  }
}

/** Loads the left operand's part of a step; the result gives the text of (row, step of k). */
function loadLeft(
  { job: { emitter }, product: { left, m, batch }, shape, down, fours }: Tile,
  k0: Index,
  reading: Reading,
): (r: number, i: number) => string {
  const { shuffle, rows, lanes } = shape, { depth, left: along } = reading;
  const b = variable("batch", batch);
  const load = (row: Index, k: Index, width: Width): string => {
    const name = emitter.fresh("l");
    emitter.line(`let ${name} = ${inF32(emitter.value(left, [b, row, k]), width)};`);
    return name;
  };
  const heard = new Map<string, string>();
  /** What the lane `side` has loaded, heard when it is first needed. */
  const from = (loaded: string, side: number): string => {
    const text = `subgroupBroadcast(${loaded}, ${side}u)`;
    let name = heard.get(text);
    if (name === undefined) {
      heard.set(text, name = emitter.fresh("a"));
      emitter.line(`let ${name} = ${text};`);
    }
    return name;
  };
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
    // Of a load's lanes neighbours have neighbouring steps of k, which lie in cache lines far apart:
    // so these are fetched at the same time, and the next load finds the rest of them.
    const side = quadsASide(shape, reading);
    const deep = emitter.fresh("deep");
    emitter.declare(deep);
    emitter.line(`let ${deep} = side % ${depth};`);
    const step = add(k0, variable(deep, depth));
    const loaded = down.map((_, g) => load(four(g), step, 4));
    return (r, i) => {
      const quad = r >> 2;
      return `${from(loaded[Math.floor(quad / side)]!, quad % side * depth + i)}[${r & 3}]`;
    };
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
  return (r, i) => pick(from(loaded[Math.floor(r / lanes)]!, r % lanes), i);
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

/** The text of the right operand's vectors, one for each step of k, of a quad of columns. */
function loadRight(
  { job: { emitter }, product: { right, batch }, across, held }: Tile,
  k0: Index,
  { depth, right: along, late }: Reading,
): (q: number) => string[] {
  const b = variable("batch", batch);
  const steps = Array.from({ length: depth }, (_, i) => i);
  const vector = (f: (e: number) => string): string =>
    `vec4<f32>(${[0, 1, 2, 3].map(f).join(", ")})`;
  if (along === "n") {
    return (q) =>
      steps.map((i) =>
        inF32(emitter.value(right, [b, offset(k0, i), add(across[4 * q]!, lane)]), 4)
      );
  }
  if (along === "single") {
    return (q) =>
      steps.map((i) =>
        vector((e) => inF32(emitter.value(right, [b, offset(k0, i), across[4 * q + e]!]), 1))
      );
  }
  const column = (j: number): string => {
    const from = (k: Index): string =>
      inF32(emitter.value(right, [b, add(k, lane), across[j]!]), 4);
    const last = held?.[j];
    if (last === undefined) return from(k0);
    const by = late![j & 3]!, next = emitter.fresh("next"), four = emitter.fresh("four");
    const part = (e: number): string => e < 4 ? `${last}[${e}]` : `${next}[${e - 4}]`;
    emitter.line(
      `let ${next} = ${from(offset(k0, 4 - by))};`,
      `let ${four} = ${vector((e) => part(e + by))};`,
      `${last} = ${next};`,
    );
    return four;
  };
  return (q) => {
    const loaded = [0, 1, 2, 3].map((e) => column(4 * q + e));
    return steps.map((i) => vector((e) => `${loaded[e]}[${i}]`));
  };
}
