/**
 * Deep functions and their gradients, as graphs: loss and the gradient by all weights.
 */
import * as build from "../../graph/build.ts";
import type { Graph, Node } from "../../graph/node.ts";
import { pullback } from "../../graph/vjp.ts";

/** A layer: the next state from a state [1, n, n] and a weight of the same shape. */
type Layer = (h: Node, w: Node) => Node;

const layers = {
  residual: (h, w) => build.binary("add", h, build.unary("tanh", build.dot(h, w))),
  cosine: (h, w) => build.unary("cos", build.dot(h, w)),
  gelu: (h, w) => {
    const z = build.binary("add", build.dot(h, w), 0.1);
    const inner = build.unary("erf", build.binary("mul", z, Math.SQRT1_2));
    return build.binary("mul", z, build.binary("add", build.binary("mul", inner, 0.5), 0.5));
  },
  normalised: (h, w) => {
    const x = build.dot(h, w), n = x.shape[2]!;
    const mean = build.binary("div", build.reduce("sum", x, [2]), n);
    const centred = build.binary("sub", x, mean);
    const squares = build.reduce("sum", build.binary("mul", centred, centred), [2]);
    const deviation = build.unary(
      "sqrt",
      build.binary("add", build.binary("div", squares, n), 1e-3),
    );
    return build.binary("add", h, build.binary("max", build.binary("div", centred, deviation), 0));
  },
} satisfies Readonly<Record<string, Layer>>;

/** The loss of a chain of layers, mean square, and its gradient by all weights. */
export function graph(kind: keyof typeof layers, depth: number, width = 48): Graph {
  const shape = [1, width, width];
  const x = build.parameter(0, { shape, dtype: "f32" });
  const weights = Array.from(
    { length: depth },
    (_, i) => build.parameter(i + 1, { shape, dtype: "f32" }),
  );
  let h: Node = kind === "cosine" ? build.unary("cos", x) : x;
  for (const w of weights) h = layers[kind](h, w);
  const loss = build.binary(
    "div",
    build.reduce("sum", build.binary("mul", h, h), [0, 1, 2]),
    width,
  );
  const cotangent = build.fill(1, loss.shape);
  return {
    name: kind,
    parameters: [x, ...weights],
    results: [loss, ...pullback([loss], weights, [cotangent])],
  };
}
