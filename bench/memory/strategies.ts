/**
 * Every way back through one loop: the bytes that each takes by the number of steps, and the time by
 * bytes.
 *
 * @module
 */
import * as rg from "../../mod.ts";
import { timesOf } from "./chain.ts";
import { type Claim, type Experiment, megabytes } from "./experiment.ts";
import type { Line } from "./picture.ts";

type T = rg.Tensor;
type Motion = rg.steps.Motion<T>;

const size = 16384, state = 2 * 4 * size;
const force = (x: T): T => x.sin().neg();
const plain = rg.steps.leapfrog({ force, h: 0.05 });
const onGrid = rg.steps.exactLeapfrog({ force, h: 0.05, range: 1024 });

/** A way back, by the number of steps. */
interface Way {
  readonly name: string;
  readonly backward: (length: number) => rg.Backward;
  /** The step with a grid is another one than that without. */
  readonly pair?: rg.steps.ReversibleStep<Motion>;
  /** Its gradient is that of `store`, to the bit. @default true */
  readonly exact?: boolean;
}

const taped = rg.reverse({ ...plain, exact: "tape", tape: { bits: 0.8 } });
const ways: readonly Way[] = [
  { name: "store", backward: () => "store" },
  {
    name: "revolve, √n snapshots",
    backward: (n) => rg.revolve({ snapshots: Math.ceil(Math.sqrt(n)) }),
  },
  { name: "revolve, 8 snapshots", backward: () => rg.revolve({ snapshots: 8 }) },
  { name: "online, 8 snapshots", backward: () => rg.online({ snapshots: 8 }) },
  { name: "offload, 2 here, rest host", backward: (n) => rg.offload({ device: 2, host: n }) },
  { name: "reverse, tape", backward: () => taped },
  {
    name: "revolve over tapes",
    backward: (n) =>
      rg.revolve({
        snapshots: Math.ceil(Math.sqrt(n) / 4),
        segment: 4 * Math.ceil(Math.sqrt(n)),
        leaf: taped,
      }),
  },
  {
    name: "reverse, grid",
    backward: () => rg.reverse({ ...onGrid, exact: "grid" }),
    pair: onGrid,
  },
  { name: "reverse, drifting", backward: () => rg.reverse(plain), exact: false },
];

/** The gradient through so many steps one way: its bytes, its time and its bits. */
async function measure({ pair = plain, backward }: Way, length: number, rounds: number) {
  const start = onGrid.start({
    x: rg.random.normal(rg.random.key(1), [size]),
    v: rg.random.normal(rg.random.key(2), [size]),
  });
  const { x, v } = await rg.realize(start);
  const by = backward(length);
  const f = rg.compile((x: T, v: T): T =>
    rg.grad((x: T) => rg.loop(pair.step, { x, v }, { length, backward: by }).x.square().sum())(x)
  );
  await f(x, v).data();
  // What was tried beside the first call is used from the second on.
  const gradient = await f(x, v).data();
  const program = f.programs().at(-1)!;
  const [time] = await timesOf([() => f(x, v).dispose()], rounds);
  f.dispose();
  const { memory, outside } = program;
  return { gradient, peak: memory.peak, outside: outside.host + outside.disk, time: time! };
}

/** The largest difference, of the largest value. */
function apart(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [most, off] = [0, 0];
  for (let i = 0; i < a.length; i++) {
    most = Math.max(most, Math.abs(b[i]!));
    off = Math.max(off, Math.abs(a[i]! - b[i]!));
  }
  return off / most;
}

/** See the top of the file. */
export const strategies: Experiment = {
  title: "Bytes by depth, and time by bytes, of every way back",
  about:
    "The gradient through a leapfrog of 16384 pendulums, a state of 131 kB, with every strategy: " +
    "device memory for 16 to 1024 steps, and what a run of 256 steps takes with as many snapshots " +
    "as one likes. `--scale` takes fewer steps.",
  async run({ scale, progress }) {
    const lengths = [16, 64, 256, 1024].map((n) => Math.max(8, Math.round(n * scale)));
    const middle = lengths[2]!;
    const rows: (string | number)[][] = [], claims: Claim[] = [], lines: Line[] = [];
    const timed: Line[] = [];
    const stored = new Map<string, ArrayLike<number>>();
    for (const way of ways) {
      const peaks: number[] = [], off: number[] = [];
      let outside = 0;
      for (const length of lengths) {
        progress(`${way.name}, ${length} steps`);
        const rounds = length === middle ? 5 : 1;
        const found = await measure(way, length, rounds);
        // Steps on a grid round otherwise: they have a gradient of their own to compare with.
        const key = `${way.pair === undefined} ${length}`;
        if (way.name === "store") stored.set(key, found.gradient);
        else if (!stored.has(key)) {
          const { gradient } = await measure({ ...way, backward: () => "store" }, length, 1);
          stored.set(key, gradient);
        }
        peaks.push(found.peak);
        outside = Math.max(outside, found.outside);
        off.push(apart(found.gradient, stored.get(key)!));
        if (length === middle) {
          timed.push({ name: way.name, points: [[found.peak / 1e6, found.time]] });
        }
      }
      lines.push({ name: way.name, points: lengths.map((n, i) => [n, peaks[i]! / 1e6] as const) });
      const most = Math.max(...off);
      rows.push([
        way.name,
        ...peaks.map(megabytes),
        outside === 0 ? "" : megabytes(outside),
        ((peaks[3]! - peaks[2]!) / (lengths[3]! - lengths[2]!) / state).toFixed(4),
        timed.at(-1)!.points[0]![1].toFixed(0),
        most === 0 ? "0" : most.toExponential(1),
      ]);
      if (way.exact ?? true) {
        claims.push({
          text: `${way.name}: the gradient is that of store, to the bit`,
          met: most === 0,
        });
      }
    }
    const points: (readonly [number, number])[] = [];
    const trade: (string | number)[][] = [];
    for (const snapshots of [2, 3, 4, 6, 8, 12, 16, 32, 64, 128].filter((s) => s < middle)) {
      progress(`${snapshots} snapshots`);
      const way: Way = { name: "", backward: () => rg.revolve({ snapshots }) };
      const { peak, time } = await measure(way, middle, 3);
      points.push([peak / 1e6, time]);
      trade.push([snapshots, megabytes(peak), time.toFixed(0)]);
    }
    const flat = rows.filter(([name]) =>
      ["reverse, grid", "reverse, drifting"].includes(`${name}`)
    );
    claims.push({
      text: "without a tape, what is reversed takes the same bytes whatever the length",
      met: flat.every((row) => row[1] === row[4]),
    });
    return {
      tables: [
        {
          title: "Device memory, MB",
          columns: [
            "way back",
            ...lengths.map((n) => `${n} steps`),
            "outside, MB",
            "states a step",
            `${middle} steps, ms`,
            "off store",
          ],
          rows,
        },
        {
          title: `Revolve over ${middle} steps`,
          columns: ["snapshots", "MB", "ms"],
          rows: trade,
        },
      ],
      pictures: [
        {
          name: "strategies-depth",
          title: "Device memory of a gradient by the number of steps",
          xName: "steps",
          yName: "MB",
          lines,
          log: "xy",
        },
        {
          name: "strategies-time",
          title: `Time by device memory, ${middle} steps`,
          xName: "MB",
          yName: "ms",
          lines: [{ name: "revolve", points }, ...timed],
          log: "xy",
        },
      ],
      claims,
    };
  },
};
