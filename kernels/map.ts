/**
 * Element-wise regions: every invocation computes one or a few vectors of four neighbouring
 * elements of all outputs. Buffers are padded to 16 bytes, so the last vector may reach past the end.
 *
 * @module
 */
import { add, constant, offset, scale, variable } from "./index.ts";
import { lane } from "./emit.ts";
import { placesOf } from "./region.ts";
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
}

const eaches = [1, 2, 4, 8], workgroupSizes = [32, 64, 128, 256];

/** Divisions of the work, first that by rule of thumb. */
export function waysOfMap(job: Job): readonly Way[] {
  const vectors = Math.ceil(mapFrame(job).size / 4);
  const plain = usualDivision(job, vectors);
  const all = eaches.flatMap((each) =>
    workgroupSizes.map((workgroupSize) => ({ each, workgroupSize }))
  );
  // Small ones are over before they have begun, whatever the division.
  const worthwhile = vectors < 1024
    ? []
    : all.filter(({ each, workgroupSize }) =>
      (each !== plain.each || workgroupSize !== plain.workgroupSize) &&
      each * operationsOf(job.region) <= 128
    );
  return [plain, ...worthwhile].map((division) => ({
    name: `${division.each} of ${division.workgroupSize}`,
    write: () => writeMap(job, division),
  }));
}

/**
 * A software adapter likes whole cache lines (four vectors) where the expression is short; hardware
 * likes neighbours in neighbouring lanes.
 */
function usualDivision(job: Job, vectors: number): Division {
  const operations = operationsOf(job.region);
  const each = job.adapter.kind !== "software" || vectors < 4096
    ? 1
    : operations <= 32
    ? 4
    : operations <= 64
    ? 2
    : 1;
  return { each, workgroupSize: Math.ceil(vectors / each) >= 16384 ? 256 : 64 };
}

function mapFrame({ frame }: Job): Extract<Job["frame"], { is: "map" }> {
  if (frame.is !== "map") throw new Error(`Cannot write a map: the frame is ${frame.is}`);
  return frame;
}

/** Writes the body of a map region. */
function writeMap(job: Job, { each, workgroupSize }: Division): Body {
  const { region, emitter, outputs, adapter } = job;
  const frame = mapFrame(job);
  const { size } = frame;
  const vectors = Math.ceil(size / 4);
  const units = Math.ceil(vectors / each);
  const groups = Math.ceil(units / workgroupSize);
  const v = variable("v", units);
  emitter.open("v");
  const blocks = Array.from({ length: each }, (_, i) => {
    const vector = offset(scale(v, each), i);
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
    return units * each === vectors || i === 0
      ? stores
      : [`if (v * ${each} + ${i} < ${vectors}) {`, ...stores, "}"];
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
