import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Duration, Effect, Exit, Fiber, Layer, Logger, References, Schedule } from "effect"
import { TestClock } from "effect/testing"
import { execFileSync } from "node:child_process"
import { Breaker, Storage, Trip } from "../src/index.ts"
import { messages } from "../src/internal/Messages.ts"
import { changesOfState, failTimes, inBrief, listen, make, makeKeyed, rejectionOf } from "./utils.ts"

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
    ).trim().split("\n")

  it("Enforcement is bypass by default only under CIRCUIT_BREAKER_ENABLED=false", () => {
    const off = inProcess({ CIRCUIT_BREAKER_ENABLED: "false" })
    assert.strictEqual(off.at(-1), "Success 0")
    assert.include(off[0], messages.notEnforced.text)
    const on = inProcess({ CIRCUIT_BREAKER_ENABLED: "true" })
    assert.strictEqual(on.at(-1), "Failure 1")
    assert.include(on[0], messages.enforced.text)
    const unset = inProcess({})
    assert.strictEqual(unset.at(-1), "Failure 1")
    assert.notMatch(unset.join("\n"), /CIRCUIT_BREAKER_ENABLED|[Ee]nforce/)
  })

  /** The mode that is in force under a value of the variable, and what was logged. */
  const modeUnder = (value: string | undefined, breakers = 1) =>
    Effect.gen(function*() {
      const lines: Array<unknown> = []
      const logger = Logger.make<unknown, void>(({ fiber, message }) => {
        if (changesOfState.includes(String(message))) return
        lines.push([String(message), fiber.getRef(References.CurrentLogAnnotations)])
      })
      const record = value === undefined ? {} : { CIRCUIT_BREAKER_ENABLED: value }
      const provided = Effect.provide([
        Logger.layer([logger]),
        ConfigProvider.layer(ConfigProvider.fromEnvRecord(record))
      ])
      const mode = yield* provided(Effect.gen(function*() {
        const breaker = yield* make("by-provider", two)
        for (let i = 1; i < breakers; i++) yield* make(`by-provider-${i}`, two)
        yield* failTimes(breaker, 2)
        const { statistics } = yield* breaker.snapshot
        return statistics.failure === 0 ? "bypass" : "enforce"
      }))
      return { mode, lines }
    })

  for (const value of ["false", "False", "FALSE", "false ", " off", "No", "0", "n"]) {
    it.effect(`CIRCUIT_BREAKER_ENABLED=${JSON.stringify(value)} of a ConfigProvider is bypass, and is logged once (F26)`, () =>
      Effect.gen(function*() {
        const { lines, mode } = yield* modeUnder(value, 3)
        assert.strictEqual(mode, "bypass")
        const fields = { mode: "bypass", source: "CIRCUIT_BREAKER_ENABLED" }
        assert.deepStrictEqual(lines, [[messages.notEnforced.text, fields]])
      }))
  }

  for (const value of ["true", "True", " on ", "YES", "1"]) {
    it.effect(`CIRCUIT_BREAKER_ENABLED=${JSON.stringify(value)} of a ConfigProvider is enforce, and is logged once (F26)`, () =>
      Effect.gen(function*() {
        const { lines, mode } = yield* modeUnder(value, 3)
        assert.strictEqual(mode, "enforce")
        assert.deepStrictEqual(lines, [[messages.enforced.text, { source: "CIRCUIT_BREAKER_ENABLED" }]])
      }))
  }

  for (const value of [undefined, "", " "]) {
    it.effect(`CIRCUIT_BREAKER_ENABLED=${JSON.stringify(value)} of a ConfigProvider is not set: enforce, without a word (F26)`, () =>
      Effect.gen(function*() {
        assert.deepStrictEqual(yield* modeUnder(value), { mode: "enforce", lines: [] })
      }))
  }

  it.effect("CIRCUIT_BREAKER_ENABLED that is neither true nor false is enforce, and is logged once (F26)", () =>
    Effect.gen(function*() {
      const { lines, mode } = yield* modeUnder("flase", 3)
      assert.strictEqual(mode, "enforce")
      assert.deepStrictEqual(lines, [[messages.enforcementUnclear.text, { value: "\"flase\"" }]])
    }))

  it.effect("CIRCUIT_BREAKER_ENABLED from a source that fails is enforce, and is logged (F26)", () =>
    Effect.gen(function*() {
      const lines: Array<string> = []
      const logger = Logger.make<unknown, void>(({ message }) => {
        if (!changesOfState.includes(String(message))) lines.push(String(message))
      })
      const provider = ConfigProvider.make(() =>
        Effect.fail(new ConfigProvider.SourceError({ message: "no such file" }))
      )
      const breaker = yield* Effect.provide(make("no-source", two), [
        Logger.layer([logger]),
        ConfigProvider.layer(provider)
      ])
      yield* failTimes(breaker, 2)
      yield* rejectionOf(breaker)
      assert.deepStrictEqual(lines, [messages.enforcementUnclear.text])
    }))

  it.effect("a mode that is provided to a call takes precedence over CIRCUIT_BREAKER_ENABLED (F26)", () => {
    class Api extends Breaker.Service<Api>()("enforced-api", two) {}
    class Hosts extends Breaker.KeyedService<Hosts>()("enforced-hosts", two) {}
    return Effect.gen(function*() {
      const api = yield* Api
      const hosts = yield* Hosts
      const calls: ReadonlyArray<Effect.Effect<never, unknown, Api | Hosts>> = [
        Api.wrap(Effect.fail("no")),
        Api.wrapWith(Effect.fail("no"), {}),
        Hosts.wrap(Effect.fail("no"), { key: "a" })
      ]
      for (const call of calls) yield* Effect.exit(call)
      assert.strictEqual((yield* api.snapshot).statistics.failure, 0)
      assert.strictEqual(yield* hosts.size, 0)
      for (const call of calls) yield* Effect.exit(as("enforce")(call))
      assert.strictEqual((yield* api.snapshot).statistics.failure, 2)
      assert.strictEqual((yield* hosts.get("a").snapshot).statistics.failure, 1)
    }).pipe(
      Effect.provide(Layer.merge(Api.layer, Hosts.layer)),
      Effect.provide([
        Storage.MemoryStorageLive,
        Logger.layer([]),
        ConfigProvider.layer(ConfigProvider.fromUnknown({ CIRCUIT_BREAKER_ENABLED: "false" }))
      ])
    )
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

  const lying: ReadonlyArray<readonly [Breaker.Data, Breaker.Policy, RegExp]> = [
    [{ timeout: "1 second" }, {}, /timeout must be declared .* BreakerTimeoutError/],
    [{ halfOpen: { timeout: "1 second" } }, {}, /halfOpen\.timeout must be declared .* BreakerTimeoutError/],
    [{ maxConcurrent: 1 }, {}, /maxConcurrent must be declared .* BulkheadFullError/],
    [
      { consistency: "strict" },
      { onStorageError: "fail" },
      /consistency with onStorageError must be declared .* StorageError/
    ]
  ]
  for (const [defaults, policy, message] of lying) {
    it.effect(`Defaults that add an error to calls are a defect: ${JSON.stringify(defaults)} (F27)`, () =>
      Effect.gen(function*() {
        const exit = yield* Effect.exit(Effect.provideService(make("lying", policy), Breaker.Defaults, defaults as {}))
        assert.isTrue(Exit.hasDies(exit))
        assert.match(String(exit), message)
      }))
  }

  it.effect("Defaults without a value leave the policy as it is (F28)", () =>
    Effect.gen(function*() {
      const breaker = yield* make("undefined", {}).pipe(
        Effect.provideService(Breaker.Defaults, { trip: undefined, openFor: undefined })
      )
      yield* failTimes(breaker, 5)
      assert.deepStrictEqual((yield* rejectionOf(breaker)).retryAfter, Duration.minutes(1))
    }))

  it.effect("invalid Defaults are a defect that names the problem", () =>
    Effect.gen(function*() {
      const exit = yield* Effect.exit(
        make("bad", {}).pipe(Effect.provideService(Breaker.Defaults, { openFor: "0 seconds" }))
      )
      assert.isTrue(Exit.hasDies(exit))
      assert.match(String(exit), /openFor must be a finite duration from 1 ms to \d+ ms, got/)
    }))
})
