/**
 * Effect's `SqlClient` over mysql2: a pool of connections to MySQL or MariaDB.
 *
 * **Details**
 *
 * The layer opens no connection: the first statement does, and a broken connection is replaced by the next statement.
 * Values are sent as parameters, apart from their statements. Sessions use the isolation level `READ COMMITTED`, and
 * wait for a lock no longer than `statementTimeout`. A statement without an answer by then loses its connection, so
 * that the server releases its locks. MariaDB ends a transaction that is idle for a second, so a paused process
 * releases its locks. In MySQL such a process keeps them until it continues or ends.
 *
 * **Gotchas**
 *
 * - A statement that is interrupted still runs to its end, unless it is in a transaction.
 * - No error, log or span of this module contains a password. The pool of the `Mysql` service has it in its options.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Reactivity from "effect/reactivity/Reactivity"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import type * as Scope from "effect/Scope"
import * as SqlClient from "effect/sql/SqlClient"
import type { Connection } from "effect/sql/SqlConnection"
import * as SqlError from "effect/sql/SqlError"
import * as Statement from "effect/sql/Statement"
import * as Stream from "effect/Stream"
import type { Pool, PoolConnection, PoolOptions } from "mysql2"
import { mysql2 } from "../internal/drivers/Mysql2.ts"

/**
 * How to connect to MySQL or MariaDB.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** `mysql://user:password@host:3306/database`. The other options take precedence over its parts. */
  readonly url?: Redacted.Redacted | undefined
  /** Default `localhost`. */
  readonly host?: string | undefined
  /** Default 3306. */
  readonly port?: number | undefined
  readonly database?: string | undefined
  readonly username?: string | undefined
  readonly password?: Redacted.Redacted | undefined
  /** Whether the connection is encrypted, and how. Default `false`. */
  readonly ssl?: boolean | Exclude<NonNullable<PoolOptions["ssl"]>, string> | undefined
  /** The most connections, at least 2. Default 10. */
  readonly maxConnections?: number | undefined
  /** How long opening a connection may take. Default 2 seconds. */
  readonly connectTimeout?: Duration.Input | undefined
  /** How long a statement may take. Default 5 seconds. */
  readonly statementTimeout?: Duration.Input | undefined
}

/**
 * The pool of mysql2.
 *
 * @category services
 * @since 0.1.0
 */
export class Mysql extends Context.Service<Mysql, { readonly pool: Pool }>()("effect-breaker/layers/Mysql") {}

/** Prepared statements of a connection. Servers have one limit for all connections together. */
const MOST_PREPARED = 100

const poolOptions = (options: Options): PoolOptions => {
  const url = options.url === undefined ? undefined : URL.parse(Redacted.value(options.url))
  const part = (text: string | undefined) => text === undefined || text === "" ? undefined : decodeURIComponent(text)
  const password = options.password === undefined ? part(url?.password) : Redacted.value(options.password)
  const user = options.username ?? part(url?.username)
  const database = options.database ?? part(url?.pathname.slice(1))
  const { connectTimeout = "2 seconds", maxConnections = 10, ssl = false } = options
  return {
    host: options.host ?? part(url?.hostname) ?? "localhost",
    port: options.port ?? Number(part(url?.port) ?? 3306),
    ...user === undefined ? {} : { user },
    ...password === undefined ? {} : { password },
    ...database === undefined ? {} : { database },
    ...ssl === false ? {} : { ssl: ssl === true ? {} : ssl },
    charset: "utf8mb4_bin",
    connectionLimit: Math.max(2, maxConnections),
    connectTimeout: Duration.toMillis(Duration.fromInputUnsafe(connectTimeout)),
    keepAliveInitialDelay: 10_000,
    maxPreparedStatements: MOST_PREPARED
  }
}

/** An error of mysql2. */
type Cause = Error & {
  readonly code?: string | undefined
  readonly errno?: number | undefined
  readonly fatal?: boolean | undefined
}

/** Error numbers below this one are of the client, not of the server. */
const FIRST_SERVER_ERROR = 1000

const reasonOf = (cause: Cause): SqlError.SqlErrorReason => {
  const props = { cause, message: cause.message }
  switch (cause.errno) {
    case 1045: // ER_ACCESS_DENIED_ERROR
    case 1698: // ER_ACCESS_DENIED_NO_PASSWORD_ERROR
      return new SqlError.AuthenticationError(props)
    case 1044: // ER_DBACCESS_DENIED_ERROR
    case 1142: // ER_TABLEACCESS_DENIED_ERROR
    case 1143: // ER_COLUMNACCESS_DENIED_ERROR
    case 1227: // ER_SPECIFIC_ACCESS_DENIED_ERROR
      return new SqlError.AuthorizationError(props)
    case 1054: // ER_BAD_FIELD_ERROR
    case 1064: // ER_PARSE_ERROR
    case 1146: // ER_NO_SUCH_TABLE
      return new SqlError.SqlSyntaxError(props)
    case 1062: // ER_DUP_ENTRY
      return new SqlError.UniqueViolation({ ...props, constraint: "unknown" })
    case 1213: // ER_LOCK_DEADLOCK
      return new SqlError.DeadlockError(props)
    case 1020: // ER_CHECKREAD
      return new SqlError.SerializationError(props)
    case 1205: // ER_LOCK_WAIT_TIMEOUT
      return new SqlError.LockTimeoutError(props)
    case 1969: // ER_STATEMENT_TIMEOUT of MariaDB
    case 3024: // ER_QUERY_TIMEOUT of MySQL
      return new SqlError.StatementTimeoutError(props)
    case 1040: // ER_CON_COUNT_ERROR
    case 1053: // ER_SERVER_SHUTDOWN
    case 1203: // ER_TOO_MANY_USER_CONNECTIONS
      return new SqlError.ConnectionError(props)
    default:
      return cause.code === "PROTOCOL_SEQUENCE_TIMEOUT"
        ? new SqlError.StatementTimeoutError(props)
        : cause.fatal === true || cause.errno === undefined || cause.errno < FIRST_SERVER_ERROR
        ? new SqlError.ConnectionError(props)
        : new SqlError.UnknownError(props)
  }
}

const sqlErrorOf = (cause: Cause) => new SqlError.SqlError({ reason: reasonOf(cause) })

const connectionTo = (pool: Pool): Effect.Effect<PoolConnection, SqlError.SqlError> =>
  Effect.callback((resume) => {
    let isInterrupted = false
    pool.getConnection((error, connection) => {
      if (error !== null) return resume(Effect.fail(sqlErrorOf(error)))
      if (isInterrupted) return connection.release()
      resume(Effect.succeed(connection))
    })
    return Effect.sync(() => {
      isInterrupted = true
    })
  })

/**
 * A connection of the pool. Statements run one after the other. Once `isBroken`, it is destroyed and never released.
 */
class MysqlConnection implements Connection {
  readonly connection: PoolConnection
  readonly timeoutMillis: number
  isBroken = false

  constructor(connection: PoolConnection, timeoutMillis: number) {
    this.connection = connection
    this.timeoutMillis = timeoutMillis
  }

  send(
    method: "query" | "execute",
    sql: string,
    values: ReadonlyArray<unknown>,
    rowsAsArray: boolean
  ): Effect.Effect<ReadonlyArray<any>, SqlError.SqlError> {
    return Effect.callback((resume) => {
      const options = { sql, timeout: this.timeoutMillis, values: values.map((value) => value ?? null), rowsAsArray }
      this.connection[method](options as never, (error: Cause | null, rows: unknown) => {
        if (error === null) return resume(Effect.succeed(Array.isArray(rows) ? rows : []))
        const reason = reasonOf(error)
        if (reason._tag === "ConnectionError" || error.code === "PROTOCOL_SEQUENCE_TIMEOUT") {
          this.isBroken = true
          this.connection.destroy()
        }
        resume(Effect.fail(new SqlError.SqlError({ reason })))
      })
    })
  }

  release(): void {
    if (!this.isBroken) this.connection.release()
  }

  execute(
    sql: string,
    params: ReadonlyArray<unknown>,
    transformRows: (<A extends object>(row: ReadonlyArray<A>) => ReadonlyArray<A>) | undefined
  ) {
    return Effect.map(this.send("execute", sql, params, false), transformRows ?? ((rows) => rows))
  }
  executeRaw(sql: string, params: ReadonlyArray<unknown>) {
    return this.send("execute", sql, params, false)
  }
  executeValues(sql: string, params: ReadonlyArray<unknown>) {
    return this.send("execute", sql, params, true)
  }
  executeValuesUnprepared(sql: string, params: ReadonlyArray<unknown>) {
    return this.send("query", sql, params, true)
  }
  executeUnprepared(
    sql: string,
    params: ReadonlyArray<unknown>,
    transformRows: (<A extends object>(row: ReadonlyArray<A>) => ReadonlyArray<A>) | undefined
  ) {
    return Effect.map(this.send("query", sql, params, false), transformRows ?? ((rows) => rows))
  }
  executeStream(
    sql: string,
    params: ReadonlyArray<unknown>,
    transformRows: (<A extends object>(row: ReadonlyArray<A>) => ReadonlyArray<A>) | undefined
  ) {
    return Stream.fromIterableEffect(this.execute(sql, params, transformRows))
  }
}

const compiler = Statement.makeCompiler({
  dialect: "mysql",
  placeholder: () => "?",
  onIdentifier: Statement.defaultEscape("`"),
  onRecordUpdate: () => ["", []],
  onCustom: () => ["", []]
})

/**
 * The client and its pool, which is closed with the scope. Dies if the package mysql2 is not installed.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  options: Options
): Effect.Effect<Context.Context<Mysql | SqlClient.SqlClient>, never, Reactivity.Reactivity | Scope.Scope> =>
  Effect.gen(function*() {
    const { createPool } = yield* Effect.orDie(mysql2)
    const timeoutMillis = Duration.toMillis(Duration.fromInputUnsafe(options.statementTimeout ?? "5 seconds"))
    const pool = yield* Effect.acquireRelease(
      Effect.sync(() => createPool(poolOptions(options))),
      (pool) => Effect.callback<void>((resume) => pool.end(() => resume(Effect.void)))
    )
    pool.on("connection", (connection) => {
      // The next statement fails with the error. Without a listener it would end the process.
      connection.on("error", () => {})
      const set = (setting: string) => connection.query(`SET SESSION ${setting}`, () => {})
      set("TRANSACTION ISOLATION LEVEL READ COMMITTED")
      set(`innodb_lock_wait_timeout = ${Math.max(1, Math.ceil(timeoutMillis / 1000))}`)
      // MySQL does not have this setting, and its error is ignored.
      set("idle_transaction_timeout = 1")
    })
    const acquirer = Effect.acquireRelease(
      Effect.map(connectionTo(pool), (connection) => new MysqlConnection(connection, timeoutMillis)),
      (connection) => Effect.sync(() => connection.release()),
      { interruptible: true }
    )
    const client = yield* SqlClient.make({
      acquirer,
      compiler,
      driver: "mysql2",
      releaseSavepoint: (name) => `RELEASE SAVEPOINT ${name}`,
      // The transaction of a broken connection has ended with it, so there is nothing to roll back.
      isTransaction: (connection) => !(connection instanceof MysqlConnection && connection.isBroken),
      spanAttributes: [["db.system.name", "mysql"]]
    })
    return Context.make(Mysql, { pool }).pipe(Context.add(SqlClient.SqlClient, client))
  })

const checkedUrl = (url: Redacted.Redacted): Config.Config<Redacted.Redacted> =>
  /^(mysql|mariadb):$/.test(URL.parse(Redacted.value(url))?.protocol ?? "") ? Config.succeed(url) : Config.fail(
    // The URL contains a password, so the error does not quote it.
    new Schema.SchemaError(
      new SchemaIssue.InvalidValue({ message: "MYSQL_URL must be a URL like mysql://user:password@host:port/database" })
    )
  )

/**
 * Options from the environment: `MYSQL_URL`, and optionally `MYSQL_POOL_SIZE`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const config: Config.Config<Options> = Config.all({
  url: Config.flatMap(Config.Redacted("MYSQL_URL"), checkedUrl),
  maxConnections: Config.withDefault(Config.Int("MYSQL_POOL_SIZE"), undefined)
})

/**
 * A client with these options. It can be built while the server is down.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options): Layer.Layer<Mysql | SqlClient.SqlClient> =>
  Layer.provide(Layer.effectContext(make(options)), Reactivity.layer)

/**
 * A client with options from a `Config`, by default `config`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  options: Config.Wrap<Options> = config
): Layer.Layer<Mysql | SqlClient.SqlClient, Config.ConfigError> =>
  Layer.unwrap(Effect.flatMap(Config.unwrap(options), (options) => Effect.as(mysql2, layer(options))))
