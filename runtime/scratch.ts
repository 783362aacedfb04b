/**
 * A file for what neither device nor host has room for, for the time of one run. It is removed from
 * its folder as soon as it is open, so that nothing is left whatever becomes of the process; where
 * a system does not allow that, when it is closed, or when the process ends.
 *
 * @module
 */

/** Files that could not be removed while open. */
const left = new Set<string>();
let listening = false;

function removeAtExit(path: string): void {
  left.add(path);
  if (listening) return;
  listening = true;
  globalThis.addEventListener("unload", () => {
    for (const path of left) remove(path);
  });
}

/** True if the file is gone. */
function remove(path: string): boolean {
  try {
    Deno.removeSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) return false;
  }
  left.delete(path);
  return true;
}

/** A file that is read and written by places, which are reused when they are free. */
export class Scratch {
  readonly #file: Deno.FsFile;
  readonly #path: string;
  #end = 0;
  /** Free places by size. */
  readonly #free = new Map<number, number[]>();
  /** One transfer at a time: a file has one position. */
  #last: Promise<unknown> = Promise.resolve();

  /**
   * Makes a file, in the folder for temporary files if not said otherwise.
   *
   * @throws {Deno.errors.NotCapable} if the program may not read and write there.
   */
  constructor(action: string, directory?: string) {
    try {
      this.#path = Deno.makeTempFileSync({
        prefix: "retrograd-",
        ...(directory !== undefined && { dir: directory }),
      });
    } catch (error) {
      throw refused(action, directory, error);
    }
    try {
      this.#file = Deno.openSync(this.#path, { read: true, write: true });
    } catch (error) {
      remove(this.#path);
      throw refused(action, directory, error);
    }
    if (!remove(this.#path)) removeAtExit(this.#path);
  }

  /** Writes bytes to a free place, and says where. */
  async write(data: Uint8Array): Promise<number> {
    const place = this.#free.get(data.byteLength)?.pop() ?? this.#end;
    if (place === this.#end) this.#end += data.byteLength;
    await this.#alone(async () => {
      await this.#file.seek(place, Deno.SeekMode.Start);
      for (let from = 0; from < data.byteLength;) {
        from += await this.#file.write(data.subarray(from));
      }
    });
    return place;
  }

  /** Reads bytes from a place. */
  async read(place: number, bytes: number): Promise<Uint8Array> {
    const data = new Uint8Array(bytes);
    await this.#alone(async () => {
      await this.#file.seek(place, Deno.SeekMode.Start);
      for (let to = 0; to < bytes;) {
        const count = await this.#file.read(data.subarray(to));
        if (count === null) throw new Error("Cannot read a snapshot: its file ends too early");
        to += count;
      }
    });
    return data;
  }

  #alone<T>(f: () => Promise<T>): Promise<T> {
    const result = this.#last.then(f);
    this.#last = result.catch(() => {});
    return result;
  }

  /** Gives a place back. */
  free(place: number, bytes: number): void {
    const places = this.#free.get(bytes);
    if (places === undefined) this.#free.set(bytes, [place]);
    else places.push(place);
  }

  /** Closes the file, of which nothing stays, when what was begun is through. */
  async close(): Promise<void> {
    await this.#last;
    this.#file.close();
    remove(this.#path);
  }
}

function refused(action: string, directory: string | undefined, error: unknown): Error {
  const where = directory ?? "the folder for temporary files";
  const why = (error as Error).message;
  const what = `Cannot ${action}: snapshots go to ${where}, which is not possible (${why})`;
  if (error instanceof Deno.errors.NotCapable) {
    return new Deno.errors.NotCapable(`${what}, expected --allow-read and --allow-write for it`);
  }
  return new Error(`${what}, expected a folder that can be written`, { cause: error });
}
