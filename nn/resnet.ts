/**
 * A residual network for small images (He et al. 2016, section 4.2): a convolution, three or more
 * stages of blocks, each but the first at half the resolution and with more channels, the mean over
 * all places, and a linear layer. With three blocks in each of [16, 32, 64] it is their ResNet-20.
 *
 * @module
 */
import { checkNames } from "../graph/describe.ts";
import { foldIn } from "../graph/random.ts";
import type { Tree } from "../optim/tree.ts";
import { relu } from "./activations.ts";
import { batchNorm } from "./batch_norm.ts";
import { conv, globalAveragePool } from "./conv.ts";
import { expectRecord, expectSize, type StatefulLayer, withKey } from "./layer.ts";
import { linear } from "./linear.ts";
import { type StatefulLink, statefulSequential } from "./sequential.ts";

/** Parameters of {@linkcode residualBlock}. */
export type ResidualBlockParams = {
  /** Two convolutions, each with batch norm. */
  readonly branch: readonly Tree[];
  /** A convolution of one place with batch norm; missing where the input goes on as it is. */
  readonly shortcut?: readonly Tree[];
};

/** State of {@linkcode residualBlock}. */
export type ResidualBlockState = ResidualBlockParams;

/**
 * relu(shortcut(x) + f(x)), f being two convolutions of 3×3 with batch norm. Where channels or
 * resolution change, the shortcut is a convolution of 1×1.
 *
 * @throws {RangeError} If a size is not a positive integer.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * const block = rg.nn.residualBlock(8, 16, 2);
 * const params = block.init(rg.random.key(0));
 * const [y] = block.apply(params, block.initState(), rg.ones([2, 8, 8, 8]), { train: true });
 * assertEquals(y.shape, [2, 4, 4, 16]);
 * ```
 */
export function residualBlock(
  inputs: number,
  outputs: number,
  stride: number = 1,
): StatefulLayer<ResidualBlockParams, ResidualBlockState> {
  const name = `residualBlock(${inputs}, ${outputs}, ${stride})`;
  expectSize(name, "the stride", stride);
  const branch = statefulSequential([
    conv(inputs, outputs, 3, { stride, bias: false }),
    batchNorm(outputs),
    relu,
    conv(outputs, outputs, 3, { bias: false }),
    batchNorm(outputs),
  ]);
  const shortcut = inputs === outputs && stride === 1
    ? undefined
    : statefulSequential([conv(inputs, outputs, 1, { stride, bias: false }), batchNorm(outputs)]);
  const parts = ["branch", ...shortcut === undefined ? [] : ["shortcut" as const]] as const;
  return {
    name,
    init: (key) => ({
      branch: branch.init(foldIn(key, 0)),
      ...shortcut && { shortcut: shortcut.init(foldIn(key, 1)) },
    }),
    initState: () => ({
      branch: branch.initState(),
      ...shortcut && { shortcut: shortcut.initState() },
    }),
    apply(params, state, x, options) {
      const own = expectRecord<string, Tree>(name, "parameters", params, parts);
      const before = expectRecord<string, Tree>(name, "state", state, parts);
      const [y, after] = branch.apply(own.branch!, before.branch!, x, withKey(options, 0));
      if (shortcut === undefined) return [x.add(y).relu(), { branch: after }];
      const [past, next] = shortcut.apply(
        own.shortcut!,
        before.shortcut!,
        x,
        withKey(options, 1),
      );
      return [past.add(y).relu(), { branch: after, shortcut: next }];
    },
  };
}

/** The sizes of a {@linkcode resnet}. */
export interface ResnetOptions {
  /** Channels of the images. @default {3} */
  inputs?: number;
  /** Classes. */
  classes: number;
  /** Channels of every stage. @default {[16, 32, 64]} */
  channels?: readonly number[];
  /** Blocks of every stage. @default {3} */
  blocks?: number;
}

/**
 * A small ResNet: images [batch, height, width, inputs] to logits [batch, classes].
 *
 * @throws {RangeError} If a size is not a positive integer, or there are no stages.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * const model = rg.nn.resnet({ classes: 10, channels: [4, 8], blocks: 1 });
 * const params = model.init(rg.random.key(0)), state = model.initState();
 * const [logits, next] = model.apply(params, state, rg.ones([2, 8, 8, 3]), { train: true });
 * assertEquals(logits.shape, [2, 10]);
 * assertEquals(next.length, state.length);
 * ```
 */
export function resnet(
  options: ResnetOptions,
): StatefulLayer<readonly Tree[], readonly Tree[]> {
  checkNames(options, { inputs: true, classes: true, channels: true, blocks: true }, "make resnet");
  const { inputs = 3, classes, channels = [16, 32, 64], blocks = 3 } = options;
  const name = `resnet(${classes}, [${channels.join(", ")}], ${blocks})`;
  expectSize(name, "the number of classes", classes);
  expectSize(name, "the number of blocks", blocks);
  const [first] = channels;
  if (first === undefined) {
    throw new RangeError(`Cannot make ${name}: there are no stages, expected channels of one`);
  }
  const links: StatefulLink[] = [conv(inputs, first, 3, { bias: false }), batchNorm(first), relu];
  let before = first;
  channels.forEach((width, stage) => {
    for (let i = 0; i < blocks; i++) {
      links.push(residualBlock(before, width, i === 0 && stage > 0 ? 2 : 1));
      before = width;
    }
  });
  const model = statefulSequential([...links, globalAveragePool, linear(before, classes)]);
  return { ...model, name };
}
