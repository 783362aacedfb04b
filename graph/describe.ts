/**
 * Values in words, for errors about arguments that are not what they should be. Types keep most of
 * them out; what comes from JSON, from plain JavaScript or through a cast does not ask types.
 *
 * @module
 */

/** `"text"`, `undefined`, `an array of 3`, `a Map`, `Tensor f32[2]`. */
export function describe(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value === "function" || typeof value === "symbol") return `a ${typeof value}`;
  if (Array.isArray(value)) return `an array of ${value.length}`;
  if (typeof value !== "object" || value === null) return String(value);
  const prototype = Object.getPrototypeOf(value);
  if (prototype === null || prototype === Object.prototype) return "an object";
  // What says more of itself than `[object Map]` is quoted.
  const own = String(value);
  const { name } = prototype.constructor;
  return own.startsWith("[object ") ? `${/^[AEIOU]/.test(name) ? "an" : "a"} ${name}` : own;
}

/**
 * Throws where options are anything but an object: `zeros([2], "i32")` must not go unheard.
 *
 * @throws {TypeError} If they are not.
 */
export function checkOptions(options: unknown, action: string, example: string): void {
  if (typeof options === "object" && options !== null && !Array.isArray(options)) return;
  throw new TypeError(
    `Cannot ${action}: the options are ${describe(options)}, expected an object such as ${example}`,
  );
}

/**
 * Throws where options are no object, or have a name that nobody reads: a misspelt one must not go
 * unheard.
 *
 * @throws {TypeError} If they do.
 */
export function checkNames(options: object, known: readonly string[], action: string): void {
  checkOptions(options, action, `{ ${known[0]}: … }`);
  const unknown = Object.keys(options).find((name) => !known.includes(name));
  if (unknown === undefined) return;
  throw new TypeError(
    `Cannot ${action}: there is an option ${unknown}, expected ${known.join(", ")}`,
  );
}
