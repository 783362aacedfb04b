/** A device to compile for without having one. */
import type { Target } from "../../compile/program.ts";

/** What a software adapter is like. */
export const target: Target = {
  maxBindings: 8,
  maxBindingBytes: 2 ** 27,
  maxWorkgroups: 65535,
  kind: "software",
  f16: true,
  shuffle: true,
};
