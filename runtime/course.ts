/**
 * What a program runs, in order, for those who look at it dispatch by dispatch; and looking at it
 * without costing the caller anything.
 *
 * @module
 */
import { played } from "../compile/script.ts";
import type { Storage } from "../graph/storage.ts";
import type { Context } from "./context.ts";
import type { LoadedProgram } from "./loaded.ts";

/**
 * Runs `f` with donated arguments marked as needed elsewhere, so that the program works on copies:
 * what only looks at a program must not cost its caller the state.
 */
export function sparing<T>(loaded: LoadedProgram, args: readonly Storage[], f: () => T): T {
  const spared = loaded.program.donated.map((i) => args[i]!).filter(({ used }) => !used);
  for (const storage of spared) storage.used = true;
  try {
    return f();
  } finally {
    for (const storage of spared) storage.used = false;
  }
}

/** What runs for these arguments, in order; a program that is steered is run to learn it. */
export async function courseOf(
  context: Context,
  loaded: LoadedProgram,
  args: readonly Storage[],
): Promise<readonly number[]> {
  if (!loaded.isSteered) return [...played(loaded.program.script)];
  const course: number[] = [];
  const { frame, steer } = sparing(
    loaded,
    args,
    () => loaded.beginSteered(args, (dispatch) => course.push(dispatch)),
  );
  const ended = Promise.withResolvers<void>();
  context.line.task(() => {
    const run = steer();
    run.then(ended.resolve, ended.reject);
    return run;
  });
  for (const result of loaded.end(args, frame)) {
    if (!args.includes(result)) context.release(result, "it was only looked at");
  }
  await ended.promise;
  return course;
}
