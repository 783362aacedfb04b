/**
 * The files of a run: `state.safetensors`, from which it is resumed, and `model.safetensors`, the best
 * parameters by themselves.
 *
 * @module
 */
import { join } from "@std/path";
import type { Tree } from "../optim/tree.ts";
import { loadTree, saveTree } from "./checkpoint.ts";
import {
  type Best,
  checkSettings,
  decodeRecord,
  encodeRecord,
  type RunRecord,
  type Settings,
} from "./record.ts";
import type { TrainState } from "./task.ts";

/** Parameters, and statistics if the model has any: what a model's file holds. */
export type Model<P extends Tree> = { readonly params: P; readonly statistics: Tree };

/**
 * What a run's file holds: the state, and the best so far. They are one file so that no crash and
 * no mix-up of files can bring a state together with the best of another moment or another run.
 */
type Saved<P extends Tree> = TrainState<P> & { readonly best: Model<P> };

/** What a state holds of a model. */
export function modelOf<P extends Tree>({ optimizer, statistics }: TrainState<P>): Model<P> {
  return { params: optimizer.params, statistics };
}

/** The file of the best parameters. */
export function modelPath(out: string): string {
  return join(out, "model.safetensors");
}

/** The file that a run is resumed from. */
export function statePath(out: string): string {
  return join(out, "state.safetensors");
}

/** Writes everything that a resumed run needs. */
export async function saveRun<P extends Tree>(
  out: string,
  state: TrainState<P>,
  best: Model<P>,
  record: RunRecord,
): Promise<void> {
  const saved: Saved<P> = { ...state, best };
  await saveTree(statePath(out), saved, encodeRecord(record));
}

/** Writes a model by itself, with what it reached. */
export async function saveModel<P extends Tree>(
  out: string,
  model: Model<P>,
  best: Best | null,
): Promise<void> {
  await saveTree(
    modelPath(out),
    model,
    best === null ? {} : {
      epoch: String(best.epoch),
      validationLoss: String(best.loss),
      validationAccuracy: String(best.accuracy),
    },
  );
}

/** A run as it was left. */
export interface LoadedRun<P extends Tree> {
  readonly state: TrainState<P>;
  readonly best: Model<P>;
  readonly record: RunRecord;
  /** See {@linkcode loadTree}. */
  readonly elsewhere: string | undefined;
}

/**
 * Reads what `saveRun` wrote, for a run with these settings and so many steps in an epoch.
 *
 * @throws {TypeError} If it was begun with other settings.
 * @throws {Error} If there is no such file.
 */
export async function loadRun<P extends Tree>(
  out: string,
  fresh: TrainState<P>,
  settings: Settings,
  steps: number,
): Promise<LoadedRun<P>> {
  const path = statePath(out);
  // A run with other settings may have other shapes: the settings are what to complain of.
  const check = (metadata: Readonly<Record<string, string>>) =>
    checkSettings(path, decodeRecord(path, metadata).settings, settings);
  const like: Saved<P> = { ...fresh, best: modelOf(fresh) };
  const { tree, metadata, elsewhere } = await loadTree(path, like, check).catch((error) => {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new Error(`Cannot resume: there is no ${path}, expected one from an earlier run`);
  });
  const record = decodeRecord(path, metadata);
  if (record.steps >= steps) {
    throw new TypeError(
      `Cannot resume ${path}: it is at step ${record.steps} of its epoch, expected one below ` +
        steps,
    );
  }
  const { best, ...state } = tree;
  return { state: state as TrainState<P>, best, record, elsewhere };
}
