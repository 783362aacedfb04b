/**
 * Products staged in workgroup memory, for hardware: 64 × 64 results by 16 × 16 invocations with
 * 4 × 4 each, 16 steps of k at a time. The steps past the end of k bring zeros, which add nothing.
 *
 * @module
 */
import { lane } from "../emit.ts";
import { add, scale, variable } from "../index.ts";
import type { Node } from "../../graph/node.ts";
import type { Body, Job } from "../shader.ts";
import { contiguousAlong, epilogue, inF32, type Product } from "./product.ts";

const tileSide = 64, tileDepth = 16;

/** `shared`: 64 × 64 results by 16 × 16 invocations of 4 × 4, operands staged in workgroup memory. */
export function writeShared(job: Job, product: Product): Omit<Body, "flops"> {
  const { emitter } = job;
  const { left, right, batch, m, n, k } = product;
  const b = variable("batch", batch);
  emitter.open("batch", "south", "east");
  for (let r = 0; r < 4; r++) emitter.line(`var c${r} = vec4<f32>();`);
  const m0 = scale(variable("south", Math.ceil(m / tileSide)), tileSide);
  const n0 = scale(variable("east", Math.ceil(n / tileSide)), tileSide);
  const k0 = scale(variable("kk", Math.ceil(k / tileDepth)), tileDepth);
  // 256 invocations bring 64 × 16 numbers of each operand: four apiece, along the axis that is
  // contiguous. Both tiles are kept k-major: a[k][row], b[k][column].
  const bring = (operand: Node, side: "left" | "right", name: string): string[] => {
    const across = side === "left" ? 1 : 2;
    const alongSide = contiguousAlong(operand, across);
    emitter.open("kk", "local");
    const start = side === "left" ? m0 : n0;
    const i = emitter.fresh("i"), j = emitter.fresh("j");
    emitter.declare(i);
    emitter.declare(j);
    if (alongSide) {
      emitter.line(`let ${j} = slot / 16;`, `let ${i} = (slot % 16) * 4;`);
      const place = add(add(start, variable(i, tileSide)), lane);
      const deep = add(k0, variable(j, tileDepth));
      const index = side === "left" ? [b, place, deep] : [b, deep, place];
      emitter.line(`var v = vec4<f32>();`);
      emitter.open("live", j);
      emitter.line(`v = ${inF32(emitter.value(operand, index), 4)};`);
      const inner = emitter.close();
      emitter.line(`if (kk * ${tileDepth} + ${j} < ${k}) {`, ...inner, "}");
      emitter.line(`${name}[${j} * 16 + ${i} / 4] = v;`);
    } else {
      emitter.line(`let ${i} = slot / 4;`, `let ${j} = (slot % 4) * 4;`);
      const place = add(start, variable(i, tileSide));
      const deep = add(add(k0, variable(j, tileDepth)), lane);
      const index = side === "left" ? [b, place, deep] : [b, deep, place];
      emitter.line(`var v = ${inF32(emitter.value(operand, index), 4)};`);
      // Steps of k past the end must add nothing: 0, whatever the load gave.
      for (let l = 0; l < 4; l++) {
        emitter.line(
          `${name}[(${j} + ${l}) * 16 + ${i} / 4][${i} % 4] = ` +
            `select(0.0f, v[${l}], kk * ${tileDepth} + ${j} + ${l} < ${k});`,
        );
      }
    }
    return ["{", ...emitter.close(), "}"];
  };
  emitter.open("kk");
  const bringLeft = bring(left, "left", "tileA");
  const bringRight = bring(right, "right", "tileB");
  emitter.line(...bringLeft, ...bringRight, "workgroupBarrier();");
  const loop = emitter.close();
  const inner = [
    `for (var j = 0; j < ${tileDepth}; j++) {`,
    "let a = tileA[j * 16 + down];",
    "let b = tileB[j * 16 + across];",
    ...[0, 1, 2, 3].map((r) => `c${r} = fma(vec4<f32>(a[${r}]), b, c${r});`),
    "}",
    "workgroupBarrier();",
  ];
  emitter.line(
    `for (var kk = 0; kk < ${Math.ceil(k / tileDepth)}; kk++) {`,
    ...loop,
    ...inner,
    "}",
  );
  emitter.line(...epilogue(job, product, {
    results: ["c0", "c1", "c2", "c3"],
    row: (t) => `south * ${tileSide} + down * 4 + ${t}`,
    column: () => `east * ${tileSide} + 4 * across`,
    step: 1,
  }));
  const lines = emitter.close();
  const hoisted = emitter.close();
  return {
    name: "dot shared",
    workgroupSize: 256,
    workgroups: [Math.ceil(n / tileSide), Math.ceil(m / tileSide), batch],
    globals: [
      `var<workgroup> tileA: array<vec4<f32>, ${tileSide * tileDepth / 4}>;`,
      `var<workgroup> tileB: array<vec4<f32>, ${tileSide * tileDepth / 4}>;`,
    ],
    lines: [
      "let slot = i32(local);",
      "let across = slot % 16;",
      "let down = slot / 16;",
      "let batch = i32(group.z);",
      "let south = i32(group.y);",
      "let east = i32(group.x);",
      ...hoisted,
      ...lines,
    ],
  };
}
