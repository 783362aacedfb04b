/**
 * The part of the ONNX file format that node tests use, read with protobufjs.
 *
 * @module
 */
import protobuf from "protobufjs";

const schema = `
syntax = "proto2";
message AttributeProto {
  optional string name = 1; optional float f = 2; optional int64 i = 3; optional bytes s = 4;
  optional TensorProto t = 5; optional GraphProto g = 6;
  repeated float floats = 7; repeated int64 ints = 8; repeated bytes strings = 9;
  optional int32 type = 20;
}
message NodeProto {
  repeated string input = 1; repeated string output = 2; optional string op_type = 4;
  repeated AttributeProto attribute = 5; optional string domain = 7;
}
message OperatorSetIdProto { optional string domain = 1; optional int64 version = 2; }
message ModelProto { optional GraphProto graph = 7; repeated OperatorSetIdProto opset_import = 8; }
message TensorType { optional int32 elem_type = 1; }
message TypeProto { optional TensorType tensor_type = 1; }
message ValueInfoProto { optional string name = 1; optional TypeProto type = 2; }
message GraphProto {
  repeated NodeProto node = 1; repeated TensorProto initializer = 5;
  repeated ValueInfoProto input = 11; repeated ValueInfoProto output = 12;
}
message TensorProto {
  repeated int64 dims = 1; optional int32 data_type = 2;
  repeated float float_data = 4 [packed = true]; repeated int32 int32_data = 5 [packed = true];
  repeated bytes string_data = 6; repeated int64 int64_data = 7 [packed = true];
  optional string name = 8; optional bytes raw_data = 9;
  repeated double double_data = 10 [packed = true]; repeated uint64 uint64_data = 11 [packed = true];
}`;

/** A 64-bit integer as protobufjs reads it. */
export type Long = number | { toString(): string };

/** A tensor in a file. */
export interface TensorProto {
  readonly dims: readonly Long[];
  readonly dataType: number;
  readonly floatData: readonly number[];
  readonly int32Data: readonly number[];
  readonly int64Data: readonly Long[];
  readonly uint64Data: readonly Long[];
  readonly doubleData: readonly number[];
  readonly rawData: Uint8Array;
  readonly name: string;
}

/** An attribute of a node; `type` says which field holds it. */
export interface AttributeProto {
  readonly name: string;
  readonly f: number;
  readonly i: Long;
  readonly s: Uint8Array;
  readonly t: TensorProto;
  readonly g: GraphProto;
  readonly floats: readonly number[];
  readonly ints: readonly Long[];
  readonly strings: readonly Uint8Array[];
  readonly type: number;
}

/** An operator applied to named values; an empty name is an operand left out. */
export interface NodeProto {
  readonly input: readonly string[];
  readonly output: readonly string[];
  readonly opType: string;
  readonly attribute: readonly AttributeProto[];
  readonly domain: string;
}

/** Name and type of an input or an output; other types than tensors have no `tensorType`. */
export interface ValueInfoProto {
  readonly name: string;
  readonly type: { readonly tensorType: { readonly elemType: number } | null };
}

/** The nodes of a model, in order. */
export interface GraphProto {
  readonly node: readonly NodeProto[];
  readonly initializer: readonly TensorProto[];
  readonly input: readonly ValueInfoProto[];
  readonly output: readonly ValueInfoProto[];
}

/** A file `model.onnx`. */
export interface ModelProto {
  readonly graph: GraphProto;
  readonly opsetImport: readonly { readonly domain: string; readonly version: Long }[];
}

const { root } = protobuf.parse(schema);

/** A model from the bytes of its file. */
export function decodeModel(bytes: Uint8Array): ModelProto {
  return root.lookupType("ModelProto").decode(bytes) as unknown as ModelProto;
}

/** A tensor from the bytes of its file. */
export function decodeTensor(bytes: Uint8Array): TensorProto {
  return root.lookupType("TensorProto").decode(bytes) as unknown as TensorProto;
}
