/**
 * The line in which everything that reaches the device takes its turn. As long as nobody waits in
 * it, whatever comes is done at once, and costs one comparison. A program that must learn something
 * in mid-run is a **task**: it may wait, and what comes after it (other programs, uploads, reads,
 * buffers to be destroyed) waits behind it, in the order of the calls.
 *
 * So what a call does on the host, taking blocks of memory and giving them back, may be done at
 * once: the device sees the same order of effects, only later. A task that fails ends, its error is
 * reported, and the line goes on.
 *
 * What waits is kept in memory until its turn. A loop that calls programs behind a task without
 * ever awaiting anything gives the task no chance to go on: like everything in such a loop, it ends
 * at the next await.
 *
 * @module
 */

/** Something to be done when its turn comes. */
type Turn = () => void | Promise<void>;

/** Keeps the order of what reaches one device. */
export class Line {
  #waiting: Turn[] = [];
  #busy = false;

  /** An empty line; `report` is told what failed behind a task. */
  constructor(private readonly report: (error: unknown) => void) {}

  /** True while a task is under way, or anything waits behind one. */
  get busy(): boolean {
    return this.#busy;
  }

  /** Does something at once, or when everything before it is done. */
  pass(f: () => void): void {
    if (this.#busy) this.#waiting.push(f);
    else f();
  }

  /** The same with a result. */
  enter<T>(f: () => T | Promise<T>): T | Promise<T> {
    if (!this.#busy) return f();
    return new Promise<T>((resolve, reject) =>
      this.#waiting.push(() => {
        try {
          resolve(f());
        } catch (error) {
          reject(error);
        }
      })
    );
  }

  /**
   * Does something that may wait. It begins at once if nothing is before it. What it does itself
   * reaches the device directly and not through the line, in which it stands.
   */
  task(f: () => Promise<void>): void {
    this.#waiting.push(f);
    if (!this.#busy) this.#advance();
  }

  /** Never rejects, and never leaves anything in the line. */
  async #advance(): Promise<void> {
    this.#busy = true;
    while (this.#waiting.length > 0) {
      const turns = this.#waiting;
      this.#waiting = [];
      for (const turn of turns) {
        try {
          const waits = turn();
          if (waits !== undefined) await waits;
        } catch (error) {
          this.report(error);
        }
      }
    }
    this.#busy = false;
  }
}
