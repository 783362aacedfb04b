/**
 * The report of a run: one HTML file that needs nothing else, neither a network nor scripts, and
 * follows a light or a dark scheme. What it shows is in the record of the run; the file can be
 * mailed, archived or opened from a cluster's disk.
 *
 * @module
 */
import { writeDurably } from "../data/durable.ts";
import { type Chart, drawChart, escapeText } from "./chart.ts";
import { showBytes, showLoss, showSeconds, showShare } from "./format.ts";
import { card, type Cell, grid, page, table } from "./page.ts";
import type { Best, EpochRecord, Settings } from "./record.ts";
import type { Profile } from "../runtime/profile.ts";
import type { Score } from "./task.ts";

/** Bytes of device memory of one kind. */
export interface MemoryRow {
  readonly kind: string;
  readonly live: number;
  readonly peak: number;
}

/** What a report tells. */
export interface Report {
  readonly title: string;
  /** The adapter, in words. */
  readonly device: string;
  readonly settings: Settings;
  readonly history: readonly EpochRecord[];
  readonly best: Best | null;
  /** The score of the best parameters on the test set, if it was taken. */
  readonly test?: Score;
  /** Seconds of training. */
  readonly seconds: number;
  /** Device memory while training. */
  readonly memory: readonly { seconds: number; live: number; peak: number }[];
  /** Device memory by kind. */
  readonly kinds?: readonly MemoryRow[];
  /** Where the time of one step goes. */
  readonly profile?: Profile;
}

/**
 * Writes the report of a run.
 *
 * @throws {Deno.errors.NotCapable} If the permission to write is missing.
 */
export async function writeReport(path: string, report: Report): Promise<void> {
  await writeDurably(path, renderReport(report));
}

/** The report as HTML. */
export function renderReport(report: Report): string {
  const { title, history, memory } = report;
  const charts = [lossChart(history), accuracyChart(history)].map(card);
  const sections = [
    tiles(report),
    grid(charts),
    grid([card(drawChart(memoryChart(memory))), memoryTable(report.kinds)]),
    kernelTable(report.profile),
    epochTable(report),
    settingsTable(report),
  ];
  return page(title, report.device, sections);
}

function tiles({ test, best, history, seconds, memory }: Report): string {
  const peak = memory.reduce((most, sample) => Math.max(most, sample.peak), 0);
  const all: [string, string | undefined][] = [
    ["test accuracy", test && showShare(test.accuracy)],
    ["test loss", test && showLoss(test.loss)],
    ["best validation accuracy", best === null ? undefined : showShare(best.accuracy)],
    ["epochs", String(history.length)],
    ["training time", showSeconds(seconds)],
    ["peak device memory", peak === 0 ? undefined : showBytes(peak)],
  ];
  const shown = all.flatMap(([name, value]) =>
    value === undefined ? [] : card(`<b>${escapeText(value)}</b><span>${name}</span>`)
  );
  return `<div class="tiles">${shown.join("")}</div>`;
}

/** Points along an epoch at the middle of the stretch that they are the mean of. */
function along(history: readonly EpochRecord[], of: "loss" | "accuracy"): [number, number][] {
  return history.flatMap(({ epoch, curve }) =>
    curve[of].map((y, i): [number, number] => [epoch - 1 + (i + 0.5) / curve[of].length, y])
  );
}

function lossChart(history: readonly EpochRecord[]): string {
  return drawChart({
    title: "Loss",
    xName: "epoch",
    show: showLoss,
    log: true,
    series: [
      { name: "training", points: along(history, "loss") },
      { name: "validation", points: history.map((e) => [e.epoch, e.validation.loss]), marks: true },
    ],
  });
}

function accuracyChart(history: readonly EpochRecord[]): string {
  // The first stretches, near chance, would press everything else against the top.
  const points = along(history, "accuracy");
  const validation = history.map((e): [number, number] => [e.epoch, e.validation.accuracy]);
  const low = Math.min(0.98, ...validation.map(([, y]) => 1 - 3 * (1 - y)));
  return drawChart({
    title: "Accuracy",
    xName: "epoch",
    show: (y) => `${Number((y * 100).toFixed(2))} %`,
    series: [
      { name: "training", points: points.filter(([, y]) => y >= low) },
      { name: "validation", points: validation, marks: true },
    ],
  });
}

function memoryChart(samples: Report["memory"]): Chart {
  const of = (name: "live" | "peak") =>
    samples.map((sample): [number, number] => [sample.seconds, sample[name]]);
  return {
    title: "Device memory",
    xName: "seconds",
    show: showBytes,
    include: [0],
    series: [{ name: "live", points: of("live") }, { name: "peak", points: of("peak") }],
  };
}

function memoryTable(kinds: readonly MemoryRow[] = []): string {
  const shown = kinds.filter(({ peak }) => peak > 0);
  if (shown.length === 0) return "";
  return table(
    "Device memory by kind",
    ["kind", { n: "live" }, { n: "peak" }],
    shown.map(({ kind, live, peak }) => ({
      cells: [kind, { n: showBytes(live) }, { n: showBytes(peak) }],
    })),
  );
}

function kernelTable(profile: Profile | undefined): string {
  if (profile === undefined) return "";
  const timed = profile.regions.flatMap(({ time, share, ...region }) =>
    time === undefined || share === undefined ? [] : [{ ...region, time, share }]
  ).sort((a, b) => b.time - a.time);
  const longest = timed[0]?.share ?? 1;
  const perSecond = (amount: number, time: number) => (amount / time / 1e9).toFixed(2);
  return table(
    `Kernels of one step, by time: ${(profile.time * 1e3).toFixed(2)} ms in ` +
      `${profile.regions.length} dispatches`,
    ["kernel", { n: "µs" }, { n: "share" }, "", { n: "GFLOP/s" }, { n: "GB/s" }],
    timed.map(({ label, time, share, bytes, flops }) => ({
      cells: [
        label,
        { n: (time * 1e6).toFixed(0) },
        { n: showShare(share) },
        { share: share / longest },
        { n: perSecond(flops, time) },
        { n: perSecond(bytes, time) },
      ],
    })),
  );
}

function epochTable({ history, best }: Report): string {
  if (history.length === 0) return "";
  const head: Cell[] = [
    "epoch",
    { n: "training loss" },
    { n: "training accuracy" },
    { n: "validation loss" },
    { n: "validation accuracy" },
    { n: "time" },
  ];
  return table(
    "Epochs",
    head,
    history.map(({ epoch, train, validation, seconds }) => ({
      best: epoch === best?.epoch,
      cells: [
        epoch === best?.epoch ? `${epoch} (best)` : String(epoch),
        { n: showLoss(train.loss) },
        { n: showShare(train.accuracy) },
        { n: showLoss(validation.loss) },
        { n: showShare(validation.accuracy) },
        { n: showSeconds(seconds) },
      ],
    })),
  );
}

function settingsTable({ settings }: Report): string {
  return table(
    "Settings",
    ["name", "value"],
    Object.entries(settings).map(([name, value]) => ({ cells: [name, String(value)] })),
  );
}
