/**
 * `SqlClient` over Effect's own Postgres client, `@effect/sql-pg`, with a connection that receives changes at once.
 *
 * **Details**
 *
 * The layer opens no connection: the first statement does, and a broken connection is replaced by the next statement. A
 * server that does not answer fails no layer. The server ends statements that take longer than `statementTimeout`, and
 * transactions that are idle for a second, so a paused process releases its locks.
 *
 * Changes are received over a separate connection (`LISTEN`), which is not part of the pool. A breaker that loses it
 * subscribes again, and reads what it may have missed.
 *
 * **Gotchas**
 *
 * - A pooler in transaction mode (PgBouncer) supports no `LISTEN`, no prepared statements and no settings of a session.
 *   Set `pooler`, and set `listenUrl` to a URL that bypasses it. Without one, instances learn of changes at their next
 *   report.
 * - A transaction of your own on this client must not wait for anything but the database.
 * - No error, log or span of this module contains a password.
 *
 * @since 0.1.0
 */
import type * as PgClient from "@effect/sql-pg/PgClient"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Reactivity from "effect/reactivity/Reactivity"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import type * as Scope from "effect/Scope"
import * as SqlClient from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import * as Stream from "effect/Stream"
import { sqlPg } from "../internal/drivers/SqlPg.ts"
import { Listen } from "../Storage/Sql.ts"

/**
 * How to connect to Postgres.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** `postgres://user:password@host:5432/database`. The other options take precedence over its parts. */
  readonly url?: Redacted.Redacted | undefined
  /** Default `localhost`. */
  readonly host?: string | undefined
  /** Default 5432. */
  readonly port?: number | undefined
  /** Default: the user's name. */
  readonly database?: string | undefined
  readonly username?: string | undefined
  readonly password?: Redacted.Redacted | undefined
  /** Whether the connection is encrypted, and how. Default `false`. */
  readonly ssl?: PgClient.PgClientConfig["ssl"]
  /** The most connections, besides the one that receives changes. Default 10. */
  readonly maxConnections?: number | undefined
  /** How long opening a connection may take. Default 2 seconds. */
  readonly connectTimeout?: Duration.Input | undefined
  /** How long a statement may take. Default 5 seconds. */
  readonly statementTimeout?: Duration.Input | undefined
  /** Whether the server is behind a pooler in transaction mode. Default `false`. */
  readonly pooler?: boolean | undefined
  /**
   * The URL for receiving changes, or `false` to receive none. Default: the options above, or `false` with a `pooler`.
   */
  readonly listenUrl?: Redacted.Redacted | false | undefined
}

/** The server ends a transaction that is idle for so long, and releases its locks. */
const IDLE_TRANSACTION_MILLIS = "1000"

const clientConfig = (options: Options): PgClient.PgPoolConfig => {
  const { connectTimeout = "2 seconds", listenUrl: _, pooler = false, statementTimeout = "5 seconds", ...rest } =
    options
  const timeoutMillis = String(Math.ceil(Duration.toMillis(Duration.fromInputUnsafe(statementTimeout))))
  return {
    ...rest,
    applicationName: "effect-breaker",
    connectTimeout,
    keepAlive: "10 seconds",
    ...pooler
      ? { prepare: false }
      : {
        startupParameters: {
          statement_timeout: timeoutMillis,
          idle_in_transaction_session_timeout: IDLE_TRANSACTION_MILLIS
        }
      }
  }
}

/**
 * The client, whose pool is closed with the scope, and `Listen`. Dies if the package `@effect/sql-pg` is not installed.
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
> =>
  Effect.gen(function*() {
    const { PgClient, PgConnection } = yield* Effect.orDie(sqlPg)
    const config = clientConfig(options)
    // It opens no connection yet, so it cannot fail.
    const client = yield* Effect.orDie(PgClient.make(config))
    const { listenUrl = options.pooler === true ? false : undefined } = options
    const listen = (channel: string): Stream.Stream<string, SqlError> =>
      Stream.unwrap(Effect.gen(function*() {
        const connection = yield* PgConnection.make(
          listenUrl === undefined || listenUrl === false ? config : { ...clientConfig({}), url: listenUrl }
        )
        const notifications = yield* connection.listen(channel)
        return Stream.concat(
          Stream.succeed(""),
          Stream.map(Stream.fromQueue(notifications), ({ payload }) => payload)
        )
      }))
    return Context.make(PgClient.PgClient, client).pipe(
      Context.add(SqlClient.SqlClient, client),
      Context.add(Listen, listenUrl === false ? undefined : listen)
    )
  })

const invalid = (message: string): Config.Config<never> =>
  Config.fail(new Schema.SchemaError(new SchemaIssue.InvalidValue({ message })))

/** The URL contains a password, so the error does not quote it. */
const checkedUrl = (name: string, url: Redacted.Redacted): Config.Config<Redacted.Redacted> =>
  /^postgres(ql)?:$/.test(URL.parse(Redacted.value(url))?.protocol ?? "")
    ? Config.succeed(url)
    : invalid(`${name} must be a URL like postgres://user:password@host:port/database`)

const urlFrom = (name: string): Config.Config<Redacted.Redacted> =>
  Config.flatMap(Config.Redacted(name), (url) => checkedUrl(name, url))

/**
 * Options from the environment: `DATABASE_URL`, and optionally `DATABASE_LISTEN_URL`, `DATABASE_POOLER` and
 * `DATABASE_POOL_SIZE`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const config: Config.Config<Options> = Config.map(
  Config.all({
    url: urlFrom("DATABASE_URL"),
    listenUrl: Config.option(urlFrom("DATABASE_LISTEN_URL")),
    pooler: Config.withDefault(Config.Boolean("DATABASE_POOLER"), false),
    maxConnections: Config.withDefault(Config.Int("DATABASE_POOL_SIZE"), undefined)
  }),
  ({ listenUrl, ...options }): Options => ({ ...options, listenUrl: Option.getOrUndefined(listenUrl) })
)

/**
 * A client with these options. It can be built while Postgres is down.
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
  Layer.unwrap(Effect.flatMap(Config.unwrap(options), (options) => Effect.as(sqlPg, layer(options))))
