/**
 * retrograd: a training and differentiation runtime for Deno's own WebGPU. Programs are ordinary
 * TypeScript over lazy tensors; the runtime fuses them into a few WGSL kernels, differentiates
 * them, and replays them.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 *
 * await rg.init({ software: "allow" });
 * const loss = (w: rg.Tensor, x: rg.Tensor) => x.matmul(w).square().mean();
 * const step = rg.compile((w: rg.Tensor, x: rg.Tensor) => {
 *   const [value, gradient] = rg.valueAndGrad(loss)(w, x);
 *   return [w.sub(gradient.mul(0.1)), value] as const;
 * }, { donate: [0] });
 *
 * let w = rg.ones([3, 2]), value: rg.Tensor;
 * const x = rg.random.normal(rg.random.key(1), [8, 3]);
 * for (let i = 0; i < 10; i++) [w, value] = step(w, x);
 * console.log(await value!.item());
 * ```
 *
 * @module
 */
export * from "./graph/create.ts";
export type { DType, TypedArray } from "./graph/dtype.ts";
export { kernel, type KernelOptions, type Workgroups } from "./graph/kernel.ts";
export * from "./graph/operations.ts";
export * as random from "./graph/random.ts";
export { realize } from "./graph/realize.ts";
export * as linalg from "./graph/linalg.ts";
export * from "./graph/spatial.ts";
export { check, Gauge } from "./graph/check.ts";
export type { Aval } from "./graph/node.ts";
export type { Shape } from "./graph/shape.ts";
export type { MemoryKind } from "./graph/storage.ts";
export {
  type Backward,
  loop,
  type LoopOptions,
  scan,
  type ScanOptions,
  type Strategy,
} from "./graph/scan.ts";
export { auto, type AutoOptions } from "./graph/loops/auto.ts";
export { offload, type OffloadOptions } from "./checkpoint/offload.ts";
export {
  online,
  type OnlineOptions,
  reverse,
  type ReverseOptions,
  revolve,
  type RevolveOptions,
} from "./checkpoint/strategy.ts";
export {
  sketch,
  type SketchKind,
  type SketchOptions,
  type SketchSettings,
} from "./checkpoint/sketch.ts";
export type { TapeOptions } from "./checkpoint/arena.ts";
export type { Outside, Plan, When } from "./graph/loops/replay.ts";
export * from "./graph/tensor.ts";
export * from "./graph/transforms.ts";
export { whileLoop, type WhileOptions } from "./graph/while.ts";
export {
  type CheckedDirection,
  checkGradients,
  type CheckOptions,
  type CheckReport,
} from "./runtime/check.ts";
export type {
  Besides,
  Dispatch,
  Hold,
  MemoryPlan,
  Offer,
  OutsidePlan,
  Probe,
  ProbeRun,
  Program,
  Result,
  Slot,
  SlotRole,
  Step,
} from "./compile/program.ts";
export type { Work } from "./checkpoint/cost.ts";
export type {
  Course,
  Host,
  Move,
  OutsideMemory,
  Script,
  ScriptLoop,
  ScriptSchedule,
  Steered,
} from "./compile/script.ts";
export type { Effort, Transfers } from "./compile/work.ts";
export type { Access, Kernel } from "./kernels/kernel.ts";
export {
  compile,
  type Compiled,
  type CompileOptions,
  type OffloadBudget,
  type Passed,
} from "./runtime/compile.ts";
export type { ExplainOptions } from "./runtime/explain.ts";
export type { Measured } from "./runtime/flags.ts";
export { debugPrint } from "./runtime/debug.ts";
export type {
  DeviceInfo,
  DeviceKind,
  InitOptions,
  LimitName,
  SoftwarePolicy,
} from "./runtime/device.ts";
export { CheckError, DeviceError, DeviceLostError, OutOfMemoryError } from "./runtime/errors.ts";
export {
  countAs,
  deviceInfo,
  init,
  memory,
  resetPeak,
  shutdown,
  synchronize,
} from "./runtime/init.ts";
export { locateNaN, type LocateOptions, type NonFinite } from "./runtime/inspect.ts";
export type { Counted, CountedKind, DeviceMemory, MemoryReport } from "./runtime/memory.ts";
export {
  type Profile,
  profile,
  type ProfiledRegion,
  type ProfileOptions,
} from "./runtime/profile.ts";
export {
  tune,
  type TunedKernel,
  type TunedWay,
  tunedWays,
  type TuneReport,
} from "./runtime/tune.ts";
export type { Field, FieldOptions, Integrator, Trial } from "./steps/leapfrog.ts";
export type { Method, MethodName, Tableau } from "./steps/runge_kutta.ts";
export {
  type Clock,
  reversible,
  type ReversibleOptions,
  type ReversibleStep,
} from "./steps/step.ts";
export type { SolveBackward } from "./steps/course.ts";
export type { IntegratorOf, ReversibleMethod, SolveMethod } from "./steps/methods.ts";
export { type OdeOptions, odeSolve } from "./steps/solve.ts";
export { type SdeOptions, sdeSolve, type Sense, type StochasticMethod } from "./steps/sde.ts";
export type { Noise } from "./steps/stochastic.ts";
export type { Tolerance } from "./steps/tolerance.ts";
export * as steps from "./steps/mod.ts";
export * as optim from "./optim/mod.ts";
export * as nn from "./nn/mod.ts";
export * as data from "./data/mod.ts";
export * as train from "./train/mod.ts";
