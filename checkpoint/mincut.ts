/**
 * Minimum cuts: Dinic's algorithm (1970), blocking flows in level graphs, on whole-number
 * capacities. Both searches keep their own stacks, so that a network as deep as it is long works.
 *
 * Invariant: capacities and their sum are safe integers, so that every flow is exact and the value
 * of the cut equals the value of the flow.
 *
 * @module
 */

/** A cut between a source and a sink. */
export interface Cut {
  /** Sum of the capacities that lead from the source's side to the sink's. */
  readonly value: number;
  /** 1 for every node on the source's side, which is as small as it can be. */
  readonly side: Uint8Array;
}

/** A directed network with capacities. */
export class Network {
  readonly #nodes: number;
  /** Edge e leads to `#to[e]`; edge e^1 is its reverse. */
  readonly #to: number[] = [];
  readonly #room: number[] = [];
  /** Edges leaving each node. */
  readonly #edges: number[][];

  /** A network of nodes 0 … `nodes`−1 without edges. */
  constructor(nodes: number) {
    this.#nodes = nodes;
    this.#edges = Array.from({ length: nodes }, () => []);
  }

  /**
   * Adds an edge.
   *
   * @param capacity A whole number, or `Infinity` for an edge that must not be cut.
   * @throws {RangeError} If the capacity is negative or no whole number.
   */
  edge(from: number, to: number, capacity: number): void {
    if (capacity < 0 || capacity !== Infinity && !Number.isSafeInteger(capacity)) {
      throw new RangeError(
        `Cannot add an edge: its capacity is ${capacity}, expected a whole number or Infinity`,
      );
    }
    this.#edges[from]!.push(this.#to.length);
    this.#to.push(to);
    this.#room.push(capacity);
    this.#edges[to]!.push(this.#to.length);
    this.#to.push(from);
    this.#room.push(0);
  }

  /**
   * The least cut. Uses the network up.
   *
   * @throws {Error} If every cut goes through an edge that must not be cut.
   */
  cut(source: number, sink: number): Cut {
    let value = 0;
    const level = new Int32Array(this.#nodes);
    const next = new Int32Array(this.#nodes);
    while (this.#levels(source, sink, level)) {
      next.fill(0);
      value += this.#block(source, sink, level, next);
      if (value === Infinity) {
        throw new Error("Cannot cut the network: a path has no limit, expected one on each path");
      }
    }
    return { value, side: Uint8Array.from(level, (distance) => distance >= 0 ? 1 : 0) };
  }

  /** Distances from the source over edges with room, -1 where there is no way. */
  #levels(source: number, sink: number, level: Int32Array): boolean {
    level.fill(-1);
    level[source] = 0;
    const queue = [source];
    for (let head = 0; head < queue.length; head++) {
      const node = queue[head]!;
      for (const e of this.#edges[node]!) {
        const to = this.#to[e]!;
        if (level[to]! >= 0 || this.#room[e]! === 0) continue;
        level[to] = level[node]! + 1;
        queue.push(to);
      }
    }
    return level[sink]! >= 0;
  }

  /** Fills paths of the level graph until none is left, and gives what flowed. */
  #block(source: number, sink: number, level: Int32Array, next: Int32Array): number {
    const room = this.#room;
    let flowed = 0;
    /** The edges of the path from the source to `node`. */
    const path: number[] = [];
    let node = source;
    for (;;) {
      if (node === sink) {
        let least = Infinity;
        for (const e of path) least = Math.min(least, room[e]!);
        flowed += least;
        if (flowed === Infinity) return flowed;
        let full = -1;
        path.forEach((e, i) => {
          // Infinity stays infinite, and what flows back over it is still counted.
          room[e]! -= least;
          room[e ^ 1]! += least;
          if (full < 0 && room[e] === 0) full = i;
        });
        node = this.#to[path[full]! ^ 1]!;
        path.length = full;
        continue;
      }
      const edges = this.#edges[node]!;
      while (next[node]! < edges.length) {
        const e = edges[next[node]!]!;
        if (room[e]! > 0 && level[this.#to[e]!] === level[node]! + 1) break;
        next[node]!++;
      }
      const e = edges[next[node]!];
      if (e !== undefined) {
        path.push(e);
        node = this.#to[e]!;
      } else {
        const back = path.pop();
        if (back === undefined) return flowed;
        node = this.#to[back ^ 1]!;
        next[node]!++;
      }
    }
  }
}
