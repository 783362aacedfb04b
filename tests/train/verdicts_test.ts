/**
 * What measures mean, by themselves: verdicts about layers and parameters that are made up.
 */
import { assert, assertEquals } from "@std/assert";
import type { LayerDiagnosis, ParameterDiagnosis } from "../../train/diagnose.ts";
import { judge } from "../../train/verdicts.ts";

/** A layer that is well. */
const layer = (own: Partial<LayerDiagnosis> = {}): LayerDiagnosis => ({
  name: "relu",
  path: "",
  shape: [16, 8],
  activation: 1,
  largest: 2,
  gradient: 1,
  dead: 0,
  ...own,
});
const parameter = (own: Partial<ParameterDiagnosis> = {}): ParameterDiagnosis => ({
  path: "0.weight",
  shape: [8, 8],
  norm: 1,
  gradient: 1,
  update: 0.001,
  ...own,
});
const kinds = (
  layers: readonly LayerDiagnosis[],
  parameters: readonly ParameterDiagnosis[] = [parameter()],
  loss = 1,
): string[] => judge({ name: "net", loss, layers, parameters }).map(({ kind }) => kind);

Deno.test("judge() has nothing to say about what is well", () => {
  assertEquals(kinds([layer(), layer(), layer()]), []);
  assertEquals(kinds([]), []);
  // A thousandth is where vanishing begins, either way.
  assertEquals(kinds([layer({ gradient: 0.002 }), layer(), layer()]), []);
  assertEquals(kinds([layer({ gradient: 900 }), layer(), layer()]), []);
  assertEquals(kinds([layer({ gradient: 0.0009 }), layer(), layer()]), ["vanishing"]);
  assertEquals(kinds([layer({ gradient: 1100 }), layer(), layer()]), ["exploding"]);
});

Deno.test("judge() takes units for dead only where chance would not leave so many at 0", () => {
  const of = (shape: number[], dead: number) => kinds([layer({ shape, dead }), layer(), layer()]);
  // Of a ReLU's units every other is 0 for a single sample, every fourth for two.
  assertEquals(of([1, 32], 0.5), []);
  assertEquals(of([1, 32], 0.8), ["dead"]);
  assertEquals(of([2, 32], 0.3), []);
  assertEquals(of([2, 32], 1), ["dead"]);
  assertEquals(of([16, 32], 0.25), []);
  assertEquals(of([16, 32], 0.26), ["dead"]);
  // Places of an image are rows as samples are.
  assertEquals(of([1, 12, 12, 8], 0.3), ["dead"]);
  assertEquals(of([32], 0.3), []);
});

Deno.test("judge() names the layer through which no gradient comes", () => {
  const layers = [
    layer({ name: "linear(8, 8)", gradient: 0 }),
    layer({ gradient: 0 }),
    layer({ name: "cut", gradient: 0.5 }),
    layer(),
  ];
  const [verdict] = judge({ name: "net", loss: 1, layers, parameters: [] });
  assertEquals([verdict!.kind, verdict!.where], ["vanishing", "cut"]);
  assert(
    verdict!.measure.includes("no gradient comes through layer 3 of 4, cut, though 0.500 arrives"),
    verdict!.measure,
  );
  // A layer that is sick besides is told of by itself, wherever it is.
  const gone = layer({ activation: NaN, gradient: 0 }), wild = layer({ gradient: NaN });
  assertEquals(kinds([...layers, gone]), ["not finite", "vanishing"]);
  assertEquals(kinds([layers[0]!, wild, layer(), layer()]), ["not finite"]);
  // Where there is no gradient at all, there is nothing to compare.
  assertEquals(kinds(layers.map((layer) => ({ ...layer, gradient: 0 }))), []);
});

Deno.test("judge() looks at numbers that are none first, forwards before backwards", () => {
  const forwards = judge({
    name: "net",
    loss: NaN,
    layers: [layer(), layer({ name: "log", activation: NaN, gradient: NaN }), layer()],
    parameters: [],
  });
  assertEquals(forwards.map(({ kind, where }) => [kind, where]), [["not finite", "log"]]);
  const backwards = judge({
    name: "net",
    loss: 1,
    layers: [layer({ gradient: NaN }), layer({ name: "sqrt", gradient: NaN }), layer()],
    parameters: [],
  });
  assertEquals(backwards.map(({ kind, where }) => [kind, where]), [["not finite", "sqrt"]]);
  assertEquals(kinds([layer()], [], Infinity), ["not finite"]);
});

Deno.test("judge() counts what stays and what is thrown about", () => {
  const three = [layer(), layer(), layer()];
  assertEquals(kinds(three, [parameter({ update: 0.11 })]), ["large update"]);
  assertEquals(kinds(three, [parameter({ norm: 0, update: 1 })]), [], "a bias that begins at 0");
  assertEquals(kinds(three, [parameter({ gradient: 0 }), parameter()]), ["no update"]);
  assertEquals(kinds(three, [parameter({ gradient: 0, shape: [0, 8] })]), []);
  assertEquals(kinds([layer({ saturated: 0.6 }), ...three]), ["saturated"]);
});
