/** The floor under the host's time: a run's calls again, and nothing else. */
import { assert, assertEquals } from "@std/assert";
import { bareCalls } from "../../bench/bare.ts";

const adapter = await navigator.gpu.requestAdapter();

/** A counter, and what adds its argument to it for each workgroup of three dispatches. */
async function counter() {
  const device = await adapter!.requestDevice();
  const { STORAGE, COPY_SRC, MAP_READ, COPY_DST } = GPUBufferUsage;
  const buffer = device.createBuffer({ size: 4, usage: STORAGE | COPY_SRC });
  const back = device.createBuffer({ size: 4, usage: MAP_READ | COPY_DST });
  const pipelines = [1, 10].map((step) =>
    device.createComputePipeline({
      layout: "auto",
      compute: {
        module: device.createShaderModule({
          code: `@group(0) @binding(0) var<storage, read_write> count: atomic<u32>;
            @compute @workgroup_size(1) fn main() { atomicAdd(&count, ${step}u); }`,
        }),
      },
    })
  );
  const groups = pipelines.map((pipeline) =>
    device.createBindGroup({
      layout: pipeline.getBindGroupLayout(0),
      entries: [{ binding: 0, resource: { buffer } }],
    })
  );
  const run = () => {
    const encoder = device.createCommandEncoder(), pass = encoder.beginComputePass();
    pass.setPipeline(pipelines[0]!);
    pass.setBindGroup(0, groups[0]!);
    pass.dispatchWorkgroups(2, 3);
    pass.dispatchWorkgroups(1);
    pass.setPipeline(pipelines[1]!);
    pass.setBindGroup(0, groups[1]!);
    pass.dispatchWorkgroups(1, 2, 2);
    pass.end();
    device.queue.submit([encoder.finish()]);
    return Promise.resolve();
  };
  const count = async () => {
    const encoder = device.createCommandEncoder();
    encoder.copyBufferToBuffer(buffer, 0, back, 0, 4);
    device.queue.submit([encoder.finish()]);
    await back.mapAsync(GPUMapMode.READ);
    const [value] = new Uint32Array(back.getMappedRange().slice(0));
    back.unmap();
    return value;
  };
  return { device, buffer, run, count };
}

Deno.test("bareCalls() makes the calls of a run again", async () => {
  const { device, run, count } = await counter();
  const { dispatchWorkgroups } = GPUComputePassEncoder.prototype;
  const bare = await bareCalls(run);
  assertEquals(GPUComputePassEncoder.prototype.dispatchWorkgroups, dispatchWorkgroups);
  assertEquals(bare?.dispatches, 3);
  // Once as it was, and once to see whether it can be made again.
  assertEquals(await count(), 2 * 47);
  assert(await bare!.run() > 0);
  assertEquals(await count(), 3 * 47);
  device.destroy();
});

Deno.test("bareCalls() has nothing where nothing was called, or buffers are gone", async () => {
  const { device, buffer, run } = await counter();
  assertEquals(await bareCalls(() => Promise.resolve()), undefined);
  const gone = bareCalls(async () => {
    await run();
    buffer.destroy();
  });
  assertEquals(await gone, undefined);
  device.destroy();
});
