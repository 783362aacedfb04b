/**
 * Attention that never holds its scores: a loop over blocks of keys keeps for every query the
 * largest score so far, the sum of exponentials and the weighed sum of values, and corrects both
 * sums when a larger score turns up. The way back is another loop over the same blocks, which
 * computes their scores again from the logarithm of the sum. Besides inputs and results there are
 * a few numbers for each query, and the scores of one block.
 *
 * Milakov and Gimelshein, Online normalizer calculation for softmax, 2018; Rabe and Staats,
 * Self-attention does not need O(n²) memory, 2021; Dao et al., FlashAttention, 2022.
 *
 * @module
 */
import { arange, full, zeros } from "../graph/create.ts";
import { where } from "../graph/operations.ts";
import { scan } from "../graph/scan.ts";
import { broadcastShapes, sizeOf } from "../graph/shape.ts";
import { matmul } from "../graph/functions/linear.ts";
import { Tensor } from "../graph/tensor.ts";
import { customVjp } from "../graph/transforms.ts";

/** Keys in a block: wide enough to keep a product busy. A constant, as sums depend on it. */
const BLOCK = 128;

/** a b of f16 as the f32 that its sums are made in: scores are soon beyond what f16 holds. */
export function unroundedProduct(a: Tensor, b: Tensor): Tensor {
  return new Tensor(matmul(a.node, b.node, "matmul", "f32"));
}

/** Result and the logarithm of the sum of exponentials, [n, t, e] and [n, t, 1]. */
type Attended = { readonly y: Tensor; readonly logSum: Tensor };

/** softmax(q kᵀ) v over what is visible; batch axes are taken together. */
export function leanAttention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  mask: Tensor | undefined,
  causal: boolean,
): Tensor {
  const batch = broadcastShapes(...[q, k, v].map((x) => x.shape.slice(0, -2)))!;
  const n = sizeOf(batch), t = q.shape.at(-2)!, s = k.shape.at(-2)!;
  const flat = (x: Tensor) =>
    x.broadcastTo([...batch, ...x.shape.slice(-2)]).reshape(n, ...x.shape.slice(-2));
  let seen: Tensor | null = null;
  if (mask !== undefined) {
    // A mask without batch axes stays as small as it is.
    const lead = sizeOf(mask.shape.slice(0, -2)) === 1 ? [1] : batch;
    seen = mask.reshape(
      [...new Array(Math.max(0, lead.length + 2 - mask.rank)).fill(1), ...mask.shape]
        .slice(-(lead.length + 2)),
    ).broadcastTo([...lead, t, s]).reshape(-1, t, s);
  }
  const { y } = attention(s, causal)(flat(q), flat(k), flat(v), seen);
  return y.reshape([...batch, t, v.shape.at(-1)!]);
}

/** [n, s, d] to [blocks, n, block, d]: views, but for the padding of the last block. */
function blocksOf(x: Tensor, size: number): Tensor {
  const [n, s, d] = x.shape as [number, number, number], count = Math.ceil(s / size);
  return x.pad([[0, 0], [0, count * size - s], [0, 0]]).reshape(n, count, size, d).moveAxis(1, 0);
}

/** The transpose of {@linkcode blocksOf}. */
function unblock(x: Tensor, s: number): Tensor {
  const [count, n, size, d] = x.shape as [number, number, number, number];
  return x.moveAxis(0, 1).reshape(n, count * size, d).slice(null, [0, s]);
}

/** Blocks of a mask along its last axis: [m, t, s] to [blocks, m, t, block]. */
function maskBlocks(mask: Tensor | null, size: number): Tensor | null {
  return mask === null ? null : blocksOf(mask.swapAxes(1, 2), size).swapAxes(2, 3);
}

/** The function of flat operands with its own way back; s and causal are constants of it. */
function attention(s: number, causal: boolean) {
  const size = Math.min(BLOCK, s), count = Math.ceil(s / size);

  /** Scores of a block, f32, -∞ where there is nothing to see. */
  const scoresOf = (q: Tensor, k: Tensor, mask: Tensor | null, block: Tensor): Tensor => {
    const t = q.shape[1]!;
    let scores = unroundedProduct(q, k.swapAxes(1, 2));
    const key = arange(size).add(block.mul(size)), query = arange(t).expandDims(1);
    if (mask !== null) scores = where(mask, scores, -Infinity);
    if (causal) scores = where(key.sub(query).lessEqual(s - t), scores, -Infinity);
    else if (count * size !== s) scores = where(key.less(s), scores, -Infinity);
    return scores;
  };

  function forward(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | null): Attended {
    const [n, t] = q.shape as [number, number], e = v.shape[2]!;
    const start = { most: full([n, t, 1], -Infinity), sum: zeros([n, t, 1]), y: zeros([n, t, e]) };
    type Row = { block: Tensor; k: Tensor; v: Tensor; mask: Tensor | null };
    const [{ most, sum, y }] = scan(
      function attention({ most, sum, y }: typeof start, row: Row) {
        const scores = scoresOf(q, row.k, row.mask, row.block);
        const larger = most.maximum(scores.max(-1, { keepDims: true }));
        const base = where(larger.isFinite(), larger, 0);
        const shrink = most.sub(base).exp(), weights = scores.sub(base).exp();
        return [{
          most: larger,
          sum: sum.mul(shrink).add(weights.sum(-1, { keepDims: true })),
          y: y.mul(shrink).add(unroundedProduct(weights.cast(row.v.dtype), row.v)),
        }, null];
      },
      start,
      {
        block: arange(count),
        k: blocksOf(k, size),
        v: blocksOf(v, size),
        mask: maskBlocks(mask, size),
      } as Row,
    );
    const nothing = sum.equal(0), safe = where(nothing, 1, sum);
    return {
      y: y.div(safe).cast(v.dtype),
      logSum: where(nothing, 0, most.add(safe.log())),
    };
  }

  function backward(
    cotangent: Attended,
    { y, logSum }: Attended,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | null,
  ): [Tensor, Tensor, Tensor, null] {
    const g = cotangent.y;
    // ds = p (dp - Σ p dp): the sum is that of g times the result, known before the loop.
    const shift = cotangent.logSum.sub(
      g.cast("f32").mul(y.cast("f32")).sum(-1, { keepDims: true }),
    );
    type Row = { block: Tensor; k: Tensor; v: Tensor; mask: Tensor | null };
    const [dq, rows] = scan(
      function attentionBack(dq: Tensor, row: Row) {
        const weights = scoresOf(q, row.k, row.mask, row.block).sub(logSum).exp();
        const dv = weights.cast(g.dtype).swapAxes(1, 2).matmul(g);
        const dp = unroundedProduct(g, row.v.swapAxes(1, 2));
        const ds = weights.mul(dp.add(shift)).cast(q.dtype);
        const dk = ds.swapAxes(1, 2).matmul(q);
        return [dq.add(unroundedProduct(ds, row.k)), { dk, dv }];
      },
      zeros(q.shape),
      {
        block: arange(count),
        k: blocksOf(k, size),
        v: blocksOf(v, size),
        mask: maskBlocks(mask, size),
      } as Row,
    );
    return [dq.cast(q.dtype), unblock(rows.dk, s), unblock(rows.dv, s), null];
  }

  return customVjp(forward, backward);
}
