/**
 * Writing files that survive a crash: beside the final name, synced, renamed, and the folder synced
 * too. A reader finds the old file whole or the new file whole, never a part of either.
 *
 * @module
 */
import { basename, dirname, join } from "@std/path";

/** The error for a file that cannot be written: what the system says of it, in one sentence. */
function unwritable(path: string, error: unknown): unknown {
  // A permission that is missing says itself what would help.
  if (!(error instanceof Error) || error instanceof Deno.errors.NotCapable) return error;
  return new Error(
    `Cannot write ${path}: ${error.message}, expected a folder with room that may be written`,
    { cause: error },
  );
}

/**
 * Makes sure that files can be written into a folder, and makes the folder if there is none: what
 * takes long had better know it before.
 *
 * @param folder The folder.
 *
 * @throws {Deno.errors.NotCapable} If the permission to write is missing.
 * @throws {Error} If the system refuses.
 */
export async function expectWritable(folder: string): Promise<void> {
  try {
    await Deno.mkdir(folder, { recursive: true });
    const probe = join(folder, `.${crypto.randomUUID()}`);
    await Deno.writeFile(probe, new Uint8Array(0), { createNew: true });
    await Deno.remove(probe);
  } catch (error) {
    throw unwritable(folder, error);
  }
}

/**
 * Writes a file, durably; folders that are missing on the way are made.
 *
 * @param path Where to; what is there is replaced.
 * @param contents Bytes, or text to be encoded as UTF-8.
 *
 * @throws {Deno.errors.NotCapable} If the permission to write, or to read for the renaming, is
 * missing.
 * @throws {Error} If the system refuses: a full disk, a folder that is a file.
 */
export async function writeDurably(path: string, contents: Uint8Array | string): Promise<void> {
  const bytes = typeof contents === "string" ? new TextEncoder().encode(contents) : contents;
  const folder = dirname(path);
  const temporary = join(folder, `.${basename(path)}.${crypto.randomUUID()}`);
  try {
    await Deno.mkdir(folder, { recursive: true });
    using file = await Deno.open(temporary, { write: true, createNew: true });
    for (let done = 0; done < bytes.length;) done += await file.write(bytes.subarray(done));
    await file.sync();
    await Deno.rename(temporary, path);
  } catch (error) {
    await Deno.remove(temporary).catch(() => {});
    throw unwritable(path, error);
  }
  if (Deno.build.os === "windows") return; // where a folder can't be opened
  using opened = await Deno.open(folder);
  await opened.sync();
}
