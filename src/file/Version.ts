/** The text of a version: the circuit's document, the fields that people look for, and a checksum over both. */
import * as Effect from "effect/Effect"
import { createHash, randomUUID } from "node:crypto"
import { decodeDocument, type Document, encodeDocument } from "../Storage/Document.ts"
import type { StorageError } from "../Storage/Storage.ts"
import { fileError } from "./FileError.ts"

/** Raise it when older code can no longer read what is written. */
const FORMAT = 1

/** The content of an undamaged file. */
export interface Version {
  readonly circuit: string
  readonly document: Document
  /** Unix milliseconds. */
  readonly updatedAt: number
  /** True if it was the first version in its folder. */
  readonly isFirst: boolean
}

/** Why a file cannot be used: it was cut short, changed, or written by another program. */
export interface Damage {
  readonly damage: string
}

const checksumOf = (fields: object): string =>
  `sha256:${createHash("sha256").update(JSON.stringify(fields)).digest("hex")}`

/**
 * Of the window as of the last report. Buckets of different widths count the same calls, so only those of one width
 * count here.
 */
const failureRateOf = ({ record: { window } }: Document): number | null => {
  const buckets = window.filter(({ width }) => width === window.at(-1)?.width)
  const failures = buckets.reduce((sum, { failure }) => sum + failure, 0)
  const calls = buckets.reduce((sum, { success }) => sum + success, failures)
  return calls === 0 ? null : Number((failures / calls).toFixed(4))
}

/** Fails with `Invalid` if the document could not be read again. */
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
      // No two versions have the same text, so a writer that finds a text again knows that it was there all along.
      id: randomUUID(),
      document
    }
    return `${JSON.stringify({ ...fields, checksum: checksumOf(fields) }, undefined, 2)}\n`
  })

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
 * Reads the text of a file. `isCircuit` tells whether the file's folder is that circuit's.
 *
 * Fails with `Invalid` if the file is undamaged, and yet its document cannot be decoded or a newer version of this
 * library wrote it: it was written on purpose, and using an older file in its place would undo that.
 */
export const read = (
  text: string,
  isCircuit: (name: string) => boolean
): Effect.Effect<Version | Damage, StorageError> => {
  if (text === "") return Effect.succeed({ damage: "the file is empty" })
  const value = parsed(text)
  if (!isFields(value)) return Effect.succeed({ damage: "the file is not JSON, or is cut short" })
  const { checksum, ...fields } = value
  const format = fields["effect_breaker"]
  if (typeof format !== "number" || !Number.isInteger(format)) {
    return Effect.succeed({ damage: "this library did not write the file" })
  }
  if (checksum !== checksumOf(fields)) return Effect.succeed({ damage: "the checksum does not match" })
  if (format > FORMAT) {
    return Effect.fail(
      fileError(
        "Invalid",
        `a newer version of this library wrote the file, in format ${format} and not ${FORMAT}: update this process`
      )
    )
  }
  const { based_on, circuit, document, last_updated } = fields
  if (typeof circuit !== "string" || !isCircuit(circuit)) {
    return Effect.succeed({ damage: `the file is of another circuit: ${JSON.stringify(circuit)?.slice(0, 100)}` })
  }
  return Effect.map(decodeDocument(JSON.stringify(document ?? null)), (document) => ({
    circuit,
    document,
    updatedAt: Date.parse(String(last_updated)),
    isFirst: based_on === null
  }))
}
