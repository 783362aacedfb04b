/**
 * What an experiment about memory is: a run that ends in tables, pictures and claims, each of which
 * was met or missed. The command in main.ts finds experiments by name and writes what they found.
 *
 * @module
 */
import type { Picture } from "./picture.ts";

/** Rows under names of columns; numbers are written as they are, so round them before. */
export interface Table {
  readonly title: string;
  readonly columns: readonly string[];
  readonly rows: readonly (readonly (string | number)[])[];
}

/** Something that the experiment must show. */
export interface Claim {
  /** What was asked for and what came out, in a sentence. */
  readonly text: string;
  readonly met: boolean;
}

/** What an experiment found. */
export interface Findings {
  readonly tables: readonly Table[];
  readonly pictures?: readonly Picture[];
  /** Pictures that are drawn already, as text by the name of the file. */
  readonly files?: Readonly<Record<string, string>>;
  readonly claims: readonly Claim[];
}

/** Results by name that outlive a run, so that a long experiment can be done in pieces. */
export interface Kept {
  /** What is there, under names that begin like this, by the rest of the name. */
  get(prefix: string): ReadonlyMap<string, unknown>;
  /** Keeps a value that JSON can hold. */
  put(name: string, value: unknown): Promise<void>;
}

/** How an experiment is run. */
export interface Conditions {
  /** Share of the full size, above 0 and at most 1. What it scales is the experiment's to say. */
  readonly scale: number;
  /** How many seeds, where chance plays a part; the experiment's own number by default. */
  readonly seeds?: number;
  /** Parts of a long experiment that are done; what is put there is kept at once. */
  readonly kept: Kept;
  /** Tells whoever waits how far it is. */
  readonly progress: (text: string) => void;
}

/** One experiment. */
export interface Experiment {
  readonly title: string;
  /** What is run and what `--scale` makes smaller, in a few sentences. */
  readonly about: string;
  /** The device is open. */
  run(conditions: Conditions): Promise<Findings>;
}

/** A table in Markdown. */
export function showTable({ title, columns, rows }: Table): string {
  const cells = [columns, ...rows.map((row) => row.map(String))];
  const widths = columns.map((_, i) => Math.max(3, ...cells.map((row) => row[i]!.length)));
  const line = (row: readonly string[]): string =>
    `| ${
      row.map((cell, i) => i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)).join(
        " | ",
      )
    } |`;
  const rule = `| ${
    widths.map((n, i) => i === 0 ? "-".repeat(n) : "-".repeat(n - 1) + ":").join(" | ")
  } |`;
  return [`**${title}**`, "", line(columns), rule, ...cells.slice(1).map(line)].join("\n");
}

/** The claims as a list. */
export function showClaims(claims: readonly Claim[]): string {
  return claims.map(({ text, met }) => `- ${met ? "met" : "MISSED"}: ${text}`).join("\n");
}

/** Bytes as millions, as the claims count them. */
export function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(1);
}
