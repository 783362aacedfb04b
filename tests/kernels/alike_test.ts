/** Regions that are alike have one text, and no others do without being told apart. */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { fuse } from "../../compile/fuse.ts";
import { lower } from "../../compile/lower.ts";
import * as build from "../../graph/build.ts";
import type { Node } from "../../graph/node.ts";
import { structureOf } from "../../kernels/alike.ts";
import { defaultMaxOperations } from "../../kernels/legal.ts";
import { frameOf } from "../../kernels/region.ts";
import { writeWay } from "../../kernels/tuning.ts";
import { target } from "../compile/target.ts";
import { seed } from "../gpu.ts";
import { graphOf, recipes } from "../graphs.ts";

const limits = { maxBindings: target.maxBindings, maxOperations: defaultMaxOperations };

Deno.test("what is written of a region follows from its structure", () => {
  const written = new Map<string, unknown>();
  let shared = 0;
  for (const recipe of fc.sample(recipes(2, 14), { seed: seed(), numRuns: 100 })) {
    // The same twice over other operands, as layers are.
    for (const seed of [recipe.seed, recipe.seed + 1]) {
      for (const mode of ["exact", "smooth"] as const) {
        const results = lower(graphOf({ ...recipe, seed }, mode));
        for (const region of fuse(results, limits).regions) {
          const structure = structureOf(region), { kernel } = writeWay(region, target, new Map());
          const known = written.get(structure);
          if (known !== undefined) shared++;
          assertEquals(kernel, known ?? kernel, structure);
          written.set(structure, kernel);
        }
      }
    }
  }
  assert(shared > 200 && written.size > 200, `${shared} shared, ${written.size} texts`);
});

Deno.test("what differs in a constant, an operand or an order is not alike", () => {
  const [x, y] = [0, 1].map((i) => build.parameter(i, { shape: [8, 8], dtype: "f32" }));
  const turned = build.permute(x!, [1, 0]), copied = build.unary("barrier", turned);
  const outputs: readonly Node[] = [
    build.binary("mul", x!, -0),
    build.binary("mul", x!, 0),
    build.binary("add", x!, y!),
    build.binary("add", x!, x!),
    build.binary("sub", y!, x!),
    build.binary("sub", x!, y!),
    build.unary("exp", turned),
    build.unary("exp", copied),
  ];
  const keys = outputs.map((output) => {
    const inputs = output.inputs.includes(copied) ? [copied] : [x!, y!];
    return structureOf({ frame: frameOf(output), outputs: [output], inputs });
  });
  assertEquals(new Set(keys).size, outputs.length);
});

Deno.test("values that were put together of each other many times over are told of once", () => {
  const size = 64;
  let x: Node = build.parameter(0, { shape: [size], dtype: "f32" });
  for (let i = 1; i <= 16; i++) {
    x = build.concatenate([build.slice(x, [i], [size - i]), build.slice(x, [0], [i])], 0);
  }
  const output = build.unary("exp", x), inputs = [x], outputs = [output];
  assert(structureOf({ frame: frameOf(output), inputs, outputs }).length < 1000);
});
