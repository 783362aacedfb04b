/** What regions remember of the places of values. */
import { assertNotStrictEquals, assertStrictEquals } from "@std/assert";
import * as build from "../../graph/build.ts";
import { footprint, type Frame, placesOf } from "../../kernels/region.ts";

Deno.test("places of one frame are kept, but not for ever more views", () => {
  const frame: Frame = { is: "map", size: 8 };
  const x = build.parameter(0, { shape: [1 << 16], dtype: "f32" });
  const kept = (): unknown => placesOf(frame).full([8]);
  const first = kept();
  assertStrictEquals(kept(), first);
  for (let start = 0; start < 1 << 15; start++) {
    const output = build.unary("exp", build.slice(x, [start], [8]));
    footprint(frame, [output], (node) => node === x, 8);
  }
  assertNotStrictEquals(kept(), first);
});
