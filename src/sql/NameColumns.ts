/**
 * How names of circuits and instances are written in a column: as they are, unless they are too long or hold a
 * character that a column cannot.
 */
import { createHash } from "node:crypto"

/** In code points, which all databases count in. */
const LONGEST_NAME = 255

const DIGEST = /~[0-9a-f]{64}$/

/** Code points of a long name that stay readable in front of its digest. */
const READABLE = 180

/**
 * Whether a name is stored as it is. Postgres stores no NUL, and a name that ends like a digest must not pass for one.
 */
const isPlain = (name: string): boolean =>
  // A code point takes one or two code units, so names of up to 255 code units need not be counted.
  (name.length <= LONGEST_NAME || [...name].length <= LONGEST_NAME) && !name.includes("\0") && !DIGEST.test(name)

/** The key column: the name, or its beginning and its SHA-256, so that different names never share a key. */
export const keyOf = (name: string): string =>
  isPlain(name)
    ? name
    : `${[...name.slice(0, 2 * READABLE).replaceAll("\0", "␀")].slice(0, READABLE).join("")}~${
      createHash("sha256").update(name).digest("hex")
    }`

/** The column beside the key, from which a shortened name is read again: `null` where the key is the name. */
export const fullNameOf = (name: string): string | null => isPlain(name) ? null : JSON.stringify(name)

/** The name, from its two columns. */
export const nameOf = (key: string, fullName: string | null): string => fullName === null ? key : JSON.parse(fullName)
