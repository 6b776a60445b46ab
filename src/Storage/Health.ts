/**
 * Whether a storage does what it is for, found out by doing it: a probe writes to a record of its own and reads it back. On a
 * schedule, with metrics, a line in the log when the answer changes, and a check for readiness endpoints.
 *
 * **Details**
 *
 * The record is a circuit whose name begins with `__effect_breaker/health/`: in no list, no export, and of no breaker. Each
 * process has one of its own for each storage, so that processes neither wait for nor count with one another. It is of one size
 * however often it is written, and expires as any circuit does, an idle time after its process has ended.
 *
 * | metric                                | type      | says                                                                  |
 * | ------------------------------------- | --------- | --------------------------------------------------------------------- |
 * | `circuit_breaker.persistence.health`  | gauge     | 1 for a healthy storage, 0 for another                                |
 * | `circuit_breaker.persistence.latency` | histogram | the milliseconds that probes took of which the storage came out well  |
 *
 * Both have the storage's name as `backend`; two storages of one name are told apart by attributes of your own, put around the
 * monitor by `Metric.CurrentMetricAttributes`.
 *
 * **Gotchas**
 *
 * - No call depends on it: breakers find out by themselves that a storage is away, and do without. A process that is not ready
 *   because its storage is away serves nobody, though it could: a check for orchestrators should be of the storage only where
 *   that is what you want.
 * - A storage that fences nothing (null) keeps nothing, so nothing can be read back. It is asked, and `verified` is `false`.
 * - It says that one record can be written and read: on a Redis Cluster, that the master of that one is there; of a chain, that
 *   one of its storages is.
 *
 * **Example** (A readiness endpoint)
 *
 * ```ts import.meta.vitest
 * import { Effect, Layer } from "effect"
 * import { Storage } from "effect-breaker"
 * import * as Health from "effect-breaker/Storage/Health"
 * import { HttpRouter, HttpServerResponse } from "effect/http"
 *
 * const ready = Health.Monitor.use((monitor) => monitor.ready).pipe(
 *   Effect.as(HttpServerResponse.text("ready")),
 *   Effect.catch((error) => Effect.succeed(HttpServerResponse.text(error.message, { status: 503 })))
 * )
 *
 * const routes = HttpRouter.add("GET", "/ready", ready).pipe(
 *   HttpRouter.provideRequest(Health.layer({ every: "10 seconds" })),
 *   Layer.provide(Storage.MemoryStorageLive)
 * )
 *
 * const { dispose, handler } = HttpRouter.toWebHandler(routes, { disableLogger: true })
 * const response = await handler(new Request("http://localhost/ready"))
 * response.status // => 200
 * await dispose()
 * ```
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as PubSub from "effect/PubSub"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { type Delta, noDelta, noLifetimeCounts } from "../core/Delta.ts"
import { RESERVED } from "../core/Reserved.ts"
import { durationIn, refuse } from "../internal/Check.ts"
import { makeLog } from "../internal/Log.ts"
import { Storage, StorageError } from "./Storage.ts"

/**
 * What a probe found.
 *
 * @category models
 * @since 0.1.0
 */
export interface Health {
  /** The storage's name for people: `redis`. */
  readonly backend: string
  readonly healthy: boolean
  /** Whether what was written was read back. Only a storage that keeps nothing is healthy without. */
  readonly verified: boolean
  /** How long the probe took, all of its requests together. */
  readonly latency: Duration.Duration
  /** When it ended, in Unix milliseconds by this process's clock. */
  readonly at: number
  /**
   * Why it is not healthy: what the storage failed with; `Deadline` where it did not answer in time; `Invalid` where it died,
   * answered what makes no sense, or did not keep what was written.
   */
  readonly error?: StorageError | undefined
}

/**
 * @category models
 * @since 0.1.0
 */
export interface CheckOptions {
  /** How long a probe may take, from a millisecond to an hour. Default 1 second. */
  readonly deadline?: Duration.Input | undefined
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Options extends CheckOptions {
  /** The time from the beginning of a probe to the next, from 10 ms to a day. Default 30 seconds. */
  readonly every?: Duration.Input | undefined
}

/**
 * The gauge `circuit_breaker.persistence.health`. A monitor sets it, by `backend`.
 *
 * @category metrics
 * @since 0.1.0
 */
export const health: Metric.Gauge<number> = Metric.gauge("circuit_breaker.persistence.health", {
  description: "1 where circuits can be written to and read from their storage, 0 where not"
})

/**
 * The histogram `circuit_breaker.persistence.latency`, in milliseconds. A monitor adds to it, by `backend`.
 *
 * @category metrics
 * @since 0.1.0
 */
export const latency: Metric.Histogram<Duration.Duration> = Metric.timer("circuit_breaker.persistence.latency", {
  description: "How long it took to write to the storage of circuits and read it back",
  boundaries: Metric.exponentialBoundaries({ start: 0.5, factor: 2, count: 14 })
})

const HOUR = 60 * 60 * 1000

const deadlineIn = (deadline: Duration.Input) => durationIn("deadline", deadline, 1, HOUR)

/** Where this process writes on a storage. */
interface Target {
  readonly circuit: string
  readonly instance: string
  /** Of the last write. */
  sequence: number
  /** Probes that were given up and go on all the same. */
  abandoned: number
}

const targets = new WeakMap<Storage, Target>()

const targetOf = (storage: Storage): Effect.Effect<Target> =>
  Effect.map(Effect.all([Random.next, Random.next]), (parts) => {
    const known = targets.get(storage)
    if (known !== undefined) return known
    const instance = parts.map((part) => part.toString(36).slice(2)).join("")
    const target = { circuit: `${RESERVED}health/${instance}`, instance, sequence: 0, abandoned: 0 }
    targets.set(storage, target)
    return target
  })

const written: Delta = { ...noDelta, lifetime: { ...noLifetimeCounts, ignored: 1 } }

const failure = (reason: StorageError["reason"], cause: unknown): StorageError =>
  new StorageError({ operation: "health", reason, cause })

/** Reads, writes, and reads again: what was counted must be there, whatever others of this process count meanwhile. */
const probe = (storage: Storage, target: Target): Effect.Effect<void, StorageError> => {
  const { circuit, instance } = target
  const counted = (delta: Delta): Effect.Effect<number, StorageError> =>
    Effect.suspend(() =>
      storage.sync([{ circuit, instance, sequence: ++target.sequence, generation: 0, delta, withins: [] }])
    ).pipe(
      Effect.flatMap(([synced]) =>
        synced === undefined
          ? Effect.fail(failure("Invalid", "no answer to a report"))
          : Effect.fromResult(synced.result)
      ),
      Effect.map(({ snapshot }) => snapshot.lifetime.ignored)
    )
  if (!storage.capabilities.fences) return Effect.asVoid(counted(noDelta))
  return Effect.gen(function*() {
    const before = yield* counted(noDelta)
    yield* counted(written)
    const after = yield* counted(noDelta)
    if (!(after > before)) return yield* failure("Invalid", "what was written cannot be read back")
  })
}

const errorOf = (cause: Cause.Cause<StorageError>): StorageError => {
  const error = Cause.squash(cause)
  return error instanceof StorageError ? error : failure("Invalid", error)
}

/** Interrupts a fiber and does not wait for it. */
const abandon = (fiber: Fiber.Fiber<unknown, unknown>, target: Target): void => {
  if (fiber.pollUnsafe() !== undefined) return
  target.abandoned++
  fiber.addObserver(() => {
    target.abandoned--
  })
  fiber.interruptUnsafe()
}

/**
 * Probes a storage now: three small requests, within the deadline. It never fails, whatever the storage does. Throws a
 * `RangeError` for a deadline that makes no sense.
 *
 * It is told to no metric and no log: what `make` runs is.
 *
 * **Gotchas**
 *
 * A storage that does not heed its interruption is not waited for, and while such a probe hangs no other is sent: the answer is
 * `Deadline` at once.
 *
 * @category operations
 * @since 0.1.0
 */
export const check = (storage: Storage, { deadline = "1 second" }: CheckOptions = {}): Effect.Effect<Health> => {
  refuse("Health", deadlineIn(deadline))
  const { backend } = storage
  return Effect.gen(function*() {
    const clock = yield* Clock.Clock
    const startedAt = clock.monotonicTimeNanosUnsafe()
    const target = yield* targetOf(storage)
    const exit = target.abandoned > 0
      ? Exit.fail(failure("Deadline", "an earlier probe was interrupted and is still under way"))
      : yield* within(probe(storage, target), target, deadline)
    const healthy = Exit.isSuccess(exit)
    return {
      backend,
      healthy,
      verified: healthy && storage.capabilities.fences,
      latency: Duration.nanos(clock.monotonicTimeNanosUnsafe() - startedAt),
      at: clock.currentTimeMillisUnsafe(),
      ...healthy ? {} : { error: errorOf(exit.cause) }
    }
  })
}

const within = (
  effect: Effect.Effect<void, StorageError>,
  target: Target,
  deadline: Duration.Input
): Effect.Effect<Exit.Exit<void, StorageError>> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(
      Effect.forkDetach(effect, { startImmediately: true }),
      (fiber) =>
        restore(Effect.timeoutOption(Fiber.await(fiber), deadline)).pipe(
          Effect.map(Option.getOrElse(() => Exit.fail(failure("Deadline", `no answer within ${inWords(deadline)}`)))),
          Effect.ensuring(Effect.sync(() => abandon(fiber, target)))
        )
    )
  )

const inWords = (duration: Duration.Input): string => Duration.format(Duration.fromInputUnsafe(duration))

/**
 * A monitor of the storage in the context.
 *
 * - `current`: what the last probe found, `undefined` before the first has ended.
 * - `changes`: what each probe finds, beginning with the last one. It ends with the monitor. Who is more than 16 behind loses
 *   the oldest.
 * - `ready`: succeeds where the last probe found the storage healthy, and fails with why it is not. It waits for the first probe,
 *   at most a deadline, and for no other: it asks the storage nothing, so it may be called as often as you like. It fails with
 *   `Deadline` where the last probe is older than two intervals and a deadline, for the process stood still, and with
 *   `Unavailable` where the monitor has ended.
 *
 * @category services
 * @since 0.1.0
 */
export class Monitor extends Context.Service<Monitor, {
  readonly current: Effect.Effect<Health | undefined>
  readonly changes: Stream.Stream<Health>
  readonly ready: Effect.Effect<void, StorageError>
}>()("effect-breaker/Storage/Health/Monitor") {}

/** How many probes a slow listener may be behind. */
const BEHIND = 16

/**
 * Probes the storage in the context at once and then on its schedule, until the scope closes. Throws a `RangeError` for options
 * that make no sense.
 *
 * It sets the metrics after each probe, and logs when the storage is no longer healthy, and when it is again: see `docs/logs.md`.
 * It keeps the `Clock`, the loggers and the metrics that are there when it is made.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  options: Options = {}
): Effect.Effect<Monitor["Service"], never, Storage | Scope.Scope> => {
  const { deadline = "1 second", every = "30 seconds" } = options
  refuse("Health", [...durationIn("every", every, 10, 24 * HOUR), ...deadlineIn(deadline)])
  return Effect.gen(function*() {
    const storage = yield* Storage
    const clock = yield* Clock.Clock
    const log = makeLog(yield* Effect.context<never>())
    const { backend } = storage
    const now = () => clock.monotonicTimeNanosUnsafe()
    const probed = yield* PubSub.sliding<Health>({ capacity: BEHIND, replay: 1 })
    const first = yield* Deferred.make<void>()
    const interval = Duration.toNanosUnsafe(every)
    const oldest = 2n * interval + Duration.toNanosUnsafe(deadline)
    let current: Health | undefined
    let probedAt = now()
    let ended = false

    const tell = (found: Health) =>
      Effect.gen(function*() {
        if (found.error !== undefined && current?.healthy !== false) {
          log("Warn", "The storage is not healthy", { backend, cause: found.error })
        } else if (found.healthy && current?.healthy === false) {
          log("Info", "The storage is healthy again", { backend })
        }
        current = found
        probedAt = now()
        yield* Metric.update(Metric.withAttributes(health, { backend }), found.healthy ? 1 : 0)
        if (found.healthy) yield* Metric.update(Metric.withAttributes(latency, { backend }), found.latency)
        yield* PubSub.publish(probed, found)
        yield* Deferred.succeed(first, undefined)
      })

    yield* Effect.addFinalizer(() => {
      ended = true
      return Effect.andThen(Deferred.succeed(first, undefined), PubSub.shutdown(probed))
    })
    // By the monotonic clock, which a `Schedule` does not go by.
    yield* Effect.gen(function*() {
      const startedAt = now()
      yield* Effect.flatMap(check(storage, { deadline }), tell)
      yield* Effect.sleep(Duration.nanos(interval - (now() - startedAt) % interval))
    }).pipe(Effect.forever, Effect.forkScoped({ startImmediately: true }))

    return {
      current: Effect.sync(() => current),
      changes: Stream.fromPubSub(probed),
      ready: Effect.flatMap(Deferred.await(first), () => {
        if (ended || current === undefined) return Effect.fail(failure("Unavailable", "the monitor's scope has closed"))
        if (current.error !== undefined) return Effect.fail(current.error)
        return now() - probedAt > oldest ? Effect.fail(failure("Deadline", "the last probe is too old")) : Effect.void
      })
    }
  })
}

/**
 * @category layers
 * @since 0.1.0
 */
export const layer = (options?: Options): Layer.Layer<Monitor, never, Storage> => Layer.effect(Monitor, make(options))
