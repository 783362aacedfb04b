/**
 * How a benchmark's process ends.
 *
 * @module
 */

/**
 * Runs a command and ends the process with what it returns: libraries leave worker threads behind,
 * which would go on. What goes wrong is one line, and 2.
 */
export async function toEnd(main: () => Promise<number | void>): Promise<never> {
  try {
    Deno.exit(await main() ?? 0);
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    Deno.exit(2);
  }
}
