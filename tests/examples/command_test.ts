/**
 * The command line of examples: what is read from it, what is refused, and the help.
 *
 * @module
 */
import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import {
  type Command,
  count,
  flag,
  help,
  oneOf,
  positive,
  quoted,
  resuming,
  seed,
  text,
  valuesOf,
} from "../../examples/command.ts";

const options = {
  size: count("how many", 3),
  parts: count("of the whole, or as it comes", undefined, 0),
  rate: positive("how fast", 0.1),
  kind: oneOf("which", ["a", "b"]),
  seed: seed("of chance"),
  out: text("where to", "runs/x y", "DIR"),
  resume: flag("go on"),
};
const command: Command<typeof options> = {
  name: "do this",
  about: "Does this.",
  options,
  main: () => Promise.resolve(),
};
const usual = {
  size: 3,
  parts: undefined,
  rate: 0.1,
  kind: "a",
  seed: 0,
  out: "runs/x y",
  resume: false,
};

Deno.test("valuesOf() reads every kind of option, in any order, and knows what is usual", () => {
  assertEquals(valuesOf(command, ["this"]), usual as never);
  const args = "--size 5 this --kind=b --resume --rate 1e-3 --parts 0 --seed 7 --out 1".split(" ");
  assertEquals(valuesOf(command, args), {
    size: 5,
    parts: 0,
    rate: 1e-3,
    kind: "b",
    seed: 7,
    out: "1",
    resume: true,
  });
  assertEquals(valuesOf(command, ["--help", "this"]), undefined);
});

const refused: readonly (readonly [string, string])[] = [
  ["", "this is missing, expected this"],
  ["that", "there is that, expected this"],
  ["this that", "there is this that, expected this"],
  ["this --sise 3", "there is no option --sise, expected what --help lists"],
  ["this --size 0", '--size is "0", expected a positive integer'],
  ["this --size", '--size is "", expected a positive integer'],
  ["this --size 1.5", '--size is "1.5", expected a positive integer'],
  ["this --parts=-1", '--parts is "-1", expected an integer from 0'],
  ["this --rate 0", '--rate is "0", expected a positive number'],
  ["this --rate Infinity", '--rate is "Infinity", expected a positive number'],
  ["this --kind c", '--kind is "c", expected a or b'],
  ["this --seed 4294967296", '--seed is "4294967296", expected an integer in [0, 2^32)'],
  ["this --out=", '--out is "", expected a name'],
];
for (const [line, message] of refused) {
  Deno.test(`valuesOf() refuses "${line}"`, () => {
    const args = line.split(" ").filter((word) => word !== "");
    assertThrows(() => valuesOf(command, args), TypeError, `Cannot do this: ${message}`);
  });
}

Deno.test("help() lists the options with what they usually are", () => {
  const said = help(command);
  assertStringIncludes(said, "Usage: ./dev do this [options]\n\nDoes this.");
  assertStringIncludes(said, "\n  --size N        how many (default 3)\n");
  assertStringIncludes(said, "\n  --parts N       of the whole, or as it comes\n");
  assertStringIncludes(said, "\n  --resume        go on\n");
});

Deno.test("resuming() is a line that a shell reads as it was meant", () => {
  const values = { ...usual, kind: "b" as const, out: "it's here" };
  assertEquals(
    resuming(command, values as never),
    String.raw`./dev do this --resume --kind b --out 'it'\''s here'`,
  );
  assertEquals(quoted("runs/mnist-1.5"), "runs/mnist-1.5");
});
