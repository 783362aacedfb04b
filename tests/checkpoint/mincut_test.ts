/** Minimum cuts, against all cuts. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import "../seed.ts";
import { Network } from "../../checkpoint/mincut.ts";

type Edge = readonly [from: number, to: number, capacity: number];

function network(nodes: number, edges: readonly Edge[]): Network {
  const network = new Network(nodes);
  for (const [from, to, capacity] of edges) network.edge(from, to, capacity);
  return network;
}

function across(edges: readonly Edge[], inside: (node: number) => boolean): number {
  return edges.reduce((sum, [from, to, c]) => inside(from) && !inside(to) ? sum + c : sum, 0);
}

Deno.test("cut() finds the least of all cuts", () => {
  const nodes = 7;
  const edge = fc.tuple(fc.nat(nodes - 1), fc.nat(nodes - 1), fc.nat(20));
  fc.assert(fc.property(fc.array(edge, { maxLength: 24 }), (edges) => {
    let least = Infinity;
    for (let set = 0; set < 1 << nodes; set++) {
      if ((set & 1) === 0 || set >> nodes - 1 & 1) continue;
      least = Math.min(least, across(edges, (node) => (set >> node & 1) === 1));
    }
    const { value, side } = network(nodes, edges).cut(0, nodes - 1);
    assertEquals(value, least);
    assertEquals(across(edges, (node) => side[node] === 1), least);
    assertEquals([side[0], side[nodes - 1]], [1, 0]);
  }));
});

Deno.test("cut() never goes through an infinite edge if it can help it", () => {
  const edges: Edge[] = [[0, 1, Infinity], [1, 2, 5], [2, 3, Infinity], [0, 2, 1]];
  assertEquals(network(4, edges).cut(0, 3).value, 6);
  assertThrows(
    () => network(3, [[0, 1, Infinity], [1, 2, Infinity]]).cut(0, 2),
    Error,
    "Cannot cut the network: a path has no limit",
  );
});

Deno.test("cut() keeps large capacities exact", () => {
  const large = 2 ** 51 + 1;
  const edges: Edge[] = [[0, 1, large], [1, 3, large - 2], [0, 2, 3], [2, 3, 2 ** 52]];
  assertEquals(network(4, edges).cut(0, 3).value, large + 1);
});

Deno.test("cut() takes a network as deep as it is long", () => {
  const nodes = 100_000;
  const chain = new Network(nodes);
  for (let i = 1; i < nodes; i++) chain.edge(i - 1, i, i === 60_000 ? 3 : 7);
  const { value, side } = chain.cut(0, nodes - 1);
  assertEquals(value, 3);
  assert(side[59_999] === 1 && side[60_000] === 0);
});

Deno.test("edge() refuses what is no capacity", () => {
  assertThrows(() => new Network(2).edge(0, 1, -1), RangeError, "its capacity is -1");
  assertThrows(() => new Network(2).edge(0, 1, 0.5), RangeError, "its capacity is 0.5");
});
