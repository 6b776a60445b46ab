/**
 * Effect's `SqlClient` over `node:sqlite`, in a worker thread: while SQLite waits for a disk, or for another process that
 * writes, the event loop goes on.
 *
 * **Details**
 *
 * The layer opens nothing: the first statement opens the file, and makes the directory that it is to be in. The file is in WAL
 * mode, so that readers wait for nobody, and several processes of a host may use it at once. What was committed outlives the
 * process, however it ends; a power cut may cost the last moments (`synchronous = NORMAL`). A transaction begins with
 * `BEGIN IMMEDIATE`. The thread keeps no process alive that has nothing else to do.
 *
 * **Gotchas**
 *
 * - All fibers share one connection, one transaction at a time. In a transaction of the program's own on this client, a circuit
 *   breaker waits in vain: give the program's tables a client of theirs.
 * - WAL needs a file system of this host: none over a network.
 * - A statement that is interrupted is done all the same, unless it is in a transaction.
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
import { classifySqliteError, ConnectionError, SqlError } from "effect/sql/SqlError"
import * as Statement from "effect/sql/Statement"
import * as Stream from "effect/Stream"
import { Worker } from "node:worker_threads"

/**
 * Which file, and how it is used.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** Where it is, or is to be. `:memory:` is a database of its own, gone with the layer. */
  readonly file: string
  /** How long to wait for another process that writes. Default 5 seconds. */
  readonly busyTimeout?: Duration.Input | undefined
}

// As text, so that a program that was bundled into one file has it, too.
const WORKER = `
const { parentPort, workerData: { file, busyTimeout } } = require("node:worker_threads")
const { DatabaseSync } = require("node:sqlite")
const { mkdirSync } = require("node:fs")
const { dirname } = require("node:path")

let database
const statements = new Map()

const open = () => {
  if (file !== ":memory:") mkdirSync(dirname(file), { recursive: true })
  const opened = new DatabaseSync(file, { timeout: busyTimeout })
  try {
    opened.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL")
    return opened
  } catch (error) {
    opened.close()
    throw error
  }
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
  database ??= open()
  // Some errors have ended the transaction already.
  if (sql === "ROLLBACK" && !database.isTransaction) return []
  const statement = prepared(sql)
  statement.setReturnArrays(asValues)
  return statement.all(...params)
}

parentPort.on("message", (message) => {
  if (message === "close") {
    database?.close()
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
  error?: { readonly message: string; readonly errno?: number; readonly code?: string }
]

/** Effect's own reading of SQLite's errors does not know a file that cannot be opened because there is none. */
const failed = ({ code, errno, message }: NonNullable<Answer[2]>): SqlError => {
  const cause = Object.assign(new Error(message), errno === undefined ? { code } : { errno })
  return new SqlError({
    reason: errno === undefined
      ? new ConnectionError({ cause, message })
      : classifySqliteError(cause, { message, operation: "execute" })
  })
}

/** A thread with a connection: made when it is needed, and made again should it die. */
const threadOf = (file: string, busyTimeout: number) => {
  const waiting = new Map<number, (exit: Effect.Effect<ReadonlyArray<any>, SqlError>) => void>()
  let last = 0
  let worker: Worker | undefined

  const end = (id: number, exit: Effect.Effect<ReadonlyArray<any>, SqlError>) => {
    const resume = waiting.get(id)
    waiting.delete(id)
    if (waiting.size === 0) worker?.unref()
    resume?.(exit)
  }

  const start = (): Worker => {
    const started = new Worker(WORKER, { eval: true, workerData: { file, busyTimeout } })
    started.on(
      "message",
      ([id, rows, error]: Answer) =>
        end(id, error === undefined ? Effect.succeed(rows ?? []) : Effect.fail(failed(error)))
    )
    const gone = (error: unknown) => {
      if (worker === started) worker = undefined
      const message = error instanceof Error ? error.message : "the thread has ended"
      for (const id of waiting.keys()) end(id, Effect.fail(failed({ message })))
    }
    started.on("error", gone)
    started.on("exit", gone)
    return started
  }

  const send = (
    sql: string,
    params: ReadonlyArray<unknown>,
    asValues: boolean
  ): Effect.Effect<ReadonlyArray<any>, SqlError> =>
    Effect.callback((resume) => {
      const id = ++last
      worker ??= start()
      worker.ref()
      waiting.set(id, resume)
      worker.postMessage([id, sql, params.map((param) => param ?? null), asValues])
    })

  const close = Effect.callback<void>((resume) => {
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
 * Options from `SQLITE_FILE`.
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
 * A client with options that come from a `Config`, by default from the environment: see `config`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  options: Config.Wrap<Options> = config
): Layer.Layer<SqlClient.SqlClient, Config.ConfigError> => Layer.unwrap(Effect.map(Config.unwrap(options), layer))
