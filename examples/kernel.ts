/**
 * `./dev example:kernel`: a layer computed by a kernel of one's own. Bumps around centres that are
 * learned tell two spirals apart: y[i,j] = exp(-sharpness·|x[i] - c[j]|²). As a composition this
 * would be a tensor of [points, centres, 2]; the kernel keeps every square in a register. How the
 * derivative goes back is written beside it, in ordinary operations.
 *
 * @module
 */
import * as rg from "@retrograd/retrograd";
import { type Command, count, positive, run, seed } from "./command.ts";

/** Bumps of points x, [n, d], around centres c, [m, d]: [n, m]. */
export function bumps(sharpness: number): (x: rg.Tensor, c: rg.Tensor) => rg.Tensor {
  return rg.kernel({
    name: "bumps",
    inputs: ["x", "c"],
    output: (x, c) => ({ shape: [x.shape[0]!, c.shape[0]!], dtype: "f32" }),
    wgsl: `
      @compute @workgroup_size(64)
      fn main(@builtin(global_invocation_id) id: vec3<u32>) {
        if (id.x >= result_size) { return; }
        let i = id.x / c_shape[0];
        let j = id.x % c_shape[0];
        var square = 0.0;
        for (var k = 0u; k < x_shape[1]; k++) {
          let apart = x[i * x_shape[1] + k] - c[j * x_shape[1] + k];
          square += apart * apart;
        }
        result[id.x] = exp(${-sharpness} * square);
      }`,
    vjp(g, y, x, c) {
      const w = g.mul(y).mul(2 * sharpness);
      return [
        w.matmul(c!).sub(x!.mul(w.sum(1, { keepDims: true }))),
        w.T.matmul(x!).sub(c!.mul(w.sum(0).expandDims(1))),
      ];
    },
  });
}

/** Bumps around learned centres, and a linear layer. */
export function bumpNetwork(centres: number, sharpness: number): rg.nn.Layer {
  const kernel = bumps(sharpness), head = rg.nn.linear(centres, 2);
  return {
    name: `bumps(${centres})`,
    init: (key) => ({
      centres: rg.random.uniform(key, [centres, 2], { low: -1, high: 1 }),
      head: head.init(rg.random.foldIn(key, 0)),
    }),
    apply(params, x) {
      const { centres, head: own } = params as { centres: rg.Tensor; head: rg.nn.LinearParams };
      return head.apply(own, kernel(x, centres));
    },
  };
}

/** Points on two spirals that wind around each other, and which of them each is on. */
export function spirals(size: number, seed: number): rg.data.Dataset {
  const [a, b, c] = rg.random.split(rg.random.key(seed), 3) as [rg.Tensor, rg.Tensor, rg.Tensor];
  const along = rg.random.uniform(a, [size], { low: 0.1 }), y = rg.random.randint(b, [size], 0, 2);
  const angle = along.mul(10).add(y.cast("f32").mul(Math.PI));
  const x = rg.stack([angle.cos().mul(along), angle.sin().mul(along)], 1);
  const noisy = x.add(rg.random.normal(c, [size, 2]).mul(0.02));
  return new rg.data.Dataset(rg.data.tensorColumn(noisy), rg.data.tensorColumn(y));
}

/** What a network thinks of the square around the spirals, in characters. */
async function draw(network: rg.nn.Layer, params: rg.Tree): Promise<string> {
  const [rows, columns] = [24, 48];
  const y = rg.linspace(1, -1, rows).expandDims(1).broadcastTo([rows, columns]);
  const x = rg.linspace(-1, 1, columns).broadcastTo([rows, columns]);
  const points = rg.stack([x, y], 2).reshape(rows * columns, 2);
  const sides = await network.apply(params, points).argmax(-1).data();
  const line = (row: number) =>
    Array.from({ length: columns }, (_, i) => sides[row * columns + i] === 0 ? "·" : "█").join("");
  return Array.from({ length: rows }, (_, row) => line(row)).join("\n");
}

const options = {
  centres: count("bumps of the network", 64),
  sharpness: positive("how narrow they are", 30),
  samples: count("points to train on", 2_000, 100),
  epochs: count("passes over them", 10),
  rate: positive("Adam's step size", 0.02),
  seed: seed("seed of points, parameters and order"),
};

const command: Command<typeof options> = {
  name: "example:kernel",
  about: "Trains a network with a layer of hand-written WGSL to tell two spirals apart.",
  options,
  async main({ centres, sharpness, samples, epochs, rate, seed }) {
    const device = await rg.init();
    console.log(`adapter   ${device.name}`);
    const train = spirals(samples, seed), validation = spirals(500, seed + 1);
    // A rule that was written by hand is better doubted once.
    const some = train.at(rg.tensor([0, 1, 2, 3, 4], { dtype: "u32" }));
    const report = await rg.checkGradients(bumps(sharpness), [some.x, some.x.mul(0.9)]);
    console.log(`the gradient of the kernel, by its rule and by differences\n${report}\n`);

    const model = bumpNetwork(centres, sharpness);
    const optimizer = rg.optim.adam({ rate });
    const { params, best } = await rg.train.fit({
      model,
      optimizer,
      train,
      validation,
      epochs,
      batch: 100,
      seed,
    });
    console.log(`\n${await draw(model, params)}\n`);
    console.log(
      `accuracy  ${(100 * best!.accuracy).toFixed(1)} % of ${validation.size} other points`,
    );
  },
};

if (import.meta.main) await run(command);
