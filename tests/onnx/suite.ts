/**
 * The ONNX backend node tests, as Debian's package libonnx-testdata holds them: one folder a case,
 * with a model, its inputs, and the outputs that it must give.
 *
 * @module
 */
import type { TypedArray } from "../../graph/dtype.ts";
import { realize } from "../../graph/realize.ts";
import { readAll } from "../../graph/tensor.ts";
import { decodeModel, decodeTensor, type ModelProto } from "./proto.ts";
import { runModel } from "./run.ts";
import { elementType, fromProto, numberOf, numbersOf, Unsupported, type Value } from "./values.ts";

/** Where the package puts them, or RETROGRAD_ONNX says they are. */
export const folder: string = Deno.env.get("RETROGRAD_ONNX") ??
  "/usr/share/libonnx-testdata/data/node";

/** A case that is ready to be compared. */
export interface Ready {
  readonly name: string;
  readonly outputs: readonly Value[];
  readonly expected: readonly Expected[];
}

interface Expected {
  readonly shape: readonly number[];
  readonly values: readonly number[];
  readonly type: number;
}

/** Names of all cases, in order; none without the package. */
export function caseNames(): string[] {
  try {
    return [...Deno.readDirSync(folder)].filter((entry) => entry.isDirectory)
      .map((entry) => entry.name).sort();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

/** The model of a case. */
export function modelOf(name: string): ModelProto {
  return decodeModel(Deno.readFileSync(`${folder}/${name}/model.onnx`));
}

function tensorsOf(name: string, kind: "input" | "output", count: number): Uint8Array[] {
  return Array.from(
    { length: count },
    (_, i) => Deno.readFileSync(`${folder}/${name}/test_data_set_0/${kind}_${i}.pb`),
  );
}

/** Cases whose outputs do not follow from their models. */
const mistaken: { readonly [name: string]: string } = {
  test_adam_multiple: "outputs made with an epsilon of 1e-2, which the model does not have",
};

/** The expressions of a case and what they must come to; throws {@linkcode Unsupported}. */
export function prepare(name: string): Ready {
  if (mistaken[name] !== undefined) throw new Unsupported(mistaken[name]);
  const model = modelOf(name), { graph } = model;
  for (const { type } of [...graph.input, ...graph.output]) {
    if (!type?.tensorType) throw new Unsupported("values that are no tensors");
    elementType(type.tensorType.elemType);
  }
  const inputs = tensorsOf(name, "input", graph.input.length).map((b) =>
    fromProto(decodeTensor(b))
  );
  const expected = tensorsOf(name, "output", graph.output.length).map((bytes) => {
    const proto = decodeTensor(bytes);
    return { shape: proto.dims.map(numberOf), values: numbersOf(proto), type: proto.dataType };
  });
  return { name, outputs: runModel(model, inputs), expected };
}

/** Computes cases together; gives for each of them what is wrong with it, or undefined. */
export async function judge(cases: readonly Ready[]): Promise<(string | undefined)[]> {
  const tensors = cases.flatMap(({ outputs }) => outputs.map(({ x }) => x));
  await realize(tensors);
  const values = await readAll(tensors);
  let next = 0;
  return cases.map(({ outputs, expected }) => {
    const own = values.slice(next, next += outputs.length);
    return expected.map((wanted, i) => differing(outputs[i]!, own[i]!, wanted))
      .find((wrong) => wrong !== undefined);
  });
}

function differing({ x, type }: Value, values: TypedArray, wanted: Expected): string | undefined {
  if (x.shape.join() !== wanted.shape.join()) {
    return `shape [${x.shape}], expected [${wanted.shape}]`;
  }
  if (type !== wanted.type) return `element type ${type}, expected ${wanted.type}`;
  for (let i = 0; i < values.length; i++) {
    const a = values[i]!, e = wanted.values[i]!;
    if (a === e || (Number.isNaN(a) && Number.isNaN(e))) continue;
    if (Math.abs(a - e) <= 1e-7 + 1e-3 * Math.abs(e)) continue;
    return `element ${i} is ${a}, expected ${e}`;
  }
  return undefined;
}
