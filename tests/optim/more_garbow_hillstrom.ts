/**
 * Problems of Moré, Garbow and Hillstrom, Testing unconstrained optimization software, 1981: sums of
 * squares of residuals, by tensors and, with their derivatives written out, by numbers in float64.
 *
 * @module
 */
import { concatenate } from "../../graph/operations.ts";
import { tensor } from "../../graph/create.ts";
import type { Tensor } from "../../graph/tensor.ts";

/** One problem. */
export interface Problem {
  readonly name: string;
  /** The usual start. */
  readonly start: readonly number[];
  /** Sizes of the variables, by which a minimiser may scale them. */
  readonly scale?: readonly number[];
  /** Values of known minima. */
  readonly minima: readonly number[];
  /** Residuals, [m]. */
  readonly residuals: (x: Tensor) => Tensor;
  /** A residual's value and gradient, for each of them. */
  readonly rows: (x: readonly number[]) => readonly (readonly [value: number, slope: number[]])[];
}

const parts = (x: Tensor): Tensor[] => x.split(x.size);
const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i + 1);

const bard = [
  [0.14, 0.18, 0.22, 0.25, 0.29, 0.32, 0.35, 0.39],
  [0.37, 0.58, 0.73, 0.96, 1.34, 2.10, 4.39],
].flat();

const meyer = [34780, 28610, 23650, 19630, 16370, 13720, 11540, 9744, 8261]
  .concat([7030, 6005, 5147, 4427, 3820, 3307, 2872]);

const kowalik = {
  y: [0.1957, 0.1947, 0.1735, 0.16, 0.0844, 0.0627, 0.0456, 0.0342, 0.0323, 0.0235, 0.0246],
  u: [4, 2, 1, 0.5, 0.25, 0.167, 0.125, 0.1, 0.0833, 0.0714, 0.0625],
};

const gaussian = [0.0009, 0.0044, 0.0175, 0.054, 0.1295, 0.242, 0.3521, 0.3989]
  .concat([0.3521, 0.242, 0.1295, 0.054, 0.0175, 0.0044, 0.0009]);

/** The problems, by the paper's numbers. */
export const problems: readonly Problem[] = [
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
    name: "helical valley",
    start: [-1, 0, 0],
    minima: [0],
    residuals: (x) => {
      const [a, b, c] = parts(x) as [Tensor, Tensor, Tensor];
      // The angle in turns, for points left of the axis, where the way down begins and is curved.
      const angle = arctangent(b.div(a)).mul(1 / (2 * Math.PI)).add(
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
];

/** Half an angle at a time, until the series is short: as good as f32 is. */
function arctangent(x: Tensor): Tensor {
  let y = x, factor = 1;
  for (let i = 0; i < 4; i++, factor *= 2) y = y.div(y.square().add(1).sqrt().add(1));
  const terms = range(5).map((i) => y.pow(2 * i - 1).mul((i % 2 === 1 ? 1 : -1) / (2 * i - 1)));
  return terms.reduce((a, b) => a.add(b)).mul(factor);
}

/** The sum of squares. */
export function valueOf({ residuals }: Problem): (x: Tensor) => Tensor {
  return (x) => residuals(x).square().sum();
}

/** The sum of squares and its gradient, in float64. */
export function exactly({ rows }: Problem, x: readonly number[]): [number, number[]] {
  const gradient = x.map(() => 0);
  let value = 0;
  for (const [r, slope] of rows(x)) {
    value += r * r;
    slope.forEach((s, i) => gradient[i]! += 2 * r * s);
  }
  return [value, gradient];
}
