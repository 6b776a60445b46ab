/** A process in which every metric of the table has a series, at a moment at which nothing moves. */
import { Duration, Effect, Exit, Scope } from "effect"
import { TestClock } from "effect/testing"
import { circuitOf } from "../../src/conformance/Law.ts"
import { Breaker, Trip } from "../../src/index.ts"
import type * as BreakerMetrics from "../../src/observability/BreakerMetrics.ts"
import * as Fallback from "../../src/Storage/Fallback.ts"
import * as Health from "../../src/Storage/Health.ts"
import * as Migration from "../../src/Storage/Migration.ts"
import * as Regions from "../../src/Storage/Regions.ts"
import { failing, Link, lostReply, memory } from "../support/storages.ts"
import { failTimes, untilQuiet } from "../utils.ts"

export const options: BreakerMetrics.Options = {
  durations: true,
  errors: true,
  stateCode: true,
  keyed: { top: 1 },
  attributes: { "service.name": "shop" }
}

class Declined extends Error {
  readonly _tag = "Declined"
}

const payments = {
  trip: Trip.any(
    Trip.failureRate({ threshold: 0.5, within: "60 seconds", minimumCalls: 4 }),
    Trip.slowCallRate({ threshold: 0.9, slowerThan: "2 seconds", lastCalls: 10, minimumCalls: 10 })
  ),
  timeout: "5 seconds",
  maxConcurrent: 2,
  openFor: "30 seconds",
  evidence: "any"
} as const

/** Opens by one success, one slow success, a failure and a timeout; refuses one call by its bulkhead and one because it is open. */
const opened = Effect.gen(function*() {
  const link = new Link({ ...(yield* memory), backend: "shared" })
  const breaker = yield* link.make("payments", payments)
  const seconds = (n: number, call: Effect.Effect<unknown, unknown>) =>
    Effect.gen(function*() {
      yield* Effect.forkChild(Effect.exit(breaker.wrap(call)), { startImmediately: true })
      yield* TestClock.adjust(Duration.seconds(n))
      yield* untilQuiet
    })
  yield* breaker.wrap(Effect.void)
  yield* seconds(3, Effect.sleep("3 seconds"))
  yield* Effect.exit(breaker.wrap(Effect.interrupt))
  yield* Effect.forkChild(Effect.exit(breaker.wrap(Effect.never)), { startImmediately: true })
  yield* Effect.forkChild(Effect.exit(breaker.wrap(Effect.never)), { startImmediately: true })
  yield* Effect.exit(breaker.wrap(Effect.void))
  yield* TestClock.adjust("5 seconds")
  yield* untilQuiet
  yield* Effect.exit(breaker.wrap(Effect.fail(new Declined())))
  return { breaker, link }
})

/** Another instance of `payments`, with another policy. */
const drifted = (link: Link) =>
  Effect.gen(function*() {
    const other = new Link(link.storage)
    const breaker = yield* other.make("payments", { ...payments, openFor: "60 seconds" })
    yield* Effect.exit(breaker.wrap(Effect.void))
    yield* untilQuiet
  })

/** Has one call under way, and fails half of the others, one in a row, so that it sheds a third of the next. */
const orders = Effect.gen(function*() {
  const orders = yield* new Link({ ...(yield* memory), backend: "orders" }).make("orders", {
    trip: Trip.failureRate({ threshold: 0.9, within: "60 seconds", minimumCalls: 4 }),
    throttle: { k: 1, within: "60 seconds", minimumCalls: 2 }
  })
  yield* Effect.forkChild(Effect.exit(orders.wrap(Effect.never)), { startImmediately: true })
  yield* orders.wrap(Effect.void)
  yield* Effect.exit(orders.wrap(Effect.fail(new Declined())))
})

/** Never hears that its report was counted, and gives it up. A change reaches it after a second. */
const lossy = Effect.gen(function*() {
  const storage = { ...(yield* memory), backend: "lossy" }
  const policy = { trip: Trip.consecutiveFailures(2), evidence: "any", openFor: "1 second" } as const
  const link = new Link(storage, { pushes: false })
  const breaker = yield* link.make("lossy", policy)
  yield* breaker.wrap(Effect.void)
  yield* passes(3, "1 second")
  link.fault(lostReply, "sync")
  yield* breaker.wrap(Effect.void)
  yield* passes(40, "1 minute")
  link.fault(undefined)
  yield* breaker.wrap(Effect.void)
  yield* passes(40, "1 second")
  const other = yield* new Link(storage).make("lossy", policy)
  yield* breaker.wrap(Effect.void)
  yield* failTimes(other, 2)
  yield* passes(3, "1 second")
})

const passes = (times: number, duration: Duration.Input) =>
  Effect.repeat(Effect.andThen(TestClock.adjust(duration), untilQuiet), { times: times - 1 })

const hosts = Effect.gen(function*() {
  const link = new Link({ ...(yield* memory), backend: "hosts" })
  const keyed = yield* Breaker.makeKeyed("hosts", { trip: Trip.consecutiveFailures(3) }).pipe(
    Effect.provide(link.layer)
  )
  yield* keyed.wrap(Effect.void, { key: "good" })
  for (let i = 0; i < 3; i++) yield* Effect.exit(keyed.wrap(Effect.fail(new Declined()), { key: "bad" }))
  yield* TestClock.adjust("10 seconds")
  yield* untilQuiet
})

/** A breaker that only measures: its circuit was opened by another instance. */
const shadow = Effect.gen(function*() {
  const storage = { ...(yield* memory), backend: "shadow" }
  const policy = { trip: Trip.consecutiveFailures(2), evidence: "any", openFor: "1 hour" } as const
  const enforcing = yield* Scope.make()
  const other = yield* Scope.provide(new Link(storage).make("search", policy), enforcing)
  yield* failTimes(other, 2)
  yield* untilQuiet
  yield* Scope.close(enforcing, Exit.void)
  const search = yield* new Link(storage).make("search", { ...policy, enforcement: "metricsOnly" })
  yield* search.wrap(Effect.void)
  yield* untilQuiet
  yield* search.wrap(Effect.void)
})

const storages = Effect.gen(function*() {
  const links = yield* Effect.forEach(
    ["a", "b"],
    (backend) => Effect.map(memory, (storage) => new Link({ ...storage, backend }))
  )
  const [a, b] = links as [Link, Link]
  yield* Health.make().pipe(Effect.provide(a.layer))
  yield* untilQuiet
  a.fault(failing("Unavailable"))
  yield* Health.make().pipe(Effect.provide(a.layer))
  yield* untilQuiet
  const chain = yield* Fallback.make([{ storage: a.storage }, { storage: b.storage }])
  yield* circuitOf(chain, "c").read
  const regions = yield* Regions.make("eu", { eu: b.storage, us: { ...(yield* memory), backend: "us" } })
  yield* circuitOf(regions, "c").open()
  yield* untilQuiet
  yield* Migration.make({ name: "to-b", from: a.storage, to: b.storage })
})

export const world = Effect.gen(function*() {
  yield* lossy
  const { link } = yield* opened
  yield* drifted(link)
  yield* hosts
  yield* orders
  yield* shadow
  yield* storages
  yield* untilQuiet
})
