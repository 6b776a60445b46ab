/**
 * Effect's `Redis` service over ioredis: one server, a Cluster, or whatever server a Sentinel says is the master.
 *
 * **Details**
 *
 * The layer opens nothing: the first command connects, and the client connects again by itself for as long as its scope is
 * open. While it has no connection a command fails at once with what went wrong, or, where that is not known yet, after
 * `connectTimeout`; nothing is queued for later. A connection that says nothing for two seconds, though it was asked
 * something, is given up. What was under way when a connection broke has failed, and may have been done all the same. It is
 * not sent again, but by the client of a Cluster, for up to two seconds, to whoever takes over.
 *
 * A subscription has a connection of its own, and ends with it: whoever subscribes again knows that there was a gap.
 *
 * **Gotchas**
 *
 * Passwords are in no error, log or span of this module. The client itself, which the `IoRedis` service hands out, has them in
 * its options.
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
import { Cluster, Redis as Client, type RedisOptions } from "ioredis"
import { Masters } from "../Storage/Redis.ts"

/**
 * Where a server listens. Default port 6379, of a Sentinel 26379.
 *
 * @category models
 * @since 0.1.0
 */
export interface Address {
  readonly host: string
  readonly port?: number | undefined
}

/**
 * Which Redis, and how it is reached.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** Of the one server, unless `cluster` or `sentinels` are given. Default `localhost`. */
  readonly host?: string | undefined
  /** Default 6379. */
  readonly port?: number | undefined
  /** Some nodes of a Cluster, from which the others are learned. */
  readonly cluster?: ReadonlyArray<Address> | undefined
  /** Sentinels, one of which says where the master called `master` is. */
  readonly sentinels?: ReadonlyArray<Address> | undefined
  /** As the Sentinels call it. Default `mymaster`. */
  readonly master?: string | undefined
  readonly sentinelUsername?: string | undefined
  readonly sentinelPassword?: Redacted.Redacted | undefined
  /** Default: Redis's own default user. */
  readonly username?: string | undefined
  readonly password?: Redacted.Redacted | undefined
  /** Default 0, and the only one of a Cluster. */
  readonly database?: number | undefined
  /** Whether the way to the servers, and to the Sentinels, is encrypted, and how. Default `false`. */
  readonly tls?: boolean | NonNullable<RedisOptions["tls"]> | undefined
  /** How long a command waits for a connection at most. Default 1 second. */
  readonly connectTimeout?: Duration.Input | undefined
  /** Of the connections that `Redis.reserve` hands out; the circuit breakers need none. */
  readonly pool?: Redis.PoolOptions | undefined
  /** Addresses by which servers know each other, as they are reached from here: `{ "10.0.0.1:6379": { host, port } }`. */
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
  /** Runs a promise of the client's, failing as the `Redis` service does. It queues where there is no connection. */
  readonly use: <A>(f: (client: Client | Cluster) => Promise<A>) => Effect.Effect<A, Redis.RedisError>
}>()("effect-breaker/layers/IoRedis") {}

/** After how long without a word a connection is given up that was asked something. */
const SILENCE = 2000

/** When the first probe is sent over a connection on which nobody speaks, so that one that leads nowhere is noticed. */
const KEEP_ALIVE = 10_000

const reconnectDelay = (attempt: number): number =>
  Math.min(50 * 2 ** Math.min(attempt, 6), 2000) * (0.5 + Math.random() / 2)

/** A connection that is not made again once it broke: whoever holds it must know. */
const once = {
  lazyConnect: true,
  retryStrategy: null,
  sentinelRetryStrategy: () => null,
  failoverDetector: false
} as const

// Its types do not go with `exactOptionalPropertyTypes` otherwise.
type ClientOptions = Omit<RedisOptions, "replyMapping">

const optionsOf = (options: Options): ClientOptions => {
  const tls = options.tls === true ? {} : options.tls === false ? undefined : options.tls
  return {
    username: options.username,
    password: options.password === undefined ? undefined : Redacted.value(options.password),
    db: options.database ?? 0,
    ...tls === undefined ? {} : { tls, sentinelTLS: tls, enableTLSForSentinelMode: true },
    connectTimeout: Duration.toMillis(Duration.fromInputUnsafe(options.connectTimeout ?? "1 second")),
    keepAlive: KEEP_ALIVE,
    socketTimeout: SILENCE,
    lazyConnect: true,
    // What is under way fails when its connection breaks, and is nobody's to send again but its sender's.
    maxRetriesPerRequest: 0,
    // A master that was made a replica stays connected, and refuses.
    reconnectOnError: ({ message }) => message.includes("READONLY"),
    ...options.natMap === undefined ? {} : { natMap: options.natMap }
  }
}

/** What a Cluster sends before a command on a slot that moves is awaited by nobody: its failure would end the process. */
const answerAsking = (node: Client): void => {
  const asking = node.asking.bind(node)
  node.asking = (callback = () => {}) => asking(callback)
}

const clientOf = (options: Options): Client | Cluster => {
  const common = optionsOf(options)
  if (options.cluster !== undefined) {
    const { natMap, reconnectOnError: _, ...redisOptions } = common
    const client = new Cluster(options.cluster.map(({ host, port = 6379 }) => ({ host, port })), {
      lazyConnect: true,
      redisOptions,
      ...natMap === undefined ? {} : { natMap },
      clusterRetryStrategy: reconnectDelay
    })
    client.on("+node", answerAsking)
    return client
  }
  const retryStrategy = reconnectDelay
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

/** An error without what the command was given, a password among it. */
const scrubbed = (error: unknown): unknown => {
  if (!(error instanceof Error)) return error
  if ("command" in error) {
    const { command } = error
    error.command = typeof command === "object" && command !== null && "name" in command ? { name: command.name } : {}
  }
  if ("lastNodeError" in error) scrubbed(error.lastNodeError)
  return error
}

const failed = (cause: unknown) => new Redis.RedisError({ cause: scrubbed(cause) })

const asEffect = <A>(promise: () => Promise<A>): Effect.Effect<A, Redis.RedisError> =>
  Effect.tryPromise({ try: promise, catch: failed })

/** Waits until there is a connection, if that takes no longer than it may and is not known to fail. */
const connectionOf = (
  client: Client | Cluster,
  timeout: number,
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
    const timer = setTimeout(() => ended(Effect.fail(failed(new Error(`no connection within ${timeout} ms`)))), timeout)
    waiting.add(ended)
    return Effect.sync(stop)
  })
  return Effect.suspend(() => {
    if (client.status === "ready" || isClosed()) return Effect.void
    if (client.status === "wait" || client.status === "end") {
      // A failover that comes while it asks the Sentinels ends it for good.
      lastError = undefined
      client.connect().catch(() => {})
    }
    return lastError === undefined ? ready : Effect.fail(failed(lastError))
  })
}

/**
 * The services over a client that is closed with the scope.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  options: Options = {}
): Effect.Effect<Context.Context<IoRedis | Redis.Redis>, never, Scope.Scope> =>
  Effect.gen(function*() {
    let isClosed = false
    const client = yield* Effect.acquireRelease(
      Effect.sync(() => clientOf(options)),
      (client) =>
        Effect.sync(() => {
          isClosed = true
          client.disconnect()
        })
    )
    // Each subscription listens to it.
    client.setMaxListeners(0)
    const connected = connectionOf(client, optionsOf(options).connectTimeout ?? 0, () => isClosed)
    const sendBy =
      (client: Client | Cluster) =>
      <A = unknown>(command: string, ...args: ReadonlyArray<string>): Effect.Effect<A, Redis.RedisError> =>
        asEffect(() => client.call(command, ...args) as Promise<A>)
    const sendNow = sendBy(client)
    const send = <A = unknown>(command: string, ...args: ReadonlyArray<string>): Effect.Effect<A, Redis.RedisError> =>
      Effect.suspend(() =>
        client.status === "ready"
          ? sendNow<A>(command, ...args)
          : Effect.andThen(connected, sendNow<A>(command, ...args))
      )

    const masters = client instanceof Cluster
      ? Effect.map(connected, () => client.nodes("master").map((node) => ({ send: sendBy(node) })))
      : undefined

    // Any node of a Cluster tells what is published on any other.
    const source: Effect.Effect<Client, Redis.RedisError> = client instanceof Cluster
      ? Effect.flatMap(connected, () => {
        const nodes = client.nodes("master")
        const node = nodes[Math.floor(Math.random() * nodes.length)]
        return node === undefined
          ? Effect.fail(failed(new Error("the Cluster has no master")))
          : Effect.succeed(node)
      })
      : Effect.succeed(client)

    const opened = (connection: Client | Cluster): Effect.Effect<void, Redis.RedisError> => {
      let reason: unknown
      connection.on("error", (error: unknown) => {
        reason = error
      })
      return Effect.mapError(asEffect(() => connection.connect()), ({ cause }) => failed(reason ?? cause))
    }

    const redis = yield* Redis.make({
      send,
      subscribe: Effect.fnUntraced(function*(channel, onMessage) {
        const of = yield* source
        const connection = yield* Effect.acquireRelease(
          Effect.sync(() => of.duplicate(once)),
          (connection) => Effect.sync(() => connection.disconnect())
        )
        const ended = Deferred.makeUnsafe<void, Redis.RedisError>()
        const end = () => {
          Deferred.doneUnsafe(ended, Effect.fail(failed(new Error("the connection has ended"))))
        }
        connection.on("end", end)
        connection.on("message", (channel, message) => onMessage({ channel, message }))
        // Who must look for another server must listen to another, too: this one may never say a word again.
        yield* Effect.acquireRelease(
          Effect.sync(() => of.on("close", end)),
          () => Effect.sync(() => of.off("close", end))
        )
        yield* opened(connection)
        yield* asEffect(() => connection.subscribe(channel))
        return Deferred.await(ended)
      }),
      // A blocking command may be silent for as long as it likes.
      connect: Effect.gen(function*() {
        const patient = { socketTimeout: undefined }
        const connection = client instanceof Cluster
          ? client.duplicate([], { redisOptions: patient, clusterRetryStrategy: () => null })
          : client.duplicate({ ...once, ...patient })
        yield* Effect.onError(opened(connection), () => Effect.sync(() => connection.disconnect()))
        return { send: sendBy(connection), close: Effect.sync(() => connection.disconnect()) }
      }),
      pool: options.pool
    })

    return Context.make(IoRedis, IoRedis.of({ client, use: (f) => asEffect(() => f(client)) })).pipe(
      Context.add(Redis.Redis, redis),
      Context.add(Masters, masters)
    )
  })

const URL_FORM = /^(redis|rediss)(?:\+(cluster|sentinel))?:\/\/(?:([^:@/]*)(?::([^@/]*))?@)?([^@/?#]+)(?:\/([^?#]*))?$/

/**
 * Options from a URL. Throws a `RangeError`, which does not quote it, for what is none.
 *
 * - `redis://user:password@host:6379/0`, and `rediss://` with TLS
 * - `redis+cluster://host:7000,host:7001`, some nodes of a Cluster
 * - `redis+sentinel://host:26379,host:26380/mymaster/0`, Sentinels, what they call the master, and the database
 *
 * The latter have `rediss+` forms, too. User, password and name are percent-encoded, an IPv6 address stands in brackets.
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

/** From text that is a secret, so that what is wrong with it says nothing of it. */
const urlOptions = (url: Redacted.Redacted): Config.Config<Options> => {
  try {
    return Config.succeed(fromUrl(Redacted.value(url)))
  } catch (error) {
    const message = `REDIS_URL: ${error instanceof RangeError ? error.message : "it is not well encoded"}`
    return Config.fail(new Schema.SchemaError(new SchemaIssue.InvalidValue({ message })))
  }
}

/**
 * Options from `REDIS_URL`, or where there is none, from `REDIS_HOST` (needed then), `REDIS_PORT`, `REDIS_USERNAME`,
 * `REDIS_PASSWORD`, `REDIS_DATABASE` and `REDIS_TLS`. `REDIS_POOL_SIZE`, of reserved connections, goes with either.
 *
 * @category constructors
 * @since 0.1.0
 */
export const config: Config.Config<Options> = Config.flatMap(
  Config.option(Config.Redacted("REDIS_URL")),
  Option.match({
    onSome: urlOptions,
    onNone: () =>
      Config.map(
        Config.all({
          host: Config.String("REDIS_HOST"),
          port: Config.withDefault(Config.Port("REDIS_PORT"), 6379),
          username: Config.withDefault(Config.String("REDIS_USERNAME"), undefined),
          password: Config.withDefault(Config.Redacted("REDIS_PASSWORD"), undefined),
          database: Config.withDefault(Config.Int("REDIS_DATABASE"), 0),
          tls: Config.withDefault(Config.Boolean("REDIS_TLS"), false)
        }),
        (options): Options => options
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
 * A client with these options, as `Redis` and as itself. It can be built while Redis is away.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options?: Options): Layer.Layer<IoRedis | Redis.Redis> => Layer.effectContext(make(options))

/**
 * A client with options that come from a `Config`, by default from the environment: see `config`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  options: Config.Wrap<Options> = config
): Layer.Layer<IoRedis | Redis.Redis, Config.ConfigError> =>
  Layer.effectContext(Effect.flatMap(Config.unwrap(options), make))
