/**
 * The verifier: every node must be what the table of shapes and dtypes says of its inputs, inputs
 * must be older than users, and a function must not use another function's parameters. It runs
 * after every pass under test and with `RETROGRAD_VERIFY=1`.
 *
 * @module
 */
import { infer } from "./infer.ts";
import { loopResults } from "./loops/results.ts";
import { type Aval, bodiesOf, type Graph, is, type Node, showAval } from "./node.ts";
import { kinds, type Primitive } from "./primitive.ts";
import { sameShape } from "./shape.ts";
import { topological } from "./walk.ts";

/** More than this many problems are counted, not listed. */
const listed = 20;

/** The rules of the verifier: what is wrong with a node, or undefined. */
const checks: readonly ((node: Node) => string | undefined)[] = [
  (node) => {
    const younger = node.inputs.find((input) => input.id >= node.id);
    return younger && `uses ${younger.op}#${younger.id}, which is not older`;
  },
  (node) => {
    const traced = node.op === "parameter" || node.inputs.some((input) => input.traced);
    return traced === node.traced ? undefined : `traced is ${node.traced}, expected ${traced}`;
  },
  (node) => {
    const bad = node.shape.find((n) => !Number.isInteger(n) || n < 0);
    return bad === undefined ? undefined : `has a size of ${bad}`;
  },
  (node) => {
    const several = node.inputs.find((input) =>
      (is(input, "call") || is(input, "loop")) && node.op !== "project"
    );
    return several && `uses ${several.op}#${several.id}, expected one of its results by project`;
  },
  (node) => {
    const arity = arities[kinds[node.op]];
    if (arity === undefined || arity === node.inputs.length) return undefined;
    return `has ${node.inputs.length} inputs, expected ${arity}`;
  },
  (node) => {
    const rule = infer[node.op] as (
      inputs: readonly Aval[],
      attributes: unknown,
      wanted: Aval,
    ) => Aval;
    try {
      const expected = rule(node.inputs, node.attributes, node);
      if (expected.dtype === node.dtype && sameShape(expected.shape, node.shape)) return undefined;
      return `is ${showAval(node)}, expected ${showAval(expected)}`;
    } catch (error) {
      return (error as Error).message;
    }
  },
  checkLoop,
];

/** What a loop says its results are must be what its body makes them. */
function checkLoop(node: Node): string | undefined {
  if (!is(node, "loop")) return undefined;
  const stray = topological(node.attributes.body.results).find((n) => is(n, "leaf"));
  if (stray !== undefined) return `has a body that uses leaf#${stray.id}, expected it as an input`;
  let wanted: string;
  try {
    wanted = loopResults(node.inputs, node.attributes).map(showAval).join(", ");
  } catch {
    return undefined; // Reported above, with the rest of the table.
  }
  const given = node.results!.map(showAval).join(", ");
  return wanted === given ? undefined : `has results ${given}, expected ${wanted}`;
}

/** Number of inputs by kind, where the kind alone says it. */
const arities: { readonly [K in typeof kinds[Primitive]]?: number } = {
  leaf: 0,
  unary: 1,
  binary: 2,
  ternary: 3,
  reduce: 1,
  contract: 2,
  gather: 2,
};

/**
 * Throws unless the graph below the roots is consistent. With `parameters`, only those may occur.
 *
 * @throws {Error} listing what is wrong, one line a problem.
 */
export function verify(roots: readonly Node[], parameters?: readonly Node[]): void {
  const problems: string[] = [];
  let count = 0;
  const report = (problem: string): void => {
    if (count++ < listed) problems.push(problem);
  };
  const seen = new Set<Graph>();
  const waiting: { roots: readonly Node[]; parameters: readonly Node[] | undefined; of: string }[] =
    [{ roots, parameters, of: "" }];
  while (waiting.length > 0) {
    const { roots, parameters, of } = waiting.pop()!;
    const known = parameters && new Set(parameters);
    for (const node of topological(roots)) {
      const name = `${of}${node.op}#${node.id}`;
      for (const check of checks) {
        const problem = check(node);
        if (problem !== undefined) report(`${name} ${problem}`);
      }
      if (is(node, "parameter") && known !== undefined && !known.has(node)) {
        report(`${name} is a parameter of another function`);
      }
      for (const graph of bodiesOf(node)) {
        if (seen.has(graph)) continue;
        seen.add(graph);
        waiting.push({
          roots: graph.results,
          parameters: graph.parameters,
          of: `${of}${graph.name}: `,
        });
      }
    }
  }
  if (count === 0) return;
  if (count > listed) problems.push(`and ${count - listed} more`);
  throw new Error(
    `Cannot verify the graph: ${count} problems, expected none\n  ${problems.join("\n  ")}`,
  );
}
