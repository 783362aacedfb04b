/**
 * The process of one contestant and one workload. It tells its parent when it is ready, runs a
 * round for each line it is sent, and ends with what it measured when the input ends.
 *
 * @module
 */
import { type ContestantName, contestants } from "./contestants/contestant.ts";
import { type Case, countEverything, measure } from "./measure.ts";
import { type Message, say } from "./protocol.ts";
import { type Workload, workloads } from "./workloads.ts";

async function main([contestant, workload]: readonly string[]): Promise<Message> {
  const { kind, sizes, inner, bar } = workloads[workload!]!;
  countEverything();
  const loaded = await contestants[contestant as ContestantName]();
  const prepare = loaded[kind] as ((...sizes: Workload["sizes"]) => Promise<Case>) | undefined;
  if (prepare === undefined) return { is: "absent" };
  const ready = await prepare(...sizes);

  const lines = Deno.stdin.readable.getReader();
  const next = async (): Promise<boolean> => {
    say({ is: "ready" });
    return !(await lines.read()).done;
  };
  return { is: "done", measured: await measure(ready, inner, next, bar.hostMs !== undefined) };
}

if (import.meta.main) {
  let last: Message;
  try {
    last = await main(Deno.args);
  } catch (error) {
    last = { is: "failed", reason: error instanceof Error ? error.message : String(error) };
  }
  say(last);
  Deno.exit(0); // libraries leave worker threads behind
}
