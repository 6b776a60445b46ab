/** A parsed file: its value, and where in the file each part of it is. */

export interface Document {
  /** Plain data: objects, arrays, texts, numbers, booleans, `null`, and dates in TOML. */
  readonly value: unknown
  /** The line of a key, from 1; of the nearest one around it where the format does not say. */
  readonly lineOf: (path: ReadonlyArray<string>) => number | undefined
}

/** A text that is not of its format. What the parser says is not quoted, because it may quote the text, and that may be secret. */
export interface NotParsed {
  readonly line: number | undefined
  /** The expected values, in words. */
  readonly allowed: string
  /** The key that it is about; empty where the parser was at none. */
  readonly path: ReadonlyArray<string>
}

export type Parsed = { readonly document: Document } | { readonly problem: NotParsed }

export const isParsed = (parsed: Parsed): parsed is { readonly document: Document } => "document" in parsed

export const notParsed = (allowed: string, line?: number, path: ReadonlyArray<string> = []): Parsed => ({
  problem: { allowed, line, path }
})

/** A key for a path in a map. No character of a key can be taken for the separator. */
const keyOf = (path: ReadonlyArray<string>): string => JSON.stringify(path)

/** The lines of keys, as a parser meets them. */
export class Lines {
  readonly #lines = new Map<string, number>()

  has(path: ReadonlyArray<string>): boolean {
    return this.#lines.has(keyOf(path))
  }

  set(path: ReadonlyArray<string>, line: number): void {
    if (!this.has(path)) this.#lines.set(keyOf(path), line)
  }

  readonly of = (path: ReadonlyArray<string>): number | undefined => {
    for (let length = path.length; length > 0; length--) {
      const line = this.#lines.get(keyOf(path.slice(0, length)))
      if (line !== undefined) return line
    }
    return undefined
  }
}
