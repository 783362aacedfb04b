import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { assert, assertEquals } from "@std/assert";
import { check } from "../../graph/check.ts";
import { ones, tensor } from "../../graph/create.ts";
import { realize } from "../../graph/realize.ts";
import { Tensor } from "../../graph/tensor.ts";
import { valueAndGrad } from "../../graph/transforms.ts";
import { compile } from "../../runtime/compile.ts";
import { init, memory, resetPeak } from "../../runtime/init.ts";

await init({ software: "allow" });

const MiB = 2 ** 20;
const bound = 800 * MiB;

Deno.test("steps that return 64 MiB of gradients leak nothing, without an await", async () => {
  const step = compile((w: Tensor) => valueAndGrad((w: Tensor) => w.square().mean())(w));
  const w = ones([16 * MiB]);
  resetPeak();
  let loss = tensor(0);
  for (let i = 0; i < 30; i++) [loss] = step(w);
  const { peak } = memory();
  console.log(`30 × 64 MiB: peak ${peak / MiB} MiB`);
  assert(peak < bound, `peak is ${peak}`);
  assertEquals(await loss.item(), 1);
  step.dispose();
});

Deno.test("steps that donate their state and return 64 MiB of gradients leak nothing", async () => {
  const step = compile((w: Tensor) => {
    const [loss, gradient] = valueAndGrad((w: Tensor) => w.square().mean())(w);
    return [w.mul(1), loss, gradient] as const;
  }, { donate: [0] });
  for (const awaited of [false, true]) {
    let w: Tensor = ones([16 * MiB]), loss = tensor(0);
    await w.slice([0, 1]).data();
    resetPeak();
    for (let i = 0; i < 20; i++) {
      [w, loss] = step(w);
      if (awaited) await loss.item();
    }
    const { peak } = memory();
    console.log(`20 × 64 MiB, ${awaited ? "awaited" : "not awaited"}: peak ${peak / MiB} MiB`);
    assert(peak < bound, `peak is ${peak}`);
    assertEquals(await loss.item(), 1);
  }
  step.dispose();
});

Deno.test("1000 steps that donate their state grow by nothing, with and without awaits", async () => {
  type State = { w: Tensor; m: Tensor };
  const step = compile(({ w, m }: State, x: Tensor) => {
    const [loss, g] = valueAndGrad((w: Tensor) => x.matmul(w).square().mean())(w);
    const next = m.mul(0.9).add(g);
    return [{ w: w.sub(next.mul(0.001)), m: next }, loss] as const;
  }, { donate: [0] });
  const x = ones([8, 32]);
  let state: State = { w: ones([32, 4]), m: ones([32, 4]).mul(0) }, loss = tensor(0);
  [state, loss] = step(state, x);
  await loss.item();
  const start = memory();
  for (let i = 0; i < 1000; i++) [state, loss] = step(state, x);
  await loss.item();
  for (let i = 0; i < 200; i++) {
    [state, loss] = step(state, x);
    if (i % 10 === 0) await loss.item();
  }
  await loss.item();
  const end = memory();
  // Only losses that nobody has collected yet: 16 bytes each.
  assert(end.live - start.live <= 16 * 1210, `${start.live} to ${end.live}`);
  step.dispose();
});

Deno.test("lazy tensors in a loop are given back, awaited or not", async () => {
  const loops: Record<string, (x: Tensor) => Promise<Tensor> | Tensor> = {
    "settled in one job": (x) => {
      const y = x.mul(0.99);
      Tensor.settle([y]);
      return y;
    },
    "awaited in one job": (x) => realize(x.mul(0.99)),
    "read back": async (x) => {
      const y = x.mul(0.99);
      await y.slice([0, 1]).item();
      return await realize(y);
    },
  };
  for (const [name, next] of Object.entries(loops)) {
    resetPeak();
    let x = ones([4 * MiB]);
    for (let i = 0; i < 60; i++) {
      const made = next(x);
      x = made instanceof Tensor ? made : await made;
    }
    const { peak } = memory();
    console.log(`60 × 16 MiB ${name}: peak ${peak / MiB} MiB`);
    assert(peak < bound, `${name}: peak is ${peak}`);
    await x.slice([0, 1]).data();
  }
});

Deno.test("lazy tensors that nobody reads keep nothing, in a loop without an await", async () => {
  const step = compile((x: Tensor) => x.mul(0.5).add(1));
  const loops: Record<string, (x: Tensor) => Tensor> = {
    "a value": (x) => {
      x.mul(3);
      return step(x);
    },
    "a check": (x) => {
      check(x.greater(0), "a value is not positive");
      return step(x);
    },
    "data of the host": (x) => {
      tensor(new Float32Array(2 ** 20)).mul(3);
      return x;
    },
  };
  for (const [name, next] of Object.entries(loops)) {
    let x: Tensor = ones([MiB]);
    await x.slice([0, 1]).data();
    resetPeak();
    const before = Deno.memoryUsage().external;
    for (let i = 0; i < 250; i++) x = next(x);
    const { peak } = memory(), host = Deno.memoryUsage().external - before;
    console.log(`250 × 4 MiB ${name}: peak ${peak / MiB} MiB`);
    assert(peak < bound, `${name}: peak is ${peak}`);
    // Unless the sweeps let V8 think of much memory, which is never touched.
    if (name === "data of the host") assert(host < bound, `${name}: ${host} bytes on the host`);
    await x.slice([0, 1]).data();
  }
});

Deno.test("a compiled function that nobody can call any more gives its memory back", async () => {
  setFlagsFromString("--expose-gc");
  const gc = runInNewContext("gc") as () => void;
  const collect = async () => {
    gc();
    // Finalisers run in jobs of their own.
    for (let i = 0; i < 3; i++) await new Promise((resolve) => setTimeout(resolve, 0));
  };
  const x = ones([1024, 16]), workspace = 4 * MiB;
  await x.data();
  await collect();
  const held = () => memory().live - memory().kinds.idle.live;
  const before = held();
  for (let i = 0; i < 10; i++) {
    // What is traced remembers who called, and so this function; that must not keep it.
    const f = compile((x: Tensor) => x.add(i).matmul(x.transpose()).max(0));
    await f(x).data();
    assert(held() - before >= workspace);
    await collect();
  }
  assert(held() - before < 4 * workspace, `${held() - before} bytes`);
});

Deno.test("functions compiled in a loop without an await give their workspace back", async () => {
  const x = await realize(ones([4096, 1]));
  await x.data();
  resetPeak();
  const { live } = memory();
  let y = x;
  // A product of one step of k is a loop all the same, and so are the columns' maxima: 64 MiB between.
  for (let i = 0; i < 14; i++) y = compile((x: Tensor) => x.matmul(x.transpose()).max(0))(x);
  const { peak } = memory();
  console.log(`14 × 64 MiB: peak ${(peak - live) / MiB} MiB`);
  assert(peak - live < 640 * MiB, `peak is ${peak}, live was ${live}`);
  assertEquals(await y.max().item(), 1);
});
