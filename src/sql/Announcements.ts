/**
 * Changes as Postgres announces them (`NOTIFY`): by the circuit and its new generation; and alerts, by both. Other databases
 * announce nothing.
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import { isSqlError, type SqlError } from "effect/sql/SqlError"
import { isSnapshotAlert } from "../core/Record.ts"
import { type FieldsOf, messages } from "../internal/Messages.ts"
import type { Announcement, SnapshotAlert, StorageError } from "../Storage/Storage.ts"
import type { Database } from "./Database.ts"
import { transaction } from "./Transaction.ts"

/** Bytes of a payload: Postgres takes less than 8,000. */
const LONGEST_PAYLOAD = 7000

const SUBSCRIBED: Announcement = { _tag: "Subscribed" }

/** The announcement of a change failed, and the transaction of the change with it. */
export class AnnouncementError extends Data.TaggedError("AnnouncementError")<{ readonly cause: SqlError }> {}

/** SQLSTATE of a notification queue that is full, which Postgres finds out when the transaction commits. */
const QUEUE_FULL = "54000"

/** Whether a transaction failed because of its announcement alone. */
export const isAnnouncementFailure = (error: unknown): error is AnnouncementError | SqlError =>
  error instanceof AnnouncementError ||
  isSqlError(error) && (error.reason.cause as { readonly code?: unknown }).code === QUEUE_FULL

/** Whether an error of `pg_notify` says that it cannot announce; any other one is of the connection or of the server. */
const isRefusal = ({ reason: { _tag } }: SqlError): boolean =>
  _tag === "AuthorizationError" || _tag === "SqlSyntaxError" || _tag === "UnknownError"

/** Announces the changes and alerts of one storage. */
export interface Announcer {
  /**
   * Announces a change, or an alert, when its transaction commits. A name that is too long for a payload is announced as an empty one.
   */
  readonly announce: (
    database: Database,
    circuit: string,
    generation: number,
    alert?: SnapshotAlert
  ) => Effect.Effect<void, SqlError | AnnouncementError>
  /** Says that a change is made without its announcement, once for a storage. */
  readonly failed: (circuit: string, cause: AnnouncementError | SqlError) => Effect.Effect<void>
}

export const makeAnnouncer = (channel: string): Announcer => {
  let hasWarned = false
  return {
    announce: ({ dialect, sql }, circuit, generation, alert) => {
      if (dialect.backend !== "postgres") return Effect.void
      const payload = JSON.stringify({ circuit, generation, alert })
      const isTooLong = new TextEncoder().encode(payload).length > LONGEST_PAYLOAD
      return sql`SELECT pg_notify(${channel}, ${isTooLong ? "" : payload})`.pipe(
        Effect.mapError((error) => isRefusal(error) ? new AnnouncementError({ cause: error }) : error),
        Effect.asVoid
      )
    },
    failed: (circuit, cause) =>
      Effect.suspend(() => {
        if (hasWarned) return Effect.void
        hasWarned = true
        const fields: FieldsOf<typeof messages.announceFailed> = { circuit, cause }
        return Effect.annotateLogs(Effect.logWarning(messages.announceFailed.text), fields)
      })
  }
}

/**
 * A transaction that announces. Where the announcement alone is what fails, it is made without: a hint never costs the
 * fact.
 */
export const announcing = <A>(
  database: Database,
  announcer: Announcer,
  circuit: string,
  effect: (announces: boolean) => Effect.Effect<A, SqlError | StorageError | AnnouncementError>
): Effect.Effect<A, SqlError | StorageError> =>
  Effect.catchIf(
    transaction(database, effect(true)),
    isAnnouncementFailure,
    (error) =>
      Effect.andThen(
        announcer.failed(circuit, error),
        Effect.catchTag(transaction(database, effect(false)), "AnnouncementError", Effect.die)
      )
  )

/**
 * Decodes a payload. An empty one, or one of another kind, may stand for any change, so readers must look at all
 * circuits.
 */
export const announcementOf = (payload: string): Announcement => {
  try {
    const { alert, circuit, generation } = JSON.parse(payload)
    return typeof circuit === "string" && Number.isSafeInteger(generation)
      ? { _tag: "Changed", circuit, generation, ...(isSnapshotAlert(alert) ? { alert } : {}) }
      : SUBSCRIBED
  } catch {
    return SUBSCRIBED
  }
}
