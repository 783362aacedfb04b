/**
 * How often to look at the device. A look waits for everything that was submitted and costs 11 ms
 * besides, so it should be rare; it is also what keeps the host from running ahead of the device
 * and lets signals in, so it should not be too rare.
 *
 * @module
 */

/** Seconds between looks. */
const LOOK_SECONDS = 0.5;

/** Decides after how many steps to look at the device, by how long the last ones took. */
export class Pauses {
  #interval = 2;
  #steps = 0;
  #since = performance.now();

  /** Counts steps; true if it is time to look. */
  due(steps: number = 1): boolean {
    this.#steps += steps;
    return this.#steps >= this.#interval;
  }

  /** Ends a pause: the steps per second since the last one. */
  over(): number {
    const now = performance.now(), rate = this.#steps / (now - this.#since) * 1000;
    // The first steps compile; growing at most fourfold keeps a wrong guess cheap.
    this.#interval = Math.max(1, Math.min(4 * this.#interval, Math.round(rate * LOOK_SECONDS)));
    this.#steps = 0;
    this.#since = now;
    return rate;
  }
}
