/**
 * Giving back device memory that nobody refers to any more, without dispose calls, even inside a
 * loop that never awaits. Three facts of the language make it hard: V8 does not feel the weight of
 * device memory, finalisers run only between jobs, and a `WeakRef` keeps its target alive to the
 * end of the job that made or read it.
 *
 * What is watched is not the storage but its {@linkcode Lease} on the memory, which the storage alone
 * refers to: a step that writes its state over the old one hands the leases on, and nothing has to be
 * watched anew.
 *
 * The way out are **tokens**: small objects whose weak references were made in an *earlier* job. A
 * lease holds some, the reservoir forgets its own strong references; the lease is dead if and only if
 * its tokens are. When enough memory was taken since the last look, a collection is
 * provoked and one token of each storage is read: `undefined` means that the memory can be used
 * again at once, for the queue is ordered. A token that turns out to be alive is spoilt until the
 * job ends (the third fact), so each lease has a few, and who is found alive is asked again ever
 * more seldom. Results of one call that are of about one size share their tokens.
 *
 * @module
 */
import type { StorageState } from "../graph/storage.ts";
import type { Block } from "./memory.ts";

type Token = Readonly<Record<never, never>>;

/**
 * The data of one storage on the device: its state there. It goes from a donated storage to the
 * result in its place.
 */
export class Lease {
  readonly at = "device" satisfies StorageState["at"];
  /** Alive with it. */
  tokens: readonly Token[] = [];
  /** The last run that was given it, and which of its arguments takes the memory, if one does. */
  run = 0;
  taker = -1;

  /** Made by the collector alone. */
  constructor(readonly handle: Block, readonly member: Member) {}
}

/** Leases that are given up together: some results of one call. */
interface Cohort {
  readonly members: Set<Member>;
  /** How its tokens are asked; the strong references are with the storages alone. */
  readonly refs: readonly WeakRef<Token>[];
  /** The next token to ask, after so many sweeps, in this job. */
  next: number;
  wait: number;
  job: number;
}

/** What is known of a lease by those who must not keep it alive. */
interface Member {
  readonly block: Block;
  cohort: Cohort | undefined;
}

/** Sweeps that pass before a cohort's first, second … question of a job. */
const patience = [0, 0, 4, 16] as const;
/** Tokens kept ready; a job without awaits uses a few for each call of a program. */
const reservoir = 16384;
/** Bytes taken between two sweeps: the first bound, and how far it may grow. */
const leastBound = 256 * 2 ** 20, mostBound = 512 * 2 ** 20;
/** What a buffer weighs at least: its handle, and what the driver keeps of it. */
const leastWeight = 4096;

/** Watches leases and gives the memory of dead ones back. */
export class Collector {
  /** Tokens to give out, and how they are asked. */
  readonly #tokens: Token[] = [];
  readonly #refs: WeakRef<Token>[] = [];
  /** Tokens made in this job: no use before the next. */
  #fresh: Token[] = [];
  #freshRefs: WeakRef<Token>[] = [];
  readonly #cohorts = new Set<Cohort>();
  readonly #finalizers: FinalizationRegistry<Member>;
  #taken = 0;
  #bound = leastBound;
  #canary: WeakRef<Token> | undefined;
  #sweptAt = performance.now();
  #job = 0;
  /** The last job in which a token was spent. */
  #asked = -1;
  /** What the sweeps cost and found so far. */
  readonly counts = { sweeps: 0, forced: 0, blocks: 0, bytes: 0, milliseconds: 0 };

  /** A collector; it relies on `refill`, and `jobEnded` after a wait. */
  constructor(private readonly giveBack: (block: Block) => void) {
    this.#finalizers = new FinalizationRegistry((member) => {
      this.jobEnded();
      this.#bury(member);
    });
  }

  /** Makes tokens, to be used from the next job on: to be called before a wait. */
  refill(): void {
    while (this.#tokens.length + this.#fresh.length < reservoir) {
      const token: Token = {};
      this.#fresh.push(token);
      this.#freshRefs.push(new WeakRef(token));
    }
  }

  /** Says that a job ended since the last call: spoilt tokens serve again, and fresh ones too. */
  jobEnded(): void {
    this.#job++;
    for (const token of this.#fresh) this.#tokens.push(token);
    for (const ref of this.#freshRefs) this.#refs.push(ref);
    this.#fresh = [];
    this.#freshRefs = [];
  }

  /** Leases on blocks that were made together; the memory is given back when they are dead. */
  watch(blocks: readonly Block[]): Lease[] {
    const leases = blocks.map((block) => new Lease(block, { block, cohort: undefined }));
    this.#gather(leases);
    for (const lease of leases) this.#finalizers.register(lease, lease.member, lease.member);
    return leases;
  }

  /** Leases go on to other storages: those that spent tokens in this job get others. */
  passOn(leases: readonly Lease[]): void {
    if (this.#asked !== this.#job) return;
    const asked = leases.filter(({ member: { cohort } }) =>
      cohort!.next > 0 && cohort!.job === this.#job
    );
    for (const { member } of asked) this.#leave(member);
    this.#gather(asked);
  }

  /** Puts leases into cohorts by size. */
  #gather(leases: readonly Lease[]): void {
    const groups = new Map<number, { cohort: Cohort; tokens: Token[] }>();
    for (const lease of leases) {
      const size = Math.ceil(Math.log2(lease.handle.bytes) / 2);
      let group = groups.get(size);
      if (group === undefined) groups.set(size, group = this.#cohort());
      const { cohort, tokens } = group;
      cohort.members.add(lease.member);
      lease.member.cohort = cohort;
      lease.tokens = tokens;
    }
  }

  /** A cohort with its tokens; with none, if none are left: the finaliser works still. */
  #cohort(): { cohort: Cohort; tokens: Token[] } {
    const left = this.#tokens.length;
    const from = left - Math.min(left, left > reservoir / 2 ? patience.length : 2);
    const cohort: Cohort = {
      members: new Set(),
      refs: this.#refs.splice(from),
      next: 0,
      wait: patience[0],
      job: this.#job,
    };
    this.#cohorts.add(cohort);
    return { cohort, tokens: this.#tokens.splice(from) };
  }

  /** Stops watching a lease whose memory goes another way. */
  forget(lease: Lease): void {
    const { member, tokens } = lease, cohort = this.#leave(member);
    if (cohort === undefined) return;
    this.#finalizers.unregister(member);
    lease.tokens = [];
    if (cohort.members.size === 0 && cohort.next === 0) {
      // Tokens that nobody asked serve another lease.
      this.#tokens.push(...tokens);
      this.#refs.push(...cohort.refs);
    }
  }

  /** A finaliser's call: the lease is dead, which a sweep may have noticed before. */
  #bury(member: Member): void {
    if (this.#leave(member) !== undefined) this.giveBack(member.block);
  }

  /** The cohort that a member left, if it was in one. */
  #leave(member: Member): Cohort | undefined {
    const { cohort } = member;
    if (cohort === undefined) return undefined;
    member.cohort = undefined;
    cohort.members.delete(member);
    if (cohort.members.size === 0) this.#cohorts.delete(cohort);
    return cohort;
  }

  /** Notes that memory is about to be taken, and looks for dead leases when it is time. */
  noteTaken(bytes: number): void {
    this.#taken += weigh(bytes);
    if (this.#taken >= this.#bound) this.sweep();
  }

  /**
   * Notes that memory was given back, by whomever: it is no garbage. State that a step donates and
   * gets back in its place is neither taken nor given back.
   */
  noteGiven(bytes: number): void {
    this.#taken = Math.max(0, this.#taken - weigh(bytes));
  }

  /** Lets V8 collect, and releases what is dead. */
  sweep(): void {
    const start = performance.now();
    this.#isCollected();
    for (let tries = 0; !this.#isCollected(); tries++) {
      if (tries < 2) suggestCollection();
      else {
        this.counts.forced++;
        forceCollection();
        break;
      }
    }
    this.#release(start);
  }

  /** Whether V8 has collected since the last time: asked of a token that nobody holds. */
  #isCollected(): boolean {
    const collected = this.#canary?.deref() === undefined;
    this.#tokens.pop();
    this.#canary = this.#refs.pop();
    return collected && this.#canary !== undefined;
  }

  #release(start: number): void {
    let survivors = 0;
    for (const cohort of this.#cohorts) {
      const dead = this.#isDead(cohort);
      for (const member of cohort.members) {
        const { bytes } = member.block;
        if (!dead) survivors += bytes;
        else {
          this.#finalizers.unregister(member);
          member.cohort = undefined;
          this.counts.blocks++;
          this.counts.bytes += bytes;
          this.giveBack(member.block);
        }
      }
      if (!dead) continue;
      this.#cohorts.delete(cohort);
      cohort.members.clear();
    }
    const end = performance.now();
    this.counts.sweeps++;
    this.counts.milliseconds += end - start;
    // Looked at less often: who keeps much alive, and who lives so fast that it would cost.
    const share = (end - start) / (end - this.#sweptAt);
    const pace = share > 1 / 20 ? 2 : share < 1 / 80 ? 0.5 : 1;
    this.#bound = Math.min(mostBound, Math.max(leastBound, pace * this.#bound));
    this.#bound = Math.max(this.#bound, survivors / 2);
    this.#sweptAt = end;
    this.#taken = 0;
  }

  #isDead(cohort: Cohort): boolean {
    if (cohort.job !== this.#job) {
      cohort.job = this.#job;
      cohort.next = cohort.wait = 0;
    }
    const ref = cohort.refs[cohort.next];
    if (ref === undefined || cohort.wait-- > 0) return false;
    if (ref.deref() === undefined) return true;
    this.#asked = this.#job;
    cohort.wait = patience[++cohort.next] ?? 0;
    return false;
  }
}

const weigh = (bytes: number): number => Math.max(bytes, leastWeight);

/**
 * Makes V8 think of collecting, in its own time and partly beside the program: the weight of an
 * array buffer that is never touched, and so costs address space and no memory.
 */
function suggestCollection(): void {
  try {
    new ArrayBuffer(2 ** 33);
  } catch {
    // Where address space is scarce, V8 has looked everywhere for it, and collected.
  }
}

/**
 * Makes V8 collect now, several times over. An array buffer larger than any address space makes it
 * look everywhere for memory before it throws; there is no documented way without a flag. A test
 * watches that this keeps working.
 */
function forceCollection(): void {
  try {
    new ArrayBuffer(2 ** 50);
  } catch {
    // A RangeError, as intended.
  }
}
