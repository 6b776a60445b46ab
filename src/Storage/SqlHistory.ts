/**
 * What happened to circuits in a database, as their tables tell it: changes in a range of time, how often each was made, how
 * long a circuit was in which state, how long it took to recover; and deleting what is too old, by hand.
 *
 * **Details**
 *
 * It reads what `effect-breaker/Storage/Sql` writes, with the same `prefix` and `schema`, over the same `SqlClient`, and from
 * any program: one that has no breakers, too. An override is no state: it is told in the entries, and counts in no time.
 *
 * **Example** (How often anything opened in a day, and how long it took to recover)
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
import type { SqlError } from "effect/sql/SqlError"
import { circuitsIn } from "../sql/Circuits.ts"
import { type Cleaned, cleanUpOf } from "../sql/CleanUp.ts"
import { dialectOf } from "../sql/Dialect.ts"
import { errorOf, type Failure, illFormed } from "../sql/Errors.ts"
import { keyOf } from "../sql/Names.ts"
import { entriesFrom, stateFrom } from "../sql/Rows.ts"
import { keepFor, type KeepOptions, type TableOptions, tablesFor } from "../sql/Settings.ts"
import type { HistoryEntry, StorageError } from "./Storage.ts"

export type { Cleaned } from "../sql/CleanUp.ts"
export type { KeepOptions, TableOptions } from "../sql/Settings.ts"

/**
 * A span of time. Without `since` it begins with what is remembered, without `until` it ends now, by the database's clock.
 *
 * @category models
 * @since 0.1.0
 */
export interface Range {
  readonly since?: DateTime.DateTime.Input | undefined
  readonly until?: DateTime.DateTime.Input | undefined
}

/**
 * How often a circuit, or any, came from a state to another.
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
 * What can be asked. Each fails with a `StorageError`, as the storage does.
 *
 * @category services
 * @since 0.1.0
 */
export class History extends Context.Service<History, {
  /** The changes of a circuit, the newest first, at most `limit` (default 1,000). */
  readonly entries: (
    circuit: string,
    range?: Range & { readonly limit?: number | undefined }
  ) => Effect.Effect<ReadonlyArray<HistoryEntry>, StorageError>
  /** How often each kind of change was made, of one circuit or of all, the most frequent first. */
  readonly changes: (
    range: Range & { readonly circuit?: string | undefined }
  ) => Effect.Effect<ReadonlyArray<Changes>, StorageError>
  /** How long a circuit was in each state. Before the first change that is remembered it was in what that one left. */
  readonly timeInStates: (
    circuit: string,
    range: Range & { readonly since: DateTime.DateTime.Input }
  ) => Effect.Effect<Readonly<Record<HistoryEntry["to"], Duration.Duration>>, StorageError>
  /** How long it took on average from leaving Closed to coming back, where both are in the range; none where nothing is. */
  readonly meanTimeToRecover: (
    circuit: string,
    range?: Range
  ) => Effect.Effect<Option.Option<Duration.Duration>, StorageError>
  /**
   * Deletes what is older than `retention`, circuits that have expired, and instances that were silent for the idle time. A
   * storage does the same by itself, once an hour on one of the instances.
   */
  readonly cleanUp: Effect.Effect<Cleaned, StorageError>
}>()("effect-breaker/Storage/SqlHistory/History") {}

/**
 * @category models
 * @since 0.1.0
 */
export interface Options extends TableOptions, KeepOptions {}

const millis = (input: DateTime.DateTime.Input): number => DateTime.toEpochMillis(DateTime.makeUnsafe(input))

/**
 * Throws a `RangeError` for options, or a client, that make no sense.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: Options = {}): Effect.Effect<History["Service"], never, SqlClient.SqlClient> => {
  const tables = tablesFor(options)
  const { idleTimeToLive, retention } = keepFor(options)
  return Effect.gen(function*() {
    const sql = (yield* SqlClient.SqlClient).withoutTransforms()
    const dialect = dialectOf(sql)
    const idle = Duration.toMillis(idleTimeToLive)
    const now = Effect.map(circuitsIn(sql, dialect, tables, idle).read([""]), ({ now }) => now)

    const run = <A>(operation: string, effect: Effect.Effect<A, Failure>, circuit?: string) =>
      circuit === undefined || circuit.isWellFormed()
        ? Effect.mapError(effect, errorOf(operation, circuit))
        : Effect.fail(illFormed(operation, circuit))

    const within = ({ since, until }: Range, circuit: string | undefined) =>
      sql.and([
        ...circuit === undefined ? [] : [sql`service_name = ${keyOf(circuit)}`],
        ...since === undefined ? [] : [sql`created_at >= ${dialect.time(millis(since))}`],
        ...until === undefined ? [] : [sql`created_at < ${dialect.time(millis(until))}`],
        // All of all circuits may be asked for.
        "1 = 1"
      ])

    const entries = (circuit: string, range: Range, limit: number) =>
      Effect.flatMap(
        sql<{ readonly entry: string }>`
SELECT entry FROM ${sql(tables.history)} WHERE ${within(range, circuit)}
ORDER BY created_at DESC, generation DESC LIMIT ${sql.literal(String(Math.max(0, Math.floor(limit))))}`,
        entriesFrom
      )

    /** All of a circuit, the oldest first. */
    const all = (circuit: string, range: Range): Effect.Effect<ReadonlyArray<HistoryEntry>, SqlError | StorageError> =>
      Effect.map(entries(circuit, range, Number.MAX_SAFE_INTEGER), (rows) => rows.toReversed())

    return {
      entries: (circuit, { limit = 1000, ...range } = {}) => run("history", entries(circuit, range, limit), circuit),
      changes: ({ circuit, ...range }) =>
        run(
          "changes",
          Effect.map(
            sql<Readonly<Record<"old_state" | "new_state", string>> & { readonly count: unknown }>`
SELECT old_state, new_state, COUNT(*) AS count FROM ${sql(tables.history)} WHERE ${within(range, circuit)}
GROUP BY old_state, new_state ORDER BY count DESC, old_state, new_state`,
            (rows) =>
              rows.map(({ count, new_state, old_state }) => ({
                from: stateFrom(old_state),
                to: stateFrom(new_state),
                count: Number(count)
              }))
          ),
          circuit
        ),
      timeInStates: (circuit, range) =>
        run(
          "timeInStates",
          Effect.gen(function*() {
            const [since, until] = [millis(range.since), range.until === undefined ? yield* now : millis(range.until)]
            const [before] = yield* entries(circuit, { until: since }, 1)
            const changes = yield* all(circuit, { since, until })
            const spent = { Closed: 0, Open: 0, HalfOpen: 0 }
            let [state, at] = [before?.to ?? changes[0]?.from ?? "Closed", since]
            for (const change of changes) {
              spent[state] += change.at - at
              state = change.to
              at = change.at
            }
            spent[state] += Math.max(0, until - at)
            return {
              Closed: Duration.millis(spent.Closed),
              Open: Duration.millis(spent.Open),
              HalfOpen: Duration.millis(spent.HalfOpen)
            }
          }),
          circuit
        ),
      meanTimeToRecover: (circuit, range = {}) =>
        run(
          "meanTimeToRecover",
          Effect.map(all(circuit, range), (changes) => {
            let [sum, count] = [0, 0]
            let leftAt: number | undefined
            for (const { at, from, to } of changes) {
              if (from === "Closed" && to !== "Closed") leftAt = at
              if (to !== "Closed" || leftAt === undefined) continue
              sum += at - leftAt
              count++
              leftAt = undefined
            }
            return count === 0 ? Option.none() : Option.some(Duration.millis(sum / count))
          }),
          circuit
        ),
      cleanUp: run("cleanUp", cleanUpOf(sql, dialect, tables, idle).run(retention))
    }
  })
}

/**
 * The history over a client of your choice.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options?: Options): Layer.Layer<History, never, SqlClient.SqlClient> =>
  Layer.effect(History, Effect.suspend(() => make(options)))
