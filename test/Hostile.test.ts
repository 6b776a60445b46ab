/** Values that throw when they are looked at. A call ends as it ended, whatever its error, value or outcome is made of. */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { type Breaker, Outcome, Trip } from "../src/index.ts"
import { Link, memory } from "./support/storages.ts"
import { listen, make, makeKeyed, withReports } from "./utils.ts"

const boom = (): never => {
  throw new Error("looked at")
}

const revoked = (): object => {
  const { proxy, revoke } = Proxy.revocable({}, {})
  revoke()
  return proxy
}

/** Throws on whatever is done with it. */
const untouchable = (): object =>
  new Proxy(
    {},
    Object.fromEntries(
      ["get", "has", "getPrototypeOf", "ownKeys", "getOwnPropertyDescriptor", "isExtensible", "set"].map((trap) => [
        trap,
        boom
      ])
    )
  )

/** Answers so many looks, and throws on the next. */
const answering = (looks: number, key: PropertyKey, value: unknown): object => {
  let left = looks
  return Object.defineProperty({ _tag: "Failure" }, key, { get: () => left-- > 0 ? value : boom() })
}

const looks = [0, 1, 2, 3, 4]

const durations = (): ReadonlyArray<unknown> => [
  revoked(),
  untouchable(),
  ...looks.map((count) => answering(count, "seconds", 5)),
  { toString: boom, valueOf: boom, [Symbol.toPrimitive]: boom },
  Symbol("5 seconds"),
  NaN,
  -Infinity,
  [NaN, 0],
  10n ** 400n,
  () => 5,
  { "~effect/time/Duration": "~effect/time/Duration", value: { _tag: "Millis", millis: "5" } }
]

/** New ones for each use, because some count how often they were looked at. */
const outcomes = (): ReadonlyArray<unknown> => [
  revoked(),
  untouchable(),
  ...looks.map((count) => answering(count, "_tag", "Failure")),
  ...looks.map((count) => answering(count, "_tag", "Ignored")),
  ...looks.map((count) => answering(count, "retryAfter", "5 seconds")),
  ...durations().map((retryAfter) => ({ _tag: "Failure", retryAfter }))
]

const errors = (): ReadonlyArray<unknown> => [
  revoked(),
  untouchable(),
  Object.freeze(new Error("frozen")),
  Object.create(null),
  { toString: boom, toJSON: boom, [Symbol.toStringTag]: "Error" },
  Object.defineProperty(new Error("a message that throws"), "message", { get: boom }),
  Object.defineProperty(new Error("a stack that throws"), "stack", { get: boom }),
  ...looks.map((count) => answering(count, "_tag", "BreakerTimeoutError")),
  ...looks.map((count) => answering(count, Outcome.outcome, Outcome.failure({ retryAfter: "1 second" }))),
  ...outcomes().map((outcome) => ({ [Outcome.outcome]: outcome }))
]

/** Whether an exit is the one that the call ended with. It is not compared by its contents, which cannot be looked at. */
const isExit = (exit: Exit.Exit<unknown, unknown>, reason: "error" | "defect", value: unknown): boolean =>
  Exit.isFailure(exit) && exit.cause.reasons.length === 1 &&
  exit.cause.reasons.every((is) =>
    Cause.isFailReason(is)
      ? reason === "error" && is.error === value
      : Cause.isDieReason(is) && reason === "defect" && is.defect === value
  )

const policies: Readonly<Record<string, Breaker.Policy>> = {
  "nothing but a trip policy": { trip: Trip.consecutiveFailures(1_000_000) },
  "a window": { trip: Trip.failureRate({ threshold: 1, within: "1 minute", minimumCalls: 1_000_000 }) },
  "a timeout": { trip: Trip.consecutiveFailures(1_000_000), timeout: "1 minute" },
  "slow calls": {
    trip: Trip.slowCallRate({ threshold: 1, slowerThan: 0, within: "1 minute", minimumCalls: 1_000_000 })
  },
  "classify by the exit": { trip: Trip.consecutiveFailures(1_000_000), classify: Outcome.fromExit },
  "a trip": { trip: Trip.consecutiveFailures(1), openFor: 1 }
}

describe("a call that fails with a value that cannot be looked at", () => {
  for (const [what, policy] of Object.entries(policies)) {
    for (const listens of [false, true]) {
      it.effect(`keeps its exit and is counted, with ${what}${listens ? ", while somebody listens" : ""} (F7)`, () =>
        Effect.gen(function*() {
          const breaker = yield* make("hostile", policy)
          const received = listens ? yield* listen(breaker) : undefined
          for (const end of [Effect.void, Effect.yieldNow]) {
            for (const [i, error] of errors().entries()) {
              const failed = yield* Effect.exit(breaker.wrap(Effect.andThen(end, Effect.fail(error))))
              assert.isTrue(isExit(failed, "error", error), `error ${i}`)
              yield* TestClock.adjust("2 hours")
            }
            for (const [i, error] of errors().entries()) {
              const died = yield* Effect.exit(breaker.wrap(Effect.andThen(end, Effect.die(error))))
              assert.isTrue(isExit(died, "defect", error), `defect ${i}`)
              yield* TestClock.adjust("2 hours")
            }
          }
          const { statistics: { failure, ignored, success } } = yield* breaker.snapshot
          assert.strictEqual(success + failure + ignored, 4 * errors().length)
          assert.isAbove(failure, 2 * errors().length)
          if (received !== undefined) assert.isNotEmpty(yield* received)
        }))
    }
  }

  it.effect("keeps its exit in a keyed breaker, and as a probe under a lease (F7)", () =>
    Effect.gen(function*() {
      const keyed = yield* makeKeyed("hostile-keyed", {})
      const link = new Link(yield* memory)
      const leased = yield* link.make("hostile-probe", { trip: Trip.consecutiveFailures(1), openFor: "1 second" })
      for (const error of errors()) {
        assert.isTrue(isExit(yield* Effect.exit(keyed.wrap(Effect.fail(error), { key: "a" })), "error", error))
        yield* keyed.get("a").reset
      }
      for (const error of errors()) {
        yield* leased.forceHalfOpen
        assert.isTrue(isExit(yield* Effect.exit(leased.wrap(Effect.fail(error))), "error", error))
      }
      assert.include(link.sent, "probe")
      assert.strictEqual((yield* leased.snapshot).statistics.rejected, 0)
    }))

  it.effect("is rejected with it as lastFailure afterwards (F7)", () =>
    Effect.gen(function*() {
      const breaker = yield* make("hostile-rejection", { trip: Trip.consecutiveFailures(1), openFor: "1 minute" })
      for (const error of errors()) {
        if ((yield* breaker.snapshot).state !== "Closed") yield* breaker.reset
        yield* Effect.exit(breaker.wrap(Effect.fail(error)))
        if ((yield* breaker.snapshot).state === "Closed") continue
        const rejection = yield* Effect.flip(breaker.wrap(Effect.void))
        assert.isTrue((rejection as Breaker.BreakerOpenError).lastFailure === error)
        assert.include((rejection as Breaker.BreakerOpenError).message, "is open")
      }
    }))
})

describe("classify", () => {
  it.effect("a classify that returns or throws what cannot be looked at changes no result, and is logged (F7)", () =>
    withReports((reports) =>
      Effect.gen(function*() {
        const breaker = yield* make("hostile-classify", { trip: Trip.consecutiveFailures(1_000_000) })
        for (const value of [...outcomes(), ...errors()]) {
          for (
            const classify of [
              () => value as Outcome.Outcome,
              () => Effect.succeed(value as Outcome.Outcome),
              () => {
                throw value
              },
              () => Effect.die(value)
            ]
          ) {
            assert.strictEqual(yield* breaker.wrapWith(Effect.succeed("ok"), { classify }), "ok")
            const failed = yield* Effect.exit(breaker.wrapWith(Effect.fail(value), { classify }))
            assert.isTrue(isExit(failed, "error", value))
          }
        }
        const { statistics: { failure, ignored, success } } = yield* breaker.snapshot
        assert.strictEqual(success + failure + ignored, 8 * (outcomes().length + errors().length))
        assert.isNotEmpty(reports)
      })
    ))

  it.effect("the value of a call that succeeds is not looked at (F7)", () =>
    Effect.gen(function*() {
      const breaker = yield* make("hostile-value", { timeout: "1 minute" })
      for (const value of errors()) {
        assert.isTrue((yield* breaker.wrap(Effect.succeed(value))) === value)
        const fiber = yield* Effect.forkChild(breaker.wrap(Effect.as(Effect.yieldNow, value)))
        assert.isTrue((yield* Fiber.join(fiber)) === value)
        const failure = { classify: () => Outcome.failure() }
        assert.isTrue((yield* breaker.wrapWith(Effect.succeed(value), failure)) === value)
        yield* breaker.reset
      }
    }))
})
