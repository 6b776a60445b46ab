/**
 * Changes as Postgres announces them (`NOTIFY`): by the circuit and its new generation. Other databases announce
 * nothing.
 */
import * as Effect from "effect/Effect"
import type { SqlError } from "effect/sql/SqlError"
import type { Announcement } from "../Storage/Storage.ts"
import type { Database } from "./Database.ts"

/** Bytes of a payload: Postgres takes less than 8,000. */
const LONGEST_PAYLOAD = 7000

const SUBSCRIBED: Announcement = { _tag: "Subscribed" }

/**
 * Announces a change when its transaction commits. A name that is too long for a payload is announced as an empty one.
 */
export const announce = (
  { dialect, sql }: Database,
  channel: string,
  circuit: string,
  generation: number
): Effect.Effect<unknown, SqlError> => {
  if (dialect.backend !== "postgres") return Effect.void
  const payload = JSON.stringify({ circuit, generation })
  const isTooLong = new TextEncoder().encode(payload).length > LONGEST_PAYLOAD
  return sql`SELECT pg_notify(${channel}, ${isTooLong ? "" : payload})`
}

/**
 * Decodes a payload. An empty one, or one of another kind, may stand for any change, so readers must look at all
 * circuits.
 */
export const announcementOf = (payload: string): Announcement => {
  try {
    const { circuit, generation } = JSON.parse(payload)
    return typeof circuit === "string" && Number.isSafeInteger(generation)
      ? { _tag: "Changed", circuit, generation }
      : SUBSCRIBED
  } catch {
    return SUBSCRIBED
  }
}
