import { assert, assertEquals } from "@std/assert";
import { sampleOf } from "../../runtime/samples.ts";

const period = 16381;

Deno.test("sampleOf() makes few numbers, however many there are: long data repeat them", () => {
  for (const dtype of ["f32", "f16", "i32", "u32", "bool"] as const) {
    for (const kind of [0, 1, 2, 3]) {
      const data = sampleOf(dtype, 100_001, 7, kind);
      for (let i = period; i < 100_001; i++) {
        if (data[i] !== data[i - period]) assertEquals(data[i], data[i - period], `${dtype} ${i}`);
      }
      assertEquals(sampleOf(dtype, 1000, 7, kind).subarray(0, 1000), data.slice(0, 1000));
      assert(new Set(data.slice(0, period)).size >= (dtype === "bool" ? 2 : 8));
    }
  }
});
