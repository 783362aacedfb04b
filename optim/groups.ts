/**
 * Parameter groups: which optimizer a parameter has is said by a label, from its path or from a
 * tree of labels. Each group's transformation sees its own parameters only, as a record by path, so
 * that a global norm is the norm of the group, and what is remembered is saved under readable
 * names.
 *
 * @module
 */
import { zerosLike } from "../graph/create.ts";
import type { Tensor } from "../graph/tensor.ts";
import { countLeaves, type Structure } from "../graph/tree.ts";
import { type ComposedOptimizer, fromTransformation } from "./optimizer.ts";
import type { Transformation } from "./transformation.ts";
import { type Named, named, type Tree, treeOf } from "./tree.ts";

/** Labels in the shape of the parameters; one label may stand for a whole branch. */
export type LabelTree =
  | string
  | readonly LabelTree[]
  | { readonly [key: string]: LabelTree };

/** Which group a parameter belongs to: by path and parameter, or as a tree. */
export type Labels = LabelTree | ((path: string, parameter: Tensor) => string);

/** What moves a group: an optimizer or a transformation, or null to leave it as it is. */
export type Member = ComposedOptimizer | Transformation | null;

/** Parameters of one group, by path. */
type Group = { readonly [path: string]: Tensor };

/**
 * The optimizer that treats each group of parameters in its own way.
 *
 * @throws {TypeError} On `init` or `update`, if a parameter has no label, or one without a member.
 *
 * @example By path
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 *
 * const { adamw, groups, sgd } = rg.optim;
 * const optimizer = groups((path) => path.endsWith("weight") ? "weights" : "rest", {
 *   weights: adamw({ weightDecay: 0.1 }),
 *   rest: sgd({ rate: 1e-3 }),
 * });
 * ```
 *
 * @example By a tree: the first of two layers is frozen
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 *
 * const { adam, groups } = rg.optim;
 * const optimizer = groups(["frozen", "trained"], { frozen: null, trained: adam() });
 * ```
 */
export function groups(
  labels: Labels,
  members: Readonly<Record<string, Member>>,
): ComposedOptimizer {
  const transformations = Object.entries(members).map(([name, member]) =>
    [name, member !== null && "transformation" in member ? member.transformation : member] as const
  );
  /** The positions of each group's parameters. */
  const places = (params: Named): Map<string, number[]> => {
    const result = new Map<string, number[]>(transformations.map(([name]) => [name, []]));
    labelsOf(labels, params).forEach((label, i) => {
      const group = result.get(label);
      if (group === undefined) {
        throw new TypeError(
          `Cannot group parameters: ${params.paths[i]} has the label ${JSON.stringify(label)}, ` +
            `expected one of ${Object.keys(members).map((m) => JSON.stringify(m)).join(", ")}`,
        );
      }
      group.push(i);
    });
    return result;
  };
  return fromTransformation({
    init(tree) {
      const params = named(tree, "params"), at = places(params);
      const states: Record<string, Tree> = {};
      for (const [name, transformation] of transformations) {
        states[name] = transformation?.init(pick(params, at.get(name)!, params.leaves)) ?? null;
      }
      return states;
    },
    update(updates, state, context) {
      const params = named(context.params, "params"), gradient = named(updates, "gradient");
      const at = places(params), states = state as { readonly [name: string]: Tree };
      const after: Record<string, Tree> = {},
        moved: Tensor[] = params.leaves.map((p) => zerosLike(p));
      for (const [name, transformation] of transformations) {
        after[name] = null;
        if (transformation === null) continue;
        const group = at.get(name)!;
        const own = { ...context, params: pick(params, group, params.leaves) };
        const [next, memory] = transformation.update(
          pick(params, group, gradient.leaves),
          states[name]!,
          own,
        );
        after[name] = memory;
        for (const i of group) moved[i] = (next as Group)[params.paths[i]!]!;
      }
      return [treeOf(params.structure, moved), after];
    },
  });
}

function pick({ paths }: Named, places: readonly number[], leaves: readonly Tensor[]): Group {
  return Object.fromEntries(places.map((i) => [paths[i]!, leaves[i]!]));
}

/** The label of every parameter. */
function labelsOf(labels: Labels, { leaves, paths, structure }: Named): string[] {
  if (typeof labels === "function") return leaves.map((p, i) => labels(paths[i]!, p));
  const result: string[] = [];
  const visit = (at: Structure, label: LabelTree | undefined, path: string): void => {
    if (typeof label === "string") {
      for (let i = countLeaves(at); i > 0; i--) result.push(label);
    } else if (at.kind === "list" || at.kind === "record") {
      at.items.forEach((item, i) => {
        const key = at.kind === "record" ? at.keys[i]! : String(i);
        const below = path === "" ? key : `${path}.${key}`;
        visit(item, (label as Record<string, LabelTree> | undefined)?.[key], below);
      });
    } else if (at.kind === "leaf") {
      throw new TypeError(
        `Cannot group parameters: ${path || "the only one"} has no label in the tree of labels, ` +
          "expected a string there or above",
      );
    }
  };
  visit(structure, labels, "");
  return result;
}
