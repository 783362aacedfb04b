/** A misspelt option does not go unheard: `deno run` does not look at types. */
import { assertThrows } from "@std/assert";
import * as rg from "../../mod.ts";

await rg.init({ software: "allow" });

const x = rg.ones([1, 4, 4, 1]), kernel = rg.ones([2, 2, 1, 1]);
const sum = (x: rg.Tensor): rg.Tensor => x.sum();
const same = (x: rg.Tensor): rg.Tensor => x;

const calls: Readonly<Record<string, (options: never) => unknown>> = {
  compile: (o) => rg.compile(sum, o),
  grad: (o) => rg.grad(sum, o)(x),
  valueAndGrad: (o) => rg.valueAndGrad(sum, o),
  vmap: (o) => rg.vmap(sum, o),
  checkpoint: (o) => rg.checkpoint(same, o),
  scan: (o) => rg.scan((c: rg.Tensor) => [c, null], x, null, Object.assign({ length: 2 }, o)),
  loop: (o) => rg.loop(same, x, Object.assign({ length: 2 }, o)),
  whileLoop: (o) => rg.whileLoop((c: rg.Tensor) => c.sum().less(9), same, x, o),
  revolve: (o) => rg.revolve(Object.assign({ snapshots: 2 }, o)),
  online: (o) => rg.online(Object.assign({ snapshots: 2 }, o)),
  offload: (o) => rg.offload(Object.assign({ device: 2 }, o)),
  auto: (o) => rg.auto(o),
  sketch: (o) => rg.sketch(same, Object.assign({ keep: 0.5, key: rg.random.key(0) }, o)),
  sum: (o) => x.sum(0, o),
  mean: (o) => x.mean(0, o),
  variance: (o) => x.variance(0, o),
  norm: (o) => x.norm(0, o),
  argmax: (o) => x.argmax(0, o),
  conv: (o) => rg.conv(x, kernel, o),
  convTranspose: (o) => rg.convTranspose(x, kernel, o),
  maxPool: (o) => rg.maxPool(x, 2, o),
  averagePool: (o) => rg.averagePool(x, 2, o),
  upsample: (o) => rg.upsample(x, Object.assign({ scale: 2 }, o)),
  gridSample: (o) => rg.gridSample(x, rg.zeros([1, 2, 2, 2]), o),
};

for (const [name, call] of Object.entries(calls)) {
  Deno.test(`${name} refuses an option that nobody reads`, () => {
    call({} as never);
    assertThrows(
      () => call({ keepdim: true } as never),
      TypeError,
      "there is an option keepdim, expected",
    );
  });
}
