/**
 * The difference tape's kernels: codes of what an inverse gets wrong, packed into an arena, and the
 * way back. See tape/layout.ts for how they work together.
 *
 * @module
 */
export { carriesADispatch, codeKernel, patchKernel } from "./tape/codes.ts";
export { type Carry, fullWords, lanesOn, type TapeShape, tapeShape } from "./tape/layout.ts";
export { packKernel } from "./tape/pack.ts";
export { unpackKernel } from "./tape/unpack.ts";
