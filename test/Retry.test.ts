import { assert, describe, it } from "@effect/vitest"
import { Clock, Duration, Effect, Fiber, Ref, Schedule } from "effect"
import { HttpClient } from "effect/http"
import { TestClock } from "effect/testing"
import * as BreakerHttpClient from "../src/http/HttpClient.ts"
import { Breaker, Trip } from "../src/index.ts"
import * as Retry from "../src/Retry.ts"
import { StorageError } from "../src/Storage/Storage.ts"
import { clientOf, transportError } from "./http/support.ts"
import { failTimes, make, makeKeyed, rejectionOf, untilQuiet } from "./utils.ts"

const one = { trip: Trip.consecutiveFailures(1), openFor: "10 seconds" } as const

/** Counts, and does not open. */
const patient = { trip: Trip.consecutiveFailures(1_000_000) } as const

const succeedTimes = (breaker: { readonly wrap: Breaker.Wrap<unknown, never> }, times: number) =>
  Effect.repeat(breaker.wrap(Effect.void), { times: times - 1 }).pipe(Effect.orDie)

const full = new Breaker.BulkheadFullError({ circuit: "full", maxConcurrent: 1 })
const late = new Breaker.BreakerTimeoutError({ circuit: "late", timeout: Duration.seconds(1) })
const broken = new StorageError({
  circuit: "kept",
  operation: "report",
  reason: "Unavailable",
  cause: "down"
})

describe("notRejected", () => {
  it.effect("retries what a call failed with, and nothing that was not called", () =>
    Effect.gen(function*() {
      const breaker = yield* make("not-rejected", one)
      yield* failTimes(breaker, 1)
      const rejection = yield* rejectionOf(breaker)
      for (const error of [rejection, full, broken, new Error("wrapped", { cause: rejection })]) {
        assert.isFalse(Retry.notRejected(error), String(error))
      }
      for (const error of ["boom", undefined, late, new Error("wrapped", { cause: late })]) {
        assert.isTrue(Retry.notRejected(error), String(error))
      }
    }))
})

describe("afterRejection", () => {
  /** Calls an open circuit with a retry by this schedule, and returns after how many milliseconds the call was made. */
  const madeAfter = (name: string, schedule: Schedule.Schedule<unknown>) =>
    Effect.gen(function*() {
      const breaker = yield* make(name, one)
      yield* failTimes(breaker, 1)
      const start = yield* Clock.currentTimeMillis
      const fiber = yield* breaker.wrap(Clock.currentTimeMillis).pipe(
        Effect.retry(Retry.afterRejection(schedule)),
        Effect.forkChild({ startImmediately: true })
      )
      for (let seconds = 0; seconds < 400; seconds++) yield* TestClock.adjust("100 millis")
      const made = yield* Fiber.join(fiber)
      return { millis: made - start, rejected: (yield* breaker.snapshot).statistics.rejected }
    })

  it.effect("sleeps for as long as a rejection says, and at most a tenth longer", () =>
    Effect.gen(function*() {
      for (const [name, schedule] of [["short", Schedule.spaced("10 millis")], ["none", Schedule.forever]] as const) {
        const { millis, rejected } = yield* madeAfter(`sleeps-${name}`, schedule)
        assert.strictEqual(rejected, 1)
        assert.isAtLeast(millis, 10_000)
        assert.isAtMost(millis, 11_000)
      }
    }))

  it.effect("sleeps for as long as the schedule says where that is longer", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* madeAfter("sleeps-longer", Schedule.spaced("30 seconds")), {
        millis: 30_000,
        rejected: 1
      })
    }))

  it.effect("does not bring the callers of one opening back together", () =>
    Effect.gen(function*() {
      const breaker = yield* make("spread", one)
      yield* failTimes(breaker, 1)
      const delays = yield* Effect.forEach(Array.from({ length: 20 }), () =>
        Effect.gen(function*() {
          const step = yield* Schedule.toStep(Retry.afterRejection(Schedule.forever))
          const [, delay] = yield* step(0, yield* rejectionOf(breaker))
          return Duration.toMillis(delay)
        }))
      assert.isAbove(new Set(delays).size, 10)
    }))

  it.effect("keeps the schedule's delay for all that does not say when", () =>
    Effect.gen(function*() {
      const breaker = yield* make("forced", one)
      yield* breaker.override({ mode: "ForcedOpen", reason: "incident", actor: "oncall" })
      const forced = yield* rejectionOf(breaker)
      for (const error of [forced, full, late, "boom"]) {
        const step = yield* Schedule.toStep(Retry.afterRejection(Schedule.spaced("250 millis")))
        const [, delay] = yield* step(0, error)
        assert.strictEqual(Duration.toMillis(delay), 250)
        assert.isUndefined(Retry.waitOf(error))
      }
    }))

  it.effect("knows a rejection that is the cause of a client's error", () =>
    Effect.gen(function*() {
      const breaker = yield* make("carried", one)
      yield* failTimes(breaker, 1)
      const rejection = yield* rejectionOf(breaker)
      assert.strictEqual(Duration.toMillis(Retry.waitOf(new Error("wrapped", { cause: rejection }))!), 10_000)
    }))

  it.effect("ends where the schedule ends", () =>
    Effect.gen(function*() {
      const breaker = yield* make("ends", one)
      yield* failTimes(breaker, 1)
      yield* breaker.override({ mode: "ForcedOpen", reason: "incident", actor: "oncall" })
      yield* Effect.flip(breaker.wrap(Effect.void).pipe(Effect.retry(Retry.afterRejection(Schedule.recurs(3)))))
      assert.strictEqual((yield* breaker.snapshot).statistics.rejected, 4)
    }))
})

describe("a budget", () => {
  it.effect("lets no more than a few attempts be retried while everything fails, and retries again after successes", () =>
    Effect.gen(function*() {
      const breaker = yield* make("down", patient)
      const budget = yield* Retry.budget(breaker)
      const attempts = yield* Ref.make(0)
      const call = breaker.wrap(Effect.andThen(Ref.update(attempts, (n) => n + 1), Effect.fail("down"))).pipe(
        Effect.retry({ times: 3, while: budget.while }),
        Effect.ignore
      )
      for (let n = 0; n < 100; n++) yield* call
      // The first failures bring the tokens from 10 to 5: four of them are retried.
      assert.strictEqual(yield* Ref.get(attempts), 103)
      assert.strictEqual(yield* budget.tokens, 0)

      yield* succeedTimes(breaker, 60)
      assert.strictEqual(yield* budget.tokens, 6)
      assert.isFalse(yield* Effect.andThen(failTimes(breaker, 1), budget.while("boom")))
      yield* succeedTimes(breaker, 11)
      assert.isTrue(yield* budget.while("boom"))
    }))

  it.effect("has as many tokens as gRPC's, asked after each failure", () =>
    Effect.gen(function*() {
      const breaker = yield* make("exact", { trip: Trip.consecutiveFailures(4), openFor: "1 second" })
      const budget = yield* Retry.budget(breaker, { tokens: 6, perSuccess: 0.25 })
      let expected = 6
      let seed = 7
      const seen = new Set<boolean>()
      for (let n = 0; n < 500; n++) {
        seed = (seed * 48_271) % 2_147_483_647
        // The share that succeeds changes, so that the tokens reach both ends.
        if (seed % 100 < (n % 200 < 100 ? 95 : 60)) {
          yield* succeedTimes(breaker, 1)
          expected = Math.min(6, expected + 0.25)
          continue
        }
        yield* failTimes(breaker, 1)
        expected = Math.max(0, expected - 1)
        const isRoom = yield* budget.while("boom")
        seen.add(isRoom)
        assert.strictEqual(isRoom, expected > 3)
        assert.strictEqual(yield* budget.tokens, expected)
        // Opened by the failure: closed again for the next call.
        if ((yield* breaker.state) !== "Closed") yield* breaker.reset
      }
      assert.strictEqual(seen.size, 2)
    }))

  it.effect("takes the last outcomes for the last, and the ones before as spread, where it is not asked", () =>
    Effect.gen(function*() {
      const breaker = yield* make("seldom", patient)
      const budget = yield* Retry.budget(breaker)
      yield* succeedTimes(breaker, 1000)
      yield* failTimes(breaker, 7)
      assert.strictEqual(yield* budget.tokens, 3)
      for (let n = 0; n < 20; n++) {
        yield* failTimes(breaker, 5)
        yield* succeedTimes(breaker, 95)
      }
      assert.strictEqual(yield* budget.tokens, 10)
      yield* failTimes(breaker, 20)
      yield* succeedTimes(breaker, 30)
      assert.strictEqual(yield* budget.tokens, 3)
    }))

  it.effect("takes the failure that opens a circuit for the last outcome, though it ends the streak", () =>
    Effect.gen(function*() {
      const breaker = yield* make("opening", {
        trip: Trip.failureRate({ threshold: 0.1, lastCalls: 10, minimumCalls: 10 })
      })
      const budget = yield* Retry.budget(breaker)
      yield* succeedTimes(breaker, 20)
      yield* failTimes(breaker, 1)
      assert.strictEqual(yield* breaker.state, "Open")
      assert.strictEqual(yield* budget.tokens, 9)
    }))

  it.effect("has no room for a rejection, which costs nothing, and counts a timeout as a failure", () =>
    Effect.gen(function*() {
      const breaker = yield* make("no-room", { ...one, timeout: "1 second" })
      const budget = yield* Retry.budget(breaker)
      const fiber = yield* Effect.forkChild(Effect.flip(breaker.wrap(Effect.never)))
      yield* untilQuiet
      yield* TestClock.adjust("1 second")
      assert.isTrue(yield* budget.while(yield* Fiber.join(fiber)))
      assert.strictEqual(yield* budget.tokens, 9)
      for (let n = 0; n < 20; n++) assert.isFalse(yield* budget.while(yield* rejectionOf(breaker)))
      assert.strictEqual(yield* budget.tokens, 9)
    }))

  it.effect("starts full, whatever the circuit has counted before", () =>
    Effect.gen(function*() {
      const breaker = yield* make("before", patient)
      yield* failTimes(breaker, 50)
      assert.strictEqual(yield* (yield* Retry.budget(breaker)).tokens, 10)
    }))

  it.effect("is shared by all that retry at the same time", () =>
    Effect.gen(function*() {
      const breaker = yield* make("together", patient)
      const budget = yield* Retry.budget(breaker, { tokens: 1000 })
      const attempts = yield* Ref.make(0)
      const call = breaker.wrap(
        Ref.update(attempts, (n) => n + 1).pipe(Effect.andThen(Effect.yieldNow), Effect.andThen(Effect.fail("down")))
      ).pipe(Effect.retry({ times: 30, while: budget.while }), Effect.ignore)
      yield* Effect.all(Array.from({ length: 100 }, () => call), { concurrency: "unbounded" })
      assert.strictEqual(yield* budget.tokens, 1000 - (yield* Ref.get(attempts)))
      assert.isAtMost(yield* Ref.get(attempts), 500 + 2 * 100)
      assert.isAtLeast(yield* Ref.get(attempts), 500)
    }))

  it.effect("reads the counts in the order in which it is asked, however long a reading takes", () =>
    Effect.gen(function*() {
      const breaker = yield* make("slow-reading", patient)
      let delay: Duration.Input = 0
      const budget = yield* Retry.budget({ snapshot: Effect.tap(breaker.snapshot, () => Effect.sleep(delay)) })
      yield* failTimes(breaker, 3)
      delay = "2 seconds"
      const older = yield* Effect.forkChild(budget.tokens, { startImmediately: true })
      yield* failTimes(breaker, 1)
      delay = 0
      const newer = yield* Effect.forkChild(budget.tokens, { startImmediately: true })
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual([yield* Fiber.join(older), yield* Fiber.join(newer)], [7, 6])
      assert.strictEqual(yield* budget.tokens, 6)
    }))

  it.effect("of a key goes on where the key's circuit was evicted and made again", () =>
    Effect.gen(function*() {
      const keyed = yield* makeKeyed("evicted", { ...patient, capacity: 1, overflow: "evictIdle" })
      const breaker = keyed.get("a")
      const budget = yield* Retry.budget(breaker)
      yield* succeedTimes(breaker, 30)
      yield* failTimes(breaker, 4)
      assert.strictEqual(yield* budget.tokens, 6)
      yield* keyed.wrap(Effect.void, { key: "b" })
      // Its last outcomes are reported before it is forgotten.
      yield* TestClock.adjust("10 seconds")
      yield* untilQuiet
      yield* failTimes(breaker, 2)
      assert.strictEqual((yield* breaker.snapshot).statistics.failure, 2)
      assert.strictEqual(yield* budget.tokens, 4)
    }))

  it.effect("refuses options that make no sense", () =>
    Effect.gen(function*() {
      const breaker = yield* make("options", {})
      const refused = (options: object) =>
        Effect.sandbox(Retry.budget(breaker, options)).pipe(
          Effect.flip,
          Effect.map(({ reasons: [reason] }) => reason?._tag === "Die" ? String(reason.defect) : reason)
        )
      assert.strictEqual(
        yield* refused({ tokens: 0 }),
        "RangeError: Retry.budget: tokens must be a whole number from 1 to 1000000, got 0"
      )
      for (const perSuccess of [0, -1, Number.NaN, Infinity, 1e308, 0.0001]) {
        assert.strictEqual(
          yield* refused({ perSuccess }),
          `RangeError: Retry.budget: perSuccess must be a number from 0.001 to 1000, got ${perSuccess}`
        )
      }
      assert.include(yield* refused({ token: 5 }), "token")
    }))
})

describe("retryTransient with a budget", () => {
  const answers = {
    "a transient response": () => ({ status: 503 }),
    "a transport error": (request: Parameters<typeof transportError>[0]) => Effect.fail(transportError(request))
  } as const

  for (const [what, answer] of Object.entries(answers)) {
    for (const retryOn of ["errors-and-responses", "errors-only", "response-only"] as const) {
      it.effect(`answers with ${what} where there is no room, and retries it where there is (${retryOn})`, () =>
        Effect.gen(function*() {
          const { client, sent } = yield* clientOf(answer)
          const breaker = yield* make(`http-${what}-${retryOn}`, patient)
          const budget = yield* Retry.budget(breaker)
          const isRetried = retryOn === "errors-and-responses" ||
            (what === "a transient response") === (retryOn === "response-only")
          const get = client.pipe(
            BreakerHttpClient.withBreaker(breaker),
            BreakerHttpClient.retryTransient({ times: 2, retryOn, budget })
          ).get("https://a.test").pipe(
            Effect.map(({ status }) => status),
            Effect.catch((error) => Effect.succeed(error._tag === "HttpClientError" ? error.reason._tag : error._tag))
          )
          const last = what === "a transient response" ? 503 : "TransportError"
          const first = yield* get
          assert.strictEqual(first, last)
          assert.strictEqual(yield* sent, isRetried ? 3 : 1)
          yield* failTimes(breaker, 10)
          const before = yield* sent
          assert.strictEqual(yield* get, last)
          assert.strictEqual((yield* sent) - before, 1)
        }))
    }
  }

  it.effect("leaves answers alone that would not be retried", () =>
    Effect.gen(function*() {
      const { client, sent } = yield* clientOf(() => ({ status: 404 }))
      const breaker = yield* make("http-404", patient)
      const budget = yield* Retry.budget(breaker)
      yield* failTimes(breaker, 10)
      const retried = client.pipe(
        BreakerHttpClient.withBreaker(breaker),
        BreakerHttpClient.retryTransient({ budget })
      )
      assert.strictEqual((yield* retried.get("https://a.test")).status, 404)
      assert.strictEqual(yield* sent, 1)
    }))

  it.effect("stops Effect's retry of a client whose rejections are causes, too", () =>
    Effect.gen(function*() {
      const { client, sent } = yield* clientOf(() => ({ status: 503 }))
      const breaker = yield* make("http-layer", one)
      const budget = yield* Retry.budget(breaker)
      const live = BreakerHttpClient.layer(breaker)
      yield* Effect.gen(function*() {
        const guarded = yield* HttpClient.HttpClient
        yield* guarded.get("https://a.test")
        const error = yield* guarded.get("https://a.test").pipe(Effect.retry({ while: budget.while }), Effect.flip)
        assert.isTrue(BreakerHttpClient.rejectionOf(error)._tag === "Some")
        assert.strictEqual(yield* sent, 1)
        assert.strictEqual((yield* breaker.snapshot).statistics.rejected, 1)
      }).pipe(Effect.provide(live), Effect.provideService(HttpClient.HttpClient, client))
    }))
})
