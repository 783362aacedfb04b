/**
 * Runs `deno publish --dry-run`. Where the stand-ins beside this file serve as JSR, they are first
 * copied out of the package: publishing refuses a module that imports an excluded file.
 */
import { fromFileUrl, join, toFileUrl } from "@std/path";

async function copy(from: string, to: string): Promise<void> {
  await Deno.mkdir(to);
  for await (const entry of Deno.readDir(from)) {
    const [source, target] = [join(from, entry.name), join(to, entry.name)];
    await (entry.isDirectory ? copy(source, target) : Deno.copyFile(source, target));
  }
}

const root = fromFileUrl(new URL("..", import.meta.url));
const env: Record<string, string> = {};
let folder: string | undefined;
if (Deno.env.get("JSR_URL")?.startsWith("file:")) {
  folder = await Deno.makeTempDir({ prefix: "jsr-" });
  await copy(join(root, "offline", "jsr"), join(folder, "jsr"));
  env.JSR_URL = `${toFileUrl(join(folder, "jsr"))}/`;
}
try {
  const publish = new Deno.Command("deno", {
    args: ["publish", "--dry-run", "--allow-dirty"],
    cwd: root,
    env,
  });
  Deno.exitCode = (await publish.spawn().status).code;
} finally {
  if (folder !== undefined) await Deno.remove(folder, { recursive: true });
}
