import { assert, describe, it } from "@effect/vitest"
import { Cause, Context, Data, Duration, Effect, Exit, Fiber, Layer, References } from "effect"
import { TestClock } from "effect/testing"
import { Breaker, Outcome, Storage, Trip } from "../src/index.ts"
import { make, makeKeyed, rejectionOf, withReports } from "./utils.ts"

const counts = <Err>(breaker: Breaker.Breaker<Err>) =>
  Effect.map(breaker.snapshot, ({ statistics: { failure, ignored, success } }) => ({ success, failure, ignored }))

class NotFound extends Data.TaggedError("NotFound") {
  readonly [Outcome.outcome] = Outcome.ignored
}

describe("an ignored outcome with a retryAfter", () => {
  it.effect("means nothing in a closed circuit, and after a probe no other starts before, up to maxOpenFor", () =>
    Effect.gen(function*() {
      const classify = (): Outcome.Outcome => Outcome.ignoredWith({ retryAfter: "1 hour" })
      const policy = { trip: Trip.consecutiveFailures(1), openFor: "10 seconds", maxOpenFor: "1 minute" } as const
      const breaker = yield* make("ignored-hint", policy)
      yield* breaker.wrapWith(Effect.void, { classify })
      yield* Effect.exit(breaker.wrap(Effect.fail({ [Outcome.outcome]: classify() })))
      assert.deepStrictEqual(yield* counts(breaker), { success: 0, failure: 0, ignored: 2 })
      yield* Effect.exit(breaker.wrap(Effect.fail("no")))
      assert.deepStrictEqual((yield* breaker.snapshot).retryAfter, Duration.seconds(10))
      yield* TestClock.adjust("10 seconds")
      yield* breaker.wrapWith(Effect.void, { classify })
      assert.strictEqual(yield* breaker.state, "HalfOpen")
      assert.deepStrictEqual((yield* breaker.snapshot).retryAfter, Duration.minutes(1))
      yield* TestClock.adjust("59 seconds")
      assert.strictEqual((yield* rejectionOf(breaker)).state, "HalfOpen")
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* breaker.wrap(Effect.succeed("ran")), "ran")
      assert.strictEqual(yield* breaker.state, "Closed")
    }))

  it.effect("a probe that fails since then opens the circuit for the rest of the hint", () =>
    Effect.gen(function*() {
      const policy = { trip: Trip.consecutiveFailures(1), openFor: "10 seconds", halfOpen: { probes: 2 } } as const
      const breaker = yield* make("ignored-hint-fails", policy)
      yield* Effect.exit(breaker.wrap(Effect.fail("no")))
      yield* TestClock.adjust("10 seconds")
      const probe = yield* Effect.forkChild(breaker.wrap(Effect.delay(Effect.fail("no"), "5 seconds")), {
        startImmediately: true
      })
      yield* breaker.wrapWith(Effect.void, { classify: () => Outcome.ignoredWith({ retryAfter: "1 minute" }) })
      yield* TestClock.adjust("5 seconds")
      yield* Fiber.await(probe)
      assert.strictEqual(yield* breaker.state, "Open")
      assert.deepStrictEqual((yield* breaker.snapshot).retryAfter, Duration.seconds(55))
    }))
})

describe("without a classify", () => {
  const cases: ReadonlyArray<readonly [string, Effect.Effect<unknown, unknown>, object]> = [
    ["a success is a success", Effect.succeed(1), { success: 1 }],
    ["an error is a failure", Effect.fail("e"), { failure: 1 }],
    ["an undefined error is a failure", Effect.fail(undefined), { failure: 1 }],
    ["a defect is a failure", Effect.die("d"), { failure: 1 }],
    ["interruption alone is ignored", Effect.interrupt, { ignored: 1 }],
    ["an error that carries Ignored is ignored", Effect.fail(new NotFound()), { ignored: 1 }],
    ["a defect that carries Ignored is ignored", Effect.die(new NotFound()), { ignored: 1 }],
    ["an error that carries Success is a success", Effect.fail({ [Outcome.outcome]: Outcome.success }), { success: 1 }],
    [
      "a failure and an interruption in one cause is a failure",
      Effect.failCause(Cause.combine(Cause.interrupt(), Cause.fail("e"))),
      { failure: 1 }
    ],
    [
      "an error that carries Ignored beside a defect is a failure",
      Effect.failCause(Cause.combine(Cause.fail(new NotFound()), Cause.die("d"))),
      { failure: 1 }
    ],
    ["an error that carries an undefined outcome is a failure", Effect.fail({ [Outcome.outcome]: undefined }), {
      failure: 1
    }],
    ["an error that carries an unknown outcome is a failure", Effect.fail({ [Outcome.outcome]: { _tag: "Maybe" } }), {
      failure: 1
    }],
    [
      "an error whose outcome throws when read is a failure",
      Effect.fail({
        get [Outcome.outcome]() {
          throw new Error("no")
        }
      }),
      { failure: 1 }
    ]
  ]
  for (const timeout of [undefined, "1 second"] as const) {
    for (const [what, call, expected] of cases) {
      it.effect(`without a classify, ${what} (timeout ${timeout})`, () =>
        Effect.gen(function*() {
          const breaker = yield* make("default", { timeout })
          const exit = yield* Effect.exit(breaker.wrap(call))
          const said = (exit: Exit.Exit<unknown, unknown>) => String(exit).replace(/Interrupt\(\d+\)/, "Interrupt")
          assert.strictEqual(said(exit), said(yield* Effect.exit(call)))
          assert.deepStrictEqual(yield* counts(breaker), { success: 0, failure: 0, ignored: 0, ...expected })
        }))
    }
  }

  it.effect("an ignored outcome neither ends a streak of failures nor adds to it", () =>
    Effect.gen(function*() {
      const breaker = yield* make("streak", { trip: Trip.consecutiveFailures(3) })
      const ignoredOnes = Effect.repeat(Effect.ignore(breaker.wrap(Effect.fail(new NotFound()))), { times: 9 })
      for (const state of ["Closed", "Closed", "Open"]) {
        yield* ignoredOnes
        yield* Effect.exit(breaker.wrap(Effect.fail("e")))
        assert.strictEqual(yield* breaker.state, state)
      }
    }))
})

describe("classify", () => {
  const outcomes = { success: Outcome.success, failure: Outcome.failure(), ignored: Outcome.ignored }
  for (const [name, outcome] of Object.entries(outcomes)) {
    for (const how of ["plain", "effect"]) {
      const classify = () => how === "plain" ? outcome : Effect.andThen(Effect.yieldNow, Effect.succeed(outcome))
      it.effect(`the policy's classify decides the outcome, and the call keeps its result: ${name}, ${how}`, () =>
        Effect.gen(function*() {
          const breaker = yield* make("policy", { classify })
          assert.strictEqual(yield* breaker.wrap(Effect.succeed("mine")), "mine")
          assert.strictEqual(yield* Effect.flip(breaker.wrap(Effect.fail("mine"))), "mine")
          assert.deepStrictEqual(yield* Effect.exit(breaker.wrap(Effect.die("mine"))), Exit.die("mine"))
          assert.deepStrictEqual(yield* counts(breaker), { success: 0, failure: 0, ignored: 0, [name]: 3 })
        }))

      it.effect(`a call's classify takes precedence over the policy's: ${name}, ${how}`, () =>
        Effect.gen(function*() {
          const breaker = yield* make("call", {
            classify: () => {
              throw new Error("the policy's was called")
            }
          })
          assert.strictEqual(yield* breaker.wrapWith(Effect.succeed("mine"), { classify }), "mine")
          assert.strictEqual(yield* Effect.succeed("mine").pipe(breaker.wrapWith({ classify })), "mine")
          assert.deepStrictEqual(yield* counts(breaker), { success: 0, failure: 0, ignored: 0, [name]: 2 })
        }))
    }
  }

  it.effect("classify gets the exit of the call, but no interruption", () =>
    Effect.gen(function*() {
      const seen: Array<unknown> = []
      const classify = (exit: Exit.Exit<unknown, unknown>) => {
        seen.push(exit)
        return Outcome.success
      }
      const breaker = yield* make("sees", { classify })
      yield* breaker.wrap(Effect.succeed(1))
      yield* Effect.exit(breaker.wrap(Effect.fail("e")))
      yield* Effect.exit(breaker.wrap(Effect.interrupt))
      assert.deepStrictEqual(seen, [Exit.succeed(1), Exit.fail("e")])
      assert.strictEqual((yield* counts(breaker)).ignored, 1)
    }))

  it.effect("a value that is classified as a failure opens the circuit, and is the lastFailure", () =>
    Effect.gen(function*() {
      const breaker = yield* make("value", {
        trip: Trip.consecutiveFailures(1),
        classify: (exit) => Exit.isSuccess(exit) && exit.value === 500 ? Outcome.failure() : Outcome.fromExit(exit)
      })
      assert.strictEqual(yield* breaker.wrap(Effect.succeed(500)), 500)
      const error = yield* Effect.flip(breaker.wrap(Effect.succeed(200)))
      assert.strictEqual(error.lastFailure, 500)
    }))

  it.effect("classify is not called for a rejected call", () =>
    Effect.gen(function*() {
      let calls = 0
      const breaker = yield* make("rejected", {
        trip: Trip.consecutiveFailures(1),
        classify: () => {
          calls++
          return Outcome.failure()
        }
      })
      yield* breaker.wrap(Effect.void)
      yield* Effect.exit(breaker.wrap(Effect.void))
      assert.strictEqual(calls, 1)
    }))

  it.effect("a keyed call can have a classify of its own", () =>
    Effect.gen(function*() {
      const keyed = yield* makeKeyed("keyed-classify", {})
      yield* keyed.wrap(Effect.void, { key: "a", classify: () => Outcome.failure() })
      yield* Effect.void.pipe(keyed.wrap({ key: "a", classify: () => Outcome.failure() }))
      assert.strictEqual((yield* keyed.get("a").snapshot).statistics.failure, 2)
    }))
})

describe("a classify with requirements", () => {
  class Limits extends Context.Service<Limits, { readonly worst: number }>()("test/Limits") {}
  const classify = (exit: Exit.Exit<unknown, unknown>) =>
    Effect.map(
      Limits,
      ({ worst }) => Exit.isSuccess(exit) && Number(exit.value) >= worst ? Outcome.failure() : Outcome.success
    )
  class Api extends Breaker.Service<Api>()("api-with-limits", { classify }) {}

  it.effect("the policy's classify gets its services from where the breaker was made", () =>
    Effect.gen(function*() {
      yield* Api.wrap(Effect.succeed(400))
      yield* Api.wrap(Effect.succeed(500)).pipe(Effect.provideService(Limits, { worst: 1000 }))
      assert.deepStrictEqual(yield* counts(yield* Api), { success: 1, failure: 1, ignored: 0 })
    }).pipe(
      Effect.provide(
        Api.layer.pipe(
          Layer.provide([Storage.MemoryStorageLive, Layer.succeed(Limits, { worst: 500 })])
        )
      )
    ))

  it.effect("a call's classify gets its services from the call", () =>
    Effect.gen(function*() {
      const breaker = yield* make("per-call", {})
      const call = breaker.wrapWith(Effect.succeed(7), { classify })
      yield* call.pipe(Effect.provideService(Limits, { worst: 8 }))
      yield* call.pipe(Effect.provideService(Limits, { worst: 7 }))
      assert.deepStrictEqual(yield* counts(breaker), { success: 1, failure: 1, ignored: 0 })
    }))
})

describe("a classify that fails", () => {
  const ways: Record<string, () => Outcome.Outcome | Effect.Effect<Outcome.Outcome>> = {
    "throws": () => {
      throw new Error("bad classify")
    },
    "dies": () => Effect.die(new Error("bad classify")),
    "fails against its type": () => Effect.fail("bad classify") as never,
    "returns undefined": () => undefined as never,
    "returns null": () => null as never,
    "returns a string": () => "Failure" as never,
    "returns an effect of undefined": () => Effect.void as never,
    "returns another tag": () => ({ _tag: "Maybe" }) as never
  }
  for (const [how, classify] of Object.entries(ways)) {
    for (const policy of [{ classify }, { classify, timeout: "1 second", maxConcurrent: 1 }] as const) {
      it.effect(`a classify that ${how} counts as ignored, is logged, and leaves the call's result (${Object.keys(policy).length} fields)`, () =>
        withReports((reports) =>
          Effect.gen(function*() {
            const breaker = yield* make("bad-classify", policy)
            yield* breaker.forceHalfOpen
            assert.strictEqual(yield* breaker.wrap(Effect.succeed("mine")), "mine")
            assert.strictEqual(yield* Effect.flip(breaker.wrap(Effect.fail("mine"))), "mine")
            assert.deepStrictEqual(yield* Effect.exit(breaker.wrap(Effect.die("mine"))), Exit.die("mine"))
            assert.deepStrictEqual(yield* counts(breaker), { success: 0, failure: 0, ignored: 3 })
            assert.deepStrictEqual(reports.map(({ level }) => level), ["Warn", "Warn", "Warn"])
            assert.include(reports[0]?.message, "bad-classify")
            yield* breaker.wrapWith(Effect.void, { classify: () => Outcome.success })
            assert.strictEqual(yield* breaker.state, "Closed")
          })
        ))
    }
  }

  it.effect("a classify that interrupts itself counts as ignored, and leaves the call's result", () =>
    Effect.gen(function*() {
      const breaker = yield* make("interrupts", { classify: () => Effect.interrupt, maxConcurrent: 1 })
      assert.strictEqual(yield* breaker.wrap(Effect.succeed("mine")), "mine")
      assert.strictEqual(yield* Effect.flip(breaker.wrap(Effect.fail("mine"))), "mine")
      assert.deepStrictEqual(yield* counts(breaker), { success: 0, failure: 0, ignored: 2 })
    }))

  it.effect("a failing classify is not logged if UnhandledLogLevel is undefined", () =>
    withReports((reports) =>
      Effect.gen(function*() {
        const breaker = yield* make("silent", { classify: ways["throws"]! }).pipe(
          Effect.provideService(References.UnhandledLogLevel, undefined)
        )
        assert.strictEqual(yield* breaker.wrap(Effect.succeed("mine")), "mine")
        assert.deepStrictEqual(reports, [])
      })
    ))

  describe("the recipe for signals of the application's own", () => {
    const isAbort = (error: unknown): boolean =>
      error instanceof Error && (error.name === "AbortError" || isAbort(error.cause))
    const classify = (exit: Exit.Exit<unknown, unknown>): Outcome.Outcome =>
      Exit.isFailure(exit) && isAbort(Cause.squash(exit.cause)) ? Outcome.ignored : Outcome.fromExit(exit)
    /** A request that ends when its signal is aborted, as `fetch` does. */
    const request = (signal: AbortSignal) =>
      new Promise<never>((_, reject) => {
        if (signal.aborted) reject(signal.reason)
        else signal.addEventListener("abort", () => reject(signal.reason))
      })
    const callers: Record<string, (signal: AbortSignal) => Effect.Effect<never, unknown>> = {
      "kept as a cause": (signal: AbortSignal) => Effect.tryPromise(() => request(signal)),
      "as it is": (signal: AbortSignal) =>
        Effect.tryPromise({ try: () => request(signal), catch: (error) => error as DOMException }),
      "as a defect": (signal: AbortSignal) => Effect.promise(() => request(signal))
    }
    for (const [how, call] of Object.entries(callers)) {
      it.effect(`clients that hang up do not open the circuit, with the error ${how} (F36)`, () =>
        Effect.gen(function*() {
          const breaker = yield* make("aborted", { trip: Trip.consecutiveFailures(1), classify })
          for (let i = 0; i < 5; i++) {
            const client = new AbortController()
            const fiber = yield* Effect.forkChild(Effect.exit(breaker.wrap(call(client.signal))), {
              startImmediately: true
            })
            client.abort()
            assert.isTrue(Exit.isFailure(yield* Fiber.join(fiber)))
          }
          const { state, statistics } = yield* breaker.snapshot
          assert.deepStrictEqual([state, statistics.ignored, statistics.failure], ["Closed", 5, 0])
          yield* Effect.exit(breaker.wrap(call(AbortSignal.timeout(1))))
          assert.strictEqual(yield* breaker.state, "Open")
        }))
    }

    it.effect("without the recipe an AbortError is a failure as any other (F36)", () =>
      Effect.gen(function*() {
        const breaker = yield* make("hung up", { trip: Trip.consecutiveFailures(1) })
        yield* Effect.exit(breaker.wrap(callers["as it is"]!(AbortSignal.abort())))
        assert.strictEqual(yield* breaker.state, "Open")
      }))
  })
})
