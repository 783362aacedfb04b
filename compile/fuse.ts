/**
 * Fusion: from a graph to regions, one dispatch each. Every stored value starts as a region of its
 * own, with what it needs down to other stored values inside; then regions join their producers,
 * and neighbours without a path between them join each other, as long as kernels/legal.ts has
 * nothing against it. What then is used by nobody outside stays inside, in registers.
 *
 * Fusion does not look at any memory budget: a plan later keeps or re-runs whole regions, and what
 * is run again is the same kernel.
 *
 * @module
 */
import { replayedOperands } from "../graph/loops/replay.ts";
import { is, type Node } from "../graph/node.ts";
import { kinds } from "../graph/primitive.ts";
import { sizeOf } from "../graph/shape.ts";
import { topological } from "../graph/walk.ts";
import { type Candidate, legal, type Limits } from "../kernels/legal.ts";
import {
  type Footprint,
  type Frame,
  frameOf,
  frameSize,
  joinFrames,
  type Region,
} from "../kernels/region.ts";
import { chooseStored, costOf, isArgument, isGiven } from "./store.ts";

/** A region in the making: stored values that one kernel computes. */
interface Group {
  readonly id: number;
  /** Place in an order in which every group comes after those it reads from. */
  rank: number;
  frame: Frame;
  members: Node[];
  /** Values it reads from memory. */
  reads: Set<Node>;
  /** Set when the group was joined into another. */
  into?: Group;
}

/** Splits a graph into regions, producers before consumers. */
export function fuse(results: readonly Node[], limits: Limits): Region[] {
  return new Fusion(results, limits).run();
}

class Fusion {
  private readonly order: readonly Node[];
  private readonly stored: Set<Node>;
  private readonly wanted: Set<Node>;
  private readonly home = new Map<Node, Group>();
  private readonly groups: Group[] = [];
  /** Groups of loops. */
  private readonly loops = new Map<Node, Group>();
  /** Groups that read a stored value. */
  private readonly readers = new Map<Node, Set<Group>>();

  constructor(results: readonly Node[], private readonly limits: Limits) {
    this.order = topological(results);
    this.wanted = new Set(results);
    this.stored = chooseStored(this.order, results, limits);
  }

  run(): Region[] {
    for (const node of this.order) {
      if (this.stored.has(node)) this.addGroup(node);
    }
    for (const group of this.groups) this.joinProducers(group);
    this.joinNeighbours();
    this.shareExpensive();
    return this.finish();
  }

  private addGroup(node: Node): void {
    // All results of a loop come from one group.
    const sibling = is(node, "project") ? this.loops.get(node.inputs[0]!) : undefined;
    if (sibling !== undefined) {
      sibling.members.push(node);
      this.home.set(node, sibling);
      return;
    }
    const group: Group = {
      id: this.groups.length,
      rank: this.groups.length,
      frame: frameOf(node),
      members: [node],
      reads: this.readsOf([node]),
    };
    this.groups.push(group);
    this.home.set(node, group);
    if (is(node, "project")) this.loops.set(node.inputs[0]!, group);
    for (const read of group.reads) this.addReader(read, group);
  }

  private addReader(node: Node, group: Group): void {
    let readers = this.readers.get(node);
    if (readers === undefined) this.readers.set(node, readers = new Set());
    readers.add(group);
  }

  /** What is in memory when these are computed. */
  private readsOf(members: readonly Node[]): Set<Node> {
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

  private current(group: Group): Group {
    while (group.into !== undefined) group = group.into;
    return group;
  }

  /** Groups whose values this one reads. */
  private producers(group: Group): Set<Group> {
    const result = new Set<Group>();
    for (const read of group.reads) {
      const home = this.home.get(read);
      if (home !== undefined && home !== group) result.add(home);
    }
    return result;
  }

  private consumers(group: Group): Set<Group> {
    const result = new Set<Group>();
    for (const member of group.members) {
      for (const reader of this.readers.get(member) ?? []) {
        if (reader !== group) result.add(reader);
      }
    }
    return result;
  }

  /** True if a path leads from one group to the other; a direct edge counts if `direct`. */
  private isReachable(from: Group, to: Group, direct: boolean): boolean {
    const seen = new Set<Group>();
    const stack: Group[] = [];
    const push = (next: Group): void => {
      // Ranks grow along every path.
      if (next.rank > to.rank || seen.has(next)) return;
      seen.add(next);
      stack.push(next);
    };
    for (const next of this.consumers(from)) if (direct || next !== to) push(next);
    while (stack.length > 0) {
      const group = stack.pop()!;
      if (group === to) return true;
      for (const next of this.consumers(group)) push(next);
    }
    return false;
  }

  /**
   * Makes room in the order of dependence for `early` and `late` to become one group, or for an
   * edge from `late` to `early`: what leads to `late` goes before, what follows from `early` goes
   * after, and nothing else moves (Pearce and Kelly, 2006). Returns the rank in between.
   */
  private reorder(early: Group, late: Group): number {
    const between = (start: Group, next: (group: Group) => Iterable<Group>): Group[] => {
      const found = new Set<Group>(), stack = [start];
      while (stack.length > 0) {
        for (const group of next(stack.pop()!)) {
          if (group.rank <= early.rank || group.rank >= late.rank || found.has(group)) continue;
          found.add(group);
          stack.push(group);
        }
      }
      return [...found].sort((a, b) => a.rank - b.rank);
    };
    const before = between(late, (group) => this.producers(group));
    const after = between(early, (group) => this.consumers(group));
    const ranks = [early, late, ...before, ...after].map((g) => g.rank).sort((a, b) => a - b);
    before.forEach((group, i) => group.rank = ranks[i]!);
    after.forEach((group, i) => group.rank = ranks[ranks.length - after.length + i]!);
    late.rank = ranks[before.length]!;
    early.rank = ranks[before.length + 1]!;
    return late.rank;
  }

  private joinProducers(start: Group): void {
    const group = this.current(start);
    const rank = { dot: 0, scatter: 0, kernel: 0, rows: 1, map: 2, loop: 3 } as const;
    const producers = [...this.producers(group)]
      .sort((a, b) => rank[a.frame.is] - rank[b.frame.is] || b.id - a.id);
    for (const producer of producers) {
      const now = this.current(group);
      if (producer.into !== undefined || producer === now) continue;
      if (this.isReachable(producer, now, false)) continue;
      this.tryJoin(producer, now);
    }
  }

  /** Joins b into a if the whole is a legal region. */
  private tryJoin(a: Group, b: Group): boolean {
    const frame = joinFrames(a.frame, b.frame);
    if (frame === undefined || !worthwhile(frame, a, b)) return false;
    const members = [...a.members, ...b.members].sort((x, y) => x.id - y.id);
    const own = new Set(members);
    const outside = (node: Node): boolean =>
      this.wanted.has(node) ||
      [...this.readers.get(node) ?? []].some((reader) => reader !== a && reader !== b);
    const found = this.check(frame, members, own, outside);
    if (found === undefined) return false;
    a.rank = a.rank < b.rank ? this.reorder(a, b) : this.reorder(b, a);
    for (const read of b.reads) this.readers.get(read)?.delete(b);
    b.into = a;
    a.frame = frame;
    a.members = members;
    a.reads = new Set(found.reads.keys());
    for (const member of b.members) this.home.set(member, a);
    for (const read of a.reads) this.addReader(read, a);
    for (const member of members) this.readers.get(member)?.delete(a);
    return true;
  }

  private check(
    frame: Frame,
    members: readonly Node[],
    own: ReadonlySet<Node>,
    outside: (node: Node) => boolean,
  ): Footprint | undefined {
    const candidate: Candidate = {
      frame,
      outputs: members.filter(outside),
      inner: members.filter((m) => !outside(m)),
      isInput: (node) => isArgument(node) || (this.stored.has(node) && !own.has(node)),
    };
    const verdict = legal(candidate, this.limits);
    return typeof verdict === "string" ? undefined : verdict;
  }

  /** Groups over the same frame that share what they read, or are tiny, run as one. */
  private joinNeighbours(): void {
    const alike = new Map<string, Group[]>();
    for (const group of this.groups) {
      const { frame } = group;
      if (group.into !== undefined || (frame.is !== "map" && frame.is !== "rows")) continue;
      // What is held lets go of what it was made from, if it need not wait for something else.
      if (group.members.some((member) => is(member, "hold"))) continue;
      const key = frame.is === "map"
        ? `map ${frame.size}`
        : `rows ${frame.shape.join()} ${frame.axes.join()}`;
      const candidates = alike.get(key) ?? [];
      alike.set(key, candidates);
      // Only the latest few: all pairs would be quadratic in the depth of the program.
      const joined = candidates.slice(-8).some((other) => {
        const shares = [...group.reads].some((read) =>
          other.reads.has(read) && sizeOf(read.shape) > 1
        );
        if (!shares && frameSize(frame) > 4096) return false;
        return !this.isReachable(other, group, true) && !this.isReachable(group, other, true) &&
          this.tryJoin(other, group);
      });
      if (!joined) candidates.push(group);
    }
  }

  /**
   * A costly value computed in several regions is written by the first that can, and read by the
   * others. Cheap ones are computed again everywhere, and so is what rests on nothing large: a
   * dropout mask costs no memory.
   */
  private shareExpensive(): void {
    const users = new Map<Node, Group[]>();
    const live = this.groups.filter((g) => g.into === undefined);
    for (const group of live) {
      if (group.frame.is === "loop") continue;
      for (const node of this.bodyOf(group)) {
        if (this.stored.has(node) || isGiven(node) || kinds[node.op] === "movement") continue;
        const list = users.get(node);
        if (list === undefined) users.set(node, [group]);
        else list.push(group);
      }
    }
    // From the largest expression down: sharing it often settles what lies inside.
    for (const node of [...this.order].reverse()) {
      const groups = users.get(node);
      if (groups === undefined || groups.length < 2 || this.stored.has(node)) continue;
      if (this.worth(node) < 8) continue;
      const using = groups.filter((g) => this.bodyOf(g).has(node));
      if (using.length < 2) continue;
      this.share(node, using);
    }
  }

  private bodyOf(group: Group): Set<Node> {
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

  /** Cost of computing the node once more, if it rests on something large; else 0. */
  private worth(node: Node): number {
    let cost = 0, large = false;
    const seen = new Set<Node>([node]);
    const stack = [node];
    while (stack.length > 0) {
      const next = stack.pop()!;
      cost += costOf(next);
      for (const input of next.inputs) {
        if (seen.has(input)) continue;
        seen.add(input);
        if (this.stored.has(input) || isArgument(input)) {
          large ||= 4 * sizeOf(input.shape) >= sizeOf(node.shape);
        } else stack.push(input);
      }
    }
    return large ? cost : 0;
  }

  private share(node: Node, using: readonly Group[]): void {
    const size = sizeOf(node.shape);
    const home = using.find((group) => {
      const { frame } = group;
      if (frame.is === "loop") return false;
      if (size !== frameSize(frame) && !(frame.is === "rows" && size === frame.rows)) return false;
      return using.every((other) => other === group || !this.isReachable(other, group, true));
    });
    if (home === undefined) return;
    const others = using.filter((other) => other !== home);
    this.stored.add(node);
    const members = [...home.members, node].sort((x, y) => x.id - y.id);
    const isRead = (n: Node, by: Group): boolean =>
      this.wanted.has(n) || [...this.readers.get(n) ?? []].some((reader) => reader !== by);
    const fits =
      this.check(home.frame, members, new Set(members), (n) => n === node || isRead(n, home)) &&
      others.every((other) =>
        this.check(other.frame, other.members, new Set(other.members), (n) => isRead(n, other))
      );
    if (!fits) {
      this.stored.delete(node);
      return;
    }
    home.members = members;
    this.home.set(node, home);
    for (const other of others) {
      if (other.rank < home.rank) this.reorder(other, home);
      for (const read of other.reads) this.readers.get(read)?.delete(other);
      other.reads = this.readsOf(other.members);
      for (const read of other.reads) this.addReader(read, other);
    }
  }

  private finish(): Region[] {
    const live = this.groups.filter((g) => g.into === undefined);
    const done = new Set<Group>(), regions: Region[] = [];
    const visit = (root: Group): void => {
      const stack: { group: Group; todo: Group[] }[] = [];
      const push = (group: Group): void => {
        done.add(group);
        stack.push({ group, todo: [...this.producers(group)] });
      };
      push(root);
      while (stack.length > 0) {
        const top = stack[stack.length - 1]!;
        const next = top.todo.pop();
        if (next === undefined) {
          regions.push(this.regionOf(top.group));
          stack.pop();
        } else if (!done.has(next)) push(next);
      }
    };
    for (const group of live) if (!done.has(group)) visit(group);
    return regions.filter((r) => r.outputs.length > 0);
  }

  private regionOf(group: Group): Region {
    const outputs = group.members.filter((m) =>
      this.wanted.has(m) || [...this.readers.get(m) ?? []].some((reader) => reader !== group)
    );
    return { frame: group.frame, outputs, inputs: [...group.reads] };
  }
}

/** Joins that are legal but would leave the device idle, or change nothing for the better. */
function worthwhile(frame: Frame, a: Group, b: Group): boolean {
  if (frame.is !== "rows") return true;
  // One row is one workgroup's work: long element-wise regions stay on their own.
  const full = [...a.members, ...b.members].some((m) =>
    kinds[m.op] !== "reduce" && sizeOf(m.shape) > frame.rows
  );
  return !full || frame.rows >= 16 || frame.cols <= 1024;
}
