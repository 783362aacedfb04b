/**
 * Control flow of ONNX: branches and loops, whose bodies are graphs.
 *
 * @module
 */
import { tensor } from "../../graph/create.ts";
import { stack } from "../../graph/operations.ts";
import { scan as scanOver } from "../../graph/scan.ts";
import type { Tensor } from "../../graph/tensor.ts";
import { vmap } from "../../graph/transforms.ts";
import type { Call, Operator } from "./call.ts";
import { known, type Value, valueOf } from "./values.ts";

const one = (value: number, type: number): Value => valueOf(tensor(value, { dtype: "i32" }), type);

/** As many rounds as are asked for, or until the condition, which is read in every round, fails. */
function loop(call: Call): Value[] {
  const [most = Infinity] = call.known(0) ?? [];
  let [go = 1] = call.known(1) ?? [], state = call.inputs.slice(2) as Value[];
  const rows: Value[][] = [];
  for (let i = 0; i < most && go !== 0; i++) {
    const [next, ...rest] = call.body("body", [one(i, 7), one(go, 9), ...state]);
    state = rest.slice(0, state.length);
    rows.push(rest.slice(state.length));
    [go = 1] = known(next!);
  }
  const columns = (rows[0] ?? []).map((first, k) =>
    valueOf(stack(rows.map((row) => row[k]!.x), 0), first.type)
  );
  return [...state, ...columns];
}

/** A scan is a scan of ours; before version 9 it ran over a batch. */
function scan(call: Call): Value[] {
  const batched = call.version < 9,
    inputs = (batched ? call.inputs.slice(1) : call.inputs) as Value[];
  const count = inputs.length - call.int("num_scan_inputs", 0);
  const types: number[] = [];
  const run = (...given: Tensor[]): Tensor[] => {
    const [carry, rows] = scanOver(
      (carry: readonly Tensor[], row: readonly Tensor[]) => {
        const values = [...carry, ...row].map((x, i) => valueOf(x, inputs[i]!.type));
        const results = call.body("body", values);
        types.splice(0, types.length, ...results.map(({ type }) => type));
        const xs = results.map(({ x }) => x);
        return [xs.slice(0, count), xs.slice(count)] as const;
      },
      given.slice(0, count) as readonly Tensor[],
      given.slice(count) as readonly Tensor[],
    );
    return [...carry, ...rows];
  };
  const given = inputs.map(({ x }) => x);
  const results = batched ? vmap(run)(...given) : run(...given);
  return results.map((x, i) => valueOf(x, types[i]!));
}

/** Control flow by name. */
export const control: { readonly [name: string]: Operator } = {
  If: (call) => call.body(call.known(0)![0] === 0 ? "else_branch" : "then_branch", []),
  Loop: loop,
  Scan: scan,
};
