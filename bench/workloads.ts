/**
 * What is measured, how, and the bars. A workload names a kind of computation and its sizes; the
 * contestants implement kinds.
 *
 * @module
 */
import { sample, tinyData } from "./data.ts";
import type { Checks } from "./measure.ts";

/** The kinds of computation, and the sizes each is given. */
export interface Sizes {
  /** C = A·B, for [m, k] and [k, n]. */
  matmul: readonly [m: number, k: number, n: number];
  /** 13 element-wise operations on n elements. */
  elementwise: readonly [n: number];
  /** Softmax of every row. */
  softmax: readonly [rows: number, columns: number];
  /** Layer norm of every row, with scale and bias. */
  layerNorm: readonly [rows: number, columns: number];
  /** relu(x·s + t) of every element, s for the columns and t for the rows. */
  broadcast: readonly [rows: number, columns: number];
  /** (x − mean)/deviation of every column. */
  columnNorm: readonly [rows: number, columns: number];
  /** A step of Adam for the multilayer perceptron, with cross-entropy; the loss is read back. */
  mlp: readonly [batch: number];
  /**
   * A step of momentum for a convolutional network on images of 28×28 (two convolutions of 3×3 with
   * pooling, 32 and 64 channels, and a dense layer), with cross-entropy; the loss is read back.
   */
  convnet: readonly [batch: number];
  /**
   * A step of AdamW for a GPT of so many layers (128 features, 4 heads, 128 places, batch 8, 96
   * tokens), embeddings by gather where there is a gradient of that; the loss is read back.
   */
  gpt: readonly [layers: number];
  /** So many products of 16×16 matrices, each with the result of the last. */
  tinyMatmuls: readonly [count: number];
  /** So many layers softmax(h·W) of 16×16 matrices, W taking turns: two dispatches each. */
  tinyLayers: readonly [count: number];
  /** A step of Adam for so many layers h + tanh(h·W + b) of width 16, batch 16; nothing is read. */
  tinyTraining: readonly [layers: number];
  /** So many element-wise operations on a 16×16 matrix, each on the result of the last. */
  elementwiseChain: readonly [count: number];
  /** Loss and gradient of so many layers h + tanh(h·W + b), of width 256 for batch 256. */
  chain: readonly [depth: number];
}

/** What is asked of our side. */
export interface Bar {
  /** The peer's median time over ours is at least this. */
  readonly faster?: number;
  /** Our first call over the peer's is at most this. */
  readonly firstShare?: number;
  /** Our first call takes at most so many milliseconds. */
  readonly firstMs?: number;
  /** The host is done with a run, recorded and submitted, in at most so many milliseconds. */
  readonly hostMs?: number;
  /** A run has at most so many dispatches. */
  readonly dispatches?: number;
  /** At most so many bytes of device buffers are alive at once. */
  readonly peakBytes?: number;
  /** The peer's peak over ours is at least the inverse of this. */
  readonly peakShare?: number;
}

/** How far values may differ, by the name that the contestants give them. */
export type Tolerances = Readonly<Record<string, number>>;

/** One row of the table. */
export interface Workload<K extends keyof Sizes = keyof Sizes> {
  readonly title: string;
  readonly kind: K;
  readonly sizes: Sizes[K];
  readonly bar: Bar;
  /**
   * Runs that are timed together: a wait for the device costs 11 ms, in which a short run would
   * drown.
   */
  readonly inner: number;
  /** Processes that share the rounds, each of which gives one more first call. */
  readonly launches: number;
  readonly tolerances: Tolerances;
  /** What the values must be, where there may be no peer to agree with. */
  readonly expected?: () => Checks;
  /** Measured only when asked for. */
  readonly optional?: boolean;
  /** Workloads that are judged together, too. */
  readonly family?: keyof typeof families;
}

/** What is asked of the median of a family's ratios. */
export const families = { odd: { title: "ten odd shapes, their median", faster: 2 } } as const;

function workload<K extends keyof Sizes>(
  title: string,
  kind: K,
  sizes: Sizes[K],
  bar: Bar,
  rest: Partial<Workload<K>> = {},
): Workload<K> {
  return { title, kind, sizes, bar, inner: 1, launches: 1, tolerances: { sample: 1e-5 }, ...rest };
}

const odd = <K extends keyof Sizes>(
  title: string,
  kind: K,
  sizes: Sizes[K],
  inner: number,
  bar: Bar = { faster: 1, dispatches: 1 },
) => workload(title, kind, sizes, bar, { inner, family: "odd" });

/** A few long rows are cut, so that a GPU's cores share them: more dispatches, on purpose. */
const cut: Bar = { faster: 1 };

/** The chain of element-wise operations, in double precision. */
function chained(count: number): Checks {
  const values = Array.from(tinyData()[0].data, (x) => {
    let h = x;
    for (let i = 0; i < count; i += 2) h = Math.tanh(1.01 * h);
    return h;
  });
  return { sample: sample(values) };
}

const chain = (depth: number) =>
  workload(`residual chain, depth ${depth}`, "chain", [depth], {}, {
    tolerances: { "loss": 1e-5, "gradient of the first bias": 1e-3 },
    optional: true,
  });

/** Losses of a training run: first the same, then nearly. */
const trained = { "loss at step 0": 1e-5, "loss at step 9": 1e-3 };

/** The workloads by name, in the order of the table. */
export const workloads: Readonly<Record<string, Workload>> = {
  matmul256: workload("matmul 256", "matmul", [256, 256, 256], { faster: 2.6 }, { inner: 30 }),
  matmul512: workload("matmul 512", "matmul", [512, 512, 512], { faster: 2.6 }, { inner: 6 }),
  matmul1024: workload("matmul 1024", "matmul", [1024, 1024, 1024], { faster: 2.6 }),
  matmulOdd: workload("matmul 500×333×777", "matmul", [500, 333, 777], { faster: 2.6 }, {
    inner: 6,
  }),
  matmulVector: workload("matmul 1×2048×2048", "matmul", [1, 2048, 2048], { faster: 2.6 }, {
    inner: 50,
  }),
  elementwise: workload("13 element-wise ops on 4M", "elementwise", [4 * 1024 * 1024], {
    faster: 2,
    dispatches: 1,
  }, { inner: 10 }),
  softmax: workload("softmax [4096, 1024]", "softmax", [4096, 1024], {
    faster: 3,
    dispatches: 1,
  }, { inner: 8 }),
  layerNorm: workload("layer norm [4096, 1024]", "layerNorm", [4096, 1024], {
    faster: 2.5,
    dispatches: 1,
  }, { inner: 8 }),
  mlp: workload("MLP 784-512-512-10, batch 128, Adam", "mlp", [128], {
    faster: 2.6,
    firstShare: 2 / 3,
    dispatches: 14,
    peakBytes: 10.5e6,
  }, { launches: 3, tolerances: trained }),
  convnet: workload("convolutional network, batch 64, momentum", "convnet", [64], {
    faster: 3,
    dispatches: 20,
    peakShare: 1 / 3,
  }, { tolerances: trained }),
  gpt4: workload("GPT, 4 layers, batch 8, AdamW", "gpt", [4], {
    faster: 2.5,
    dispatches: 120,
    peakBytes: 64e6,
  }, { tolerances: trained }),
  gpt12: workload("GPT, 12 layers, batch 8, AdamW", "gpt", [12], { firstShare: 1 / 4 }, {
    tolerances: trained,
  }),
  oddElementwise: odd("13 element-wise ops on 999 983", "elementwise", [999_983], 40),
  oddBroadcast: odd("scale, shift, relu [1023, 517]", "broadcast", [1023, 517], 60),
  oddBroadcastWide: odd("scale, shift, relu [33, 16411]", "broadcast", [33, 16411], 60),
  oddSoftmax: odd("softmax [257, 1031]", "softmax", [257, 1031], 60),
  oddSoftmaxShort: odd("softmax [4099, 37]", "softmax", [4099, 37], 60),
  oddSoftmaxWide: odd("softmax [31, 10007]", "softmax", [31, 10007], 60, cut),
  oddLayerNorm: odd("layer norm [511, 769]", "layerNorm", [511, 769], 60),
  oddLayerNormShort: odd("layer norm [2053, 61]", "layerNorm", [2053, 61], 60),
  oddLayerNormWide: odd("layer norm [17, 12289]", "layerNorm", [17, 12289], 60, cut),
  oddColumnNorm: odd("norm of columns [1543, 211]", "columnNorm", [1543, 211], 60),
  tinyMatmuls: workload("300 tiny matmuls", "tinyMatmuls", [300], { faster: 6 }, {
    inner: 20,
    // Rounding adds up over the products, whatever their order of sums.
    tolerances: { sample: 1e-3 },
  }),
  hostLayers: workload("host: 1000 dispatches", "tinyLayers", [500], { hostMs: 1.5 }),
  hostTraining: workload("host: training step of 1000 dispatches", "tinyTraining", [286], {
    hostMs: 1.5,
  }),
  elementwiseChain: workload("3000 element-wise ops in a chain", "elementwiseChain", [3000], {
    firstMs: 2000,
  }, {
    inner: 20,
    launches: 3,
    tolerances: { sample: 1e-3 },
    expected: () => chained(3000),
  }),
  chain16: chain(16),
  chain64: chain(64),
  chain256: chain(256),
};
