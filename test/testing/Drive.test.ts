import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit } from "effect"
import { TestClock } from "effect/testing"
import { type Breaker, Outcome, Trip } from "../../src/index.ts"
import { Drive } from "../../src/testing.ts"
import { defectOf, make, makeKeyed } from "../utils.ts"

describe("driving a breaker", () => {
  const rules = {
    default: {},
    consecutive: { trip: Trip.consecutiveFailures(50) },
    rate: { trip: Trip.failureRate({ threshold: 0.9, within: "1 minute", minimumCalls: 100 }) },
    calls: { trip: Trip.failureRate({ threshold: 0.5, lastCalls: 40 }) },
    classified: { classify: () => Outcome.success }
  } as const
  for (const [name, policy] of Object.entries(rules)) {
    it.effect(`Drive.open opens a circuit of the ${name} policy, in no time`, () =>
      Effect.gen(function*() {
        const breaker: Breaker.Breaker<unknown> = yield* make(name, policy)
        yield* Drive.open(breaker)
        assert.deepInclude(yield* breaker.snapshot, { state: "Open", openings: 1 })
        const { failure } = (yield* breaker.snapshot).statistics
        yield* Drive.open(breaker)
        assert.strictEqual((yield* breaker.snapshot).statistics.failure, failure)
      }))
  }

  it.effect("Drive.open lets each call take its time, for a policy that trips on slow ones", () =>
    Effect.gen(function*() {
      const breaker = yield* make("slow", {
        trip: Trip.slowCallRate({ slowerThan: "1 second", threshold: 0.5, within: "1 hour", minimumCalls: 5 })
      })
      yield* Drive.open(breaker, { takes: "2 seconds" })
      assert.strictEqual((yield* breaker.snapshot).statistics.slow, 5)
    }))

  it.effect("Drive.open opens a half-open circuit again", () =>
    Effect.gen(function*() {
      const breaker = yield* make("again", {})
      yield* breaker.forceHalfOpen
      yield* Drive.open(breaker)
      assert.strictEqual(yield* breaker.state, "Open")
    }))

  it.effect("Drive.open opens the circuit of one key alone", () =>
    Effect.gen(function*() {
      const hosts = yield* makeKeyed("hosts", {})
      yield* Drive.open(hosts.get("a"))
      const rejected = (key: string) => Effect.map(Effect.exit(hosts.wrap(Effect.void, { key })), Exit.isFailure)
      assert.deepStrictEqual([yield* rejected("a"), yield* rejected("b")], [true, false])
    }))

  it.effect("after Drive.untilProbe the next call is a probe, and it closes or opens the circuit", () =>
    Effect.gen(function*() {
      const breaker = yield* make("probed", { openFor: "30 seconds" })
      yield* Drive.untilProbe(breaker)
      assert.strictEqual(yield* breaker.state, "Open")
      yield* Effect.scoped(Effect.gen(function*() {
        const permit = yield* breaker.permit
        assert.isTrue(permit.probe)
        yield* permit.settle(Outcome.failure())
      }))
      assert.deepInclude(yield* breaker.snapshot, { state: "Open", openings: 2 })
      yield* Drive.untilProbe(breaker)
      yield* breaker.wrap(Effect.void)
      assert.strictEqual(yield* breaker.state, "Closed")
    }))

  it.effect("Drive.fill holds every place until its scope closes", () =>
    Effect.gen(function*() {
      const breaker = yield* make("full", { maxConcurrent: 3 })
      yield* Effect.scoped(Effect.gen(function*() {
        yield* breaker.permit
        assert.strictEqual(yield* Drive.fill(breaker), 2)
        assert.strictEqual((yield* Effect.flip(breaker.wrap(Effect.die("ran"))))._tag, "BulkheadFullError")
        assert.strictEqual(yield* Drive.fill(breaker), 0)
      }))
      yield* breaker.wrap(Effect.void)
      assert.deepInclude((yield* breaker.snapshot).statistics, { ignored: 3, rejected: 1, success: 1 })
    }))

  it.effect("what cannot be done is a defect that says how the circuit stands", () =>
    Effect.gen(function*() {
      const said = (effect: Effect.Effect<unknown>) => Effect.map(Effect.exit(effect), defectOf)
      const deaf = yield* make("deaf", { enforcement: "metricsOnly" })
      assert.match(
        yield* said(Drive.open(deaf)),
        /Drive.open: circuit "deaf" is Closed, and it is not open after 10000/
      )
      const forced = yield* make("forced", {})
      yield* forced.override({ mode: "ForcedOpen", reason: "drill", actor: "ann" })
      assert.match(yield* said(Drive.open(forced)), /circuit "forced" is Closed, and it refuses calls: .*forced open/)
      const wide = yield* make("wide", {})
      assert.match(yield* said(Effect.scoped(Drive.fill(wide))), /Drive.fill: .*its policy has no maxConcurrent/)
      yield* TestClock.adjust(0)
    }))
})
