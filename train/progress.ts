/**
 * Telling how training goes: on a terminal one line that is drawn again and again, elsewhere (a log
 * file, a job scheduler) a line every so often. Whoever calls decides when there is news; nothing
 * here reads the device.
 *
 * @module
 */
import { showBytes, showLoss, showRate, showShare } from "./format.ts";

/** Where training stands. */
export interface ProgressState {
  /** The epoch, from 1, and how many there will be. */
  readonly epoch: number;
  readonly epochs: number;
  /** Steps done in this epoch, and how many it has. */
  readonly step: number;
  readonly steps: number;
  /** Means over the epoch so far. */
  readonly loss: number;
  readonly accuracy: number;
  /** Samples trained on per second, lately. */
  readonly rate: number;
  /** Bytes of device memory. */
  readonly live: number;
  readonly peak: number;
}

/** Where lines go. */
export interface ProgressSink {
  /** Writes text as it is. */
  write(text: string): void;
  /** Whether it can draw a line again. */
  readonly terminal: boolean;
  /** Characters in a line. */
  readonly columns: number;
}

/** Standard output. */
export function standardOutput(): ProgressSink {
  const terminal = Deno.stdout.isTerminal();
  return {
    terminal,
    get columns(): number {
      return terminal ? Deno.consoleSize().columns : Infinity;
    },
    write(text) {
      const bytes = new TextEncoder().encode(text);
      for (let done = 0; done < bytes.length;) done += Deno.stdout.writeSync(bytes.subarray(done));
    },
  };
}

/** Seconds between lines where they can't be drawn again. */
const QUIET_SECONDS = 10;

/** Writes the line of progress, and other lines around it. */
export class Progress {
  #drawn = false;
  #last: number;

  /** Writes to a sink; `now` gives milliseconds. */
  constructor(
    readonly sink: ProgressSink,
    readonly now: () => number = () => performance.now(),
  ) {
    this.#last = now();
  }

  /** News of where training stands. */
  update(state: ProgressState): void {
    if (this.sink.terminal) {
      this.sink.write(`\r\x1b[K${progressLine(state, this.sink.columns - 1)}`);
      this.#drawn = true;
    } else if (this.now() - this.#last >= QUIET_SECONDS * 1000) {
      this.#last = this.now();
      this.sink.write(`${progressLine(state, Infinity)}\n`);
    }
  }

  /** A line that stays. */
  print(line: string): void {
    this.sink.write(`${this.#drawn ? "\r\x1b[K" : ""}${line}\n`);
    this.#drawn = false;
  }
}

/** The line of progress, cut to a width. */
export function progressLine(state: ProgressState, columns: number): string {
  const { epoch, epochs, step, steps, loss, accuracy, rate, live, peak } = state;
  const share = steps === 0 ? 1 : step / steps;
  const text = [
    `${String(Math.floor(share * 100)).padStart(3)} %`,
    `loss ${showLoss(loss)}`,
    `accuracy ${showShare(accuracy)}`,
    `${showRate(rate)} samples/s`,
    `memory ${showBytes(live)}, peak ${showBytes(peak)}`,
  ].join("  ");
  const head = `epoch ${epoch}/${epochs} `;
  // The bar takes what is left of the line, within reason.
  const room = Number.isFinite(columns) ? columns - head.length - text.length - 1 : 0;
  const bar = room < 8 ? "" : drawBar(share, Math.min(room, 30));
  const line = `${head}${bar}${text}`;
  return line.length <= columns ? line : line.slice(0, columns);
}

const EIGHTHS = " ▏▎▍▌▋▊▉";

function drawBar(share: number, width: number): string {
  const eighths = Math.round(share * width * 8);
  const whole = Math.floor(eighths / 8);
  const part = whole < width ? EIGHTHS[eighths % 8]! : "";
  return `${"█".repeat(whole)}${part}`.padEnd(width) + " ";
}
