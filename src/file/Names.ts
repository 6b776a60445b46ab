/** How a circuit is named in a file system: any text, told apart where case, normal forms and trailing dots are not. */
import { createHash } from "node:crypto"

/** File names end at 255 bytes. */
const LONGEST = 200

/** What a long name begins with stays readable. */
const READABLE = 80

/** An empty name. No other is encoded as this. */
const EMPTY = "%"

/** Devices in Windows, whatever follows a dot. */
const DEVICE = /^(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$)/

const encoder = new TextEncoder()

const escaped = (text: string): string =>
  Array.from(encoder.encode(text), (byte) => `%${byte.toString(16).padStart(2, "0")}`).join("")

const encode = (name: string): string => {
  const plain = name.replaceAll(/[^a-z0-9._-]+/g, escaped).replaceAll(/^\.|\.$/g, escaped)
  return DEVICE.test(plain) ? escaped(plain[0]!) + plain.slice(1) : plain
}

/**
 * The folder of a circuit: lower-case letters, digits, `.`, `_` and `-` as they are, all else as `%` and its bytes in UTF-8. What
 * would be too long is its beginning, `~` and its SHA-256.
 */
export const folderOf = (name: string): string => {
  if (name === "") return EMPTY
  // A name is never longer than its encoding, so a beginning is enough to see that it is too long.
  const encoded = encode(name.length > LONGEST ? name.slice(0, LONGEST) : name)
  if (name.length <= LONGEST && encoded.length <= LONGEST) return encoded
  const digest = createHash("sha256").update(name).digest("hex")
  return `${encoded.slice(0, READABLE).replace(/%.?$/, "")}~${digest}`
}

/** The circuit of a folder, `undefined` where that is no circuit's, or one whose name is not in it. */
export const nameOf = (folder: string): string | undefined => {
  if (folder === EMPTY) return ""
  try {
    const name = decodeURIComponent(folder)
    return folderOf(name) === folder ? name : undefined
  } catch {
    return undefined
  }
}
