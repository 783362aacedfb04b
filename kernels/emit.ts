/**
 * The emitter turns values at places into WGSL statements. It is asked for a node at an index
 * vector and writes what is needed, once: loads, element-wise arithmetic, the index arithmetic of
 * views. Work is done four neighbouring elements at a time where the index of a value depends on
 * the variable `lane` (0 … 3), and once for all four where it does not; a load whose address moves
 * by one from lane to lane is one `vec4` load.
 *
 * Statements go into the outermost scope that knows the variables they use, so what does not change
 * inside a loop is computed before it.
 *
 * @module
 */
import { type DType, dtypes } from "../graph/dtype.ts";
import { is, type Node } from "../graph/node.ts";
import { isElementwise, kinds } from "../graph/primitive.ts";
import {
  advance,
  constant,
  dependsOn,
  div,
  factorOf,
  flatten,
  inBlocks,
  type Index,
  isMultiple,
  mod,
  offset,
  onlyQuotient,
  type Step,
  substitute,
  toWGSL,
  variable,
} from "./index.ts";
import { indexKey, operandIndices } from "./views.ts";
import {
  helpers,
  isLiteral,
  literal,
  opaque,
  rules,
  storedName,
  typeName,
  type Width,
} from "./wgsl.ts";

/** A value in the shader. */
export interface Value {
  readonly text: string;
  readonly dtype: DType;
  readonly width: Width;
}

/** A storage buffer of the kernel. */
export interface Buffer {
  readonly name: string;
  readonly dtype: DType;
  /** Declared as an array of `vec4`; turned off when something has to be read from it singly. */
  vector: boolean;
}

interface Scope {
  readonly variables: Set<string>;
  readonly lines: string[];
  /** Names of what was bound here, by what it is. */
  readonly known: Map<string, string>;
  /** These names. */
  readonly names: Set<string>;
}

function emptyScope(variables: readonly string[] = []): Scope {
  return { variables: new Set(variables), lines: [], known: new Map(), names: new Set() };
}

/** The variable that tells the four elements of a vector apart. */
export const lane = variable("lane", 4);
const lanes = [0, 1, 2, 3].map((l) => new Map([["lane", constant(l)]]));

/** Which vector of memory four neighbours are, if they are one. */
function vectorAt(address: Index): Index | undefined {
  const first = substitute(address, lanes[0]!);
  return factorOf(address, "lane") === 1 && isMultiple(first, 4) ? div(first, 4) : undefined;
}

/** Writes the body of one kernel. */
export class Emitter {
  /** Buffer of each value that is in memory. */
  readonly buffers = new Map<Node, Buffer>();
  /**
   * Values that are written and also used for others. Drivers must not see through them, so that
   * the others are computed from what is written, and from nothing else.
   */
  sealed: ReadonlySet<Node> = new Set();
  /** Values that a kernel's own loops have computed: reductions, products. */
  computed = new Map<Node, Value>();
  readonly usedHelpers = new Set<string>();
  usesF16 = false;
  /**
   * Single elements are components of vectors: buffers stay vectors for what else is read of them.
   * A device may write all of a vector to change one component, so none may be another's meanwhile.
   */
  byComponent = false;
  /** A buffer stopped being a vector in this pass, so what was written before is wrong. */
  stale = false;
  /** The lane that is computed by itself, where the four can't be computed side by side. */
  private lane: number | undefined;
  private readonly scopes: Scope[] = [emptyScope()];
  private counter = 0;

  /** Opens a scope in which a variable is known. */
  open(...variables: string[]): void {
    this.scopes.push(emptyScope(variables));
  }

  /** Makes a variable known in the innermost scope. */
  declare(name: string): void {
    this.scopes[this.scopes.length - 1]!.variables.add(name);
  }

  /** Closes the innermost scope and returns its statements. */
  close(): string[] {
    return this.scopes.pop()!.lines;
  }

  /** Adds statements to the innermost scope. */
  line(...text: string[]): void {
    this.scopes[this.scopes.length - 1]!.lines.push(...text);
  }

  /** A fresh name; the underscore keeps it apart from types: f32 would shadow one. */
  fresh(prefix = "x"): string {
    return prefix === "x" ? `x${this.counter++}` : `${prefix}_${this.counter++}`;
  }

  /** Depth of the innermost scope that declares a variable of these expressions. */
  private depthOf(index: readonly Index[]): number {
    for (let depth = this.scopes.length - 1; depth > 0; depth--) {
      for (const name of this.scopes[depth]!.variables) {
        if (index.some((e) => dependsOn(e, name))) return depth;
      }
    }
    return 0;
  }

  /** Binds an expression to a name in the scope of depth `depth`, once per key. */
  private bind(key: string, text: string, depth: number, prefix = "x"): string {
    const scope = this.scopes[depth]!;
    const known = scope.known.get(key);
    if (known !== undefined) return known;
    const name = this.fresh(prefix);
    scope.lines.push(`let ${name} = ${text};`);
    scope.known.set(key, name);
    scope.names.add(name);
    return name;
  }

  /** An index expression as WGSL. */
  index(e: Index): string {
    return toWGSL(
      e,
      (key, text) => this.bind(`#${key}`, text, this.depthOf([this.atomOf(e, key)])),
    );
  }

  private atomOf(e: Index, key: string): Index {
    // The scope of a quotient is that of its operand: find the atom again by key.
    const find = (x: Index): Index | undefined => {
      for (const t of x.terms) {
        if (t.key === key) {
          return { terms: [{ ...t, factor: 1 }], constant: 0, min: 0, max: 0, key };
        }
        if (t.atom.is !== "variable") {
          const inner = find(t.atom.of);
          if (inner !== undefined) return inner;
        }
      }
      return undefined;
    };
    return find(e) ?? e;
  }

  /** An index expression in one of the lanes. Quotients are those of the first, or one more. */
  private at(e: Index, l: number): Index {
    return advance(e, "lane", l, (step) => this.stepped(step));
  }

  private stepped(step: Step): Index {
    const { is, base, by, max } = step;
    const over = this.carries(step), depth = this.depthOf([base]);
    const text = is === "quotient"
      ? `select(${this.index(div(base, by))}, ${this.index(offset(div(base, by), 1))}, ${over})`
      : `${this.index(offset(mod(base, by), step.step))} - select(0, ${by}, ${over})`;
    const name = this.bind(`${is} ${by} ${step.step} ${base.key}`, text, depth);
    this.scopes[depth]!.variables.add(name);
    return variable(name, max + 1);
  }

  /** Whether a step leads into the next quotient. */
  private carries({ base, by, step }: Step): string {
    const rest = mod(base, by);
    return this.bind(
      `carry ${by} ${step} ${base.key}`,
      `${this.index(rest)} >= ${by - step}`,
      this.depthOf([base]),
    );
  }

  /** Four lanes' worth of an index expression, or one if the lanes agree. */
  private indexVector(e: Index): { text: string; width: Width } {
    if (!dependsOn(e, "lane")) return { text: this.index(e), width: 1 };
    const factor = factorOf(e, "lane");
    if (factor !== undefined) {
      const base = this.index(substitute(e, lanes[0]!));
      const steps = factor === 1
        ? "vec4<i32>(0, 1, 2, 3)"
        : `vec4<i32>(0, ${factor}, ${2 * factor}, ${3 * factor})`;
      return { text: `(vec4<i32>(${base}) + ${steps})`, width: 4 };
    }
    const each = lanes.map((_, l) => this.index(this.at(e, l)));
    return { text: `vec4<i32>(${each.join(", ")})`, width: 4 };
  }

  /** The value of a node at an index. */
  value(node: Node, index: readonly Index[]): Value {
    if (node.dtype === "f16") this.usesF16 = true;
    const computed = this.computed.get(node);
    if (computed !== undefined) {
      return this.lane === undefined || computed.width === 1
        ? computed
        : { ...computed, text: `${computed.text}[${this.lane}]`, width: 1 };
    }
    if (is(node, "fill")) {
      return { text: literal(node.attributes.value, node.dtype), dtype: node.dtype, width: 1 };
    }
    const stored = this.buffers.has(node);
    if (
      !stored && kinds[node.op] === "movement" && node.op !== "pad" && node.op !== "concatenate"
    ) {
      return this.value(node.inputs[0]!, operandIndices(node, index)[0]!);
    }
    const width: Width = index.some((e) => dependsOn(e, "lane")) ? 4 : 1;
    const depth = this.depthOf(index);
    const key = `${node.id}@${indexKey(index)}`;
    for (let d = depth; d < this.scopes.length; d++) {
      const known = this.scopes[d]!.known.get(key);
      if (known !== undefined) return this.recall(known, node.dtype);
    }
    let { text, width: got } = this.compute(node, index, width);
    if (this.sealed.has(node)) text = opaque({ text, dtype: node.dtype }, got);
    // A value may rest on names of a deeper scope than its index tells (a found row, a result of a
    // loop), so it is bound no further out than the names that its text uses.
    const name = this.bind(key, text, Math.max(depth, this.depthOfText(text)), "x");
    this.widths.set(name, got);
    return { text: name, dtype: node.dtype, width: got };
  }

  private readonly widths = new Map<string, Width>();
  private recall(name: string, dtype: DType): Value {
    return { text: name, dtype, width: this.widths.get(name)! };
  }

  private depthOfText(text: string): number {
    const used = text.match(/[A-Za-z_]\w*/g) ?? [];
    for (let depth = this.scopes.length - 1; depth > 0; depth--) {
      const { names, variables } = this.scopes[depth]!;
      if (used.some((name) => names.has(name) || variables.has(name))) return depth;
    }
    return 0;
  }

  private compute(
    node: Node,
    index: readonly Index[],
    width: Width,
  ): { text: string; width: Width } {
    const buffer = this.buffers.get(node);
    if (buffer !== undefined) return this.load(buffer, node, index, width);
    if (is(node, "iota")) {
      const e = this.indexVector(index[node.attributes.axis]!);
      const type = typeName(node.dtype, e.width);
      return { text: node.dtype === "i32" ? e.text : `${type}(${e.text})`, width: e.width };
    }
    if (is(node, "pad")) return this.pad(node, index);
    if (is(node, "concatenate")) return this.concatenate(node, index);
    if (is(node, "gather")) return this.gather(node, index);
    if (!isElementwise(node.op)) throw new Error(`Cannot emit ${node.op} inside a region`);
    const operands = node.inputs.map((input) => this.value(input, index));
    const wide: Width = operands.some((o) => o.width === 4) ? 4 : 1;
    const splat = operands.map((o) => this.splat(o, wide));
    // Literals alone would be computed by the shader's compiler, which rejects what overflows.
    if (splat.every((o) => isLiteral(o.text))) {
      splat[0] = { ...splat[0]!, text: opaque(splat[0]!, wide) };
    }
    const text = rules[node.op]!(splat, wide, node.dtype);
    for (const name in helpers) {
      if (text.includes(name)) this.usedHelpers.add(name);
    }
    return { text, width: wide };
  }

  /** The value with `width` lanes. */
  splat(value: Value, width: Width): Value {
    if (value.width === width) return value;
    return { ...value, text: `${typeName(value.dtype, width)}(${value.text})`, width };
  }

  private load(
    buffer: Buffer,
    node: Node,
    index: readonly Index[],
    width: Width,
  ): { text: string; width: Width } {
    const address = flatten(index, node.shape);
    const wrap = (text: string, w: Width): string =>
      node.dtype === "bool" ? `${text} != ${w === 1 ? "0u" : "vec4<u32>(0u)"}` : text;
    if (width === 1) return { text: wrap(this.single(buffer, address), 1), width: 1 };
    const vector = buffer.vector ? vectorAt(address) ?? vectorAt(inBlocks(address)) : undefined;
    if (vector !== undefined) {
      return { text: wrap(`${buffer.name}[${this.index(vector)}]`, 4), width: 4 };
    }
    const type = `vec4<${dtypes[node.dtype].stored}>`;
    const quotient = onlyQuotient(address, "lane");
    const factor = quotient && factorOf(quotient.of, "lane")!;
    if (quotient !== undefined && factor! > 0 && 3 * factor! <= quotient.by) {
      // The lanes lie in one quotient or in two neighbours: two loads serve all four, and those of
      // neighbouring vectors, which are told by where the first of them lies.
      const first = substitute(quotient.of, lanes[0]!), { by } = quotient;
      const near = first.constant > 0 && first.constant + 3 * factor! <= by;
      const of = near ? offset(first, -first.constant) : first, far = near ? first.constant : 0;
      const [here, there] = [0, 1].map((more) => {
        const own = advance(address, "lane", 3, () => offset(div(of, by), more));
        const name = `${buffer.name}@${own.key}`;
        return `${type}(${this.bind(name, this.single(buffer, own), this.depthOf([own]))})`;
      });
      const over = lanes.map((_, l) => {
        const step = far + l * factor!;
        return step === 0 ? "false" : this.carries({ is: "quotient", base: of, by, step, max: 0 });
      });
      return {
        text: wrap(`select(${here}, ${there}, vec4<bool>(${over.join(", ")}))`, 4),
        width: 4,
      };
    }
    const each = lanes.map((_, l) => {
      const own = this.at(address, l);
      // Rows that begin at unlike remainders by four have three of four neighbours in common.
      return factorOf(address, "lane") === 1
        ? this.bind(`${buffer.name}@${own.key}`, this.single(buffer, own), this.depthOf([own]))
        : this.single(buffer, own);
    });
    return { text: wrap(`${type}(${each.join(", ")})`, 4), width: 4 };
  }

  private single(buffer: Buffer, address: Index): string {
    if (buffer.vector && this.byComponent) {
      const at = this.index(address);
      return `${buffer.name}[(${at}) / 4][(${at}) % 4]`;
    }
    if (buffer.vector) {
      buffer.vector = false;
      this.stale = true;
    }
    // Past the end of an odd size an address may be a negative constant, which is no valid shader.
    return `${buffer.name}[${address.max < 0 ? "0" : this.index(address)}]`;
  }

  /** lower <= e < upper, as bool or a vector of bool; undefined where it always holds. */
  private inside(e: Index, lower: number, upper: number): Value | undefined {
    const tests = (x: Index): string => {
      const parts: string[] = [];
      if (x.min < lower) parts.push(`(${this.index(x)}) >= ${lower}`);
      if (x.max >= upper) parts.push(`(${this.index(x)}) < ${upper}`);
      return parts.length === 0 ? "true" : parts.join(" && ");
    };
    if (e.min >= lower && e.max < upper) return undefined;
    // Lanes that are inside together, or outside together, need one test.
    const first = substitute(e, lanes[0]!);
    const apart = (bound: number): boolean => !isMultiple(offset(first, -bound), 4);
    const together = !dependsOn(e, "lane") ||
      factorOf(e, "lane") === 1 && !(e.min < lower && apart(lower)) &&
        !(e.max >= upper && apart(upper));
    if (together) return { text: `(${tests(first)})`, dtype: "bool", width: 1 };
    const each = lanes.map((_, l) => tests(this.at(e, l)));
    return { text: `vec4<bool>(${each.join(", ")})`, dtype: "bool", width: 4 };
  }

  /** All of several conditions. */
  private every(conditions: readonly (Value | undefined)[]): Value | undefined {
    const list = conditions.filter((c) => c !== undefined);
    if (list.length === 0) return undefined;
    const width: Width = list.some((c) => c.width === 4) ? 4 : 1;
    const text = list.map((c) => this.splat(c, width).text).join(" & ");
    return { text: `(${text})`, dtype: "bool", width };
  }

  private choose(condition: Value, yes: Value, no: Value): { text: string; width: Width } {
    const width: Width = [condition, yes, no].some((v) => v.width === 4) ? 4 : 1;
    const [c, a, b] = [condition, yes, no].map((v) => this.splat(v, width).text);
    return { text: `select(${b}, ${a}, ${c})`, width };
  }

  private pad(node: Node<"pad">, index: readonly Index[]): { text: string; width: Width } {
    const [x] = node.inputs;
    const { before, value } = node.attributes;
    const outer: Value = { text: literal(value, node.dtype), dtype: node.dtype, width: 1 };
    const inside = this.every(
      index.map((e, i) => this.inside(e, before[i]!, before[i]! + x!.shape[i]!)),
    );
    const inner = this.value(x!, operandIndices(node, index)[0]!);
    return inside === undefined ? inner : this.choose(inside, inner, outer);
  }

  private concatenate(
    node: Node<"concatenate">,
    index: readonly Index[],
  ): { text: string; width: Width } {
    const { axis } = node.attributes;
    const places = operandIndices(node, index);
    const e = index[axis]!;
    let start = 0, result: Value | undefined;
    node.inputs.forEach((input, i) => {
      const here = this.value(input, places[i]!);
      const condition = this.inside(e, start, Number.MAX_SAFE_INTEGER);
      const chosen = result === undefined || condition === undefined
        ? here
        : { ...this.choose(condition, here, result), dtype: node.dtype };
      const name = this.bind(
        `cat${node.id}.${i}@${indexKey(index)}`,
        chosen.text,
        Math.max(this.depthOf(index), this.depthOfText(chosen.text)),
      );
      result = { text: name, dtype: node.dtype, width: chosen.width };
      start += input.shape[axis]!;
    });
    return result!;
  }

  private gather(node: Node<"gather">, index: readonly Index[]): { text: string; width: Width } {
    const [x, rows] = node.inputs;
    const lead = index.slice(0, rows!.shape.length), rest = index.slice(rows!.shape.length);
    if (lead.some((e) => dependsOn(e, "lane"))) {
      const each = lanes.map((_, i) => {
        this.lane = i;
        const { text } = this.value(node, index.map((e) => this.at(e, i)));
        this.lane = undefined;
        return text;
      });
      return { text: `${typeName(node.dtype, 4)}(${each.join(", ")})`, width: 4 };
    }
    const row = this.value(rows!, lead);
    const size = x!.shape[0]!;
    const depth = Math.max(this.depthOf(lead), this.depthOfText(row.text));
    const found = this.bind(`found:${row.text}`, `i32(${row.text})`, depth, "f");
    const at = this.bind(
      `held:${found}`,
      `clamp(${found}, 0, ${Math.max(0, size - 1)})`,
      depth,
      "f",
    );
    // Addresses are made of the row, so it has a scope like any variable.
    this.scopes[depth]!.variables.add(at);
    const inner = this.value(x!, [variable(at, size), ...rest]);
    // u32 beyond 2^31 turns negative here, which is outside as well.
    const inside: Value = {
      text: `(${found} >= 0 && ${found} < ${size})`,
      dtype: "bool",
      width: 1,
    };
    const missing = dtypes[node.dtype].float ? NaN : 0;
    return this.choose(inside, inner, {
      text: literal(missing, node.dtype),
      dtype: node.dtype,
      width: 1,
    });
  }

  /**
   * Writes values to buffers, at one address unless one has its own: all values first, then all
   * stores, since an output may lie over an input that the others still read.
   */
  storeAll(
    outputs: readonly { buffer: Buffer; value: () => Value; address?: Index }[],
    everywhere: Index,
  ): void {
    const values = outputs.map(({ value }) => value());
    const lines = outputs.map(({ buffer, address = everywhere }, i) =>
      this.store(buffer, values[i]!, address)
    );
    this.line(...lines);
  }

  /** Statement that writes a value at a linear address (whose lane, if any, moves by one). */
  store(buffer: Buffer, value: Value, address: Index): string {
    const width: Width = dependsOn(address, "lane") ? 4 : 1;
    const { text } = this.splat(value, width);
    const stored = value.dtype === "bool"
      ? `select(${storedName("bool", width)}(0u), ${storedName("bool", width)}(1u), ${text})`
      : text;
    if (width === 1) return `${this.single(buffer, address)} = ${stored};`;
    const vector = buffer.vector ? vectorAt(address) : undefined;
    if (vector !== undefined) return `${buffer.name}[${this.index(vector)}] = ${stored};`;
    const name = this.fresh("s");
    const each = lanes.map((l, i) =>
      `${this.single(buffer, substitute(address, l))} = ${name}[${i}];`
    );
    return `let ${name} = ${stored}; ${each.join(" ")}`;
  }
}
