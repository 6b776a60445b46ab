/**
 * Effect's `SqlClient` over mysql2: a pool of connections to MySQL or MariaDB.
 *
 * **Details**
 *
 * The layer opens no connection: the first statement does, and a broken connection is replaced by the next statement. So
 * is a connection to a server that takes no writes, because a proxy may lead elsewhere by then. Values are sent as parameters,
 * apart from their statements. Sessions use the isolation level `READ COMMITTED`, and wait for a lock no longer than
 * `statementTimeout`. A statement without an answer by then loses its connection, so that the server releases its locks. MariaDB
 * ends a transaction that is idle for a second, so a paused process releases its locks. In MySQL such a process keeps them until
 * it continues or ends.
 *
 * **Gotchas**
 *
 * - A statement that is interrupted still runs to its end, unless it is in a transaction.
 * - No error, log or span of this module contains a password. The pool of the `Mysql` service has it in its options.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Reactivity from "effect/reactivity/Reactivity"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as SqlClient from "effect/sql/SqlClient"
import type { Connection } from "effect/sql/SqlConnection"
import type * as SqlError from "effect/sql/SqlError"
import * as Statement from "effect/sql/Statement"
import * as Stream from "effect/Stream"
import type { Pool, PoolConnection, PoolOptions } from "mysql2"
import { mysql2 } from "../internal/drivers/Mysql2.ts"
import { layerFrom } from "../internal/LayerConfig.ts"
import { type Address, readDatabaseUrl, urlFrom } from "../sql/DatabaseUrl.ts"
import { isMysqlConnectionLost, type MysqlCause, mysqlError } from "../sql/DriverErrors.ts"

/**
 * How to connect to MySQL or MariaDB.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /**
   * `mysql://user:password@host:3306/database`. The other options take precedence over its parts. Its query may have
   * `ssl-mode`, `ssl`, `socketPath`, `connection_limit` and `connectTimeout`, and is refused with any other parameter.
   */
  readonly url?: Redacted.Redacted | undefined
  /** Default `localhost`. */
  readonly host?: string | undefined
  /** Default 3306. */
  readonly port?: number | undefined
  /** The path of a Unix socket, instead of host and port. */
  readonly socketPath?: string | undefined
  /** Required, here or in the URL. */
  readonly database?: string | undefined
  readonly username?: string | undefined
  readonly password?: Redacted.Redacted | undefined
  /**
   * Whether the connection is encrypted, and how. With `true` the server's certificate must be valid; with
   * `{ verifyIdentity: true }` also for its name. A server without TLS is refused. Default: as the URL says, or `false`.
   */
  readonly ssl?: boolean | Exclude<NonNullable<PoolOptions["ssl"]>, string> | undefined
  /** The most connections, at least 2. Default 10. */
  readonly maxConnections?: number | undefined
  /** How long opening a connection may take. Default 2 seconds. */
  readonly connectTimeout?: Duration.Input | undefined
  /** How long a statement may take. Default 5 seconds. */
  readonly statementTimeout?: Duration.Input | undefined
  /** How long a connection is used, so that one to a server that was replaced does not stay. Default 5 minutes. */
  readonly connectionTimeToLive?: Duration.Input | undefined
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

type Tls = PoolOptions["ssl"] & object

const tlsOf = ({ ssl }: Options, { tls = "off" }: Address): Tls | undefined => {
  if (ssl !== undefined) return ssl === false ? undefined : ssl === true ? {} : ssl
  switch (tls) {
    case "off":
      return undefined
    case "on":
      return {}
    case "identity":
      return { verifyIdentity: true }
    case "unverified":
      return { rejectUnauthorized: false }
    case "preferred":
      throw new RangeError(
        "a MySQL connection uses TLS always or never: set ssl-mode to REQUIRED or DISABLED in the URL, got PREFERRED"
      )
  }
}

/** Throws a `RangeError` for a URL that cannot be read, and for one without a database. */
const poolOptions = (options: Options): PoolOptions => {
  const url: Address = options.url === undefined ? {} : readDatabaseUrl("mysql", Redacted.value(options.url))
  const password = options.password === undefined ? url.password : Redacted.value(options.password)
  const { database = url.database, host = url.host ?? "localhost", port = url.port ?? 3306 } = options
  const { connectTimeout = url.connectTimeoutMillis ?? "2 seconds", username: user = url.username } = options
  const {
    maxConnections = url.maxConnections ?? 10,
    socketPath = options.host === undefined ? url.socket : undefined
  } = options
  const ssl = tlsOf(options, url)
  if (database === undefined) {
    throw new RangeError(
      "a MySQL client needs a database: name it in the URL, as in mysql://user:password@host/database"
    )
  }
  return {
    host,
    port,
    database,
    ...socketPath === undefined ? {} : { socketPath },
    ...user === undefined ? {} : { user },
    ...password === undefined ? {} : { password },
    ...ssl === undefined ? {} : { ssl },
    charset: "utf8mb4_bin",
    connectionLimit: Math.max(2, maxConnections),
    connectTimeout: Duration.toMillis(Duration.fromInputUnsafe(connectTimeout)),
    keepAliveInitialDelay: 10_000,
    maxPreparedStatements: MOST_PREPARED
  }
}

/** Connections of a pool, none of which is handed out once it is older than this. */
interface Connections {
  readonly pool: Pool
  readonly isOld: (connection: PoolConnection) => boolean
}

const connectionOf = ({ isOld, pool }: Connections): Effect.Effect<PoolConnection, SqlError.SqlError> =>
  Effect.callback((resume) => {
    let isInterrupted = false
    const get = () =>
      pool.getConnection((error, connection) => {
        if (error !== null) return resume(Effect.fail(mysqlError(error)))
        if (isInterrupted) return connection.release()
        if (isOld(connection)) {
          connection.destroy()
          return get()
        }
        resume(Effect.succeed(connection))
      })
    get()
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
      this.connection[method](options as never, (cause: MysqlCause | null, rows: unknown) => {
        if (cause === null) return resume(Effect.succeed(Array.isArray(rows) ? rows : []))
        const error = mysqlError(cause)
        if (isMysqlConnectionLost(error)) {
          this.isBroken = true
          this.connection.destroy()
        }
        resume(Effect.fail(error))
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
 * The client and its pool, which is closed with the scope. Throws a `RangeError` for a URL that cannot be read, and where
 * no database is named. Dies if the package mysql2 is not installed.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  options: Options
): Effect.Effect<Context.Context<Mysql | SqlClient.SqlClient>, never, Reactivity.Reactivity | Scope.Scope> => {
  const settings = poolOptions(options)
  return Effect.gen(function*() {
    const { createPool } = yield* Effect.orDie(mysql2)
    const timeoutMillis = Duration.toMillis(Duration.fromInputUnsafe(options.statementTimeout ?? "5 seconds"))
    const clock = yield* Clock.Clock
    const lifeNanos = Duration.toNanosUnsafe(Duration.fromInputUnsafe(options.connectionTimeToLive ?? "5 minutes"))
    const openedAt = new WeakMap<PoolConnection, bigint>()
    const pool = yield* Effect.acquireRelease(
      Effect.sync(() => createPool(settings)),
      (pool) => Effect.callback<void>((resume) => pool.end(() => resume(Effect.void)))
    )
    pool.on("connection", (connection) => {
      openedAt.set(connection, clock.monotonicTimeNanosUnsafe())
      // The next statement fails with the error. Without a listener it would end the process.
      connection.on("error", () => {})
      const set = (setting: string) => connection.query(`SET SESSION ${setting}`, () => {})
      set("TRANSACTION ISOLATION LEVEL READ COMMITTED")
      set(`innodb_lock_wait_timeout = ${Math.max(1, Math.ceil(timeoutMillis / 1000))}`)
      // MySQL does not have this setting, and its error is ignored.
      set("idle_transaction_timeout = 1")
    })
    const isOld = (connection: PoolConnection) =>
      clock.monotonicTimeNanosUnsafe() - (openedAt.get(connection) ?? 0n) > lifeNanos
    const acquirer = Effect.acquireRelease(
      Effect.map(connectionOf({ pool, isOld }), (connection) => new MysqlConnection(connection, timeoutMillis)),
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
}

/**
 * Options from the environment: `MYSQL_URL`, and optionally `MYSQL_POOL_SIZE`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const config: Config.Config<Options> = Config.all({
  url: urlFrom("mysql", "MYSQL_URL"),
  maxConnections: Config.withDefault(Config.Int("MYSQL_POOL_SIZE"), undefined)
})

/**
 * A client with these options. It can be built while the server is down. Throws a `RangeError` for a URL that cannot be
 * read, and where no database is named.
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
  layerFrom(options, (options) => Effect.as(mysql2, layer(options)))
