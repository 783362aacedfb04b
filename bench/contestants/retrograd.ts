/**
 * Our side, as a user would write it: compiled functions, the training state donated.
 *
 * @module
 */
import * as rg from "../../mod.ts";
import * as data from "../data.ts";
import { type Case, operation, training } from "../measure.ts";
import type { Contestant } from "./contestant.ts";

type Params = Readonly<Record<string, rg.Tensor>>;

/** Opens the device. */
export async function load(): Promise<Contestant> {
  await rg.init({ software: "allow" });

  // Realised at once, so that no upload counts to the first call, as with the others.
  const tensor = ({ data, shape }: data.Values) => rg.realize(rg.tensor(data, { shape }));
  const tensors = (weights: data.Weights): Promise<Params> =>
    rg.realize(
      Object.fromEntries(
        Object.entries(weights).map(([name, { data, shape }]) =>
          [name, rg.tensor(data, { shape })] as const
        ),
      ),
    );
  const single = (run: () => rg.Tensor): Case =>
    operation({
      run,
      wait: rg.synchronize,
      free: (result) => result.dispose(),
      read: async (result) => ({ sample: data.sample(await result.data()) }),
    });

  /** Steps of training on one batch. */
  const fitting = async (
    loss: (params: Params, x: rg.Tensor, y: rg.Tensor) => rg.Tensor,
    optimizer: rg.optim.Optimizer,
    weights: data.Weights,
    x: rg.Tensor,
    y: rg.Tensor,
  ): Promise<Case> => {
    let state = await rg.realize(optimizer.init(await tensors(weights)));
    const step = rg.compile((state: rg.optim.State<Params>, x: rg.Tensor, y: rg.Tensor) => {
      const [value, gradient] = rg.valueAndGrad(loss)(state.params, x, y);
      return [optimizer.update(state, gradient), value] as const;
    }, { donate: [0] });
    return training(async () => {
      let value: rg.Tensor;
      [state, value] = step(state, x, y);
      return await value.item();
    });
  };

  return {
    async matmul(m, k, n) {
      const [a, b] = data.matmulData(m, k, n);
      const [x, y] = [await tensor(a), await tensor(b)];
      const product = rg.compile((a: rg.Tensor, b: rg.Tensor) => a.matmul(b));
      return single(() => product(x, y));
    },

    async elementwise(n) {
      const x = await tensor(data.vectorData(n));
      const f = rg.compile((x: rg.Tensor) => {
        const y = x.mul(1.1).add(0.1).tanh().mul(0.7).add(0.3);
        const z = y.mul(-1).exp().add(1).reciprocal();
        const r = z.mul(2).sub(0.9).maximum(0);
        return r.mul(r);
      });
      return single(() => f(x));
    },

    async softmax(rows, columns) {
      const x = await tensor(data.rowData(rows, columns));
      const f = rg.compile((x: rg.Tensor) => x.softmax(-1));
      return single(() => f(x));
    },

    async layerNorm(rows, columns) {
      const x = await tensor(data.rowData(rows, columns));
      const layer = rg.nn.layerNorm(columns);
      const params = await rg.realize(layer.init(rg.random.key(0)));
      const f = rg.compile((p: rg.nn.LayerNormParams, x: rg.Tensor) => layer.apply(p, x));
      return single(() => f(params, x));
    },

    async broadcast(rows, columns) {
      const x = await tensor(data.rowData(rows, columns));
      const [s, t] = [await tensor(data.vectorData(columns)), await tensor(data.rowData(rows, 1))];
      const f = rg.compile((x: rg.Tensor, s: rg.Tensor, t: rg.Tensor) => x.mul(s).add(t).relu());
      return single(() => f(x, s, t));
    },

    async columnNorm(rows, columns) {
      const x = await tensor(data.rowData(rows, columns));
      const f = rg.compile((x: rg.Tensor) => {
        const centred = x.sub(x.mean(0));
        return centred.mul(centred.square().mean(0).add(1e-5).rsqrt());
      });
      return single(() => f(x));
    },

    async mlp(batch) {
      const { weights, x: inputs, labels } = data.mlpData(batch);
      const { rate, beta1, beta2, epsilon } = data.mlp;
      const x = await tensor(inputs), y = await rg.realize(rg.tensor(labels));
      const loss = (params: Params, x: rg.Tensor, y: rg.Tensor) => {
        let h = x;
        for (let i = 0; i < 3; i++) {
          h = h.matmul(params[`w${i}`]!).add(params[`b${i}`]!);
          if (i < 2) h = h.relu();
        }
        return rg.nn.crossEntropy(h, y);
      };
      return fitting(loss, rg.optim.adam({ rate, beta1, beta2, epsilon }), weights, x, y);
    },

    async convnet(batch) {
      const { weights, x: images, labels } = data.convnetData(batch);
      const { rate, momentum } = data.convnet;
      const x = await tensor(images), y = await rg.realize(rg.tensor(labels));
      const loss = (params: Params, x: rg.Tensor, y: rg.Tensor) => {
        let h = x;
        for (let i = 0; i < 2; i++) {
          h = rg.conv(h, params[`w${i}`]!, { padding: "same" }).add(params[`b${i}`]!).relu();
          h = rg.maxPool(h, 2);
        }
        return rg.nn.crossEntropy(h.reshape(batch, -1).matmul(params["w2"]!).add(params["b2"]!), y);
      };
      return fitting(loss, rg.optim.sgd({ rate, momentum }), weights, x, y);
    },

    async gpt(layers) {
      const { weights, tokens, next } = data.gptData(layers);
      const { batch, length, decay, ...rest } = data.gpt;
      const { rate, beta1, beta2, epsilon, ...sizes } = rest;
      const model = rg.nn.gpt({ ...sizes, length, layers });
      const own = await tensors(weights);
      const linear = (name: string, i: number) => ({
        weight: own[`${name}${i}`]!,
        bias: own[`${name}Bias${i}`]!,
      });
      const norm = (name: string, i: number | "" = "") => ({
        scale: own[`${name}Scale${i}`]!,
        bias: own[`${name}Bias${i}`]!,
      });
      const params: rg.nn.GptParams = {
        tokens: { weight: own["tokens"]! },
        positions: { weight: own["positions"]! },
        blocks: Array.from({ length: layers }, (_, i) => ({
          norm1: norm("norm1", i),
          attention: { queryKeyValue: linear("queryKeyValue", i), output: linear("output", i) },
          norm2: norm("norm2", i),
          up: linear("up", i),
          down: linear("down", i),
        })),
        norm: norm("last"),
      };
      const text = (tokens: Int32Array<ArrayBuffer>) =>
        rg.realize(rg.tensor(tokens, { shape: [batch, length] }));
      const x = await text(tokens), y = await text(next);
      const loss = (params: rg.Tree, x: rg.Tensor, y: rg.Tensor) =>
        rg.nn.crossEntropy(model.apply(params, x), y);
      const optimizer = rg.optim.adamw({ rate, beta1, beta2, epsilon, weightDecay: decay });
      let state = await rg.realize(optimizer.init(params));
      const step = rg.compile(
        (state: rg.optim.State<rg.nn.GptParams>, x: rg.Tensor, y: rg.Tensor) => {
          const [value, gradient] = rg.valueAndGrad(loss)(state.params, x, y);
          return [optimizer.update(state, gradient), value] as const;
        },
        { donate: [0] },
      );
      return training(async () => {
        let value: rg.Tensor;
        [state, value] = step(state, x, y);
        return await value.item();
      });
    },

    async tinyMatmuls(count) {
      const [a, b] = data.tinyData();
      const [x, w] = [await tensor(a), await tensor(b)];
      const f = rg.compile((x: rg.Tensor, w: rg.Tensor) => {
        let h = x;
        for (let i = 0; i < count; i++) h = h.matmul(w);
        return h;
      });
      return single(() => f(x, w));
    },

    async tinyLayers(count) {
      const [a, b] = data.tinyData();
      const x = await tensor(a);
      const turns = await rg.realize(
        Array.from({ length: 8 }, (_, i) => rg.tensor(b.data, { shape: b.shape }).mul(1 + i)),
      );
      const f = rg.compile((x: rg.Tensor, turns: rg.Tensor[]) => {
        let h = x;
        for (let i = 0; i < count; i++) h = h.matmul(turns[i % turns.length]!).softmax(-1);
        return h;
      });
      return single(() => f(x, turns));
    },

    async tinyTraining(layers) {
      const { normal } = data.numbers(layers);
      const params = await tensors(Object.fromEntries(
        Array.from({ length: layers }, (_, i) => [
          [`w${i}`, { data: normal(256, 0.1), shape: [16, 16] }] as const,
          [`b${i}`, { data: new Float32Array(16), shape: [16] }] as const,
        ]).flat(),
      ));
      const x = await tensor(data.tinyData()[0]);
      const loss = (params: Params, x: rg.Tensor) => {
        let h = x;
        for (let i = 0; i < layers; i++) {
          h = h.add(h.matmul(params[`w${i}`]!).add(params[`b${i}`]!).tanh());
        }
        return h.mul(h).mean();
      };
      const optimizer = rg.optim.adam({ rate: 1e-3 });
      let state = await rg.realize(optimizer.init(params));
      const step = rg.compile((state: rg.optim.State<Params>, x: rg.Tensor) => {
        const [value, gradient] = rg.valueAndGrad(loss)(state.params, x);
        return [optimizer.update(state, gradient), value] as const;
      }, { donate: [0] });
      return operation({
        run() {
          const [next, value] = step(state, x);
          state = next;
          return value;
        },
        wait: rg.synchronize,
        free: (value) => value.dispose(),
        read: async (value) => ({ loss: [await value.item()] }),
      });
    },

    async elementwiseChain(count) {
      const x = await tensor(data.tinyData()[0]);
      const f = rg.compile((x: rg.Tensor) => {
        let h = x;
        for (let i = 0; i < count; i += 2) h = h.mul(1.01).tanh();
        return h;
      });
      return single(() => f(x));
    },

    async chain(depth) {
      const { weights, x: inputs } = data.chainData(depth);
      const params = await tensors(weights), x = await tensor(inputs);
      const loss = (params: Params, x: rg.Tensor) => {
        let h = x;
        for (let i = 0; i < depth; i++) {
          h = h.add(h.matmul(params[`w${i}`]!).add(params[`b${i}`]!).tanh());
        }
        return h.mul(h).mean();
      };
      const f = rg.compile((params: Params, x: rg.Tensor) => rg.valueAndGrad(loss)(params, x));
      return operation({
        run: () => f(params, x),
        wait: rg.synchronize,
        free([value, gradient]) {
          value.dispose();
          Object.values(gradient).forEach((x) => x.dispose());
        },
        read: async ([value, gradient]) => ({
          "loss": [await value.item()],
          "gradient of the first bias": data.sample(await gradient["b0"]!.data()),
        }),
      });
    },
  };
}
