/**
 * Runs a workload's contestants against each other. Each is a process of its own, on one core with
 * one thread for a software driver; while one works the others wait, and the rounds alternate, so
 * that whatever else the machine does hits all of them alike. Where the host's own time is asked
 * for, the driver may have another core.
 *
 * @module
 */
import type { ContestantName } from "./contestants/contestant.ts";
import type { Checks, Measured } from "./measure.ts";
import { type Message, parse } from "./protocol.ts";
import type { Workload } from "./workloads.ts";

/** What all processes of one contestant found out about one workload. */
export interface Result extends Omit<Measured, "firstMs" | "rounds"> {
  /** Milliseconds per run in every round; rounds of the same place were run one after the other. */
  readonly rounds: readonly number[];
  /** Milliseconds of the first calls, one for each process. */
  readonly firsts: readonly number[];
}

/** Or why there is nothing. */
export type Outcome = Result | { readonly failed: string } | { readonly absent: true };

/** The outcomes of a workload. */
export type Outcomes = Readonly<Partial<Record<ContestantName, Outcome>>>;

/** How processes are started. */
export interface Machine {
  /** The core that they share, if they can be bound to one. */
  readonly core: number | undefined;
}

/** One thread for software drivers; every first call compiles all its shaders. */
const environment = {
  LP_NUM_THREADS: "1",
  OMP_NUM_THREADS: "1",
  MESA_SHADER_CACHE_DISABLE: "true",
  RETROGRAD_VERIFY: "0",
  RETROGRAD_DEBUG: "",
};
/** Milliseconds after which a contestant has failed. */
const patience = 300_000;

/** Whether processes can be bound to a core. */
export async function canPin(core: number): Promise<boolean> {
  try {
    const probe = new Deno.Command("taskset", {
      args: ["-c", String(core), "deno", "--version"],
      stdout: "null",
      stderr: "null",
    });
    return (await probe.output()).success;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** A contestant's process. */
class Child {
  readonly #process: Deno.ChildProcess;
  readonly #messages: AsyncGenerator<Message>;
  readonly #input: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  readonly #errors: Promise<string>;

  constructor(readonly name: ContestantName, workload: string, { core }: Machine) {
    const program = new URL("./child.ts", import.meta.url).href;
    const command = ["deno", "run", "-q", "-P=bench", program, name, workload];
    if (core !== undefined) command.unshift("taskset", "-c", String(core));
    this.#process = new Deno.Command(command[0]!, {
      args: command.slice(1),
      env: environment,
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#messages = messages(this.#process.stdout);
    this.#input = this.#process.stdin.getWriter();
    this.#errors = new Response(this.#process.stderr).text();
  }

  /** The next message, after a line that asks for one more round or the end of the input. */
  async next(asked?: "round" | "end"): Promise<Message> {
    const timer = setTimeout(() => this.kill(), patience);
    try {
      // A process that is gone has said why, or says nothing more.
      if (asked === "round") await this.#input.write(new Uint8Array([10])).catch(() => {});
      if (asked === "end") await this.#input.close().catch(() => {});
      const { value, done } = await this.#messages.next();
      if (!done) return value;
    } finally {
      clearTimeout(timer);
    }
    const { code, signal } = await this.#process.status;
    const why = (await this.#errors).trim().split("\n").slice(-3).join("; ");
    return { is: "failed", reason: `ended with ${signal ?? code}${why && `: ${why}`}` };
  }

  /** Ends it, if it has not ended. */
  kill(): void {
    try {
      this.#process.kill("SIGKILL");
    } catch {
      // It has ended.
    }
  }
}

async function* messages(output: ReadableStream<Uint8Array<ArrayBuffer>>): AsyncGenerator<Message> {
  let rest = "";
  for await (const text of output.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    for (const line of lines) {
      const message = parse(line);
      if (message !== undefined) yield message;
    }
  }
}

/** Measures one workload. */
export async function measureAll(
  names: readonly ContestantName[],
  workload: string,
  { launches, bar }: Workload,
  rounds: number,
  machine: Machine,
): Promise<Outcomes> {
  // On one core the driver's thread works while the host still submits, and counts as the host.
  const core = bar.hostMs === undefined ? machine.core : undefined;
  const found = new Map<ContestantName, Measured[]>(names.map((name) => [name, []]));
  const lost = new Map<ContestantName, Outcome>();
  /** Whether the contestant goes on. */
  const goesOn = (name: ContestantName, message: Message): boolean => {
    if (message.is === "ready") return true;
    if (message.is === "done") found.get(name)!.push(message.measured);
    else lost.set(name, message.is === "absent" ? { absent: true } : { failed: message.reason });
    return false;
  };

  const processes = Math.min(launches, rounds);
  for (let launch = 0; launch < processes; launch++) {
    let children: Child[] = [];
    const started: Child[] = [];
    try {
      for (const name of rotated(names.filter((name) => !lost.has(name)), launch)) {
        const child = new Child(name, workload, { core });
        started.push(child);
        if (goesOn(name, await child.next())) children.push(child);
      }
      const share = Math.ceil((rounds - launch) / processes);
      for (let round = 0; round < share; round++) {
        for (const child of rotated(children, round)) {
          if (!goesOn(child.name, await child.next("round"))) {
            children = children.filter((other) => other !== child);
          }
        }
      }
      for (const child of children) goesOn(child.name, await child.next("end"));
    } finally {
      started.forEach((child) => child.kill());
    }
  }
  return Object.fromEntries(
    names.map((name) => [name, lost.get(name) ?? merged(found.get(name)!)] as const),
  );
}

/** The same items, beginning elsewhere: so that nobody always runs after the same other. */
function rotated<T>(items: readonly T[], by: number): T[] {
  const start = items.length === 0 ? 0 : by % items.length;
  return [...items.slice(start), ...items.slice(0, start)];
}

function merged(launches: readonly Measured[]): Outcome {
  const last = launches.at(-1);
  if (last === undefined) return { failed: "it measured nothing" };
  const { firstMs: _, ...rest } = last;
  return {
    ...rest,
    rounds: launches.flatMap(({ rounds }) => rounds),
    firsts: launches.map(({ firstMs }) => firstMs),
  };
}

/** The largest distance between values, over the largest value, for each name that both know. */
export function distances(ours: Checks, theirs: Checks): Record<string, number> {
  return Object.fromEntries(
    Object.keys(ours).filter((name) => name in theirs).map((name) => {
      const [a, b] = [ours[name]!, theirs[name]!];
      const scale = Math.max(...b.map(Math.abs), Number.MIN_VALUE);
      return [name, Math.max(...b.map((value, i) => Math.abs(value - a[i]!))) / scale];
    }),
  );
}
