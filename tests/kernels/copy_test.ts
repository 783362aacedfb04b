/** The kernels that loops need besides those of their bodies, on the device, value by value. */
import { assertEquals } from "@std/assert";
import { type DType, dtypes, storageBytes, type TypedArray } from "../../graph/dtype.ts";
import {
  compareKernel,
  copyKernel,
  fillKernel,
  placeKernel,
  setKernel,
  takeKernel,
} from "../../kernels/copy.ts";
import type { Kernel } from "../../kernels/kernel.ts";
import { gpu } from "../gpu.ts";

const { device: { gpu: device, errors }, pipelines } = await gpu();

/** A buffer with what it holds, and noise behind it. */
function buffer(data: TypedArray, bytes: number): GPUBuffer {
  const { STORAGE, COPY_SRC, COPY_DST } = GPUBufferUsage;
  const result = device.createBuffer({ size: bytes, usage: STORAGE | COPY_SRC | COPY_DST });
  const whole = new Uint8Array(bytes).fill(0xa5);
  whole.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  device.queue.writeBuffer(result, 0, whole);
  return result;
}

function run(kernel: Kernel, buffers: readonly GPUBuffer[]): void {
  const pipeline = pipelines.of(kernel);
  const encoder = device.createCommandEncoder(), pass = encoder.beginComputePass();
  pass.setPipeline(pipeline.gpu);
  const entries = buffers.map((buffer, binding) => ({ binding, resource: { buffer } }));
  pass.setBindGroup(0, device.createBindGroup({ layout: pipeline.layout, entries }));
  pass.dispatchWorkgroups(...kernel.workgroups);
  pass.end();
  device.queue.submit([encoder.finish()]);
}

async function words(from: GPUBuffer): Promise<Uint32Array> {
  const { MAP_READ, COPY_DST } = GPUBufferUsage;
  const staging = device.createBuffer({ size: from.size, usage: MAP_READ | COPY_DST });
  const encoder = device.createCommandEncoder();
  encoder.copyBufferToBuffer(from, 0, staging, 0, from.size);
  device.queue.submit([encoder.finish()]);
  await staging.mapAsync(GPUMapMode.READ);
  const data = new Uint32Array(staging.getMappedRange()).slice();
  staging.destroy();
  errors.throwPending();
  return data;
}

/** An array of the dtype with these values. */
function arrayOf(dtype: DType, values: readonly number[]): TypedArray {
  const data = new dtypes[dtype].array(values.length);
  values.forEach((value, i) => data[i] = value);
  return data;
}

/** The values of a buffer. */
async function valuesOf(from: GPUBuffer, dtype: DType, size: number): Promise<number[]> {
  const data = await words(from);
  const { array } = dtypes[dtype] as unknown as {
    readonly array: new (buffer: ArrayBufferLike, offset: number, length: number) => TypedArray;
  };
  return [...new array(data.buffer, 0, size)];
}

/** The largest distance that the device finds between values of a dtype, or 1 where bits differ. */
async function compared(
  dtype: DType,
  a: readonly number[],
  b: readonly number[],
  bits: boolean,
): Promise<number> {
  const bytes = storageBytes(dtype, a.length);
  const [x, y] = [a, b].map((values) => buffer(arrayOf(dtype, values), bytes));
  const found = buffer(new Uint32Array(4), 16);
  run(compareKernel(dtype, a.length, 2, bits), [x!, y!, found]);
  const [, , result] = await words(found);
  return bits ? result! : new Float32Array(Uint32Array.of(result!).buffer)[0]!;
}

Deno.test("compareKernel() finds the largest distance, and NaN above all", async () => {
  const cases: readonly (readonly [DType, number[], number[], number])[] = [
    ["f32", [1, -2, 3, 4, 5], [1, -2.5, 3, 4.25, 5], 0.5],
    ["f32", [Infinity, NaN, 1], [Infinity, NaN, 1], 0],
    ["f32", [0, 1], [-0, 1], 0],
    ["f32", [Infinity, 1, 2], [1, 1, 2], Infinity],
    ["f32", [1, 2, 3], [1, NaN, 9], NaN],
    ["f16", [1, 2, 3], [1, 2, 3], 0],
    ["f16", [1, 2, 3], [1, 2, 3.5], 0.5],
    ["f16", [1, 2, 3, 4], [1.25, 2, 3, 4], 0.25],
    ["i32", [-3, 2147483647], [-3, -2147483648], 2 ** 32],
    ["i32", [16777217, -16777217], [16777216, -16777217], 1],
    ["u32", [0, 5], [3, 4], 3],
    ["bool", [0, 1], [0, 0], 1],
  ];
  for (const [dtype, a, b, wanted] of cases) {
    assertEquals(await compared(dtype, a, b, false), wanted, `${dtype} ${a} and ${b}`);
  }
  const many = Array.from({ length: 100_001 }, (_, i) => i % 1000);
  assertEquals(await compared("f32", many, many.with(77_777, 9000), false), 9000 - 777);
});

Deno.test("compareKernel() of bits tells zeros and NaNs apart, and no padding", async () => {
  assertEquals(await compared("f32", [0, 1], [-0, 1], true), 1);
  assertEquals(await compared("f32", [0, NaN], [0, NaN], true), 0);
  for (const size of [1, 2, 3, 5, 8]) {
    const values = Array.from({ length: size }, (_, i) => i);
    for (const dtype of ["f32", "f16", "i32", "u32"] as const) {
      assertEquals(await compared(dtype, values, values, true), 0, `${size} of ${dtype}`);
      const other = values.with(-1, 100);
      assertEquals(await compared(dtype, values, other, true), 1, `${size} of ${dtype}`);
    }
  }
});

Deno.test("fillKernel() and copyKernel() write whole buffers", async () => {
  for (const dtype of ["f32", "f16", "i32", "u32", "bool"] as const) {
    const value = dtype === "bool" ? 1 : dtype === "u32" ? 4294967295 : -3;
    for (const size of [1, 3, 8, 1001]) {
      const bytes = storageBytes(dtype, size), none = arrayOf(dtype, []);
      const [a, b, c, d] = [1, 2, 3, 4].map(() => buffer(none, bytes));
      run(fillKernel(dtype, size, value), [a!]);
      run(copyKernel([bytes]), [a!, b!]);
      assertEquals(await valuesOf(b!, dtype, size), new Array(size).fill(value));
      const short = buffer(arrayOf("u32", [7, 8, 9, 10]), 16), other = buffer(none, 16);
      run(copyKernel([16, bytes]), [short, other, a!, c!]);
      assertEquals([await words(c!), await words(other)], [await words(a!), await words(short)]);
      run(fillKernel(dtype, size, 0), [d!]);
      assertEquals(await valuesOf(d!, dtype, size), new Array(size).fill(0));
    }
  }
});

Deno.test("placeKernel() and takeKernel() find the row that the counter says", async () => {
  const length = 5, counter = buffer(new Uint32Array(4), 16);
  for (const dtype of ["f32", "f16", "u32"] as const) {
    for (const size of [1, 3, 4]) {
      const row = arrayOf(dtype, Array.from({ length: size }, (_, i) => i + 1));
      const bytes = storageBytes(dtype, size), whole = storageBytes(dtype, length * size);
      for (
        const [rule, count, at] of [[{ plus: 0 }, 2, 2], [{ plus: -1 }, 2, 1], [
          { from: 4 },
          1,
          3,
        ]] as const
      ) {
        const zeros = arrayOf(dtype, new Array(length * size).fill(0));
        const stack = buffer(zeros, whole), back = buffer(arrayOf(dtype, []), bytes);
        run(setKernel(count), [counter]);
        run(placeKernel(dtype, size, rule), [buffer(row, bytes), stack, counter]);
        const wanted = [...zeros];
        wanted.splice(at * size, size, ...row);
        assertEquals(await valuesOf(stack, dtype, length * size), wanted);
        run(takeKernel(dtype, size, rule), [stack, back, counter]);
        assertEquals(await valuesOf(back, dtype, size), [...row]);
      }
    }
  }
});
