/**
 * Data sets on the device, and the files they come from.
 *
 * @module
 */
export { assign, type AssignOptions, type Source, toHost, toTensor } from "./assign.ts";
export { byteColumn, type ByteColumnOptions, type Column, tensorColumn } from "./column.ts";
export * from "./dataset.ts";
export * from "./fetch.ts";
export * from "./idx.ts";
export * from "./mnist.ts";
export * from "./npy.ts";
export * from "./safetensors.ts";
export { Generator, shuffled } from "./shuffle.ts";
export * from "./stream.ts";
