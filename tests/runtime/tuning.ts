/** A program without any permission that tunes all the same, for this process alone. */
import * as rg from "../../mod.ts";

await rg.init({ software: "allow" });
const f = rg.compile((x: rg.Tensor) => x.mul(2).softmax(-1));
const x = await rg.realize(rg.ones([65, 132]));
const { kernels, path } = await rg.tune(() => f(x));
console.log(kernels.length, path);
