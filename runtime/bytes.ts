/**
 * Bytes as people write and read them.
 *
 * @module
 */

const units: Readonly<Record<string, number>> = {
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
};

/**
 * A number of bytes, or text with a unit, as a number.
 *
 * @throws {TypeError} if the text can't be read.
 * @throws {RangeError} if it is not above 0.
 */
export function parseBytes(bytes: number | string, action: string, what = "memory"): number {
  const expected = 'expected a positive number of bytes, or text such as "64 MiB" or "1.5 GB"';
  let value: unknown = bytes;
  if (typeof bytes === "string") {
    const match = bytes.trim().match(/^(\d+(?:\.\d+)?|\.\d+)\s*([a-z]+)?$/i);
    const unit = match === null ? undefined : units[(match[2] ?? "b").toLowerCase()];
    if (match === null || unit === undefined) {
      throw new TypeError(`Cannot ${action}: ${what} is "${bytes}", ${expected}`);
    }
    value = Math.floor(Number(match[1]) * unit);
  }
  if (typeof value !== "number") {
    throw new TypeError(`Cannot ${action}: ${what} is a ${typeof bytes}, ${expected}`);
  }
  if (!(value > 0)) {
    throw new RangeError(`Cannot ${action}: ${what} is ${bytes}, ${expected}`);
  }
  return value;
}

/** Bytes for people. */
export function showBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB"];
  let unit = 0;
  while (bytes >= 10_000 && unit < units.length - 1) {
    bytes /= 1024;
    unit++;
  }
  return `${Number.isInteger(bytes) ? bytes : bytes.toFixed(1)} ${units[unit]}`;
}

/** Microseconds for people. */
export function showMicroseconds(us: number): string {
  if (us >= 1e6) return `${(us / 1e6).toFixed(2)} s`;
  return us >= 1e3 ? `${(us / 1e3).toFixed(2)} ms` : `${us.toFixed(1)} µs`;
}
