/**
 * A task small enough to be trained in a test: three overlapping clouds of points in eight bytes,
 * and a model that has everything a run must keep: batch norm's statistics, dropout's keys.
 *
 * @module
 */
import { byteColumn, tensorColumn } from "../../data/column.ts";
import { Dataset } from "../../data/dataset.ts";
import { Generator } from "../../data/shuffle.ts";
import { tensor } from "../../graph/create.ts";
import * as nn from "../../nn/mod.ts";
import { adam } from "../../optim/optimizer.ts";
import type { FitOptions } from "../../train/fit_options.ts";
import type { ProgressSink } from "../../train/progress.ts";

/** Points of three classes. */
export function clouds(size: number, seed: number): Dataset {
  const generator = new Generator(seed);
  const bytes = new Uint8Array(size * 8), labels = new Int32Array(size);
  for (let i = 0; i < size; i++) {
    labels[i] = generator.below(3);
    for (let k = 0; k < 8; k++) {
      bytes[8 * i + k] = 60 * (k % 3 === labels[i] ? 1 : 0) + generator.below(150);
    }
  }
  return new Dataset(byteColumn(bytes, [8]), tensorColumn(tensor(labels)));
}

/** A model with statistics and randomness. */
export const model: nn.StatefulLayer = nn.statefulSequential([
  nn.linear(8, 16),
  nn.batchNorm(16),
  nn.relu,
  nn.dropout(0.2),
  nn.linear(16, 3),
]);

/** A run of it, silent, that no signal ends. */
export function toyRun(more: Partial<FitOptions> = {}): FitOptions {
  return {
    model,
    optimizer: adam({ rate: 0.01 }),
    train: clouds(330, 1),
    validation: clouds(70, 2),
    epochs: 3,
    batch: 16,
    seed: 7,
    sink: null,
    signals: false,
    ...more,
  };
}

/** Collects what is written. */
export function textSink(terminal: boolean, onWrite: (text: string) => void = () => {}) {
  const written: string[] = [];
  const sink: ProgressSink = {
    terminal,
    columns: 120,
    write(text) {
      written.push(text);
      onWrite(text);
    },
  };
  return { sink, text: (): string => written.join("") };
}
