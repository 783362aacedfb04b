/** The example that learns a law of motion, as a user runs it, but small. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { dirname, fromFileUrl } from "@std/path";

const root = dirname(dirname(dirname(fromFileUrl(import.meta.url))));

/** What the command prints and ends with. */
async function run(...args: string[]) {
  const { code, stdout, stderr } = await new Deno.Command("deno", {
    args: ["run", "-q", "-P=train", "examples/neural_ode.ts", ...args],
    cwd: root,
    stdin: "null",
  }).output();
  const read = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, said: read(stdout), errors: read(stderr) };
}

Deno.test("example:neural-ode learns and leaves a picture", async () => {
  await Deno.mkdir(`${root}/runs`, { recursive: true });
  const folder = await Deno.makeTempDir({ dir: `${root}/runs`, prefix: "test-" });
  try {
    const out = folder.slice(root.length + 1);
    const size = ["--epochs", "1", "--width", "4", "--batch", "191", "--out", out];
    const { code, said, errors } = await run(...size);
    assertEquals([code, errors], [0, ""]);
    assert(
      /epoch 1\/1 .*validation: loss [\d.]+ .*\nlearned +a motion that is off by/s.test(said),
      said,
    );
    assertStringIncludes(await Deno.readTextFile(`${folder}/spiral.svg`), "<svg");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("example:neural-ode says in a sentence what cannot be gone back over", async () => {
  const { code, errors } = await run("--backward", "reverse", "--epochs", "1");
  assertEquals([code, errors.split("\n").length], [1, 2]);
  assertStringIncludes(errors, "the method has no inverse, expected a reversible one");
});
