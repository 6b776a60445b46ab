/**
 * Effect's `SqlClient` over mysql2: a pool of connections to MySQL or MariaDB.
 *
 * **Details**
 *
 * The layer opens nothing: the first statement connects, and a connection that broke is replaced by the next. Values travel
 * apart from their statements. A session reads what is committed (`READ COMMITTED`), and waits for a lock no longer than
 * `statementTimeout`; a statement that is not answered by then costs its connection, so that the server lets go of what it
 * held. MariaDB ends transactions that say nothing for a second: what a process that stands still has locked is free again.
 * In MySQL it is when the process goes on, or ends.
 *
 * **Gotchas**
 *
 * - A statement that is interrupted is done all the same, unless it is in a transaction.
 * - Passwords are in no error, log or span of this module. The pool itself, which the `Mysql` service hands out, has them in
 *   its options.
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
import { createPool, type Pool, type PoolConnection, type PoolOptions } from "mysql2"

/**
 * Which MySQL or MariaDB, and how it is reached.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** `mysql://user:password@host:3306/database`; what else is given here goes before its parts. */
  readonly url?: Redacted.Redacted | undefined
  /** Default `localhost`. */
  readonly host?: string | undefined
  /** Default 3306. */
  readonly port?: number | undefined
  readonly database?: string | undefined
  readonly username?: string | undefined
  readonly password?: Redacted.Redacted | undefined
  /** Whether the way to the server is encrypted, and how. Default `false`. */
  readonly ssl?: boolean | Exclude<NonNullable<PoolOptions["ssl"]>, string> | undefined
  /** How many connections there are at most, and at least 2. Default 10. */
  readonly maxConnections?: number | undefined
  /** How long to wait for a connection. Default 2 seconds. */
  readonly connectTimeout?: Duration.Input | undefined
  /** How long a statement may take. Default 5 seconds. */
  readonly statementTimeout?: Duration.Input | undefined
}

/**
 * The mysql2 pool itself.
 *
 * @category services
 * @since 0.1.0
 */
export class Mysql extends Context.Service<Mysql, { readonly pool: Pool }>()("effect-breaker/layers/Mysql") {}

/** How many statements a connection keeps prepared: servers have one limit for all connections together. */
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

type Cause = Error & {
  readonly code?: string | undefined
  readonly errno?: number | undefined
  readonly fatal?: boolean | undefined
}

const reasonOf = (cause: Cause): SqlError.SqlErrorReason => {
  const props = { cause, message: cause.message }
  switch (cause.errno) {
    case 1045:
    case 1698:
      return new SqlError.AuthenticationError(props)
    case 1044:
    case 1142:
    case 1143:
    case 1227:
      return new SqlError.AuthorizationError(props)
    case 1054:
    case 1064:
    case 1146:
      return new SqlError.SqlSyntaxError(props)
    case 1062:
      return new SqlError.UniqueViolation({ ...props, constraint: "unknown" })
    case 1213:
      return new SqlError.DeadlockError(props)
    case 1020:
      return new SqlError.SerializationError(props)
    case 1205:
      return new SqlError.LockTimeoutError(props)
    case 1969:
    case 3024:
      return new SqlError.StatementTimeoutError(props)
    case 1040:
    case 1053:
    case 1203:
      return new SqlError.ConnectionError(props)
    default:
      return cause.code === "PROTOCOL_SEQUENCE_TIMEOUT"
        ? new SqlError.StatementTimeoutError(props)
        : cause.fatal === true || cause.errno === undefined || cause.errno < 1000
        ? new SqlError.ConnectionError(props)
        : new SqlError.UnknownError(props)
  }
}

const failed = (cause: Cause) => new SqlError.SqlError({ reason: reasonOf(cause) })

const connectionTo = (pool: Pool): Effect.Effect<PoolConnection, SqlError.SqlError> =>
  Effect.callback((resume) => {
    let isWaited = true
    pool.getConnection((error, connection) => {
      if (error !== null) return resume(Effect.fail(failed(error)))
      if (!isWaited) return connection.release()
      resume(Effect.succeed(connection))
    })
    return Effect.sync(() => {
      isWaited = false
    })
  })

/** One connection, on which statements run one after the other. */
class MysqlConnection implements Connection {
  readonly connection: PoolConnection
  readonly timeout: number
  isBroken = false

  constructor(connection: PoolConnection, timeout: number) {
    this.connection = connection
    this.timeout = timeout
  }

  send(
    method: "query" | "execute",
    sql: string,
    values: ReadonlyArray<unknown>,
    rowsAsArray: boolean
  ): Effect.Effect<ReadonlyArray<any>, SqlError.SqlError> {
    return Effect.callback((resume) => {
      const options = { sql, timeout: this.timeout, values: values.map((value) => value ?? null), rowsAsArray }
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
 * The services over a pool that is closed with the scope.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  options: Options
): Effect.Effect<Context.Context<Mysql | SqlClient.SqlClient>, never, Reactivity.Reactivity | Scope.Scope> =>
  Effect.gen(function*() {
    const timeout = Duration.toMillis(Duration.fromInputUnsafe(options.statementTimeout ?? "5 seconds"))
    const pool = yield* Effect.acquireRelease(
      Effect.sync(() => createPool(poolOptions(options))),
      (pool) => Effect.callback<void>((resume) => pool.end(() => resume(Effect.void)))
    )
    pool.on("connection", (connection) => {
      // Whoever runs the next statement is told.
      connection.on("error", () => {})
      const set = (what: string) => connection.query(`SET SESSION ${what}`, () => {})
      set("TRANSACTION ISOLATION LEVEL READ COMMITTED")
      set(`innodb_lock_wait_timeout = ${Math.max(1, Math.ceil(timeout / 1000))}`)
      // Only MariaDB knows it.
      set("idle_transaction_timeout = 1")
    })
    const acquirer = Effect.acquireRelease(
      Effect.map(connectionTo(pool), (connection) => new MysqlConnection(connection, timeout)),
      (connection) => Effect.sync(() => connection.release()),
      { interruptible: true }
    )
    const client = yield* SqlClient.make({
      acquirer,
      compiler,
      driver: "mysql2",
      releaseSavepoint: (name) => `RELEASE SAVEPOINT ${name}`,
      // With the connection its transaction has ended.
      isTransaction: (connection) => !(connection instanceof MysqlConnection && connection.isBroken),
      spanAttributes: [["db.system.name", "mysql"]]
    })
    return Context.make(Mysql, { pool }).pipe(Context.add(SqlClient.SqlClient, client))
  })

const checkedUrl = (url: Redacted.Redacted): Config.Config<Redacted.Redacted> =>
  /^(mysql|mariadb):$/.test(URL.parse(Redacted.value(url))?.protocol ?? "") ? Config.succeed(url) : Config.fail(
    // What is wrong with a secret is said without it.
    new Schema.SchemaError(
      new SchemaIssue.InvalidValue({ message: "MYSQL_URL: it must be mysql://user:password@host:port/database" })
    )
  )

/**
 * Options from `MYSQL_URL`, and `MYSQL_POOL_SIZE` where it is set.
 *
 * @category constructors
 * @since 0.1.0
 */
export const config: Config.Config<Options> = Config.all({
  url: Config.flatMap(Config.Redacted("MYSQL_URL"), checkedUrl),
  maxConnections: Config.withDefault(Config.Int("MYSQL_POOL_SIZE"), undefined)
})

/**
 * A client with these options. It can be built while the server is away.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options): Layer.Layer<Mysql | SqlClient.SqlClient> =>
  Layer.provide(Layer.effectContext(make(options)), Reactivity.layer)

/**
 * A client with options that come from a `Config`, by default from the environment: see `config`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  options: Config.Wrap<Options> = config
): Layer.Layer<Mysql | SqlClient.SqlClient, Config.ConfigError> =>
  Layer.unwrap(Effect.map(Config.unwrap(options), layer))
