/**
 * Results of parts of an experiment in a file, written after each: who ends a long run, or is ended,
 * goes on where it was. Parts measured on one device say nothing of another, so the file names it.
 *
 * @module
 */
import { writeDurably } from "../../data/durable.ts";
import type { Kept } from "./experiment.ts";

interface Contents {
  readonly device: string;
  readonly parts: Record<string, unknown>;
}

/**
 * What the file at a path keeps.
 *
 * @param path The file, in JSON.
 * @param device The name of the device.
 * @param resume Whether to go on with what is there; else it is replaced by the first result.
 *
 * @throws {TypeError} If the file is damaged, or of another device.
 */
export async function keptIn(path: string, device: string, resume: boolean): Promise<Kept> {
  const { parts }: Contents = resume ? await read(path, device) : { device, parts: {} };
  return {
    get: (prefix) =>
      new Map(
        Object.entries(parts)
          .filter(([name]) => name.startsWith(prefix))
          .map(([name, value]) => [name.slice(prefix.length), value]),
      ),
    async put(name, value) {
      parts[name] = value;
      await writeDurably(path, JSON.stringify({ device, parts }, null, 1) + "\n");
    },
  };
}

async function read(path: string, device: string): Promise<Contents> {
  const wrong = (is: string, expected: string): never => {
    throw new TypeError(`Cannot resume from ${path}: ${is}, expected ${expected}`);
  };
  const text = await Deno.readTextFile(path).catch((error) => {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  });
  if (text === undefined) return { device, parts: {} };
  let contents: Contents | undefined;
  try {
    contents = JSON.parse(text);
  } catch {
    // Said below.
  }
  if (typeof contents?.parts !== "object" || contents.parts === null) {
    return wrong("it is damaged", "what an earlier run wrote, or no --resume");
  }
  if (contents.device !== device) {
    wrong(`it was measured on ${contents.device}`, `${device}, or no --resume`);
  }
  return contents;
}
