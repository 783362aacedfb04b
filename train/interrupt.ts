/**
 * Being asked to stop: Ctrl-C and the job scheduler's SIGTERM. The first signal is remembered, so
 * that a loop can end where its state is whole; a second one ends the process as if nobody
 * listened.
 *
 * @module
 */

/** Signals that ask a process to end. */
export type StopSignal = "SIGINT" | "SIGTERM";

/** What a process that a signal ended exits with. */
export const exitCodes: { readonly [S in StopSignal]: number } = { SIGINT: 130, SIGTERM: 143 };

/** Listens for a signal to stop until disposed of. */
export class Interrupt implements Disposable {
  #signal: StopSignal | undefined;
  readonly #listeners: [StopSignal, () => void][] = [];

  /** Begins to listen. */
  constructor() {
    // Windows has no SIGTERM, and Deno refuses to listen for it there.
    const signals: StopSignal[] = Deno.build.os === "windows" ? ["SIGINT"] : ["SIGINT", "SIGTERM"];
    for (const signal of signals) {
      const listener = () => {
        this.#signal = signal;
        this[Symbol.dispose](); // the next one takes its usual course
      };
      Deno.addSignalListener(signal, listener);
      this.#listeners.push([signal, listener]);
    }
  }

  /** The signal that came, if one did. */
  get signal(): StopSignal | undefined {
    return this.#signal;
  }

  /** Stops listening. */
  [Symbol.dispose](): void {
    for (const [signal, listener] of this.#listeners.splice(0)) {
      Deno.removeSignalListener(signal, listener);
    }
  }
}
