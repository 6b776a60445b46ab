/**
 * The history of circuits in a database: the changes in a range of time, how often each was made, how long a circuit
 * was in each state, and how long it took to recover. It can also delete what is too old.
 *
 * **Details**
 *
 * It reads the tables of `effect-breaker/Storage/Sql`, with the same `prefix` and `schema`, over a `SqlClient`. The
 * program needs no breakers of its own. An override is not a state: it is in the entries, and no time is counted for
 * it.
 *
 * **Example** (Counting the changes of a day, and timing recovery)
 *
 * ```ts
 * import { Effect, Layer } from "effect"
 * import * as Postgres from "effect-breaker/layers/Postgres"
 * import * as SqlHistory from "effect-breaker/Storage/SqlHistory"
 *
 * const report = Effect.gen(function*() {
 *   const history = yield* SqlHistory.History
 *   const since = new Date(Date.now() - 24 * 60 * 60 * 1000)
 *   const changes = yield* history.changes({ since })
 *   const recovery = yield* history.meanTimeToRecover("payments", { since })
 *   return { changes, recovery }
 * }).pipe(Effect.provide(Layer.provide(SqlHistory.layer(), Postgres.layerConfig())))
 * ```
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as SqlClient from "effect/sql/SqlClient"
import { type Cleaned, cleanUp } from "../sql/CleanUp.ts"
import { databaseOf } from "../sql/Database.ts"
import { type Failure, illFormed, storageErrorOf } from "../sql/DatabaseErrors.ts"
import { meanMillisToRecover, millisInStates, readHistory, type TimeRange, within } from "../sql/History.ts"
import { stateFrom } from "../sql/Rows.ts"
import { keepFor, type KeepOptions, type TableOptions, tablesFor } from "../sql/Settings.ts"
import { readNowMillis } from "../sql/View.ts"
import type { HistoryEntry, StorageError } from "./Storage.ts"

export type { Cleaned } from "../sql/CleanUp.ts"
export type { KeepOptions, TableOptions } from "../sql/Settings.ts"

/**
 * A range of time. By default `since` is the oldest change that is kept, and `until` is now, by the database's clock.
 *
 * @category models
 * @since 0.1.0
 */
export interface Range {
  readonly since?: DateTime.DateTime.Input | undefined
  readonly until?: DateTime.DateTime.Input | undefined
}

/**
 * How often one kind of change was made.
 *
 * @category models
 * @since 0.1.0
 */
export interface Changes {
  readonly from: HistoryEntry["from"]
  readonly to: HistoryEntry["to"]
  readonly count: number
}

/**
 * Queries on the history. They fail with a `StorageError`.
 *
 * @category services
 * @since 0.1.0
 */
export class History extends Context.Service<History, {
  /** The changes of a circuit, newest first, at most `limit` (default 1,000). */
  readonly entries: (
    circuit: string,
    range?: Range & { readonly limit?: number | undefined }
  ) => Effect.Effect<ReadonlyArray<HistoryEntry>, StorageError>
  /** How often each kind of change was made, for one circuit or for all, most frequent first. */
  readonly changes: (
    range: Range & { readonly circuit?: string | undefined }
  ) => Effect.Effect<ReadonlyArray<Changes>, StorageError>
  /**
   * How long a circuit was in each state. Before the oldest change that is kept it was in the state which that change
   * left.
   */
  readonly timeInStates: (
    circuit: string,
    range: Range & { readonly since: DateTime.DateTime.Input }
  ) => Effect.Effect<Readonly<Record<HistoryEntry["to"], Duration.Duration>>, StorageError>
  /**
   * The mean time from leaving Closed to coming back, where both are in the range; `None` if the circuit never came
   * back.
   */
  readonly meanTimeToRecover: (
    circuit: string,
    range?: Range
  ) => Effect.Effect<Option.Option<Duration.Duration>, StorageError>
  /**
   * Deletes changes older than `retention`, circuits that have expired, and instances that were silent for the idle
   * time. A storage does the same by itself, once an hour on one of the instances.
   */
  readonly cleanUp: Effect.Effect<Cleaned, StorageError>
}>()("effect-breaker/Storage/SqlHistory/History") {}

/**
 * The tables of the storage whose history is read.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options extends TableOptions, KeepOptions {}

const millisOf = (input: DateTime.DateTime.Input): number => DateTime.toEpochMillis(DateTime.makeUnsafe(input))

const timeRangeOf = ({ since, until }: Range): TimeRange => ({
  sinceMillis: since === undefined ? undefined : millisOf(since),
  untilMillis: until === undefined ? undefined : millisOf(until)
})

const run = <A>(
  operation: string,
  circuit: string | undefined,
  effect: Effect.Effect<A, Failure>
): Effect.Effect<A, StorageError> =>
  circuit?.isWellFormed() === false
    ? Effect.fail(illFormed(operation, circuit))
    : Effect.mapError(effect, storageErrorOf(operation, circuit))

/**
 * A history over the `SqlClient` in the context. Throws a `RangeError` for an option out of its range, and for a client
 * of another database.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: Options = {}): Effect.Effect<History["Service"], never, SqlClient.SqlClient> => {
  const tables = tablesFor(options)
  const { idleTimeToLive, retentionMillis } = keepFor(options)
  return Effect.map(SqlClient.SqlClient, (client) => {
    const database = databaseOf(client, tables, Duration.toMillis(idleTimeToLive))
    const { sql } = database

    /** All changes in a range, oldest first. */
    const changesIn = (circuit: string, range: TimeRange): Effect.Effect<ReadonlyArray<HistoryEntry>, Failure> =>
      Effect.map(
        readHistory(database, circuit, { ...range, limit: Number.MAX_SAFE_INTEGER }),
        (entries) => entries.toReversed()
      )

    return {
      entries: (circuit, { limit = 1000, ...range } = {}) =>
        run("history", circuit, readHistory(database, circuit, { ...timeRangeOf(range), limit })),
      changes: ({ circuit, ...range }) =>
        run(
          "changes",
          circuit,
          Effect.map(
            sql<Readonly<Record<"old_state" | "new_state", string>> & { readonly count: unknown }>`
SELECT old_state, new_state, COUNT(*) AS count FROM ${sql(tables.history)}
WHERE ${within(database, timeRangeOf(range), circuit)}
GROUP BY old_state, new_state ORDER BY count DESC, old_state, new_state`,
            (rows) =>
              rows.map(({ count, new_state, old_state }) => ({
                from: stateFrom(old_state),
                to: stateFrom(new_state),
                count: Number(count)
              }))
          )
        ),
      timeInStates: (circuit, range) =>
        run(
          "timeInStates",
          circuit,
          Effect.gen(function*() {
            const sinceMillis = millisOf(range.since)
            const untilMillis = range.until === undefined ? yield* readNowMillis(database) : millisOf(range.until)
            const [before] = yield* readHistory(database, circuit, { untilMillis: sinceMillis, limit: 1 })
            const changes = yield* changesIn(circuit, { sinceMillis, untilMillis })
            const { Closed, HalfOpen, Open } = millisInStates(before, changes, { sinceMillis, untilMillis })
            return {
              Closed: Duration.millis(Closed),
              Open: Duration.millis(Open),
              HalfOpen: Duration.millis(HalfOpen)
            }
          })
        ),
      meanTimeToRecover: (circuit, range = {}) =>
        run(
          "meanTimeToRecover",
          circuit,
          Effect.map(
            changesIn(circuit, timeRangeOf(range)),
            (changes) => Option.map(Option.fromUndefinedOr(meanMillisToRecover(changes)), Duration.millis)
          )
        ),
      cleanUp: run("cleanUp", undefined, cleanUp(database, retentionMillis))
    }
  })
}

/**
 * The history, over the `SqlClient` in the context.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options?: Options): Layer.Layer<History, never, SqlClient.SqlClient> =>
  Layer.effect(History, Effect.suspend(() => make(options)))
