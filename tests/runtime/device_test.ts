import { assert, assertEquals, assertRejects, assertStrictEquals, assertThrows } from "@std/assert";
import { tensor } from "../../graph/create.ts";
import { currentContext } from "../../runtime/context.ts";
import { complete, openDevice } from "../../runtime/device.ts";
import { DeviceError, DeviceLostError, ErrorLog, OutOfMemoryError } from "../../runtime/errors.ts";
import { deviceInfo, init, shutdown, synchronize } from "../../runtime/init.ts";

Deno.test("init() opens one device, and describes it", async () => {
  const [info, again] = await Promise.all([init({ software: "allow" }), init()]);
  assertStrictEquals(info, again);
  assertStrictEquals(deviceInfo(), info);
  assert(info.name.length > 0);
  assert(["software", "integrated", "discrete"].includes(info.kind));
  assert(info.limits.maxStorageBuffersPerShaderStage >= 8);
  shutdown();
});

Deno.test("init() again with an option that the open device was not given is an error", async () => {
  await init({ software: "allow", tuning: false });
  try {
    await init({ tuning: false });
    await init();
    await assertRejects(
      () => init({ tuning: "elsewhere" }),
      Error,
      'is open already with tuning false, and it is "elsewhere", expected shutdown() before',
    );
    await assertRejects(
      () => init({ powerPreference: "low-power" }),
      Error,
      'is open already with powerPreference "high-performance", and it is "low-power"',
    );
  } finally {
    shutdown();
  }
});

Deno.test("init() never lets a software adapter stand in where a GPU was asked for", async () => {
  const { kind } = await init();
  const other = kind === "software" ? "refuse" : "require";
  await assertRejects(() => init({ software: other }), Error, "expected shutdown() before");
  shutdown();
  await assertRejects(
    () => init({ software: other }),
    DeviceError,
    kind === "software" ? "computes on the CPU" : "which is hardware",
  );
  assertThrows(() => deviceInfo(), Error, "expected `await init()` before");
});

Deno.test("init() takes the environment's word where the option is left out", async () => {
  Deno.env.set("RETROGRAD_SOFTWARE", "sometimes");
  try {
    await assertRejects(
      () => init(),
      TypeError,
      `RETROGRAD_SOFTWARE is "sometimes", expected "allow", "require" or "refuse"`,
    );
    assertEquals(complete({ software: "require" }).software, "require");
    assertThrows(
      () => complete({ software: "allow", powerPreference: "most" as never }),
      TypeError,
      'powerPreference is "most", expected "low-power" or "high-performance"',
    );
    Deno.env.set("RETROGRAD_SOFTWARE", "");
    assertEquals(complete({}).software, "allow");
  } finally {
    Deno.env.delete("RETROGRAD_SOFTWARE");
  }
  assertEquals(complete({}), {
    software: "allow",
    powerPreference: "high-performance",
    tuning: ".retrograd/tuning",
  });
});

Deno.test("init() says what to install where there is no adapter, and no WebGPU", async () => {
  const { gpu } = navigator;
  const pretend = async (value: unknown, message: string) => {
    Object.defineProperty(navigator, "gpu", { value, configurable: true });
    try {
      await assertRejects(() => openDevice(complete({})), DeviceError, message);
    } finally {
      Object.defineProperty(navigator, "gpu", { value: gpu, configurable: true });
    }
  };
  await pretend(undefined, "this runtime has no WebGPU");
  const none = { requestAdapter: () => Promise.resolve(null) };
  await pretend(none, "Cannot init: no WebGPU adapter");
  const before = Deno.env.get("DENO_WEBGPU_BACKEND");
  Deno.env.set("DENO_WEBGPU_BACKEND", "dx12");
  try {
    await pretend(none, "expected one of DENO_WEBGPU_BACKEND=dx12, or the variable not set");
  } finally {
    if (before === undefined) Deno.env.delete("DENO_WEBGPU_BACKEND");
    else Deno.env.set("DENO_WEBGPU_BACKEND", before);
  }
});

Deno.test("shutdown() takes the data away, and init() starts afresh", async () => {
  await init();
  const x = tensor([1, 2]).add(1);
  assertEquals(await x.array(), [2, 3]);
  shutdown();
  shutdown();
  await assertRejects(() => x.add(1).array(), Error, "there is no device yet");
  await init();
  await assertRejects(() => x.add(1).array(), Error, "a device that is shut down");
  assertEquals(await tensor([1, 2]).add(1).array(), [2, 3]);
  await synchronize();
  shutdown();
});

Deno.test("shutdown() while a value is being read is a DeviceLostError", async () => {
  await init();
  const reading = tensor([1, 2]).add(1).array();
  shutdown();
  await assertRejects(() => reading, DeviceLostError, "it was shut down");
});

Deno.test("init() opens another device where the last one was lost", async () => {
  await init();
  const x = tensor([1, 2]).add(1);
  assertEquals(await x.array(), [2, 3]);
  const { gpu } = currentContext()!.device;
  gpu.destroy();
  await gpu.lost;
  await assertRejects(() => x.mul(2).array(), DeviceLostError, "expected `await init()` again");
  await init();
  assertEquals(await tensor([1, 2]).add(1).array(), [2, 3]);
  shutdown();
});

Deno.test("ErrorLog throws the weightiest error once, with the expression of its kernel", () => {
  const log = new ErrorLog();
  log.throwPending();
  log.describe("dot 3×4", { expression: "x @ w", source: "train.ts:7:3" });
  log.add(new DeviceError("first"));
  log.add(new DeviceError("first"));
  log.add(new OutOfMemoryError("no room"));
  const error = assertThrows(() => log.throwPending(), OutOfMemoryError, "no room");
  assert(error.message.includes("and 1 more after it"), error.message);
  log.throwPending();
  assertEquals(
    log.explain("Pipeline with 'dot 3×4' label is invalid"),
    "Cannot run dot 3×4: Pipeline with 'dot 3×4' label is invalid\n" +
      "  in the expression x @ w at train.ts:7:3",
  );
  log.add(new DeviceLostError("lost"));
  assertThrows(() => log.throwPending(), DeviceLostError);
  assertThrows(() => log.throwPending(), DeviceLostError);
});
