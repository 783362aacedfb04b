/**
 * A run that a test ends by a signal: trains without end, and exits as a program of a user would.
 *
 * @module
 */
import { init } from "../../runtime/init.ts";
import { exitCodes } from "../../train/interrupt.ts";
import { fit } from "../../train/loop.ts";
import { standardOutput } from "../../train/progress.ts";
import { toyRun } from "./toy.ts";

await init({ software: "allow" });
const options = toyRun({ epochs: 1_000_000, signals: true, sink: standardOutput() });
const { stopped } = await fit({ ...options, out: Deno.args[0]! });
Deno.exitCode = stopped === "SIGINT" || stopped === "SIGTERM" ? exitCodes[stopped] : 1;
