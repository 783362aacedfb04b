/**
 * Index expressions against brute force: every value of every variable, through the simplifier and
 * through the text that reaches the shader.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import {
  add,
  advance,
  clamp,
  constant,
  dependsOn,
  div,
  factorOf,
  flatten,
  inBlocks,
  type Index,
  isMultiple,
  mod,
  offset,
  onlyQuotient,
  scale,
  type Step,
  substitute,
  toWGSL,
  unflatten,
  variable,
} from "../../kernels/index.ts";
import { seed } from "../gpu.ts";

/** An expression as it was asked for. */
type Recipe =
  | { readonly is: "variable"; readonly name: number }
  | { readonly is: "constant"; readonly value: number }
  | { readonly is: "add"; readonly a: Recipe; readonly b: Recipe }
  | { readonly is: "scale" | "offset" | "div" | "mod"; readonly a: Recipe; readonly by: number }
  | { readonly is: "clamp"; readonly a: Recipe; readonly low: number; readonly high: number };

const names = ["x", "y", "z"] as const;
type Values = readonly number[];

function build(recipe: Recipe, sizes: Values): Index {
  switch (recipe.is) {
    case "variable":
      return variable(names[recipe.name]!, sizes[recipe.name]!);
    case "constant":
      return constant(recipe.value);
    case "add":
      return add(build(recipe.a, sizes), build(recipe.b, sizes));
    case "scale":
      return scale(build(recipe.a, sizes), recipe.by);
    case "offset":
      return offset(build(recipe.a, sizes), recipe.by);
    case "div":
      return div(build(recipe.a, sizes), recipe.by);
    case "mod":
      return mod(build(recipe.a, sizes), recipe.by);
    case "clamp":
      return clamp(build(recipe.a, sizes), recipe.low, recipe.high);
  }
}

function expected(recipe: Recipe, values: Values): number {
  switch (recipe.is) {
    case "variable":
      return values[recipe.name]!;
    case "constant":
      return recipe.value;
    case "add":
      return expected(recipe.a, values) + expected(recipe.b, values);
    case "scale":
      return expected(recipe.a, values) * recipe.by;
    case "offset":
      return expected(recipe.a, values) + recipe.by;
    case "div":
      return Math.floor(expected(recipe.a, values) / recipe.by);
    case "mod": {
      const a = expected(recipe.a, values);
      return a - recipe.by * Math.floor(a / recipe.by);
    }
    case "clamp":
      return Math.min(recipe.high, Math.max(recipe.low, expected(recipe.a, values)));
  }
}

/** The text as a function of the variables, dividing as WGSL does, and complaining where it would
 * divide a negative number. */
function compiled(e: Index): (values: Values) => number {
  const lines: string[] = [];
  const known = new Map<string, string>();
  const result = toWGSL(e, (key, text) => {
    let name = known.get(key);
    if (name === undefined) {
      known.set(key, name = `t${known.size}`);
      const quotient = text.match(/^\((.*)\) ([/%]) (\d+)$/);
      lines.push(
        quotient === null
          ? `const ${name} = ${text};`
          : `const ${name} = divide((${quotient[1]}), "${quotient[2]}", ${quotient[3]});`,
      );
    }
    return name;
  });
  const divide = (a: number, op: string, b: number): number => {
    if (a < 0) throw new Error(`${a} ${op} ${b}: a negative dividend`);
    return op === "/" ? Math.trunc(a / b) : a % b;
  };
  const hold = (a: number, low: number, high: number): number => Math.min(high, Math.max(low, a));
  const f = new Function(
    "divide",
    "clamp",
    ...names,
    `${lines.join("\n")}\nreturn ${result};`,
  ) as (divide: unknown, clamp: unknown, ...values: number[]) => number;
  return (values) => f(divide, hold, ...values);
}

function* everyValue(sizes: Values): Generator<Values> {
  const [p, q, r] = sizes as [number, number, number];
  for (let x = 0; x < p; x++) {
    for (let y = 0; y < q; y++) for (let z = 0; z < r; z++) yield [x, y, z];
  }
}

/** -0 is 0 here. */
const plain = (x: number): number => x + 0;

function checkEverywhere(e: Index, sizes: Values, want: (values: Values) => number): void {
  const f = compiled(e);
  for (const values of everyValue(sizes)) {
    const wanted = plain(want(values));
    assert(e.min <= wanted && wanted <= e.max, `${wanted} outside of ${e.min}…${e.max}`);
    assertEquals(plain(f(values)), wanted, `at ${values}: ${e.key}`);
    const place = new Map(names.map((name, i) => [name, constant(values[i]!)]));
    assertEquals(substitute(e, place).constant + 0, wanted, `substituted at ${values}: ${e.key}`);
  }
}

const sizes = fc.tuple(...names.map(() => fc.constantFrom(1, 2, 3, 4, 5, 6, 8, 12)));
const divisor = fc.constantFrom(1, 2, 3, 4, 5, 6, 8, 12, 24, 7);
const { recipe } = fc.letrec<{ recipe: Recipe }>((tie) => ({
  recipe: fc.oneof(
    { maxDepth: 6, withCrossShrink: true },
    fc.record({ is: fc.constant("variable" as const), name: fc.nat(2) }),
    fc.record({ is: fc.constant("constant" as const), value: fc.integer({ min: -20, max: 20 }) }),
    fc.record({ is: fc.constant("add" as const), a: tie("recipe"), b: tie("recipe") }),
    fc.record({
      is: fc.constant("scale" as const),
      a: tie("recipe"),
      by: fc.constantFrom(-4, -2, -1, 0, 1, 2, 3, 4, 6, 12),
    }),
    fc.record({
      is: fc.constant("offset" as const),
      a: tie("recipe"),
      by: fc.integer({ min: -15, max: 15 }),
    }),
    fc.record({ is: fc.constant("div" as const), a: tie("recipe"), by: divisor }),
    fc.record({ is: fc.constant("mod" as const), a: tie("recipe"), by: divisor }),
    fc.record({
      is: fc.constant("clamp" as const),
      a: tie("recipe"),
      low: fc.integer({ min: 0, max: 3 }),
      high: fc.integer({ min: 3, max: 12 }),
    }),
  ) as fc.Arbitrary<Recipe>,
}));

const options = { seed: seed(), numRuns: 3000 };

Deno.test("index expressions are exact over the ranges of their variables", () => {
  fc.assert(
    fc.property(recipe, sizes, (recipe, sizes) => {
      checkEverywhere(build(recipe, sizes), sizes, (values) => expected(recipe, values));
    }),
    options,
  );
});

/** The expression with all variables of {@linkcode names} given, and perhaps others. */
function valueOf(e: Index, [x, y, z]: Values, others: ReadonlyMap<string, Index> = new Map()) {
  const given = names.map((name, i) => [name, constant([x!, y!, z!][i]!)] as const);
  return substitute(e, new Map([...given, ...others])).constant + 0;
}

Deno.test("neighbours share the quotient of the first, or have the next", () => {
  let carried = 0;
  fc.assert(
    fc.property(recipe, sizes, (recipe, sizes) => {
      const e = build(recipe, sizes), alone = onlyQuotient(e, "z");
      const [p, q, r] = sizes as [number, number, number];
      for (let z = 1; z < r; z++) {
        const steps: Step[] = [];
        const moved = advance(e, "z", z, (step) => {
          assert(step.step > 0 && step.step <= step.by);
          steps.push(step);
          return variable(`step${steps.length - 1}`, step.max + 1);
        });
        assert(!dependsOn(moved, "z"));
        for (const [x, y] of everyValue([p, q, 1])) {
          const at = [x!, y!, z];
          const values = steps.map(({ is, base, by, step, max }, i) => {
            const from = valueOf(base, at) + step, quotient = Math.floor(from / by);
            const value = is === "quotient" ? quotient : from - quotient * by;
            assert(value >= 0 && value <= max);
            return [`step${i}`, constant(value)] as const;
          });
          assertEquals(valueOf(moved, at, new Map(values)), valueOf(e, at), `at ${at}: ${e.key}`);
          if (alone === undefined) continue;
          // Where it is in one quotient with the first, it is the same as there.
          const same = [0, z].map((z) => Math.floor(valueOf(alone.of, [x!, y!, z]) / alone.by));
          if (same[0] === same[1]) assertEquals(valueOf(e, at), valueOf(e, [x!, y!, 0]));
        }
        carried += steps.length;
      }
    }),
    options,
  );
  assert(carried > 100);
});

/** Shapes of the same size. */
const reshapes = fc.constantFrom<readonly [readonly number[], readonly number[]]>(
  [[12], [3, 4]],
  [[4, 3], [3, 4]],
  [[2, 6], [4, 3]],
  [[2, 3, 4], [4, 6]],
  [[5, 4], [2, 10]],
  [[24], [2, 3, 4]],
  [[1, 7], [7, 1, 1]],
);

Deno.test("flips and permutes between reshapes are exact", () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(reshapes, fc.boolean(), fc.boolean()), { maxLength: 4 }),
      (steps) => {
        let size = 12;
        if (steps.length > 0) size = steps[0]![0][0].reduce((n, d) => n * d, 1);
        const x = variable("x", size);
        let position: Index = x;
        let want = (p: number): number => p;
        for (const [[from, to], flip, turn] of steps) {
          const n = from.reduce((n, d) => n * d, 1);
          if (n !== size) continue;
          const before = want;
          // Split by one shape, turn it over, join by the other.
          let index = unflatten(position, from);
          const plainIndex = (p: number): number[] => {
            const result: number[] = [];
            for (let i = from.length - 1; i >= 0; i--) {
              result[i] = p % from[i]!;
              p = Math.floor(p / from[i]!);
            }
            return result;
          };
          if (flip) index = index.map((e, i) => offset(scale(e, -1), from[i]! - 1));
          const shape = turn ? [...from].reverse() : from;
          if (turn) index = [...index].reverse();
          position = flatten(index, shape);
          want = (p) => {
            let at = plainIndex(before(p));
            if (flip) at = at.map((e, i) => from[i]! - 1 - e);
            if (turn) at.reverse();
            return at.reduce((sum, e, i) => sum * shape[i]! + e, 0);
          };
          position = flatten(unflatten(position, to), to);
        }
        checkEverywhere(position, [size, 1, 1], ([p]) => want(p!));
      },
    ),
    options,
  );
});

const shape = fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 0, maxLength: 4 });

Deno.test("flatten() of unflatten() is the expression itself", () => {
  fc.assert(
    fc.property(shape, (shape) => {
      const size = shape.reduce((n, d) => n * d, 1);
      const p = variable("p", size);
      assertEquals(flatten(unflatten(p, shape), shape).key, p.key);
      // The same for positions that count in vectors.
      if (size % 4 === 0) {
        const v = add(scale(variable("v", size / 4), 4), variable("lane", 4));
        assertEquals(flatten(unflatten(v, shape), shape).key, v.key);
      }
    }),
    options,
  );
});

Deno.test("unflatten() of flatten() gives the variables back", () => {
  fc.assert(
    fc.property(shape, (shape) => {
      const index = shape.map((n, i) => variable(`i${i}`, n));
      const back = unflatten(flatten(index, shape), shape);
      assertEquals(back.map((e) => e.key), index.map((e) => e.key));
    }),
    options,
  );
});

Deno.test("a reshape there and back costs no arithmetic", () => {
  fc.assert(
    fc.property(reshapes, ([from, to]) => {
      const index = from.map((n, i) => variable(`i${i}`, n));
      const back = unflatten(flatten(unflatten(flatten(index, from), to), to), from);
      assertEquals(back.map((e) => e.key), index.map((e) => e.key));
    }),
    options,
  );
});

Deno.test("cutting a position into windows and back costs no arithmetic", () => {
  // [b, 28, 28, c] as [b, 14, 2, 14, 2, c], the windows apart, and back again.
  const position = variable("i", 3 * 28 * 28 * 5), image = [3, 28, 28, 5];
  const [b, y, x, c] = unflatten(position, image) as [Index, Index, Index, Index];
  const pieces = unflatten(flatten([b, y, x, c], image), [3, 14, 2, 14, 2, 5]);
  const back = unflatten(flatten(pieces, [3, 14, 2, 14, 2, 5]), image);
  assertEquals(flatten(back, image).key, position.key);
  const halves = [pieces[1]!, pieces[2]!];
  assertEquals(flatten(halves, [14, 2]).key, y.key);
});

Deno.test("rows read as longer rows cost no division", () => {
  // [4, 9] padded to 4·11 elements and read as [4, 11]: element (j, p) was (j, p + 2j).
  const j = variable("j", 4), p = variable("p", 3);
  const [row, column] = unflatten(flatten([j, p], [4, 11]), [4, 9]) as [Index, Index];
  assertEquals([row.key, column.key], [j.key, add(p, scale(j, 2)).key]);
});

Deno.test("inBlocks() changes nothing where no clamp does, and stays where clamps do", () => {
  const low = fc.constantFrom(0, 4, 6, 8), length = fc.constantFrom(1, 2, 3, 4, 8, 12);
  const plainRecipe = recipe.filter((r) => !JSON.stringify(r).includes("clamp"));
  fc.assert(
    fc.property(plainRecipe, sizes, low, length, (recipe, sizes, low, length) => {
      const f = compiled(inBlocks(clamp(build(recipe, sizes), low, low + length - 1)));
      for (const values of everyValue(sizes)) {
        const wanted = expected(recipe, values), got = f(values);
        assert(low <= got && got < low + length, `${got} outside of ${low} and ${length} more`);
        if (low <= wanted && wanted < low + length) assertEquals(plain(got), plain(wanted));
      }
    }),
    options,
  );
});

Deno.test("blocks are held as a whole, so vectors stay vectors", () => {
  // Four lanes of 96 vectors, of which a part of 32 begins at 64; heads of 32 numbers in it.
  const lane = variable("lane", 4), r = variable("r", 96);
  const own = clamp(offset(add(scale(r, 4), lane), -256), 0, 127);
  const block = clamp(offset(r, -64), 0, 31);
  assertEquals(inBlocks(own).key, add(scale(block, 4), lane).key);
  const turned = add(scale(mod(own, 32), 16), div(own, 32));
  const whole = add(scale(add(scale(mod(block, 8), 4), lane), 16), div(block, 8));
  assertEquals(inBlocks(turned).key, whole.key);
});

Deno.test("heads taken apart and moved cost one division each", () => {
  // [8·128, 4·32] read as [8, 4, 128, 32].
  const c = variable("c", 1024), x = variable("x", 128);
  const [b, t, h, d] = unflatten(flatten([c, x], [1024, 128]), [8, 128, 4, 32]) as Index[];
  const address = flatten([b!, h!, t!, d!], [8, 4, 128, 32]);
  const parts = [[div(c, 128), 16384], [div(x, 32), 4096], [mod(c, 128), 32], [mod(x, 32), 1]];
  const sum = parts.reduce((s, [e, by]) => add(s, scale(e as Index, by as number)), constant(0));
  assertEquals(address.key, sum.key);
});

Deno.test("equal keys mean equal values, whatever the order of adding", () => {
  fc.assert(
    fc.property(recipe, recipe, sizes, (a, b, sizes) => {
      const [p, q] = [build(a, sizes), build(b, sizes)];
      assertEquals(add(p, q).key, add(q, p).key);
    }),
    options,
  );
});

Deno.test("factorOf(), dependsOn() and isMultiple() tell the truth", () => {
  fc.assert(
    fc.property(recipe, sizes, fc.constantFrom(2, 3, 4), (recipe, sizes, m) => {
      const e = build(recipe, sizes);
      const value = (values: Values) => expected(recipe, values);
      const factor = factorOf(e, "x");
      for (const values of everyValue(sizes)) {
        const [x, y, z] = values as [number, number, number];
        if (!dependsOn(e, "x")) assertEquals(plain(value(values)), plain(value([0, y, z])));
        if (factor !== undefined) {
          assertEquals(plain(value(values)), plain(value([0, y, z]) + factor * x));
        }
        if (isMultiple(e, m)) assertEquals(plain(value(values) % m), 0);
      }
    }),
    options,
  );
});
