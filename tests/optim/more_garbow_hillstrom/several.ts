/**
 * The problems of Moré, Garbow and Hillstrom with four to eleven variables, by the paper's numbers, 13
 * to 20.
 *
 * @module
 */
import { tensor } from "../../../graph/create.ts";
import { concatenate } from "../../../graph/operations.ts";
import type { Tensor } from "../../../graph/tensor.ts";
import { parts, type Problem, range, type Row, unit } from "./problem.ts";

const kowalik = {
  y: [0.1957, 0.1947, 0.1735, 0.16, 0.0844, 0.0627, 0.0456, 0.0342, 0.0323, 0.0235, 0.0246],
  u: [4, 2, 1, 0.5, 0.25, 0.167, 0.125, 0.1, 0.0833, 0.0714, 0.0625],
};

const osborne1 = [0.844, 0.908, 0.932, 0.936, 0.925, 0.908, 0.881, 0.85, 0.818, 0.784, 0.751]
  .concat([0.718, 0.685, 0.658, 0.628, 0.603, 0.58, 0.558, 0.538, 0.522, 0.506, 0.49])
  .concat([0.478, 0.467, 0.457, 0.448, 0.438, 0.431, 0.424, 0.42, 0.414, 0.411, 0.406]);

const osborne2 = [1.366, 1.191, 1.112, 1.013, 0.991, 0.885, 0.831, 0.847, 0.786, 0.725, 0.746]
  .concat([0.679, 0.608, 0.655, 0.616, 0.606, 0.602, 0.626, 0.651, 0.724, 0.649, 0.649])
  .concat([0.694, 0.644, 0.624, 0.661, 0.612, 0.558, 0.533, 0.495, 0.5, 0.423, 0.395])
  .concat([0.375, 0.372, 0.391, 0.396, 0.405, 0.428, 0.429, 0.523, 0.562, 0.607, 0.653])
  .concat([0.672, 0.708, 0.633, 0.668, 0.645, 0.632, 0.591, 0.559, 0.597, 0.625, 0.739])
  .concat([0.71, 0.729, 0.72, 0.636, 0.581, 0.428, 0.292, 0.162, 0.098, 0.054]);

/** What Biggs' sum of exponentials is to be. */
const biggs = range(13).map((i) => Math.exp(-i / 10) - 5 * Math.exp(-i) + 3 * Math.exp(-0.4 * i));

/** Problems 13 to 20. */
export const several: readonly Problem[] = [
  {
    name: "Powell singular",
    start: [3, -1, 0, 1],
    minima: [0],
    residuals: (x) => {
      const [a, b, c, d] = parts(x) as [Tensor, Tensor, Tensor, Tensor];
      return concatenate([
        a.add(b.mul(10)),
        c.sub(d).mul(Math.sqrt(5)),
        b.sub(c.mul(2)).square(),
        a.sub(d).square().mul(Math.sqrt(10)),
      ]);
    },
    rows: ([a, b, c, d]) => {
      const bc = b! - 2 * c!, ad = a! - d!, ten = Math.sqrt(10), five = Math.sqrt(5);
      return [
        [a! + 10 * b!, [1, 10, 0, 0]],
        [five * (c! - d!), [0, 0, five, -five]],
        [bc ** 2, [0, 2 * bc, -4 * bc, 0]],
        [ten * ad ** 2, [2 * ten * ad, 0, 0, -2 * ten * ad]],
      ];
    },
  },
  {
    name: "Wood",
    start: [-3, -1, -3, -1],
    minima: [0],
    residuals: (x) => {
      const [a, b, c, d] = parts(x) as [Tensor, Tensor, Tensor, Tensor];
      return concatenate([
        b.sub(a.square()).mul(10),
        a.neg().add(1),
        d.sub(c.square()).mul(Math.sqrt(90)),
        c.neg().add(1),
        b.add(d).sub(2).mul(Math.sqrt(10)),
        b.sub(d).mul(1 / Math.sqrt(10)),
      ]);
    },
    rows: ([a, b, c, d]) => {
      const ten = Math.sqrt(10), ninety = Math.sqrt(90);
      return [
        [10 * (b! - a! ** 2), [-20 * a!, 10, 0, 0]],
        [1 - a!, [-1, 0, 0, 0]],
        [ninety * (d! - c! ** 2), [0, 0, -2 * ninety * c!, ninety]],
        [1 - c!, [0, 0, -1, 0]],
        [ten * (b! + d! - 2), [0, ten, 0, ten]],
        [(b! - d!) / ten, [0, 1 / ten, 0, -1 / ten]],
      ];
    },
  },
  {
    name: "Kowalik and Osborne",
    start: [0.25, 0.39, 0.415, 0.39],
    minima: [3.07505e-4],
    residuals: (x) => {
      const [a, b, c, d] = parts(x) as [Tensor, Tensor, Tensor, Tensor];
      const u = tensor(kowalik.u), uu = u.square();
      return tensor(kowalik.y).sub(a.mul(uu.add(u.mul(b))).div(uu.add(u.mul(c)).add(d)));
    },
    rows: ([a, b, c, d]) =>
      kowalik.u.map((u, i) => {
        const top = u * u + u * b!, under = u * u + u * c! + d!;
        const slope = a! * top / under ** 2;
        return [
          kowalik.y[i]! - a! * top / under,
          [-top / under, -a! * u / under, slope * u, slope],
        ];
      }),
  },
  {
    name: "Brown and Dennis",
    start: [25, 5, -5, -1],
    minima: [85822.2],
    residuals: (x) => {
      const [a, b, c, d] = parts(x) as [Tensor, Tensor, Tensor, Tensor];
      const t = tensor(range(20).map((i) => i / 5));
      return a.add(t.mul(b)).sub(t.exp()).square()
        .add(c.add(d.mul(t.sin())).sub(t.cos()).square());
    },
    rows: ([a, b, c, d]) =>
      range(20).map((i) => {
        const t = i / 5, p = a! + t * b! - Math.exp(t), q = c! + d! * Math.sin(t) - Math.cos(t);
        return [p * p + q * q, [2 * p, 2 * p * t, 2 * q, 2 * q * Math.sin(t)]];
      }),
  },
  {
    name: "Osborne 1",
    start: [0.5, 1.5, -1, 0.01, 0.02],
    scale: [0.1, 1, 1, 0.01, 0.01],
    minima: [5.46489e-5],
    residuals: (x) => {
      const [a, b, c, d, e] = parts(x) as Tensor[];
      const t = tensor(osborne1.map((_, i) => 10 * i)), minus = t.neg();
      return tensor(osborne1)
        .sub(a!.add(b!.mul(minus.mul(d!).exp())).add(c!.mul(minus.mul(e!).exp())));
    },
    rows: ([a, b, c, d, e]) =>
      osborne1.map((y, i) => {
        const t = 10 * i, p = Math.exp(-t * d!), q = Math.exp(-t * e!);
        return [y - (a! + b! * p + c! * q), [-1, -p, -q, b! * t * p, c! * t * q]];
      }),
  },
  {
    name: "Biggs",
    start: [1, 2, 1, 1, 1, 1],
    minima: [0, 5.65565e-3],
    residuals: (x) => {
      const [a, b, c, d, e, f] = parts(x) as Tensor[];
      const minus = tensor(range(13).map((i) => -i / 10));
      const wave = (size: Tensor, rate: Tensor): Tensor => size.mul(minus.mul(rate).exp());
      return wave(c!, a!).sub(wave(d!, b!)).add(wave(f!, e!)).sub(tensor(biggs));
    },
    rows: ([a, b, c, d, e, f]) =>
      biggs.map((y, i) => {
        const t = (i + 1) / 10, p = Math.exp(-t * a!), q = Math.exp(-t * b!);
        const r = Math.exp(-t * e!);
        return [
          c! * p - d! * q + f! * r - y,
          [-t * c! * p, t * d! * q, p, -q, -t * f! * r, r],
        ];
      }),
  },
  {
    name: "Osborne 2",
    start: [1.3, 0.65, 0.65, 0.7, 0.6, 3, 5, 7, 2, 4.5, 5.5],
    minima: [4.01377e-2],
    residuals: (x) => {
      const p = parts(x), t = tensor(osborne2.map((_, i) => i / 10));
      const bells = [1, 2, 3].map((i) =>
        p[i]!.mul(t.sub(p[i + 7]!).square().mul(p[i + 4]!).neg().exp())
      );
      const sum = bells.reduce((a, b) => a.add(b), p[0]!.mul(t.mul(p[4]!).neg().exp()));
      return tensor(osborne2).sub(sum);
    },
    rows: (x) =>
      osborne2.map((y, i): Row => {
        const t = i / 10, e = Math.exp(-t * x[4]!), slope = unit(11, 1, -e);
        slope[4] = x[0]! * t * e;
        let sum = x[0]! * e;
        for (const j of [1, 2, 3]) {
          const from = t - x[j + 7]!, bell = Math.exp(-from * from * x[j + 4]!);
          sum += x[j]! * bell;
          slope[j] = -bell;
          slope[j + 4] = x[j]! * from * from * bell;
          slope[j + 7] = -2 * x[j]! * x[j + 4]! * from * bell;
        }
        return [y - sum, slope];
      }),
  },
  watson(6, 2.28767e-3),
  watson(9, 1.39976e-6),
];

/** Watson's problem, a polynomial that nearly solves a differential equation, of some order. */
function watson(n: number, least: number): Problem {
  const times = range(29).map((i) => i / 29);
  const power = times.map((t) => range(n).map((j) => t ** (j - 1)));
  const slopes = times.map((t) => range(n).map((j) => j === 1 ? 0 : (j - 1) * t ** (j - 2)));
  const dot = (a: readonly number[], b: readonly number[]): number =>
    a.reduce((sum, v, i) => sum + v * b[i]!, 0);
  return {
    name: `Watson, ${n} variables`,
    start: range(n).map(() => 0),
    minima: [least],
    residuals: (x) => {
      const [a, b] = parts(x) as [Tensor, Tensor];
      return concatenate([
        tensor(slopes).dot(x).sub(tensor(power).dot(x).square()).sub(1),
        a,
        b.sub(a.square()).sub(1),
      ]);
    },
    rows: (x) => [
      ...times.map((_, i): Row => {
        const value = dot(power[i]!, x);
        return [
          dot(slopes[i]!, x) - value ** 2 - 1,
          x.map((_, j) => slopes[i]![j]! - 2 * value * power[i]![j]!),
        ];
      }),
      [x[0]!, unit(n, 1)],
      [x[1]! - x[0]! ** 2 - 1, x.map((_, j) => j === 0 ? -2 * x[0]! : j === 1 ? 1 : 0)],
    ],
  };
}
