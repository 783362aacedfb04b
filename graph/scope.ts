/**
 * Whether a transform is running a user's function right now. What is computed in there must stay
 * an expression: reading a value, or running a compiled program on it, would cut it off from what
 * it was computed from, and its derivative would silently be zero.
 *
 * @module
 */

let depth = 0;

/** True while a function is being differentiated or batched. */
export function insideTransform(): boolean {
  return depth > 0;
}

/** Runs a user's function as part of a transform. */
export function transforming<T>(f: () => T): T {
  depth++;
  try {
    return f();
  } finally {
    depth--;
  }
}
