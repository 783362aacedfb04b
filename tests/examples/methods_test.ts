/**
 * The list of methods: what it names is there.
 */
import { assert, assertEquals } from "@std/assert";
import * as rg from "../../mod.ts";

const page = new URL("../../docs/methods.md", import.meta.url);
const text = Deno.readTextFileSync(page);
const spaces: Readonly<Record<string, object>> = {
  nn: rg.nn,
  optim: rg.optim,
  train: rg.train,
  steps: rg.steps,
  data: rg.data,
};

const exists = (path: string, from: URL): boolean => {
  try {
    Deno.statSync(new URL(path, from));
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
};

Deno.test("docs/methods.md names functions that there are", () => {
  const named = [...text.matchAll(/\b(nn|optim|train|steps|data)\.(\w+)/g)];
  assert(named.length > 80);
  const lacking = named.filter(([, space, name]) => !(name! in spaces[space!]!)).map(([all]) =>
    all
  );
  assertEquals(lacking, []);
});

Deno.test("docs/methods.md names tests and pages that there are", () => {
  const tests = [...text.matchAll(/`(?:tests\/)?([\w/]+_test\.ts)`/g)].map(([, path]) => path!);
  const pages = [...text.matchAll(/\]\(([\w/.-]+\.md)\)/g)].map(([, path]) => path!);
  assert(tests.length > 50 && pages.length > 10);
  assertEquals(tests.filter((path) => !exists(path, new URL("../", import.meta.url))), []);
  assertEquals(pages.filter((path) => !exists(path, page)), []);
});

Deno.test("docs/methods.md has every method of the catalogue", () => {
  const words = [
    "residual ReZero SkipInit Fixup LayerScale DeepNorm",
    "batch layer instance group RMS weight spectral",
    "dot-product cosine L2",
    "sigmoid tanh ReLU ELU SELU GELU SiLU softplus",
    "Glorot He LeCun orthogonal identity dropout LSTM GRU",
    "decoupled averages adaptive centralisation",
    "constant stepDecay exponential inverse cosine warmup plateau lineSearch",
    "SGD dampening Nesterov Adagrad Adadelta RMSProp Adam AdaMax NAdam RAdam AMSGrad AdamW LARS LAMB",
    "Lion patience hvp lissa inverseProduct gaussNewtonProduct sketch mixedPrecision fixedPoint",
  ].flatMap((line) => line.split(" "));
  assertEquals(words.filter((word) => !new RegExp(`\\b${word}\\b`).test(text)), []);
});
