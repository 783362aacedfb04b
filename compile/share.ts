/**
 * Sharing: kernels of one program that differ in nothing but sizes become one text that reads those
 * sizes from a uniform, so the driver compiles them once. Only the numbers that really differ
 * within such a family move; all others stay constants, which the driver can fold.
 *
 * @module
 */
import type { Kernel } from "../kernels/kernel.ts";
import type { Dispatch } from "./program.ts";

/** A plain integer: no part of a name, of a float, or of a literal with a suffix. */
const integer = /(?<![\w.])\d+(?![\w.])/g;

/** A text as the pieces between its integers, and the integers. */
interface Split {
  readonly pieces: readonly string[];
  readonly numbers: readonly number[];
  /** All pieces in one. */
  readonly key: string;
}

/** Texts taken apart: kernels are asked again for every plan that is tried. */
const known = new WeakMap<Kernel, Split>();

function splitOf(kernel: Kernel): Split {
  let text = known.get(kernel);
  if (text === undefined) known.set(kernel, text = split(kernel.wgsl));
  return text;
}

/** Only the statements of `main` have numbers that may move; array types and attributes don't. */
function split(wgsl: string): Split {
  const pieces: string[] = [""], numbers: number[] = [];
  let inside = false;
  for (const line of wgsl.split("\n")) {
    if (!inside || line.includes("array<")) {
      pieces[pieces.length - 1] += line + "\n";
      inside ||= line.startsWith("fn main(");
      continue;
    }
    let end = 0;
    for (const match of line.matchAll(integer)) {
      pieces[pieces.length - 1] += line.slice(end, match.index);
      pieces.push("");
      numbers.push(Number(match[0]));
      end = match.index + match[0].length;
    }
    pieces[pieces.length - 1] += line.slice(end) + "\n";
  }
  return { pieces, numbers, key: pieces.join("\0") };
}

/** True for a kernel that shares its text already, with others in the body of a loop. */
function readsSizes({ wgsl }: Kernel): boolean {
  return wgsl.includes(declarationOf(0));
}

/** Dispatches whose kernels share texts where they can. */
export function shareKernels(dispatches: readonly Dispatch[]): Dispatch[] {
  const families = new Map<string, { kernel: Kernel; text: Split }[]>();
  const byText = new Map<string, Kernel>();
  for (const { kernel } of dispatches) {
    if (kernel.fixed || byText.has(kernel.wgsl) || readsSizes(kernel)) continue;
    byText.set(kernel.wgsl, kernel);
    const text = splitOf(kernel);
    const family = families.get(text.key);
    if (family === undefined) families.set(text.key, [{ kernel, text }]);
    else family.push({ kernel, text });
  }
  const shared = new Map<string, { wgsl: string; uniforms: Uint32Array }>();
  for (const family of families.values()) {
    if (family.length > 1) share(family, shared);
  }
  return dispatches.map((dispatch) => {
    const found = shared.get(dispatch.kernel.wgsl);
    return found === undefined
      ? dispatch
      : { ...dispatch, kernel: { ...dispatch.kernel, ...found } };
  });
}

function share(
  family: readonly { readonly kernel: Kernel; readonly text: Split }[],
  shared: Map<string, { wgsl: string; uniforms: Uint32Array }>,
): void {
  const [first] = family;
  const { pieces, numbers } = first!.text;
  // Numbers that go together in every member are one size.
  const slots = new Map<string, number>();
  const slotOf = numbers.map((n, i) => {
    const values = family.map(({ text }) => text.numbers[i]!);
    if (values.every((v) => v === n)) return undefined;
    const key = values.join();
    if (!slots.has(key)) slots.set(key, slots.size);
    return slots.get(key)!;
  });
  const vectors = Math.ceil((slots.size + 1) / 4);
  let body = pieces[0]!;
  slotOf.forEach((slot, i) => {
    body += (slot === undefined ? String(numbers[i]) : `size${slot}`) + pieces[i + 1];
  });
  const wgsl = declareSizes(body, first!.kernel.access.length, slots.size, vectors);
  family.forEach(({ kernel }, member) => {
    const uniforms = new Uint32Array(4 * vectors);
    for (const [key, slot] of slots) uniforms[slot + 1] = Number(key.split(",")[member]);
    shared.set(kernel.wgsl, { wgsl, uniforms });
  });
}

function declarationOf(size: number): string {
  const word = size + 1;
  return `let size${size} = i32(sizes[${word >> 2}].${"xyzw"[word & 3]});`;
}

/** Word 0 of the sizes is the zero that barriers need; the sizes follow. */
function declareSizes(body: string, binding: number, count: number, vectors: number): string {
  const declaration = `@group(0) @binding(${binding}) var<uniform> sizes: array<vec4<u32>, `;
  const zero = `${declaration}1>;`;
  const declared = body.includes(zero)
    ? body.replace(zero, `${declaration}${vectors}>;`)
    : body.replace("@compute", `${declaration}${vectors}>;\n@compute`);
  const names = Array.from(
    { length: count },
    (_, i) => `${declarationOf(i)}\n`,
  );
  return declared.replace(/^fn main\(.*\n/m, (line) => line + names.join(""));
}
