/** `neverOpenMoreThan` of a keyed breaker: of the keys in use, some stay closed though all fail. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { TestClock } from "effect/testing"
import { type Breaker, Trip } from "../src/index.ts"
import { processes } from "./support/storages.ts"
import { inBrief, listen, makeKeyed, untilQuiet } from "./utils.ts"

const half = { trip: Trip.consecutiveFailures(1), openFor: "10 seconds", neverOpenMoreThan: 0.5 } as const

const fails = (keyed: Breaker.KeyedBreaker<unknown>, key: string) =>
  Effect.exit(keyed.wrap(Effect.fail("down"), { key }))
const succeeds = (keyed: Breaker.KeyedBreaker<unknown>, key: string) => Effect.exit(keyed.wrap(Effect.void, { key }))

const open = (keyed: Breaker.KeyedBreaker<unknown>, keys: ReadonlyArray<string>) =>
  Effect.map(
    Effect.forEach(keys, (key) => keyed.get(key).state),
    (states) => keys.filter((_, i) => states[i] !== "Closed")
  )

describe("neverOpenMoreThan", () => {
  const keys = ["a", "b", "c", "d"]

  it.effect("opens half of the keys in use, and reports that the others would have opened", () =>
    Effect.gen(function*() {
      const keyed = yield* makeKeyed("halves", half)
      for (const key of keys) yield* succeeds(keyed, key)
      const received = yield* listen(keyed)
      for (const key of keys) yield* fails(keyed, key)
      assert.deepStrictEqual(yield* open(keyed, keys), ["a", "b"])
      const transitions = (yield* received).flatMap((event) =>
        event._tag === "Transition" ? [`${event.circuit}: ${inBrief(event)}`] : []
      )
      assert.deepStrictEqual(transitions, [
        "halves/a: Closed > Open",
        "halves/b: Closed > Open",
        "halves/c: Closed > Closed",
        "halves/d: Closed > Closed"
      ])
      assert.strictEqual((yield* keyed.get("c").snapshot).why, "1 consecutive failures (too many keys are open)")
    }))

  it.effect("opens another key once one has closed, and counts no key that was not called for a minute", () =>
    Effect.gen(function*() {
      const keyed = yield* makeKeyed("moves", half)
      for (const key of keys) yield* succeeds(keyed, key)
      for (const key of keys) yield* fails(keyed, key)
      yield* TestClock.adjust("10 seconds")
      yield* succeeds(keyed, "a")
      yield* TestClock.adjust("1 second")
      yield* fails(keyed, "c")
      assert.deepStrictEqual(yield* open(keyed, keys), ["b", "c"])
      yield* TestClock.adjust("61 seconds")
      yield* succeeds(keyed, "d")
      yield* fails(keyed, "d")
      assert.strictEqual(yield* keyed.get("d").state, "Closed", "it is the only key in use")
    }))

  it.effect("is changed while the breaker runs, and 1 is no limit", () =>
    Effect.gen(function*() {
      const keyed = yield* makeKeyed("changes", half)
      yield* fails(keyed, "a")
      assert.deepStrictEqual(yield* open(keyed, ["a"]), [])
      const changed = yield* keyed.reconfigure({ neverOpenMoreThan: 1 })
      assert.deepStrictEqual(changed, [{ field: "neverOpenMoreThan", from: "0.5", to: "1" }])
      yield* fails(keyed, "a")
      assert.deepStrictEqual(yield* open(keyed, ["a"]), ["a"])
    }))

  it.effect.prop("is never exceeded, whichever keys fail in whatever order", [
    Schema.Array(
      Schema.Tuple([Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 9 })), Schema.Boolean])
    ).check(Schema.isMaxLength(60))
  ], ([calls]) =>
    Effect.gen(function*() {
      const keyed = yield* makeKeyed("random", { ...half, neverOpenMoreThan: 0.3 })
      const used = new Set<string>()
      for (const [key, doesFail] of calls) {
        used.add(`${key}`)
        yield* doesFail ? fails(keyed, `${key}`) : succeeds(keyed, `${key}`)
        yield* TestClock.adjust("300 millis")
        assert.isAtMost((yield* open(keyed, [...used])).length, 0.3 * used.size)
      }
    }))

  it.effect("holds for what an instance proposes to its fleet, and an opening by another is followed", () =>
    Effect.gen(function*() {
      const [linkA, linkB] = yield* processes(2)
      const policy = { trip: Trip.consecutiveFailures(3), evidence: "pooled" } as const
      const guarded = yield* linkA!.makeKeyed("fleet", { ...policy, neverOpenMoreThan: 0.5 })
      const free = yield* linkB!.makeKeyed("fleet", policy)
      // Two failures of one and one of the other trip the fleet's rule, and neither's own.
      const round = Effect.gen(function*() {
        yield* fails(guarded, "k")
        yield* fails(guarded, "k")
        yield* TestClock.adjust("1 second")
        yield* untilQuiet
      })
      yield* round
      yield* succeeds(guarded, "k")
      yield* fails(guarded, "k")
      yield* fails(guarded, "k")
      yield* fails(guarded, "k")
      for (let i = 0; i < 5; i++) yield* Effect.andThen(TestClock.adjust("1 second"), untilQuiet)
      assert.strictEqual((yield* guarded.get("k").snapshot).fleet?.state, "Closed")
      for (let i = 0; i < 3; i++) yield* fails(free, "k")
      for (let i = 0; i < 5; i++) yield* Effect.andThen(TestClock.adjust("1 second"), untilQuiet)
      yield* succeeds(guarded, "k")
      assert.strictEqual(yield* guarded.get("k").state, "Open")
    }))
})
