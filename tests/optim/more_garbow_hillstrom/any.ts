/**
 * The problems of Moré, Garbow and Hillstrom with any number of variables, by the paper's numbers,
 * 21 to 35.
 *
 * @module
 */
import { tensor } from "../../../graph/create.ts";
import { concatenate, stack } from "../../../graph/operations.ts";
import type { Tensor } from "../../../graph/tensor.ts";
import { type Problem, range, type Row, unit } from "./problem.ts";

const sum = (x: readonly number[]): number => x.reduce((a, b) => a + b, 0);

/** The element after each, `by` places on; 0 where there is none. */
const neighbour = (x: Tensor, by: number): Tensor =>
  by > 0 ? x.slice([by, x.size]).pad([[0, by]]) : x.slice([0, x.size + by]).pad([[-by, 0]]);

/** A vector in rows of some elements, as one column each. */
const columns = (x: Tensor, width: number): Tensor[] => {
  const rows = x.reshape(x.size / width, width);
  return range(width).map((i) => rows.slice(null, i - 1));
};

/** The slope of something that depends on a few variables, counted from 0. */
const slopeOf = (n: number, parts: Readonly<Record<number, number>>): number[] =>
  range(n).map((i) => parts[i - 1] ?? 0);

/** Problem 21. */
const extendedRosenbrock: Problem = {
  name: "extended Rosenbrock",
  start: range(10).map((i) => i % 2 === 1 ? -1.2 : 1),
  minima: [0],
  residuals: (x) => {
    const [a, b] = columns(x, 2) as [Tensor, Tensor];
    return concatenate([b.sub(a.square()).mul(10), a.neg().add(1)]);
  },
  rows: (x) =>
    range(5).flatMap((k): Row[] => {
      const i = 2 * k - 2, a = x[i]!, b = x[i + 1]!;
      return [
        [10 * (b - a * a), slopeOf(10, { [i]: -20 * a, [i + 1]: 10 })],
        [1 - a, slopeOf(10, { [i]: -1 })],
      ];
    }),
};

/** Problem 22. */
const extendedPowell: Problem = {
  name: "extended Powell singular",
  start: range(3).flatMap(() => [3, -1, 0, 1]),
  minima: [0],
  residuals: (x) => {
    const [a, b, c, d] = columns(x, 4) as [Tensor, Tensor, Tensor, Tensor];
    return concatenate([
      a.add(b.mul(10)),
      c.sub(d).mul(Math.sqrt(5)),
      b.sub(c.mul(2)).square(),
      a.sub(d).square().mul(Math.sqrt(10)),
    ]);
  },
  rows: (x) =>
    range(3).flatMap((k): Row[] => {
      const i = 4 * k - 4, [a, b, c, d] = x.slice(i, i + 4) as [number, number, number, number];
      const five = Math.sqrt(5), ten = Math.sqrt(10);
      return [
        [a + 10 * b, slopeOf(12, { [i]: 1, [i + 1]: 10 })],
        [five * (c - d), slopeOf(12, { [i + 2]: five, [i + 3]: -five })],
        [(b - 2 * c) ** 2, slopeOf(12, { [i + 1]: 2 * (b - 2 * c), [i + 2]: -4 * (b - 2 * c) })],
        [ten * (a - d) ** 2, slopeOf(12, { [i]: 2 * ten * (a - d), [i + 3]: -2 * ten * (a - d) })],
      ];
    }),
};

/** Problem 23: lengths of ½, and little more. */
const penalty1 = (n: number, least: number): Problem => ({
  name: `penalty 1, ${n} variables`,
  start: range(n),
  minima: [least],
  residuals: (x) =>
    concatenate([x.sub(1).mul(Math.sqrt(1e-5)), x.square().sum().sub(0.25).reshape(1)]),
  rows: (x) => [
    ...x.map((v, i): Row => [Math.sqrt(1e-5) * (v - 1), unit(n, i + 1, Math.sqrt(1e-5))]),
    [sum(x.map((v) => v * v)) - 0.25, x.map((v) => 2 * v)],
  ],
});

/** Problem 24. */
const penalty2 = (n: number, least: number): Problem => {
  const root = Math.sqrt(1e-5), weights = range(n).map((i) => n - i + 1);
  const wanted = range(n - 1).map((i) => Math.exp((i + 1) / 10) + Math.exp(i / 10));
  return {
    name: `penalty 2, ${n} variables`,
    start: range(n).map(() => 0.5),
    minima: [least],
    residuals: (x) => {
      const e = x.div(10).exp(), after = e.slice([1, n]);
      return concatenate([
        x.slice([0, 1]).sub(0.2),
        after.add(e.slice([0, n - 1])).sub(tensor(wanted)).mul(root),
        after.sub(Math.exp(-0.1)).mul(root),
        x.square().mul(tensor(weights)).sum().sub(1).reshape(1),
      ]);
    },
    rows: (x) => {
      const e = x.map((v) => Math.exp(v / 10));
      return [
        [x[0]! - 0.2, unit(n, 1)],
        ...wanted.map((y, i): Row => [
          root * (e[i + 1]! + e[i]! - y),
          slopeOf(n, { [i]: root * e[i]! / 10, [i + 1]: root * e[i + 1]! / 10 }),
        ]),
        ...wanted.map((_, i): Row => [
          root * (e[i + 1]! - Math.exp(-0.1)),
          slopeOf(n, { [i + 1]: root * e[i + 1]! / 10 }),
        ]),
        [sum(x.map((v, i) => weights[i]! * v * v)) - 1, x.map((v, i) => 2 * weights[i]! * v)],
      ];
    },
  };
};

/** Problem 25. */
const variablyDimensioned: Problem = {
  name: "variably dimensioned",
  start: range(10).map((i) => 1 - i / 10),
  minima: [0],
  residuals: (x) => {
    const from = x.sub(1), along = from.mul(tensor(range(10))).sum().reshape(1);
    return concatenate([from, along, along.square()]);
  },
  rows: (x) => {
    const along = sum(x.map((v, i) => (i + 1) * (v - 1)));
    return [
      ...x.map((v, i): Row => [v - 1, unit(10, i + 1)]),
      [along, range(10)],
      [along ** 2, range(10).map((i) => 2 * along * i)],
    ];
  },
};

/** Problem 26. */
const trigonometric: Problem = {
  name: "trigonometric",
  start: range(10).map(() => 0.1),
  minima: [0, 2.79506e-5],
  residuals: (x) => {
    const cos = x.cos(), i = tensor(range(10));
    return cos.sum().neg().add(10).add(i.mul(cos.neg().add(1))).sub(x.sin());
  },
  rows: (x) =>
    x.map((v, i): Row => [
      10 - sum(x.map(Math.cos)) + (i + 1) * (1 - Math.cos(v)) - Math.sin(v),
      x.map((w, j) => Math.sin(w) + (i === j ? (i + 1) * Math.sin(v) - Math.cos(v) : 0)),
    ]),
};

/** Problem 27. */
const brownAlmostLinear: Problem = {
  name: "Brown almost linear",
  start: range(10).map(() => 0.5),
  minima: [0, 1],
  residuals: (x) => concatenate([x.slice([0, 9]).add(x.sum()).sub(11), x.prod().sub(1).reshape(1)]),
  rows: (x) => [
    ...range(9).map((i): Row => [
      x[i - 1]! + sum(x) - 11,
      range(10).map((j) => i === j ? 2 : 1),
    ]),
    [
      x.reduce((a, b) => a * b) - 1,
      x.map((_, j) => x.reduce((product, v, k) => k === j ? product : product * v, 1)),
    ],
  ],
};

/** Places within the interval, and where the two problems on it begin. */
const h = 1 / 11, places = range(10).map((i) => i * h), bow = places.map((t) => t * (t - 1));

/** Problem 28. */
const boundaryValue: Problem = {
  name: "discrete boundary value",
  start: bow,
  minima: [0],
  residuals: (x) =>
    x.mul(2).sub(neighbour(x, -1)).sub(neighbour(x, 1))
      .add(x.add(tensor(places)).add(1).pow(3).mul(h * h / 2)),
  rows: (x) =>
    x.map((v, i): Row => {
      const a = v + places[i]! + 1;
      return [
        2 * v - (x[i - 1] ?? 0) - (x[i + 1] ?? 0) + h * h * a ** 3 / 2,
        slopeOf(10, { [i - 1]: -1, [i]: 2 + 1.5 * h * h * a * a, [i + 1]: -1 }),
      ];
    }),
};

/** What integrates over the interval, from each of its places. */
const green = places.map((t, i) =>
  places.map((s, j) => h / 2 * (j <= i ? (1 - t) * s : t * (1 - s)))
);

/** Problem 29. */
const integralEquation: Problem = {
  name: "discrete integral equation",
  start: bow,
  minima: [0],
  residuals: (x) => x.add(tensor(green).dot(x.add(tensor(places)).add(1).pow(3))),
  rows: (x) => {
    const a = x.map((v, i) => v + places[i]! + 1);
    return x.map((v, i): Row => [
      v + sum(green[i]!.map((g, j) => g * a[j]! ** 3)),
      green[i]!.map((g, j) => 3 * g * a[j]! ** 2 + (i === j ? 1 : 0)),
    ]);
  },
};

/** Problem 30. */
const broydenTridiagonal: Problem = {
  name: "Broyden tridiagonal",
  start: range(10).map(() => -1),
  minima: [0],
  residuals: (x) =>
    x.mul(-2).add(3).mul(x).sub(neighbour(x, -1)).sub(neighbour(x, 1).mul(2)).add(1),
  rows: (x) =>
    x.map((v, i): Row => [
      (3 - 2 * v) * v - (x[i - 1] ?? 0) - 2 * (x[i + 1] ?? 0) + 1,
      slopeOf(10, { [i - 1]: -1, [i]: 3 - 4 * v, [i + 1]: -2 }),
    ]),
};

/** Problem 31. */
const broydenBanded: Problem = {
  name: "Broyden banded",
  start: range(10).map(() => -1),
  minima: [0],
  residuals: (x) => {
    const pull = x.add(1).mul(x);
    return [-5, -4, -3, -2, -1, 1].reduce(
      (r, by) => r.sub(neighbour(pull, by)),
      x.square().mul(5).add(2).mul(x).add(1),
    );
  },
  rows: (x) =>
    x.map((v, i): Row => {
      const near = (j: number): boolean => j !== i && j >= i - 5 && j <= i + 1;
      return [
        v * (2 + 5 * v * v) + 1 - sum(x.map((w, j) => near(j) ? w * (1 + w) : 0)),
        x.map((w, j) => j === i ? 2 + 15 * v * v : near(j) ? -(1 + 2 * w) : 0),
      ];
    }),
};

/** Problems 32 to 34: residuals that are linear, by their matrix, less 1. */
const linear = (name: string, matrix: readonly number[][], least: number): Problem => ({
  name,
  start: range(10).map(() => 1),
  minima: [least],
  residuals: (x) => tensor(matrix).dot(x).sub(1),
  rows: (x) => matrix.map((row): Row => [sum(row.map((a, j) => a * x[j]!)) - 1, row]),
});

/** Rows of problems 32 to 34. */
const m = 20;
const fullRank = range(m).map((i) => range(10).map((j) => (i === j ? 1 : 0) - 2 / m));
const rankOne = range(m).map((i) => range(10).map((j) => i * j));
const withZeros = range(m).map((i) =>
  range(10).map((j) => i === 1 || i === m || j === 1 || j === 10 ? 0 : (i - 1) * j)
);

/** Chebyshev's polynomial of a degree, and its slope. */
function chebyshev(degree: number, t: number): [value: number, slope: number] {
  let [before, slopeBefore, value, slope] = [1, 0, t, 1];
  for (let i = 2; i <= degree; i++) {
    const next = 2 * t * value - before, slopeNext = 2 * value + 2 * t * slope - slopeBefore;
    [before, slopeBefore, value, slope] = [value, slope, next, slopeNext];
  }
  return [value, slope];
}

/** Problem 35: points whose means of Chebyshev's polynomials are integrals, as far as they can. */
const chebyquad = (n: number, least: number): Problem => {
  const integrals = range(n).map((i) => i % 2 === 1 ? 0 : -1 / (i * i - 1));
  return {
    name: `Chebyquad, ${n} variables`,
    start: range(n).map((j) => j / (n + 1)),
    minima: [least],
    residuals: (x) => {
      const t = x.mul(2).sub(1), polynomials = [t.mul(0).add(1), t];
      for (let i = 2; i <= n; i++) {
        polynomials.push(t.mul(2).mul(polynomials[i - 1]!).sub(polynomials[i - 2]!));
      }
      return stack(polynomials.slice(1)).mean(1).sub(tensor(integrals));
    },
    rows: (x) =>
      range(n).map((i): Row => {
        const each = x.map((v) => chebyshev(i, 2 * v - 1));
        return [
          sum(each.map(([value]) => value)) / n - integrals[i - 1]!,
          each.map(([, slope]) => 2 * slope / n),
        ];
      }),
  };
};

/** Problems 21 to 35. */
export const any: readonly Problem[] = [
  extendedRosenbrock,
  extendedPowell,
  penalty1(4, 2.24997e-5),
  penalty1(10, 7.08765e-5),
  penalty2(4, 9.37629e-6),
  penalty2(10, 2.93660e-4),
  variablyDimensioned,
  trigonometric,
  brownAlmostLinear,
  boundaryValue,
  integralEquation,
  broydenTridiagonal,
  broydenBanded,
  linear("linear, full rank", fullRank, m - 10),
  linear("linear, rank 1", rankOne, m * (m - 1) / (2 * (2 * m + 1))),
  linear("linear, rank 1 with zeros", withZeros, (m * m + 3 * m - 6) / (2 * (2 * m - 3))),
  chebyquad(8, 3.51687e-3),
  chebyquad(9, 0),
];
