import { assertEquals } from "@std/assert";
import { fromFileUrl } from "@std/path";
import { init } from "../../runtime/init.ts";

async function run(program: string, permissions: string[]): Promise<[number, string, string]> {
  const { code, stdout, stderr } = await new Deno.Command("deno", {
    args: ["run", "-q", ...permissions, fromFileUrl(new URL(program, import.meta.url))],
    stdin: "null",
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return [code, text(stdout), text(stderr)];
}

Deno.test("the end of a program waits for the device, once", async () => {
  // Else Deno closes the device, and the driver panics where it is not done within six seconds.
  assertEquals(await run("./ending.ts", ["-A"]), [0, "held: true\nheld: false\n", ""]);
});

Deno.test("a software adapter is named where nobody could say that it will not do", async () => {
  const { kind } = await init({ software: "allow" });
  const [code, , errors] = await run("./asking.ts", []);
  assertEquals(code, 0);
  assertEquals(
    /computes on the CPU.*--allow-env=RETROGRAD_SOFTWARE/.test(errors),
    kind === "software",
  );
  assertEquals(await run("./asking.ts", ["-A"]), [0, "", ""]);
});
