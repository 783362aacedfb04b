/** The difference tape on the device: the words of the oracle, and every bit pattern back. */
import { assert, assertEquals } from "@std/assert";
import { blockSize, decode, encode, headerWords, makeArena } from "../../checkpoint/tape.ts";
import { type DType, dtypes } from "../../graph/dtype.ts";
import type { Kernel } from "../../kernels/kernel.ts";
import {
  type Carry,
  dispatchesOf,
  fullWords,
  isDirect,
  type Picked,
  recordKernel,
  restoreKernel,
  type TapeShape,
  tapeShape,
} from "../../kernels/tape.ts";
import type { Context } from "../../runtime/context.ts";
import { gpu, randomOf, seed } from "../gpu.ts";

/** Buffers on the device and kernels run over them, one by one. */
class Bench {
  private constructor(
    private readonly device: GPUDevice,
    private readonly pipelines: Context["pipelines"],
    private readonly errors: Context["device"]["errors"],
  ) {}

  static async open(): Promise<Bench> {
    const context = await gpu();
    return new Bench(context.device.gpu, context.pipelines, context.device.errors);
  }

  buffer(words: Uint32Array): GPUBuffer {
    const buffer = this.device.createBuffer({
      size: Math.max(16, Math.ceil(words.length / 4) * 16),
      usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST,
    });
    this.write(buffer, words);
    return buffer;
  }

  write(buffer: GPUBuffer, words: Uint32Array): void {
    if (words.length > 0) this.device.queue.writeBuffer(buffer, 0, words.slice());
  }

  run(kernel: Kernel, buffers: readonly GPUBuffer[]): void {
    const { gpu, layout } = this.pipelines.of(kernel);
    const encoder = this.device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(gpu);
    const uniforms = this.device.createBuffer({
      size: kernel.uniforms!.byteLength,
      usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
    });
    this.write(uniforms, kernel.uniforms!);
    const entries = [...buffers, uniforms]
      .map((buffer, binding) => ({ binding, resource: { buffer } }));
    pass.setBindGroup(0, this.device.createBindGroup({ layout, entries }));
    pass.dispatchWorkgroups(...kernel.workgroups);
    pass.end();
    this.device.queue.submit([encoder.finish()]);
  }

  async read(buffer: GPUBuffer, words: number): Promise<Uint32Array> {
    const staging = this.device.createBuffer({
      size: buffer.size,
      usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
    });
    const encoder = this.device.createCommandEncoder();
    encoder.copyBufferToBuffer(buffer, 0, staging, 0, buffer.size);
    this.device.queue.submit([encoder.finish()]);
    await staging.mapAsync(GPUMapMode.READ);
    const data = new Uint32Array(staging.getMappedRange()).slice(0, words);
    staging.destroy();
    this.errors.throwPending();
    return data;
  }
}

/** Words that hold a carry. */
const wordsOf = ({ dtype, size }: Carry): number => Math.ceil(size * dtypes[dtype].bytes / 4);

/** A tape with its buffers, recorded and taken back step by step. */
class DeviceTape {
  readonly codes: GPUBuffer;
  readonly arena: GPUBuffer;
  readonly headers: GPUBuffer;
  readonly cursor: GPUBuffer;
  readonly most: GPUBuffer;
  readonly counter: GPUBuffer;
  readonly #truth: readonly GPUBuffer[];
  readonly #guess: readonly GPUBuffer[];

  constructor(
    readonly bench: Bench,
    readonly shape: TapeShape,
    readonly words: number,
    private readonly lanes = 8,
    private readonly maxBindings = 16,
  ) {
    const empty = (n: number) => bench.buffer(new Uint32Array(n));
    this.codes = empty(shape.codeWords);
    this.arena = empty(words);
    this.headers = empty(shape.headerWords);
    this.cursor = empty(1);
    this.most = empty(1);
    this.counter = empty(1);
    this.#truth = shape.carries.map((carry) => empty(wordsOf(carry)));
    this.#guess = shape.carries.map((carry) => empty(wordsOf(carry)));
  }

  record(step: number, truth: readonly Uint32Array[], guess: readonly Uint32Array[]): void {
    const { bench, shape } = this;
    bench.write(this.counter, Uint32Array.of(step));
    truth.forEach((words, i) => bench.write(this.#truth[i]!, words));
    guess.forEach((words, i) => bench.write(this.#guess[i]!, words));
    for (const picked of dispatchesOf(shape, 2, this.maxBindings)) {
      const { arena, headers, cursor, most } = this;
      const states = picked.carries.flatMap((k) => [this.#truth[k]!, this.#guess[k]!]);
      bench.run(
        recordKernel(shape, picked, this.lanes),
        this.#bound(picked, states, [arena, headers, cursor, most]),
      );
    }
  }

  async restore(step: number, guess: readonly Uint32Array[]): Promise<Uint32Array[]> {
    const { bench, shape } = this;
    bench.write(this.counter, Uint32Array.of(step));
    guess.forEach((words, i) => bench.write(this.#guess[i]!, words));
    // What recording left there must not help.
    const within = step % shape.segment;
    const last = within === shape.segment - 1 || step === shape.length - 1;
    if (last || within % shape.pace === shape.pace - 1) {
      bench.write(this.codes, new Uint32Array(shape.codeWords).fill(0x9e3779b9));
    }
    for (const picked of dispatchesOf(shape, 1, this.maxBindings).reverse()) {
      const { arena, headers, cursor } = this;
      const states = picked.carries.map((k) => this.#guess[k]!);
      bench.run(
        restoreKernel(shape, picked, this.lanes),
        this.#bound(picked, states, [arena, headers, cursor]),
      );
    }
    return await Promise.all(
      shape.carries.map((carry, i) => bench.read(this.#guess[i]!, wordsOf(carry))),
    );
  }

  #bound(
    picked: Picked,
    states: readonly GPUBuffer[],
    tape: readonly GPUBuffer[],
  ): GPUBuffer[] {
    return [
      ...states,
      ...isDirect(this.shape, picked) ? [] : [this.codes],
      ...picked.packs ? tape : [],
      this.counter,
    ];
  }
}

const hostile = [
  0x7f800001,
  0xffc12345,
  0xffffffff,
  0x7fffffff,
  0x80000000,
  0,
  1,
  0x80000001,
  0x007fffff,
  0x7f800000,
  0xff800000,
  0x3f800000,
  0xbf800000,
];

/** A truth and a guess that is wrong now and then, by up to `width` bits; seldom wholly. */
function pair(
  size: number,
  random: () => number,
  { width, rarity }: { readonly width: number; readonly rarity: number },
): { truth: Uint32Array; guess: Uint32Array } {
  const truth = new Uint32Array(size), guess = new Uint32Array(size);
  for (let i = 0; i < size; i++) {
    const value = random() < 0.1
      ? hostile[Math.floor(random() * hostile.length)]!
      : random() * 2 ** 32 >>> 0;
    const off = random() * rarity < 1 ? Math.floor(random() * 2 ** width) : 0;
    truth[i] = value;
    guess[i] = random() < 0.002 ? random() * 2 ** 32 >>> 0 : value + off >>> 0;
  }
  return { truth, guess };
}

/** The words of each block as they lie in an arena, by the blocks' headers. */
function blocksOf(headers: Uint32Array, arena: Uint32Array, sizes: readonly number[]) {
  return sizes.map((size, b) => ({
    shape: headers[2 * b + 1]!,
    words: arena.slice(headers[2 * b]!, headers[2 * b]! + size),
  }));
}

Deno.test("recordKernel() writes the words of the oracle, and restoreKernel() gives every bit back", async () => {
  const bench = await Bench.open();
  const random = randomOf(seed());
  const kinds = [
    { width: 1, rarity: 30 },
    { width: 2, rarity: 2 },
    { width: 6, rarity: 200 },
    { width: 12, rarity: 3 },
    { width: 32, rarity: 1 },
  ];
  for (const size of [1, 3, 255, 256, 257, 1023, 1024, 1025, 5000, 100_000]) {
    for (const [k, kind] of kinds.entries()) {
      if (size > 5000 && k % 2 === 1) continue;
      const shape = tapeShape([{ dtype: "f32", size }], 1);
      const { truth, guess } = pair(size, random, kind);
      const tape = new DeviceTape(bench, shape, size + 200, k % 2 === 0 ? 8 : 64);
      tape.record(0, [truth], [guess]);
      const arena = makeArena(size + 200);
      const expected = encode(truth, guess, arena);
      const [headers, words, counts] = await Promise.all([
        bench.read(tape.headers, shape.headerWords),
        bench.read(tape.arena, size + 200),
        bench.read(tape.most, 1),
      ]);
      assertEquals(counts[0], arena.cursor, `words of ${size}, kind ${k}`);
      const places = Array.from(expected.filter((_, i) => i % 2 === 0));
      const sizes = places.map((place, b) => (places[b + 1] ?? arena.cursor) - place);
      assertEquals(blocksOf(headers, words, sizes), blocksOf(expected, arena.words, sizes));
      const [back] = await tape.restore(0, [guess]);
      assertEquals(back, truth, `${size}, kind ${k}`);
      assertEquals(
        (await bench.read(tape.cursor, 1))[0],
        0,
        `cursor ${size} ${k} ${headers} ${counts}`,
      );
      assertEquals(decode(expected, guess, arena), truth);
    }
  }
});

Deno.test("entries that lie together, apart, at the ends, and everywhere are found again", async () => {
  const bench = await Bench.open();
  const patterns: readonly ((i: number) => boolean)[] = [
    (i) => i === 0,
    (i) => i === blockSize - 1,
    (i) => i === 0 || i === blockSize - 1,
    (i) => i > 700 && i < 1000,
    (i) => i > 760,
    (i) => i % 3 === 0,
    (i) => i % 65 === 64,
    () => true,
    () => false,
  ];
  for (const [p, wrong] of patterns.entries()) {
    for (const count of [blockSize, 999]) {
      for (const off of [1, 5, 70_000, 0x7fffffff]) {
        const guess = new Uint32Array(count).fill(0x3f800000);
        const truth = guess.map((x, i) => wrong(i) ? x + (i % 7 === 0 ? off : 1) >>> 0 : x);
        const tape = new DeviceTape(
          bench,
          tapeShape([{ dtype: "u32", size: count }], 1),
          1400,
          count === 999 ? 8 : 64,
        );
        tape.record(0, [truth], [guess]);
        const [back] = await tape.restore(0, [guess]);
        assertEquals(back, truth, `pattern ${p}, ${count} codes, off by ${off}`);
      }
    }
  }
});

Deno.test("steps of small states share blocks, and several carries one tape", async () => {
  const bench = await Bench.open();
  const random = randomOf(seed() + 1);
  const states: readonly (readonly (readonly [DType, number])[])[] = [
    [["f32", 2]],
    [["f32", 1], ["f16", 3], ["u32", 1]],
    [["f16", 1], ["f32", 257], ["i32", 31], ["bool", 5], ["f16", 64]],
    [["f32", 700], ["f16", 701]],
    [["f32", 8], ["i32", 4], ["f32", 12]],
    [["f32", 1000], ["i32", 520], ["f32", 2048]],
    [["f32", 701], ["f16", 1901], ["u32", 40]],
    [["f32", 500], ["i32", 8], ["f32", 1100], ["bool", 4], ["u32", 64], ["f32", 12]],
    [["f32", 3], ["f16", 1030], ["f32", 5], ["i32", 1], ["f16", 7]],
  ];
  for (const state of states) {
    for (const [length, segment] of [[1, 1], [5, 5], [19, 8]] as const) {
      // Where steps share no blocks all of them are alike.
      if (length > 5 && state.some(([, size]) => size > 600)) continue;
      const shape = tapeShape(state.map(([dtype, size]) => ({ dtype, size })), length, segment);
      const maxBindings = length === 5 ? 8 : 16;
      const tape = new DeviceTape(bench, shape, 2 * fullWords(shape) + 256, 8, maxBindings);
      const steps = Array.from({ length }, () =>
        shape.carries.map((carry) => {
          const { truth, guess } = pair(wordsOf(carry), random, { width: 3, rarity: 5 });
          if (carry.dtype === "f16" && carry.size % 2 === 1) {
            // The unused half of the last word stays as the guess has it.
            const last = truth.length - 1;
            truth[last] = truth[last]! & 0xffff | guess[last]! & 0xffff0000;
          }
          return { truth, guess };
        }));
      for (let from = 0; from < length; from += segment) {
        const to = Math.min(length, from + segment);
        for (let i = from; i < to; i++) {
          tape.record(i, steps[i]!.map((x) => x.truth), steps[i]!.map((x) => x.guess));
        }
        for (let i = to - 1; i >= from; i--) {
          const back = await tape.restore(i, steps[i]!.map((x) => x.guess));
          assertEquals(back, steps[i]!.map((x) => x.truth), `step ${i} of ${length}, ${segment}`);
        }
        assertEquals((await bench.read(tape.cursor, 1))[0], 0);
      }
    }
  }
});

Deno.test("the headers of a small state cost less than a tenth of a bit an element and step", () => {
  for (const size of [1, 2, 5, 100, 384, 700, 1024, 10_000]) {
    const shape = tapeShape([{ dtype: "f32", size }], 1000);
    const bits = 32 * shape.headerWords / (size * 1000);
    assert(bits <= 0.125, `${bits} bits an element for ${size}`);
    assertEquals(shape.headerWords % headerWords, 0);
  }
});

Deno.test("an arena that is full is left as it was, and counts what it would have needed", async () => {
  const bench = await Bench.open();
  const random = randomOf(seed() + 2);
  const shape = tapeShape([{ dtype: "f32", size: 3000 }], 3);
  const { truth, guess } = pair(3000, random, { width: 32, rarity: 1 });
  const enough = new DeviceTape(bench, shape, fullWords(shape) + 256);
  const small = new DeviceTape(bench, shape, 1600);
  for (let i = 0; i < 3; i++) {
    enough.record(i, [truth], [guess]);
    small.record(i, [truth], [guess]);
  }
  const [needed, counted] = await Promise.all([
    bench.read(enough.most, 1),
    bench.read(small.most, 1),
  ]);
  assertEquals(counted, needed);
  assert(counted[0]! > 1600);
  // What did fit is whole: the first block's words are there.
  const headers = await bench.read(small.headers, shape.headerWords);
  const inside = Array.from({ length: 9 }, (_, b) => headers[2 * b]!).filter((at) => at < 600);
  assert(inside.length >= 1);
});

Deno.test("codes are small for neighbours in every dtype, over zero and over the end of a word", async () => {
  const bench = await Bench.open();
  const half = (...values: number[]) => new Uint32Array(new Uint16Array(values).buffer);
  const cases: readonly (readonly [DType, number, Uint32Array, Uint32Array, number[]])[] = [
    ["f16", 4, half(0, 0x3c00, 0x7c01, 0xfc00), half(0x8000, 0x3c01, 0x7c01, 0xfc01), [2, 1, 0, 2]],
    ["f16", 3, half(1, 2, 0xbc00, 7), half(1, 1, 0xbc01, 0), [0, 2, 2]],
    ["f32", 2, Uint32Array.of(0, 0xbf800000), Uint32Array.of(0x80000000, 0xbf800001), [2, 2]],
    ["i32", 2, Uint32Array.of(0xffffffff, 5), Uint32Array.of(0, 4), [1, 2]],
    ["u32", 2, Uint32Array.of(0, 0xffffffff), Uint32Array.of(0xffffffff, 0), [2, 1]],
    ["bool", 2, Uint32Array.of(0, 1), Uint32Array.of(1, 1), [1, 0]],
  ];
  for (const [dtype, size, truth, guess, expected] of cases) {
    // Of two steps that share a block, the first leaves its codes where they wait.
    const tape = new DeviceTape(bench, tapeShape([{ dtype, size }], 2), 64);
    tape.record(0, [truth], [guess]);
    assertEquals([...await bench.read(tape.codes, size)], expected, dtype);
  }
});
