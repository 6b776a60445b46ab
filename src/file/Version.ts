/** The text of a version: a circuit's document, what people want to see of it, and a checksum over all of that. */
import * as Effect from "effect/Effect"
import { createHash, randomUUID } from "node:crypto"
import { decodeDocument, type Document, encodeDocument } from "../Storage/Document.ts"
import { StorageError } from "../Storage/Storage.ts"

/** Raised when older code could no longer read what is written. */
const FORMAT = 1

/** What was read of a file that is whole. */
export interface Version {
  readonly circuit: string
  readonly document: Document
  /** Unix milliseconds. */
  readonly updatedAt: number
  /** Whether it was the first in its folder. */
  readonly isFirst: boolean
}

/** Why a file is none: cut short, changed, or somebody else's. */
export interface Damage {
  readonly damage: string
}

const checksumOf = (fields: object): string =>
  `sha256:${createHash("sha256").update(JSON.stringify(fields)).digest("hex")}`

/** Of the window as of the last report: of buckets of several widths, which tell of the same calls, those of one. */
const failureRateOf = ({ record: { window } }: Document): number | null => {
  const buckets = window.filter(({ width }) => width === window.at(-1)?.width)
  const failures = buckets.reduce((sum, { failure }) => sum + failure, 0)
  const calls = buckets.reduce((sum, { success }) => sum + success, failures)
  return calls === 0 ? null : Number((failures / calls).toFixed(4))
}

/** Fails with `Invalid` for a document that could not be read again. */
export const printed = (
  circuit: string,
  document: Document,
  basedOn: number | null,
  now: number
): Effect.Effect<string, StorageError> =>
  Effect.map(encodeDocument(document), () => {
    const { lifetime, state } = document.record
    const fields = {
      effect_breaker: FORMAT,
      circuit,
      state: state._tag,
      failure_rate: failureRateOf(document),
      success_count: lifetime.success,
      failure_count: lifetime.failure,
      last_updated: new Date(now).toISOString(),
      based_on: basedOn,
      // No two versions are ever the same text, so whoever finds a text again knows that it was there all the while.
      id: randomUUID(),
      document
    }
    return `${JSON.stringify({ ...fields, checksum: checksumOf(fields) }, undefined, 2)}\n`
  })

const invalid = (cause: string) => new StorageError({ operation: "read", reason: "Invalid", cause })

const isFields = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const parsed = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/**
 * What stands in a file, or why that is damaged. What is whole and makes no sense all the same, or is of a later version of this
 * library, is `Invalid`: somebody meant it, and an older file in its place would undo that. `isCircuit` says whether the folder
 * is that circuit's.
 */
export const read = (
  text: string,
  isCircuit: (name: string) => boolean
): Effect.Effect<Version | Damage, StorageError> => {
  if (text === "") return Effect.succeed({ damage: "it is empty" })
  const value = parsed(text)
  if (!isFields(value)) return Effect.succeed({ damage: "it is no JSON, or cut short" })
  const { checksum, ...fields } = value
  if (!Number.isInteger(fields["effect_breaker"])) return Effect.succeed({ damage: "it is not of this library" })
  if (checksum !== checksumOf(fields)) return Effect.succeed({ damage: "its checksum is another" })
  if (Number(fields["effect_breaker"]) > FORMAT) {
    return Effect.fail(invalid("a newer version of this library wrote the file"))
  }
  const { based_on, circuit, document, last_updated } = fields
  if (typeof circuit !== "string" || !isCircuit(circuit)) {
    return Effect.succeed({ damage: "it is of another circuit" })
  }
  return Effect.map(decodeDocument(JSON.stringify(document ?? null)), (document) => ({
    circuit,
    document,
    updatedAt: Date.parse(String(last_updated)),
    isFirst: based_on === null
  }))
}
