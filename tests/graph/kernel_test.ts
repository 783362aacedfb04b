import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { ones, tensor, zeros } from "../../graph/create.ts";
import { kernel, type KernelOptions } from "../../graph/kernel.ts";
import { loop, scan } from "../../graph/scan.ts";
import type { Tensor } from "../../graph/tensor.ts";
import { grad, hvp, jvp, vmap } from "../../graph/transforms.ts";
import { compile } from "../../runtime/compile.ts";
import { deviceInfo, synchronize } from "../../runtime/init.ts";
import { checkGradients } from "../../runtime/check.ts";
import { gpu } from "../gpu.ts";
import { assertValues } from "./host.ts";

const cubeOptions: KernelOptions = {
  name: "cube",
  inputs: ["x"],
  output: (x) => x,
  wgsl: `
    @compute @workgroup_size(64)
    fn main(@builtin(global_invocation_id) id: vec3<u32>) {
      if (id.x >= x_size) { return; }
      result[id.x] = x[id.x] * x[id.x] * x[id.x];
    }`,
  vjp: (g, _y, x) => [g.mul(x!.square()).mul(3)],
};
const cube = kernel(cubeOptions);

/** Rows of a matrix times a vector, [n,k] by [k], each row by one invocation. */
const matvec = kernel({
  name: "matvec",
  inputs: ["a", "v"],
  output: (a) => ({ shape: [a.shape[0]!], dtype: "f32" }),
  workgroups: (y) => Math.ceil(y.shape[0]! / 8),
  wgsl: `
    @compute @workgroup_size(8)
    fn main(@builtin(global_invocation_id) id: vec3<u32>) {
      let row = id.x;
      if (row >= a_shape[0]) { return; }
      var sum = 0.0;
      for (var k = 0u; k < v_size; k++) { sum += a[row * a_shape[1] + k] * v[k]; }
      result[row] = sum;
    }`,
  vjp: (g, _y, a, v) => [g.outer(v!), g.matmul(a!)],
});

Deno.test("kernel() runs a shader over tensors of any shape, views and expressions", async () => {
  await gpu();
  for (const shape of [[], [1], [7], [5, 13], [2, 3, 5]]) {
    const size = shape.reduce((a, b) => a * b, 1);
    const x = tensor(Float32Array.from({ length: size }, (_, i) => i - 3), { shape });
    const values = [...await x.data()];
    assertEquals([...await cube(x).data()], values.map((v) => v ** 3), `${shape}`);
  }
  const x = tensor([[1, 2, 3], [4, 5, 6]]);
  await assertValues(cube(x.T), [[1, 64], [8, 125], [27, 216]]);
  await assertValues(cube(x.slice(1).add(1)).sub(1), [124, 215, 342]);
  await assertValues(cube(x.reshape(6)), [1, 8, 27, 64, 125, 216]);
  await assertValues(cube(zeros([3])), [0, 0, 0]);
  await assertValues(matvec(x, tensor([1, 10, 100])), [321, 654]);
  await assertValues(matvec(x.flip(1), ones([3])), [6, 15]);
  assertEquals(cube(zeros([0, 3])).shape, [0, 3]);
});

Deno.test("kernel() takes one tensor for two inputs, other dtypes, vectors", async () => {
  await gpu();
  const main = (body: string) =>
    `@compute @workgroup_size(4, 2)
     fn main(@builtin(global_invocation_id) id: vec3<u32>) { let i = id.x + id.y * 4; ${body} }`;
  const product = kernel({
    name: "product",
    inputs: ["a", "b"],
    output: (a) => a,
    wgsl: main("if (i < a_size) { result[i] = a[i] * b[i]; }"),
  });
  const x = tensor([2, 3, 4]);
  await assertValues(product(x, x), [4, 9, 16]);
  const masked = kernel({
    name: "masked",
    inputs: ["m", "k"],
    output: (_, k) => ({ shape: k.shape, dtype: "bool" }),
    wgsl: main("if (i < k_size) { result[i] = select(0u, 1u, m[i] != 0u && k[i] > -2); }"),
  });
  const found = masked(tensor([true, true, false]), tensor([-2, -1, 7], { dtype: "i32" }));
  assertEquals(await found.array(), [false, true, false]);
  const wide = kernel({
    name: "wide",
    inputs: ["x"],
    vectors: ["x", "result"],
    output: (x) => x,
    wgsl: main("if (i * 4 < x_size) { result[i] = x[i] * 2; }"),
  });
  await assertValues(wide(tensor([1, 2, 3, 4, 5])), [2, 4, 6, 8, 10]);
  if (!deviceInfo().features.includes("shader-f16")) return;
  const half = kernel({ ...cubeOptions, name: "half" });
  const y = half(tensor([1.5, -2], { dtype: "f16" }));
  assertEquals([y.dtype, await y.array()], ["f16", [3.375, -8]]);
});

Deno.test("a comment does not say how large a workgroup is", async () => {
  await gpu();
  const wgsl = `// once @workgroup_size(256)\n/* or @workgroup_size(512) */${cubeOptions.wgsl}`;
  await assertValues(kernel({ ...cubeOptions, wgsl })(ones([300])), new Array(300).fill(1));
});

Deno.test("a kernel is one dispatch of a program, and fuses with nothing", async () => {
  await gpu();
  const f = compile((x: Tensor) => cube(x.add(1)).mul(2), { donate: [0] });
  await assertValues(f(tensor([1, 2])), [16, 54]);
  const labels = f.programs()[0]!.dispatches.map(({ kernel }) => kernel.label);
  assertEquals(labels.filter((label) => label.startsWith("cube")).length, 1);
  assertEquals(labels.length, 3);
  // Two sizes in one program: nobody rewrites the numbers in a user's text.
  const two = compile((x: Tensor, y: Tensor) => [cube(x), cube(y)]);
  const [a, b] = two(tensor([1, 2]), tensor([3, 4, 5]));
  await assertValues(a!, [1, 8]);
  await assertValues(b!, [27, 64, 125]);
});

Deno.test("a kernel has the derivatives that its rule says, in every mode", async () => {
  await gpu();
  const x = tensor([1, -2, 0.5]), f = (x: Tensor) => cube(x).sum();
  await assertValues(grad(f)(x), [3, 12, 0.75], 1e-6);
  await assertValues(hvp(f, x, ones([3])), [6, -12, 3], 1e-6);
  const [, tangent] = jvp(cube, [x], [tensor([1, 10, 100])]);
  await assertValues(tangent, [3, 120, 75], 1e-5);
  await assertValues(vmap(cube)(tensor([[1, 2], [3, 4]])), [[1, 8], [27, 64]]);
  const a = tensor([[1, 2, 3], [4, 5, 6]]), v = tensor([1, -1, 2]);
  await checkGradients((a: Tensor, v: Tensor) => matvec(a, v), [a, v]);
  // Batched in one operand, in both, and the gradient batched.
  const many = tensor([[1, 0, 0], [0, 1, 0]]);
  await assertValues(vmap((v: Tensor) => matvec(a, v))(many), [[1, 4], [2, 5]]);
  const both = vmap(matvec)(tensor([[[1, 2, 3]], [[4, 5, 6]]]), many);
  await assertValues(both, [[1], [5]]);
  await assertValues(vmap(grad(f))(tensor([[1, 2, 3], [0, 0, 1]])), [[3, 12, 27], [0, 0, 3]]);
});

Deno.test("a kernel runs in loops, and on the way back through them", async () => {
  await gpu();
  const half = (x: Tensor) => cube(x).mul(0.5);
  await assertValues(loop(half, tensor([1, 2]), { length: 3 }), [0.5 ** 13, 2 ** 14], 1e-6);
  const total = (x: Tensor) =>
    scan((sum: Tensor, row: Tensor) => [sum.add(cube(row).sum()), null], zeros([]), x)[0];
  await assertValues(grad(total)(tensor([[1, 2], [3, 4]])), [[3, 12], [27, 48]], 1e-6);
});

Deno.test("kernel() says what is wrong with its definition", () => {
  const wrong = (part: Partial<KernelOptions>, what: string) =>
    assertThrows(() => kernel({ ...cubeOptions, ...part }), TypeError, what);
  wrong({ name: "a b" }, "the name is");
  wrong({ inputs: ["x", "x"] }, "x is the name of two buffers");
  wrong({ inputs: ["result"] }, "result is the name of two buffers");
  wrong({ inputs: ["x", "x_size"] }, "an input is called x_size, expected a word that means");
  wrong({ inputs: ["main"] }, "an input is called main, expected a word that means nothing else");
  wrong({ inputs: ["x", "w"] }, "its text never uses w");
  wrong({ vectors: ["z"] }, "vectors has z");
  wrong({ workgroups: [4] as never }, "workgroups is an array of 1, expected a function");
  wrong({ output: undefined as never }, "output is undefined, expected a function");
  wrong({ inputs: undefined as never }, "inputs are undefined, expected an array of names");
  wrong({ inputs: [3] as never }, "an input is called 3, expected a word");
  wrong({ vectors: "x" as never }, 'vectors are "x", expected an array of names');
  wrong({ wgsl: undefined as never }, "its text is undefined, expected WGSL");
  wrong({ wgsl: "fn f() {}" }, "its text has no entry point");
  wrong(
    { wgsl: cubeOptions.wgsl + "\n@group(0) @binding(0) var<storage> z: f32;" },
    "declares buffers",
  );
  wrong({ wgsl: cubeOptions.wgsl.replaceAll("result", "// result\n  _") }, "never uses result");
});

Deno.test("kernel() says what is wrong with a call, before the device", () => {
  assertThrows(() => cube(), TypeError, "there are 0 operands, expected 1 tensors (x)");
  assertThrows(() => cube(3 as unknown as Tensor), TypeError, "x is 3");
  const odd = kernel({ ...cubeOptions, output: (x) => ({ ...x, shape: [-1] }) });
  assertThrows(() => odd(ones([2])), Error, "Cannot run kernel cube");
  const silent = kernel({ ...cubeOptions, output: () => undefined as never });
  assertThrows(() => silent(ones([2])), TypeError, "its output is undefined, expected { shape");
  const many = kernel({ ...cubeOptions, workgroups: () => [1, 70_000] });
  assertThrows(() => many(ones([2])), RangeError, "workgroups are 1, 70000, 1");
  const whole = kernel({ ...cubeOptions, output: () => ({ shape: [2], dtype: "f32" }) });
  assertThrows(() => whole(zeros([0])), TypeError, "x is Tensor f32[0], expected some elements");
  const named = { ...cubeOptions, wgsl: cubeOptions.wgsl.replace("64", "N") };
  assertThrows(() => kernel(named)(ones([2])), TypeError, "its workgroup size is N");
  const { vjp: _, ...plain } = cubeOptions;
  assertThrows(
    () => grad((x: Tensor) => kernel(plain)(x).sum())(ones([2])),
    TypeError,
    "it has no vjp",
  );
  for (const [wrong, found] of [[undefined, "undefined"], [ones([2]), "Tensor f32[2]"]] as const) {
    const bare = kernel({ ...cubeOptions, vjp: () => wrong as never });
    assertThrows(
      () => grad((x: Tensor) => bare(x).sum())(ones([2])),
      TypeError,
      `Cannot pull back through cube: the rule returned ${found}, expected an array`,
    );
  }
});

Deno.test("a text that does not compile is reported with its own line", async () => {
  await gpu();
  const broken = kernel({
    ...cubeOptions,
    name: "broken",
    wgsl: cubeOptions.wgsl.replace("result[id.x] = ", "result[id.x] = wrong + "),
  });
  const error = await assertRejects(async () => {
    await broken(ones([2])).data();
    await synchronize();
  }, Error);
  assert(error.message.includes("broken"), error.message);
  // The fifth line of the text, its first being empty.
  assert(/:5:\d+/.test(error.message) && error.message.includes("wrong"), error.message);
});
