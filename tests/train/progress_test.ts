import { assert, assertEquals } from "@std/assert";
import { showBytes, showLoss, showRate, showSeconds, showShare } from "../../train/format.ts";
import { Progress, progressLine, type ProgressState } from "../../train/progress.ts";
import { textSink } from "./toy.ts";

const state: ProgressState = {
  epoch: 2,
  epochs: 6,
  step: 50,
  steps: 200,
  loss: 0.08123,
  accuracy: 0.9763,
  rate: 41_234,
  live: 58_200_000,
  peak: 63_100_000,
};

Deno.test("progressLine() says where training stands", () => {
  assertEquals(
    progressLine(state, Infinity),
    "epoch 2/6  25 %  loss 0.08123  accuracy 97.63 %  41 200 samples/s  " +
      "memory 58.2 MB, peak 63.1 MB",
  );
});

Deno.test("progressLine() draws a bar where there is room, and never more than fits", () => {
  assert(progressLine(state, 130).startsWith("epoch 2/6 ███████▌                        25 %"));
  for (let columns = 0; columns < 140; columns++) {
    assert(progressLine(state, columns).length <= columns, `${columns} columns`);
  }
  assert(progressLine({ ...state, step: 200 }, 130).includes(`${"█".repeat(30)} 100 %`));
  assert(progressLine({ ...state, step: 0, steps: 0 }, 130).includes("100 %"));
});

Deno.test("Progress redraws one line on a terminal and clears it for lines that stay", () => {
  const { sink, text } = textSink(true);
  const progress = new Progress(sink);
  progress.update(state);
  progress.update(state);
  progress.print("done");
  progress.print("more");
  const line = progressLine(state, 119);
  assertEquals(text(), `\r\x1b[K${line}\r\x1b[K${line}\r\x1b[Kdone\nmore\n`);
});

Deno.test("Progress writes a line now and then elsewhere, without control characters", () => {
  const { sink, text } = textSink(false);
  let now = 0;
  const progress = new Progress(sink, () => now);
  for (; now <= 25_000; now += 500) progress.update(state);
  progress.print("done");
  assertEquals(text(), `${`${progressLine(state, Infinity)}\n`.repeat(2)}done\n`);
});

Deno.test("numbers are shown in few characters", () => {
  assertEquals([0, 999, 1000, 999_999, 58_249_000, 4.2e12].map(showBytes), [
    "0 B",
    "999 B",
    "1.00 kB",
    "1.00 MB",
    "58.2 MB",
    "4.20 TB",
  ]);
  assertEquals([0.1234, 99.9, 1234, 41_234, 1_234_567, Infinity].map(showRate), [
    "0.123",
    "99.9",
    "1 230",
    "41 200",
    "1 230 000",
    "-",
  ]);
  assertEquals([0, 0.000123, 0.081234, 2.302585, 12345, NaN].map(showLoss), [
    "0",
    "1.23e-4",
    "0.08123",
    "2.303",
    "1.23e+4",
    "NaN",
  ]);
  assertEquals([0.97634, 1, NaN].map(showShare), ["97.63 %", "100.00 %", "-"]);
  assertEquals([7.24, 59.96, 125, 4320, 3599.7].map(showSeconds), [
    "7.2 s",
    "60.0 s",
    "2 min 05 s",
    "1 h 12 min",
    "1 h 00 min",
  ]);
});
