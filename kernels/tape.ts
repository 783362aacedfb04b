/**
 * The difference tape's kernels: codes of what an inverse gets wrong, packed into an arena, and the
 * way back. See tape/layout.ts for how they work together.
 *
 * @module
 */
export {
  type Carry,
  dispatchesOf,
  fullWords,
  isDirect,
  lanesOn,
  type Picked,
  type TapeShape,
  tapeShape,
} from "./tape/layout.ts";
export { recordKernel } from "./tape/record.ts";
export { restoreKernel } from "./tape/restore.ts";
