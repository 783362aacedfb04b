/**
 * A block on the device: the texts that packing and unpacking share, from the one table of the
 * format in checkpoint/tape.ts.
 *
 * @module
 */
import { headerFields } from "../../checkpoint/tape.ts";

type Field = keyof typeof headerFields;
const fields = Object.keys(headerFields) as Field[];

/** Text of a header's second word, of variables named as its fields. */
export const headerText: string = fields.map((name) => `${name} << ${headerFields[name][0]}u`)
  .join(" | ");

/** The fields as variables, from the word `packing`. */
export const headerLines: readonly string[] = fields.map((name) => {
  const [shift, bits] = headerFields[name];
  return `let ${name} = (packing >> ${shift}u) & ${2 ** bits - 1}u;`;
});

/** Where the parts of a block of `count` codes lie, in words from its place. */
export const partLines: readonly string[] = [
  "let marks_at = words_of(w * count);",
  "let entries_at = marks_at + select(0u, words_of(count), g == 0u && entries > 0u);",
  "let escapes_at = entries_at + words_of((g + v) * entries);",
];

/** Small functions that both directions use. */
export const fieldText: readonly string[] = [
  "fn mask(width: u32) -> u32 { return select((1u << (width & 31u)) - 1u, 0xffffffffu, width >= 32u); }",
  "fn words_of(bits: u32) -> u32 { return (bits + 31u) / 32u; }",
  "fn length_of(code: u32) -> u32 { return 32u - countLeadingZeros(code); }",
];

/** Text of a scan over the workgroup: what comes of all invocations before this one. */
export function scanText(
  name: string,
  lanes: number,
  combine: (a: string, b: string) => string,
): string {
  return [
    `fn ${name}(local: u32, value: u32) -> u32 {`,
    "workgroupBarrier();",
    "scanned[local] = value;",
    "workgroupBarrier();",
    `for (var reach = 1u; reach < ${lanes}u; reach = reach * 2u) {`,
    "var sum = scanned[local];",
    `if (local >= reach) { sum = ${combine("sum", "scanned[local - reach]")}; }`,
    "workgroupBarrier();",
    "scanned[local] = sum;",
    "workgroupBarrier();",
    "}",
    "if (local == 0u) { return 0u; }",
    "return scanned[local - 1u];",
    "}",
  ].join("\n");
}
