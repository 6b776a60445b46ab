/**
 * Circuits in Postgres, MySQL, MariaDB or SQLite, with their history, over Effect's `SqlClient`.
 *
 * **Details**
 *
 * | table       | a row holds                                                                                      |
 * | ----------- | ------------------------------------------------------------------------------------------------ |
 * | `states`    | a circuit as of its last change: all of it as JSON in `document`, and columns for people         |
 * | `counts`    | the reports on a circuit since then, as one sum for each of its eight stripes (one in SQLite),   |
 * |             | with their counts in buckets of time                                                             |
 * | `instances` | the newest message of an instance, so that a repeated message counts once                        |
 * | `history`   | a change: its time, its states, its reason and its author                                        |
 * | `jobs`      | when the clean-up is due, which one of the instances then runs                                   |
 * | `bells`     | when a circuit last got a new generation or an alert, and the alert: what polls read             |
 * | `epoch`     | the name of the data, by which a poll tells that all of it was lost                              |
 *
 * Table names begin with a prefix, by default `circuit_breaker_`. Missing tables are created, however many instances
 * start at once; `effect-breaker/Storage/SqlSchema` prints them for migrations of your own. The storage does not read
 * the columns for people, so changing them changes no circuit. Use the breaker's own operations instead.
 *
 * Names of up to 255 characters are stored as they are, and compared byte by byte. Of longer names, and of names with a
 * NUL, the beginning and the SHA-256 are stored, with the whole name beside them. Times are UTC, by the database's
 * clock.
 *
 * A batch of reports on up to 100 circuits is two statements in Postgres, which hold no lock in between, and one transaction
 * of four in MySQL, MariaDB and SQLite, however many calls were made. A read is one statement. A report locks one stripe, so
 * reports rarely wait for each other. A change locks the circuit with its stripes, and is one transaction with its row of history and its
 * notification. After a deadlock a transaction runs again.
 *
 * **Gotchas**
 *
 * - A storage can be made while its database is down. Operations then fail with a `StorageError` that says what is
 *   wrong (an unknown user, a missing right, missing tables) and what to do. They succeed as soon as that is done,
 *   without a restart.
 * - `multiplex` of `@effect/sql-pg` must be off. A MySQL client of your own must use the isolation level
 *   `READ COMMITTED`, as `effect-breaker/layers/Mysql` does.
 * - Operations are never part of the caller's transaction.
 * - In Postgres, all schemas of a database share the notifications of a prefix. Give each schema its own prefix, or its
 *   instances read their circuits whenever those of another schema change.
 *
 * **Example** (Choosing a schema and a prefix, and keeping changes for a year)
 *
 * ```ts
 * import { Layer } from "effect"
 * import * as Postgres from "effect-breaker/layers/Postgres"
 * import * as SqlStorage from "effect-breaker/Storage/Sql"
 *
 * const StorageLive = SqlStorage.layer({ schema: "ops", prefix: "shop_", retention: "365 days" }).pipe(
 *   Layer.provide(Postgres.layerConfig())
 * )
 * ```
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as SqlClient from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import * as Stream from "effect/Stream"
import { isReserved } from "../core/Reserved.ts"
import { durationIn, refuse } from "../internal/Check.ts"
import { rangeErrorsFail } from "../internal/ConfigErrors.ts"
import { announcementOf, makeAnnouncer } from "../sql/Announcements.ts"
import { readBells } from "../sql/Bells.ts"
import { cleanUpHourly } from "../sql/CleanUp.ts"
import { Contended } from "../sql/Contended.ts"
import { databaseOf } from "../sql/Database.ts"
import { illFormed, storageErrorOf } from "../sql/DatabaseErrors.ts"
import { readHistory } from "../sql/History.ts"
import { pageAfter } from "../sql/List.ts"
import { Members } from "../sql/Members.ts"
import { migrate } from "../sql/Migrate.ts"
import { untilDone } from "../sql/Once.ts"
import { makeRun } from "../sql/Run.ts"
import { keepFor, type KeepOptions, type TableOptions, tablesFor } from "../sql/Settings.ts"
import { sync } from "../sql/Sync.ts"
import { runChange, runProbe } from "../sql/Transitions.ts"
import { Storage } from "./Storage.ts"

export type { KeepOptions, TableOptions } from "../sql/Settings.ts"

/**
 * How circuits are kept in tables: their names, for how long, and who creates and cleans them.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options extends TableOptions, KeepOptions {
  /** Whether changes are kept in the `history` table. Default `true`. */
  readonly history?: boolean | undefined
  /** Whether missing tables are created. Default `true`. */
  readonly migrate?: boolean | undefined
  /** Whether one of the instances deletes what is too old, once an hour. Default `true`. */
  readonly cleanUp?: boolean | undefined
  /**
   * How long an operation may take before it fails with `Deadline`, from a millisecond to an hour. Default 5 seconds.
   */
  readonly deadline?: Duration.Input | undefined
}

/**
 * Subscribes to the changes that others announce, where the database announces them: the payloads of a channel, with an
 * empty payload first, as soon as the subscription is active. The stream ends, or fails, with its connection. Default:
 * `undefined`, so instances learn of changes at their next report.
 *
 * @category services
 * @since 0.1.0
 */
export const Listen = Context.Reference<((channel: string) => Stream.Stream<string, SqlError>) | undefined>(
  "effect-breaker/Storage/Sql/Listen",
  { defaultValue: () => undefined }
)

const LONGEST_DEADLINE_MILLIS = Duration.toMillis("1 hour")

const settingsOf = (options: Options) => {
  const { cleanUp = true, deadline = "5 seconds", history = true, migrate = true, prefix = "circuit_breaker_" } =
    options
  refuse("Storage \"sql\"", durationIn("deadline", deadline, 1, LONGEST_DEADLINE_MILLIS))
  return {
    ...keepFor(options),
    deadline: Duration.fromInputUnsafe(deadline),
    tables: tablesFor(options),
    channel: `${prefix}changes`,
    schema: options.schema,
    cleansUp: cleanUp,
    keepsHistory: history,
    migrates: migrate
  }
}

/**
 * A storage over the `SqlClient` in the context. Throws a `RangeError` for an option out of its range, and for a client
 * of another database.
 *
 * **Details**
 *
 * The tables are looked up at once, in the background. Only deadlocks are retried here; breakers repeat everything
 * else. `changes` ends with an error when its connection does.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: Options = {}): Effect.Effect<Storage, never, SqlClient.SqlClient | Scope.Scope> => {
  const { channel, cleansUp, deadline, idleTimeToLive, keepsHistory, migrates, retentionMillis, schema, tables } =
    settingsOf(options)
  return Effect.gen(function*() {
    const database = databaseOf(yield* SqlClient.SqlClient, tables, Duration.toMillis(idleTimeToLive))
    const listen = yield* Listen
    const prepared = migrates ? yield* untilDone(migrate(database, schema)) : Effect.void
    const run = yield* makeRun(database, { prepared, deadline })
    if (cleansUp) yield* Effect.forkScoped(cleanUpHourly(database, prepared, retentionMillis))
    const announcer = makeAnnouncer(channel)
    const transitionOptions = { keepsHistory, announcer }
    const context = { ...database, announcer, members: new Members(), contended: new Contended() }
    return Storage.of({
      backend: database.dialect.backend,
      capabilities: {
        shared: database.dialect.shared,
        durable: true,
        pushes: listen !== undefined,
        history: keepsHistory,
        fences: true,
        bells: true
      },
      idleTimeToLive,
      sync: (reports) => sync(context, run, reports),
      change: (circuit, input) => run("change", circuit, runChange(database, transitionOptions, circuit, input)),
      probe: (circuit, input) => run("probe", circuit, runProbe(database, transitionOptions, circuit, input)),
      bells: (since) => run("bells", undefined, readBells(database, since)),
      changes: listen === undefined ? Stream.empty : Stream.unwrap(
        Effect.as(
          run("changes", undefined, Effect.void),
          Stream.mapError(Stream.map(listen(channel), announcementOf), storageErrorOf("changes"))
        )
      ),
      list: Stream.flattenIterable(
        Stream.paginate(undefined as string | undefined, (after) =>
          Effect.map(
            run("list", undefined, pageAfter(database, after)),
            ({ last, names }) => [[names], Option.fromUndefinedOr(last)] as const
          ))
      ).pipe(Stream.filter((name) => !isReserved(name))),
      history: (circuit, { limit = 20 } = {}) =>
        limit < 1 || !keepsHistory
          ? circuit.isWellFormed() ? Effect.succeed([]) : Effect.fail(illFormed("history", circuit))
          : run("history", circuit, readHistory(database, circuit, { limit }))
    })
  })
}

/**
 * The storage, over the `SqlClient` in the context.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options?: Options): Layer.Layer<Storage, never, SqlClient.SqlClient> =>
  Layer.effect(Storage, Effect.suspend(() => make(options)))

/**
 * The storage with options from a `Config`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  options: Config.Wrap<Options>
): Layer.Layer<Storage, Config.ConfigError, SqlClient.SqlClient> =>
  Layer.effect(Storage, rangeErrorsFail(Effect.flatMap(Config.unwrap(options), make)))
