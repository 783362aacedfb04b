/**
 * Loops over a batch: one loop whose body works on all examples at once. A carry is batched if it
 * starts so or becomes so, which is found by trying until nothing changes.
 *
 * @module
 */
import { broadcastTo, cast, loop, mark, parameter, permute, reshape } from "../build.ts";
import { anyFlag } from "../check.ts";
import type { Node } from "../node.ts";
import { openReplay } from "./replay.ts";

/** A value, and whether its first axis is the batch. */
interface Batched {
  readonly node: Node;
  readonly batched: boolean;
}

/** How a body is batched. */
type Batch = (
  results: readonly Node[],
  sources: readonly Node[],
  operands: readonly Batched[],
  size: number,
) => Batched[];

function spread({ node, batched }: Batched, size: number): Node {
  if (batched) return node;
  return broadcastTo(reshape(node, [1, ...node.shape]), [size, ...node.shape]);
}

/** [batch, step, …] to [step, batch, …], and back. */
function swap(x: Node): Node {
  return permute(x, x.shape.map((_, i) => i < 2 ? 1 - i : i));
}

/** The results of a loop over operands some of which are batched. */
export function batchLoop(
  node: Node<"loop">,
  operands: readonly Batched[],
  size: number,
  batch: Batch,
): Batched[] {
  if (node.attributes.replay !== undefined) {
    const sources = node.inputs.map(mark);
    return batch(openReplay(node, sources), sources, operands, size);
  }
  const { body, invert, ...options } = node.attributes;
  const { carries, stacked, running, kept } = options;
  const flags = operands.map((operand) => operand.batched);
  for (;;) {
    const parameters = body.parameters.map((p, i) =>
      flags[i] ? parameter(i, { shape: [size, ...p.shape], dtype: p.dtype }) : p
    );
    const inside = parameters.map((p, i) => ({ node: p, batched: flags[i]! }));
    const results = batch(body.results, body.parameters, inside, size);
    const undone = invert && batch(invert.results, invert.parameters, inside, size);
    let grew = false;
    for (let i = 0; i < carries; i++) {
      if (flags[i] || !(results[i]!.batched || undone?.[i]?.batched)) continue;
      flags[i] = grew = true;
    }
    if (grew) continue;
    const inputs = operands.map((operand, i) => {
      if (i < carries) return flags[i] ? spread(operand, size) : operand.node;
      return i < carries + stacked && operand.batched ? swap(operand.node) : operand.node;
    });
    const spreadAll = (results: readonly Batched[]): Node[] =>
      results.map((result, i) => i < carries && flags[i] ? spread(result, size) : result.node);
    const after = spreadAll(results);
    if (running !== undefined && flags[running]) {
      // Each example ends when it will; the loop, when the last of them has.
      const any = (each: Node): Node => cast(anyFlag(each), "bool");
      const goes = any(inputs[running]!);
      const graph = {
        name: body.name,
        parameters: parameters.toSpliced(carries, 0, parameter(carries, goes)),
        results: [...after, any(after[running]!)],
      };
      const changed = { ...options, carries: carries + 1, running: carries };
      return loop(graph, inputs.toSpliced(carries, 0, goes), changed).slice(0, carries)
        .map((result, i) => ({ node: result, batched: flags[i]! }));
    }
    const graph = { name: body.name, parameters, results: after };
    const inverse = undone && { name: invert!.name, parameters, results: spreadAll(undone) };
    const count = results.length;
    return loop(graph, inputs, { ...options, invert: inverse }).map((result, i) => {
      if (i < carries) return { node: result, batched: flags[i]! };
      if (i >= count) {
        const [carry, step] = kept[i - count]!, batched = flags[carry]!;
        return { node: batched && step === "every" ? swap(result) : result, batched };
      }
      const { batched } = results[i]!;
      return { node: batched ? swap(result) : result, batched };
    });
  }
}
