/**
 * The 0/1 knapsack: which items to keep within a budget of bytes so that they are worth most. The
 * dynamic program runs over the sets that no other beats in both bytes and worth (Nemhauser &
 * Ullmann 1969), so that it works on bytes as they are, and its table is no larger than the problem
 * is hard.
 *
 * Invariant: the items chosen fit, in exact bytes. The choice is optimal as long as no more than
 * `most` sets are undominated; past that, sets closer than budget/`most` bytes are merged into the
 * worthier one, and what is found is worth no less than the best for a budget smaller by
 * items·budget/`most`.
 *
 * @module
 */

/** Something that may be kept. */
export interface Item {
  /** What it takes of the budget. */
  readonly bytes: number;
  /** What keeping it saves. */
  readonly worth: number;
}

/** A set of items, as the last item added to another set. */
interface Choice extends Item {
  readonly index: number;
  readonly rest: Choice | undefined;
}

/**
 * Indices, ascending, of the items worth most together within `budget` bytes; of equally worthy
 * sets the smallest. Items that are worth nothing are left out.
 *
 * @param most Undominated sets to hold at once. @default 16384
 */
export function knapsack(items: readonly Item[], budget: number, most = 1 << 14): number[] {
  let front: Choice[] = [{ bytes: 0, worth: 0, index: -1, rest: undefined }];
  items.forEach((item, index) => {
    if (item.worth <= 0 || item.bytes > budget) return;
    const grown: Choice[] = [];
    for (const rest of front) {
      const bytes = rest.bytes + item.bytes;
      if (bytes <= budget) grown.push({ bytes, worth: rest.worth + item.worth, index, rest });
    }
    front = thin(merge(front, grown), budget, most);
  });
  const chosen: number[] = [];
  for (let set: Choice | undefined = front.at(-1); set && set.index >= 0; set = set.rest) {
    chosen.push(set.index);
  }
  return chosen.reverse();
}

/** Both lists, ascending in bytes and in worth, as one, without what another set beats. */
function merge(a: readonly Choice[], b: readonly Choice[]): Choice[] {
  const merged: Choice[] = [];
  for (let i = 0, j = 0; i < a.length || j < b.length;) {
    const [x, y] = [a[i], b[j]];
    const left = y === undefined ||
      x !== undefined && (x.bytes < y.bytes || x.bytes === y.bytes && x.worth >= y.worth);
    const next = left ? a[i++]! : b[j++]!;
    if (merged.length === 0 || next.worth > merged.at(-1)!.worth) merged.push(next);
  }
  return merged;
}

/** At most about `most` of the sets: of those in one bucket of bytes the worthiest. */
function thin(front: Choice[], budget: number, most: number): Choice[] {
  if (front.length <= most) return front;
  const width = budget / most;
  const bucket = (set: Choice): number => Math.floor(set.bytes / width);
  return front.filter((set, i) => i + 1 === front.length || bucket(set) !== bucket(front[i + 1]!));
}
