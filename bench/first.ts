/**
 * `deno task bench:first`: where the time of a first call goes. Drivers compile a pipeline when it
 * first runs, so every dispatch of the call is submitted by itself and waited for; the same dispatch
 * in a second call is the work alone, and the difference is the driver's compile.
 *
 * @module
 */
import { parseArgs } from "@std/cli";
import { load } from "./contestants/retrograd.ts";
import { toEnd } from "./end.ts";
import type { Case } from "./measure.ts";
import { type Workload, workloads } from "./workloads.ts";

const help = `Usage: deno task bench:first [OPTION...]

Runs the first call of one workload, dispatch by dispatch, and prints where its time goes: tracing
and compiling, WGSL to the driver's language, the driver's compile of each pipeline, the work.

  --only NAME      the workload [default: mlp]
  --slowest N      pipelines listed [default: 10]
  --help

Workloads: ${Object.keys(workloads).join(", ")}`;

/** A pipeline and the milliseconds of its dispatches, in the order in which they ran. */
interface Seen {
  readonly label: string;
  readonly characters: number;
  readonly times: number[];
}

interface Recorded {
  readonly pipeline: GPUComputePipeline;
  readonly group: GPUBindGroup;
  readonly workgroups: readonly [number, number, number];
}

/** What the device was asked for, in milliseconds. */
interface Spent {
  modules: number;
  pipelines: number;
}

/**
 * Wraps the WebGPU classes, so that what is recorded in a pass is submitted dispatch by dispatch
 * behind the command buffer that it was recorded for.
 */
function replayAlone(): { readonly spent: Spent; readonly seen: ReadonlyMap<object, Seen> } {
  const spent: Spent = { modules: 0, pipelines: 0 };
  const seen = new Map<object, Seen>();
  const characters = new WeakMap<GPUShaderModule, number>();
  const device = GPUDevice.prototype, encoder = GPUCommandEncoder.prototype;
  const { createShaderModule, createComputePipeline, createCommandEncoder } = device;
  const { beginComputePass } = encoder, { submit } = GPUQueue.prototype;
  let recorded: Recorded[] = [];
  let owner: GPUDevice;

  device.createShaderModule = function (descriptor) {
    const start = performance.now();
    const module = createShaderModule.call(this, descriptor);
    spent.modules += performance.now() - start;
    characters.set(module, descriptor.code.length);
    return module;
  };
  device.createComputePipeline = function (descriptor) {
    const start = performance.now();
    const pipeline = createComputePipeline.call(this, descriptor);
    spent.pipelines += performance.now() - start;
    const { label = "", compute: { module } } = descriptor;
    seen.set(pipeline, { label, characters: characters.get(module) ?? 0, times: [] });
    return pipeline;
  };
  device.createCommandEncoder = function (descriptor) {
    return createCommandEncoder.call(owner = this, descriptor);
  };
  encoder.beginComputePass = () => {
    let pipeline: GPUComputePipeline, group: GPUBindGroup;
    const pass = {
      setPipeline: (it: GPUComputePipeline) => void (pipeline = it),
      setBindGroup: (_: number, it: GPUBindGroup) => void (group = it),
      dispatchWorkgroups: (x: number, y = 1, z = 1) =>
        void recorded.push({ pipeline, group, workgroups: [x, y, z] }),
      end: () => {},
    };
    return pass as unknown as GPUComputePassEncoder;
  };
  GPUQueue.prototype.submit = function (buffers) {
    submit.call(this, buffers);
    const now = recorded;
    recorded = [];
    for (const { pipeline, group, workgroups } of now) {
      const alone = createCommandEncoder.call(owner);
      const pass = beginComputePass.call(alone);
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, group);
      pass.dispatchWorkgroups(...workgroups);
      pass.end();
      const buffer = alone.finish();
      const start = performance.now();
      submit.call(this, [buffer]);
      // Polls the device before it returns.
      this.onSubmittedWorkDone();
      seen.get(pipeline)!.times.push(performance.now() - start);
    }
  };
  return { spent, seen };
}

function read(args: readonly string[]): { name: string; slowest: number } | undefined {
  const fail = (what: string, expected: string): never => {
    throw new TypeError(`Cannot look at a first call: ${what}, expected ${expected}`);
  };
  const { help, only, slowest } = parseArgs([...args], {
    boolean: ["help"],
    string: ["only", "slowest"],
    default: { only: "mlp", slowest: "10" },
    unknown: (arg) => fail(`${arg} is unknown`, "what --help lists"),
  });
  if (help) return undefined;
  if (!Object.hasOwn(workloads, only)) {
    fail(`--only is "${only}"`, `one of ${Object.keys(workloads).join(", ")}`);
  }
  if (!/^\d+$/.test(slowest)) fail(`--slowest is "${slowest}"`, "an integer");
  return { name: only, slowest: Number(slowest) };
}

async function main(): Promise<void> {
  const options = read(Deno.args);
  if (options === undefined) return console.log(help);
  const { title, kind, sizes }: Workload = workloads[options.name]!;
  const contestant = await load();
  const prepare = contestant[kind] as (...sizes: Workload["sizes"]) => Promise<Case>;
  const ready = await prepare(...sizes);
  const { spent, seen } = replayAlone();
  const start = performance.now();
  await ready.runs(1);
  const first = performance.now() - start;
  const pipelines = [...seen.values()];
  const calls = pipelines.map(({ times }) => times.length);
  await ready.runs(1);

  const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);
  const rows = pipelines.map(({ label, characters, times }, i) => {
    // Of dispatches of one pipeline the first compiles it; the k-th is the k-th of the second call.
    const n = calls[i]!, work = sum(times.slice(n, 2 * n));
    return { label, characters, n, work, driver: Math.max(0, sum(times.slice(0, n)) - work) };
  });
  const driver = sum(rows.map((row) => row.driver)), work = sum(rows.map((row) => row.work));
  const ours = first - spent.modules - spent.pipelines - driver - work;
  const table = (head: readonly string[], body: readonly (readonly (string | number)[])[]) =>
    [head, head.map((_, i) => i === 0 ? "---" : "---:"), ...body].map((row) =>
      `| ${row.map((x) => typeof x === "number" ? x.toFixed(0) : x).join(" | ")} |`
    ).join("\n");
  console.log(`${title}: ${sum(calls)} dispatches of ${pipelines.length} pipelines\n`);
  console.log(table(["part", "ms"], [
    ["tracing, compiling, submitting", ours],
    ["WGSL to SPIR-V: modules", spent.modules],
    ["WGSL to SPIR-V: pipelines", spent.pipelines],
    ["the driver's compile", driver],
    ["the work itself", work],
    ["the first call", first],
  ]));
  const slowest = rows.toSorted((a, b) => b.driver - a.driver).slice(0, options.slowest);
  console.log();
  console.log(table(
    ["pipeline", "characters", "dispatches", "driver, ms", "work, ms"],
    slowest.map(({ label, characters, n, work, driver }) => [label, characters, n, driver, work]),
  ));
}

if (import.meta.main) await toEnd(main);
