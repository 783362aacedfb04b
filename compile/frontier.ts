/**
 * What is worth looking at of many plans: those that no other beats, and of these a few.
 *
 * @module
 */

/** Plans in the order of time, without those that another beats. */
export function undominated<P extends { readonly time: number; readonly bytes: number }>(
  plans: readonly P[],
): P[] {
  const sorted = [...plans].sort((a, b) => a.time - b.time || a.bytes - b.bytes);
  let least = Infinity;
  return sorted.filter(({ bytes }) => {
    if (bytes >= least) return false;
    least = bytes;
    return true;
  });
}

/** Some of a list, evenly, the last among them. */
export function spread<T>(list: readonly T[], most: number): T[] {
  if (list.length <= most) return [...list];
  return Array.from({ length: most }, (_, i) => list[Math.ceil((i + 1) * list.length / most) - 1]!);
}
