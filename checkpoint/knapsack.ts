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

/** So many of the items of one kind: those of the same bytes and worth. */
interface Bundle extends Item {
  readonly kind: readonly number[];
  readonly count: number;
}

/** A set of items, as the last bundle added to another set. */
interface Choice extends Item {
  readonly bundle: Bundle | undefined;
  readonly rest: Choice | undefined;
}

/**
 * Indices, ascending, of the items worth most together within `budget` bytes; of equally worthy
 * sets the smallest. Items that are worth nothing are left out.
 *
 * @param most Undominated sets to hold at once. @default 16384
 */
export function knapsack(items: readonly Item[], budget: number, most = 1 << 14): number[] {
  let front: Choice[] = [{ bytes: 0, worth: 0, bundle: undefined, rest: undefined }];
  for (const bundle of bundlesOf(items, budget)) {
    const grown: Choice[] = [];
    for (const rest of front) {
      const bytes = rest.bytes + bundle.bytes;
      if (bytes <= budget) grown.push({ bytes, worth: rest.worth + bundle.worth, bundle, rest });
    }
    front = thin(merge(front, grown), budget, most);
  }
  const counts = new Map<readonly number[], number>();
  for (let set: Choice | undefined = front.at(-1); set?.bundle; set = set.rest) {
    const { kind, count } = set.bundle;
    counts.set(kind, (counts.get(kind) ?? 0) + count);
  }
  return [...counts].flatMap(([kind, count]) => kind.slice(0, count)).sort((a, b) => a - b);
}

/**
 * Items as bundles of 1, 2, 4 … of a kind, any number of which can be put together from these:
 * layers that are alike make many items and few bundles.
 */
function bundlesOf(items: readonly Item[], budget: number): Bundle[] {
  const kinds = new Map<string, number[]>();
  items.forEach(({ bytes, worth }, i) => {
    if (worth <= 0 || bytes > budget) return;
    const key = `${bytes} ${worth}`;
    const kind = kinds.get(key);
    if (kind === undefined) kinds.set(key, [i]);
    else kind.push(i);
  });
  const bundles: Bundle[] = [];
  for (const kind of kinds.values()) {
    const { bytes, worth } = items[kind[0]!]!;
    for (let left = kind.length, size = 1; left > 0; left -= size, size *= 2) {
      const count = Math.min(size, left);
      if (count * bytes <= budget) {
        bundles.push({ kind, count, bytes: count * bytes, worth: count * worth });
      }
    }
  }
  return bundles;
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
