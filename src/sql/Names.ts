/** How names are written in a column: as they are, unless they are too long or hold what a column cannot. */
import { createHash } from "node:crypto"

/** In code points, which is how all databases count. */
const LONGEST = 255

const DIGEST = /~[0-9a-f]{64}$/

/** What a name begins with stays readable. */
const READABLE = 180

/** Whether a name is stored as it is. Postgres holds no NUL, and what looks like a digest must not be taken for one. */
const isPlain = (name: string): boolean =>
  // No code point takes less than a code unit, so most names need not be counted.
  (name.length <= LONGEST || [...name].length <= LONGEST) && !name.includes("\0") && !DIGEST.test(name)

/** What stands in the column: the name, or its beginning and its SHA-256, so that no two are ever the same. */
export const keyOf = (name: string): string =>
  isPlain(name)
    ? name
    : `${[...name.slice(0, 2 * READABLE).replaceAll("\0", "␀")].slice(0, READABLE).join("")}~${
      createHash("sha256").update(name).digest("hex")
    }`

/** What stands beside it, so that the name can be read again: nothing where the key is the name. */
export const fullNameOf = (name: string): string | null => isPlain(name) ? null : JSON.stringify(name)

/** The name of a key and of what stands beside it. */
export const nameOf = (key: string, fullName: string | null): string => fullName === null ? key : JSON.parse(fullName)
