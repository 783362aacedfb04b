import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { fromFileUrl } from "@std/path";
import { init } from "../../runtime/init.ts";
import { exitCodes, Interrupt, type StopSignal } from "../../train/interrupt.ts";
import { fit } from "../../train/loop.ts";
import { toyRun } from "./toy.ts";

const program = fromFileUrl(new URL("./interrupted.ts", import.meta.url));

for (const signal of ["SIGINT", "SIGTERM"] as const satisfies StopSignal[]) {
  Deno.test({
    name: `fit() ends cleanly at ${signal}, with everything saved`,
    ignore: Deno.build.os === "windows",
    async fn() {
      const out = await Deno.makeTempDir();
      try {
        const child = new Deno.Command("deno", {
          args: ["run", "-q", "-A", program, out],
          stdin: "null",
          stdout: "piped",
          stderr: "piped",
        }).spawn();
        const errors = new Response(child.stderr).text();
        let text = "";
        for await (const chunk of child.stdout.pipeThrough(new TextDecoderStream())) {
          // The first finished epoch says that it is training.
          if (!text.includes("epoch 2/") && (text + chunk).includes("epoch 2/")) child.kill(signal);
          text += chunk;
        }
        const { code } = await child.status;
        assertEquals([code, await errors], [exitCodes[signal], ""]);
        assertStringIncludes(text, `${signal}: stopping in epoch`);

        await init({ software: "allow" });
        const { history } = await fit(toyRun({ out, resume: true, epochs: 1 }));
        assert(history.length >= 2, `${history.length} epochs`);
      } finally {
        await Deno.remove(out, { recursive: true });
      }
    },
  });
}

Deno.test("Interrupt leaves no listeners behind", () => {
  // Deno's sanitizer of resources fails the test if it does.
  using first = new Interrupt();
  using second = new Interrupt();
  assertEquals([first.signal, second.signal], [undefined, undefined]);
});
