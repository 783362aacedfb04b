/**
 * Opening and closing the device, and asking about it: what a user calls first.
 *
 * @module
 */
import { installExecutor } from "../graph/executor.ts";
import { Context, context, currentContext, setContext } from "./context.ts";
import { complete, type DeviceInfo, type InitOptions, openDevice } from "./device.ts";
import { DeviceExecutor } from "./executor.ts";
import type { MemoryReport } from "./memory.ts";
import { finish } from "./queue.ts";

let opening: Promise<DeviceInfo> | undefined;

/**
 * Opens the device that everything runs on. Calling it again gives the same device, as long as the
 * options do not conflict.
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
    return known.info;
  }
  opening = open(wanted);
  try {
    return await opening;
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
  return device.info;
}

/** Closes the device. Tensors on it lose their data; `init` may be called again. */
export function shutdown(): void {
  const open = currentContext();
  if (open === undefined) return;
  setContext(undefined);
  installExecutor(undefined);
  open.device.gpu.destroy();
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
 */
export async function synchronize(): Promise<void> {
  await finish(context("synchronize"));
}

/**
 * Device memory in bytes: now and at its fullest since the last {@linkcode resetPeak}, by kind.
 *
 * @throws {Error} before `init`.
 */
export function memory(): MemoryReport {
  return context("count memory").ledger.report();
}

/**
 * Lets the peak count from here on. Memory that lies idle is given back first.
 *
 * @throws {Error} before `init`.
 */
export function resetPeak(): void {
  const { ledger } = context("reset the peak");
  ledger.trim();
  ledger.resetPeak();
}
