/**
 * Opening and closing the device, and asking about it: what a user calls first.
 *
 * @module
 */
import { executor, installExecutor } from "../graph/executor.ts";
import { is } from "../graph/node.ts";
import { type MemoryKind, memoryKinds } from "../graph/storage.ts";
import { describe } from "../graph/describe.ts";
import { Tensor } from "../graph/tensor.ts";
import { isTensor } from "../graph/transforms/trace.ts";
import { flatten } from "../graph/tree.ts";
import { Context, context, currentContext, setContext } from "./context.ts";
import {
  closeDevice,
  complete,
  type DeviceInfo,
  type InitOptions,
  mayRead,
  openDevice,
} from "./device.ts";
import { DeviceExecutor } from "./executor.ts";
import { Block, type MemoryReport } from "./memory.ts";
import { finish } from "./queue.ts";

let opening: Promise<DeviceInfo> | undefined;
let waitsAtTheEnd = false;
const variable = "RETROGRAD_SOFTWARE";

/**
 * A program that has nothing more to do may have left the device much to do. Deno closes the device
 * then, and the driver panics if that takes it too long, so the end waits.
 */
function waitAtTheEnd(): void {
  if (waitsAtTheEnd) return;
  waitsAtTheEnd = true;
  let waited = false;
  globalThis.addEventListener("beforeunload", (event) => {
    const open = currentContext();
    // What this wait wakes is the end once more.
    if (waited || open === undefined || open.device.errors.lost) return;
    event.preventDefault();
    waited = true;
    open.device.gpu.queue.onSubmittedWorkDone().catch(() => {});
  });
}

/**
 * Opens the device that everything runs on. Calling it again gives the same device, as long as the
 * options do not conflict; or a new one, if the device was lost.
 *
 * @throws {DeviceError} if there is no adapter, or none of the kind that is asked for.
 * @throws {Error} if a device is open that the options would not have chosen.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 *
 * const device = await rg.init({ software: "allow" });
 * console.log(device.name, device.kind);
 * ```
 */
export async function init(options: InitOptions = {}): Promise<DeviceInfo> {
  // Two calls at once open one device: the second waits for the first.
  while (opening !== undefined) await opening.catch(() => {});
  // What was lost cannot be used any more, and its errors ask for another init.
  if (currentContext()?.device.errors.lost) shutdown();
  const known = currentContext()?.device;
  const wanted = complete(options);
  if (known !== undefined) {
    const conflict = (wanted.software === "refuse" && known.info.kind === "software") ||
      (wanted.software === "require" && known.info.kind !== "software");
    if (conflict) {
      throw new Error(
        `Cannot init: ${known.info.name} (${known.info.kind}) is open already and software is ` +
          `"${wanted.software}", expected shutdown() before`,
      );
    }
    for (const name of ["powerPreference", "tuning"] as const) {
      if (options[name] === undefined || wanted[name] === known.options[name]) continue;
      throw new Error(
        `Cannot init: ${known.info.name} is open already with ${name} ` +
          `${describe(known.options[name])}, and it is ${describe(wanted[name])}, expected ` +
          "shutdown() before",
      );
    }
    return known.info;
  }
  opening = open(wanted);
  try {
    const info = await opening;
    // Nobody may have asked for it, and who asked for a GPU could not be heard.
    if (info.kind === "software" && options.software === undefined && !mayRead(variable)) {
      console.warn(
        `init: ${info.name} computes on the CPU, and ${variable} was not looked at, ` +
          `expected --allow-env=${variable}, or the option software`,
      );
    }
    return info;
  } finally {
    opening = undefined;
  }
}

async function open(options: Required<InitOptions>): Promise<DeviceInfo> {
  const device = await openDevice(options);
  const opened = new Context(device);
  opened.collector.refill();
  // The collector's tokens serve from the next job on, and the caller may go on without a wait.
  await new Promise((resolve) => setTimeout(resolve, 0));
  opened.collector.jobEnded();
  setContext(opened);
  installExecutor(new DeviceExecutor(opened));
  waitAtTheEnd();
  return device.info;
}

/** Closes the device. Tensors on it lose their data; `init` may be called again. */
export function shutdown(): void {
  const open = currentContext();
  if (open === undefined) return;
  setContext(undefined);
  installExecutor(undefined);
  closeDevice(open.device);
}

/**
 * The device that is open.
 *
 * @throws {Error} before `init`.
 */
export function deviceInfo(): DeviceInfo {
  return context("describe the device").device.info;
}

/**
 * Waits until everything that was started has run.
 *
 * @throws {DeviceError} if something went wrong on the device.
 * @throws {CheckError} if something that was started demanded what did not hold.
 */
export async function synchronize(): Promise<void> {
  const open = context("synchronize");
  await executor("synchronize").read([]);
  await finish(open);
}

/**
 * Device memory in bytes: now and at its fullest since the last {@linkcode resetPeak}, by kind; and
 * what runs keep on host and disk while they are under way.
 *
 * @throws {Error} before `init`.
 */
export function memory(): MemoryReport {
  const { ledger, outside } = context("count memory");
  return { ...ledger.report(), host: outside.report("host"), disk: outside.report("disk") };
}

/**
 * Lets the peak count from here on. Memory that lies idle is given back first.
 *
 * @throws {Error} before `init`.
 */
export function resetPeak(): void {
  const { ledger, outside } = context("reset the peak");
  ledger.trim();
  ledger.resetPeak();
  outside.resetPeak();
}

/**
 * Counts the memory of a tree of tensors as something from now on: parameters, state, data. What
 * replaces them when they are donated is counted the same. Computes what is still an expression,
 * and returns the tree.
 *
 * @throws {Error} before `init`, or while a tensor is being traced.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 *
 * await rg.init({ software: "allow" });
 * const weights = rg.countAs("parameters", { w: rg.ones([256, 256]) });
 * await weights.w.data();
 * console.log(rg.memory().kinds.parameters.live);
 * ```
 */
export function countAs<T>(kind: MemoryKind, tree: T): T {
  const { ledger } = context("count memory");
  if (!memoryKinds.includes(kind)) {
    throw new TypeError(
      `Cannot count memory: the kind is ${describe(kind)}, expected one of ${
        memoryKinds.join(", ")
      }`,
    );
  }
  const { leaves } = flatten(tree, isTensor);
  Tensor.settle(leaves, "count memory");
  for (const { node } of leaves) {
    if (!is(node, "leaf")) continue;
    const { storage } = node.attributes, { state } = storage;
    storage.kind = kind;
    if (state.at === "device" && state.handle instanceof Block && state.handle.ledger === ledger) {
      ledger.relabel(state.handle, kind);
    }
  }
  return tree;
}
