import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Schema } from "effect"
import { TestClock } from "effect/testing"
import { Breaker, Trip } from "../src/index.ts"
import { failTimes, make, untilQuiet } from "./utils.ts"

const throughJson = (snapshot: Breaker.Snapshot): Breaker.Snapshot =>
  Schema.decodeUnknownSync(Breaker.Snapshot)(JSON.parse(JSON.stringify(Schema.encodeSync(Breaker.Snapshot)(snapshot))))

/** Without the fields that are `undefined`, which JSON does not have. */
const known = (value: unknown): unknown =>
  Array.isArray(value)
    ? value.map(known)
    : typeof value === "object" && value !== null && !Duration.isDuration(value)
    ? Object.fromEntries(Object.entries(value).flatMap(([key, of]) => of === undefined ? [] : [[key, known(of)]]))
    : value

describe("the schema of a snapshot", () => {
  it.effect("every field of a snapshot survives JSON, in every state", () =>
    Effect.gen(function*() {
      const trip = Trip.any(
        Trip.slowCallRate({ threshold: 0.5, slowerThan: "1 second", within: "1 minute" }),
        Trip.failureRate({ threshold: 0.5, lastCalls: 4, minimumCalls: 4 })
      )
      const breaker = yield* make("all", { trip, openFor: "10 seconds", timeout: "5 seconds" })
      const seen: Array<string> = []
      const check = Effect.gen(function*() {
        yield* untilQuiet
        const snapshot = yield* breaker.snapshot
        assert.deepStrictEqual(known(throughJson(snapshot)), known(snapshot))
        seen.push(snapshot.override?.mode ?? snapshot.state)
      })
      yield* check
      yield* Effect.repeat(breaker.wrap(Effect.void), { times: 1 })
      yield* failTimes(breaker, 1)
      yield* check
      yield* failTimes(breaker, 2)
      yield* check
      yield* TestClock.adjust("1 second")
      yield* check
      yield* breaker.forceHalfOpen
      yield* check
      yield* breaker.override({ mode: "MetricsOnly", reason: "a try", actor: "me", expiresIn: "1 hour" })
      yield* check
      assert.deepStrictEqual(seen, ["Closed", "Closed", "Open", "Open", "HalfOpen", "MetricsOnly"])
    }))

  it("a snapshot with another state, a missing or a misspelt field is refused by its name", () => {
    const decode = Schema.decodeUnknownResult(Breaker.Snapshot)
    const reason = (value: unknown) => String((decode(value) as { readonly failure?: unknown }).failure)
    assert.match(reason({ circuit: "c" }), /state/)
    assert.match(reason({ circuit: "c", state: "Ajar" }), /Ajar|state/)
  })
})
