/**
 * Values in words, for errors about arguments that are not what they should be. Types keep most of
 * them out; what comes from JSON, from plain JavaScript or through a cast does not ask types.
 *
 * @module
 */

/** `"text"`, `undefined`, `an array of 3`, `a Uint8Array of 3`, `a Map`, `Tensor f32[2]`. */
export function describe(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value === "function" || typeof value === "symbol") return `a ${typeof value}`;
  if (Array.isArray(value)) return `an array of ${value.length}`;
  if (typeof value !== "object" || value === null) return String(value);
  const prototype = Object.getPrototypeOf(value);
  if (prototype === null || prototype === Object.prototype) return "an object";
  const { name } = prototype.constructor, article = /^[AEIOU]/.test(name) ? "an" : "a";
  // A typed array would print all that it holds.
  if (ArrayBuffer.isView(value)) {
    return `${article} ${name}${"length" in value ? ` of ${value.length}` : ""}`;
  }
  // What says more of itself than `[object Map]` is quoted.
  const own = String(value);
  return own.startsWith("[object ") ? `${article} ${name}` : own;
}

/** A tree that was returned where another was expected, by its outermost names. */
export function describeTree(value: unknown): string {
  if (Array.isArray(value)) return `an array of ${value.length}`;
  if (value !== null && typeof value === "object") return `an object {${Object.keys(value)}}`;
  return String(value);
}

/** A wrong kind of argument. */
export function fail(action: string, what: string, expected: string): never {
  throw new TypeError(`Cannot ${action}: ${what}, expected ${expected}`);
}

/** An argument out of its range. */
export function outOfRange(action: string, what: string, expected: string): never {
  throw new RangeError(`Cannot ${action}: ${what}, expected ${expected}`);
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
 * The names of the options of a type, all of them and no other, or it does not compile; and which of
 * them are flags.
 */
export type Names<O> = {
  readonly [N in keyof O]-?: NonNullable<O[N]> extends boolean ? "flag" : true;
};

/**
 * Throws where options are no object, or have a name that nobody reads: a misspelt one must not go
 * unheard. Nor what is neither true nor false where that is asked: `1`, or `"false"`.
 *
 * @throws {TypeError} If they do.
 */
export function checkNames<O extends object>(options: O, known: Names<O>, action: string): void {
  const names = Object.keys(known);
  checkOptions(options, action, `{ ${names[0]}: … }`);
  for (const [name, value] of Object.entries(options)) {
    if (!Object.hasOwn(known, name)) {
      throw new TypeError(
        `Cannot ${action}: there is an option ${name}, expected ${names.join(", ")}`,
      );
    }
    const isFlag = known[name as keyof O] === "flag" && value !== undefined;
    if (isFlag && typeof value !== "boolean") {
      throw new TypeError(
        `Cannot ${action}: ${name} is ${describe(value)}, expected true or false`,
      );
    }
  }
}
