/**
 * The folder name of a circuit. Any text gets a name of its own, also where the file system ignores case, normal forms
 * and trailing dots.
 */
import { createHash } from "node:crypto"

/** File systems allow 255 bytes. */
const MOST_BYTES = 200

/** The beginning of a long name that stays readable. */
const READABLE_BYTES = 80

/** The folder of the circuit with the empty name. No other name is encoded as this. */
const EMPTY = "%"

/** Device names of Windows, which it reserves also when a dot and more follow. */
const DEVICE = /^(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$)/

const encoder = new TextEncoder()

const escaped = (text: string): string =>
  Array.from(encoder.encode(text), (byte) => `%${byte.toString(16).padStart(2, "0")}`).join("")

const encode = (name: string): string => {
  const plain = name.replaceAll(/[^a-z0-9._-]+/g, escaped).replaceAll(/^\.|\.$/g, escaped)
  return DEVICE.test(plain) ? escaped(plain[0]!) + plain.slice(1) : plain
}

/**
 * The folder of a circuit. Lower-case letters, digits, `.`, `_` and `-` stand for themselves, everything else is `%`
 * and its bytes in UTF-8. A name that would be too long becomes its beginning, `~` and its SHA-256.
 */
export const folderOf = (name: string): string => {
  if (name === "") return EMPTY
  // A name is never longer than its encoding, so the beginning is enough to see that it is too long.
  const encoded = encode(name.length > MOST_BYTES ? name.slice(0, MOST_BYTES) : name)
  if (name.length <= MOST_BYTES && encoded.length <= MOST_BYTES) return encoded
  const digest = createHash("sha256").update(name).digest("hex")
  return `${encoded.slice(0, READABLE_BYTES).replace(/%.?$/, "")}~${digest}`
}

/** The circuit of a folder. `undefined` if the folder is not a circuit's, or its name is only a digest. */
export const nameOf = (folder: string): string | undefined => {
  if (folder === EMPTY) return ""
  try {
    const name = decodeURIComponent(folder)
    return folderOf(name) === folder ? name : undefined
  } catch {
    return undefined
  }
}
