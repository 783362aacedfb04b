/**
 * Convolutions have no kernel of their own: they become products that read their input through
 * windows, so that nothing is written out for them (implicit GEMM; Chetlur et al., cuDNN, 2014).
 * Which axis comes first in the rows and in k, and so the order of sums, depends on shapes alone.
 *
 * @module
 */
import * as build from "../graph/build.ts";
import type { Node } from "../graph/node.ts";
import { sizeOf } from "../graph/shape.ts";
import { padOrCut, spreadOut } from "../graph/windows.ts";

/**
 * A convolution as a product; `settle` lowers that further. Rows go over the batch and then
 * over places, k over taps and then channels; the other way around where the kernel is larger than
 * the result, as it is where the kernel's gradient is computed: then neighbours stay neighbours.
 * Where every channel is a group of its own, there is nothing to contract but taps.
 */
export function convolution(
  { inputs, attributes, shape }: Node<"convolve">,
  settle: (product: Node) => Node,
): Node {
  const { step, dilation, spread, before, after } = attributes, rank = step.length;
  const [x, w] = inputs as [Node, Node];
  const [groups, batch, channels] = [x.shape[0]!, x.shape[1]!, x.shape.at(-1)!];
  const places = shape.slice(2, -1), taps = w.shape.slice(1, rank + 1), outputs = shape.at(-1)!;
  const spatial = places.map((_, i) => i), none = [0, 0, 0];
  const last = build.permute(x, [0, 1, rank + 2, ...spatial.map((i) => i + 2)]);
  const wide = padOrCut(
    spreadOut(last, [1, 1, 1, ...spread]),
    [...none, ...before],
    [...none, ...after],
  );
  if (sizeOf(taps) === 0) return build.fill(0, shape, x.dtype);
  // [g,b,c,…n,…k]
  const windows = build.window(wide, { size: taps, step, dilation });
  const n = spatial.map((i) => i + 3), k = spatial.map((i) => i + 3 + rank);
  if (channels === 1 && groups > 1) {
    const left = build.reshape(build.permute(windows, [1, 2, ...n, ...k, 0]), [
      ...[batch, ...places, ...taps, groups, 1],
    ]);
    const right = build.reshape(
      build.permute(w, [...spatial.map((i) => i + 1), 0, rank + 1, rank + 2]),
      [...taps, groups, outputs],
    );
    const axes = spatial.map((i) => 1 + rank + i);
    // Products of f16 are summed as they are, not rounded first.
    const [a, c] = [left, right].map((operand) => build.cast(operand, "f32"));
    const sum = build.cast(build.reduce("sum", build.binary("mul", a!, c!), axes), x.dtype);
    return build.permute(build.reshape(sum, [batch, ...places, groups, outputs]), [
      rank + 1,
      0,
      ...spatial.map((i) => i + 1),
      rank + 2,
    ]);
  }
  const turned = sizeOf(taps) > sizeOf(places);
  const rows = sizeOf(places) * batch, depth = sizeOf(taps) * channels;
  const left = build.permute(windows, [0, ...(turned ? [...n, 1, 2, ...k] : [1, ...n, ...k, 2])]);
  const kernels = turned
    ? build.permute(w, [0, rank + 1, ...k.map((i) => i - 2 - rank), rank + 2])
    : w;
  const product = settle(build.dot(
    build.reshape(left, [groups, rows, depth]),
    build.reshape(kernels, [groups, depth, outputs]),
  ));
  if (!turned) return build.reshape(product, shape);
  return build.permute(build.reshape(product, [groups, ...places, batch, outputs]), [
    ...[0, rank + 1, ...spatial.map((i) => i + 1), rank + 2],
  ]);
}
