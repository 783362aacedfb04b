import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { ones, tensor } from "../../graph/create.ts";
import { where } from "../../graph/operations.ts";
import { loop, scan } from "../../graph/scan.ts";
import type { Tensor } from "../../graph/tensor.ts";
import { customVjp, grad, jvp, valueAndGrad, vmap } from "../../graph/transforms.ts";
import { compile } from "../../runtime/compile.ts";
import { debugPrint, showValue } from "../../runtime/debug.ts";
import { init, memory } from "../../runtime/init.ts";
import { locateNaN } from "../../runtime/inspect.ts";
import { profile } from "../../runtime/profile.ts";

await init({ software: "allow" });

/** What is printed while `f` runs. */
async function printed(f: () => Promise<unknown>): Promise<string[]> {
  const lines: string[] = [];
  const { log, error } = console;
  console.log = console.error = (text: string) => lines.push(text);
  try {
    await f();
  } finally {
    Object.assign(console, { log, error });
  }
  return lines;
}

Deno.test("locateNaN() names the region, the expression and the line", async () => {
  const f = (x: Tensor, y: Tensor) => {
    const a = x.matmul(y);
    const b = a.sub(10).sqrt();
    return b.sum();
  };
  const found = await locateNaN(f, [ones([2, 3]), ones([3, 2])]);
  assert(found !== undefined);
  assertEquals(found.value, "NaN");
  assert(found.count > 0 && found.region !== undefined);
  assertMatch(`${found}`, /region \d+ .*: .* the first is NaN at \[/);
  assertMatch(`${found}`, /sqrt/);
  assertMatch(found.source ?? "", /inspect_test\.ts:\d+/);
  assertEquals(await locateNaN(f, [ones([2, 3]).mul(5), ones([3, 2])]), undefined);
});

/** The text of the line that is named in this file. */
async function lineOf(source: string | undefined): Promise<string> {
  const line = Number(/inspect_test\.ts:(\d+)/.exec(source ?? "")?.[1]);
  return (await Deno.readTextFile(new URL(import.meta.url))).split("\n")[line - 1]?.trim() ?? "";
}

Deno.test("locateNaN() names the operation inside a region, not what is fused around it", async () => {
  const step = compile((w: Tensor, x: Tensor) => {
    const h = x.matmul(w).tanh();
    const bad = h.sub(0.5).log();
    return [bad.softmax(-1).sum(), h.mean()];
  }, { donate: [0] });
  const w = tensor([[1, 0], [0, -1]]), x = ones([2, 2]);
  const found = await locateNaN(step, [w, x]);
  assertMatch(found?.expression ?? "", /^log\((sub|add)\(/);
  assertEquals(await lineOf(found?.source), "const bad = h.sub(0.5).log();");
  assertEquals(await w.array(), [[1, 0], [0, -1]]);
});

Deno.test("locateNaN() finds the user's line where only a derivative is not finite", async () => {
  const loss = (w: Tensor) => {
    const length = w.square().sum(-1).sqrt();
    return length.sum();
  };
  const found = await locateNaN((w: Tensor) => valueAndGrad(loss)(w), [tensor([[1, 2], [0, 0]])]);
  assert(found !== undefined);
  assertMatch(found.expression ?? "", /^derivative of sqrt\(sum\(/);
  assertEquals(await lineOf(found.source), "const length = w.square().sum(-1).sqrt();");
  // The derivative of a derivative, in forward mode, and of a batch.
  const cube = (x: Tensor) => {
    const y = x.pow(1.5);
    return y.sum();
  };
  const twice = (x: Tensor) => grad((x: Tensor) => grad(cube)(x).sum())(x);
  const once = (f: (x: Tensor) => Tensor) => (x: Tensor) => jvp(f, [x], [ones([2])])[1];
  const cases: [(x: Tensor) => Tensor, RegExp][] = [
    [twice, /^derivative of /],
    [once(grad(cube)), /^derivative of /],
    [once((x) => x.sqrt().sum()), /^derivative of sqrt/],
    [vmap((x: Tensor) => grad((x: Tensor) => x.sqrt())(x)), /^derivative of sqrt/],
  ];
  for (const [f, expression] of cases) {
    const found = await locateNaN(f, [tensor([4, 0])]);
    assertMatch(found?.expression ?? "", expression);
    assertMatch(found?.source ?? "", /inspect_test\.ts:\d+/);
  }
});

Deno.test("locateNaN() looks into functions with a rule of their own", async () => {
  const safe = customVjp((x: Tensor) => {
    const low = x.sub(1);
    return low.log();
  }, (g, y, x) => {
    const slope = y.add(1).sqrt();
    return [g.mul(slope).div(x)];
  });
  const forwards = await locateNaN((x: Tensor) => safe(x).mul(2).sum(), [tensor([2, 0.5])]);
  assertMatch(forwards?.expression ?? "", /^log\(/);
  assertEquals(await lineOf(forwards?.source), "return low.log();");
  const loss = (x: Tensor) => safe(x).sum();
  const back = await locateNaN((x: Tensor) => grad(loss)(x), [tensor([2, 1.1])]);
  assertMatch(back?.expression ?? "", /^sqrt\(/);
  assertEquals(await lineOf(back?.source), "const slope = y.add(1).sqrt();");
});

Deno.test("locateNaN() looks into the bodies of loops, at the step that did it", async () => {
  const shrink = (x: Tensor) =>
    loop(
      (y: Tensor, i: Tensor) => {
        const less = y.sub(i.cast("f32"));
        return less.sqrt();
      },
      x,
      { length: 9 },
    );
  const f = (x: Tensor) => shrink(x.mul(2)).add(1).sum();
  const found = await locateNaN(f, [tensor([50, 100])]);
  assertMatch(found?.expression ?? "", /^sqrt\(sub\(/);
  assertEquals(await lineOf(found?.source), "return less.sqrt();");
  // A row that is bad while the carry never is, forwards and in reverse; scans inside scans.
  for (const reverse of [false, true]) {
    const rows = (x: Tensor, xs: Tensor) =>
      scan(
        (c: Tensor, row: Tensor) => {
          const [, inner] = scan(
            (d: Tensor, y: Tensor) => {
              const bad = y.sub(d).log();
              return [d.mul(1), bad];
            },
            c,
            row,
          );
          return [c.add(0.5), inner];
        },
        x,
        xs,
        { reverse },
      )[1];
    const xs = tensor([[9, 8], [7, 0.5], [9, 9]]);
    const found = await locateNaN(rows, [tensor(0), xs]);
    assertMatch(found?.expression ?? "", /^log\(sub\(/);
    assertEquals(await lineOf(found?.source), "const bad = y.sub(d).log();");
  }
});

Deno.test("locateNaN() looks into the way back through a loop", async () => {
  const f = (x: Tensor) =>
    scan(
      (c: Tensor, row: Tensor) => {
        const root = c.mul(row).sqrt();
        return [root.add(row), null];
      },
      x,
      tensor([1, 4, 0, 9]),
    )[0].sum();
  const found = await locateNaN((x: Tensor) => grad(f)(x), [tensor([1, 2])]);
  assertMatch(found?.expression ?? "", /^derivative of sqrt\(/);
  assertEquals(await lineOf(found?.source), "const root = c.mul(row).sqrt();");
});

Deno.test("locateNaN() does not blame what a where() hides", async () => {
  const f = (x: Tensor) => {
    const safe = where(x.greater(0), x.log(), 0);
    const bad = safe.sub(2).sqrt();
    return bad.sum();
  };
  const found = await locateNaN(f, [tensor([-1, 2])]);
  assertEquals(await lineOf(found?.source), "const bad = safe.sub(2).sqrt();");
});

Deno.test("locateNaN() looks at arguments first, and at infinities where asked", async () => {
  const f = (x: Tensor) => x.reciprocal();
  const bad = await locateNaN(f, [tensor([[1, 2], [NaN, 3]])]);
  assertEquals([bad?.region, bad?.index, bad?.label], [undefined, [1, 0], "argument leaf 0"]);
  assertEquals((await locateNaN(f, [tensor([1, 0])]))?.value, "Infinity");
  assertEquals(await locateNaN(f, [tensor([1, 0])], { infinities: false }), undefined);
});

Deno.test("locateNaN() and profile() leave donated arguments alone", async () => {
  const step = compile((x: Tensor) => x.mul(2), { donate: [0] });
  const x = tensor([1, 2]);
  assertEquals(await locateNaN(step, [x]), undefined);
  await profile(step, [x], { runs: 2 });
  assertEquals(await x.array(), [1, 2]);
  assertEquals(await step(x).array(), [2, 4]);
});

Deno.test("profile() tells time, bytes and arithmetic of every region", async () => {
  const x = ones([128, 128]);
  await x.data();
  const f = compile((x: Tensor) => x.matmul(x).sum(0), { name: "product" });
  f(x);
  const { live } = memory();
  const result = await profile(f, [x], { runs: 3 });
  assertEquals(result.name, "product");
  assertEquals(result.regions.length, f.programs()[0]!.dispatches.length);
  assert(result.time > 0 && result.host > 0);
  const [product] = result.regions;
  assert(product!.flops >= 2 * 128 ** 3);
  if (product!.time !== undefined) {
    assert(product!.time > 0);
    const shares = result.regions.reduce((sum, region) => sum + region.share!, 0);
    assert(Math.abs(shares - 1) < 1e-6);
  }
  assertMatch(`${result}`, /product on .* dispatches[^]*GB\/s +GFLOP\/s +region/);
  assert(memory().live - memory().kinds.idle.live <= live);
});

Deno.test("debugPrint() prints what a traced function computes, every time it runs", async () => {
  const f = compile((x: Tensor) => debugPrint(x.mul(2), "twice").sum());
  const lines = await printed(async () => {
    const a = f(tensor([1, 2])), b = f(tensor([3, 4]));
    assertEquals([await a.item(), await b.item()], [6, 14]);
  });
  assertEquals(lines, [
    "twice: f32[2] [2, 4] min 2 mean 3 max 4",
    "twice: f32[2] [6, 8] min 6 mean 7 max 8",
  ]);
});

Deno.test("debugPrint() prints inside functions that are differentiated, compiled or not", async () => {
  const f = (x: Tensor) => debugPrint(x.square(), "square").sum();
  const x = tensor([1, 2]);
  const lines = await printed(async () => {
    assertEquals(await grad(f)(x).array(), [2, 4]);
    const [, tangent] = jvp(f, [x], [ones([2])]);
    assertEquals(await tangent.item(), 6);
    assertEquals(await compile((x: Tensor) => grad(f)(x))(x).array(), [2, 4]);
  });
  const line = "square: f32[2] [1, 4] min 1 mean 2.5 max 4";
  assertEquals(lines, [line, line, line]);
});

Deno.test("debugPrint() says what it cannot print", () => {
  assertThrows(() => debugPrint(3 as never), TypeError, "Cannot print: an operand is 3");
});

Deno.test("debugPrint() says where it cannot print", async () => {
  const warnings: string[] = [];
  const { warn } = console;
  console.warn = (text: string) => warnings.push(text);
  try {
    const f = vmap((x: Tensor) => debugPrint(x.square(), "square").sum());
    assertEquals(await f(tensor([[1, 2], [3, 4]])).array(), [5, 25]);
  } finally {
    console.warn = warn;
  }
  assertEquals(warnings, ["square: cannot be printed inside a loop, vmap or a custom rule"]);
});

Deno.test("showValue() is one line that shows whether a value is sane", () => {
  const show = (...values: number[]) =>
    showValue("x", { dtype: "f32", shape: [values.length] }, Float32Array.from(values));
  assertEquals(show(1.5), "x: f32[1] [1.5]");
  assertEquals(show(NaN, 1, 3), "x: f32[3] [NaN, 1, 3] min 1 mean 2 max 3, 1 NaN");
  assertMatch(show(...Array.from({ length: 9 }, (_, i) => i)), /7, …\] min 0 mean 4 max 8$/);
});

Deno.test("RETROGRAD_DEBUG prints the stages of every compile", async () => {
  Deno.env.set("RETROGRAD_DEBUG", "regions, memory");
  try {
    const lines = await printed(() =>
      compile((x: Tensor) => x.add(41), { name: "shown" })(tensor([1])).data()
    );
    assertEquals(lines.length, 2);
    assertMatch(lines[0]!, /── shown: regions ──/);
    assertMatch(lines[1]!, /── shown: memory ──/);
  } finally {
    Deno.env.delete("RETROGRAD_DEBUG");
  }
});
