/**
 * The problems of Moré, Garbow and Hillstrom with two and three variables, by the paper's numbers, 1
 * to 12.
 *
 * @module
 */
import { tensor } from "../../../graph/create.ts";
import { concatenate } from "../../../graph/operations.ts";
import type { Tensor } from "../../../graph/tensor.ts";
import { parts, type Problem, range } from "./problem.ts";

const bard = [
  [0.14, 0.18, 0.22, 0.25, 0.29, 0.32, 0.35, 0.39],
  [0.37, 0.58, 0.73, 0.96, 1.34, 2.10, 4.39],
].flat();

const meyer = [34780, 28610, 23650, 19630, 16370, 13720, 11540, 9744, 8261]
  .concat([7030, 6005, 5147, 4427, 3820, 3307, 2872]);

const gaussian = [0.0009, 0.0044, 0.0175, 0.054, 0.1295, 0.242, 0.3521, 0.3989]
  .concat([0.3521, 0.242, 0.1295, 0.054, 0.0175, 0.0044, 0.0009]);

/** Times, and what is observed at them. */
const gulfTimes = range(99).map((i) => i / 100);
const gulf = gulfTimes.map((t) => 25 + (-50 * Math.log(t)) ** (2 / 3));

/** Problems 1 to 12. */
export const few: readonly Problem[] = [
  {
    name: "Rosenbrock",
    start: [-1.2, 1],
    minima: [0],
    residuals: (x) => {
      const [a, b] = parts(x) as [Tensor, Tensor];
      return concatenate([b.sub(a.square()).mul(10), a.neg().add(1)]);
    },
    rows: ([a, b]) => [[10 * (b! - a! * a!), [-20 * a!, 10]], [1 - a!, [-1, 0]]],
  },
  {
    name: "Freudenstein and Roth",
    start: [0.5, -2],
    minima: [0, 48.98425],
    residuals: (x) => {
      const [a, b] = parts(x) as [Tensor, Tensor];
      return concatenate([
        b.neg().add(5).mul(b).sub(2).mul(b).add(a).sub(13),
        b.add(1).mul(b).sub(14).mul(b).add(a).sub(29),
      ]);
    },
    rows: ([a, b]) => [
      [-13 + a! + ((5 - b!) * b! - 2) * b!, [1, -3 * b! ** 2 + 10 * b! - 2]],
      [-29 + a! + ((b! + 1) * b! - 14) * b!, [1, 3 * b! ** 2 + 2 * b! - 14]],
    ],
  },
  {
    name: "Powell badly scaled",
    start: [0, 1],
    scale: [1e-5, 1],
    minima: [0],
    residuals: (x) => {
      const [a, b] = parts(x) as [Tensor, Tensor];
      return concatenate([
        a.mul(b).mul(1e4).sub(1),
        a.neg().exp().add(b.neg().exp()).sub(1.0001),
      ]);
    },
    rows: ([a, b]) => [
      [1e4 * a! * b! - 1, [1e4 * b!, 1e4 * a!]],
      [Math.exp(-a!) + Math.exp(-b!) - 1.0001, [-Math.exp(-a!), -Math.exp(-b!)]],
    ],
  },
  {
    name: "Brown badly scaled",
    start: [1, 1],
    scale: [1e6, 1e-6],
    minima: [0],
    residuals: (x) => {
      const [a, b] = parts(x) as [Tensor, Tensor];
      return concatenate([a.sub(1e6), b.sub(2e-6), a.mul(b).sub(2)]);
    },
    rows: ([a, b]) => [[a! - 1e6, [1, 0]], [b! - 2e-6, [0, 1]], [a! * b! - 2, [b!, a!]]],
  },
  {
    name: "Beale",
    start: [1, 1],
    minima: [0],
    residuals: (x) => {
      const [a, b] = parts(x) as [Tensor, Tensor];
      return concatenate(
        [1.5, 2.25, 2.625].map((y, i) => a.mul(b.pow(i + 1).neg().add(1)).neg().add(y)),
      );
    },
    rows: ([a, b]) =>
      [1.5, 2.25, 2.625].map((y, i) => [
        y - a! * (1 - b! ** (i + 1)),
        [b! ** (i + 1) - 1, (i + 1) * a! * b! ** i],
      ]),
  },
  {
    name: "Jennrich and Sampson",
    start: [0.3, 0.4],
    minima: [124.362],
    residuals: (x) => {
      const [a, b] = parts(x) as [Tensor, Tensor], i = tensor(range(10));
      return i.mul(2).add(2).sub(i.mul(a).exp().add(i.mul(b).exp()));
    },
    rows: ([a, b]) =>
      range(10).map((i) => {
        const p = Math.exp(i * a!), q = Math.exp(i * b!);
        return [2 + 2 * i - (p + q), [-i * p, -i * q]];
      }),
  },
  {
    name: "helical valley",
    start: [-1, 0, 0],
    minima: [0],
    residuals: (x) => {
      const [a, b, c] = parts(x) as [Tensor, Tensor, Tensor];
      // The angle in turns, for points left of the axis, where the way down begins and is curved.
      const angle = b.div(a).atan().mul(1 / (2 * Math.PI)).add(
        a.less(0).cast("f32").mul(0.5),
      );
      return concatenate([
        c.sub(angle.mul(10)).mul(10),
        a.square().add(b.square()).sqrt().sub(1).mul(10),
        c,
      ]);
    },
    rows: ([a, b, c]) => {
      const r = Math.hypot(a!, b!), angle = Math.atan(b! / a!) / (2 * Math.PI) + (a! < 0 ? 0.5 : 0);
      const turn = 1 / (2 * Math.PI * r * r);
      return [
        [10 * (c! - 10 * angle), [100 * b! * turn, -100 * a! * turn, 10]],
        [10 * (r - 1), [10 * a! / r, 10 * b! / r, 0]],
        [c!, [0, 0, 1]],
      ];
    },
  },
  {
    name: "Bard",
    start: [1, 1, 1],
    minima: [8.214877e-3],
    residuals: (x) => {
      const [a, b, c] = parts(x) as [Tensor, Tensor, Tensor];
      const u = tensor(range(15)), v = u.neg().add(16), w = u.minimum(v);
      return tensor(bard).sub(a.add(u.div(v.mul(b).add(w.mul(c)))));
    },
    rows: ([a, b, c]) =>
      bard.map((y, i) => {
        const u = i + 1, v = 16 - u, w = Math.min(u, v), d = v * b! + w * c!;
        return [y - (a! + u / d), [-1, u * v / d ** 2, u * w / d ** 2]];
      }),
  },
  {
    name: "Gaussian",
    start: [0.4, 1, 0],
    minima: [1.12793e-8],
    residuals: (x) => {
      const [a, b, c] = parts(x) as [Tensor, Tensor, Tensor];
      const t = tensor(range(15).map((i) => (8 - i) / 2));
      return a.mul(b.mul(t.sub(c).square()).mul(-0.5).exp()).sub(tensor(gaussian));
    },
    rows: ([a, b, c]) =>
      gaussian.map((y, i) => {
        const s = (7 - i) / 2 - c!, e = Math.exp(-b! * s * s / 2);
        return [a! * e - y, [e, -a! * e * s * s / 2, a! * e * b! * s]];
      }),
  },
  {
    name: "Meyer",
    start: [0.02, 4000, 250],
    scale: [0.01, 1000, 100],
    minima: [87.9458],
    residuals: (x) => {
      const [a, b, c] = parts(x) as [Tensor, Tensor, Tensor];
      const t = tensor(range(16).map((i) => 45 + 5 * i));
      return a.mul(b.div(t.add(c)).exp()).sub(tensor(meyer));
    },
    rows: ([a, b, c]) =>
      meyer.map((y, i) => {
        const s = 50 + 5 * i + c!, e = Math.exp(b! / s);
        return [a! * e - y, [e, a! * e / s, -a! * e * b! / s ** 2]];
      }),
  },
  {
    name: "Gulf research and development",
    start: [5, 2.5, 0.15],
    minima: [0],
    residuals: (x) => {
      const [a, b, c] = parts(x) as [Tensor, Tensor, Tensor];
      return tensor(gulf).sub(b).abs().pow(c).div(a).neg().exp().sub(tensor(gulfTimes));
    },
    rows: ([a, b, c]) =>
      gulf.map((y, i) => {
        const r = Math.abs(y - b!), p = r ** c!, e = Math.exp(-p / a!);
        const along = e * c! * r ** (c! - 1) * Math.sign(y - b!) / a!;
        return [e - gulfTimes[i]!, [e * p / a! ** 2, along, -e * p * Math.log(r) / a!]];
      }),
  },
  {
    name: "box",
    start: [0, 10, 20],
    minima: [0],
    residuals: (x) => {
      const [a, b, c] = parts(x) as [Tensor, Tensor, Tensor];
      const t = tensor(range(10).map((i) => i / 10));
      return t.mul(a).neg().exp().sub(t.mul(b).neg().exp())
        .sub(t.neg().exp().sub(t.mul(-10).exp()).mul(c));
    },
    rows: ([a, b, c]) =>
      range(10).map((i) => {
        const t = i / 10, p = Math.exp(-t * a!), q = Math.exp(-t * b!);
        const known = Math.exp(-t) - Math.exp(-i);
        return [p - q - c! * known, [-t * p, t * q, -known]];
      }),
  },
];
