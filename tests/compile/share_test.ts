/**
 * Kernels that differ in sizes share one text, device-free: also within the body of a loop, and
 * there only once.
 */
import { assert, assertEquals } from "@std/assert";
import { compileGraph } from "../../compile/compile.ts";
import type { Dispatch } from "../../compile/program.ts";
import { shareKernels } from "../../compile/share.ts";
import type { Kernel } from "../../kernels/kernel.ts";
import { parameter } from "../../graph/build.ts";
import { zeros } from "../../graph/create.ts";
import { scan } from "../../graph/scan.ts";
import { Tensor } from "../../graph/tensor.ts";
import { target } from "./target.ts";

const kernel = (n: number, m: number): Kernel => ({
  label: "test",
  wgsl: `@compute @workgroup_size(64)\nfn main() {\nlet x = ${n} + ${m};\nbuf0[x] = ${n};\n}\n`,
  access: ["write"],
  uniforms: new Uint32Array(4),
  workgroups: [1, 1, 1],
  flops: 0,
  bytes: 0,
  f16: false,
});
const dispatch = (kernel: Kernel): Dispatch => ({ kernel, slots: [0], avals: [], expression: "" });

Deno.test("shareKernels() moves what differs to a uniform", () => {
  const shared = shareKernels([dispatch(kernel(3, 5)), dispatch(kernel(4, 5))]);
  const [a, b] = shared.map(({ kernel }) => kernel) as [Kernel, Kernel];
  assertEquals(a.wgsl, b.wgsl);
  assert(a.wgsl.includes("let x = size0 + 5;"), a.wgsl);
  assertEquals([...a.uniforms!, ...b.uniforms!], [0, 3, 0, 0, 0, 4, 0, 0]);
});

Deno.test("shareKernels() leaves alone what shares a text already", () => {
  const inner = shareKernels([dispatch(kernel(3, 5)), dispatch(kernel(4, 5))]);
  const other = shareKernels([dispatch(kernel(3, 6)), dispatch(kernel(4, 6))]);
  // Both texts read a size, and differ in a number.
  const all = shareKernels([...inner, ...other, dispatch(kernel(7, 8)), dispatch(kernel(9, 8))]);
  assertEquals(all.slice(0, 4), [...inner, ...other]);
  assertEquals(all[4]!.kernel.uniforms![1], 7);
  for (const { kernel } of all) assertEquals(kernel.wgsl.match(/let size0/g)?.length, 1);
});

Deno.test("bodies of loops that share texts do so once, whatever is around them", () => {
  // Equal up to sizes within each body, and from body to body up to a constant.
  const body = (factor: number) => (x: Tensor[]): [Tensor[], null] => [
    x.map((x) => x.matmul(x).tanh().matmul(x).add(x.sum(0)).mul(factor)),
    null,
  ];
  const start = [40, 60, 80].map((n) => zeros([n, n]));
  const results = [2, 3].flatMap((factor) =>
    scan(body(factor), start.map((x) => x.add(factor)), null, { length: 5 })[0]
  );
  const graph = { name: "test", parameters: [], results: results.map((x) => x.node) };
  for (const { kernel } of compileGraph(graph, { verify: true }, target).dispatches) {
    assert((kernel.wgsl.match(/let size0 =/g)?.length ?? 0) <= 1, kernel.wgsl);
  }
});

Deno.test("equal regions of small values have one text, those of large ones work in place", () => {
  const kernels = (n: number) => {
    const x = parameter(0, { shape: [n], dtype: "f32" });
    let h = new Tensor(x);
    for (let i = 0; i < 500; i++) h = h.mul(1.01).tanh();
    const graph = { name: "test", parameters: [x], results: [h.node] };
    const { dispatches, memory } = compileGraph(graph, { verify: true }, target);
    const texts = new Set(dispatches.map(({ kernel }) => kernel.wgsl));
    return { dispatches: dispatches.length, texts: texts.size, workspace: memory.workspace };
  };
  // The first reads the argument, which is not given up, and the last is shorter.
  assertEquals(kernels(256), { dispatches: 4, texts: 2, workspace: 1024 });
  assertEquals(kernels(8192), { dispatches: 4, texts: 3, workspace: 32768 });
});
