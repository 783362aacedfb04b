/**
 * The floor under the host's time: the calls that a run made of WebGPU, in a loop of nothing else.
 * What a library's host needs beyond that is its own.
 *
 * @module
 */

/** A dispatch, with what was set since the last one. */
interface Call {
  readonly pipeline: GPUComputePipeline | undefined;
  readonly group: GPUBindGroup | undefined;
  readonly workgroups: readonly [number, number, number];
}

/** What a loop of calls does. */
export interface Bare {
  readonly dispatches: number;
  /** Milliseconds to record and submit it once, while the device is idle. */
  run(): Promise<number>;
  /** Likewise for as many dispatches of its first one, with nothing set in between. */
  least(): Promise<number>;
}

/** Does something more when a method is called, as long as `f` runs. */
class Listening {
  readonly #undo: (() => void)[] = [];

  /** To a method: `then` is called before it. */
  to<T, K extends keyof T>(
    prototype: T,
    method: K,
    then: T[K] extends (...args: infer A) => unknown ? (self: T, ...args: A) => void : never,
  ): void {
    const original = prototype[method] as (...args: unknown[]) => unknown;
    const more = then as (self: T, ...args: unknown[]) => void;
    prototype[method] = function (this: T, ...args: unknown[]): unknown {
      more(this, ...args);
      return original.apply(this, args);
    } as T[K];
    this.#undo.push(() => prototype[method] = original as T[K]);
  }

  end(): void {
    for (const undo of this.#undo.reverse()) undo();
  }
}

/**
 * The calls that `f` makes, to be made again: same pipelines, bind groups and buffers. Undefined if
 * it makes none, or if its buffers do not outlive it.
 */
export async function bareCalls(f: () => Promise<unknown>): Promise<Bare | undefined> {
  const calls: Call[] = [];
  let device: GPUDevice | undefined, group: GPUBindGroup | undefined;
  let pipeline: GPUComputePipeline | undefined;
  const listening = new Listening();
  listening.to(GPUDevice.prototype, "createCommandEncoder", (self) => device = self);
  const pass = GPUComputePassEncoder.prototype;
  listening.to(pass, "setPipeline", (_, set) => pipeline = set);
  listening.to(pass, "setBindGroup", (_, ...args: unknown[]) => group = args[1] as GPUBindGroup);
  listening.to(pass, "dispatchWorkgroups", (_, x, y = 1, z = 1) => {
    calls.push({ pipeline, group, workgroups: [x, y, z] });
    pipeline = group = undefined;
  });
  try {
    await f();
  } finally {
    listening.end();
  }
  const gpu = device;
  if (gpu === undefined || calls.length === 0) return undefined;
  const record = async (calls: readonly Call[]): Promise<number> => {
    const start = performance.now();
    const encoder = gpu.createCommandEncoder(), pass = encoder.beginComputePass();
    for (const { pipeline, group, workgroups } of calls) {
      if (pipeline !== undefined) pass.setPipeline(pipeline);
      if (group !== undefined) pass.setBindGroup(0, group);
      pass.dispatchWorkgroups(workgroups[0], workgroups[1], workgroups[2]);
    }
    pass.end();
    gpu.queue.submit([encoder.finish()]);
    const milliseconds = performance.now() - start;
    await gpu.queue.onSubmittedWorkDone();
    return milliseconds;
  };
  gpu.pushErrorScope("validation");
  await record(calls);
  if (await gpu.popErrorScope() !== null) return undefined;
  const again = { workgroups: calls[0]!.workgroups, pipeline: undefined, group: undefined };
  const alike = calls.map((call, i) => i === 0 ? call : again);
  return {
    dispatches: calls.length,
    run: () => record(calls),
    least: () => record(alike),
  };
}
