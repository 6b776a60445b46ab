/**
 * Circuits in Redis, shared by a fleet, over Effect's `Redis` service: any client that provides it will do.
 *
 * **Details**
 *
 * A circuit is a hash under `circuit_breaker:{name}` that can be read with `redis-cli`. Beside it, in the same slot,
 * are:
 *
 * | key          | holds                                                                                         |
 * | ------------ | --------------------------------------------------------------------------------------------- |
 * | `:window`    | a sorted set: the outcomes of this generation in buckets `start width success failure slow`    |
 * | `:leases`    | a sorted set: the leases of probes, `sequence:instance`, by the time at which their places are free |
 * | `:instances` | a hash: the newest message of each instance, `sequence time`, so that none counts twice        |
 * | `:history`   | a list of the last 100 changes as JSON, newest first                                           |
 *
 * In a name, control characters, braces and `%` are written as `%7B` and so on. The empty name is `%`. All keys expire
 * once the circuit may be forgotten. Times are Unix milliseconds by the server's clock.
 *
 * An operation is one script on one circuit, which has the circuit to itself for 0.02 to 0.3 ms, however many calls
 * were made. A batch of reports is sent at once, one script per circuit, so it costs one round trip on any number of
 * servers. Scripts are sent by their digest, and in full to a server that does not know them.
 *
 * A circuit whose server is silent fails alone: once one circuit of a batch is answered, the others have 250 ms more. A
 * reply names its request. A reply to another request, as a faulty proxy may give, is `Invalid`, and the connections of
 * the client are closed (`CloseConnections`). Requests of `list`, `history` and `repairExpiry` have a deadline of 5
 * seconds each.
 *
 * An error is `Invalid` if a script or Redis says that this one circuit cannot be read, `Denied` if its words are about
 * rights or passwords, and `Unavailable` otherwise, whatever its words are.
 *
 * A user of Redis needs only these rights. The last ones are for clients, which use them when they connect:
 *
 * ```
 * ~circuit_breaker:* &circuit_breaker:changes -@all +eval +evalsha +time +exists +hmget +hget +hset +hdel +hlen
 * +hrandfield +zadd +zrem +zrange +zrangebyscore +zremrangebyscore +zcard +lpush +ltrim +lrange +llen +del +persist +pexpireat +pttl
 * +publish +subscribe +scan +ping +info +cluster|slots +cluster|info +asking
 * ```
 *
 * and `+select` for a database other than 0.
 *
 * **Gotchas**
 *
 * - It needs Redis 6.2 or newer, or a compatible server, with scripts (`EVAL`) and pub/sub. This storage may lose what
 *   `appendfsync` and replication may lose; instances that know of it put it back.
 * - Under a `maxmemory-policy` other than `noeviction`, Redis may evict circuits. An evicted circuit is closed until an
 *   instance that knows it puts it back.
 * - While a Cluster moves a slot from one server to another, the circuits in it may be unavailable.
 * - If `:instances` or `:leases` of a circuit is lost alone, its evidence starts again from zero, and its lost leases
 *   count until the last of them would have ended.
 * - A client may put a prefix of its own before keys, as ioredis does with `keyPrefix`. Give all clients of a circuit the
 *   same one. The channel of changes does not get it.
 * - Pub/sub ignores databases: give programs on different databases of one server a `prefix` each, or each reads its
 *   circuits again when the other's change.
 *
 * **Example** (A prefix, and a Redis from the environment)
 *
 * ```ts
 * import { Layer } from "effect"
 * import * as IoRedis from "effect-breaker/layers/IoRedis"
 * import * as RedisStorage from "effect-breaker/Storage/Redis"
 *
 * const StorageLive = RedisStorage.layer({ prefix: "shop:", idleTimeToLive: "1 day" }).pipe(
 *   Layer.provide(IoRedis.layerConfig())
 * )
 * ```
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redis from "effect/persistence/Redis"
import { durationIn, refuse, YEAR_MILLIS } from "../internal/Check.ts"
import { rangeErrorsFail } from "../internal/ConfigErrors.ts"
import { Circuits } from "../redis/Circuits.ts"
import { KeyNames } from "../redis/KeyNames.ts"
import { Storage, type StorageError } from "./Storage.ts"

/**
 * How circuits are kept in Redis.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /**
   * The beginning of all keys and of the channel of changes. Programs with the same prefix share their circuits.
   * Default `circuit_breaker:`.
   */
  readonly prefix?: string | undefined
  /** A circuit that was not used for this long is forgotten, from a second to a year. Default 1 hour. */
  readonly idleTimeToLive?: Duration.Input | undefined
}

/**
 * The masters of a Redis Cluster, each by itself, because `SCAN` lists the keys of one server. A layer that provides
 * Effect's `Redis` over a Cluster provides this, too, as `IoRedis` does. Default: the server that the `Redis` service
 * reaches.
 *
 * @category services
 * @since 0.1.0
 */
export const Masters = Context.Reference<Effect.Effect<ReadonlyArray<Master>, Redis.RedisError> | undefined>(
  "effect-breaker/Storage/Redis/Masters",
  { defaultValue: () => undefined }
)

/**
 * One server of a Cluster.
 *
 * @category models
 * @since 0.1.0
 */
export type Master = Pick<Redis.Redis["Service"], "send">

/**
 * Closes all connections of the client, which then opens new ones. The storage does this after a reply that is not that
 * of its request, because every later reply on the same connection may belong to another request, too. `IoRedis`
 * provides it. Default: it does nothing, and replies to other requests go on being `Invalid`.
 *
 * @category services
 * @since 0.1.0
 */
export const CloseConnections = Context.Reference<Effect.Effect<void>>(
  "effect-breaker/Storage/Redis/CloseConnections",
  { defaultValue: () => Effect.void }
)

const settingsOf = ({ idleTimeToLive = "1 hour", prefix = "circuit_breaker:" }: Options) => {
  refuse("Storage \"redis\"", [
    ...durationIn("idleTimeToLive", idleTimeToLive, 1000, YEAR_MILLIS),
    ...prefix.isWellFormed() ? [] : [{ field: "prefix", value: prefix, range: "well-formed Unicode" }]
  ])
  return { idleTimeToLive: Duration.fromInputUnsafe(idleTimeToLive), names: new KeyNames(prefix) }
}

const circuitsOf = ({ idleTimeToLive, names }: ReturnType<typeof settingsOf>) =>
  Effect.gen(function*() {
    const redis = yield* Redis.Redis
    const masters = (yield* Masters) ?? Effect.succeed([redis])
    const closeConnections = yield* CloseConnections
    return new Circuits(redis, { names, idleMillis: Duration.toMillis(idleTimeToLive), masters, closeConnections })
  })

/**
 * A storage over the `Redis` service of the program. Throws a `RangeError` for invalid options.
 *
 * **Details**
 *
 * It sends nothing until its first operation, so it can be made while Redis is away. It retries nothing: breakers do.
 * `changes` ends with an error when the subscription ends.
 *
 * **Gotchas**
 *
 * A client that subscribes again by itself after its connection broke, as node-redis does, does not say that changes
 * may have been missed. Instances then learn of those from their next report, as without push. `IoRedis` ends the
 * subscription instead.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: Options = {}): Effect.Effect<Storage, never, Redis.Redis> => {
  const settings = settingsOf(options)
  return Effect.map(circuitsOf(settings), (circuits) =>
    Storage.of({
      backend: "redis",
      capabilities: { shared: true, durable: true, pushes: true, history: true, fences: true, bells: true },
      idleTimeToLive: settings.idleTimeToLive,
      sync: (reports) => circuits.sync(reports),
      change: (circuit, change) => circuits.change(circuit, change),
      probe: (circuit, probe) => circuits.probe(circuit, probe),
      bells: (since) => circuits.bells(since),
      changes: circuits.changes,
      list: circuits.list,
      history: (circuit, { limit = 20 } = {}) => circuits.history(circuit, limit)
    }))
}

/**
 * Gives an expiry to those keys of circuits that have none, and succeeds with their number. Keys lose their expiry when
 * they are restored or copied without it, or made persistent by hand. A key that must not expire, as under an override
 * without an end, stays as it is, and so does an invalid circuit.
 *
 * It scans all keys of all masters, so run it by hand. Pass the options that the storage has.
 *
 * @category operations
 * @since 0.1.0
 */
export const repairExpiry = (options: Options = {}): Effect.Effect<number, StorageError, Redis.Redis> => {
  const settings = settingsOf(options)
  return Effect.flatMap(circuitsOf(settings), (circuits) => circuits.repairExpiry)
}

/**
 * The storage over a client of your choice: `IoRedis.layer`, `NodeRedis.layer`, or any other layer that provides
 * `Redis`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options?: Options): Layer.Layer<Storage, never, Redis.Redis> =>
  Layer.effect(Storage, Effect.suspend(() => make(options)))

/**
 * The storage with options from a `Config`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (options: Config.Wrap<Options>): Layer.Layer<Storage, Config.ConfigError, Redis.Redis> =>
  Layer.effect(Storage, rangeErrorsFail(Effect.flatMap(Config.unwrap(options), make)))
