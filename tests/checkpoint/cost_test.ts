/** The model of bytes and flops, and measured times over it. */
import { assert, assertEquals } from "@std/assert";
import { measured, modelled, rooflines, type Work } from "../../checkpoint/cost.ts";

const model = modelled({
  bandwidth: 100,
  flops: 1000,
  dispatch: 5,
  transfer: {
    device: { bandwidth: 50, latency: 1 },
    host: { bandwidth: 10, latency: 20 },
    disk: { bandwidth: 1, latency: 300 },
  },
});
const work = (key: string, bytes: number, flops: number): Work => ({ key, bytes, flops });

Deno.test("modelled() is the slower of traffic and arithmetic, and the dispatches", () => {
  assertEquals(model.time(work("a", 1000, 10)), 15);
  assertEquals(model.time(work("b", 10, 5000)), 10);
  assertEquals(model.time({ ...work("c", 1000, 0), dispatches: 3 }), 25);
  assertEquals(model.transfer("host", 100), 30);
});

Deno.test("measured() answers with what was measured, and scales what was not", () => {
  const [a, b, c] = [work("a", 1000, 0), work("b", 2000, 0), work("c", 3000, 0)];
  const times = new Map([
    ["a", { work: a, time: 30 }],
    ["b", { work: b, time: 50 }],
    ["c", { work: c, time: 3500 }],
  ]);
  const costs = measured(times, model);
  assertEquals(costs.time(a), 30);
  assertEquals(costs.time(c), 3500);
  // The median ratio is 2: one kernel far off does not move the others.
  assertEquals(costs.time(work("d", 4000, 0)), 90);
  assertEquals(costs.transfer("disk", 7), 307);
  assertEquals(costs.otherwise, model);
  assertEquals(measured(new Map(), model), model);
});

Deno.test("measured() scales what is called alike by what was measured of it", () => {
  const loop = (key: string, bytes: number): Work => ({ ...work(key, bytes, 0), like: "loop" });
  const a = work("a", 1000, 0), stored = loop("stored", 2000);
  const times = new Map([
    ["a", { work: a, time: 30 }],
    ["stored", { work: stored, time: 250 }],
    ["b", { work: work("b", 2000, 0), time: 50 }],
  ]);
  const costs = measured(times, model);
  assertEquals(costs.time(stored), 250);
  assertEquals(costs.time(loop("in less memory", 3000)), 350);
  // The median of all is 2, for whatever is called otherwise, or like nothing.
  assertEquals(costs.time({ ...loop("c", 3000), like: "another" }), 70);
  assertEquals(costs.time(work("d", 3000, 0)), 70);
});

Deno.test("rooflines say that colder stores are slower", () => {
  for (const roofline of Object.values(rooflines)) {
    const { device, host, disk } = roofline.transfer;
    assert(device.bandwidth > host.bandwidth && host.bandwidth > disk.bandwidth);
  }
});
