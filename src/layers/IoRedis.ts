/**
 * Effect's `Redis` service over ioredis: one server, a Cluster, or the master that Sentinels name.
 *
 * **Details**
 *
 * The layer opens no connection: the first command does. The client reconnects by itself for as long as its scope is
 * open. Without a connection, a command fails at once with the last error, or after `connectTimeout` if there is none
 * yet. No command is queued for later. A connection whose next reply is not complete within two seconds is closed.
 *
 * Nothing that a server sends ends the process or grows it without bound: a connection is also closed after a message
 * that is not of the protocol (RESP2), that no command awaits, or that has more than 32 MiB or a million elements.
 * Redirections and slots of a Cluster that make no sense are errors.
 *
 * A command that was sent when its connection broke has failed, and may still have been executed. It is not sent again,
 * except by the client of a Cluster, which for up to two seconds sends it to the server that takes over.
 *
 * A subscription has its own connection and ends with it, so that the subscriber knows of the gap.
 *
 * **Gotchas**
 *
 * - Passwords are in no error, log or span of this module, even if the server quotes them. The client itself, which the
 *   `IoRedis` service provides, has them in its options.
 * - For replies that are larger or take longer, reserve a connection: those have neither limit.
 * - With TLS, the certificates of a Cluster must be for the addresses that its nodes announce. If they are for names, let
 *   the nodes announce names (`cluster-announce-hostname` with `cluster-preferred-endpoint-type hostname`), or set
 *   `tls: { servername }`.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redis from "effect/persistence/Redis"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import type * as Scope from "effect/Scope"
import type { Cluster, Redis as Client, RedisOptions } from "ioredis"
import { type Ioredis, ioredis } from "../internal/drivers/Ioredis.ts"
import { Connectors, guardCluster } from "../redis/client/Guard.ts"
import { Secrets } from "../redis/client/Secrets.ts"
import { CloseConnections, Masters } from "../Storage/Redis.ts"

/**
 * The address of a server. Default port 6379, or 26379 for a Sentinel.
 *
 * @category models
 * @since 0.1.0
 */
export interface Address {
  readonly host: string
  readonly port?: number | undefined
}

/**
 * The Redis to connect to.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** The host of one server. Ignored with `cluster` or `sentinels`. Default `localhost`. */
  readonly host?: string | undefined
  /** The port of that server. Default 6379. */
  readonly port?: number | undefined
  /** Some nodes of a Cluster. The client learns of the others from them. */
  readonly cluster?: ReadonlyArray<Address> | undefined
  /** Sentinels, which know the address of the master named `master`. */
  readonly sentinels?: ReadonlyArray<Address> | undefined
  /** The name of the master in the Sentinels' configuration. Default `mymaster`. */
  readonly master?: string | undefined
  /** The user at the Sentinels. */
  readonly sentinelUsername?: string | undefined
  /** The password at the Sentinels. */
  readonly sentinelPassword?: Redacted.Redacted | undefined
  /** The user at the servers. Default: Redis's `default`. */
  readonly username?: string | undefined
  /** The password at the servers. */
  readonly password?: Redacted.Redacted | undefined
  /** The number of the database. A Cluster has only 0. Default 0. */
  readonly database?: number | undefined
  /** Whether connections to servers and Sentinels use TLS, or the options of Node's `tls.connect`. Default `false`. */
  readonly tls?: boolean | NonNullable<RedisOptions["tls"]> | undefined
  /** The longest time that a command waits for a connection. Default 1 second. */
  readonly connectTimeout?: Duration.Input | undefined
  /** The pool of the connections that `Redis.reserve` provides. Circuit breakers use none. */
  readonly pool?: Redis.PoolOptions | undefined
  /**
   * Translates the addresses that servers announce to those that are reachable from here:
   * `{ "10.0.0.1:6379": { host, port } }`.
   */
  readonly natMap?: Readonly<Record<string, { readonly host: string; readonly port: number }>> | undefined
}

/**
 * The ioredis client itself.
 *
 * @category services
 * @since 0.1.0
 */
export class IoRedis extends Context.Service<IoRedis, {
  readonly client: Client | Cluster
  /** Runs a promise of the client and fails with `RedisError`. Without a connection, the client queues the command. */
  readonly use: <A>(f: (client: Client | Cluster) => Promise<A>) => Effect.Effect<A, Redis.RedisError>
}>()("effect-breaker/layers/IoRedis") {}

/** A connection is closed if a command waits on it and its reply is not complete after this time. */
const REPLY_MILLIS = 2000

/** Far more than any reply about circuits, and little enough for any process. */
const LIMITS = { bytes: 32 * 2 ** 20, elements: 1_000_000, replyMillis: REPLY_MILLIS }
/** A reserved connection belongs to one user, who may wait for anything. */
const NO_LIMITS = { bytes: Infinity, elements: Infinity, replyMillis: Infinity }

/** The idle time after which TCP probes a connection, so that one to a server that is gone is noticed. */
const KEEP_ALIVE_MILLIS = 10_000

const reconnectDelayMillis = (attempt: number): number =>
  Math.min(50 * 2 ** Math.min(attempt, 6), 2000) * (0.5 + Math.random() / 2)

/** Options of a connection that does not reconnect, because its user has to know that it broke. */
const withoutReconnect = {
  lazyConnect: true,
  retryStrategy: null,
  sentinelRetryStrategy: () => null,
  failoverDetector: false
} as const

// With `replyMapping` the types of ioredis do not compile under `exactOptionalPropertyTypes`.
type ClientOptions = Omit<RedisOptions, "replyMapping">

const connectTimeoutMillis = ({ connectTimeout = "1 second" }: Options): number =>
  Duration.toMillis(Duration.fromInputUnsafe(connectTimeout))

const optionsOf = (options: Options, connectors: Connectors): ClientOptions => {
  const tls = options.tls === true ? {} : options.tls === false ? undefined : options.tls
  return {
    username: options.username,
    password: options.password === undefined ? undefined : Redacted.value(options.password),
    db: options.database ?? 0,
    ...tls === undefined ? {} : { tls, sentinelTLS: tls, enableTLSForSentinelMode: true },
    connectTimeout: connectTimeoutMillis(options),
    keepAlive: KEEP_ALIVE_MILLIS,
    socketTimeout: REPLY_MILLIS,
    lazyConnect: true,
    // In RESP2 every message but those of a subscription answers a command, so any other can be refused.
    protocol: 2,
    Connector: options.cluster === undefined && options.sentinels !== undefined
      ? connectors.sentinel(LIMITS)
      : connectors.standalone(LIMITS),
    // Do not retry in the client: the caller decides whether a repeat is safe.
    maxRetriesPerRequest: 0,
    // A master that becomes a replica keeps its connections and refuses writes. Quotes begin values, which may hold
    // anything.
    reconnectOnError: ({ message }) => /^[^"]*READONLY/.test(message),
    ...options.natMap === undefined ? {} : { natMap: options.natMap }
  }
}

const isCluster = (client: Client | Cluster): client is Cluster => client.isCluster

const clientOf = (
  { Cluster, Redis: Client }: Ioredis,
  options: Options,
  connectors: Connectors
): Client | Cluster => {
  const common = optionsOf(options, connectors)
  if (options.cluster !== undefined) {
    const { natMap, reconnectOnError: _, ...redisOptions } = common
    const client = new Cluster(options.cluster.map(({ host, port = 6379 }) => ({ host, port })), {
      lazyConnect: true,
      redisOptions,
      ...natMap === undefined ? {} : { natMap },
      // Names are left to TLS, which compares them with certificates.
      dnsLookup: (address, callback) => callback(null, address),
      clusterRetryStrategy: reconnectDelayMillis
    })
    guardCluster(client)
    return client
  }
  const retryStrategy = reconnectDelayMillis
  if (options.sentinels !== undefined) {
    return new Client({
      ...common,
      retryStrategy,
      sentinels: options.sentinels.map(({ host, port = 26_379 }) => ({ host, port })),
      name: options.master ?? "mymaster",
      sentinelUsername: options.sentinelUsername,
      sentinelPassword: options.sentinelPassword === undefined ? undefined : Redacted.value(options.sentinelPassword),
      sentinelCommandTimeout: common.connectTimeout,
      failoverDetector: true
    })
  }
  return new Client({ ...common, retryStrategy, host: options.host ?? "localhost", port: options.port ?? 6379 })
}

/** Makes errors of those of the client, without passwords. */
type Failed = (cause: unknown) => Redis.RedisError

/** The client of a Cluster says that it found no node. The error of the last node says why. */
const reasonOf = (error: unknown): unknown =>
  error instanceof Error && "lastNodeError" in error && error.lastNodeError instanceof Error
    ? error.lastNodeError
    : error

const failedWith = (secrets: Secrets): Failed => (cause) =>
  new Redis.RedisError({ cause: secrets.scrubbed(reasonOf(cause)) })

const asEffect = <A>(failed: Failed, promise: () => Promise<A>): Effect.Effect<A, Redis.RedisError> =>
  Effect.tryPromise({ try: promise, catch: failed })

/** Waits for a connection. Fails at once if the last attempt to connect failed, and after the timeout. */
const connectionOf = (
  client: Client | Cluster,
  failed: Failed,
  timeoutMillis: number,
  isClosed: () => boolean
): Effect.Effect<void, Redis.RedisError> => {
  let lastError: unknown
  const waiting = new Set<(end: Effect.Effect<void, Redis.RedisError>) => void>()
  const end = (exit: Effect.Effect<void, Redis.RedisError>) => {
    const waited = [...waiting]
    waiting.clear()
    for (const resume of waited) resume(exit)
  }
  client.on("ready", () => {
    lastError = undefined
    end(Effect.void)
  })
  client.on("error", (error: unknown) => {
    lastError = error
    end(Effect.fail(failed(error)))
  })
  const ready = Effect.callback<void, Redis.RedisError>((resume) => {
    const stop = () => {
      clearTimeout(timer)
      waiting.delete(ended)
    }
    const ended = (exit: Effect.Effect<void, Redis.RedisError>) => {
      stop()
      resume(exit)
    }
    const timer = setTimeout(
      () => ended(Effect.fail(failed(new Error(`no connection within ${timeoutMillis} ms`)))),
      timeoutMillis
    )
    waiting.add(ended)
    return Effect.sync(stop)
  })
  return Effect.suspend(() => {
    if (client.status === "ready" || isClosed()) return Effect.void
    if (client.status === "wait" || client.status === "end") {
      // A failover during the query of the Sentinels ends the client, so it has to be connected again.
      lastError = undefined
      client.connect().catch(() => {})
    }
    return lastError === undefined ? ready : Effect.fail(failed(lastError))
  })
}

type Send = Redis.Redis["Service"]["send"]

/** Sends commands, whether the client is connected or not. */
const sendBy =
  (client: Client | Cluster, failed: Failed): Send =>
  <A = unknown>(command: string, ...args: ReadonlyArray<string>): Effect.Effect<A, Redis.RedisError> =>
    asEffect(failed, () => client.call(command, ...args) as Promise<A>)

/** Sends commands once the client is connected. */
const sendWhenConnected = (
  client: Client | Cluster,
  failed: Failed,
  connected: Effect.Effect<void, Redis.RedisError>
): Send => {
  const send = sendBy(client, failed)
  return <A = unknown>(command: string, ...args: ReadonlyArray<string>): Effect.Effect<A, Redis.RedisError> =>
    Effect.suspend(() =>
      client.status === "ready"
        ? send<A>(command, ...args)
        : Effect.andThen(connected, send<A>(command, ...args))
    )
}

/** Connects, and fails with the error that the connection had, which says more than that of `connect`. */
const connect = (connection: Client | Cluster, failed: Failed): Effect.Effect<void, Redis.RedisError> => {
  let reason: unknown
  connection.on("error", (error: unknown) => {
    reason = error
  })
  return Effect.mapError(asEffect(failed, () => connection.connect()), ({ cause }) => failed(reason ?? cause))
}

/**
 * The client of the server to subscribe at. In a Cluster any node passes on the messages that were published at
 * another.
 */
const subscriptionSource = (
  client: Client | Cluster,
  failed: Failed,
  connected: Effect.Effect<void, Redis.RedisError>
): Effect.Effect<Client, Redis.RedisError> =>
  isCluster(client)
    ? Effect.flatMap(connected, () => {
      const nodes = client.nodes("master")
      const node = nodes[Math.floor(Math.random() * nodes.length)]
      return node === undefined
        ? Effect.fail(failed(new Error("the Cluster has no master")))
        : Effect.succeed(node)
    })
    : Effect.succeed(client)

/** Subscribes over a connection of its own. Succeeds with an effect that fails when the subscription ends. */
const subscribe = Effect.fnUntraced(function*(
  source: Client,
  failed: Failed,
  channel: string,
  onMessage: (message: Redis.RedisMessage) => void
) {
  const connection = yield* Effect.acquireRelease(
    Effect.sync(() => source.duplicate(withoutReconnect)),
    (connection) => Effect.sync(() => connection.disconnect())
  )
  const ended = Deferred.makeUnsafe<void, Redis.RedisError>()
  const end = () => {
    Deferred.doneUnsafe(ended, Effect.fail(failed(new Error("the connection has ended"))))
  }
  connection.on("end", end)
  connection.on("message", (channel, message) => onMessage({ channel, message }))
  // The client closes when it looks for another server. Then this server may never publish again, so subscribe anew.
  yield* Effect.acquireRelease(
    Effect.sync(() => source.on("close", end)),
    () => Effect.sync(() => source.off("close", end))
  )
  yield* connect(connection, failed)
  yield* asEffect(failed, () => connection.subscribe(channel))
  return Deferred.await(ended)
})

/**
 * Opens a connection for one user, without limits of time and size, because a blocking command may be silent for any
 * time.
 */
const reserve = Effect.fnUntraced(function*(client: Client | Cluster, failed: Failed, connectors: Connectors) {
  const withoutLimits = (Connector: ClientOptions["Connector"]) => ({ socketTimeout: undefined, Connector })
  const connection = isCluster(client)
    ? client.duplicate([], {
      redisOptions: withoutLimits(connectors.standalone(NO_LIMITS)),
      clusterRetryStrategy: () => null
    })
    : client.duplicate({
      ...withoutReconnect,
      ...withoutLimits(
        client.options.sentinels ? connectors.sentinel(NO_LIMITS) : connectors.standalone(NO_LIMITS)
      )
    })
  if (isCluster(connection)) guardCluster(connection)
  yield* Effect.onError(connect(connection, failed), () => Effect.sync(() => connection.disconnect()))
  return { send: sendBy(connection, failed), close: Effect.sync(() => connection.disconnect()) }
})

/**
 * The services over a client, which disconnects when the scope closes. Dies if the package ioredis is not installed.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  options: Options = {}
): Effect.Effect<Context.Context<IoRedis | Redis.Redis>, never, Scope.Scope> =>
  Effect.flatMap(Effect.orDie(ioredis), (driver) => makeWith(driver, options))

const makeWith = (
  driver: Ioredis,
  options: Options
): Effect.Effect<Context.Context<IoRedis | Redis.Redis>, never, Scope.Scope> =>
  Effect.gen(function*() {
    let isClosed = false
    const connectors = new Connectors(driver)
    const passwords = [options.password, options.sentinelPassword]
    const failed = failedWith(new Secrets(passwords.map((secret) => secret && Redacted.value(secret))))
    const client = yield* Effect.acquireRelease(
      Effect.sync(() => clientOf(driver, options, connectors)),
      (client) =>
        Effect.sync(() => {
          isClosed = true
          client.disconnect()
        })
    )
    // Each subscription adds a listener.
    client.setMaxListeners(0)
    const connected = connectionOf(client, failed, connectTimeoutMillis(options), () => isClosed)
    const redis = yield* Redis.make({
      send: sendWhenConnected(client, failed, connected),
      subscribe: (channel, onMessage) =>
        Effect.flatMap(
          subscriptionSource(client, failed, connected),
          (source) => subscribe(source, failed, channel, onMessage)
        ),
      connect: reserve(client, failed, connectors),
      pool: options.pool
    })
    const masters = isCluster(client)
      ? Effect.map(connected, () => client.nodes("master").map((node) => ({ send: sendBy(node, failed) })))
      : undefined
    return Context.make(IoRedis, IoRedis.of({ client, use: (f) => asEffect(failed, () => f(client)) })).pipe(
      Context.add(Redis.Redis, redis),
      Context.add(Masters, masters),
      Context.add(CloseConnections, Effect.sync(() => connectors.closeAll("a reply was that of another request")))
    )
  })

const URL_FORM = /^(redis|rediss)(?:\+(cluster|sentinel))?:\/\/(?:([^:@/]*)(?::([^@/]*))?@)?([^@/?#]+)(?:\/([^?#]*))?$/

/**
 * Options from a URL. Throws a `RangeError` for an invalid URL, and does not quote it because it may contain a
 * password.
 *
 * - `redis://user:password@host:6379/0`: one server, or `rediss://` for TLS
 * - `redis+cluster://host:7000,host:7001`: some nodes of a Cluster
 * - `redis+sentinel://host:26379,host:26380/mymaster/0`: Sentinels, the name of the master, and the database
 *
 * The last two have `rediss+` forms, too. User, password and name are percent-encoded. An IPv6 address is in brackets.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromUrl = (url: string): Options => {
  const [, scheme, mode, user = "", password, hosts = "", path = ""] = URL_FORM.exec(url) ?? []
  const servers = hosts.split(",").map(addressOf)
  const parts = path.split("/")
  const [master = "", database = ""] = mode === "sentinel" ? parts : ["", parts[0]]
  const isWrong = scheme === undefined || servers.some((server) => server === undefined) ||
    !/^\d*$/.test(database) || parts.length > (mode === "sentinel" ? 2 : 1) ||
    (mode === "cluster" ? path !== "" : mode === undefined && servers.length > 1)
  if (isWrong) {
    throw new RangeError(
      "a Redis URL must be redis://host, redis+cluster://host,host or redis+sentinel://host,host/name, or one of them with rediss"
    )
  }
  const addresses = servers.flatMap((server) => server ?? [])
  return {
    ...mode === "cluster" ? { cluster: addresses } : mode === "sentinel" ? { sentinels: addresses } : addresses[0],
    ...master === "" ? {} : { master: decodeURIComponent(master) },
    ...database === "" ? {} : { database: Number(database) },
    ...user === "" ? {} : { username: decodeURIComponent(user) },
    ...password === undefined ? {} : { password: Redacted.make(decodeURIComponent(password)) },
    ...scheme === "rediss" ? { tls: true } : {}
  }
}

const addressOf = (text: string): Address | undefined => {
  const [, bracketed, plain, port] = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+))(?::(\d{1,5}))?$/.exec(text) ?? []
  const host = bracketed ?? plain
  if (host === undefined || Number(port) > 65_535) return undefined
  return { host, ...port === undefined ? {} : { port: Number(port) } }
}

const wrongConfig = (message: string): Config.Config<never> =>
  Config.fail(new Schema.SchemaError(new SchemaIssue.InvalidValue({ message })))

/** Options from a URL that is a secret: the error does not quote it. */
const urlOptions = (url: Redacted.Redacted): Config.Config<Options> => {
  try {
    return Config.succeed(fromUrl(Redacted.value(url)))
  } catch (error) {
    const message = `REDIS_URL: ${error instanceof RangeError ? error.message : "it is not correctly percent-encoded"}`
    return wrongConfig(message)
  }
}

const hostOptions = (host: string): Config.Config<Options> =>
  Config.all({
    host: Config.succeed(host),
    port: Config.withDefault(Config.Port("REDIS_PORT"), 6379),
    username: Config.withDefault(Config.String("REDIS_USERNAME"), undefined),
    password: Config.withDefault(Config.Redacted("REDIS_PASSWORD"), undefined),
    database: Config.withDefault(Config.Int("REDIS_DATABASE"), 0),
    tls: Config.withDefault(Config.Boolean("REDIS_TLS"), false)
  })

const noAddress = (): Config.Config<never> => wrongConfig("REDIS_URL or REDIS_HOST must be set, and neither is")

/**
 * Options from `REDIS_URL`. Without it, from `REDIS_HOST` (then required), `REDIS_PORT`, `REDIS_USERNAME`,
 * `REDIS_PASSWORD`, `REDIS_DATABASE` and `REDIS_TLS`. `REDIS_POOL_SIZE`, the number of connections that can be
 * reserved, goes with either.
 *
 * @category constructors
 * @since 0.1.0
 */
export const config: Config.Config<Options> = Config.flatMap(
  Config.option(Config.Redacted("REDIS_URL")),
  Option.match({
    onSome: urlOptions,
    onNone: () =>
      Config.flatMap(
        Config.option(Config.String("REDIS_HOST")),
        Option.match({ onSome: hostOptions, onNone: noAddress })
      )
  })
).pipe(
  Config.flatMap((options) =>
    Config.map(
      Config.withDefault(Config.Int("REDIS_POOL_SIZE"), undefined),
      (maxConnections): Options => maxConnections === undefined ? options : { ...options, pool: { maxConnections } }
    )
  )
)

/**
 * A client with these options, as `Redis` and as `IoRedis`. It can be built while Redis is away.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options?: Options): Layer.Layer<IoRedis | Redis.Redis> => Layer.effectContext(make(options))

/**
 * A client with options from a `Config`, by default those of `config`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  options: Config.Wrap<Options> = config
): Layer.Layer<IoRedis | Redis.Redis, Config.ConfigError> =>
  Layer.effectContext(
    Effect.flatMap(Config.unwrap(options), (options) => Effect.flatMap(ioredis, (driver) => makeWith(driver, options)))
  )
