/**
 * TensorFlow.js, which runs operation by operation.
 *
 * @module
 */
import * as data from "../data.ts";
import { type Case, operation, training } from "../measure.ts";
import type { Contestant } from "./contestant.ts";
import { loadTf, type TfTensor } from "./peers.ts";

/** Loads the library. */
export async function load(): Promise<Contestant> {
  const tf = await loadTf();
  const backend = tf.backend();

  const tensor = ({ data, shape }: data.Values) => tf.tensor(data, shape);
  const variables = (weights: data.Weights) =>
    Object.fromEntries(
      Object.entries(weights).map(([name, values]) =>
        [name, tf.variable(tensor(values), true, name)] as const
      ),
    );
  /** The backend collects dispatches: what is left must be submitted before it can be waited for. */
  const finish = (): Promise<undefined> => {
    backend.ensureCommandEncoderReady();
    backend.endComputePassEncoder();
    backend.submitQueue();
    return backend.device.queue.onSubmittedWorkDone();
  };
  const single = (run: () => TfTensor): Case =>
    operation({
      run: () => tf.tidy(run),
      wait: finish,
      free: (result) => result.dispose(),
      read: async (result) => ({ sample: data.sample(await result.data()) }),
    });

  return {
    matmul(m, k, n) {
      const [a, b] = data.matmulData(m, k, n).map(tensor) as [TfTensor, TfTensor];
      return single(() => tf.matMul(a, b));
    },

    elementwise(n) {
      const x = tensor(data.vectorData(n));
      return single(() => {
        const y = x.mul(1.1).add(0.1).tanh().mul(0.7).add(0.3);
        const z = y.mul(-1).exp().add(1).reciprocal();
        const r = tf.maximum(z.mul(2).sub(0.9), 0);
        return r.mul(r);
      });
    },

    softmax(rows, columns) {
      const x = tensor(data.rowData(rows, columns));
      return single(() => tf.softmax(x));
    },

    layerNorm(rows, columns) {
      const x = tensor(data.rowData(rows, columns));
      const scale = tf.ones([columns]), bias = tf.zeros([columns]);
      return single(() => {
        const { mean, variance } = tf.moments(x, -1, true);
        return x.sub(mean).mul(variance.add(1e-5).rsqrt()).mul(scale).add(bias);
      });
    },

    mlp(batch) {
      const { weights, x: inputs, labels } = data.mlpData(batch);
      const { rate, beta1, beta2, epsilon, classes } = data.mlp;
      const params = variables(weights), x = tensor(inputs);
      const y = tf.oneHot(tf.tensor(labels, [batch], "int32"), classes).toFloat();
      const optimizer = tf.train.adam(rate, beta1, beta2, epsilon);
      const loss = () => {
        let h = x;
        for (let i = 0; i < 3; i++) {
          h = tf.matMul(h, params[`w${i}`]!).add(params[`b${i}`]!);
          if (i < 2) h = h.relu();
        }
        return tf.losses.softmaxCrossEntropy(y, h);
      };
      return training(async () => {
        const value = optimizer.minimize(loss, true);
        const [result] = await value.data();
        value.dispose();
        return result!;
      });
    },

    tinyMatmuls(count) {
      const [x, w] = data.tinyData().map(tensor) as [TfTensor, TfTensor];
      return single(() => {
        let h = x;
        for (let i = 0; i < count; i++) h = tf.matMul(h, w);
        return h;
      });
    },

    chain(depth) {
      const { weights, x: inputs } = data.chainData(depth);
      const params = variables(weights), x = tensor(inputs);
      const loss = () => {
        let h = x;
        for (let i = 0; i < depth; i++) {
          h = h.add(tf.matMul(h, params[`w${i}`]!).add(params[`b${i}`]!).tanh());
        }
        return h.mul(h).mean();
      };
      return operation({
        run: () => tf.variableGrads(loss),
        wait: finish,
        free: (result) => tf.dispose([result.value, result.grads]),
        read: async ({ value, grads }) => ({
          "loss": [...await value.data()],
          "gradient of the first bias": data.sample(await grads["b0"]!.data()),
        }),
      });
    },
  };
}
