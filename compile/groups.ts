/**
 * Regions in the making and the order between them: who reads what of whom, and a rank for each that
 * grows along every path, so that few have to be looked at to see whether two may become one.
 *
 * @module
 */
import { replayedOperands } from "../graph/loops/replay.ts";
import { is, type Node } from "../graph/node.ts";
import { type Frame, frameOf } from "../kernels/region.ts";
import { isArgument } from "./store.ts";

/** A region in the making: stored values that one kernel computes. */
export interface Group {
  readonly id: number;
  /** Place in an order in which every group comes after those it reads from. */
  rank: number;
  frame: Frame;
  members: Node[];
  /** Values it reads from memory. */
  reads: Set<Node>;
  /** Groups that read what this one overwrites, and so run before it; and the other way round. */
  readonly earlier: Set<Group>;
  readonly later: Set<Group>;
  /** Set when the group was joined into another. */
  into?: Group;
}

/** The groups of a graph, of which those remain that were not joined into others. */
export class Groups {
  readonly all: Group[] = [];
  /** The group that computes a stored value. */
  readonly home = new Map<Node, Group>();
  /** Groups that read a stored value. */
  readonly readers = new Map<Node, Set<Group>>();
  /** Groups of loops. */
  readonly #loops = new Map<Node, Group>();

  /** With what is stored so far: values may be added, and taken out again. */
  constructor(readonly stored: Set<Node>) {}

  /** Those that were not joined into others. */
  get live(): Group[] {
    return this.all.filter((group) => group.into === undefined);
  }

  /** Makes a stored value a group of its own. */
  add(node: Node): void {
    // All results of a loop come from one group.
    const sibling = is(node, "project") ? this.#loops.get(node.inputs[0]!) : undefined;
    if (sibling !== undefined) {
      sibling.members.push(node);
      this.home.set(node, sibling);
      return;
    }
    const group: Group = {
      id: this.all.length,
      rank: this.all.length,
      frame: frameOf(node),
      members: [node],
      reads: new Set(),
      earlier: new Set(),
      later: new Set(),
    };
    this.all.push(group);
    this.home.set(node, group);
    if (is(node, "project")) this.#loops.set(node.inputs[0]!, group);
    this.read(group, this.readsOf([node]));
  }

  /** Has a group read these values, and no others. */
  read(group: Group, reads: Set<Node>): void {
    for (const old of group.reads) this.readers.get(old)?.delete(group);
    group.reads = reads;
    for (const node of reads) {
      const readers = this.readers.get(node);
      if (readers === undefined) this.readers.set(node, new Set([group]));
      else readers.add(group);
    }
  }

  /** True if a group besides some reads a value. */
  isRead(node: Node, besides: readonly Group[]): boolean {
    for (const reader of this.readers.get(node) ?? []) if (!besides.includes(reader)) return true;
    return false;
  }

  /** Makes b a part of a, which then has another frame, other members, and reads other values. */
  join(a: Group, b: Group, frame: Frame, members: Node[], reads: Iterable<Node>): void {
    a.rank = a.rank < b.rank ? this.reorder(a, b) : this.reorder(b, a);
    b.into = a;
    this.read(b, new Set());
    for (const member of b.members) this.home.set(member, a);
    a.frame = frame;
    a.members = members;
    this.read(a, new Set(reads));
    for (const group of b.earlier) a.earlier.add(group);
    for (const group of b.later) a.later.add(group);
  }

  /** What is in memory when these are computed. */
  readsOf(members: readonly Node[]): Set<Node> {
    const own = new Set(members), reads = new Set<Node>(), seen = new Set<Node>(members);
    const stack = [...members];
    while (stack.length > 0) {
      const node = stack.pop()!;
      for (const input of [...node.inputs, ...replayedOperands(node)]) {
        if (seen.has(input)) continue;
        seen.add(input);
        if (isArgument(input) || (this.stored.has(input) && !own.has(input))) reads.add(input);
        else stack.push(input);
      }
    }
    return reads;
  }

  /** The group that a group has become. */
  current(group: Group): Group {
    while (group.into !== undefined) group = group.into;
    return group;
  }

  /** Visits groups that run before this one: whose values it reads, or who read what it overwrites. */
  #before(group: Group, visit: (other: Group) => void): void {
    for (const other of group.earlier) {
      const now = this.current(other);
      if (now !== group) visit(now);
    }
    for (const read of group.reads) {
      const home = this.home.get(read);
      if (home !== undefined && home !== group) visit(home);
    }
  }

  /** Visits groups that run after this one: who reads its values, or overwrites what it reads. */
  #after(group: Group, visit: (other: Group) => void): void {
    for (const other of group.later) {
      const now = this.current(other);
      if (now !== group) visit(now);
    }
    for (const member of group.members) {
      const readers = this.readers.get(member);
      if (readers === undefined) continue;
      for (const reader of readers) if (reader !== group) visit(reader);
    }
  }

  /** Groups that run before this one. */
  producers(group: Group): Set<Group> {
    const result = new Set<Group>();
    this.#before(group, (other) => result.add(other));
    return result;
  }

  /** Groups that run after this one. */
  consumers(group: Group): Set<Group> {
    const result = new Set<Group>();
    this.#after(group, (other) => result.add(other));
    return result;
  }

  /**
   * True if a path leads from one group to the other; a direct edge counts if `direct`. Looked for
   * from both ends in turns: one value may have hundreds of readers, and none has hundreds of makers.
   */
  isReachable(from: Group, to: Group, direct: boolean): boolean {
    const after = new Set<Group>(), before = new Set<Group>();
    const onwards: Group[] = [], back: Group[] = [];
    let met = false;
    // Ranks grow along every path, so what lies outside of the two is on none between them.
    const forwards = (next: Group): void => {
      if (next.rank >= to.rank || after.has(next)) return;
      after.add(next);
      onwards.push(next);
      met ||= before.has(next);
    };
    const backwards = (next: Group): void => {
      if (next.rank <= from.rank || before.has(next)) return;
      before.add(next);
      back.push(next);
      met ||= after.has(next);
    };
    this.#before(to, (next) => next === from ? met ||= direct : backwards(next));
    if (met || back.length === 0) return met;
    this.#after(from, forwards);
    while (!met && onwards.length > 0 && back.length > 0) {
      this.#after(onwards.pop()!, forwards);
      this.#before(back.pop()!, backwards);
    }
    return met;
  }

  /**
   * Makes room in the order of dependence for `early` and `late` to become one group, or for an
   * edge from `late` to `early`: what leads to `late` goes before, what follows from `early` goes
   * after, and nothing else moves (Pearce and Kelly, 2006). Returns the rank in between.
   */
  reorder(early: Group, late: Group): number {
    const low = early.rank, high = late.rank;
    const between = (found: Set<Group>) => (group: Group): void => {
      if (group.rank > low && group.rank < high) found.add(group);
    };
    const byRank = (found: Set<Group>): Group[] => [...found].sort((a, b) => a.rank - b.rank);
    const leading = new Set<Group>(), following = new Set<Group>();
    const lead = between(leading), follow = between(following);
    // What is found while a set is gone through is gone through as well.
    this.#before(late, lead);
    for (const group of leading) this.#before(group, lead);
    this.#after(early, follow);
    for (const group of following) this.#after(group, follow);
    const before = byRank(leading), after = byRank(following);
    const ranks = [early, late, ...before, ...after].map((g) => g.rank).sort((a, b) => a - b);
    before.forEach((group, i) => group.rank = ranks[i]!);
    after.forEach((group, i) => group.rank = ranks[ranks.length - after.length + i]!);
    late.rank = ranks[before.length]!;
    early.rank = ranks[before.length + 1]!;
    return late.rank;
  }

  /** All that a group computes, on the way to its members. */
  bodyOf(group: Group): Set<Node> {
    const body = new Set<Node>(group.members);
    const stack = [...group.members];
    while (stack.length > 0) {
      for (const input of stack.pop()!.inputs) {
        if (body.has(input) || group.reads.has(input)) continue;
        body.add(input);
        stack.push(input);
      }
    }
    return body;
  }
}
