/**
 * Einstein's summation on nodes. Operands are contracted from left to right: axes that only one of a
 * pair has and nobody wants later are summed away first, then each pair is one batched product,
 * [shared and kept, left only, shared and summed] × [shared and kept, shared and summed, right only].
 *
 * @module
 */
import { binary, broadcastTo, iota, permute, reduce, reshape, where } from "../build.ts";
import { describe } from "../describe.ts";
import { broadcastShapes, showShape, sizeOf } from "../shape.ts";
import type { Node } from "../node.ts";
import { toNumber } from "./elementwise.ts";
import { matmul } from "./linear.ts";

const ACTION = "einsum";

function wrong(what: string, expected: string): never {
  throw new TypeError(`Cannot ${ACTION}: ${what}, expected ${expected}`);
}

/** A tensor whose axes have names, each once. */
interface Term {
  readonly node: Node;
  readonly labels: readonly string[];
}

/** `ij,jk->ik`, with "..." worked out into labels of its own. */
function parse(equation: string, operands: readonly Node[]): { terms: Term[]; result: string[] } {
  if (typeof equation !== "string") {
    wrong(`the equation is ${describe(equation)}`, 'a string like "ij,jk->ik"');
  }
  const [left, right, more] = equation.replaceAll(" ", "").split("->") as [
    string,
    string?,
    string?,
  ];
  const inputs = left.split(",");
  const valid = /^[A-Za-z]*(\.\.\.)?[A-Za-z]*$/;
  if (more !== undefined || ![...inputs, right ?? ""].every((term) => valid.test(term))) {
    wrong(`the equation is "${equation}"`, 'letters, commas, "...", and one "->" at most');
  }
  if (inputs.length !== operands.length) {
    wrong(
      `"${equation}" has ${inputs.length} operands and ${operands.length} are given`,
      "as many tensors",
    );
  }
  const extra = inputs.map((term, i) => {
    const letters = term.replace("...", "").length, rank = operands[i]!.shape.length;
    if (term.includes("...") ? rank >= letters : rank === letters) return rank - letters;
    return wrong(
      `operand ${i} is ${showShape(operands[i]!.shape)} for "${term}"`,
      "an axis a letter",
    );
  });
  const most = Math.max(0, ...extra);
  // Axes of "..." are aligned at the last.
  const expand = (term: string, count: number): string[] => {
    const [before, after] = term.split("...") as [string, string?];
    if (after === undefined) return [...before];
    return [
      ...before,
      ...Array.from({ length: count }, (_, i) => `…${most - count + i}`),
      ...after,
    ];
  };
  const labels = inputs.map((term, i) => expand(term, extra[i]!));
  const counts = new Map<string, number>();
  for (const label of labels.flat()) counts.set(label, (counts.get(label) ?? 0) + 1);
  const dots = Array.from({ length: most }, (_, i) => `…${i}`);
  const result = right === undefined
    ? [
      ...dots,
      ...[...counts.keys()].filter((l) => counts.get(l) === 1 && !l.startsWith("…")).sort(),
    ]
    : expand(right, most);
  const unknown = result.find((label) => !counts.has(label));
  if (unknown !== undefined || new Set(result).size !== result.length) {
    wrong(`the result is "${right}" in "${equation}"`, "letters of the operands, each once");
  }
  return { terms: operands.map((node, i) => ({ node, labels: labels[i]! })), result };
}

/** Sizes of all labels; sizes of 1 broadcast, as NumPy's do. */
function sizesOf(terms: readonly Term[]): Map<string, number> {
  const sizes = new Map<string, number>();
  for (const { node, labels } of terms) {
    labels.forEach((label, i) => {
      const n = node.shape[i]!, known = sizes.get(label);
      const size = known === undefined ? [n] : broadcastShapes([known], [n]);
      if (size === undefined) {
        wrong(`"${label}" has sizes ${known} and ${n}`, "one size for a letter");
      }
      sizes.set(label, size[0]!);
    });
  }
  return sizes;
}

/** Repeated labels of one operand: its diagonal. */
function diagonal({ node, labels }: Term): Term {
  const seen = new Map<string, number>();
  for (const [i, label] of labels.entries()) {
    const first = seen.get(label);
    if (first === undefined) {
      seen.set(label, i);
      continue;
    }
    const rank = node.shape.length, n = node.shape[i]!;
    const place = (axis: number): Node =>
      iota(Array.from({ length: rank }, (_, k) => k === axis ? n : 1), axis, "i32");
    const on = binary("equal", place(first), place(i));
    // All but one element of each line are 0, so the sum is that one.
    const line = reduce("sum", where(on, node, 0), [i]);
    const rest = line.shape.filter((_, k) => k !== i);
    return diagonal({ node: reshape(line, rest), labels: labels.filter((_, k) => k !== i) });
  }
  return { node, labels };
}

/** Without the labels that nobody wants. */
function summed({ node, labels }: Term, wanted: ReadonlySet<string>): Term {
  const axes = labels.flatMap((label, i) => wanted.has(label) ? [] : [i]);
  const sum = reduce("sum", node, axes);
  return {
    node: reshape(sum, node.shape.filter((_, i) => !axes.includes(i))),
    labels: labels.filter((label) => wanted.has(label)),
  };
}

/** Axes in the order of the labels, grown to their sizes. */
function arranged(
  { node, labels }: Term,
  order: readonly string[],
  sizes: ReadonlyMap<string, number>,
): Node {
  const turned = permute(node, order.map((label) => labels.indexOf(label)));
  return broadcastTo(turned, order.map((label) => sizes.get(label)!));
}

/** Two terms as one, with the labels that are wanted later. */
function contract(
  a: Term,
  b: Term,
  wanted: ReadonlySet<string>,
  sizes: ReadonlyMap<string, number>,
): Term {
  const shared = (label: string): boolean => a.labels.includes(label) && b.labels.includes(label);
  const batch = a.labels.filter((l) => shared(l) && wanted.has(l));
  const inner = a.labels.filter((l) => shared(l) && !wanted.has(l));
  const rows = a.labels.filter((l) => !shared(l)), columns = b.labels.filter((l) => !shared(l));
  const count = (labels: readonly string[]): number => sizeOf(labels.map((l) => sizes.get(l)!));
  const left = arranged(a, [...batch, ...rows, ...inner], sizes);
  const right = arranged(b, [...batch, ...inner, ...columns], sizes);
  const product = matmul(
    reshape(left, [count(batch), count(rows), count(inner)]),
    reshape(right, [count(batch), count(inner), count(columns)]),
  );
  const labels = [...batch, ...rows, ...columns];
  return { node: reshape(product, labels.map((l) => sizes.get(l)!)), labels };
}

/** The sum of products that the equation names. */
export function einsum(equation: string, operands: readonly Node[]): Node {
  const parsed = parse(equation, operands.map(toNumber));
  const { result } = parsed, sizes = sizesOf(parsed.terms);
  const terms = parsed.terms.map(diagonal);
  let current = terms[0]!;
  for (let i = 1; i < terms.length; i++) {
    const later = new Set([...result, ...terms.slice(i + 1).flatMap((t) => t.labels)]);
    const next = terms[i]!;
    const a = summed(current, new Set([...later, ...next.labels]));
    const b = summed(next, new Set([...later, ...a.labels]));
    current = contract(a, b, later, sizes);
  }
  return arranged(summed(current, new Set(result)), result, sizes);
}
