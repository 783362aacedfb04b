/**
 * What examples do around `fit`: a run that was stopped says how it goes on.
 *
 * @module
 */
import * as rg from "@retrograd/retrograd";
import { type Command, type Options, resuming, type Values } from "./command.ts";

/** Trains as a command was asked to; undefined where a signal ended that, with everything saved. */
export async function trained<O extends Options, P extends rg.Tree>(
  command: Command<O>,
  values: Values<O>,
  options: rg.train.FitOptions<P>,
): Promise<rg.train.FitResult<P> | undefined> {
  const result = await rg.train.fit(options), { stopped } = result;
  if (stopped !== "SIGINT" && stopped !== "SIGTERM") return result;
  console.log(`\nstopped   everything is saved; go on with`);
  console.log(`          ${resuming(command, values)}`);
  Deno.exitCode = rg.train.exitCodes[stopped];
}
