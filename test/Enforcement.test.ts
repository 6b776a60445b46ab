import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, Layer, Schedule } from "effect"
import { TestClock } from "effect/testing"
import { execFileSync } from "node:child_process"
import { Breaker, Storage, Trip } from "../src/index.ts"
import { failTimes, inBrief, listen, make, makeKeyed, rejectionOf } from "./utils.ts"

const two = { trip: Trip.consecutiveFailures(2), openFor: "10 seconds" } as const
const as = (mode: Breaker.EnforcementMode) => Effect.provideService(Breaker.Enforcement, mode)

describe("Enforcement", () => {
  it.effect("Enforcement applies to the effect that it is provided to, call by call", () =>
    Effect.gen(function*() {
      const breaker = yield* make("per-effect", two)
      yield* failTimes(breaker, 2)
      const call = breaker.wrap(Effect.succeed("ran"))
      for (let i = 0; i < 3; i++) {
        assert.strictEqual(yield* as("bypass")(call), "ran")
        yield* rejectionOf(breaker)
        assert.strictEqual(yield* as("metricsOnly")(call), "ran")
        assert.instanceOf(yield* Effect.flip(as("enforce")(call)), Breaker.BreakerOpenError)
        assert.instanceOf(yield* Effect.flip(as("bypass")(as("enforce")(call))), Breaker.BreakerOpenError)
      }
    }))

  it.effect("bypass: a call is not recorded, has no events, timeout or bulkhead, and takes no probe's place", () =>
    Effect.gen(function*() {
      const breaker = yield* make("bypassed", { ...two, timeout: "1 second", maxConcurrent: 1 })
      yield* breaker.forceHalfOpen
      const received = yield* listen(breaker)
      const before = yield* breaker.snapshot
      const fibers = yield* Effect.forEach(
        [1, 2, 3],
        () => Effect.forkChild(Breaker.bypass(breaker.wrap(Effect.never)), { startImmediately: true })
      )
      yield* TestClock.adjust("1 minute")
      for (const fiber of fibers) {
        assert.isUndefined(fiber.pollUnsafe())
      }
      yield* Effect.forEach(fibers, Fiber.interrupt)
      yield* Effect.exit(Breaker.bypass(breaker.wrap(Effect.fail("no"))))
      assert.deepStrictEqual((yield* breaker.snapshot).statistics, before.statistics)
      assert.deepStrictEqual(yield* received, [])
    }))

  it.effect("bypass: a call runs despite an operator's ForcedOpen", () =>
    Effect.gen(function*() {
      const breaker = yield* make("bypass-forced", two)
      yield* breaker.override({ mode: "ForcedOpen", reason: "r", actor: "a" })
      assert.strictEqual(yield* Breaker.bypass(breaker.wrap(Effect.succeed("ran"))), "ran")
    }))

  it.effect("bypass: a keyed breaker makes no circuit", () =>
    Effect.gen(function*() {
      const keyed = yield* makeKeyed("bypass-keyed", {})
      yield* Breaker.bypass(keyed.wrap(Effect.void, { key: "a" }))
      assert.strictEqual(yield* keyed.size, 0)
    }))

  it.effect("metricsOnly: every call runs and is recorded, and a trip publishes a transition from Closed to Closed", () =>
    Effect.gen(function*() {
      const breaker = yield* make("shadow", { ...two, maxConcurrent: 1 })
      const received = yield* listen(breaker)
      yield* as("metricsOnly")(failTimes(breaker, 3))
      const nested = breaker.wrap(breaker.wrap(Effect.succeed("ran")))
      assert.strictEqual(yield* as("metricsOnly")(nested), "ran")
      assert.deepStrictEqual((yield* received).map(inBrief), ["Failure", "Failure", "Closed > Closed", "Failure"])
      assert.deepInclude((yield* breaker.snapshot).statistics, { failure: 3, success: 2, rejected: 0, timesOpened: 0 })
    }))

  it.effect("metricsOnly: calls run through an open, half-open or forced open circuit without changing it", () =>
    Effect.gen(function*() {
      const breaker = yield* make("shadow-states", two)
      const run = as("metricsOnly")(breaker.wrap(Effect.succeed("ran")))
      yield* failTimes(breaker, 2)
      assert.strictEqual(yield* run, "ran")
      yield* rejectionOf(breaker)
      yield* breaker.forceHalfOpen
      assert.strictEqual(yield* run, "ran")
      assert.strictEqual(yield* breaker.state, "HalfOpen")
      yield* breaker.override({ mode: "ForcedOpen", reason: "r", actor: "a" })
      assert.strictEqual(yield* run, "ran")
      yield* rejectionOf(breaker)
    }))

  const inProcess = (environment: Record<string, string>) =>
    execFileSync(
      process.execPath,
      [
        "--input-type=module",
        "--disable-warning=ExperimentalWarning",
        "-e",
        `
import { Effect } from "effect"
import { Breaker, Storage, Trip } from "./src/index.ts"
const program = Effect.gen(function*() {
  const breaker = yield* Breaker.make("env", { trip: Trip.consecutiveFailures(1) })
  yield* Effect.exit(breaker.wrap(Effect.fail("no")))
  const exit = yield* Effect.exit(breaker.wrap(Effect.succeed("ran")))
  return exit._tag + " " + (yield* breaker.snapshot).statistics.failure
})
console.log(await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(Storage.MemoryStorageLive))))
`
      ],
      { cwd: new URL("..", import.meta.url), env: environment, encoding: "utf8" }
    ).trim()

  it("Enforcement is bypass by default only under CIRCUIT_BREAKER_ENABLED=false", () => {
    assert.strictEqual(inProcess({ CIRCUIT_BREAKER_ENABLED: "false" }), "Success 0")
    assert.strictEqual(inProcess({ CIRCUIT_BREAKER_ENABLED: "true" }), "Failure 1")
    assert.strictEqual(inProcess({ CIRCUIT_BREAKER_ENABLED: "perhaps" }), "Failure 1")
    assert.strictEqual(inProcess({}), "Failure 1")
  })
})

describe("Defaults", () => {
  const defaults = { trip: Trip.consecutiveFailures(1), openFor: "7 seconds" } as const
  const opened = <Err>(breaker: Breaker.Breaker<Err>) =>
    Effect.gen(function*() {
      yield* failTimes(breaker, 1)
      return (yield* rejectionOf(breaker)).retryAfter
    })

  it.effect("Defaults fill the fields that a policy leaves out or undefined", () =>
    Effect.gen(function*() {
      const breaker = yield* make("filled", { openFor: undefined }).pipe(
        Effect.provideService(Breaker.Defaults, defaults)
      )
      assert.deepStrictEqual(yield* opened(breaker), Duration.seconds(7))
    }))

  it.effect("a field of the policy takes precedence over Defaults", () =>
    Effect.gen(function*() {
      const policy = { trip: Trip.consecutiveFailures(1), openFor: Schedule.spaced("3 seconds") }
      const breaker = yield* make("own", policy).pipe(
        Effect.provideService(Breaker.Defaults, { openFor: "7 seconds", trip: Trip.consecutiveFailures(9) })
      )
      assert.deepStrictEqual(yield* opened(breaker), Duration.seconds(3))
    }))

  it.effect("Defaults apply to services and keyed breakers", () => {
    class Api extends Breaker.Service<Api>()("api-defaults", {}) {}
    class Hosts extends Breaker.KeyedService<Hosts>()("hosts-defaults", {}) {}
    return Effect.gen(function*() {
      assert.deepStrictEqual(yield* opened(yield* Api), Duration.seconds(7))
      assert.deepStrictEqual(yield* opened((yield* Hosts).get("a")), Duration.seconds(7))
    }).pipe(
      Effect.provide(
        Layer.mergeAll(Api.layer, Hosts.layer).pipe(
          Layer.provide(Layer.succeed(Breaker.Defaults, defaults)),
          Layer.provide(Storage.MemoryStorageLive)
        )
      )
    )
  })

  it.effect("invalid Defaults are a defect that names the problem", () =>
    Effect.gen(function*() {
      const exit = yield* Effect.exit(
        make("bad", {}).pipe(Effect.provideService(Breaker.Defaults, { openFor: "0 seconds" }))
      )
      assert.isTrue(Exit.hasDies(exit))
      assert.match(String(exit), /openFor must be a finite duration from 1 ms to \d+ ms, got/)
    }))
})
