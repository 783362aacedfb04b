/**
 * Zip archives, as far as npz needs them: files stored or deflated, below 4 GiB, no encryption.
 * The directory at the end is what counts; sizes and checksums are verified.
 *
 * The format: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
 *
 * @module
 */
import { expectBytes } from "./elements.ts";

const LOCAL = 0x04034b50, CENTRAL = 0x02014b50, END = 0x06054b50;
const STORED = 0, DEFLATED = 8;
/** Names are UTF-8. */
const UTF8 = 0x800;
/** 1980-01-01, the first day there is: equal contents make equal archives. */
const DATE = 0x21;
const LARGEST = 2 ** 32 - 2;

type Bytes = Uint8Array<ArrayBuffer>;

const table = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n >>> 0;
});

/** CRC-32 of bytes. */
export function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (let i = 0; i < bytes.length; i++) crc = table[(crc ^ bytes[i]!) & 255]! ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

async function through(bytes: Bytes, stream: TransformStream<Bytes, Bytes>): Promise<Bytes> {
  return new Uint8Array(
    await new Response(new Blob([bytes]).stream().pipeThrough(stream)).arrayBuffer(),
  );
}

/** An archive of files by name. */
export async function writeZip(
  files: ReadonlyMap<string, Bytes>,
  compress: boolean,
): Promise<Bytes> {
  const parts: Bytes[] = [], directory: Bytes[] = [];
  let at = 0;
  for (const [name, contents] of files) {
    const label = new TextEncoder().encode(name);
    const body = compress
      ? await through(contents, new CompressionStream("deflate-raw"))
      : contents;
    if (Math.max(contents.length, body.length, at) > LARGEST || label.length > 0xffff) {
      throw new RangeError(`Cannot write an archive: ${name} reaches beyond 4 GiB, expected less`);
    }
    const shared = [
      [2, 20],
      [2, UTF8],
      [2, compress ? DEFLATED : STORED],
      [2, 0],
      [2, DATE],
      [4, crc32(contents)],
      [4, body.length],
      [4, contents.length],
      [2, label.length],
      [2, 0],
    ] as const;
    const local = fields([[4, LOCAL], ...shared]);
    directory.push(
      fields([[4, CENTRAL], [2, 20], ...shared, [2, 0], [2, 0], [2, 0], [4, 0], [4, at]]),
      label,
    );
    parts.push(local, label, body);
    at += local.length + label.length + body.length;
  }
  const size = directory.reduce((sum, part) => sum + part.length, 0), count = files.size;
  if (at + size > LARGEST || count > 0xfffe) {
    throw new RangeError(
      `Cannot write an archive: ${count} files of ${at} bytes, expected less than 4 GiB`,
    );
  }
  const end = fields([[4, END], [2, 0], [2, 0], [2, count], [2, count], [4, size], [4, at], [
    2,
    0,
  ]]);
  return new Uint8Array(await new Blob([...parts, ...directory, end]).arrayBuffer());
}

/** Little-endian integers one after the other. */
function fields(values: readonly (readonly [bytes: 2 | 4, value: number])[]): Bytes {
  const bytes = new Uint8Array(values.reduce((sum, [width]) => sum + width, 0));
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const [width, value] of values) {
    if (width === 2) view.setUint16(at, value, true);
    else view.setUint32(at, value, true);
    at += width;
  }
  return bytes;
}

/**
 * The files of an archive, in the order of its directory.
 *
 * @throws {RangeError} If it is damaged, or uses what is not supported.
 */
export async function readZip(bytes: Bytes, name: string): Promise<Map<string, Bytes>> {
  const fail = (is: string, expected: string): never => {
    throw new RangeError(`Cannot read ${name}: ${is}, expected ${expected}`);
  };
  expectBytes(bytes, `read ${name}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = findEnd(view) ?? fail("it has no directory", "a zip archive (is it cut short?)");
  const count = view.getUint16(end + 10, true), begin = view.getUint32(end + 16, true);
  const last = begin + view.getUint32(end + 12, true);
  if (count === 0xffff || begin === 0xffffffff) fail("it is a zip64 archive", "one below 4 GiB");
  if (last > end) fail("its directory does not fit", "a whole archive");
  const files = new Map<string, Bytes>();
  let at = begin;
  for (let i = 0; i < count; i++) {
    if (at + 46 > last || view.getUint32(at, true) !== CENTRAL) {
      fail(`entry ${i} of its directory is damaged`, "an entry");
    }
    const u16 = (offset: number) => view.getUint16(at + offset, true);
    const u32 = (offset: number) => view.getUint32(at + offset, true);
    const flags = u16(8), method = u16(10), crc = u32(16), packed = u32(20), size = u32(24);
    const next = at + 46 + u16(28) + u16(30) + u16(32);
    if (next > last) fail(`entry ${i} of its directory is damaged`, "an entry");
    const label = new TextDecoder().decode(bytes.subarray(at + 46, at + 46 + u16(28)));
    const local = u32(42);
    if (files.has(label)) fail(`${label} is in it twice`, "it once");
    if (flags & 1) fail(`${label} is encrypted`, "it in the clear");
    if (Math.max(packed, size, local) === 0xffffffff) fail(`${label} is zip64`, "one below 4 GiB");
    if (local + 30 > begin || view.getUint32(local, true) !== LOCAL) {
      fail(`${label} has no header`, "one where the directory says");
    }
    const from = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
    if (from + packed > begin) fail(`${label} reaches beyond the data`, "a whole archive");
    const body = bytes.slice(from, from + packed);
    const contents = method === STORED
      ? body
      : method === DEFLATED
      ? await through(body, new DecompressionStream("deflate-raw")).catch(() =>
        fail(`${label} is damaged`, "deflated data")
      )
      : fail(`${label} is packed by method ${method}`, "stored or deflated");
    if (contents.length !== size || crc32(contents) !== crc) {
      fail(`${label} is damaged`, `${size} bytes with checksum ${crc.toString(16)}`);
    }
    files.set(label, contents);
    at = next;
  }
  return files;
}

/** Where the end of the directory is: before a comment of up to 65 535 bytes. */
function findEnd(view: DataView): number | undefined {
  for (let at = view.byteLength - 22; at >= Math.max(0, view.byteLength - 22 - 0xffff); at--) {
    if (
      view.getUint32(at, true) === END &&
      at + 22 + view.getUint16(at + 20, true) === view.byteLength
    ) {
      return at;
    }
  }
}
