/**
 * `SqlClient` over Effect's own Postgres client, `@effect/sql-pg`, with a connection that receives changes at once.
 *
 * **Details**
 *
 * The layer opens no connection: the first statement does, and a broken connection is replaced by the next statement. A
 * server that does not answer fails no layer. The server ends statements that take longer than `statementTimeout`, and
 * transactions that are idle for a second, so a paused process releases its locks. A connection to a server that takes no
 * writes is replaced, because a proxy may lead elsewhere by then.
 *
 * Changes are received over a separate connection (`LISTEN`), which is not part of the pool. It is sent a notification of
 * its own every 30 seconds. Where that does not arrive, or the connection is lost, a breaker subscribes again, and reads
 * what it may have missed.
 *
 * **Gotchas**
 *
 * - A pooler in transaction mode (PgBouncer) supports no `LISTEN`, no prepared statements and no settings of a session.
 *   Set `pooler`: each transaction then sets its time limits, which costs it a round trip, and statements outside of
 *   transactions have none. Set `listenUrl` to a URL that bypasses the pooler, or that leads through one in session mode.
 *   Without one, instances learn of changes at their next report.
 * - A transaction of your own on this client must not wait for anything but the database.
 * - No error, log or span of this module contains a password.
 *
 * @since 0.1.0
 */
import type * as PgClient from "@effect/sql-pg/PgClient"
import type * as PgConnection from "@effect/sql-pg/PgConnection"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Reactivity from "effect/reactivity/Reactivity"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import * as SqlClient from "effect/sql/SqlClient"
import type { Connection } from "effect/sql/SqlConnection"
import { ConnectionError, isSqlError, SqlError } from "effect/sql/SqlError"
import * as Stream from "effect/Stream"
import { randomBytes } from "node:crypto"
import { sqlPg } from "../internal/drivers/SqlPg.ts"
import { layerFrom } from "../internal/LayerConfig.ts"
import { type Address, readDatabaseUrl, urlFrom } from "../sql/DatabaseUrl.ts"
import { isWrongPostgresServer } from "../sql/DriverErrors.ts"
import { Listen } from "../Storage/Sql.ts"

/**
 * How to connect to Postgres.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /**
   * `postgres://user:password@host:5432/database`. The other options take precedence over its parts. A Unix socket is
   * `postgres://user@/database?host=/directory`. Its query may have `sslmode`, `host`, `port`, `user`, `password`,
   * `dbname`, `application_name`, `options`, `connect_timeout`, `connection_limit` and `pgbouncer`, and is refused with
   * any other parameter.
   */
  readonly url?: Redacted.Redacted | undefined
  /** Default `localhost`. The directory of a Unix socket begins with `/`. */
  readonly host?: string | undefined
  /** Default 5432. */
  readonly port?: number | undefined
  /** Default: the user's name. */
  readonly database?: string | undefined
  readonly username?: string | undefined
  readonly password?: Redacted.Redacted | undefined
  /**
   * Whether the connection is encrypted, and how. With `true` the server's certificate must be valid, and a server
   * without TLS is refused. Default: as the URL says, or `false`.
   */
  readonly ssl?: PgClient.PgClientConfig["ssl"]
  /** The most connections, besides the one that receives changes. Default 10. */
  readonly maxConnections?: number | undefined
  /** How long opening a connection may take. Default 2 seconds. */
  readonly connectTimeout?: Duration.Input | undefined
  /** How long a statement may take. Default 5 seconds. */
  readonly statementTimeout?: Duration.Input | undefined
  /** How long a connection is used, so that one to a server that was replaced does not stay. Default 5 minutes. */
  readonly connectionTimeToLive?: Duration.Input | undefined
  /** Whether the server is behind a pooler in transaction mode. Default `false`. */
  readonly pooler?: boolean | undefined
  /**
   * The URL for receiving changes, or `false` to receive none. `ssl` and `connectTimeout` hold for it, too. Default: the
   * options above, or `false` with a `pooler`.
   */
  readonly listenUrl?: Redacted.Redacted | false | undefined
}

/** The server ends a transaction that is idle for so long, and releases its locks. */
const IDLE_TRANSACTION_MILLIS = "1000"

const tlsOf = ({ ssl }: Options, { tls = "off" }: Address): Pick<PgClient.PgClientConfig, "ssl" | "url"> => {
  if (ssl !== undefined) return { ssl }
  switch (tls) {
    case "off":
      return { ssl: false }
    case "on":
    case "identity":
      return { ssl: true }
    case "unverified":
      return { ssl: { rejectUnauthorized: false } }
    case "preferred":
      // The driver knows this mode only as a part of a URL.
      return { url: Redacted.make("postgres:///?sslmode=prefer") }
  }
}

interface Settings {
  /** How to connect, without what is only for statements and their pool. */
  readonly connection: PgClient.PgClientConfig
  readonly pool: PgClient.PgPoolConfig
  readonly pooler: boolean
  readonly statementTimeoutMillis: string
}

/** Throws a `RangeError` for a URL that cannot be read. */
const settingsOf = (options: Options): Settings => {
  const url: Address = options.url === undefined ? {} : readDatabaseUrl("postgres", Redacted.value(options.url))
  const { connectTimeout = url.connectTimeoutMillis ?? "2 seconds", pooler = url.pooler ?? false } = options
  const { connectionTimeToLive = "5 minutes", maxConnections = url.maxConnections ?? 10 } = options
  const { statementTimeout = "5 seconds" } = options
  const statementTimeoutMillis = String(Math.ceil(Duration.toMillis(Duration.fromInputUnsafe(statementTimeout))))
  const connection: PgClient.PgClientConfig = {
    ...tlsOf(options, url),
    host: options.host ?? url.socket ?? url.host,
    port: options.port ?? url.port,
    database: options.database ?? url.database,
    username: options.username ?? url.username,
    password: options.password ?? (url.password === undefined ? undefined : Redacted.make(url.password)),
    applicationName: url.applicationName ?? "effect-breaker",
    startupOptions: url.startupOptions,
    connectTimeout,
    keepAlive: "10 seconds"
  }
  return {
    connection,
    pooler,
    statementTimeoutMillis,
    pool: {
      ...connection,
      maxConnections,
      connectionTTL: connectionTimeToLive,
      ...pooler
        ? { prepare: false }
        : {
          startupParameters: {
            statement_timeout: statementTimeoutMillis,
            idle_in_transaction_session_timeout: IDLE_TRANSACTION_MILLIS
          }
        }
    }
  }
}

// -----------------------------------------------------------------------------
// transactions
// -----------------------------------------------------------------------------

/**
 * Takes the connection of a transaction out of its pool. `interrupt` does so at once for a connection that runs no
 * statement, and then asks the server to cancel one, which nobody waits for.
 */
const discarded = (connection: object): Effect.Effect<void> => {
  const session = "connection" in connection ? connection.connection as Partial<PgConnection.PgConnection> : {}
  return Effect.isEffect(session.interrupt) ? Effect.raceFirst(session.interrupt, Effect.void) : Effect.void
}

/**
 * Discards a connection that did not end its transaction, because the next one would begin inside of it. The server may
 * refuse `ROLLBACK`, too: it is a prepared statement, which a pooler in transaction mode does not keep.
 */
const discardUnended = (connection: Connection): void => {
  const { execute, executeRaw } = connection
  const orDiscard = <A>(ended: Effect.Effect<A, SqlError>) => Effect.tapError(ended, () => discarded(connection))
  Object.assign(connection, {
    execute: (...[sql, ...rest]: Parameters<typeof execute>) => {
      const executed = execute.call(connection, sql, ...rest)
      return sql === "ROLLBACK" ? orDiscard(executed) : executed
    },
    executeRaw: (...[sql, params]: Parameters<typeof executeRaw>) => {
      const executed = executeRaw.call(connection, sql, params)
      return sql === "COMMIT" ? orDiscard(executed) : executed
    }
  })
}

const ignoredLimits = (idle: string | undefined): SqlError => {
  const message = `the startup parameter idle_in_transaction_session_timeout was ignored: it is ${idle}`
  return new SqlError({
    reason: new ConnectionError({ cause: Object.assign(new Error(message), { code: "08P01" }), message })
  })
}

/**
 * Gives the transactions of a client their time limits. Behind a pooler, which gives a transaction any session, each sets
 * them itself. Otherwise the session has them; the first transaction looks whether that is so, because a pooler may be
 * set to ignore what a session asks for.
 */
const limitsOf = (
  client: PgClient.PgClient,
  { pooler, statementTimeoutMillis }: Settings
): Effect.Effect<void, SqlError> => {
  if (pooler) {
    return Effect.asVoid(client`SELECT set_config('statement_timeout', ${statementTimeoutMillis}, true),
set_config('idle_in_transaction_session_timeout', ${IDLE_TRANSACTION_MILLIS}, true)`)
  }
  let isLimited = false
  const looked = client<{ readonly idle: string }>`
SELECT setting AS idle FROM pg_settings WHERE name = 'idle_in_transaction_session_timeout'`
  return Effect.suspend(() =>
    isLimited ? Effect.void : Effect.flatMap(looked, ([row]) => {
      isLimited = row?.idle === IDLE_TRANSACTION_MILLIS
      return isLimited ? Effect.void : Effect.fail(ignoredLimits(row?.idle))
    })
  )
}

/** Limits each transaction of a client, and discards a connection that must not be used again after one. */
const guardTransactions = (client: PgClient.PgClient, settings: Settings): void => {
  const { transactionService, withTransaction } = client
  const limited = limitsOf(client, settings)
  const guarded = <A, E, R>(self: Effect.Effect<A, E, R>) =>
    Effect.flatMap(transactionService, ([connection, depth]) => {
      // Each outermost transaction has a connection object of its own.
      if (depth === 0) discardUnended(connection)
      return Effect.tapError(
        depth === 0 ? Effect.andThen(limited, self) : self,
        (error) => isSqlError(error) && isWrongPostgresServer(error) ? discarded(connection) : Effect.void
      )
    })
  Object.assign(client, {
    withTransaction: <A, E, R>(self: Effect.Effect<A, E, R>) => withTransaction(guarded(self))
  })
}

// -----------------------------------------------------------------------------
// changes
// -----------------------------------------------------------------------------

/** How often a listener is sent a notification of its own, and how long that may take to arrive. */
const ALIVE_EVERY = "30 seconds"
const ALIVE_WITHIN_MILLIS = 10_000

const deaf = new SqlError({
  reason: new ConnectionError({
    cause: new Error(`a notification did not arrive within ${ALIVE_WITHIN_MILLIS} ms`),
    message:
      "the connection that receives changes does not receive them: a pooler in transaction mode stands before the " +
      "server, the network drops its packets, or it leads to another database; set listenUrl (DATABASE_LISTEN_URL) to " +
      "a URL that leads straight to the server"
  })
})

/** Proves that the listener hears, by a notification over the pool. Proves nothing while the pool cannot send it. */
const proven = (
  client: PgClient.PgClient,
  channel: string,
  heard: Queue.Dequeue<PgConnection.Notification, SqlError>
): Effect.Effect<void, SqlError> =>
  Effect.gen(function*() {
    yield* Queue.clear(heard)
    const sent = yield* Effect.exit(client.notify(channel, ""))
    if (Exit.isFailure(sent)) return
    yield* Effect.timeoutOrElse(Queue.take(heard), {
      duration: ALIVE_WITHIN_MILLIS,
      orElse: () => Effect.fail(deaf)
    })
  })

/**
 * The payloads of a channel. The stream fails once it is deaf, because TCP does not always notice that packets are
 * dropped, and a pooler may accept `LISTEN` and forget it.
 */
const listenOn = (
  client: PgClient.PgClient,
  connect: Effect.Effect<PgConnection.PgConnection, SqlError, Scope.Scope>
) =>
(channel: string): Stream.Stream<string, SqlError> =>
  Stream.unwrap(Effect.gen(function*() {
    // Closed before anything else, because `UNLISTEN` on a connection that drops packets would wait for minutes.
    const connected = yield* Scope.make()
    const disconnect = Scope.close(connected, Exit.void)
    yield* Effect.addFinalizer(() => disconnect)
    const connection = yield* Scope.provide(connect, connected)
    const pinned = yield* connection.pin
    const notifications = yield* pinned.listen(channel)
    const own = `effect_breaker_${randomBytes(12).toString("hex")}`
    const heard = yield* pinned.listen(own)
    yield* Effect.addFinalizer(() => disconnect)
    yield* proven(client, own, heard)
    const alive = Effect.forever(Effect.andThen(Effect.sleep(ALIVE_EVERY), proven(client, own, heard)))
    return Stream.concat(
      Stream.succeed(""),
      Stream.map(Stream.fromQueue(notifications), ({ payload }) => payload)
    ).pipe(Stream.interruptWhen(alive))
  }))

/**
 * The client, whose pool is closed with the scope, and `Listen`. Throws a `RangeError` for a URL that cannot be read. Dies if
 * the package `@effect/sql-pg` is not installed.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  options: Options
): Effect.Effect<
  Context.Context<PgClient.PgClient | SqlClient.SqlClient>,
  never,
  Reactivity.Reactivity | Scope.Scope
> => {
  const settings = settingsOf(options)
  const { listenUrl = settings.pooler ? false : undefined } = options
  const listening = listenUrl === false || listenUrl === undefined
    ? settings.connection
    : settingsOf({ url: listenUrl, ssl: options.ssl, connectTimeout: options.connectTimeout }).connection
  return Effect.gen(function*() {
    const { PgClient, PgConnection } = yield* Effect.orDie(sqlPg)
    // It opens no connection yet, so it cannot fail.
    const client = yield* Effect.orDie(PgClient.make(settings.pool))
    guardTransactions(client, settings)
    return Context.make(PgClient.PgClient, client).pipe(
      Context.add(SqlClient.SqlClient, client),
      Context.add(Listen, listenUrl === false ? undefined : listenOn(client, PgConnection.make(listening)))
    )
  })
}

/**
 * Options from the environment: `DATABASE_URL`, and optionally `DATABASE_LISTEN_URL`, `DATABASE_POOLER` and
 * `DATABASE_POOL_SIZE`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const config: Config.Config<Options> = Config.map(
  Config.all({
    url: urlFrom("postgres", "DATABASE_URL"),
    listenUrl: Config.option(urlFrom("postgres", "DATABASE_LISTEN_URL")),
    pooler: Config.withDefault(Config.Boolean("DATABASE_POOLER"), undefined),
    maxConnections: Config.withDefault(Config.Int("DATABASE_POOL_SIZE"), undefined)
  }),
  ({ listenUrl, ...options }): Options => ({ ...options, listenUrl: Option.getOrUndefined(listenUrl) })
)

/**
 * A client with these options. It can be built while Postgres is down. Throws a `RangeError` for a URL that cannot be
 * read.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options): Layer.Layer<PgClient.PgClient | SqlClient.SqlClient> =>
  Layer.provide(Layer.effectContext(make(options)), Reactivity.layer)

/**
 * A client with options from a `Config`, by default `config`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  options: Config.Wrap<Options> = config
): Layer.Layer<PgClient.PgClient | SqlClient.SqlClient, Config.ConfigError> =>
  layerFrom(options, (options) => Effect.as(sqlPg, layer(options)))
