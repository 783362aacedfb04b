/**
 * Signatures of the command-line parser; its documentation is at https://jsr.io/@std/cli. The
 * result is typed as the real one types it for flat option names: `boolean` options are always
 * present, `string` options may be missing unless they have a default, `collect`ed ones are
 * arrays, `negatable` strings may be `false`, and everything else is `unknown`.
 */

type Value<
  K extends string,
  B extends string,
  C extends string,
  N extends string,
> =
  | (K extends C ? (K extends B ? boolean : string)[] : K extends B ? boolean : string)
  | (K extends B ? never : K extends N ? false : never);

type Parsed<
  B extends string,
  S extends string,
  C extends string,
  N extends string,
  D,
> =
  & Record<string, unknown>
  & { [K in Exclude<B | Extract<S, C>, keyof D>]: Value<K, B, C, N> }
  & { [K in Exclude<S, C | keyof D>]?: Value<K, B, C, N> }
  & { [K in Exclude<C, B | S | keyof D>]: unknown[] | (K extends N ? false : never) }
  & { [K in keyof D]: K extends B | S ? D[K] | Value<K & string, B, C, N> : unknown };

/** What `parseArgs` returns. */
export type Args<T = Record<string, any>, DoubleDash = undefined> =
  & T
  & { _: (string | number)[] }
  & (DoubleDash extends true ? { "--": string[] } : unknown);

/** How `parseArgs` reads the arguments. */
export interface ParseOptions<
  B extends string | boolean | undefined = string | boolean | undefined,
  S extends string | undefined = string | undefined,
  C extends string | undefined = string | undefined,
  N extends string | undefined = string | undefined,
  D extends Record<string, unknown> | undefined = Record<string, unknown> | undefined,
  DoubleDash extends boolean | undefined = boolean | undefined,
> {
  "--"?: DoubleDash;
  alias?: Readonly<Record<string, string | readonly string[]>>;
  boolean?: B | readonly Extract<B, string>[];
  collect?: C | readonly Extract<C, string>[];
  default?: D;
  negatable?: N | readonly Extract<N, string>[];
  stopEarly?: boolean;
  string?: S | readonly Extract<S, string>[];
  unknown?: (arg: string, key?: string, value?: unknown) => unknown;
}

export declare function parseArgs<
  const B extends string | boolean | undefined = undefined,
  const S extends string | undefined = undefined,
  const C extends string | undefined = undefined,
  const N extends string | undefined = undefined,
  D extends Record<string, unknown> | undefined = undefined,
  DoubleDash extends boolean | undefined = undefined,
>(
  args: string[],
  options?: ParseOptions<B, S, C, N, D, DoubleDash>,
): Args<
  [Extract<B | S | C, string>] extends [never]
    // deno-lint-ignore no-explicit-any
    ? Record<string, any>
    : Parsed<
      Extract<B, string>,
      Extract<S, string>,
      Extract<C, string>,
      Extract<N, string>,
      D extends undefined ? Record<never, never> : D
    >,
  DoubleDash
>;
