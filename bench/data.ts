/**
 * Inputs and initial weights: the same numbers for every contestant, so that results and losses
 * can be compared.
 *
 * @module
 */

/** Normal numbers and integers, from Mulberry32 and the Box-Muller transform. */
export interface Numbers {
  /** Normal numbers with a standard deviation. */
  normal(count: number, deviation?: number): Float32Array<ArrayBuffer>;
  /** Integers from 0 to below a bound. */
  integers(count: number, bound: number): Int32Array<ArrayBuffer>;
}

/** A source of numbers that depend on the seed alone. */
export function numbers(seed: number): Numbers {
  let state = seed >>> 0;
  const uniform = (): number => {
    state = (state + 0x6D2B79F5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  return {
    normal(count, deviation = 1) {
      const values = new Float32Array(count);
      for (let i = 0; i < count; i += 2) {
        const radius = deviation * Math.sqrt(-2 * Math.log(uniform() + 1e-12));
        const angle = 2 * Math.PI * uniform();
        values[i] = radius * Math.cos(angle);
        if (i + 1 < count) values[i + 1] = radius * Math.sin(angle);
      }
      return values;
    },
    integers: (count, bound) =>
      Int32Array.from({ length: count }, () => Math.floor(uniform() * bound)),
  };
}

/** Data and its shape. */
export interface Values {
  readonly data: Float32Array<ArrayBuffer>;
  readonly shape: readonly number[];
}

/** Parameters by name. */
export type Weights = Readonly<Record<string, Values>>;

const normals = (source: Numbers, shape: readonly number[], deviation?: number): Values => ({
  data: source.normal(shape.reduce((a, b) => a * b, 1), deviation),
  shape,
});

/** The operands of a product. */
export function matmulData(m: number, k: number, n: number): readonly [Values, Values] {
  const source = numbers(m);
  return [normals(source, [m, k]), normals(source, [k, n])];
}

/** The input of the element-wise workload. */
export const vectorData = (n: number): Values => normals(numbers(7), [n]);

/** The input of the row-wise workloads. */
export const rowData = (rows: number, columns: number): Values =>
  normals(numbers(8), [rows, columns]);

/** Two matrices of 16×16; multiplying by the second keeps a vector's length about the same. */
export function tinyData(): readonly [Values, Values] {
  const source = numbers(9);
  return [normals(source, [16, 16]), normals(source, [16, 16], 0.25)];
}

/** Widths of the perceptron, and Adam's numbers. */
export const mlp = {
  widths: [784, 512, 512, 10],
  classes: 10,
  rate: 1e-3,
  beta1: 0.9,
  beta2: 0.999,
  epsilon: 1e-8,
} as const;

/** Weights (He), inputs and labels of the perceptron. */
export function mlpData(batch: number): {
  readonly weights: Weights;
  readonly x: Values;
  readonly labels: Int32Array<ArrayBuffer>;
} {
  const source = numbers(1);
  const weights: Record<string, Values> = {};
  mlp.widths.slice(1).forEach((to, i) => {
    const from = mlp.widths[i]!;
    weights[`w${i}`] = normals(source, [from, to], Math.sqrt(2 / from));
    weights[`b${i}`] = { data: new Float32Array(to), shape: [to] };
  });
  const x = normals(source, [batch, mlp.widths[0]]);
  return { weights, x, labels: source.integers(batch, mlp.classes) };
}

/** Numbers of the convolutional network. */
export const convnet = { side: 28, classes: 10, rate: 0.05, momentum: 0.9 } as const;

/** Weights (He) of the convolutional network, channels last, images and labels. */
export function convnetData(batch: number): {
  readonly weights: Weights;
  readonly x: Values;
  readonly labels: Int32Array<ArrayBuffer>;
} {
  const source = numbers(2), { side, classes } = convnet;
  const zeros = (n: number): Values => ({ data: new Float32Array(n), shape: [n] });
  const weights = {
    w0: normals(source, [3, 3, 1, 32], Math.sqrt(2 / 9)),
    b0: zeros(32),
    w1: normals(source, [3, 3, 32, 64], Math.sqrt(2 / 288)),
    b1: zeros(64),
    w2: normals(source, [3136, classes], Math.sqrt(1 / 3136)),
    b2: zeros(classes),
  };
  const x = normals(source, [batch, side, side, 1]);
  return { weights, x, labels: source.integers(batch, classes) };
}

/** Sizes of the GPT, and AdamW's numbers. */
export const gpt = {
  batch: 8,
  length: 128,
  features: 128,
  heads: 4,
  hidden: 512,
  vocabulary: 96,
  rate: 1e-3,
  beta1: 0.9,
  beta2: 0.999,
  epsilon: 1e-8,
  decay: 0.01,
} as const;

/** Weights of a GPT with so many layers (Radford et al. 2019), tokens and those that follow. */
export function gptData(layers: number): {
  readonly weights: Weights;
  readonly tokens: Int32Array<ArrayBuffer>;
  readonly next: Int32Array<ArrayBuffer>;
} {
  const source = numbers(5), { batch, length, features, hidden, vocabulary } = gpt;
  const constants = (n: number, value: number): Values => ({
    data: new Float32Array(n).fill(value),
    shape: [n],
  });
  const weights: Record<string, Values> = {
    tokens: normals(source, [vocabulary, features], 0.02),
    positions: normals(source, [length, features], 0.02),
    lastScale: constants(features, 1),
    lastBias: constants(features, 0),
  };
  for (let i = 0; i < layers; i++) {
    const dense = (name: string, from: number, to: number) => {
      weights[`${name}${i}`] = normals(source, [from, to], 0.02);
      weights[`${name}Bias${i}`] = constants(to, 0);
    };
    for (const norm of ["norm1", "norm2"]) {
      weights[`${norm}Scale${i}`] = constants(features, 1);
      weights[`${norm}Bias${i}`] = constants(features, 0);
    }
    dense("queryKeyValue", features, 3 * features);
    dense("output", features, features);
    dense("up", features, hidden);
    dense("down", hidden, features);
  }
  const text = source.integers(batch * (length + 1), vocabulary);
  const column = (from: number) =>
    Int32Array.from({ length: batch * length }, (_, i) => {
      return text[Math.floor(i / length) * (length + 1) + i % length + from]!;
    });
  return { weights, tokens: column(0), next: column(1) };
}

/** Weights and input of the residual chain. */
export function chainData(depth: number): { readonly weights: Weights; readonly x: Values } {
  const source = numbers(4);
  const weights: Record<string, Values> = {};
  for (let i = 0; i < depth; i++) {
    weights[`w${i}`] = normals(source, [256, 256], 0.03);
    weights[`b${i}`] = normals(source, [256], 0.01);
  }
  return { weights, x: normals(source, [256, 256]) };
}

/** Some of an array's elements, spread evenly: enough to see that two results are the same. */
export function sample(data: ArrayLike<number>): number[] {
  const count = Math.min(data.length, 32);
  return Array.from({ length: count }, (_, i) => data[Math.floor(i * data.length / count)]!);
}
