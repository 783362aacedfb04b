/**
 * Derivatives and batching of every primitive, in float64.
 *
 * @module
 */
import type { Primitive } from "../../graph/primitive.ts";
import { cases } from "./cases.ts";
import { checkBatching, checkDerivatives } from "./differences.ts";

for (const op of Object.keys(cases) as Primitive[]) {
  Deno.test(`pullback() and pushforward() of ${op} agree with differences, twice`, () => {
    checkDerivatives(op, cases[op]);
  });

  Deno.test(`batch() of ${op} is a loop over examples`, () => checkBatching(op, cases[op]));
}
