/**
 * Writing files that survive a crash: beside the final name, synced, renamed, and the folder synced
 * too. A reader finds the old file whole or the new file whole, never a part of either.
 *
 * @module
 */
import { basename, dirname, join } from "@std/path";

/**
 * Writes a file, durably; folders that are missing on the way are made.
 *
 * @param path Where to; what is there is replaced.
 * @param contents Bytes, or text to be encoded as UTF-8.
 *
 * @throws {Deno.errors.NotCapable} If the permission to write, or to read for the renaming, is
 * missing.
 */
export async function writeDurably(path: string, contents: Uint8Array | string): Promise<void> {
  const bytes = typeof contents === "string" ? new TextEncoder().encode(contents) : contents;
  const folder = dirname(path);
  await Deno.mkdir(folder, { recursive: true });
  const temporary = join(folder, `.${basename(path)}.${crypto.randomUUID()}`);
  try {
    using file = await Deno.open(temporary, { write: true, createNew: true });
    for (let done = 0; done < bytes.length;) done += await file.write(bytes.subarray(done));
    await file.sync();
    await Deno.rename(temporary, path);
  } catch (error) {
    await Deno.remove(temporary).catch(() => {});
    throw error;
  }
  if (Deno.build.os === "windows") return; // where a folder can't be opened
  using opened = await Deno.open(folder);
  await opened.sync();
}
