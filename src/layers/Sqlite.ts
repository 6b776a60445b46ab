/**
 * Effect's `SqlClient` over `node:sqlite`, in a worker thread: the event loop continues while SQLite waits for a disk
 * or for another process that writes.
 *
 * **Details**
 *
 * The layer opens no file: the first statement does, and creates its directory. The file is in WAL mode, so readers do
 * not wait for writers, and several processes of a host may use it at once. Committed transactions outlive the process,
 * however it ends; a power cut may lose the last of them (`synchronous = NORMAL`). A transaction begins with `BEGIN
 * IMMEDIATE`. The thread does not keep the process alive.
 *
 * A file that is removed or replaced while it is in use is noticed by the next statement outside of a transaction. The
 * file at the path is then opened, or made with the same tables and without their rows.
 *
 * **Gotchas**
 *
 * - All fibers share one connection, which has one transaction at a time. While the program is in a transaction of its
 *   own on this client, circuit breakers wait for it, so give the program's tables another client.
 * - WAL needs a local file system, not one over a network.
 * - A statement that is interrupted still runs to its end, unless it is in a transaction.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Reactivity from "effect/reactivity/Reactivity"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as SqlClient from "effect/sql/SqlClient"
import type { Connection } from "effect/sql/SqlConnection"
import type { SqlError } from "effect/sql/SqlError"
import * as Statement from "effect/sql/Statement"
import * as Stream from "effect/Stream"
import { Worker } from "node:worker_threads"
import { sqliteError, type SqliteFailure } from "../sql/DriverErrors.ts"

/**
 * The database file, and how it is used.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** The path of the file, which is created if it is missing. `:memory:` is a database that ends with the layer. */
  readonly file: string
  /** How long to wait for another process that writes. Default 5 seconds. */
  readonly busyTimeout?: Duration.Input | undefined
}

/** The WAL file keeps its largest size unless it is cut when it begins anew. */
const LONGEST_WAL_BYTES = 16 * 1024 * 1024

// The worker is text, so that a program that is bundled into one file contains it.
const WORKER = `
const { parentPort, workerData: { file, busyTimeoutMillis } } = require("node:worker_threads")
const { DatabaseSync } = require("node:sqlite")
const { closeSync, mkdirSync, openSync, statSync } = require("node:fs")
const { dirname } = require("node:path")

const isFile = file !== ":memory:" && file !== "" && !file.startsWith("file:")
const statements = new Map()
let database
// The file that the database is open on.
let identity
// The tables of a file that is gone, until the next one has them.
let lost

const identityOf = () => {
  const stat = statSync(file, { bigint: true, throwIfNoEntry: false })
  return stat === undefined ? undefined : stat.dev + " " + stat.ino
}

// The file is the one that was there before and after SQLite opened it.
const openFile = () => {
  mkdirSync(dirname(file), { recursive: true })
  for (let attempt = 0; attempt < 10; attempt++) {
    if (identityOf() === undefined) closeSync(openSync(file, "a", 0o644))
    identity = identityOf()
    const opened = new DatabaseSync(file, { timeout: busyTimeoutMillis })
    if (identity !== undefined && identity === identityOf()) return opened
    opened.close()
  }
  throw new Error("the file " + file + " was replaced each time that it was opened")
}

const open = () => {
  const opened = isFile ? openFile() : new DatabaseSync(file, { timeout: busyTimeoutMillis })
  try {
    opened.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA journal_size_limit = ${LONGEST_WAL_BYTES}")
    return opened
  } catch (error) {
    opened.close()
    throw error
  }
}

// The tables, and the rows of those that say which migrations have run.
const tablesOf = (database) => ({
  statements: database.prepare(
    "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT GLOB 'sqlite_*' ORDER BY type <> 'table', rowid"
  ).all().map(({ sql }) => sql),
  rows: database.prepare(
    "SELECT s.name FROM sqlite_schema s, pragma_table_info(s.name) c WHERE s.type = 'table' AND c.name = 'migration_id'"
  ).all().map(({ name }) => [name, database.prepare('SELECT * FROM "' + name + '"').all()])
})

// Another process may have made the tables by now.
const restore = (database, { rows, statements }) => {
  database.exec("BEGIN IMMEDIATE")
  try {
    if (database.prepare("SELECT count(*) AS tables FROM sqlite_schema").get().tables === 0) {
      for (const statement of statements) database.exec(statement)
      for (const [table, all] of rows) {
        for (const row of all) {
          const columns = Object.keys(row).map((column) => '"' + column + '"').join(", ")
          const values = Object.values(row)
          const marks = values.map(() => "?").join(", ")
          database.prepare('INSERT INTO "' + table + '" (' + columns + ") VALUES (" + marks + ")").run(...values)
        }
      }
    }
    database.exec("COMMIT")
  } catch (error) {
    if (database.isTransaction) database.exec("ROLLBACK")
    throw error
  }
}

const openAnew = () => {
  const opened = open()
  if (lost === undefined) return opened
  try {
    restore(opened, lost)
    lost = undefined
    return opened
  } catch (error) {
    opened.close()
    throw error
  }
}

// A file that was removed or replaced goes on under no name, and no other process would see what is written to it.
// SQLite leaves the files beside a file that was moved as they are when it closes it.
const closeIfMoved = () => {
  if (!isFile || database === undefined || database.isTransaction || identityOf() === identity) return
  const tables = tablesOf(database)
  statements.clear()
  database.close()
  database = undefined
  lost = tables
}

const prepared = (sql) => {
  let statement = statements.get(sql)
  if (statement === undefined) {
    if (statements.size >= 200) statements.clear()
    statement = database.prepare(sql)
    statements.set(sql, statement)
  }
  return statement
}

const run = (sql, params, asValues) => {
  closeIfMoved()
  database ??= openAnew()
  // Some errors end the transaction, and then a rollback would fail.
  if (sql === "ROLLBACK" && !database.isTransaction) return []
  const statement = prepared(sql)
  statement.setReturnArrays(asValues)
  return statement.all(...params)
}

parentPort.on("message", (message) => {
  if (message === "close") {
    database?.close()
    // Deno's port cannot be closed.
    if (parentPort.close === undefined) process.exit()
    parentPort.close()
    return
  }
  const [id, sql, params, asValues] = message
  try {
    parentPort.postMessage([id, run(sql, params, asValues)])
  } catch (error) {
    parentPort.postMessage([id, undefined, { message: error.message, errno: error.errcode, code: error.code }])
  }
})
`

type Answer = readonly [
  id: number,
  rows: ReadonlyArray<any> | undefined,
  error?: SqliteFailure
]

/**
 * A thread with one connection.
 *
 * Invariants
 *
 * - There is a worker from the first statement on. One that ends is replaced by the next statement.
 * - Once it is closed, no worker starts.
 * - `waiting` has the statements without an answer. While there are any, and while it closes, the worker keeps the
 *   process alive.
 */
const threadOf = (file: string, busyTimeoutMillis: number) => {
  const waiting = new Map<number, (exit: Effect.Effect<ReadonlyArray<any>, SqlError>) => void>()
  let last = 0
  let worker: Worker | undefined
  let isClosed = false

  const end = (id: number, exit: Effect.Effect<ReadonlyArray<any>, SqlError>) => {
    const resume = waiting.get(id)
    waiting.delete(id)
    if (waiting.size === 0 && !isClosed) worker?.unref()
    resume?.(exit)
  }

  const start = (): Worker => {
    const started = new Worker(WORKER, { eval: true, workerData: { file, busyTimeoutMillis } })
    started.on(
      "message",
      ([id, rows, error]: Answer) =>
        end(id, error === undefined ? Effect.succeed(rows ?? []) : Effect.fail(sqliteError(error)))
    )
    const ended = (error: unknown) => {
      if (worker === started) worker = undefined
      const message = error instanceof Error ? error.message : "the thread of SQLite ended before it answered"
      for (const id of waiting.keys()) end(id, Effect.fail(sqliteError({ message })))
    }
    started.on("error", ended)
    started.on("exit", ended)
    return started
  }

  const send = (
    sql: string,
    params: ReadonlyArray<unknown>,
    asValues: boolean
  ): Effect.Effect<ReadonlyArray<any>, SqlError> =>
    Effect.callback((resume) => {
      if (isClosed) {
        return resume(Effect.fail(sqliteError({ message: "the client of SQLite was closed with its scope" })))
      }
      const id = ++last
      worker ??= start()
      worker.ref()
      waiting.set(id, resume)
      worker.postMessage([id, sql, params.map((param) => param ?? null), asValues])
    })

  const close = Effect.callback<void>((resume) => {
    isClosed = true
    if (worker === undefined) return resume(Effect.void)
    worker.once("exit", () => resume(Effect.void))
    worker.ref()
    worker.postMessage("close")
  })

  return { send, close }
}

/**
 * A client whose connection is closed with the scope.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  { busyTimeout = "5 seconds", file }: Options
): Effect.Effect<SqlClient.SqlClient, never, Reactivity.Reactivity | Scope.Scope> =>
  Effect.gen(function*() {
    const { send } = yield* Effect.acquireRelease(
      Effect.sync(() => threadOf(file, Duration.toMillis(Duration.fromInputUnsafe(busyTimeout)))),
      ({ close }) => close
    )
    const execute: Connection["execute"] = (sql, params, transformRows) =>
      Effect.map(send(sql, params, false), transformRows ?? ((rows) => rows))
    const connection: Connection = {
      execute,
      executeUnprepared: execute,
      executeRaw: (sql, params) => send(sql, params, false),
      executeValues: (sql, params) => send(sql, params, true),
      executeValuesUnprepared: (sql, params) => send(sql, params, true),
      executeStream: (sql, params, transformRows) => Stream.fromIterableEffect(execute(sql, params, transformRows))
    }
    return yield* SqlClient.make({
      ...SqlClient.makeSqliteAcquirers({
        connection: Effect.succeed(connection),
        semaphore: yield* Semaphore.make(1)
      }),
      compiler: Statement.makeCompilerSqlite(),
      driver: "node-sqlite",
      beginTransaction: "BEGIN IMMEDIATE",
      releaseSavepoint: (name) => `RELEASE SAVEPOINT ${name}`,
      spanAttributes: [["db.system.name", "sqlite"]]
    })
  })

/**
 * Options from the environment: `SQLITE_FILE`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const config: Config.Config<Options> = Config.map(Config.String("SQLITE_FILE"), (file) => ({ file }))

/**
 * A client with these options.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options): Layer.Layer<SqlClient.SqlClient> =>
  Layer.provide(Layer.effect(SqlClient.SqlClient, make(options)), Reactivity.layer)

/**
 * A client with options from a `Config`, by default `config`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  options: Config.Wrap<Options> = config
): Layer.Layer<SqlClient.SqlClient, Config.ConfigError> => Layer.unwrap(Effect.map(Config.unwrap(options), layer))
