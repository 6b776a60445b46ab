/**
 * Circuits in Postgres, MySQL, MariaDB or SQLite, with their history: over Effect's `SqlClient`, so by whichever client
 * provides it.
 *
 * **Details**
 *
 * | table       | a row is                                                                                             |
 * | ----------- | ---------------------------------------------------------------------------------------------------- |
 * | `states`    | a circuit as of its last change: columns for people, and all of it in `document`, as JSON            |
 * | `counts`    | what was reported of a circuit since, by one of eight stripes (one in SQLite)                        |
 * | `windows`   | what a stripe counted in one bucket of time                                                          |
 * | `instances` | the newest message of an instance, so that none counts twice                                         |
 * | `history`   | a change: what, when, why, by whom                                                                   |
 * | `jobs`      | when the clean-up is due, which one of the instances then does                                       |
 *
 * Before each stands a prefix, by default `circuit_breaker_`. The tables are made when they are missing, by however many
 * instances start at once; `effect-breaker/Storage/SqlSchema` prints them for who would rather make them. Nothing reads the
 * columns for people, so changing them changes no circuit: what an operator wants is done by the breaker's own operations.
 *
 * Names of up to 255 characters are stored as they are, and compared byte by byte. Longer ones, and those with a NUL, are stored
 * as their beginning and their SHA-256, the whole name beside it. Times are UTC, by the database's clock.
 *
 * A batch of reports is one transaction of three statements (five where it is not Postgres) for up to 100 circuits, however many
 * calls were made; a look is one statement. Those who report lock a stripe each, so that they wait for each other little; a change locks the circuit, its stripes
 * too, and is one transaction with its row of history and its notification. Deadlocks are tried again.
 *
 * **Gotchas**
 *
 * - A storage can be made while its database is away. What is wrong (no such user, no right to make tables, tables that are
 *   missing) each operation says by its `StorageError`, with what helps, until it is mended; nothing needs a restart.
 * - `multiplex` of `@effect/sql-pg` must be off. A client of your own for MySQL must read what is committed (`READ COMMITTED`);
 *   `effect-breaker/layers/Mysql` does.
 * - Operations are never part of a transaction that their caller is in.
 * - In Postgres, schemas of one database share the notifications of one prefix: give each a prefix, or each looks when the
 *   other changes.
 *
 * **Example** (A schema and a prefix of one's own, and changes remembered for a year)
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
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as SqlClient from "effect/sql/SqlClient"
import { isSqlError, type SqlError } from "effect/sql/SqlError"
import * as Stream from "effect/Stream"
import { widthFor } from "../core/Buckets.ts"
import { change } from "../core/Change.ts"
import { ask, settle } from "../core/Lease.ts"
import { type CircuitRecord, expired, historyEntry, type Message, snapshot, unexpired } from "../core/Record.ts"
import { isReserved } from "../core/Reserved.ts"
import { durationIn, refuse } from "../internal/Check.ts"
import { type Circuit, circuitsIn } from "../sql/Circuits.ts"
import { cleanUpOf } from "../sql/CleanUp.ts"
import { dialectOf } from "../sql/Dialect.ts"
import { errorOf, type Failure, illFormed, tooLate } from "../sql/Errors.ts"
import { migrate } from "../sql/Migrate.ts"
import { keyOf, nameOf } from "../sql/Names.ts"
import { type Answer, batchOf, isLook, type Keyed } from "../sql/Reports.ts"
import { entriesFrom } from "../sql/Rows.ts"
import { keepFor, type KeepOptions, type TableOptions, tablesFor } from "../sql/Settings.ts"
import { stripeOf } from "../sql/Stripes.ts"
import { transactionOf } from "../sql/Transaction.ts"
import {
  type Announcement,
  type CircuitReport,
  type Snapshot,
  Storage,
  StorageError,
  type Synced,
  type Why
} from "./Storage.ts"

export type { KeepOptions, TableOptions } from "../sql/Settings.ts"

/**
 * @category models
 * @since 0.1.0
 */
export interface Options extends TableOptions, KeepOptions {
  /** Whether changes are remembered in a table of their own. Default `true`. */
  readonly history?: boolean | undefined
  /** Whether tables that are missing are made. Default `true`. */
  readonly migrate?: boolean | undefined
  /** Whether one of the instances deletes what is too old, once an hour. Default `true`. */
  readonly cleanUp?: boolean | undefined
  /** How long an operation may take until it fails with `Deadline`. Default 5 seconds. */
  readonly deadline?: Duration.Input | undefined
}

/**
 * How changes that others announce are heard, where the database can tell of them: the payloads of a channel, beginning with
 * an empty one once it is listened to. It ends, or fails, with its connection. Default: not at all; changes are then known at
 * the next report.
 *
 * @category services
 * @since 0.1.0
 */
export const Listen = Context.Reference<((channel: string) => Stream.Stream<string, SqlError>) | undefined>(
  "effect-breaker/Storage/Sql/Listen",
  { defaultValue: () => undefined }
)

const LONGEST_DEADLINE = 60 * 60 * 1000

const HOUR = 60 * 60 * 1000

/** Circuits worked off in one transaction. */
const MOST_CIRCUITS = 100

/** Names looked at by one statement. */
const PAGE = 500

/** What a notification may hold, in bytes, is less than 8,000. */
const MOST_NOTIFIED = 7000

const settingsOf = (options: Options) => {
  const { cleanUp = true, deadline = "5 seconds", history = true, migrate = true, prefix = "circuit_breaker_" } =
    options
  refuse("Storage \"sql\"", durationIn("deadline", deadline, 1, LONGEST_DEADLINE))
  return {
    ...keepFor(options),
    deadline: Duration.fromInputUnsafe(deadline),
    tables: tablesFor(options),
    channel: `${prefix}changes`,
    schema: options.schema,
    cleanUp,
    history,
    isMigrated: migrate
  }
}

interface Page {
  readonly names: ReadonlyArray<string>
  /** Where the next page begins, if there is one. */
  readonly last: string | undefined
}

/**
 * A storage over the `SqlClient` at hand. Throws a `RangeError` for options, or a client, that make no sense.
 *
 * **Details**
 *
 * It begins to look for its tables at once, in the background. It retries nothing but deadlocks: whoever calls it comes back.
 * `changes` ends with an error when the connection that listens does.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: Options = {}): Effect.Effect<Storage, never, SqlClient.SqlClient | Scope.Scope> => {
  const settings = settingsOf(options)
  const { channel, deadline, history, idleTimeToLive, isMigrated, retention, schema, tables } = settings
  const idle = Duration.toMillis(idleTimeToLive)
  return Effect.gen(function*() {
    const sql = (yield* SqlClient.SqlClient).withoutTransforms()
    const listen = yield* Listen
    const scope = yield* Effect.scope
    const dialect = dialectOf(sql)
    const circuits = circuitsIn(sql, dialect, tables, idle)

    const prepared = isMigrated ? yield* onceDone(migrate(sql, dialect, tables, schema)) : Effect.void

    const transaction = transactionOf(sql, dialect)

    /** No part of a transaction that the caller may be in, by the same client: it may be taken back. */
    const apart = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
      Effect.updateContext(
        effect,
        (context: Context.Context<never>) => Context.omit(sql.transactionService)(context)
      )

    /** Runs in the background, so that whoever does not wait any longer need not wait for a connection that is silent. */
    const run = <A>(operation: string, circuit: string | undefined, effect: Effect.Effect<A, Failure>) =>
      Effect.uninterruptibleMask((restore) =>
        Effect.flatMap(
          Effect.forkIn(Effect.interruptible(apart(Effect.andThen(prepared, effect))), scope, {
            startImmediately: true
          }),
          (fiber) =>
            restore(Fiber.join(fiber)).pipe(
              Effect.timeoutOrElse({
                duration: deadline,
                orElse: () => Effect.fail(tooLate(operation, circuit, Duration.format(deadline)))
              }),
              Effect.ensuring(Effect.sync(() => fiber.interruptUnsafe()))
            )
        )
      ).pipe(
        // A transaction that cannot be taken back, for its connection is gone, is one that was.
        Effect.catchDefect((defect) => isSqlError(defect) ? Effect.fail(defect) : Effect.die(defect)),
        Effect.mapError(errorOf(operation, circuit))
      )

    const within = <A>(operation: string, circuit: string, effect: Effect.Effect<A, Failure>) =>
      circuit.isWellFormed() ? run(operation, circuit, effect) : Effect.fail(illFormed(operation, circuit))

    if (settings.cleanUp) {
      const { claim, run } = cleanUpOf(sql, dialect, tables, idle)
      const ifDue = Effect.flatMap(claim(HOUR), (isDue) => isDue ? run(retention) : Effect.void)
      // Not all at once, and not by a test's clock.
      const live = Clock.Clock.defaultValue()
      yield* Effect.sleep(Duration.millis(Math.random() * HOUR / 6)).pipe(
        Effect.andThen(Effect.ignore(Effect.andThen(prepared, ifDue), { log: "Unhandled" })),
        Effect.andThen(Effect.sleep(Duration.millis(HOUR))),
        Effect.forever,
        Effect.provideService(Clock.Clock, live),
        Effect.forkScoped
      )
    }

    // -------------------------------------------------------------------------
    // sync
    // -------------------------------------------------------------------------

    type Outcome = Result.Result<Answer, StorageError>

    const attempt = Effect.fnUntraced(function*(
      reports: ReadonlyArray<Keyed>
    ): Effect.fn.Return<ReadonlyArray<Outcome | "missing" | "expired">, SqlError> {
      const counted = reports.filter((report) => !isLook(report))
      const locked = counted.length === 0 ? [] : yield* circuits.lockStripes(
        counted.map(({ key, stripe }) => ({ key, index: stripe }))
      )
      const widths = Map.groupBy(reports, ({ withins }) => widthFor(withins))
      const { circuits: circuitOf, now, seen, windows } = yield* circuits.read(
        namesOf(reports),
        [...widths].flatMap(([width, group]) =>
          width === undefined
            ? []
            : [{ width, longest: Math.max(...group.flatMap(({ withins }) => withins)), keys: namesOf(group) }]
        ),
        { kind: "report", messages: counted }
      )
      const found = new Map<string, Circuit>()
      const broken = new Map<string, StorageError>()
      for (const { key } of reports) {
        const circuit = yield* Effect.result(circuitOf(key))
        if (Result.isSuccess(circuit)) found.set(key, circuit.success)
        else broken.set(key, circuit.failure)
      }
      const batch = batchOf({ now, idleTimeToLive: idle, circuits: found, windows, seen, locked })
      const answers = reports.map((report): Outcome | "missing" | "expired" => {
        const failure = broken.get(report.key)
        if (failure !== undefined) return Result.fail(failure)
        const answer = batch.enter(report)
        return typeof answer === "string" ? answer : Result.succeed(answer)
      })
      yield* circuits.count(batch.stripes(), batch.heard(), batch.buckets())
      return answers
    })

    /** Counts what can be counted; for the rest, makes or deletes rows, and comes back. */
    const settleBatch = (
      reports: ReadonlyArray<Keyed & { readonly circuit: string }>
    ): Effect.Effect<ReadonlyArray<Outcome>, SqlError | StorageError> =>
      Effect.gen(function*() {
        const tried = attempt(reports)
        const answers = yield* reports.every(isLook) ? tried : transaction(tried)
        const missing = reports.filter((_, index) => answers[index] === "missing")
        const gone = reports.filter((_, index) => answers[index] === "expired")
        if (missing.length + gone.length === 0) return answers as ReadonlyArray<Outcome>
        for (const key of new Set(gone.map(({ key }) => key))) yield* transaction(circuits.forget(key))
        if (missing.length > 0) {
          yield* transaction(circuits.create([...new Set(missing.map(({ circuit }) => circuit))]))
        }
        const again = yield* settleBatch([...missing, ...gone])
        const rest = new Map([...missing, ...gone].map((report, index) => [report, again[index]!]))
        return answers.map((answer, index) => typeof answer === "string" ? rest.get(reports[index]!)! : answer)
      })

    /** Where a batch fails, whoever is to blame fails alone. */
    const syncAll = (
      reports: ReadonlyArray<Keyed & { readonly circuit: string }>
    ): Effect.Effect<ReadonlyArray<Outcome>, StorageError> =>
      run("sync", reports.length === 1 ? reports[0]!.circuit : undefined, settleBatch(reports)).pipe(
        Effect.catchIf(
          ({ reason }) => reports.length > 1 && reason !== "Unavailable",
          () =>
            Effect.forEach(
              reports,
              (report) => Effect.result(Effect.flatMap(syncAll([report]), ([one]) => Effect.fromResult(one!)))
            )
        )
      )

    const sync = Effect.fnUntraced(function*(
      reports: ReadonlyArray<CircuitReport>
    ): Effect.fn.Return<ReadonlyArray<Synced>, StorageError> {
      const outcomes = new Map<CircuitReport, Outcome>()
      const good = reports.filter((report) => report.circuit.isWellFormed())
      for (let i = 0; i < good.length; i += MOST_CIRCUITS) {
        const some = good.slice(i, i + MOST_CIRCUITS)
        const keyed = some.map((report) => ({
          ...report,
          key: keyOf(report.circuit),
          stripe: stripeOf(report.instance, dialect.stripes)
        }))
        const answers = yield* syncAll(keyed).pipe(
          // What was answered before is known.
          Effect.catchIf(() => i > 0, (error) => Effect.succeed(some.map(() => Result.fail(error))))
        )
        for (const [index, report] of some.entries()) outcomes.set(report, answers[index]!)
      }
      return reports.map((report): Synced => ({
        circuit: report.circuit,
        result: Result.mapError(
          outcomes.get(report) ?? Result.fail(illFormed("sync", report.circuit)),
          ({ cause, reason }) => new StorageError({ operation: "sync", circuit: report.circuit, reason, cause })
        )
      }))
    })

    // -------------------------------------------------------------------------
    // change, probe
    // -------------------------------------------------------------------------

    /** Runs a transition on a circuit that is held, and writes what it changed. `why` is for the history. */
    const transition = <A extends object>(
      operation: string,
      circuit: string,
      step: (record: CircuitRecord | undefined, now: number) => readonly [record: CircuitRecord | undefined, answer: A],
      { message, why }: { readonly why?: Why; readonly message?: Pick<Message, "kind" | "instance"> | undefined }
    ): Effect.Effect<A & { readonly snapshot: Snapshot }, StorageError> => {
      const key = keyOf(circuit)
      const once = Effect.gen(function*() {
        const isThere = yield* circuits.lock(key)
        const { circuits: circuitOf, now, seen } = yield* circuits.read(
          [key],
          [],
          message === undefined ? undefined : { kind: message.kind, messages: [{ key, instance: message.instance }] }
        )
        const { record } = yield* circuitOf(key)
        const stored = unexpired(record, idle, now)
        const before = stored === undefined ? undefined : { ...stored, seen }
        const [next, answer] = step(before, now)
        const result = { ...answer, snapshot: snapshot(next, [], now, idle) }
        if (next === undefined || next === before) return result
        if (!isThere) return undefined
        const isChange = next.generation !== (before?.generation ?? 0)
        yield* circuits.write(key, next, {
          now,
          isNew: before === undefined,
          heard: next.seen.filter((entry) => !(seen as ReadonlyArray<unknown>).includes(entry)),
          entry: isChange ? { row: historyEntry(before, next, why, now), before } : undefined,
          history
        })
        if (isChange && dialect.backend === "postgres") yield* announce(circuit, next.generation)
        return result
      })
      const whole: Effect.Effect<A & { readonly snapshot: Snapshot }, SqlError | StorageError> = Effect.flatMap(
        transaction(once),
        (result) =>
          result === undefined
            ? Effect.andThen(transaction(circuits.create([circuit])), Effect.suspend(() => whole))
            : Effect.succeed(result)
      )
      return within(operation, circuit, whole)
    }

    /** What is too long to be told is told as: something has changed. */
    const announce = (circuit: string, generation: number) => {
      const payload = JSON.stringify({ circuit, generation })
      return sql`SELECT pg_notify(${channel}, ${
        new TextEncoder().encode(payload).length > MOST_NOTIFIED ? "" : payload
      })`
    }

    // -------------------------------------------------------------------------
    // list
    // -------------------------------------------------------------------------

    const namesAfter = Effect.fnUntraced(function*(after: string | undefined): Effect.fn.Return<Page, SqlError> {
      const rows = yield* sql<{ readonly service_name: string; readonly full_name: string | null }>`
SELECT service_name, full_name FROM ${sql(tables.states)}
${after === undefined ? sql.literal("") : sql`WHERE service_name > ${after}`}
ORDER BY service_name LIMIT ${sql.literal(String(PAGE))}`
      if (rows.length === 0) return { names: [], last: undefined }
      const view = yield* circuits.read(rows.map(({ service_name }) => service_name))
      const names: Array<string> = []
      for (const { full_name, service_name } of rows) {
        const isListed = yield* Effect.match(view.circuits(service_name), {
          onSuccess: ({ record }) => record !== undefined && !expired(record, idle, view.now),
          // What cannot be read is there.
          onFailure: () => true
        })
        if (isListed) names.push(nameOf(service_name, full_name))
      }
      return { names, last: rows.length < PAGE ? undefined : rows.at(-1)!.service_name }
    })

    return Storage.of({
      backend: dialect.backend,
      capabilities: {
        shared: dialect.shared,
        durable: true,
        pushes: listen !== undefined,
        history,
        fences: true
      },
      idleTimeToLive,
      sync,
      change: (circuit, input) =>
        transition("change", circuit, (record, now) => {
          const { committed, record: next } = change(record, input, now, idle)
          return [next, { committed }]
        }, {
          why: input._tag === "PutBack"
            ? { reason: "put back after a loss of data", evidence: input.snapshot.why }
            : input.why,
          message: input._tag === "Operation" ? { kind: "operation", instance: input.id } : undefined
        }).pipe(
          Effect.filterOrFail(({ committed }) => committed || input._tag !== "Operation", () =>
            new StorageError({
              operation: "change",
              circuit,
              reason: "Denied",
              cause: "a newer version of this library owns the circuit, or wrote what is to be imported"
            }))
        ),
      probe: (circuit, input) =>
        input._tag === "Ask"
          ? transition("probe", circuit, (record, now) => {
            const { granted, record: next } = ask(record, input, now, idle)
            return [next, { granted }]
          }, { message: { kind: "ask", instance: input.lease.instance } })
          : transition("probe", circuit, (record, now) => {
            const { record: next, settled } = settle(record, input, now, idle)
            return [next, { granted: settled }]
          }, {}),
      changes: listen === undefined ? Stream.empty : Stream.unwrap(
        Effect.as(
          run("changes", undefined, Effect.void),
          Stream.mapError(Stream.map(listen(channel), announcementOf), errorOf("changes"))
        )
      ),
      list: Stream.flattenIterable(
        Stream.paginate(undefined as string | undefined, (after) =>
          Effect.map(
            run("list", undefined, namesAfter(after)),
            ({ last, names }) => [[names], Option.fromUndefinedOr(last)] as const
          ))
      ).pipe(Stream.filter((name) => !isReserved(name))),
      history: (circuit, { limit = 20 } = {}) =>
        limit < 1 || !history
          ? circuit.isWellFormed() ? Effect.succeed([]) : Effect.fail(illFormed("history", circuit))
          : within(
            "history",
            circuit,
            Effect.flatMap(
              sql<{ readonly entry: string }>`SELECT entry FROM ${sql(tables.history)} WHERE service_name = ${
                keyOf(circuit)
              } ORDER BY created_at DESC, generation DESC LIMIT ${sql.literal(String(Math.floor(limit)))}`,
              entriesFrom
            )
          )
    })
  })
}

/**
 * The storage over a client of your choice.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options?: Options): Layer.Layer<Storage, never, SqlClient.SqlClient> =>
  Layer.effect(Storage, Effect.suspend(() => make(options)))

/**
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  options: Config.Wrap<Options>
): Layer.Layer<Storage, Config.ConfigError, SqlClient.SqlClient> =>
  Layer.effect(Storage, Effect.flatMap(Config.unwrap(options), make))

/** Runs in the background until it has succeeded once; whoever comes meanwhile waits for the run that is under way. */
const onceDone = <E>(effect: Effect.Effect<void, E>): Effect.Effect<Effect.Effect<void, E>, never, Scope.Scope> =>
  Effect.gen(function*() {
    const scope = yield* Effect.scope
    let current: Deferred.Deferred<void, E> | undefined
    let isDone = false
    const run = Effect.suspend(() => {
      if (isDone) return Effect.void
      if (current !== undefined) return Deferred.await(current)
      const started = current = Deferred.makeUnsafe<void, E>()
      const attempt = Effect.onExit(Effect.interruptible(effect), (exit) =>
        Effect.sync(() => {
          isDone = exit._tag === "Success"
          current = undefined
          Deferred.doneUnsafe(started, exit)
        }))
      return Effect.andThen(
        Effect.forkIn(attempt, scope, { startImmediately: true, uninterruptible: true }),
        Deferred.await(started)
      )
    })
    yield* Effect.forkScoped(Effect.ignore(run))
    return run
  })

const namesOf = (reports: ReadonlyArray<{ readonly key: string }>): ReadonlyArray<string> =>
  [...new Set(reports.map(({ key }) => key))].toSorted()

const subscribed: Announcement = { _tag: "Subscribed" }

/** What was told; what is none, or was too long, may have been any change. */
const announcementOf = (payload: string): Announcement => {
  try {
    const { circuit, generation } = JSON.parse(payload)
    return typeof circuit === "string" && Number.isSafeInteger(generation)
      ? { _tag: "Changed", circuit, generation }
      : subscribed
  } catch {
    return subscribed
  }
}
