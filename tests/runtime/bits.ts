import { random, realize, type Tensor } from "../../mod.ts";

/** Normal numbers, the same in every run. */
export const normal = (seed: number, shape: readonly number[]): Tensor =>
  random.normal(random.key(seed), shape);

/** The bytes of tensors, to compare bits. */
export async function bitsOf(tensors: readonly Tensor[]): Promise<Uint8Array[]> {
  await realize(tensors);
  return await Promise.all(tensors.map(async (x) => {
    const data = await x.data();
    return new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice();
  }));
}
