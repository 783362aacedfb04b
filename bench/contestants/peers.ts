/**
 * The peers' libraries, typed as far as they are used here. They are imported by specifiers that
 * no tool sees ahead of time: so that only measuring them downloads them, which is 300 MB, and not
 * every type check.
 *
 * @module
 */

/** An array of jax-js. Whoever consumes one owns a reference; `ref` makes another. */
export interface JaxArray {
  readonly ref: JaxArray;
  readonly shape: readonly number[];
  add(other: JaxArray | number): JaxArray;
  sub(other: JaxArray | number): JaxArray;
  mul(other: JaxArray | number): JaxArray;
  div(other: JaxArray | number): JaxArray;
  sum(): JaxArray;
  mean(): JaxArray;
  reshape(shape: readonly number[]): JaxArray;
  transpose(axes: readonly number[]): JaxArray;
  data(): Promise<Float32Array>;
  dispose(): void;
}

/** Arrays by name. */
export type JaxTree = Readonly<Record<string, JaxArray>>;

type JaxOperand = JaxArray | number;

/** The module `@jax-js/jax`. */
export interface Jax {
  init(): Promise<readonly string[]>;
  defaultDevice(name: string): void;
  blockUntilReady(tree: unknown): Promise<unknown>;
  jit<F>(f: F): F;
  valueAndGrad<A extends readonly unknown[]>(
    f: (params: JaxTree, ...rest: A) => JaxArray,
  ): (params: JaxTree, ...rest: A) => [JaxArray, JaxTree];
  readonly tree: { ref<T>(tree: T): T; dispose(tree: unknown): void };
  readonly lax: {
    convGeneralDilated(
      x: JaxArray,
      kernel: JaxArray,
      strides: readonly number[],
      padding: string,
    ): JaxArray;
  };
  readonly nn: {
    relu(x: JaxArray): JaxArray;
    softmax(x: JaxArray): JaxArray;
    logSoftmax(x: JaxArray): JaxArray;
    oneHot(labels: JaxArray, classes: number): JaxArray;
    standardize(x: JaxArray, axis: number, options: { epsilon: number }): JaxArray;
    gelu(x: JaxArray, options: { approximate: boolean }): JaxArray;
    /** Of [batch, places, heads, features]. */
    dotProductAttention(
      query: JaxArray,
      key: JaxArray,
      value: JaxArray,
      options: { isCausal: boolean },
    ): JaxArray;
  };
  readonly numpy: {
    readonly float32: unknown;
    array(data: ArrayLike<number> | number, options?: { dtype: unknown }): JaxArray;
    zeros(shape: readonly number[]): JaxArray;
    ones(shape: readonly number[]): JaxArray;
    matmul(a: JaxArray, b: JaxArray): JaxArray;
    max(x: JaxArray, axes: readonly number[]): JaxArray;
    split(x: JaxArray, parts: number, axis: number): JaxArray[];
    maximum(a: JaxOperand, b: JaxOperand): JaxArray;
    power(a: JaxOperand, b: JaxOperand): JaxArray;
    subtract(a: JaxOperand, b: JaxOperand): JaxArray;
    exp(x: JaxArray): JaxArray;
    reciprocal(x: JaxArray): JaxArray;
    sqrt(x: JaxArray): JaxArray;
    square(x: JaxArray): JaxArray;
    tanh(x: JaxArray): JaxArray;
  };
}

/** A tensor of TensorFlow.js; `tidy` frees what its function made on the way. */
export interface TfTensor {
  readonly shape: readonly number[];
  add(other: TfTensor | number): TfTensor;
  sub(other: TfTensor | number): TfTensor;
  mul(other: TfTensor | number): TfTensor;
  exp(): TfTensor;
  mean(): TfTensor;
  reciprocal(): TfTensor;
  relu(): TfTensor;
  rsqrt(): TfTensor;
  sum(): TfTensor;
  tanh(): TfTensor;
  toFloat(): TfTensor;
  data(): Promise<Float32Array>;
  dispose(): void;
}

/** The inside of the WebGPU backend, which has no public way to submit what it has collected. */
export interface TfBackend {
  readonly device: GPUDevice;
  ensureCommandEncoderReady(): void;
  endComputePassEncoder(): void;
  submitQueue(): void;
}

/** The module `@tensorflow/tfjs`. */
export interface Tf {
  setBackend(name: string): Promise<boolean>;
  ready(): Promise<void>;
  getBackend(): string;
  backend(): TfBackend;
  tidy<T>(f: () => T): T;
  dispose(tree: unknown): void;
  tensor(data: ArrayLike<number>, shape: readonly number[], dtype?: string): TfTensor;
  variable(initial: TfTensor, trainable: boolean, name: string): TfTensor;
  variableGrads(f: () => TfTensor): { value: TfTensor; grads: Record<string, TfTensor> };
  ones(shape: readonly number[]): TfTensor;
  zeros(shape: readonly number[]): TfTensor;
  oneHot(labels: TfTensor, classes: number): TfTensor;
  matMul(a: TfTensor, b: TfTensor): TfTensor;
  maximum(a: TfTensor, b: TfTensor | number): TfTensor;
  softmax(x: TfTensor): TfTensor;
  moments(x: TfTensor, axis: number, keepDims: boolean): { mean: TfTensor; variance: TfTensor };
  readonly losses: { softmaxCrossEntropy(oneHot: TfTensor, logits: TfTensor): TfTensor };
  readonly train: {
    adam(rate: number, beta1: number, beta2: number, epsilon: number): {
      minimize(loss: () => TfTensor, returnCost: true): TfTensor;
    };
  };
}

const load = (specifier: string): Promise<unknown> => import(specifier);

/** jax-js on its WebGPU device. */
export async function loadJax(): Promise<Jax> {
  const jax = await load("@jax-js/jax") as Jax;
  const devices = await jax.init();
  if (!devices.includes("webgpu")) {
    throw new Error(`Cannot start jax-js: its devices are ${devices}, expected webgpu`);
  }
  jax.defaultDevice("webgpu");
  return jax;
}

/** TensorFlow.js with its WebGPU backend. */
export async function loadTf(): Promise<Tf> {
  const tf = await load("@tensorflow/tfjs") as Tf;
  await load("@tensorflow/tfjs-backend-webgpu");
  if (!await tf.setBackend("webgpu")) {
    throw new Error(`Cannot start tfjs: its backend is ${tf.getBackend()}, expected webgpu`);
  }
  await tf.ready();
  return tf;
}
