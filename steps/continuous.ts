/**
 * The continuous adjoint: the way back of a differential equation as another one, solved backwards
 * in time beside the first, with no state kept at all. Let a = ∂L/∂y; then da/dt = −a·∂f/∂y, and
 * the cotangents of what the field closes over gather a·∂f/∂w on the way.
 *
 * It is the gradient of the true solution, approximately, and not that of the computed one: both of
 * its errors, of going back to states that were not kept and of the adjoint itself, are of the order
 * of the method's. Where y decays forward, going back grows it, and errors with it.
 *
 * Chen, Rubanova, Bettencourt & Duvenaud, Neural ordinary differential equations, 2018. What the
 * gathered cotangents err by does not decide the length of adaptive steps: Kidger, Chen & Lyons,
 * "Hey, that's not an ODE": faster ODE adjoints via seminorms, 2021.
 *
 * @module
 */
import { scan } from "../graph/scan.ts";
import { ones, zeros, zerosLike } from "../graph/create.ts";
import type { Tensor } from "../graph/tensor.ts";
import { customVjp, stopGradient, vjp } from "../graph/transforms.ts";
import { flatten } from "../graph/tree.ts";
import { isTensor } from "../graph/transforms/trace.ts";
import { closeField, merged, varies } from "./close.ts";
import type { Problem, Solution } from "./problem.ts";
import { add, map, type Tree } from "./tree.ts";

/** A state with what is gathered on its way back. */
type Adjoint<Y extends Tree> = { y: Y; a: Y; w: Tensor[] };

/** How problems are solved, forwards and backwards. */
export interface Solver {
  /** The solution at the end, and values at some shares of the interval. */
  readonly solve: <Y extends Tree>(problem: Problem<Y>, shares: Tensor | null) => Solution<Y>;
  /** The solution over the whole interval, or over what lies between two of the values. */
  readonly back: <Y extends Tree>(
    problem: Problem<Y>,
    what: { readonly part: boolean; readonly measured: (y: Y) => Tree },
  ) => Y;
}

/** The sum of the products of two trees' elements. */
function dot(a: Tree, b: Tree): Tensor {
  const [x, y] = [a, b].map((tree) => flatten(tree, isTensor, "a state").leaves);
  return x!.reduce((sum, x, i) => sum.add(x.mul(y![i]!).cast("f32").sum()), zeros([]));
}

/** A solution whose way back is the adjoint equation. */
export function solveContinuously<Y extends Tree>(
  problem: Problem<Y>,
  { solve, back }: Solver,
  shares: Tensor | null,
): Solution<Y> {
  const { captured, fieldOf } = closeField(problem.field, problem.y0, problem.t0);
  type Args = [y0: Y, t0: Tensor, span: Tensor, shares: Tensor | null, captured: Tensor[]];
  const solution = customVjp(
    (y0: Y, t0: Tensor, span: Tensor, shares: Tensor | null, captured: Tensor[]) =>
      solve({ field: fieldOf(captured), y0, t0, span }, shares),
    (g, { end, found }, ...[y0, t0, span, , captured]: Args) => {
      const field = fieldOf(captured);
      const adjoint = ({ y, a }: Adjoint<Y>, t: Tensor): Adjoint<Y> => {
        const [slope, pull] = vjp(
          ({ y, w }: { y: Y; w: Tensor[] }) => fieldOf(merged(captured, w))(y, t),
          { y, w: captured.filter(varies) },
        );
        const [of] = pull(map((slope, a) => a!.cast(slope.dtype), slope, a));
        return { y: slope, a: map((x) => x.neg(), of.y), w: of.w.map((x) => x.neg()) };
      };
      const timeAt = (share: Tensor): Tensor => t0.add(span.mul(share));
      const between = (state: Adjoint<Y>, from: Tensor, to: Tensor, part: boolean): Adjoint<Y> =>
        back({ field: adjoint, y0: state, t0: timeAt(from), span: span.mul(to.sub(from)) }, {
          part,
          measured: ({ y, a }) => ({ y, a }),
        });
      /** How the loss changes as a value is taken later. */
      const rate = (g: Y, y: Y, share: Tensor): Tensor => dot(g, field(y, timeAt(share)));
      const one = ones([]), zero = zeros([]);
      const last = rate(g.end, end, one);
      const start: Adjoint<Y> = {
        y: end,
        a: g.end,
        w: captured.filter(varies).map((x) => zerosLike(x)),
      };
      let first: Adjoint<Y>, ofStart = last, ofSpan = last;
      if (found === null) first = between(start, one, zero, false);
      else {
        const order = found.share.argsort(0, { descending: true });
        const rows = <T extends Tree>(tree: T): T => map((x) => x.take(order), tree);
        const [[state, share], rates] = scan(
          (
            [state, from]: [Adjoint<Y>, Tensor],
            { y, g, to }: { y: Y; g: Y; to: Tensor },
          ): [[Adjoint<Y>, Tensor], { of: Tensor; to: Tensor }] => {
            const { a, w } = between(state, from, to, true);
            // The value is known here: no need to go on from where going back has come to.
            return [[{ y, a: add(a, g), w }, to], { of: rate(g, y, to), to }];
          },
          [start, one],
          { y: rows(found.y), g: rows(g.found!.y), to: rows(stopGradient(found.share)) },
          { name: "adjoint of odeSolve" },
        );
        first = between(state, share, zero, true);
        ofStart = ofStart.add(rates.of.sum());
        ofSpan = ofSpan.add(rates.of.mul(rates.to).sum());
      }
      const gw = merged(captured, first.w);
      return [first.a, ofStart.sub(rate(first.a, y0, zero)), ofSpan, null, gw];
    },
    { forward: "function" },
  );
  const { end, found } = solution(problem.y0, problem.t0, problem.span, shares, [...captured]);
  return { end, found };
}
