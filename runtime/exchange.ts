/**
 * What changes hands in a run: the memory of donated arguments, and that of results. Who takes over
 * what is the same in every run of a program, and so is decided once; a run then only moves leases
 * from the old storages to the new ones. A training step with thousands of tensors comes here with
 * each of them, every time: there is nothing here that looks one up.
 *
 * @module
 */
import type { Program } from "../compile/program.ts";
import { type DType, dtypes } from "../graph/dtype.ts";
import { sameShape, showShape, sizeOf } from "../graph/shape.ts";
import { Storage } from "../graph/storage.ts";
import type { Lease } from "./collect.ts";
import type { Context } from "./context.ts";
import type { Frame } from "./frame.ts";
import type { Block } from "./memory.ts";
import { upload } from "./queue.ts";

/** An argument as it is taken. */
interface Taken {
  readonly dtype: DType;
  readonly size: number;
  /** Its slot, or -1 where it is empty or not used. */
  readonly slot: number;
  readonly isDonated: boolean;
}

/** A result as it is given. */
interface Given {
  readonly dtype: DType;
  readonly size: number;
  readonly slot: number;
  /** Its storage is that of an earlier result or of an argument, or made for it. */
  readonly is: "nothing" | "result" | "argument" | "made";
  /** The result or the argument. */
  readonly index: number;
  /** The donated argument whose memory it takes over, or -1. */
  readonly takesOver: number;
  /** Its memory is another's, too. */
  readonly isShared: boolean;
  /** The argument whose kind of memory it continues, or -1. */
  readonly heirOf: number;
}

/** Tells runs apart in what they note on leases. */
let runs = 0;

/** Takes arguments and gives results, in any number of runs of one program. */
export class Exchange {
  readonly #taken: readonly Taken[];
  readonly #given: readonly Given[];
  readonly #donates: boolean;
  /** Slots of results in memory of their own, and their bytes. */
  readonly #fresh: readonly { readonly slot: number; readonly bytes: number }[];
  /** Slots of donated arguments, by argument, whose memory no result takes over. */
  readonly #spent: readonly { readonly index: number; readonly slot: number }[];
  /** For each result whether its storage is made for it, and not an argument's or an earlier one's. */
  readonly owned: readonly boolean[];

  /** What `program` exchanges. */
  constructor(private readonly context: Context, private readonly program: Program) {
    const slotOf = new Map<number, number>();
    program.slots.forEach(({ role, bytes }, slot) => {
      if (role.is === "argument" && bytes > 0) slotOf.set(role.index, slot);
    });
    const donated = new Set(program.donated);
    this.#taken = program.arguments.map(({ dtype, shape }, i) => ({
      dtype,
      size: sizeOf(shape),
      slot: slotOf.get(i) ?? -1,
      isDonated: donated.has(i),
    }));
    this.#donates = donated.size > 0;
    this.#fresh = program.slots.flatMap(({ role, bytes }, slot) =>
      role.is === "result" ? [{ slot, bytes }] : []
    );
    this.#given = givenBy(program, this.#taken);
    this.owned = this.#given.map(({ is }) => is === "made" || is === "nothing");
    const takenOver = new Set(this.#given.map(({ takesOver }) => takesOver));
    this.#spent = this.#taken.flatMap(({ slot, isDonated }, index) =>
      isDonated && slot >= 0 && !takenOver.has(index) ? [{ index, slot }] : []
    );
  }

  /** Checks arguments and takes what is donated. Fails before anything has changed hands. */
  take(args: readonly Storage[], action: string): Frame {
    this.#check(args, action);
    const { context, program } = this, { ledger } = context;
    const given = new Array<Block | undefined>(args.length);
    const blocks = new Array<Block>(program.slots.length);
    const run = ++runs;
    for (let i = 0; i < args.length; i++) {
      const storage = args[i]!;
      given[i] = undefined;
      if (storage.size === 0) continue;
      if (storage.state.at === "host") upload(context, storage);
      const lease = context.leaseOf(storage, action);
      given[i] = lease.handle;
      if (!this.#donates) continue;
      // Of arguments that are the same, all of them given up, the last takes the memory.
      const isKept = lease.run === run && lease.taker < 0;
      lease.taker = this.#taken[i]!.isDonated && !isKept ? i : -1;
      lease.run = run;
    }
    const frame: Frame = { given, blocks, copies: [], leases: [] };
    const gone = { at: "gone", reason: `it was donated to ${program.name}` } as const;
    for (let i = 0; i < args.length; i++) {
      const { slot, isDonated } = this.#taken[i]!;
      if (slot < 0) continue;
      blocks[slot] = isDonated ? this.#receive(args[i]!, i, gone, frame) : given[i]!;
    }
    for (const { slot, bytes } of this.#fresh) blocks[slot] = ledger.take(bytes, "results");
    return frame;
  }

  #check(args: readonly Storage[], action: string): void {
    if (args.length !== this.#taken.length) {
      throw new TypeError(
        `Cannot ${action}: ${args.length} arguments, expected ${this.#taken.length}`,
      );
    }
    for (let i = 0; i < args.length; i++) {
      const { dtype, size } = args[i]!, wanted = this.#taken[i]!;
      if (dtype === wanted.dtype && size === wanted.size) continue;
      const { shape } = this.program.arguments[i]!;
      throw new TypeError(
        `Cannot ${action}: argument ${i} is ${size} × ${dtype}, expected ${wanted.dtype}${
          showShape(shape)
        }`,
      );
    }
  }

  /**
   * The block of a donated argument, or a copy where someone may still need the original: an
   * unread value computed from it, another argument (trees begin with equal zeros in many places),
   * or a result that shares its memory.
   */
  #receive(storage: Storage, index: number, gone: Storage["state"], frame: Frame): Block {
    const { context } = this;
    const from = frame.given[index]!, lease = storage.state as Lease;
    const isFree = lease.taker === index && !storage.used;
    if (isFree && from.owners === 1) {
      frame.leases[index] = lease;
      storage.state = gone;
      return from;
    }
    const to = context.ledger.take(from.bytes, storage.kind);
    frame.copies.push({ from, to });
    if (isFree) {
      storage.state = gone;
      context.end(lease);
    }
    return to;
  }

  /** Gives the results their memory. */
  give(args: readonly Storage[], frame: Frame): Storage[] {
    const { context } = this, { blocks, leases } = frame, { ledger } = context;
    const results = new Array<Storage>(this.#given.length);
    const passed: Lease[] = [], fresh: Storage[] = [], made: Block[] = [];
    for (let i = 0; i < results.length; i++) {
      const { is, index, dtype, size, slot, isShared, takesOver, heirOf } = this.#given[i]!;
      if (is === "result") results[i] = results[index]!;
      else if (is === "argument") results[i] = args[index]!;
      else if (is === "nothing") results[i] = empty(dtype);
      else {
        const block = blocks[slot]!, lease = takesOver < 0 ? undefined : leases[takesOver];
        if (isShared) ledger.retain(block);
        const storage = results[i] = new Storage(dtype, size, lease ?? pending);
        storage.kind = heirOf < 0 ? "results" : args[heirOf]!.kind;
        if (lease !== undefined) passed.push(lease);
        else {
          ledger.relabel(block, storage.kind);
          fresh.push(storage);
          made.push(block);
        }
      }
    }
    context.collector.passOn(passed);
    context.adopt(fresh, made);
    for (const { index, slot } of this.#spent) {
      const lease = leases[index];
      if (lease === undefined) ledger.release(blocks[slot]!);
      else context.end(lease);
    }
    // The frame is remembered, and must not keep the results alive.
    leases.length = 0;
    return results;
  }
}

/** Until a storage is given its lease. */
const pending = { at: "gone", reason: "it is being made" } as const;

function empty(dtype: DType): Storage {
  return new Storage(dtype, 0, { at: "host", data: new dtypes[dtype].array(0) });
}

function givenBy(program: Program, taken: readonly Taken[]): Given[] {
  const ancestors = heirs(program);
  /** The last result with a storage made for it, by slot. */
  const last = new Map<number, number>();
  const given: Given[] = [];
  program.results.forEach(({ dtype, shape, slot }, i) => {
    const size = sizeOf(shape);
    const fits = (other: { readonly dtype: DType; readonly size: number }) =>
      other.dtype === dtype && other.size === size;
    const plain = { dtype, size, slot, index: -1, takesOver: -1, isShared: false, heirOf: -1 };
    const known = last.get(slot), role = program.slots[slot]?.role;
    const argument = role?.is === "argument" ? role.index : -1;
    const isLent = argument >= 0 && !taken[argument]!.isDonated;
    if (size === 0) given.push({ ...plain, is: "nothing" });
    else if (known !== undefined && fits(given[known]!)) {
      given.push({ ...plain, is: "result", index: known });
    } else if (isLent && fits(taken[argument]!)) {
      given.push({ ...plain, is: "argument", index: argument });
    } else {
      const isShared = isLent || known !== undefined;
      const takesOver = isShared ? -1 : argument;
      last.set(slot, i);
      given.push({ ...plain, is: "made", isShared, takesOver, heirOf: ancestors[i]! });
    }
  });
  return given;
}

/**
 * For each result the donated argument that it replaces: the one whose memory it took over, else
 * the next one of its shape and dtype. What was counted as parameters stays so from step to step.
 */
function heirs({ results, slots, arguments: args, donated }: Program): number[] {
  const free = new Set(donated);
  const found = results.map(({ slot }) => {
    const role = slots[slot]?.role;
    if (role?.is !== "argument") return -1;
    free.delete(role.index);
    return role.index;
  });
  return found.map((index, i) => {
    if (index >= 0) return index;
    const { dtype, shape } = results[i]!;
    for (const candidate of free) {
      const aval = args[candidate]!;
      if (aval.dtype !== dtype || !sameShape(aval.shape, shape)) continue;
      free.delete(candidate);
      return candidate;
    }
    return -1;
  });
}
