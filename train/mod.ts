/**
 * The loop around a compiled step: progress, metrics, saving, resuming, reports.
 *
 * @module
 */
export { type Chart, drawChart, type Series } from "./chart.ts";
export { type LoadedTree, loadTree, saveTree } from "./checkpoint.ts";
export {
  diagnose,
  type DiagnoseOptions,
  type Diagnosis,
  type DiagnosisBatch,
  type LayerDiagnosis,
  type ParameterDiagnosis,
} from "./diagnose.ts";
export { evaluate } from "./evaluate.ts";
export type { FitOptions, FitResult, MemorySample, Stop } from "./fit_options.ts";
export { exitCodes, type StopSignal } from "./interrupt.ts";
export { type Lipschitz, type LipschitzOptions, localLipschitz } from "./lipschitz.ts";
export { fit } from "./loop.ts";
export { card, type Cell, grid, page, type Row, table } from "./page.ts";
export type { ProgressSink } from "./progress.ts";
export type { Best, EpochRecord, Settings } from "./record.ts";
export { type MemoryRow, type Report, writeReport } from "./report.ts";
export { modelPath, statePath } from "./saved.ts";
export type { Verdict } from "./verdicts.ts";
export type { Improvement, PerSample, Score, Task, TrainState, TrainStep } from "./task.ts";
