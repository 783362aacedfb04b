/**
 * One application of an operator: its operands and attributes, read with defaults.
 *
 * @module
 */
import type { Tensor } from "../../graph/tensor.ts";
import type { GraphProto, NodeProto, TensorProto } from "./proto.ts";
import { known, numberOf, Unsupported, type Value, valueOf } from "./values.ts";

/** An operator: the values of a node's outputs, in order. */
export type Operator = (call: Call) => Value | readonly Value[];

/** What an operator is applied to. */
export class Call {
  constructor(
    private readonly node: NodeProto,
    /** Operands; undefined where left out. */
    readonly inputs: readonly (Value | undefined)[],
    /** Version of the operator set. */
    readonly version: number,
    private readonly run: (graph: GraphProto, inputs: readonly Value[]) => Value[],
  ) {}

  /** The outputs of a graph that is an attribute; it sees the values around it. */
  body(name: string, inputs: readonly Value[]): Value[] {
    const found = this.attribute(name);
    if (found === undefined) throw new Unsupported(`no graph ${name}`);
    return this.run(found.g, inputs);
  }

  /** Number of results that somebody wants. */
  get outputs(): number {
    return this.node.output.filter((name) => name !== "").length;
  }

  /** True if the operand is there. */
  has(index: number): boolean {
    return this.inputs[index] !== undefined;
  }

  /** An operand that must be there. */
  value(index: number): Value {
    const value = this.inputs[index];
    if (value === undefined) throw new Unsupported(`no operand ${index}`);
    return value;
  }

  /** The tensor of an operand. */
  x(index = 0): Tensor {
    return this.value(index).x;
  }

  /** The element type of an operand. */
  type(index = 0): number {
    return this.value(index).type;
  }

  /** The elements of an operand that must be known before the graph runs; undefined without it. */
  known(index: number): number[] | undefined {
    const value = this.inputs[index];
    return value === undefined ? undefined : known(value);
  }

  /** A result of the element type of the first operand. */
  like(x: Tensor, index = 0): Value {
    return valueOf(x, this.type(index));
  }

  private attribute(name: string) {
    return this.node.attribute.find((attribute) => attribute.name === name);
  }

  /** An integer attribute. */
  int(name: string, otherwise: number): number {
    const found = this.attribute(name);
    return found === undefined ? otherwise : numberOf(found.i);
  }

  /** A list of integers; undefined without it. */
  ints(name: string): number[] | undefined {
    return this.attribute(name)?.ints.map(numberOf);
  }

  /** A number. */
  float(name: string, otherwise: number): number {
    return this.attribute(name)?.f ?? otherwise;
  }

  /** A string. */
  text(name: string, otherwise: string): string {
    const found = this.attribute(name);
    return found === undefined ? otherwise : new TextDecoder().decode(found.s);
  }

  /** Strings, for attributes that are not supported with any. */
  hasAttribute(name: string): boolean {
    return this.attribute(name) !== undefined;
  }

  /** A tensor; undefined without it. */
  tensor(name: string): TensorProto | undefined {
    return this.attribute(name)?.t;
  }
}
