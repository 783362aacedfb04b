/** Groups of regions in the making: who leads to whom. */
import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { binary, parameter, unary } from "../../graph/build.ts";
import type { Node } from "../../graph/node.ts";
import { type Group, Groups } from "../../compile/groups.ts";
import { seed } from "../seed.ts";

/** Groups of one value each, which reads two of those before it (or the argument). */
function groupsOf(reads: readonly (readonly [number, number])[]): Groups {
  const nodes: Node[] = [parameter(0, { shape: [4], dtype: "f32" })];
  // Unlike all others, so that no two are one node.
  reads.forEach(([a, b], i) => {
    let node = binary("add", nodes[a % nodes.length]!, nodes[b % nodes.length]!);
    for (let j = 0; j < i; j++) node = unary("neg", node);
    nodes.push(node);
  });
  const groups = new Groups(new Set(nodes.slice(1)));
  for (const node of nodes.slice(1)) groups.add(node);
  return groups;
}

/** By looking at every path. */
function leads(groups: Groups, from: Group, to: Group, direct: boolean): boolean {
  return [...groups.consumers(from)].some((next) =>
    next === to ? direct : leads(groups, next, to, true)
  );
}

Deno.test("isReachable() finds a path wherever there is one, after joins and promises too", () => {
  const pair = fc.tuple(fc.nat(30), fc.nat(30));
  fc.assert(
    fc.property(
      fc.array(pair, { minLength: 2, maxLength: 12 }),
      fc.array(pair, { maxLength: 4 }),
      fc.array(pair, { maxLength: 3 }),
      (reads, joins, promises) => {
        const groups = groupsOf(reads);
        const pick = (i: number): Group => groups.live[i % groups.live.length]!;
        for (const [i, j] of joins) {
          const a = pick(i), b = pick(j);
          if (a === b || leads(groups, a, b, false) || leads(groups, b, a, false)) continue;
          const members = [...a.members, ...b.members];
          groups.join(a, b, a.frame, members, groups.readsOf(members));
        }
        for (const [i, j] of promises) {
          const early = pick(i), late = pick(j);
          if (early === late || leads(groups, late, early, true)) continue;
          late.earlier.add(early);
          early.later.add(late);
          if (early.rank > late.rank) groups.reorder(late, early);
        }
        for (const from of groups.live) {
          for (const to of groups.live) {
            for (const direct of [true, false]) {
              assertEquals(
                groups.isReachable(from, to, direct),
                leads(groups, from, to, direct),
              );
            }
          }
        }
      },
    ),
    { seed: seed(), numRuns: 200 },
  );
});
