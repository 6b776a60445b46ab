import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, Latch } from "effect"
import { coalesced } from "../src/internal/Coalesce.ts"

/** Numbers by key. While the gate is closed, nothing is written. `written` lists the writes in order. */
const numbers = () => {
  const values = new Map<string, number>()
  const written: Array<readonly [string, number | undefined]> = []
  const gate = Latch.makeUnsafe(true)
  const modify = coalesced<number, string>(
    (key, f) =>
      Effect.flatMap(gate.await, () => {
        const [result, next] = f(values.get(key), 0)
        written.push([key, next])
        if (next !== undefined && next < 0) return Effect.fail("below zero")
        if (next !== undefined && next > 100) return Effect.fail("full")
        if (next !== undefined) values.set(key, next)
        return Effect.succeed(result)
      }),
    (error) => error === "below zero"
  )
  const add = (key: string, n: number) => modify(key, (value = 0) => [value, value + n])
  return { add, gate, values, written }
}

const start = <A, E>(effect: Effect.Effect<A, E>) => Effect.forkChild(effect, { startImmediately: true })

describe("coalesced", () => {
  it.effect("runs the requests that arrive during a run together, in order, each with its own result", () =>
    Effect.gen(function*() {
      const { add, gate, written } = numbers()
      yield* gate.close
      const fibers = yield* Effect.forEach([1, 2, 3, 4], (n) => start(add("a", n)))
      yield* gate.open
      assert.deepStrictEqual(yield* Effect.forEach(fibers, Fiber.join), [0, 1, 3, 6])
      assert.deepStrictEqual(written, [["a", 1], ["a", 10]])
      assert.strictEqual(yield* add("a", 1), 10)
    }))

  it.effect("does not make requests of different keys wait for each other", () =>
    Effect.gen(function*() {
      const { add, gate, written } = numbers()
      yield* gate.close
      yield* start(add("a", 1))
      yield* start(add("b", 1))
      yield* gate.open
      yield* Effect.yieldNow
      yield* Effect.yieldNow
      assert.deepStrictEqual(written, [["a", 1], ["b", 1]])
    }))

  it.effect("withdraws a waiting request whose caller is interrupted, and completes a running one", () =>
    Effect.gen(function*() {
      const { add, gate, values } = numbers()
      yield* gate.close
      const [running, waiting, last] = yield* Effect.forEach([1, 10, 20], (n) => start(add("a", n)))
      yield* Fiber.interrupt(running!)
      yield* Fiber.interrupt(waiting!)
      yield* gate.open
      assert.strictEqual(yield* Fiber.join(last!), 1)
      assert.strictEqual(values.get("a"), 21)
    }))

  it.effect("fails only the request at fault, or all if the error is not of one request", () =>
    Effect.gen(function*() {
      const { add, gate, values } = numbers()
      const run = (...some: ReadonlyArray<number>) =>
        Effect.gen(function*() {
          yield* gate.close
          const fibers = yield* Effect.forEach([0, ...some], (n) => start(add("a", n)))
          yield* gate.open
          return yield* Effect.forEach(fibers, Fiber.await)
        })
      const [, ...alone] = yield* run(1, -50, 2)
      assert.deepStrictEqual(alone.map(Exit.isSuccess), [true, false, true])
      assert.strictEqual(values.get("a"), 3)
      const [, ...all] = yield* run(1, 500)
      assert.deepStrictEqual(all, [Exit.fail("full"), Exit.fail("full")])
      assert.strictEqual(values.get("a"), 3)
    }))

  it.effect("passes a defect on to the caller, and runs the next request", () =>
    Effect.gen(function*() {
      let runs = 0
      const modify = coalesced<number, never>(
        (_, f) => Effect.suspend(() => runs++ === 0 ? Effect.die("broken") : Effect.succeed(f(1, 0)[0])),
        () => true
      )
      const exit = yield* Effect.exit(modify("a", (value) => [value, value]))
      assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
      assert.strictEqual(yield* modify("a", (value) => [value, value]), 1)
    }))
})
