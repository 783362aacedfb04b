/**
 * `deno task bench:gpu`: what a GPU reaches. Products in GFLOP/s, element-wise operations and norms in
 * per cent of the bandwidth of a copy, a training step of a GPT; and the same in PyTorch, f32 without
 * TF32, where Python and PyTorch are at hand.
 *
 * @module
 */
import { parseArgs } from "@std/cli";
import { fromFileUrl } from "@std/path";
import * as rg from "../mod.ts";
import { context } from "../runtime/context.ts";
import { toEnd } from "./end.ts";

const help = `Usage: deno task bench:gpu [OPTION...]

  --scale S      sizes, as a share of those for a large GPU [default: 1]
  --tune         tune the kernels before they are measured
  --python NAME  Python with PyTorch, or "none"; one that is no python3 of the PATH needs
                 deno run -A bench/gpu.ts [default: python3]
  --json         everything measured, as JSON
  --help`;

/** The sizes of everything: those of PyTorch's side, too. */
export interface Sizes {
  readonly matmul: number;
  readonly elements: number;
  readonly rows: number;
  readonly columns: number;
  readonly gpt: {
    readonly layers: number;
    readonly features: number;
    readonly heads: number;
    readonly context: number;
    readonly batch: number;
    readonly vocabulary: number;
  };
}

/** Sizes for a share of a large GPU: lengths by its cube root, or so, never below what makes sense. */
export function sizesFor(scale: number): Sizes {
  const fours = (n: number, least: number) => Math.max(least, 4 * Math.round(n / 4));
  const side = Math.cbrt(scale);
  return {
    matmul: fours(4096 * side, 16),
    elements: fours(2 ** 25 * scale, 1024),
    rows: fours(8192 * scale, 16),
    columns: fours(4096 * side, 64),
    gpt: {
      layers: scale < 0.1 ? 1 : 12,
      features: 12 * fours(64 * side, 4),
      heads: 12,
      context: fours(512 * side, 8),
      batch: Math.max(1, Math.round(8 * side)),
      vocabulary: fours(8192 * side, 32),
    },
  };
}

/** One measurement: seconds of a run, and what it does. */
export interface Measurement {
  readonly name: string;
  readonly seconds: number;
  /** Floating-point operations, or bytes that must be moved; neither for whole steps. */
  readonly flops?: number;
  readonly bytes?: number;
}

/** What came out. */
export interface Report {
  readonly adapter: string;
  readonly driver: string;
  readonly kind: string;
  readonly deno: string;
  readonly sizes: Sizes;
  /** Bytes per second of a copy within the device, read and written counted both. */
  readonly copy: number;
  readonly ours: readonly Measurement[];
  /** PyTorch's, by the same names; or why there is none. */
  readonly torch:
    | { readonly version: string; readonly times: Readonly<Record<string, number>> }
    | string;
}

/** Bytes per second of copies from buffer to buffer, bursts of two lengths differenced. */
async function copyBandwidth(bytes: number): Promise<number> {
  const { gpu } = context("measure").device;
  const usage = GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
  const [a, b] = [
    gpu.createBuffer({ size: bytes, usage }),
    gpu.createBuffer({ size: bytes, usage }),
  ];
  const wall = async (times: number): Promise<number> => {
    const encoder = gpu.createCommandEncoder();
    for (let i = 0; i < times; i++) encoder.copyBufferToBuffer(a, 0, b, 0, bytes);
    const start = performance.now();
    gpu.queue.submit([encoder.finish()]);
    await gpu.queue.onSubmittedWorkDone();
    return (performance.now() - start) / 1e3;
  };
  await wall(1);
  // As many as take a while, so that the wait is small beside them.
  let times = 1;
  while (times < 4096 && await wall(times) < 0.03) times *= 2;
  const seconds = [];
  for (let round = 0; round < 5; round++) {
    seconds.push((await wall(3 * times) - await wall(times)) / (2 * times));
  }
  a.destroy();
  b.destroy();
  return 2 * bytes / Math.max(1e-9, seconds.sort((x, y) => x - y)[2]!);
}

/** Our side. */
async function measureOurs(sizes: Sizes, tuned: boolean): Promise<Measurement[]> {
  const normal = (seed: number, shape: readonly number[]) =>
    rg.realize(rg.random.normal(rg.random.key(seed), shape));
  const found: Measurement[] = [];
  const add = async (
    name: string,
    f: (...args: rg.Tensor[]) => unknown,
    args: readonly rg.Tensor[],
    work: Partial<Measurement>,
  ): Promise<void> => {
    const compiled = rg.compile(f as (...args: rg.Tensor[]) => rg.Tree, { name });
    if (tuned) await rg.tune(() => compiled(...args));
    const { time } = await rg.profile(compiled, args, { runs: 9 });
    found.push({ name, seconds: time, ...work });
    compiled.dispose();
  };
  const { matmul: n, elements, rows, columns, gpt } = sizes;
  await add("matmul", (a, b) => a!.matmul(b!), [await normal(1, [n, n]), await normal(2, [n, n])], {
    flops: 2 * n ** 3,
  });
  const x = await normal(3, [elements]), bytes = 8 * elements;
  await add("gelu", (x) => x!.gelu({ approximate: "tanh" }), [x], { bytes });
  await add("add", (x, y) => x!.add(y!), [x, await normal(4, [elements])], { bytes: 1.5 * bytes });
  const y = await normal(5, [rows, columns]), table = 8 * rows * columns;
  await add("softmax", (y) => y!.softmax(-1), [y], { bytes: table });
  const norm = rg.nn.layerNorm(columns), params = await rg.realize(norm.init(rg.random.key(0)));
  await add("layer norm", (y) => norm.apply(params, y!), [y], { bytes: table });
  await add("sum of columns", (y) => y!.sum(0), [y], { bytes: table / 2 });
  found.push(await measureGpt(gpt, tuned));
  return found;
}

async function measureGpt(
  { layers, features, heads, context, batch, vocabulary }: Sizes["gpt"],
  tuned: boolean,
): Promise<Measurement> {
  const model = rg.nn.gpt({ layers, features, heads, length: context, vocabulary });
  const optimizer = rg.optim.adamw({ rate: 1e-4 });
  let state: rg.optim.State = await rg.realize(optimizer.init(model.init(rg.random.key(0))));
  const tokens = (seed: number) =>
    rg.realize(rg.random.randint(rg.random.key(seed), [batch, context], 0, vocabulary));
  const [x, y] = [await tokens(1), await tokens(2)];
  const step = rg.compile((state: rg.optim.State, x: rg.Tensor, y: rg.Tensor) => {
    const loss = (params: rg.Tree) => rg.nn.crossEntropy(model.apply(params as never, x), y);
    const [value, gradient] = rg.valueAndGrad(loss)(state.params);
    return [optimizer.update(state, gradient), value] as const;
  }, { donate: [0], name: "GPT step" });
  const run = () => void ([state] = step(state, x, y));
  if (tuned) await rg.tune(run);
  run();
  await rg.synchronize();
  const count = 5, start = performance.now();
  for (let i = 0; i < count; i++) run();
  await rg.synchronize();
  return { name: "GPT step", seconds: (performance.now() - start) / count / 1e3 };
}

/** PyTorch's side, in a process of its own. */
async function measureTorch(sizes: Sizes, python: string): Promise<Report["torch"]> {
  if (python === "none") return "not asked for";
  try {
    const program = fromFileUrl(new URL("./gpu.py", import.meta.url));
    const { success, stdout, stderr } = await new Deno.Command(python, {
      args: [program, JSON.stringify(sizes)],
      stdin: "null",
    }).output();
    const text = new TextDecoder().decode(success ? stdout : stderr).trim();
    return success ? JSON.parse(text) : text.split("\n").at(-1)! || "it failed";
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function show({ adapter, driver, kind, deno, copy, ours, torch }: Report): string {
  const times: Readonly<Record<string, number>> = typeof torch === "string" ? {} : torch.times;
  return [
    `${adapter} (${kind})${driver && `, driver ${driver}`}, Deno ${deno}; ` +
    `PyTorch: ${typeof torch === "string" ? torch : torch.version}`,
    `copy: ${(copy / 1e9).toFixed(1)} GB/s`,
    "",
    "| what           |        time |  GFLOP/s |     GB/s | of a copy | PyTorch / ours |",
    "| -------------- | ----------: | -------: | -------: | --------: | -------------: |",
    ...ours.map(({ name, seconds, flops, bytes }) => {
      const rate = (amount: number | undefined) =>
        amount === undefined ? "" : (amount / seconds / 1e9).toFixed(1);
      const share = bytes === undefined ? "" : `${(100 * bytes / seconds / copy).toFixed(0)} %`;
      const ratio = times[name] === undefined ? "" : `${(times[name] / seconds).toFixed(3)}×`;
      return `| ${name.padEnd(14)} | ${`${(1e3 * seconds).toFixed(3)} ms`.padStart(11)} | ${
        rate(flops).padStart(8)
      } | ${rate(bytes).padStart(8)} | ${share.padStart(9)} | ${ratio.padStart(14)} |`;
    }),
  ].join("\n");
}

async function main(args: readonly string[]): Promise<void> {
  const fail = (what: string, expected: string): never => {
    throw new TypeError(`Cannot measure the GPU: ${what}, expected ${expected}`);
  };
  const flags = parseArgs([...args], {
    boolean: ["tune", "json", "help"],
    string: ["scale", "python"],
    default: { scale: "1", python: "python3" },
    unknown: (arg) => fail(`${arg} is unknown`, "what --help lists"),
  });
  if (flags.help) return console.log(help);
  const scale = Number(flags.scale);
  if (!(scale > 0 && scale <= 1)) {
    fail(`--scale is "${flags.scale}"`, "a number above 0 and at most 1");
  }
  const { name: adapter, driver, kind } = await rg.init();
  const sizes = sizesFor(scale);
  const copy = await copyBandwidth(4 * sizes.elements);
  const ours = await measureOurs(sizes, flags.tune);
  const torch = await measureTorch(sizes, flags.python);
  const report: Report = {
    adapter,
    driver,
    kind,
    deno: Deno.version.deno,
    sizes,
    copy,
    ours,
    torch,
  };
  console.log(flags.json ? JSON.stringify(report, null, 2) : show(report));
}

if (import.meta.main) await toEnd(() => main(Deno.args));
