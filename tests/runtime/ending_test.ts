import { assertEquals } from "@std/assert";
import { fromFileUrl } from "@std/path";

const program = fromFileUrl(new URL("./ending.ts", import.meta.url));

Deno.test("the end of a program waits for the device, once", async () => {
  // Else Deno closes the device, and the driver panics where it is not done within six seconds.
  const { code, stdout, stderr } = await new Deno.Command("deno", {
    args: ["run", "-q", "-A", program],
    stdin: "null",
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  assertEquals([code, text(stdout), text(stderr)], [0, "held: true\nheld: false\n", ""]);
});
