/**
 * Element-wise regions: every invocation computes one or a few vectors of four neighbouring
 * elements of all outputs. Buffers are padded to 16 bytes, so the last vector may reach past the end.
 *
 * @module
 */
import { lane } from "./emit.ts";
import { add, constant, div, flatten, type Index, mod, offset, scale, variable } from "./index.ts";
import { footprintOf, placesOf } from "./region.ts";
import {
  type Body,
  elementFlops,
  groupNumber,
  type Job,
  operationsOf,
  type Way,
} from "./shader.ts";

/** How the work of a map is divided. */
interface Division {
  /** Vectors that one invocation computes side by side. */
  readonly each: number;
  readonly workgroupSize: number;
  /**
   * Vectors from one of these to the next. Where an operand repeats with this period, as a row does
   * that is broadcast over others, what is read of it serves all of them.
   */
  readonly apart: number;
}

const eaches = [1, 2, 4, 8], workgroupSizes = [32, 64, 128, 256];

/** Divisions of the work, first that by rule of thumb. */
export function waysOfMap(job: Job): readonly Way[] {
  const vectors = Math.ceil(mapFrame(job).size / 4);
  const plain = usualDivision(job, vectors);
  const period = periodOf(job, vectors);
  const all = eaches.flatMap((each) =>
    workgroupSizes.flatMap((workgroupSize) =>
      (each === 1 || period === 1 ? [1] : [1, period]).map((apart) => ({
        each,
        workgroupSize,
        apart,
      }))
    )
  );
  const name = ({ each, workgroupSize, apart }: Division): string =>
    `${each} of ${workgroupSize}${apart === 1 ? "" : ", apart"}`;
  // Small ones are over before they have begun, whatever the division.
  const worthwhile = vectors < 1024
    ? []
    : all.filter((d) => name(d) !== name(plain) && d.each * operationsOf(job.region) <= 128);
  return [plain, ...worthwhile].map((division) => ({
    name: name(division),
    write: () => writeMap(job, division),
  }));
}

/**
 * A software adapter likes operands that serve several vectors, else whole cache lines (four
 * vectors), where the expression is short; hardware likes neighbours in neighbouring lanes.
 */
function usualDivision(job: Job, vectors: number): Division {
  const operations = operationsOf(job.region);
  const most = job.adapter.kind !== "software" || vectors < 4096
    ? 1
    : operations <= 32
    ? 4
    : operations <= 64
    ? 2
    : 1;
  const period = most === 1 ? 1 : periodOf(job, vectors);
  const each = period === 1 ? most : fullest(vectors / period, most);
  const workgroupSize = Math.ceil(vectors / each) >= 16384 ? 256 : 64;
  return { each, workgroupSize, apart: each === 1 ? 1 : period };
}

/** As many periods at a time as leave the fewest invocations without work. */
function fullest(periods: number, most: number): number {
  const waste = (each: number): number => Math.ceil(periods / each) * each / periods;
  let best = 1;
  for (let each = 2; each <= most; each++) if (waste(each) <= waste(best) + 0.1) best = each;
  // A few periods that none of these divides may be taken all at once.
  return best === 1 && periods <= 2 * most ? Math.ceil(periods) : best;
}

/** Vectors after which the longest operand that repeats does so; 1 where none does twice. */
function periodOf({ region }: Job, vectors: number): number {
  let longest = 1;
  for (const [{ shape }, places] of footprintOf(region).reads) {
    for (const place of places.values()) {
      const period = periodIn(flatten(place, shape));
      if (period > longest && 2 * period <= vectors) longest = period;
    }
  }
  // Long enough for neighbouring invocations to have neighbours.
  return longest === 1 || longest >= 64 ? longest : longest * Math.ceil(64 / longest);
}

/** Vectors after which an address comes again: that of a remainder of the position. */
function periodIn({ terms, constant }: Index): number {
  const [only] = terms;
  if (terms.length !== 1 || constant !== 0 || only!.atom.is !== "remainder") return 1;
  const { of, by } = only!.atom;
  const whole = of.terms.length === 1 && of.terms[0]!.atom.is === "variable" && of.constant === 0;
  return whole ? by % 4 === 0 ? by / 4 : by % 2 === 0 ? by / 2 : by : 1;
}

function mapFrame({ frame }: Job): Extract<Job["frame"], { is: "map" }> {
  if (frame.is !== "map") throw new Error(`Cannot write a map: the frame is ${frame.is}`);
  return frame;
}

/** Writes the body of a map region. */
function writeMap(job: Job, { each, workgroupSize, apart }: Division): Body {
  const { region, emitter, outputs, adapter } = job;
  const frame = mapFrame(job);
  const { size } = frame;
  const vectors = Math.ceil(size / 4);
  const units = Math.ceil(vectors / (each * apart)) * apart;
  const groups = Math.ceil(units / workgroupSize);
  const v = variable("v", units);
  emitter.open("v");
  const blocks = Array.from({ length: each }, (_, i) => {
    const vector = add(
      scale(div(v, apart), each * apart),
      offset(mod(v, apart), i * apart),
    );
    const position = size === 1 ? constant(0) : add(scale(vector, 4), lane);
    const places = placesOf(frame, { position });
    emitter.open("none");
    emitter.storeAll(
      region.outputs.map((node, o) => ({
        buffer: outputs[o]!,
        value: () => emitter.value(node, places.full(node.shape)),
      })),
      position,
    );
    const stores = emitter.close();
    // The last of them lie past the end, for the last invocations.
    if (vector.max < vectors) return stores;
    emitter.open("none");
    const inside = `${emitter.index(vector)} < ${vectors}`;
    return [...emitter.close(), `if (${inside}) {`, ...stores, "}"];
  });
  const inner = [...emitter.close(), ...blocks.flat()];
  const hoisted = emitter.close();
  return {
    name: "map",
    workgroupSize,
    workgroups: groups,
    lines: [
      `let v = ${groupNumber(groups, adapter)} * ${workgroupSize} + i32(local);`,
      `if (v >= ${units}) { return; }`,
      ...hoisted,
      ...inner,
    ],
    flops: elementFlops(region),
  };
}
