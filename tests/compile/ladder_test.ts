/** Plans among which the compiler chooses for one loop, device-free. */
import { assert, assertEquals } from "@std/assert";
import { reverse } from "../../checkpoint/strategy.ts";
import { undecided } from "../../compile/choose.ts";
import { ladderOf } from "../../compile/ladder.ts";
import { parameter } from "../../graph/build.ts";
import { collectChecks } from "../../graph/check.ts";
import { auto } from "../../graph/loops/auto.ts";
import { loop } from "../../graph/scan.ts";
import { simplify } from "../../graph/simplify.ts";
import { Tensor } from "../../graph/tensor.ts";
import { grad } from "../../graph/transforms.ts";

/** Names of the plans of a loop of so many steps, which a tape may undo. */
function plansOf(length: number): string[] {
  const inverse = (x: Tensor): Tensor => x.mul(0.5);
  const backward = auto({ reverse: reverse({ inverse, exact: "tape" }) });
  const f = (x: Tensor): Tensor => loop((x: Tensor) => x.sin(), x, { length, backward }).sum();
  const x = new Tensor(parameter(0, { shape: [4096], dtype: "f32" }));
  const { value } = collectChecks(() => grad((x: Tensor) => f(x.sin()))(x) as Tensor);
  const [back] = undecided(simplify([value.node]));
  return ladderOf(back!, 1, { host: 0, disk: 0 }).map(({ name }) => name);
}

Deno.test("a plan runs steps again up to 64 times, and besides once to record a segment", () => {
  const plans = plansOf(256);
  assertEquals(plans[0], "store");
  assert(plans.includes("revolve(2)") && !plans.includes("revolve(1)"), plans.join("\n"));
  // From the one snapshot to each of 128 segments are 63.5 times the length.
  assert(
    plans.includes("revolve(1) over segments of 2: reverse with a tape of 4 bits"),
    `${plans}`,
  );
});
