/**
 * `SqlClient` over Effect's own Postgres client, `@effect/sql-pg`, with a connection that hears of changes at once.
 *
 * **Details**
 *
 * The layer opens nothing: the first statement connects, and a connection that broke is replaced by the next. A server that
 * does not answer ends no layer. Statements that take longer than `statementTimeout` are ended by the server. So are
 * transactions that say nothing for a second: what a process that stands still has locked is free again.
 *
 * Changes are heard over a connection of its own (`LISTEN`), which is no part of the pool. Whoever loses it listens again, and
 * looks at what it may have missed.
 *
 * **Gotchas**
 *
 * - Behind a pooler in transaction mode (PgBouncer) nobody can listen, prepare statements or set a timeout for a session: set
 *   `pooler`, and give `listenUrl` a way around it. Without one, changes are known at the next report.
 * - A transaction of your own on this client must not wait for anything but the database.
 * - Passwords are in no error, log or span of this module.
 *
 * @since 0.1.0
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import * as PgConnection from "@effect/sql-pg/PgConnection"
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
import { Listen } from "../Storage/Sql.ts"

/**
 * Which Postgres, and how it is reached.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** `postgres://user:password@host:5432/database`; what else is given here goes before its parts. */
  readonly url?: Redacted.Redacted | undefined
  /** Default `localhost`. */
  readonly host?: string | undefined
  /** Default 5432. */
  readonly port?: number | undefined
  /** Default: the user's name. */
  readonly database?: string | undefined
  readonly username?: string | undefined
  readonly password?: Redacted.Redacted | undefined
  /** Whether the way to the server is encrypted, and how. Default `false`. */
  readonly ssl?: PgClient.PgClientConfig["ssl"]
  /** How many connections there are at most, beside the one that listens. Default 10. */
  readonly maxConnections?: number | undefined
  /** How long to wait for a connection. Default 2 seconds. */
  readonly connectTimeout?: Duration.Input | undefined
  /** How long a statement may take. Default 5 seconds. */
  readonly statementTimeout?: Duration.Input | undefined
  /** Whether it is reached through a pooler in transaction mode. Default `false`. */
  readonly pooler?: boolean | undefined
  /** By which to listen: a URL of its own, or `false` for not at all. Default: as above, and not at all by a `pooler`. */
  readonly listenUrl?: Redacted.Redacted | false | undefined
}

/** Milliseconds after which a transaction is ended of which nothing is heard. */
const SILENCE = "1000"

const clientConfig = (options: Options): PgClient.PgPoolConfig => {
  const { connectTimeout = "2 seconds", listenUrl: _, pooler = false, statementTimeout = "5 seconds", ...rest } =
    options
  const timeout = String(Math.ceil(Duration.toMillis(Duration.fromInputUnsafe(statementTimeout))))
  return {
    ...rest,
    applicationName: "effect-breaker",
    connectTimeout,
    keepAlive: "10 seconds",
    ...pooler
      ? { prepare: false }
      : { startupParameters: { statement_timeout: timeout, idle_in_transaction_session_timeout: SILENCE } }
  }
}

/**
 * The services over a pool that is closed with the scope.
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
    const config = clientConfig(options)
    // It connects when it is asked something.
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

/** What is wrong with a secret is said without it. */
const checkedUrl = (name: string, url: Redacted.Redacted): Config.Config<Redacted.Redacted> =>
  /^postgres(ql)?:$/.test(URL.parse(Redacted.value(url))?.protocol ?? "")
    ? Config.succeed(url)
    : invalid(`${name}: it must be postgres://user:password@host:port/database`)

const urlFrom = (name: string): Config.Config<Redacted.Redacted> =>
  Config.flatMap(Config.Redacted(name), (url) => checkedUrl(name, url))

/**
 * Options from `DATABASE_URL`, and where they are set, `DATABASE_LISTEN_URL`, `DATABASE_POOLER` and `DATABASE_POOL_SIZE`.
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
 * A client with these options. It can be built while Postgres is away.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options): Layer.Layer<PgClient.PgClient | SqlClient.SqlClient> =>
  Layer.provide(Layer.effectContext(make(options)), Reactivity.layer)

/**
 * A client with options that come from a `Config`, by default from the environment: see `config`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  options: Config.Wrap<Options> = config
): Layer.Layer<PgClient.PgClient | SqlClient.SqlClient, Config.ConfigError> =>
  Layer.unwrap(Effect.map(Config.unwrap(options), layer))
