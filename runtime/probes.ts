/**
 * Probes: whether ways of computing the same have the same bits on this device (see
 * {@linkcode Probe}). A program that could be faster if they had is loaded as it is, and the probe is
 * made at once, on samples; whether any bit differed is a flag, which is read in the wait of whatever
 * is read next. So nobody waits for it, and the program is compiled anew at its next call if it may.
 *
 * @module
 */
import type { Probe, Program } from "../compile/program.ts";
import { Gauge } from "../graph/check.ts";
import type { Aval } from "../graph/node.ts";
import { sizeOf } from "../graph/shape.ts";
import { Storage } from "../graph/storage.ts";
import { bytesOf } from "../compile/order.ts";
import { compareKernel } from "../kernels/copy.ts";
import type { Context } from "./context.ts";
import { LoadedProgram, type LoadOptions } from "./loaded.ts";
import { place } from "./queue.ts";
import { sampleOf } from "./samples.ts";
import type { Verdicts } from "./verdicts.ts";

/** Whether any bit differed, once it was read. */
class Verdict extends Gauge {
  constructor(name: string, private readonly key: string, private readonly verdicts: Verdicts) {
    super(`bits of ${name}`);
  }

  override read(found: number): undefined {
    this.verdicts.learn(this.key, found === 0);
  }
}

/** Loads a program, and makes the probes that it would like to be made. */
export function load(context: Context, program: Program, options?: LoadOptions): LoadedProgram {
  probe(context, program);
  return new LoadedProgram(context, program, options);
}

/** Makes a program's probes that nobody made, if there is room for them: now, or at a later call. */
export function probe(context: Context, program: Program): void {
  const { probes } = context.device;
  for (const probe of program.probes) {
    if (probes.isBegun(probe.key) || !fits(context, program, probe)) continue;
    probes.begin(probe.key);
    tryOut(context, probe);
  }
}

/** Bytes that a probe may take where nobody said how many there are. */
const mostBytes = 256 * 2 ** 20;

/** Whether a probe takes no more than a program's budget leaves, or than is no trouble. */
function fits({ ledger }: Context, { budget }: Program, { given, ways }: Probe): boolean {
  const data = given.reduce((sum, aval) => sum + bytesOf(aval), 0);
  const runs = ways.flatMap(({ runs }) => runs)
    .reduce((sum, { program: { memory } }) => sum + memory.peak - memory.arguments, 0);
  const bytes = ways.length * data + runs;
  if (budget === undefined) return bytes <= mostBytes;
  const { live, kinds } = ledger.report();
  return live - kinds.idle.live + bytes <= budget;
}

/** Elements that are compared, at least, and how often, at least and at most. */
const enough = 1024, fewest = 4, most = 16;

function tryOut(context: Context, { key, name, given, ways }: Probe): void {
  const { checks, device: { probes } } = context;
  const flag = hosted({ shape: [], dtype: "u32" }, new Uint32Array(1));
  const loaded = ways.map(({ runs }) =>
    runs.map(({ program }) => new LoadedProgram(context, program, { keepWorkspace: false }))
  );
  const constant = given.map((_, i) =>
    !ways.some(({ runs }) =>
      runs.some(({ from, program }) => program.donated.includes(from.indexOf(i)))
    )
  );
  const constants = given.map((aval, i) => constant[i] ? sampled(aval, i, 0) : undefined);
  const elements = given.reduce((sum, { shape }, i) => sum + (constant[i] ? 0 : sizeOf(shape)), 0);
  const samples = Math.min(most, Math.max(fewest, Math.ceil(enough / Math.max(1, elements))));
  for (let sample = 0; sample < samples; sample++) {
    const used: Storage[] = [];
    const [plain, ...others] = ways.map(({ runs, results }, way) => {
      const values = given.map((aval, i) => constants[i] ?? sampled(aval, i, sample));
      runs.forEach(({ from }, run) =>
        values.push(...loaded[way]![run]!.run(from.map((number) => values[number]!)))
      );
      used.push(...values);
      return results.map((number) => values[number]!);
    });
    for (const other of others) compare(context, plain!, other, flag);
    for (const storage of new Set(used)) {
      if (!constants.includes(storage)) context.release(storage, "its probe is over");
    }
  }
  for (const storage of constants) {
    if (storage !== undefined) context.release(storage, "its probe is over");
  }
  for (const program of loaded.flat()) program.dispose();
  checks.note(
    { action: `try ${name}`, message: new Verdict(name, key, probes), storage: flag },
    flag,
  );
}

function sampled(
  { shape, dtype, counts }: Probe["given"][number],
  number: number,
  sample: number,
): Storage {
  const data = counts === undefined
    ? sampleOf(dtype, sizeOf(shape), 64 * number + sample, sample % 4)
    : Uint32Array.of(counts(sample));
  return hosted({ shape, dtype }, data);
}

function hosted({ shape, dtype }: Aval, data: ReturnType<typeof sampleOf>): Storage {
  const size = sizeOf(shape);
  const storage = new Storage(dtype, size, { at: "host", data: data.subarray(0, size) });
  storage.kind = "workspace";
  return storage;
}

/** Raises a flag if bits differ. */
function compare(
  context: Context,
  plain: readonly Storage[],
  other: readonly Storage[],
  flag: Storage,
): void {
  const { pipelines, line, device: { gpu } } = context;
  const encoder = gpu.createCommandEncoder({ label: "try" });
  const pass = encoder.beginComputePass({ label: "try" });
  plain.forEach((storage, i) => {
    const { dtype, size } = storage;
    if (size === 0) return;
    const kernel = compareKernel(dtype, size, 0, true);
    const { gpu: pipeline, layout } = pipelines.of(kernel);
    const blocks = place(context, [storage, other[i]!, flag], "try");
    const entries = blocks.map(({ gpu: buffer }, binding) => ({ binding, resource: { buffer } }));
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, gpu.createBindGroup({ layout, entries }));
    pass.dispatchWorkgroups(...kernel.workgroups);
  });
  pass.end();
  line.pass(() => gpu.queue.submit([encoder.finish()]));
}
