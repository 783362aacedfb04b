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

Deno.test("example:neural-ode has a help, and refuses what it does not know", async () => {
  const helped = await run("--help");
  assertEquals([helped.code, helped.errors], [0, ""]);
  assertStringIncludes(helped.said, "Usage: ./dev example:neural-ode [options]");
  const refused = await run("--rate", "0");
  assertEquals([refused.code, refused.said], [2, ""]);
  assertStringIncludes(refused.errors, '--rate is "0", expected a positive number');
});

Deno.test("example:neural-ode learns and leaves a picture", async () => {
  await Deno.mkdir(`${root}/runs`, { recursive: true });
  const folder = await Deno.makeTempDir({ dir: `${root}/runs`, prefix: "test-" });
  try {
    const out = folder.slice(root.length + 1);
    const size = ["--iterations", "2", "--width", "4", "--batch", "2", "--out", out];
    const { code, said, errors } = await run(...size);
    assertEquals([code, errors], [0, ""]);
    assert(/ 2\/2 +off by [\d.]+ .*\nlearned +a motion that is off by/s.test(said), said);
    assertStringIncludes(await Deno.readTextFile(`${folder}/spiral.svg`), "<svg");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
