/**
 * Loops over a batch: one loop whose body works on all examples at once. A carry is batched if it
 * starts so or becomes so, which is found by trying until nothing changes.
 *
 * @module
 */
import { broadcastTo, canonical, cast, loop, parameter, permute, reshape } from "../build.ts";
import { anyFlag } from "../check.ts";
import type { Graph, Node } from "../node.ts";
import type { Batch, Batched } from "./activity.ts";
import { batchOpen } from "./open.ts";
import { makeReplay, type Replay, type ReplayInputs, replayInputs } from "./replay.ts";

function spread({ node, batched }: Batched, size: number): Node {
  if (batched) return node;
  return broadcastTo(reshape(node, [1, ...node.shape]), [size, ...node.shape]);
}

/** [batch, step, …] to [step, batch, …], and back. */
function swap(x: Node): Node {
  return permute(x, x.shape.map((_, i) => i < 2 ? 1 - i : i));
}

/** A body over a batch: which of its parameters are batched, and its results. */
interface BatchedBody {
  readonly flags: readonly boolean[];
  readonly parameters: readonly Node<"parameter">[];
  readonly results: readonly Batched[];
  /** Results of the inverse. */
  readonly undone: readonly Batched[] | undefined;
}

/** Batches a body as soon as no carry becomes batched that did not start so. */
function batchBody(
  body: Graph,
  carries: number,
  batched: readonly boolean[],
  size: number,
  batch: Batch,
  invert?: Graph,
): BatchedBody {
  const flags = [...batched];
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
    if (!grew) return { flags, parameters, results, undone };
  }
}

/** Operands as a loop takes them: carries as they become, rows step by step. */
function inputsOf(
  operands: readonly Batched[],
  carries: number,
  stacked: number,
  flags: readonly boolean[],
  size: number,
): Node[] {
  return operands.map((operand, i) => {
    if (i < carries) return flags[i] ? spread(operand, size) : operand.node;
    return i < carries + stacked && operand.batched ? swap(operand.node) : operand.node;
  });
}

/** The body as a graph whose first results, the carries, are as batched as its parameters. */
function graphOf(
  name: string,
  { parameters, flags }: BatchedBody,
  results: readonly Batched[],
  carries: number,
  size: number,
): Graph {
  const nodes = results.map((result, i) =>
    i < carries && flags[i] ? spread(result, size) : result.node
  );
  return { name, parameters, results: nodes };
}

/** The results of a loop over operands some of which are batched. */
export function batchLoop(
  node: Node<"loop">,
  operands: readonly Batched[],
  size: number,
  batch: Batch,
  pullback: Parameters<typeof batchOpen>[4],
): Batched[] {
  if (node.attributes.replay?.open) return batchOpen(node, operands, size, batch, pullback);
  const { body, invert, ...options } = node.attributes;
  const { carries, stacked, running, kept, replay } = options;
  const of = replay === undefined
    ? undefined
    : batchReplay(replay, replayInputs(node, operands), size, batch);
  const own = operands.slice(0, body.parameters.length - (replay?.states ?? 0));
  const begins = [...own.map((operand) => operand.batched), ...of?.flags ?? []];
  const all = batchBody(body, carries, begins, size, batch, invert);
  const { flags, parameters, results, undone } = all;
  const inputs = inputsOf(own, carries, stacked, flags, size);
  const graph = graphOf(body.name, all, results, carries, size);
  if (running !== undefined && flags[running]) {
    // Each example ends when it will; the loop, when the last of them has.
    const any = (each: Node): Node => cast(anyFlag(each), "bool");
    const goes = any(inputs[running]!);
    const longer = {
      name: body.name,
      parameters: parameters.toSpliced(carries, 0, parameter(carries, goes)),
      results: [...graph.results, any(graph.results[running]!)],
    };
    // One that has ended must not be undone with the others: that is no inverse any more.
    const plan = options.plan?.inverts ? options.plan.outer : options.plan;
    const changed = { ...options, plan, carries: carries + 1, running: carries };
    const all = loop(longer, inputs.toSpliced(carries, 0, goes), changed);
    return all.toSpliced(carries, 1).map((node, i) => {
      const carry = i < carries ? i : kept[i - carries]![0];
      return { node, batched: flags[carry]! };
    });
  }
  const inverse = undone && graphOf(
    invert!.name,
    all,
    undone.map((x, i) =>
      i < carries ? x : { node: x.batched ? anyFlag(x.node) : x.node, batched: false }
    ),
    carries,
    size,
  );
  const changed = { ...options, invert: inverse, replay: of?.replay };
  return loop(graph, [...inputs, ...of?.inputs ?? []], changed).map((result, i) => {
    if (i < carries) return { node: result, batched: flags[i]! };
    if (i < results.length) {
      const { batched } = results[i]!;
      return { node: batched ? swap(result) : result, batched };
    }
    const found = kept[i - results.length];
    // What a way back found out is of the whole batch.
    if (found === undefined) return { node: result, batched: false };
    const [carry, step] = found, batched = flags[carry]!;
    return { node: batched && step === "every" ? swap(result) : result, batched };
  });
}

/** What a way back takes besides the parameters of its body, batched; flags are of its states. */
function batchReplay(
  replay: Replay,
  { states, inverse, forward }: ReplayInputs<Batched>,
  size: number,
  batch: Batch,
): {
  readonly flags: readonly boolean[];
  readonly replay: Replay;
  readonly inputs: readonly Node[];
} {
  const { plan, invert, invertedRows } = replay,
    { body, carries, stacked, state } = replay.forward!;
  // The loop forward knows which of its carries become batched; the states are of these.
  const begins = forward.map((operand, i) =>
    operand.batched || (states[state.indexOf(i)]?.some((live) => live.batched) ?? false)
  );
  const ahead = batchBody(body, carries, begins, size, batch);
  const flags = state.map((carry) => ahead.flags[carry]!);
  const undo = invert &&
    batchBody(invert, states.length, [...flags, ...inverse.map((x) => x.batched)], size, batch);
  return {
    flags,
    replay: makeReplay({
      ...replay,
      invert: undo && canonical(graphOf(invert!.name, undo, undo.results, states.length, size)),
      forward: {
        ...replay.forward!,
        body: canonical(graphOf(body.name, ahead, ahead.results, carries, size)),
      },
    }),
    inputs: [
      ...states.flatMap((live, i) =>
        live.map((value) => {
          if (!flags[i]) return value.node;
          const whole = spread(value, size);
          return plan === undefined ? swap(whole) : whole;
        })
      ),
      ...inputsOf(inverse, 0, invertedRows, [], size),
      ...inputsOf(forward, carries, stacked, ahead.flags, size),
    ],
  };
}
