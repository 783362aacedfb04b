import { assert, assertEquals } from "@std/assert";
import { gpu } from "../gpu.ts";
import { heading, listIn, listOf, page, sortCases } from "./report.ts";
import { caseNames, folder, judge } from "./suite.ts";

const names = caseNames();
if (names.length === 0) {
  console.log(
    `The ONNX node tests are not at ${folder}: install Debian's package libonnx-testdata, or say ` +
      "in RETROGRAD_ONNX where its folder data/node is. Their test is skipped.",
  );
}

/** Cases that are computed by one program. */
const together = 64;

Deno.test({
  name: "every ONNX node test that maps onto our operations gives the outputs it should",
  ignore: names.length === 0,
  fn: async () => {
    await gpu();
    const sorted = sortCases(), { ready } = sorted;
    const wrong: string[] = [];
    for (let i = 0; i < ready.length; i += together) {
      const group = ready.slice(i, i + together);
      (await judge(group)).forEach((what, k) => {
        if (what !== undefined) wrong.push(`${group[k]!.name}: ${what}`);
      });
    }
    assertEquals(wrong, []);
    console.log(`${ready.length} of ${names.length} pass; not supported:\n${listOf(sorted)}`);
    assert(ready.length >= 830, `${ready.length} of ${names.length} cases are supported`);
    const documented = listIn(await Deno.readTextFile(page));
    assertEquals(documented, listOf(sorted), `the list in docs/onnx.md after "${heading}"`);
  },
});
