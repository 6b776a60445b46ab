import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import { here } from "../../src/dashboard/internal/Feeding.ts"
import { Breaker, Trip } from "../../src/index.ts"
import * as Registry from "../../src/Registry.ts"
import { failing, Link, memory } from "../support/storages.ts"
import { failTimes, untilQuiet } from "../utils.ts"

const policy = { trip: Trip.consecutiveFailures(1), openFor: "30 seconds", evidence: "any" } as const
const other = { ...policy, openFor: "60 seconds" } as const

describe("what this process sees differently from the fleet", () => {
  it.effect("a circuit that has changed by another policy, with the fingerprints of both", () =>
    Effect.gen(function*() {
      const storage = yield* memory
      const ours = yield* new Link(storage).make("payments", policy)
      const theirs = yield* new Link(storage).make("payments", other)
      yield* ours.wrap(Effect.void)
      assert.deepEqual(yield* here, [])

      yield* failTimes(theirs, 1)
      yield* untilQuiet
      yield* TestClock.adjust("2 seconds")
      yield* untilQuiet
      assert.deepEqual(yield* here, [{
        circuit: "payments",
        isolated: null,
        drift: { here: Breaker.fingerprint(policy), fleet: Breaker.fingerprint(other) }
      }])
    }).pipe(Effect.scoped, Effect.provide(Registry.layer)))

  it.effect("a circuit that only this instance rejects, and no longer once the fleet rejects, too", () =>
    Effect.gen(function*() {
      const link = new Link(yield* memory)
      const ours = yield* link.make("payments", policy)
      link.fault(failing("Unavailable"))
      yield* failTimes(ours, 1)
      yield* untilQuiet
      assert.deepEqual(yield* here, [{ circuit: "payments", isolated: "1 consecutive failures", drift: null }])

      link.fault(undefined)
      yield* TestClock.adjust("10 seconds")
      yield* untilQuiet
      assert.deepEqual(yield* here, [])
    }).pipe(Effect.scoped, Effect.provide(Registry.layer)))
})
