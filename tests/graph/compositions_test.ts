/**
 * Derivatives and batching of what is composed of primitives, in float64.
 *
 * @module
 */
import { compositions } from "./compositions.ts";
import { checkBatching, checkDerivatives } from "./differences.ts";

for (const [name, cases] of Object.entries(compositions)) {
  Deno.test(`derivatives of ${name} agree with differences, twice; batching is a loop`, () => {
    checkDerivatives(name, cases);
    checkBatching(name, cases);
  });
}
