/**
 * A diagnosis as a page: verdicts, plots along the layers, tables.
 *
 * @module
 */
import { drawChart, escapeText } from "./chart.ts";
import type { Diagnosis, LayerDiagnosis } from "./diagnose.ts";
import { showShare } from "./format.ts";
import { card, type Cell, grid, page, table } from "./page.ts";

const show = (x: number | undefined): string =>
  x === undefined
    ? ""
    : !Number.isFinite(x)
    ? String(x)
    : x !== 0 && (Math.abs(x) < 1e-3 || Math.abs(x) >= 1e5)
    ? x.toExponential(2)
    : Number(x.toPrecision(4)).toString();

/** A diagnosis as HTML. */
export function renderDiagnosis(found: Omit<Diagnosis, "toHTML" | "toJSON">): string {
  const { name, loss, layers, lipschitz } = found;
  const along = (of: (layer: LayerDiagnosis) => number | undefined) =>
    layers.flatMap((layer, i): [number, number][] => {
      const y = of(layer);
      return y === undefined ? [] : [[i + 1, y]];
    });
  const plot = (
    title: string,
    series: readonly [name: string, of: (layer: LayerDiagnosis) => number | undefined][],
    log = true,
  ) =>
    card(drawChart({
      title,
      xName: "layer",
      show,
      log,
      series: series.map(([name, of]) => ({ name, points: along(of), marks: true })),
    }));
  const whole = lipschitz === undefined
    ? ""
    : `, Lipschitz constant ${show(lipschitz.whole)} (product of the layers' ${
      show(lipschitz.product)
    })`;
  return page(`Diagnosis of ${name}`, `loss ${show(loss)}${whole}`, [
    verdicts(found),
    grid([
      plot("Activations and gradients", [
        ["root mean square", (layer) => layer.activation],
        ["gradient's norm", (layer) => layer.gradient],
      ]),
      plot("Gradient over the next layer's", [["ratio", (layer) => layer.gradientRatio]]),
      plot("Units", [
        ["dead", (layer) => layer.dead],
        ["flat", (layer) => layer.saturated],
      ], false),
      lipschitz === undefined
        ? ""
        : plot("Lipschitz constants", [["of the layer", (layer) => layer.lipschitz]]),
    ]),
    layerTable(found),
    parameterTable(found),
  ]);
}

function verdicts({ verdicts }: Pick<Diagnosis, "verdicts">): string {
  if (verdicts.length === 0) return card("<h2>Nothing to complain about</h2>");
  return card(
    verdicts.map(({ kind, measure, advice }) =>
      `<h2>${escapeText(kind)}</h2><p>${escapeText(measure)}.</p>` +
      `<p class="muted">${escapeText(advice)}.</p>`
    ).join(""),
  );
}

const right = (text: string): Cell => ({ n: text });

function layerTable({ layers }: Pick<Diagnosis, "layers">): string {
  const head: Cell[] = [
    "",
    "layer",
    "output",
    ...[
      "rms",
      "largest",
      "gradient",
      "ratio",
      "dead",
      "flat",
      "Lipschitz",
    ].map(right),
  ];
  return table(
    "Layers",
    head,
    layers.map((layer, i) => ({
      cells: [
        right(String(i + 1)),
        layer.name,
        `[${layer.shape}]`,
        right(show(layer.activation)),
        right(show(layer.largest)),
        right(show(layer.gradient)),
        right(show(layer.gradientRatio)),
        right(showShare(layer.dead)),
        right(layer.saturated === undefined ? "" : showShare(layer.saturated)),
        right(show(layer.lipschitz)),
      ],
    })),
  );
}

function parameterTable({ parameters }: Pick<Diagnosis, "parameters">): string {
  if (parameters.length === 0) return "";
  const head: Cell[] = [
    "parameter",
    "shape",
    ...[
      "norm",
      "spectral norm",
      "gradient",
      "update",
      "update / norm",
    ].map(right),
  ];
  return table(
    "Parameters",
    head,
    parameters.map(({ path, shape, norm, spectralNorm, gradient, update }) => ({
      cells: [
        path,
        `[${shape}]`,
        ...[norm, spectralNorm, gradient, update, norm === 0 ? undefined : update / norm]
          .map((x) => right(show(x))),
      ],
    })),
  );
}
