/**
 * What measures of a model mean: rules as data, each with a threshold, the measure that it names,
 * and what usually helps. Where several hold, the worst comes first.
 *
 * @module
 */
import type { Diagnosis, LayerDiagnosis } from "./diagnose.ts";
import { showShare } from "./format.ts";

/** Something that is wrong with a model. */
export interface Verdict {
  /** What it is called. */
  readonly kind:
    | "not finite"
    | "vanishing"
    | "exploding"
    | "dead"
    | "saturated"
    | "no update"
    | "large update";
  /** Where, if it is one layer or parameter. */
  readonly where?: string;
  /** The measure that led to it, in words. */
  readonly measure: string;
  /** What to try. */
  readonly advice: string;
}

/** Thresholds of the rules. */
export const thresholds = {
  /** Gradients of the first layer over those of the last, and its inverse. */
  gradient: 1e-3,
  /** Share of dead units in a layer, beside those that so few samples leave at 0. */
  dead: 0.25,
  /** Share of outputs where a function is flat. */
  saturated: 0.5,
  /** An update's norm over its parameter's. */
  update: 0.1,
} as const;

type Found = Omit<Diagnosis, "verdicts" | "toHTML" | "toJSON">;

const number = (x: number): string =>
  x !== 0 && (Math.abs(x) < 0.01 || Math.abs(x) >= 1e4) ? x.toExponential(1) : x.toPrecision(3);

/** A layer's place for people: layers of the same name are told apart by their number. */
const placeOf = (layers: readonly LayerDiagnosis[], i: number): string =>
  `layer ${i + 1} of ${layers.length}, ${layers[i]!.name}`;

const finite = (layer: LayerDiagnosis): boolean =>
  Number.isFinite(layer.activation) && Number.isFinite(layer.gradient);

/** The first layer whose measures are no numbers. */
function notFinite({ layers, loss }: Found): Verdict[] {
  const at = layers.findIndex(({ activation }) => !Number.isFinite(activation));
  if (at < 0 && Number.isFinite(loss) && layers.every(finite)) return [];
  const back = layers.findLastIndex(({ gradient }) => !Number.isFinite(gradient));
  const where = at >= 0 ? at : back;
  const what = at >= 0
    ? `the output of ${placeOf(layers, at)} is not finite`
    : back >= 0
    ? `the gradient that arrives at ${placeOf(layers, back)} is not finite`
    : `the loss is ${loss}`;
  return [{
    kind: "not finite",
    ...where < 0 ? {} : { where: layers[where]!.name },
    measure: what,
    advice:
      "Look for divisions by 0, logarithms of 0 and overflow before it (locateNaN finds the " +
      "operation), lower the rate, and look at the data",
  }];
}

/** Where the gradient ends: what lies before that learns nothing. */
function cut(layers: readonly LayerDiagnosis[]): Verdict[] {
  const last = layers.findLastIndex((layer) => finite(layer) && layer.gradient !== 0);
  const at = layers.findLastIndex(({ gradient }, i) => i < last && gradient === 0) + 1;
  // What is no number is told of by itself.
  if (!finite(layers[at]!)) return [];
  return [{
    kind: "vanishing",
    where: layers[at]!.name,
    measure: `no gradient comes through ${placeOf(layers, at)}, though ` +
      `${number(layers[at]!.gradient)} arrives there`,
    advice:
      "See whether its units are dead or saturated, or whether something in it has no slope " +
      "(stopGradient, a comparison, rounding, a scale that begins at 0)",
  }];
}

/** How gradients change on their way from the last layer to the first. */
function flow({ layers }: Found): Verdict[] {
  const known = layers.filter(finite);
  const first = known[0], last = known.at(-1);
  if (first === undefined || last === undefined || known.length < 3 || last.gradient === 0) {
    return [];
  }
  if (first.gradient === 0) return cut(layers);
  const ratio = first.gradient / last.gradient, each = ratio ** (1 / (known.length - 1));
  const course = `the gradient goes from ${number(last.gradient)} at the last layer to ` +
    `${number(first.gradient)} at the first, a factor of ${number(each)} for each of ` +
    `${known.length} layers`;
  if (ratio < thresholds.gradient) {
    return [{
      kind: "vanishing",
      measure: course,
      advice: "Try an initialisation that fits the activation (He for ReLU, Glorot for tanh), " +
        "activations with a slope near 1 (ReLU, GELU instead of sigmoid), shortcuts (residual, " +
        "reZero) or normalisation",
    }];
  }
  if (ratio > 1 / thresholds.gradient) {
    return [{
      kind: "exploding",
      measure: course,
      advice: "Try smaller initial weights (the initialiser's fan, fixup or deepNorm for deep " +
        "residual nets), normalisation, or clipping by the global norm",
    }];
  }
  return [];
}

/** The share of units that are 0 in all rows of a layer whose units are 0 every other time. */
const deadByChance = ({ shape }: LayerDiagnosis): number =>
  0.5 ** shape.slice(0, -1).reduce((a, b) => a * b, 1);

/** Units that are 0 for every sample. */
function dead({ layers }: Found): Verdict[] {
  const ill = layers.flatMap((layer, i) =>
    layer.dead >= thresholds.dead + deadByChance(layer) ? [i] : []
  );
  if (ill.length === 0) return [];
  const worst = ill.reduce((a, b) => layers[b]!.dead > layers[a]!.dead ? b : a);
  return [{
    kind: "dead",
    where: layers[worst]!.name,
    measure: `${showShare(layers[worst]!.dead)} of the units of ${placeOf(layers, worst)} are 0 ` +
      `for the whole batch${
        ill.length > 1 ? `, and ${ill.length - 1} more layers are like that` : ""
      }`,
    advice: "Try a lower rate, biases that begin at 0 or a little above, leakyRelu, elu or gelu " +
      "instead of relu, and normalised inputs",
  }];
}

/** Functions that are flat where they are used. */
function saturated({ layers }: Found): Verdict[] {
  const ill = layers.flatMap((layer, i) =>
    (layer.saturated ?? 0) >= thresholds.saturated ? [i] : []
  );
  if (ill.length === 0) return [];
  const worst = ill.reduce((a, b) => layers[b]!.saturated! > layers[a]!.saturated! ? b : a);
  return [{
    kind: "saturated",
    where: layers[worst]!.name,
    measure:
      `${showShare(layers[worst]!.saturated!)} of the outputs of ${placeOf(layers, worst)} ` +
      `are where its slope is below 0.01${
        ill.length > 1 ? `, and ${ill.length - 1} more layers are like that` : ""
      }`,
    advice: "Try smaller initial weights, normalisation before the activation, inputs scaled to " +
      "variance 1, or an activation that does not saturate",
  }];
}

/** Parameters that stay as they are, or are thrown about. */
function updates({ parameters }: Found): Verdict[] {
  const still = parameters.filter(({ gradient, shape }) => gradient === 0 && !shape.includes(0));
  const wild = parameters.filter(({ update, norm }) =>
    norm > 0 && update > thresholds.update * norm
  );
  const verdicts: Verdict[] = [];
  if (wild.length > 0) {
    const worst = wild.reduce((a, b) => b.update / b.norm > a.update / a.norm ? b : a);
    verdicts.push({
      kind: "large update",
      where: worst.path,
      measure:
        `one update changes ${worst.path} by ${number(worst.update / worst.norm)} of its norm` +
        (wild.length > 1 ? `, and ${wild.length - 1} more parameters by more than a tenth` : ""),
      advice:
        "Try a lower rate, warm-up, or clipping by the global norm; about a thousandth is usual",
    });
  }
  if (still.length > 0) {
    verdicts.push({
      kind: "no update",
      where: still[0]!.path,
      measure: `the gradient of ${still[0]!.path} is 0` +
        (still.length > 1 ? `, and so are those of ${still.length - 1} more parameters` : ""),
      advice:
        "See whether the loss depends on it: dead units, a branch that begins at 0 (in reZero " +
        "and fixup that is as it should be), stopGradient, or a parameter that is not used",
    });
  }
  return verdicts;
}

/** All rules, those first that explain others. */
const rules: readonly ((found: Found) => Verdict[])[] = [notFinite, flow, dead, saturated, updates];

/** What is wrong, the worst first. */
export function judge(found: Found): Verdict[] {
  return rules.flatMap((rule) => rule(found));
}
