/**
 * Element-wise regions: every invocation computes one or a few vectors of four neighbouring
 * elements of all outputs. Buffers are padded to 16 bytes, so the last vector may reach past the end.
 *
 * @module
 */
import { add, constant, offset, scale, variable } from "./index.ts";
import { lane } from "./emit.ts";
import { placesOf } from "./region.ts";
import { type Body, elementFlops, groupNumber, type Job, operationsOf } from "./shader.ts";

/** Writes the body of a map region. */
export function writeMap(job: Job): Body {
  const { region, emitter, outputs, adapter, frame } = job;
  if (frame.is !== "map") throw new Error(`Cannot write a map: the frame is ${frame.is}`);
  const { size } = frame;
  const vectors = Math.ceil(size / 4);
  const each = vectorsEach(job, vectors);
  const units = Math.ceil(vectors / each);
  const workgroupSize = units >= 16384 ? 256 : 64;
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

/**
 * Vectors that one invocation computes side by side. A software adapter likes whole cache lines
 * (four vectors) where the expression is short; hardware likes neighbours in neighbouring lanes.
 */
function vectorsEach({ adapter, region }: Job, vectors: number): number {
  if (adapter.kind !== "software" || vectors < 4096) return 1;
  const operations = operationsOf(region);
  return operations <= 32 ? 4 : operations <= 64 ? 2 : 1;
}
