/**
 * Errors of the device. WebGPU reports them late and by event, and stays silent if nobody listens;
 * here they are collected as they come in and thrown at the next await, as typed errors that name
 * the kernel and the user's expression. The log outlives no device.
 *
 * @module
 */

/** The device refused or failed something: a shader, a dispatch, a buffer. */
export class DeviceError extends Error {
  /** The name of the class. */
  override name = "DeviceError";
}

/** The device is gone, and everything that was on it. */
export class DeviceLostError extends DeviceError {
  /** The name of the class. */
  override name = "DeviceLostError";
}

/** The device has no room for a buffer. */
export class OutOfMemoryError extends DeviceError {
  /** The name of the class. */
  override name = "OutOfMemoryError";
}

/** A condition that the program demanded did not hold on the device; see `check`. */
export class CheckError extends Error {
  /** The name of the class. */
  override name = "CheckError";
}

/** What a label in a message of the device stands for. */
export interface Origin {
  /** The expression that the kernel computes. */
  readonly expression: string;
  /** Where the user wrote it. */
  readonly source?: string | undefined;
}

/** One error is worth reporting before another: what was lost explains what failed after it. */
const weight = (error: Error): number =>
  error instanceof DeviceLostError ? 2 : error instanceof OutOfMemoryError ? 1 : 0;

/** Labels kept for messages; more than any program has kernels, and old ones may go. */
const remembered = 4096;

/** Errors that have come in and have not been thrown yet. */
export class ErrorLog {
  #pending: Error[] = [];
  #lost: DeviceLostError | undefined;
  readonly #origins = new Map<string, Origin>();

  /** Says what a label means, so that messages that carry it can name the expression. */
  describe(label: string, origin: Origin): void {
    if (this.#origins.size >= remembered) this.#origins.clear();
    this.#origins.set(label, origin);
  }

  /** Notes an error for the next {@linkcode throwPending}; the same message counts once. */
  add(problem: unknown): void {
    const error = problem instanceof Error ? problem : new DeviceError(String(problem));
    if (error instanceof DeviceLostError) this.#lost ??= error;
    else if (!this.#pending.some((known) => known.message === error.message)) {
      this.#pending.push(error);
    }
  }

  /** Notes an error as WebGPU reports it. */
  addReported(error: GPUError): void {
    const message = this.explain(error.message.trim());
    this.add(
      typeof GPUOutOfMemoryError !== "undefined" && error instanceof GPUOutOfMemoryError
        ? new OutOfMemoryError(message)
        : new DeviceError(message),
    );
  }

  /** The message of the device, with the expression behind the label that it quotes. */
  explain(message: string): string {
    for (const [, label] of message.matchAll(/'([^'\n]+)'/g)) {
      const origin = this.#origins.get(label!);
      if (origin === undefined) continue;
      const where = origin.source === undefined ? "" : ` at ${origin.source}`;
      return `Cannot run ${label}: ${message}\n  in the expression ${origin.expression}${where}`;
    }
    return `Cannot run on the device: ${message}`;
  }

  /** Whether the device is gone. */
  get lost(): boolean {
    return this.#lost !== undefined;
  }

  /** Throws if the device is gone: then nothing can be asked of it. */
  throwIfLost(): void {
    if (this.#lost !== undefined) throw this.#lost;
  }

  /** Throws the first of what has come in, if anything has, and keeps it for an await. */
  throwFirst(): void {
    this.throwIfLost();
    if (this.#pending.length > 0) throw this.#pending[0]!;
  }

  /** Throws the weightiest of what has come in, if anything has, and forgets the rest. */
  throwPending(): void {
    this.throwIfLost();
    if (this.#pending.length === 0) return;
    const all = this.#pending;
    this.#pending = [];
    const first = all.reduce((a, b) => weight(b) > weight(a) ? b : a);
    if (all.length > 1) first.message += `\n  (and ${all.length - 1} more after it)`;
    throw first;
  }
}
