/**
 * Circuits in Redis: one for the whole fleet, over Effect's `Redis` service, so by whichever client provides it.
 *
 * **Details**
 *
 * A circuit is a hash under `circuit_breaker:{name}` that can be read in `redis-cli`, and beside it, in the same slot:
 *
 * | key          | holds                                                                                          |
 * | ------------ | ---------------------------------------------------------------------------------------------- |
 * | `:window`    | a sorted set: the outcomes of this generation in buckets `start width success failure slow`     |
 * | `:leases`    | a sorted set: the probes that run, `sequence:instance`, by the time at which their leases end   |
 * | `:instances` | a hash: the newest message of each instance, `sequence time`, so that none counts twice         |
 * | `:history`   | a list of the last 100 changes, the newest first, as JSON                                       |
 *
 * Of a name, control characters, braces and `%` are written as `%7B` and so on, and the empty name as `%`. All keys expire
 * when the circuit may be forgotten. Times are Unix milliseconds by the server's clock.
 *
 * An operation is one script on one circuit, which holds it alone: for 0.05 to 0.3 ms, however many calls were made. A batch of reports is sent at once, one script a circuit, so that it costs one round trip on any number of servers.
 * Scripts are known by their digest, and sent again to whichever server does not know them.
 *
 * A user of Redis needs no more than these rights, the last of which are what clients ask when they connect:
 *
 * ```
 * ~circuit_breaker:* &circuit_breaker:changes -@all +eval +evalsha +time +exists +hmget +hget +hset +hdel +hrandfield
 * +zadd +zrem +zrange +zrangebyscore +zremrangebyscore +zcard +lpush +ltrim +lrange +llen +del +persist +pexpireat +pttl
 * +publish +subscribe +scan +ping +info +cluster|slots +cluster|info +asking
 * ```
 *
 * and `+select` for another database than 0.
 *
 * **Gotchas**
 *
 * - Needs Redis 6.2 or newer, or what speaks like it, with scripts (`EVAL`) and pub/sub. What `appendfsync` and replication
 *   may lose, this storage may lose; the instances that know of it put it back.
 * - With a `maxmemory-policy` other than `noeviction` Redis may drop circuits, which are then closed until an instance that
 *   knows of them is back.
 * - While a Cluster hands a slot from one server to another, a circuit in it may be unavailable for as long as that takes.
 * - Pub/sub knows no databases: give programs on several databases of one server a `prefix` each, or each reads when the
 *   other changes.
 *
 * **Example** (A prefix of one's own, and a Redis from the environment)
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
import * as Option from "effect/Option"
import * as Redis from "effect/persistence/Redis"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import { widthFor } from "../core/Buckets.ts"
import { isEmpty } from "../core/Delta.ts"
import { isReserved } from "../core/Reserved.ts"
import { durationIn, refuse } from "../internal/Check.ts"
import {
  decodeAnnouncement,
  decodeHistory,
  decodePage,
  decodeReply,
  type Naming,
  naming,
  type Operation,
  overrideName,
  type Reply,
  stateName
} from "../redis/Fields.ts"
import { type Script, scripts } from "../redis/Lua.ts"
import {
  type Announcement,
  type Change,
  type CircuitReport,
  type LeaseName,
  type Probe,
  type Report,
  type Snapshot,
  Storage,
  StorageError,
  type Synced,
  type Why
} from "./Storage.ts"

/**
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /**
   * What all keys begin with, and the channel of changes. Whoever shares it shares the circuits. Default `circuit_breaker:`.
   */
  readonly prefix?: string | undefined
  /** After how long without use a circuit is forgotten, from a second to a year. Default 1 hour. */
  readonly idleTimeToLive?: Duration.Input | undefined
}

/**
 * How each master of a Redis Cluster is spoken to: `SCAN` tells of the keys of one server alone. Whoever provides Effect's
 * `Redis` over a Cluster provides this with it, as `IoRedis` does. Default: the one server that the `Redis` service reaches.
 *
 * @category services
 * @since 0.1.0
 */
export const Masters = Context.Reference<Effect.Effect<ReadonlyArray<Master>, Redis.RedisError> | undefined>(
  "effect-breaker/Storage/Redis/Masters",
  { defaultValue: () => undefined }
)

/**
 * A server, by the one command that is sent to it.
 *
 * @category models
 * @since 0.1.0
 */
export type Master = Pick<Redis.Redis["Service"], "send">

const LONGEST_IDLE = 365 * 24 * 60 * 60 * 1000

/** Keys looked at by one `SCAN`: a server with nothing else to do needs less than a millisecond for them. */
const SCANNED = "500"

/** Scripts under way at once, for one caller. */
const CONCURRENCY = 100

const settingsOf = ({ idleTimeToLive = "1 hour", prefix = "circuit_breaker:" }: Options) => {
  refuse("Storage \"redis\"", [
    ...durationIn("idleTimeToLive", idleTimeToLive, 1000, LONGEST_IDLE),
    ...prefix.isWellFormed() ? [] : [{ field: "prefix", value: prefix, range: "well-formed Unicode" }]
  ])
  return { idleTimeToLive: Duration.fromInputUnsafe(idleTimeToLive), names: naming(prefix) }
}

/**
 * A storage over the `Redis` service at hand. Throws a `RangeError` for options that make no sense.
 *
 * **Details**
 *
 * It asks Redis nothing until it is asked something, so it can be made while Redis is away. It retries nothing: whoever calls
 * it comes back. `changes` ends with an error when the subscription does.
 *
 * **Gotchas**
 *
 * A client that subscribes again by itself after its connection broke (node-redis does) tells nobody that changes may have
 * been missed: those are known at the next report, as without push. `IoRedis` ends the subscription instead.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: Options = {}): Effect.Effect<Storage, never, Redis.Redis> => {
  const { idleTimeToLive, names } = settingsOf(options)
  const idle = Duration.toMillis(idleTimeToLive)
  return Effect.gen(function*() {
    const redis = yield* Redis.Redis
    const masters = yield* Masters

    const run = <O extends Operation>(
      operation: O,
      circuit: string,
      input: object,
      withins: ReadonlyArray<number> = []
    ): Effect.Effect<Reply<O>, StorageError> =>
      within(
        operation,
        circuit,
        () => runScript(redis, names, circuit, scripts[operation], { ...input, channel: names.channel, circuit, idle })
      ).pipe(
        Effect.flatMap((reply) => decode(operation, circuit, () => decodeReply(operation, reply, withins, idle)))
      )

    const sync = ({ circuit, ...report }: CircuitReport): Effect.Effect<Synced> =>
      Effect.map(
        Effect.result(run("sync", circuit, reportInput(report), report.withins)),
        (result): Synced => ({
          circuit,
          result: Result.map(result, ({ answer, snapshot }) => ({ reported: answer, snapshot }))
        })
      )

    return Storage.of({
      backend: "redis",
      capabilities: { shared: true, durable: true, pushes: true, history: true, fences: true },
      idleTimeToLive,
      sync: (reports) =>
        Effect.tap(
          Effect.forEach(reports, sync, { concurrency: CONCURRENCY }),
          // Who sends it must see that the storage is away, and not so many circuits that each have a trouble of their own.
          (synced) =>
            synced[0] !== undefined && synced.every(isUnreached) ? Effect.fromResult(synced[0].result) : Effect.void
        ),
      change: (circuit, change) =>
        Effect.flatMap(run("change", circuit, changeInput(change)), ({ answer, snapshot }) => {
          const committed = answer === "Committed"
          return committed || change._tag !== "Operation" ? Effect.succeed({ committed, snapshot }) : Effect.fail(
            new StorageError({
              operation: "change",
              circuit,
              reason: "Denied",
              cause: "a newer version of this library owns the circuit, or wrote what is to be imported"
            })
          )
        }),
      probe: (circuit, probe) =>
        Effect.map(
          run("probe", circuit, probeInput(probe)),
          ({ answer, snapshot }) => ({ granted: answer === "Granted", snapshot })
        ),
      changes: changesOf(redis, names),
      list: Stream.suspend(() => {
        const told = new Set<string>()
        return scan("list", redis, masters, names.records).pipe(
          Stream.flattenIterable,
          Stream.map(names.circuitOf),
          // A table that is moved meanwhile tells of some keys twice.
          Stream.filter((circuit) =>
            circuit !== undefined && !isReserved(circuit) && !told.has(circuit) && told.add(circuit).size > 0
          ),
          Stream.map((circuit) => circuit!)
        )
      }),
      history: (circuit, { limit = 20 } = {}) =>
        limit < 1 ?
          Effect.succeed([]) :
          within("history", circuit, () =>
            redis.send("LRANGE", names.keys(circuit).history, "0", `${Math.floor(limit) - 1}`)).pipe(
              Effect.flatMap((rows) =>
                decode("history", circuit, () =>
                  decodeHistory(rows))
              )
            )
    })
  })
}

/**
 * Gives those keys of circuits that have no time to live one, as long as the circuit is kept, and says how many there were:
 * for keys that were restored, copied or made persistent by hand. What has none by right, such as an override without an end,
 * keeps it, and so does what makes no sense.
 *
 * It looks at every key of every master, by and by: run it by hand. Takes the options that the storage has.
 *
 * @category operations
 * @since 0.1.0
 */
export const repairExpiry = (options: Options = {}): Effect.Effect<number, StorageError, Redis.Redis> => {
  const { idleTimeToLive, names } = settingsOf(options)
  const operation = "repairExpiry"
  return Effect.gen(function*() {
    const redis = yield* Redis.Redis
    const circuits = new Set<string>()
    const repair = (circuit: string) =>
      within(
        operation,
        circuit,
        () => runScript(redis, names, circuit, scripts.repair, { idle: Duration.toMillis(idleTimeToLive) })
      ).pipe(
        Effect.map(Number),
        Effect.catchIf(({ reason }) => reason === "Invalid", () => Effect.succeed(0))
      )
    return yield* scan(operation, redis, yield* Masters, names.all).pipe(
      Stream.flattenIterable,
      Stream.map(names.circuitOf),
      Stream.filter((circuit) => circuit !== undefined && !circuits.has(circuit) && circuits.add(circuit).size > 0),
      Stream.mapEffect((circuit) => repair(circuit!), { concurrency: CONCURRENCY }),
      Stream.runFold(() => 0, (sum, repaired: number) => sum + repaired)
    )
  })
}

/**
 * The storage over a client of your choice: `IoRedis.layer`, `NodeRedis.layer`, or whatever else provides `Redis`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options?: Options): Layer.Layer<Storage, never, Redis.Redis> =>
  Layer.effect(Storage, Effect.suspend(() => make(options)))

/**
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (options: Config.Wrap<Options>): Layer.Layer<Storage, Config.ConfigError, Redis.Redis> =>
  Layer.effect(Storage, Effect.flatMap(Config.unwrap(options), make))

type Client = Redis.Redis["Service"]

// -----------------------------------------------------------------------------
// requests
// -----------------------------------------------------------------------------

const runScript = (
  redis: Client,
  names: Naming,
  circuit: string,
  { digest, lua }: Script,
  input: object
): Effect.Effect<unknown, Redis.RedisError> => {
  const keys = names.keys(circuit).all
  const send = (command: string, script: string) =>
    redis.send(command, script, String(keys.length), ...keys, JSON.stringify(input))
  // By its text it goes to where its keys are, as by its digest. Loading it would reach any server of a Cluster.
  return Effect.catchIf(send("EVALSHA", digest), isUnknownScript, () => send("EVAL", lua))
}

const reportInput = ({ delta, withins, ...report }: Report): object => ({
  ...report,
  withins,
  width: widthFor(withins),
  ...isEmpty(delta) ? {} : { ...delta, counts: true }
})

const changeInput = (change: Change): object => {
  switch (change._tag) {
    case "Trip":
      return { ...change, ...authorInput(change) }
    case "PutBack":
      return {
        ...change,
        snapshot: snapshotInput(change.snapshot),
        leases: change.leases.map(({ remaining, ...name }) => ({ name: leaseName(name), remaining })),
        row: JSON.stringify({ reason: "put back after a loss of data", evidence: change.snapshot.why })
      }
    case "Operation": {
      const why = JSON.stringify(change.why)
      const { to } = change
      const input = to._tag === "Override"
        ? { ...to, kind: overrideName[to.kind] }
        : to._tag === "Import"
        ? { ...to, snapshot: snapshotInput(to.snapshot) }
        : to
      return { ...change, why, row: why, to: input }
    }
  }
}

const authorInput = ({ why }: { readonly why: Why }) => {
  const text = JSON.stringify(why)
  return { why: text, row: text }
}

const snapshotInput = ({ override, state, why, ...snapshot }: Snapshot): object => ({
  ...snapshot,
  state: { ...state, name: stateName[state._tag] },
  override: override === undefined ? undefined : { ...override, kind: overrideName[override.kind] },
  why: why === undefined ? undefined : JSON.stringify(why)
})

const probeInput = (probe: Probe): object => {
  const { lease, ...rest } = probe
  const named = { ...rest, name: leaseName(lease), instance: lease.instance, sequence: lease.sequence }
  if (probe._tag === "Ask" || probe.outcome._tag === "Ignored") return named
  return { ...named, outcome: { ...probe.outcome, why: JSON.stringify(probe.outcome.why) } }
}

const leaseName = ({ instance, sequence }: LeaseName): string => `${sequence}:${instance}`

/** The keys that match a pattern, on all masters. Some may come twice. */
const scan = (
  operation: string,
  redis: Client,
  masters: typeof Masters.Service,
  pattern: string
): Stream.Stream<ReadonlyArray<string>, StorageError> =>
  Stream.flatMap(
    Stream.fromIterableEffect(Effect.mapError(masters ?? Effect.succeed([redis]), errorOf(operation))),
    ({ send }) =>
      Stream.paginate("0", (cursor) =>
        send("SCAN", cursor, "MATCH", pattern, "COUNT", SCANNED).pipe(
          Effect.mapError(errorOf(operation)),
          Effect.flatMap((reply) => decode(operation, undefined, () => decodePage(reply))),
          Effect.map(([next, keys]) => [[keys], next === "0" ? Option.none() : Option.some(next)] as const)
        ))
  )

const changesOf = (redis: Client, { channel }: Naming): Stream.Stream<Announcement, StorageError> =>
  Stream.unwrap(Effect.map(redis.subscribe(channel), (messages) => {
    const announced = Stream.flattenIterable(
      Stream.map(Stream.fromQueue(messages), ({ message }) => decodeAnnouncement(message))
    )
    // It is confirmed by now, or has failed already.
    return messages.state._tag === "Done" ? announced : Stream.concat(Stream.succeed(subscribed), announced)
  })).pipe(Stream.mapError(errorOf("changes")))

const subscribed: Announcement = { _tag: "Subscribed" }

// -----------------------------------------------------------------------------
// errors
// -----------------------------------------------------------------------------

const within = <A>(
  operation: string,
  circuit: string,
  request: () => Effect.Effect<A, Redis.RedisError>
): Effect.Effect<A, StorageError> =>
  circuit.isWellFormed()
    ? Effect.mapError(Effect.suspend(request), errorOf(operation, circuit))
    : Effect.fail(
      new StorageError({
        operation,
        circuit,
        reason: "Invalid",
        cause: "the circuit's name is not well-formed Unicode"
      })
    )

const decode = <A>(operation: string, circuit: string | undefined, f: () => A): Effect.Effect<A, StorageError> =>
  Effect.try({
    try: f,
    catch: (cause) => new StorageError({ operation, ...of(circuit), reason: "Invalid", cause })
  })

const of = (circuit: string | undefined) => circuit === undefined ? {} : { circuit }

const errorOf = (operation: string, circuit?: string) => ({ cause }: Redis.RedisError): StorageError =>
  new StorageError({ operation, ...of(circuit), reason: reasonOf(cause), cause })

const messageOf = (cause: unknown): string => cause instanceof Error ? cause.message : String(cause)

const isUnknownScript = ({ cause }: Redis.RedisError): boolean => messageOf(cause).startsWith("NOSCRIPT")

/** What a server answers begins with a word in capitals; what else fails is the way to it. */
const reasonOf = (cause: unknown): StorageError["reason"] => {
  const message = messageOf(cause)
  switch (/^[A-Z]+(?= |$)/.exec(message)?.[0]) {
    case "NOAUTH":
    case "NOPERM":
    case "WRONGPASS":
      return "Denied"
    case "ERR":
      // Before Redis 7 a script's error hides the one that was its reason.
      return /^ERR max number of clients|-READONLY/.test(message) ? "Unavailable" : "Invalid"
    case "WRONGTYPE":
    case "CROSSSLOT":
      return "Invalid"
    default:
      return "Unavailable"
  }
}

const isUnreached = ({ result }: Synced): boolean =>
  Result.isFailure(result) && (result.failure.reason === "Unavailable" || result.failure.reason === "Deadline")
