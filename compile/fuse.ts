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
import { is, type Node } from "../graph/node.ts";
import { kinds } from "../graph/primitive.ts";
import { sizeOf } from "../graph/shape.ts";
import { topological } from "../graph/walk.ts";
import { findAlike } from "../kernels/alike.ts";
import { type Candidate, legal, type Limits } from "../kernels/legal.ts";
import {
  type Footprint,
  type Frame,
  frameSize,
  joinFrames,
  type Region,
} from "../kernels/region.ts";
import { type Group, Groups } from "./groups.ts";
import { bytesOf, nearest, readInPlace } from "./order.ts";
import { chooseStored, costOf, fewItems, isArgument, isGiven } from "./store.ts";

/** What fusion comes to. */
export interface Fused {
  /** Producers before consumers. */
  readonly regions: readonly Region[];
  /**
   * Results that have to take over the memory of the arguments they are computed from: only so does
   * their region bind few enough buffers.
   */
  readonly takeovers: ReadonlyMap<Node, Node>;
}

/** Arguments that may be overwritten. */
export interface Donated {
  readonly donated: readonly Node[];
  /** Which result alone may overwrite which argument; any may if there is no such list. */
  readonly heirs?: ReadonlyMap<Node, Node> | undefined;
}

/** Splits a graph into regions. */
export function fuse(
  results: readonly Node[],
  limits: Limits,
  given: Donated = { donated: [] },
): Fused {
  return new Fusion(results, limits, given).run();
}

/** A legal region. */
interface Verdict {
  readonly found: Footprint;
  /** What has to be written over what, for it to be legal. */
  readonly takeovers: ReadonlyMap<Node, Node>;
}

class Fusion {
  private readonly order: readonly Node[];
  private readonly stored: Set<Node>;
  private readonly wanted: Set<Node>;
  private readonly groups: Groups;
  private readonly donated: ReadonlySet<Node>;
  /** Results that must be written over arguments. */
  private readonly takeovers = new Map<Node, Node>();

  constructor(
    results: readonly Node[],
    private readonly limits: Limits,
    private readonly given: Donated,
  ) {
    this.donated = new Set(given.donated);
    this.order = topological(results);
    this.wanted = new Set(results);
    this.stored = chooseStored(this.order, results, limits);
    this.groups = new Groups(this.stored);
  }

  run(): Fused {
    for (const node of this.order) {
      if (this.stored.has(node)) this.groups.add(node);
    }
    for (const group of [...this.groups.all]) this.joinProducers(group);
    this.joinNeighbours();
    this.shareExpensive();
    return { regions: this.finish(), takeovers: this.takeovers };
  }

  private joinProducers(start: Group): void {
    const group = this.groups.current(start);
    const rank = {
      dot: 0,
      scatter: 0,
      kernel: 0,
      rows: 1,
      map: 2,
      loop: 3,
      save: 3,
      load: 3,
    } as const;
    const tried = new Set<Group>();
    const untried = (): Group[] =>
      [...this.groups.producers(this.groups.current(group))]
        .filter((producer) => !tried.has(producer))
        .sort((a, b) => rank[a.frame.is] - rank[b.frame.is] || b.id - a.id);
    // Whose producers joins another's readers may then join its own.
    for (let next = untried(); next.length > 0; next = untried()) {
      for (const producer of next) {
        tried.add(producer);
        const now = this.groups.current(group);
        if (producer.into !== undefined || producer === now) continue;
        if (this.groups.isReachable(producer, now, false)) continue;
        this.tryJoin(producer, now);
      }
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
      this.groups.isRead(node, [a, b]);
    const verdict = this.check(frame, members, own, outside, [a, b]);
    if (verdict === undefined) return false;
    this.groups.join(a, b, frame, members, verdict.found.reads.keys());
    this.promise(a, verdict);
    return true;
  }

  /** Makes sure that a group comes after everyone else who reads what it has to overwrite. */
  private promise(group: Group, { takeovers }: Verdict): void {
    for (const [result, argument] of takeovers) {
      this.takeovers.set(result, argument);
      for (const reader of this.groups.readers.get(argument) ?? []) {
        if (reader === group) continue;
        group.earlier.add(reader);
        reader.later.add(group);
        if (reader.rank > group.rank) this.groups.reorder(group, reader);
      }
    }
  }

  /** Results of a group that can be written over donated arguments, if it runs after all who read them. */
  private overArguments(
    frame: Frame,
    outputs: readonly Node[],
    found: Footprint,
    groups: readonly Group[],
  ): Map<Node, Node> {
    const own = new Map<Node, Node>(), taken = new Set<Node>();
    for (const [result, argument] of this.takeovers) {
      if (!outputs.includes(result)) taken.add(argument);
    }
    const { heirs } = this.given;
    const isFree = (argument: Node, result: Node): boolean =>
      (heirs === undefined || heirs.get(result) === argument) &&
      [...this.groups.readers.get(argument) ?? []].every((reader) =>
        groups.includes(reader) ||
        !groups.some((group) => this.groups.isReachable(group, reader, true))
      );
    for (const result of outputs) {
      if (!this.wanted.has(result)) continue;
      const candidates = readInPlace(frame, outputs, found, result)
        .filter((x) => this.donated.has(x) && !taken.has(x));
      const argument = nearest(result, candidates).find((x) => isFree(x, result));
      if (argument === undefined) continue;
      own.set(result, argument);
      taken.add(argument);
    }
    return own;
  }

  private check(
    frame: Frame,
    members: readonly Node[],
    own: ReadonlySet<Node>,
    outside: (node: Node) => boolean,
    groups: readonly Group[],
  ): Verdict | undefined {
    const outputs = members.filter(outside);
    let takeovers: ReadonlyMap<Node, Node> = new Map();
    const candidate: Candidate = {
      frame,
      outputs,
      inner: members.filter((m) => !outside(m)),
      isInput: (node) => isArgument(node) || (this.stored.has(node) && !own.has(node)),
      inPlace: (found) => {
        const most = outputs.filter((n) => this.wanted.has(n)).length;
        if (found.reads.size + outputs.length - most > this.limits.maxBindings) return 0;
        takeovers = this.overArguments(frame, outputs, found, groups);
        return takeovers.size;
      },
    };
    const found = legal(candidate, this.limits);
    return typeof found === "string" ? undefined : { found, takeovers };
  }

  /** Groups over the same frame run as one if they are neighbours, with those that suit most first. */
  private joinNeighbours(): void {
    const share = (a: Group, b: Group): boolean =>
      [...a.reads].some((read) => b.reads.has(read) && sizeOf(read.shape) > 1) &&
      (a.frame.is !== "dot" || (this.areAt(a, b) && this.areAt(b, a)));
    const few = (a: Group, b: Group): boolean =>
      b.frame.is !== "dot" && itemsOf(b) <= fewItems && (this.areAt(a, b) || this.areAt(b, a));
    this.joinWhere(this.groups.all, share);
    const ready = new Map(this.groups.all.map((g) => [g, this.lastBefore(g)?.rank ?? -1]));
    this.joinWhere([...this.groups.all].sort((a, b) => ready.get(a)! - ready.get(b)!), few);
  }

  private joinWhere(groups: readonly Group[], near: (a: Group, b: Group) => boolean): void {
    const alike = new Map<string, Group[]>();
    for (const group of groups) {
      if (group.into !== undefined) continue;
      // What is held lets go of what it was made from, if it need not wait for something else.
      if (group.members.some((member) => is(member, "hold"))) continue;
      const key = kindOf(group);
      if (key === undefined) continue;
      const candidates = alike.get(key) ?? [];
      alike.set(key, candidates);
      // Only the latest few: all pairs would be quadratic in the depth of the program.
      const joined = candidates.slice(-8).some((other) =>
        near(other, group) && !this.groups.isReachable(other, group, true) &&
        !this.groups.isReachable(group, other, true) && this.tryJoin(other, group)
      );
      if (!joined) candidates.push(group);
    }
  }

  /** The last group that makes what a group reads, single numbers aside. */
  private lastBefore(group: Group): Group | undefined {
    let last: Group | undefined;
    for (const read of group.reads) {
      const home = sizeOf(read.shape) > 1 ? this.groups.home.get(read) : undefined;
      if (home !== undefined && home.rank > (last?.rank ?? -1)) last = home;
    }
    return last;
  }

  /**
   * True if all that `early` reads is in memory when the last of what `late` reads is made from it,
   * so that one region can read both then, and nothing is kept for it.
   */
  private areAt(early: Group, late: Group): boolean {
    const passing = [...early.reads].filter((x) =>
      !isArgument(x) && !late.reads.has(x) && sizeOf(x.shape) > 1
    );
    if (passing.length === 0) return true;
    const last = this.lastBefore(late);
    return last !== undefined &&
      passing.every((x) => last.reads.has(x) || last.members.includes(x));
  }

  /**
   * A costly value computed in several regions is written by the first that can, and read by the
   * others. Cheap ones are computed again everywhere, and so is what rests on nothing large, as a
   * dropout mask does, or on what stays in memory anyway: of an activation and its slope only the
   * input is kept. None of these costs memory.
   */
  private shareExpensive(): void {
    const users = new Map<Node, Group[]>();
    const live = this.groups.live;
    for (const group of live) {
      if (group.frame.is === "loop") continue;
      for (const node of this.groups.bodyOf(group)) {
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
      const using = groups.filter((g) => this.groups.bodyOf(g).has(node));
      if (using.length < 2 || this.isKept(node, using)) continue;
      this.share(node, using);
    }
  }

  /** What a node is computed from, as it lies in memory, and what that costs. */
  private makingOf(node: Node): { readonly cost: number; readonly from: readonly Node[] } {
    let cost = 0;
    const from: Node[] = [], seen = new Set<Node>([node]), stack = [node];
    while (stack.length > 0) {
      const next = stack.pop()!;
      cost += costOf(next);
      for (const input of next.inputs) {
        if (seen.has(input)) continue;
        seen.add(input);
        if (this.stored.has(input) || isArgument(input)) from.push(input);
        else stack.push(input);
      }
    }
    return { cost, from };
  }

  /** Cost of computing the node once more, if it rests on something large; else 0. */
  private worth(node: Node): number {
    const { cost, from } = this.makingOf(node);
    return from.some((x) => 4 * sizeOf(x.shape) >= sizeOf(node.shape)) ? cost : 0;
  }

  /**
   * True if what a node is computed from is in memory for others about as long as the groups need
   * the node, so that there is no point in keeping the node as well. Ranks tell the time.
   */
  private isKept(node: Node, using: readonly Group[]): boolean {
    const ranks = using.map(({ rank }) => rank);
    const first = using[ranks.indexOf(Math.min(...ranks))]!, last = Math.max(...ranks);
    this.stored.add(node);
    const readers = new Set(
      using.filter((g) => g === first || this.groups.readsOf(g.members).has(node)),
    );
    const without = new Map(
      using.map((g) => [g, g === first ? g.reads : this.groups.readsOf(g.members)]),
    );
    this.stored.delete(node);
    if (readers.size < using.length) return false;
    let longer = 0;
    for (const x of this.makingOf(node).from) {
      if (isArgument(x) || this.wanted.has(x)) continue;
      let until = first.rank;
      for (const reader of this.groups.readers.get(x) ?? []) {
        if (without.get(reader)?.has(x) ?? true) until = Math.max(until, reader.rank);
      }
      longer += bytesOf(x) * Math.max(0, last - until);
    }
    return longer < bytesOf(node) * (last - first.rank) / 2;
  }

  private share(node: Node, using: readonly Group[]): void {
    const size = sizeOf(node.shape);
    const home = using.find((group) => {
      const { frame } = group;
      if (frame.is === "loop") return false;
      if (size !== frameSize(frame) && !(frame.is === "rows" && size === frame.rows)) return false;
      return using.every((other) =>
        other === group || !this.groups.isReachable(other, group, true)
      );
    });
    if (home === undefined) return;
    const others = using.filter((other) => other !== home);
    this.stored.add(node);
    const members = [...home.members, node].sort((x, y) => x.id - y.id);
    const isRead = (n: Node, by: Group): boolean =>
      this.wanted.has(n) || this.groups.isRead(n, [by]);
    const verdict = this.check(
      home.frame,
      members,
      new Set(members),
      (n) => n === node || isRead(n, home),
      [home],
    );
    const rest = others.map((other) =>
      this.check(other.frame, other.members, new Set(other.members), (n) => isRead(n, other), [
        other,
      ])
    );
    if (verdict === undefined || rest.includes(undefined)) {
      this.stored.delete(node);
      return;
    }
    home.members = members;
    this.groups.home.set(node, home);
    for (const other of others) {
      if (other.rank < home.rank) this.groups.reorder(other, home);
      this.groups.read(other, this.groups.readsOf(other.members));
    }
    [home, ...others].forEach((group, i) => this.promise(group, [verdict, ...rest][i]!));
  }

  private finish(): Region[] {
    const live = this.groups.live;
    const done = new Set<Group>(), regions: Region[] = [];
    const visit = (root: Group): void => {
      const stack: { group: Group; waiting: Group[] }[] = [];
      const push = (group: Group): void => {
        done.add(group);
        stack.push({ group, waiting: [...this.groups.producers(group)] });
      };
      push(root);
      while (stack.length > 0) {
        const top = stack[stack.length - 1]!;
        const next = top.waiting.pop();
        if (next === undefined) {
          regions.push(this.regionOf(top.group));
          stack.pop();
        } else if (!done.has(next)) push(next);
      }
    };
    for (const group of live) if (!done.has(group)) visit(group);
    const all = regions.filter((r) => r.outputs.length > 0);
    findAlike(all);
    return all;
  }

  private regionOf(group: Group): Region {
    const outputs = group.members.filter((m) =>
      this.wanted.has(m) || this.groups.isRead(m, [group])
    );
    return { frame: group.frame, outputs, inputs: [...group.reads] };
  }
}

/** What groups have to have in common to run as one; nothing will do for some. */
function kindOf(group: Group): string | undefined {
  const { frame } = group;
  switch (frame.is) {
    case "map":
      return itemsOf(group) === 1 ? "one" : `map ${frame.size}`;
    case "rows":
      // A single value fits wherever there is one row.
      return itemsOf(group) === 1 ? "one" : `rows ${frame.shape.join()} ${frame.axes.join()}`;
    case "dot":
      return `dot ${frame.shape.join()} ${frame.k}`;
    default:
      return undefined;
  }
}

/** Results that are worked on side by side: few of them leave a device idle. */
function itemsOf({ frame, members }: Group): number {
  const perRow = frame.is === "rows" && members.every((m) => sizeOf(m.shape) === frame.rows);
  return perRow ? frame.rows : frameSize(frame);
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
