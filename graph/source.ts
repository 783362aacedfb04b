/**
 * Where nodes come from: the line of the user's code that made them, or the node that a transform
 * made them for. A line costs a stack trace, which is taken for every node of a function being
 * traced and turned into text, which is the costly part, only for those that somebody asks about.
 * What is no operation of the user's has the source of the one it stands for: whatever handles a
 * node says so here, and all it makes in the meantime is accounted to that node.
 *
 * @module
 */
import type { Node } from "./node.ts";

const here = new URL("..", import.meta.url).href;
/** Folders of the library: frames in them are not the user's. */
const own = /^(graph|kernels|compile|runtime|checkpoint|steps|optim|nn|data|train)\//;
/** Frames of a trace: enough to leave the library. */
const frames = 24;

/** Where one node comes from. */
export class Source {
  #trace: Error | undefined;
  #line: string | undefined;

  private constructor(
    trace: Error | undefined,
    /** The node that this is a derivative of; then the line is that node's. */
    readonly derivativeOf?: Node,
  ) {
    this.#trace = trace;
  }

  /** The code that is running. */
  static here(): Source {
    const limit = Error.stackTraceLimit;
    Error.stackTraceLimit = frames;
    const trace = new Error();
    Error.stackTraceLimit = limit;
    return new Source(trace);
  }

  /** The derivative of a node. */
  static derivative(node: Node): Source {
    return new Source(undefined, node);
  }

  /** `file:line:column` of the innermost code outside the library, if there is any. */
  get line(): string | undefined {
    if (this.derivativeOf !== undefined) return this.derivativeOf.source?.line;
    if (this.#trace !== undefined) this.#line = userLine(this.#trace);
    // The trace refers to functions, and through them to whatever they close over.
    this.#trace = undefined;
    return this.#line;
  }
}

function userLine({ stack }: Error): string | undefined {
  for (const text of stack?.split("\n").slice(1) ?? []) {
    const url = text.match(/((?:file|https?|jsr|data|blob):[^\s)]+)\)?$/)?.[1];
    if (url === undefined) continue;
    if (!url.startsWith(here) || !own.test(url.slice(here.length))) {
      return url.slice(url.lastIndexOf("/") + 1);
    }
  }
  return undefined;
}

/** Traces in progress. */
let recording = 0;
/** What is being handled, if it is not the user's code that runs. */
let handled: Source | undefined;

/** Where a node comes from that is made now. */
export function currentSource(): Source | undefined {
  return handled ?? (recording > 0 ? Source.here() : undefined);
}

/** Runs `f` with every new node remembering the line of the user's code that made it. */
export function withSources<T>(f: () => T): T {
  recording++;
  try {
    return f();
  } finally {
    recording--;
  }
}

/** Runs `f` with every new node coming from `source`. */
function handling<T>(source: Source | undefined, f: () => T): T {
  const before = handled;
  handled = source;
  try {
    return f();
  } finally {
    handled = before;
  }
}

/** Runs `f`, which makes nodes that stand for `node`: the same operation on other operands. */
export function standingFor<T>({ source }: Node, f: () => T): T {
  return source === undefined ? f() : handling(source, f);
}

/** Runs `f`, which makes nodes for the derivative of `node`. */
export function differentiating<T>(node: Node, f: () => T): T {
  return node.source === undefined ? f() : handling(Source.derivative(node), f);
}

/**
 * Runs a part of the library that makes many nodes and calls no code of the user's: they all come
 * from the line that called it, so that one trace serves them, however deep inside they are made.
 */
export function calledHere<T>(f: () => T): T {
  return recording === 0 || handled !== undefined ? f() : handling(Source.here(), f);
}

/** Runs code of the user's in the midst of a transform: what it makes comes from its own lines. */
export function asWritten<T>(f: () => T): T {
  return handled === undefined ? f() : handling(undefined, f);
}
