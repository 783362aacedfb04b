/**
 * The device: which adapter, with which limits and features, and what it is called in the output.
 * A software adapter works but never stands in silently where a GPU was asked for. Everything that
 * the adapter can do is asked for at once, since a device cannot be extended later.
 *
 * @module
 */
import type { Target } from "../compile/program.ts";
import { checkNames } from "../graph/describe.ts";
import { type Choices, driverVersion, type Identity, loadChoices } from "./choices.ts";
import { DeviceError, DeviceLostError, ErrorLog } from "./errors.ts";
import { Verdicts } from "./verdicts.ts";

/** Whether an adapter that computes on the CPU may be used. */
export type SoftwarePolicy = "allow" | "require" | "refuse";

/** How `init` chooses a device. */
export interface InitOptions {
  /**
   * Whether a software adapter may be used. The environment variable `RETROGRAD_SOFTWARE` says it
   * where the option is left out.
   *
   * @default {"allow"}
   */
  readonly software?: SoftwarePolicy;
  /**
   * Which adapter to prefer where the machine has several.
   *
   * @default {"high-performance"}
   */
  readonly powerPreference?: "low-power" | "high-performance";
  /**
   * Folder in which `tune` remembers what it measured, or false to remember nothing. It is used as
   * far as permissions to read and write it were given.
   *
   * @default {".retrograd/tuning"}
   */
  readonly tuning?: string | false;
}

/** What kind of hardware an adapter is. */
export type DeviceKind = "software" | "integrated" | "discrete";

/** The device in words and numbers. */
export interface DeviceInfo {
  /** As the driver calls it: `llvmpipe (LLVM 15.0.6, 256 bits)`. */
  readonly name: string;
  /** Who makes it. */
  readonly vendor: string;
  /** Version of its driver, where the system tells; empty elsewhere. */
  readonly driver: string;
  /** What kind of hardware it is. */
  readonly kind: DeviceKind;
  /** Features that programs may use, by their WebGPU names. */
  readonly features: readonly string[];
  /** How much of everything it has. */
  readonly limits: Readonly<Record<LimitName, number>>;
}

/** Names of the limits in {@linkcode DeviceInfo}: those raised to what the adapter has. */
export type LimitName =
  | "maxStorageBuffersPerShaderStage"
  | "maxStorageBufferBindingSize"
  | "maxBufferSize"
  | "maxComputeWorkgroupStorageSize"
  | "maxComputeInvocationsPerWorkgroup"
  | "maxComputeWorkgroupSizeX"
  | "maxComputeWorkgroupSizeY"
  | "maxComputeWorkgroupSizeZ"
  | "maxComputeWorkgroupsPerDimension";

const limitNames: readonly LimitName[] = [
  "maxStorageBuffersPerShaderStage",
  "maxStorageBufferBindingSize",
  "maxBufferSize",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
  "maxComputeWorkgroupSizeY",
  "maxComputeWorkgroupSizeZ",
  "maxComputeWorkgroupsPerDimension",
];

/**
 * The features worth having. `subgroups` is accepted by Deno though no adapter lists it, so it is
 * tried rather than looked up.
 */
const features = { listed: ["shader-f16", "timestamp-query"], tried: ["subgroups"] } as const;

/** Words in an adapter's name by which its kind is known; the first row that matches counts. */
const kindsByName: readonly (readonly [RegExp, DeviceKind])[] = [
  [/llvmpipe|lavapipe|swiftshader|softpipe|basic render|software/i, "software"],
  [/nvidia|geforce|quadro|tesla|radeon (rx|pro)|\barc\b|instinct/i, "discrete"],
  [/intel|iris|uhd graphics|apple|adreno|mali|radeon|vega|videocore/i, "integrated"],
];

/** An open device with what must be known of it everywhere. */
export interface Device {
  readonly gpu: GPUDevice;
  readonly info: DeviceInfo;
  readonly errors: ErrorLog;
  /** What the compiler must know. */
  readonly target: Target;
  /** What was measured on this adapter. */
  readonly tuning: Choices;
  /** What came of probes on it. */
  readonly probes: Verdicts;
  readonly identity: Identity;
  /** What was asked for, to compare a second `init` with. */
  readonly options: Required<InitOptions>;
}

/** Whether permission to read an environment variable was given already. */
export function mayRead(name: string): boolean {
  try {
    return Deno.permissions.querySync({ name: "env", variable: name }).state === "granted";
  } catch {
    return false;
  }
}

/** The value of an environment variable, where permission to read it was given already. */
export function environment(name: string): string | undefined {
  return mayRead(name) ? Deno.env.get(name) : undefined;
}

/** Options with the environment and the defaults filled in. */
export function complete(options: InitOptions): Required<InitOptions> {
  checkNames(options, { software: true, powerPreference: true, tuning: true }, "init");
  // A variable that is set to nothing says nothing.
  const software = options.software ?? (environment("RETROGRAD_SOFTWARE") || "allow");
  if (software !== "allow" && software !== "require" && software !== "refuse") {
    const what = options.software === undefined ? "RETROGRAD_SOFTWARE" : "software";
    throw new TypeError(
      `Cannot init: ${what} is "${software}", expected "allow", "require" or "refuse"`,
    );
  }
  const powerPreference = options.powerPreference ?? "high-performance";
  if (powerPreference !== "low-power" && powerPreference !== "high-performance") {
    throw new TypeError(
      `Cannot init: powerPreference is "${powerPreference}", expected "low-power" or ` +
        `"high-performance"`,
    );
  }
  const { tuning = ".retrograd/tuning" } = options;
  if (tuning !== false && (typeof tuning !== "string" || tuning === "")) {
    throw new TypeError(`Cannot init: tuning is ${tuning}, expected a folder or false`);
  }
  return { software, powerPreference, tuning };
}

/** Opens the adapter that the options ask for. */
export async function openDevice(options: Required<InitOptions>): Promise<Device> {
  const webgpu = (globalThis.navigator as Navigator | undefined)?.gpu as GPU | undefined;
  if (webgpu === undefined) {
    throw new DeviceError(
      "Cannot init: this runtime has no WebGPU (navigator.gpu), expected Deno 2.9 or later",
    );
  }
  const { software, powerPreference } = options;
  const adapter = await webgpu.requestAdapter({
    powerPreference,
    ...(software === "require" && { forceFallbackAdapter: true }),
  }) ?? (software === "require" ? await webgpu.requestAdapter({ powerPreference }) : null);
  if (adapter === null) throw new DeviceError(`Cannot init: no WebGPU adapter, ${advice()}`);

  const { info } = adapter;
  const name = info.description || info.device || info.architecture || "unnamed adapter";
  const kind = kindOf(name, info);
  if (kind === "software" && software === "refuse") {
    throw new DeviceError(
      `Cannot init: the only adapter is ${name}, which computes on the CPU, ` +
        `expected a GPU (software adapters are refused)`,
    );
  }
  if (kind !== "software" && software === "require") {
    throw new DeviceError(
      `Cannot init: the only adapter is ${name}, which is hardware, ` +
        `expected a software adapter (it is required)`,
    );
  }

  const limits = {} as Record<LimitName, number>;
  for (const limit of limitNames) limits[limit] = adapter.limits[limit];
  const gpu = await requestDevice(adapter, limits);
  const errors = new ErrorLog();
  gpu.addEventListener("uncapturederror", (event) => {
    event.preventDefault();
    errors.addReported((event as GPUUncapturedErrorEvent).error);
  });
  gpu.lost.then(({ reason, message }) => {
    errors.add(
      reason === "destroyed" ? shutDown() : new DeviceLostError(
        `Cannot use the device: it was lost (${message}), expected a working driver, and ` +
          "`await init()` again",
      ),
    );
  });
  const granted = [...gpu.features as Iterable<string>].sort();
  const identity = await identityOf(name, info);
  const tuning = await loadChoices(options.tuning, identity), probes = new Verdicts();
  return {
    gpu,
    errors,
    options,
    tuning,
    probes,
    identity,
    info: {
      name,
      vendor: vendorOf(info),
      driver: identity.driver,
      kind,
      features: granted,
      limits,
    },
    target: {
      maxBindings: limits.maxStorageBuffersPerShaderStage,
      maxBindingBytes: limits.maxStorageBufferBindingSize,
      maxWorkgroups: limits.maxComputeWorkgroupsPerDimension,
      kind,
      f16: granted.includes("shader-f16"),
      shuffle: granted.includes("subgroups") && await probeShuffle(gpu),
      maxWorkgroupBytes: limits.maxComputeWorkgroupStorageSize,
      tuning,
      probes,
    },
  };
}

/** The error for whoever uses a device that was closed on purpose. */
function shutDown(): DeviceLostError {
  return new DeviceLostError(
    "Cannot use the device: it was shut down, expected `await init()` again",
  );
}

/** Destroys a device. Its loss is known at once: the event comes later than what fails of it. */
export function closeDevice({ gpu, errors }: Device): void {
  errors.add(shutDown());
  gpu.destroy();
}

/** The device with all limits and features; without those that are only tried if it must be. */
async function requestDevice(
  adapter: GPUAdapter,
  requiredLimits: Record<string, number>,
): Promise<GPUDevice> {
  const listed = features.listed.filter((feature) => adapter.features.has(feature));
  const label = "retrograd";
  try {
    const requiredFeatures = [...listed, ...features.tried] as GPUFeatureName[];
    return await adapter.requestDevice({ label, requiredFeatures, requiredLimits });
  } catch {
    return await adapter.requestDevice({ label, requiredFeatures: listed, requiredLimits });
  }
}

/**
 * Whether the lanes of a workgroup of 8 are one subgroup of 8, and can read each other. Drivers
 * choose the size, so it is tried on the device.
 */
async function probeShuffle(gpu: GPUDevice): Promise<boolean> {
  const code = `
    @group(0) @binding(0) var<storage, read_write> seen: array<u32>;
    @compute @workgroup_size(8) fn main(
      @builtin(global_invocation_id) id: vec3<u32>,
      @builtin(subgroup_size) size: u32,
    ) {
      seen[id.x] = size * 1000u + subgroupShuffleXor(id.x * 10u, 5u);
    }`;
  const lanes = 16, bytes = 4 * lanes;
  gpu.pushErrorScope("validation");
  const { COPY_DST, COPY_SRC, MAP_READ, STORAGE } = GPUBufferUsage;
  const seen = gpu.createBuffer({ size: bytes, usage: STORAGE | COPY_SRC });
  const back = gpu.createBuffer({ size: bytes, usage: MAP_READ | COPY_DST });
  try {
    const module = gpu.createShaderModule({ code });
    const pipeline = gpu.createComputePipeline({ layout: "auto", compute: { module } });
    const failed = await gpu.popErrorScope();
    if (failed !== null) return false;
    const encoder = gpu.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    const layout = pipeline.getBindGroupLayout(0);
    const entries = [{ binding: 0, resource: { buffer: seen } }];
    pass.setBindGroup(0, gpu.createBindGroup({ layout, entries }));
    pass.dispatchWorkgroups(lanes / 8);
    pass.end();
    encoder.copyBufferToBuffer(seen, 0, back, 0, bytes);
    gpu.queue.submit([encoder.finish()]);
    await back.mapAsync(GPUMapMode.READ);
    const values = new Uint32Array(back.getMappedRange());
    return values.every((value, i) => value === 8000 + (i ^ 5) * 10);
  } catch {
    return false;
  } finally {
    seen.destroy();
    back.destroy();
  }
}

async function identityOf(name: string, info: GPUAdapterInfo): Promise<Identity> {
  const { architecture, device } = info;
  return {
    adapter: [name, vendorOf(info), architecture, device].filter((text) => text).join(" "),
    driver: await driverVersion(),
    deno: Deno.version.deno,
  };
}

function kindOf(name: string, info: GPUAdapterInfo): DeviceKind {
  if (info.isFallbackAdapter) return "software";
  const text = `${name} ${info.vendor} ${info.architecture}`;
  return kindsByName.find(([words]) => words.test(text))?.[1] ?? "discrete";
}

/** PCI numbers of the vendors; drivers give these rather than names. */
const vendors: Readonly<Record<string, string>> = {
  "4098": "AMD",
  "4203": "Apple",
  "4318": "NVIDIA",
  "5045": "ARM",
  "20803": "Qualcomm",
  "32902": "Intel",
  "65541": "Mesa",
};

function vendorOf(info: GPUAdapterInfo): string {
  return vendors[info.vendor] ?? info.vendor;
}

/** What to install or to set where there is no adapter. */
function advice(): string {
  const backend = environment("DENO_WEBGPU_BACKEND");
  if (backend) return `expected one of DENO_WEBGPU_BACKEND=${backend}, or the variable not set`;
  const system = globalThis.Deno?.build.os;
  if (system === "linux") {
    return "expected a Vulkan driver: the GPU's own, or the packages mesa-vulkan-drivers and " +
      "libvulkan1 (named as in Debian) for a software adapter";
  }
  return "expected a GPU that the system's own driver supports";
}
