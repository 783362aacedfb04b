import type { Tensor } from "../../mod.ts";

/** The bytes of tensors, to compare bits. */
export async function bitsOf(tensors: readonly Tensor[]): Promise<Uint8Array[]> {
  return await Promise.all(tensors.map(async (x) => {
    const data = await x.data();
    return new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice();
  }));
}
