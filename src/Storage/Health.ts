/**
 * Health checks of a storage: a probe writes a record of its own and reads it back. A monitor probes on a schedule,
 * sets metrics, logs when the result changes, and answers readiness endpoints.
 *
 * **Details**
 *
 * The record is a circuit whose name begins with `__effect_breaker/health/`. No list, export or breaker contains it.
 * Each process has one record for each storage, so that processes do not wait for each other and do not share a count.
 * The record has a constant size, and expires like any circuit, one idle time after its process has ended.
 *
 * | metric                                 | type      | value                                               |
 * | -------------------------------------- | --------- | --------------------------------------------------- |
 * | `circuit_breaker.persistence.health`   | gauge     | 1 when the storage is healthy, 0 when it is not     |
 * | `circuit_breaker.persistence.duration` | histogram | the duration of successful probes, in seconds       |
 * | `circuit_breaker.persistence.errors`   | counter   | probes that were not successful, by `reason`        |
 *
 * All have the attribute `backend`, the storage's name. To distinguish two storages of one name, provide attributes of
 * your own to the monitor with `Metric.CurrentMetricAttributes`. The gauge is removed when the monitor ends, because nobody knows
 * from then on whether the storage is healthy.
 *
 * **Gotchas**
 *
 * - Calls do not depend on a monitor. Breakers notice an outage of their storage by themselves and decide without it. A
 *   process that reports itself as not ready during such an outage gets no traffic, although it could serve: make
 *   readiness depend on the storage only where you want that.
 * - A storage that does not fence (null) keeps nothing, so nothing can be read back. The probe only reads, and
 *   `verified` is `false`.
 * - A probe covers one record. On a Redis Cluster it covers the master of that record, and in a chain one of its
 *   storages.
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
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as PubSub from "effect/PubSub"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { type Delta, noDelta, noLifetimeCounts } from "../core/Delta.ts"
import { RESERVED_PREFIX } from "../core/Reserved.ts"
import { durationIn, refuse } from "../internal/Check.ts"
import { backgroundSleep } from "../internal/Clock.ts"
import { makeFork } from "../internal/Fork.ts"
import { randomId } from "../internal/Ids.ts"
import { makeLogUntilClosed } from "../internal/Log.ts"
import { messages } from "../internal/Messages.ts"
import { counterOf, gaugeOf, histogramOf, table } from "../internal/MetricTable.ts"
import { Requests } from "../internal/Request.ts"
import { failure } from "../internal/StorageErrors.ts"
import { Storage, type StorageError, type Synced } from "./Storage.ts"

/**
 * The result of a probe.
 *
 * @category models
 * @since 0.1.0
 */
export interface Health {
  /** The storage's name, such as `redis`. */
  readonly backend: string
  readonly healthy: boolean
  /**
   * Whether the record was read back after it was written. Only a storage that does not fence can be healthy without.
   */
  readonly verified: boolean
  /** The duration of the probe: all of its requests together. */
  readonly latency: Duration.Duration
  /** The end of the probe, in Unix milliseconds by this process's clock. */
  readonly at: number
  /**
   * Why the storage is not healthy: the error of the storage; `Deadline` if it did not answer in time; `Unavailable` if
   * it died; `Invalid` if its answer was malformed, or if it did not keep the record.
   */
  readonly error?: StorageError | undefined
}

/**
 * How long a check takes at most.
 *
 * @category models
 * @since 0.1.0
 */
export interface CheckOptions {
  /** The longest duration of a probe, from a millisecond to an hour. Default 1 second. */
  readonly deadline?: Duration.Input | undefined
}

/**
 * How often a monitor checks, and how long a check takes at most.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options extends CheckOptions {
  /** The time from the start of one probe to the start of the next, from 10 ms to a day. Default 30 seconds. */
  readonly every?: Duration.Input | undefined
}

/**
 * The gauge `circuit_breaker.persistence.health`. Monitors set it, with the attribute `backend`.
 *
 * @category metrics
 * @since 0.1.0
 */
export const health: Metric.Gauge<number> = gaugeOf(table.persistenceHealth)

/**
 * The histogram `circuit_breaker.persistence.duration`, in seconds from 0.0005 to 4.096. Monitors add to it, with the attribute
 * `backend`.
 *
 * @category metrics
 * @since 0.1.0
 */
export const duration: Metric.Histogram<Duration.Duration> = Metric.mapInput(
  histogramOf(table.persistenceDuration, Metric.exponentialBoundaries({ start: 0.0005, factor: 2, count: 14 })),
  (duration: Duration.Duration) => Duration.toSeconds(duration)
)

/**
 * The counter `circuit_breaker.persistence.errors`, of probes that found the storage unhealthy. Monitors add to it, with the
 * attributes `backend` and `reason`, that of the `StorageError`.
 *
 * @category metrics
 * @since 0.1.0
 */
export const errors: Metric.Counter<number> = counterOf(table.persistenceErrors)

const HOUR = 60 * 60 * 1000

const deadlineIn = (deadline: Duration.Input) => durationIn("deadline", deadline, 1, HOUR)

/** The record that this process writes in a storage. */
interface Target {
  readonly circuit: string
  readonly instance: string
  /** The sequence of the last report. */
  sequence: number
  /** The requests of probes that were abandoned. */
  readonly abandoned: Set<Requests>
}

const targets = new WeakMap<Storage, Target>()

const targetOf = (storage: Storage): Effect.Effect<Target> =>
  Effect.map(randomId, (instance) => {
    const known = targets.get(storage)
    if (known !== undefined) return known
    const target = {
      circuit: `${RESERVED_PREFIX}health/${instance}`,
      instance,
      sequence: 0,
      abandoned: new Set<Requests>()
    }
    targets.set(storage, target)
    return target
  })

const written: Delta = { ...noDelta, lifetime: { ...noLifetimeCounts, ignored: 1 } }

const NAME = { operation: "health" }

const fail = (reason: StorageError["reason"], cause: unknown) => Effect.fail(failure(NAME, reason, cause))

/** Reads how many calls the record has counted. The answer may be malformed. */
const countIn = (synced: ReadonlyArray<Synced>): Effect.Effect<number, StorageError> => {
  const result = Array.isArray(synced) ? (synced[0] as Synced | undefined)?.result : undefined
  if (!Result.isResult(result)) return fail("Invalid", "no answer to a report")
  if (Result.isFailure(result)) return Effect.fail(result.failure)
  const count: unknown = (result.success as Partial<typeof result.success> | undefined)?.snapshot?.lifetime?.ignored
  return typeof count === "number" ? Effect.succeed(count) : fail("Invalid", "the answer has no lifetime counts")
}

/** In a chain, a storage that cannot be written to may answer the first look, and another one take the write. */
const MOST_ATTEMPTS = 2

/** Reads, writes, and reads again: the count must have grown, whatever other probes of this process add meanwhile. */
const probe = (storage: Storage, target: Target): Effect.Effect<void, StorageError> => {
  const { circuit, instance } = target
  const report = (delta: Delta): Effect.Effect<number, StorageError> =>
    Effect.flatMap(
      Effect.suspend(() =>
        storage.sync([{ circuit, instance, sequence: ++target.sequence, generation: 0, delta, withins: [] }])
      ),
      countIn
    )
  if (!storage.capabilities.fences) return Effect.asVoid(report(noDelta))
  return Effect.gen(function*() {
    let before = yield* report(noDelta)
    for (let attempt = 0; attempt < MOST_ATTEMPTS; attempt++) {
      yield* report(written)
      const after = yield* report(noDelta)
      if (after > before) return
      before = after
    }
    return yield* fail("Invalid", "the record was written and could not be read back")
  })
}

/** Sends nothing while a request of an earlier probe ignores its interruption. */
const probeWithin = (storage: Storage, target: Target, deadline: Duration.Input): Effect.Effect<void, StorageError> =>
  Effect.gen(function*() {
    for (const requests of target.abandoned) {
      if (requests.abandoned > 0) return yield* fail("Deadline", "an earlier probe was interrupted and still runs")
      target.abandoned.delete(requests)
    }
    const requests = new Requests(yield* Clock.Clock, makeFork(yield* Effect.context<never>()))
    const millis = Duration.toMillis(Duration.fromInputUnsafe(deadline))
    return yield* Effect.ensuring(
      requests.effect(NAME, () => probe(storage, target), millis),
      Effect.sync(() => {
        if (requests.abandoned > 0) target.abandoned.add(requests)
      })
    )
  })

/**
 * Probes a storage now: a few small requests, within the deadline. It never fails, whatever the storage does. Throws a
 * `RangeError` for a deadline out of range.
 *
 * It sets no metric and logs nothing. A monitor (`make`) does.
 *
 * **Gotchas**
 *
 * A request that ignores its interruption is not waited for. While such a request still runs, no other is sent, and the
 * result is `Deadline` at once.
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
    const result = yield* Effect.result(probeWithin(storage, yield* targetOf(storage), deadline))
    const healthy = Result.isSuccess(result)
    return {
      backend,
      healthy,
      verified: healthy && storage.capabilities.fences,
      latency: Duration.nanos(clock.monotonicTimeNanosUnsafe() - startedAt),
      at: clock.currentTimeMillisUnsafe(),
      ...healthy ? {} : { error: result.failure }
    }
  })
}

/**
 * A monitor of the storage in the context.
 *
 * - `current`: the result of the last probe, `undefined` before the first has ended.
 * - `changes`: the result of each probe, beginning with the last one. The stream ends with the monitor. A consumer that
 *   is more than 16 results behind loses the oldest.
 * - `ready`: succeeds if the last probe found the storage healthy, and fails with its error if not. It sends no request
 *   to the storage, so call it as often as you like. It waits for the first probe, at most one deadline. It fails with
 *   `Deadline` if the last probe is older than two intervals and a deadline, because the process was suspended, and
 *   with `Unavailable` if the monitor has ended.
 *
 * @category services
 * @since 0.1.0
 */
export class Monitor extends Context.Service<Monitor, {
  readonly current: Effect.Effect<Health | undefined>
  readonly changes: Stream.Stream<Health>
  readonly ready: Effect.Effect<void, StorageError>
}>()("effect-breaker/Storage/Health/Monitor") {}

/** Takes a result into the metrics. */
const measured = ({ backend, error, healthy, latency }: Health): Effect.Effect<void> =>
  Effect.andThen(
    Metric.update(Metric.withAttributes(health, { backend }), healthy ? 1 : 0),
    error === undefined
      ? Metric.update(Metric.withAttributes(duration, { backend }), latency)
      : Metric.update(Metric.withAttributes(errors, { backend, reason: error.reason }), 1)
  )

/** So many results wait for a slow consumer of `changes`. */
const MOST_BUFFERED = 16

/**
 * Probes the storage in the context at once and then on a schedule, until the scope closes. Throws a `RangeError` for
 * options out of range.
 *
 * It sets the metrics after each probe, and logs when the storage stops being healthy and when it is healthy again: see
 * `docs/logs.md`. It keeps the `Clock`, the loggers and the metrics of the context that it is made in.
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
    const log = yield* makeLogUntilClosed
    const { backend } = storage
    const now = () => clock.monotonicTimeNanosUnsafe()
    const probed = yield* PubSub.sliding<Health>({ capacity: MOST_BUFFERED, replay: 1 })
    const first = yield* Deferred.make<void>()
    const interval = Duration.toNanosUnsafe(every)
    const oldest = 2n * interval + Duration.toNanosUnsafe(deadline)
    let current: Health | undefined
    let probedAt = now()
    let ended = false

    const record = (found: Health) =>
      Effect.gen(function*() {
        if (found.error !== undefined && current?.healthy !== false) {
          log(messages.unhealthy, { backend, cause: found.error })
        } else if (found.healthy && current?.healthy === false) {
          log(messages.healthyAgain, { backend })
        }
        current = found
        probedAt = now()
        yield* measured(found)
        yield* PubSub.publish(probed, found)
        yield* Deferred.succeed(first, undefined)
      })

    yield* Effect.addFinalizer(() => {
      ended = true
      const removed = Metric.remove(Metric.withAttributes(health, { backend }))
      return Effect.all([removed, Deferred.succeed(first, undefined), PubSub.shutdown(probed)], { discard: true })
    })
    // Not a `Schedule`, because that measures time by the wall clock.
    yield* Effect.gen(function*() {
      const startedAt = now()
      yield* Effect.flatMap(check(storage, { deadline }), record)
      yield* backgroundSleep(Duration.nanos(interval - (now() - startedAt) % interval))
    }).pipe(Effect.forever, Effect.forkScoped({ startImmediately: true }))

    return {
      current: Effect.sync(() => current),
      changes: Stream.fromPubSub(probed),
      ready: Effect.flatMap(Deferred.await(first), () => {
        if (ended || current === undefined) return fail("Unavailable", "the scope of the monitor has closed")
        if (current.error !== undefined) return Effect.fail(current.error)
        return now() - probedAt > oldest ? fail("Deadline", "the last probe is too old") : Effect.void
      })
    }
  })
}

/**
 * Provides a monitor for as long as the layer's scope is open. It throws for options out of range, as `make` does.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options?: Options): Layer.Layer<Monitor, never, Storage> => Layer.effect(Monitor, make(options))
