import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber } from "effect"
import { untilQuiet } from "./utils.ts"

const yields = (times: number) => Effect.repeat(Effect.yieldNow, { times: times - 1 })

describe("untilQuiet", () => {
  it.effect("untilQuiet waits for fibers of any length, also those that another fiber or a promise starts", () =>
    Effect.gen(function*() {
      let ended = 0
      const end = Effect.sync(() => ended++)
      yield* Effect.forkChild(Effect.andThen(yields(1000), end))
      Effect.runFork(Effect.andThen(yields(1000), Effect.forkDetach(Effect.andThen(yields(1000), end))))
      yield* Effect.forkChild(Effect.andThen(Effect.promise(() => Promise.resolve()), Effect.andThen(yields(9), end)))
      yield* untilQuiet
      assert.strictEqual(ended, 3)
    }))

  it.effect("untilQuiet does not wait for a fiber that waits for the clock", () =>
    Effect.gen(function*() {
      const fiber = yield* Effect.forkChild(Effect.sleep("1 second"))
      yield* untilQuiet
      assert.isUndefined(fiber.pollUnsafe())
    }))

  it.effect("several untilQuiet at once do not wait for each other", () =>
    Effect.gen(function*() {
      yield* Effect.all([untilQuiet, untilQuiet, Effect.andThen(yields(20), untilQuiet)], { concurrency: 3 })
    }))

  it.effect("untilQuiet says that a fiber never rests, and an interrupted one leaves nothing behind", () =>
    Effect.gen(function*() {
      const restless = yield* Effect.forkChild(Effect.forever(Effect.yieldNow))
      const interrupted = yield* Effect.forkChild(untilQuiet)
      yield* yields(5)
      yield* Fiber.interrupt(interrupted)
      assert.include(String(yield* Effect.exit(untilQuiet)), "fibers still run after 10000 turns")
      yield* Fiber.interrupt(restless)
      assert.isTrue(Exit.isSuccess(yield* Effect.exit(untilQuiet)))
    }))
})
