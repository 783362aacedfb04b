/**
 * jax-js, everything under `jit`. It ships no optimizer, so Adam is written as in optax.
 *
 * @module
 */
import * as data from "../data.ts";
import { type Case, operation, training } from "../measure.ts";
import type { Contestant } from "./contestant.ts";
import { type JaxArray, type JaxTree, loadJax } from "./peers.ts";

/** What Adam is given. */
interface AdamNumbers {
  readonly rate: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly decay?: number;
}

/** Loads the library. */
export async function load(): Promise<Contestant> {
  const jax = await loadJax();
  const { jit, nn, numpy: np, tree } = jax;

  const array = ({ data, shape }: data.Values) => np.array(data).reshape(shape);
  const arrays = (weights: data.Weights): JaxTree =>
    Object.fromEntries(Object.entries(weights).map(([name, values]) => [name, array(values)]));
  const mapTree = (f: (x: JaxArray, name: string) => JaxArray, x: JaxTree): JaxTree =>
    Object.fromEntries(Object.keys(x).map((name) => [name, f(x[name]!, name)]));
  const single = (run: () => JaxArray): Case =>
    operation({
      run,
      wait: (results) => jax.blockUntilReady(results),
      free: (result) => result.dispose(),
      read: async (result) => ({ sample: data.sample(await result.ref.data()) }),
    });

  /** With decoupled decay, if any. All arguments are consumed. */
  const adam = (
    { rate, beta1, beta2, epsilon, decay = 0 }: AdamNumbers,
    params: JaxTree,
    gradient: JaxTree,
    m: JaxTree,
    v: JaxTree,
    t: JaxArray,
  ) => {
    const c1 = np.subtract(1, np.power(beta1, t.ref));
    const c2 = np.subtract(1, np.power(beta2, t));
    const means = mapTree((m, k) => m.mul(beta1).add(gradient[k]!.ref.mul(1 - beta1)), m);
    const squares = mapTree(
      (v, k) => v.mul(beta2).add(np.square(gradient[k]!).mul(1 - beta2)),
      v,
    );
    const next = mapTree((p, k) => {
      const deviation = np.sqrt(squares[k]!.ref.div(c2.ref)).add(epsilon);
      const step = means[k]!.ref.div(c1.ref).div(deviation);
      if (decay === 0) return p.sub(step.mul(rate));
      return p.ref.sub(step.add(p.mul(decay)).mul(rate));
    }, params);
    c1.dispose();
    c2.dispose();
    return [next, means, squares] as const;
  };

  return {
    matmul(m, k, n) {
      const [a, b] = data.matmulData(m, k, n).map(array) as [JaxArray, JaxArray];
      const product = jit((a: JaxArray, b: JaxArray) => np.matmul(a, b));
      return single(() => product(a.ref, b.ref));
    },

    elementwise(n) {
      const x = array(data.vectorData(n));
      const f = jit((x: JaxArray) => {
        const y = np.tanh(x.mul(1.1).add(0.1)).mul(0.7).add(0.3);
        const z = np.reciprocal(np.exp(y.mul(-1)).add(1));
        const r = np.maximum(z.mul(2).sub(0.9), 0);
        return r.ref.mul(r);
      });
      return single(() => f(x.ref));
    },

    softmax(rows, columns) {
      const x = array(data.rowData(rows, columns));
      const f = jit((x: JaxArray) => nn.softmax(x));
      return single(() => f(x.ref));
    },

    layerNorm(rows, columns) {
      const x = array(data.rowData(rows, columns));
      const scale = np.ones([columns]), bias = np.zeros([columns]);
      const f = jit((x: JaxArray, scale: JaxArray, bias: JaxArray) =>
        nn.standardize(x, -1, { epsilon: 1e-5 }).mul(scale).add(bias)
      );
      return single(() => f(x.ref, scale.ref, bias.ref));
    },

    broadcast(rows, columns) {
      const x = array(data.rowData(rows, columns));
      const [s, t] = [array(data.vectorData(columns)), array(data.rowData(rows, 1))];
      const f = jit((x: JaxArray, s: JaxArray, t: JaxArray) => nn.relu(x.mul(s).add(t)));
      return single(() => f(x.ref, s.ref, t.ref));
    },

    columnNorm(rows, columns) {
      const x = array(data.rowData(rows, columns));
      const f = jit((x: JaxArray) => nn.standardize(x, 0, { epsilon: 1e-5 }));
      return single(() => f(x.ref));
    },

    mlp(batch) {
      const { weights, x: inputs, labels } = data.mlpData(batch);
      const x = array(inputs), y = nn.oneHot(np.array(labels), data.mlp.classes);
      let params = arrays(weights), t = 0;
      let m = mapTree(({ shape }) => np.zeros(shape), params);
      let v = mapTree(({ shape }) => np.zeros(shape), params);
      const loss = (params: JaxTree, x: JaxArray, y: JaxArray) => {
        let h = x;
        for (let i = 0; i < 3; i++) {
          h = np.matmul(h, params[`w${i}`]!).add(params[`b${i}`]!);
          if (i < 2) h = nn.relu(h);
        }
        return nn.logSoftmax(h).mul(y).sum().mul(-1 / batch);
      };
      const step = jit(
        (params: JaxTree, m: JaxTree, v: JaxTree, t: JaxArray, x: JaxArray, y: JaxArray) => {
          const [value, gradient] = jax.valueAndGrad(loss)(tree.ref(params), x, y);
          return [value, ...adam(data.mlp, params, gradient, m, v, t)] as const;
        },
      );
      return training(async () => {
        let value: JaxArray;
        const time = np.array(++t, { dtype: np.float32 });
        [value, params, m, v] = step(params, m, v, time, x.ref, y.ref);
        return (await value.data())[0]!;
      });
    },

    convnet(batch) {
      const { weights, x: images, labels } = data.convnetData(batch);
      const { side, classes, rate, momentum } = data.convnet;
      // Channels first, which is what the library's convolutions and pooling are written for.
      const last = arrays(weights);
      const quarter = side / 4, kernels = (w: JaxArray) => w.transpose([3, 2, 0, 1]);
      const dense = last["w2"]!.reshape([quarter, quarter, 64, classes]).transpose([2, 0, 1, 3]);
      let params: JaxTree = {
        ...last,
        w0: kernels(last["w0"]!),
        w1: kernels(last["w1"]!),
        w2: dense.reshape([quarter * quarter * 64, classes]),
      };
      let velocity = mapTree(({ shape }) => np.zeros(shape), params);
      const x = array(images).reshape([batch, 1, side, side]);
      const y = nn.oneHot(np.array(labels), classes);
      // Pooling as a reduction of what is cut into windows: faster than the library's reduceWindow.
      const pooled = (h: JaxArray) => {
        const [b, c, n] = h.shape as [number, number, number];
        return np.max(h.reshape([b, c, n / 2, 2, n / 2, 2]), [3, 5]);
      };
      const layer = (h: JaxArray, w: JaxArray, b: JaxArray) => {
        const y = jax.lax.convGeneralDilated(h, w, [1, 1], "SAME");
        return pooled(nn.relu(y.add(b.reshape([b.shape[0]!, 1, 1]))));
      };
      const loss = (params: JaxTree, x: JaxArray, y: JaxArray) => {
        const h = layer(x, params["w0"]!, params["b0"]!);
        const flat = layer(h, params["w1"]!, params["b1"]!).reshape([batch, -1]);
        const logits = np.matmul(flat, params["w2"]!).add(params["b2"]!);
        return nn.logSoftmax(logits).mul(y).sum().mul(-1 / batch);
      };
      const step = jit((params: JaxTree, velocity: JaxTree, x: JaxArray, y: JaxArray) => {
        const [value, gradient] = jax.valueAndGrad(loss)(tree.ref(params), x, y);
        const next = mapTree((v, k) => v.mul(momentum).add(gradient[k]!), velocity);
        return [value, mapTree((p, k) => p.sub(next[k]!.ref.mul(rate)), params), next] as const;
      });
      return training(async () => {
        let value: JaxArray;
        [value, params, velocity] = step(params, velocity, x.ref, y.ref);
        return (await value.data())[0]!;
      });
    },

    gpt(layers) {
      const { weights, tokens, next } = data.gptData(layers);
      const { batch, length, features, heads, vocabulary } = data.gpt;
      const rows = batch * length;
      // Embeddings by products with one-hot vectors: there is no gradient of a gather.
      const hot = (tokens: Int32Array<ArrayBuffer>) => nn.oneHot(np.array(tokens), vocabulary);
      const x = hot(tokens), y = hot(next);
      let params = arrays(weights), t = 0;
      let m = mapTree(({ shape }) => np.zeros(shape), params);
      let v = mapTree(({ shape }) => np.zeros(shape), params);
      const loss = (params: JaxTree, x: JaxArray, y: JaxArray) => {
        const norm = (h: JaxArray, name: string, i: number | "" = "") =>
          nn.standardize(h, -1, { epsilon: 1e-5 })
            .mul(params[`${name}Scale${i}`]!).add(params[`${name}Bias${i}`]!);
        const dense = (h: JaxArray, name: string, i: number) =>
          np.matmul(h, params[`${name}${i}`]!).add(params[`${name}Bias${i}`]!);
        const places = np.matmul(x, params["tokens"]!.ref).reshape([batch, length, features]);
        let h = places.add(params["positions"]!).reshape([rows, features]);
        for (let i = 0; i < layers; i++) {
          const all = dense(norm(h.ref, "norm1", i), "queryKeyValue", i);
          const [query, key, value] = np.split(all, 3, 1).map((part) =>
            part.reshape([batch, length, heads, features / heads])
          ) as [JaxArray, JaxArray, JaxArray];
          const found = nn.dotProductAttention(query, key, value, { isCausal: true });
          h = h.add(dense(found.reshape([rows, features]), "output", i));
          const inner = nn.gelu(dense(norm(h.ref, "norm2", i), "up", i), { approximate: true });
          h = h.add(dense(inner, "down", i));
        }
        const logits = np.matmul(norm(h, "last"), params["tokens"]!.transpose([1, 0]));
        return nn.logSoftmax(logits).mul(y).sum().mul(-1 / rows);
      };
      const step = jit(
        (params: JaxTree, m: JaxTree, v: JaxTree, t: JaxArray, x: JaxArray, y: JaxArray) => {
          const [value, gradient] = jax.valueAndGrad(loss)(tree.ref(params), x, y);
          return [value, ...adam(data.gpt, params, gradient, m, v, t)] as const;
        },
      );
      return training(async () => {
        let value: JaxArray;
        const time = np.array(++t, { dtype: np.float32 });
        [value, params, m, v] = step(params, m, v, time, x.ref, y.ref);
        return (await value.data())[0]!;
      });
    },

    tinyMatmuls(count) {
      const [x, w] = data.tinyData().map(array) as [JaxArray, JaxArray];
      const f = jit((x: JaxArray, w: JaxArray) => {
        let h = x;
        for (let i = 0; i < count; i++) h = np.matmul(h, w.ref);
        w.dispose();
        return h;
      });
      return single(() => f(x.ref, w.ref));
    },

    chain(depth) {
      const { weights, x: inputs } = data.chainData(depth);
      const params = arrays(weights), x = array(inputs);
      const loss = (params: JaxTree, x: JaxArray) => {
        let h = x;
        for (let i = 0; i < depth; i++) {
          h = h.ref.add(np.tanh(np.matmul(h, params[`w${i}`]!).add(params[`b${i}`]!)));
        }
        return h.ref.mul(h).mean();
      };
      const f = jit((params: JaxTree, x: JaxArray) => jax.valueAndGrad(loss)(params, x));
      return operation({
        run: () => f(tree.ref(params), x.ref),
        wait: (results) => jax.blockUntilReady(results),
        free: (result) => tree.dispose(result),
        read: async ([value, gradient]) => ({
          "loss": [...await value.ref.data()],
          "gradient of the first bias": data.sample(await gradient["b0"]!.ref.data()),
        }),
      });
    },
  };
}
