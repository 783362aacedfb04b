/**
 * What a compiled function does, in words: its regions, and its memory as predicted and as counted.
 *
 * @module
 */
import { type Flag, measuredBy } from "./flags.ts";
import type { LoadedProgram, RunMemory } from "./loaded.ts";

/** Bytes for people. */
export function showBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB"];
  let unit = 0;
  while (bytes >= 10_000 && unit < units.length - 1) {
    bytes /= 1024;
    unit++;
  }
  return `${Number.isInteger(bytes) ? bytes : bytes.toFixed(1)} ${units[unit]}`;
}

const rows: readonly (keyof RunMemory)[] = [
  "arguments",
  "results",
  "workspace",
  "uniforms",
  "copied",
  "peak",
];

/** The text of `explain()`. */
export function explain(
  name: string,
  signatures: readonly { readonly loaded: LoadedProgram; readonly flags: readonly Flag[] }[],
): string {
  if (signatures.length === 0) return `${name}: not called yet`;
  return signatures.map(({ loaded, flags }, i) => {
    const { program, counted } = loaded;
    const predicted = loaded.predicted ?? { ...program.memory, copied: 0 };
    const avals = program.arguments.map(({ dtype, shape }) => `${dtype}[${shape.join(",")}]`);
    const lines = [
      `${name}, signature ${i + 1} of ${signatures.length}: ${avals.length} arguments ` +
      `(${avals.slice(0, 8).join(" ")}${avals.length > 8 ? " …" : ""}), ` +
      `${program.results.length} results, ${program.dispatches.length} dispatches`,
      "",
      "memory        predicted      counted",
    ];
    for (const row of rows) {
      const seen = counted === undefined ? "not run" : String(counted[row]);
      lines.push(row.padEnd(10) + String(predicted[row]).padStart(13) + seen.padStart(13));
    }
    for (const store of ["host", "disk"] as const) {
      if (program.outside[store] === 0) continue;
      const seen = String(loaded.outside?.[store] ?? "not run");
      lines.push(
        store.padEnd(10) + String(program.outside[store]).padStart(13) + seen.padStart(13),
      );
    }
    for (const { label, value } of measuredBy(flags)) {
      lines.push(`${label}: ${value ?? "not read yet"}`);
    }
    lines.push("", program.print("regions"));
    return lines.join("\n");
  }).join("\n\n");
}
