/** Breakers by the live clock, under the fake timers of a test framework. docs/testing.md says the same. */
import { afterEach, assert, beforeEach, describe, it } from "@effect/vitest"
import { Effect, Exit, type Fiber, Scope } from "effect"
import { vi } from "vitest"
import { Breaker, Storage, Trip } from "../src/index.ts"
import { Ticker } from "../src/internal/Ticker.ts"
import { until } from "./support/machine.ts"
import { hanging, Link, memory } from "./support/storages.ts"

const policy = { trip: Trip.consecutiveFailures(3), timeout: "2 seconds", openFor: "1 hour" } as const

let scope: Scope.Closeable

beforeEach(() => {
  scope = Scope.makeUnsafe()
  vi.useFakeTimers()
})
afterEach(async () => {
  vi.useRealTimers()
  await Effect.runPromise(Scope.close(scope, Exit.void))
})

const make = <const P extends Breaker.Policy>(policy: P) =>
  Effect.runSync(
    Breaker.make("faked", policy).pipe(Scope.provide(scope), Effect.provide(Storage.MemoryStorageLive))
  )

const hang = (breaker: Breaker.Breaker<Breaker.BreakerError>) => Effect.runFork(breaker.wrap(Effect.never))

const hasTimedOut = (fiber: Fiber.Fiber<unknown, Breaker.BreakerError>): boolean => {
  const exit = fiber.pollUnsafe()
  return exit !== undefined && Exit.isFailure(exit) && String(exit.cause).includes("BreakerTimeoutError")
}

describe("under fake timers", () => {
  it("a call times out when its timeout has been advanced, and not before (F20)", async () => {
    const fiber = hang(make(policy))
    await vi.advanceTimersByTimeAsync(1999)
    assert.isUndefined(fiber.pollUnsafe())
    await vi.advanceTimersByTimeAsync(1)
    assert.isTrue(hasTimedOut(fiber))
  })

  it("each call times out by its own timeout, whatever calls came before (F20)", async () => {
    const breaker = make(policy)
    const first = hang(breaker)
    const ends = Effect.runFork(breaker.wrap(Effect.sleep("500 millis")))
    await vi.advanceTimersByTimeAsync(1000)
    assert.isDefined(ends.pollUnsafe())
    const second = hang(breaker)
    await vi.advanceTimersByTimeAsync(1000)
    assert.deepStrictEqual([first, second].map(hasTimedOut), [true, false])
    await vi.advanceTimersByTimeAsync(999)
    assert.isUndefined(second.pollUnsafe())
    await vi.advanceTimersByTimeAsync(1)
    assert.isTrue(hasTimedOut(second))
  })

  for (const evidence of ["any", "pooled"] as const) {
    it(`runAllTimers ends, while calls hang and once they have opened the circuit, with evidence: ${evidence} (F20)`, async () => {
      const breaker = make({ ...policy, evidence })
      for (let i = 0; i < 3; i++) {
        const fiber = hang(breaker)
        await vi.runAllTimersAsync()
        assert.isTrue(hasTimedOut(fiber))
      }
      vi.runAllTimers()
      await vi.runAllTimersAsync()
    })
  }

  it("a breaker that was used under fake timers works by the real ones afterwards (F20)", async () => {
    const breaker = make({ ...policy, timeout: "20 millis" })
    const before = hang(breaker)
    await Effect.runPromise(breaker.wrap(Effect.void))
    assert.isUndefined(before.pollUnsafe())
    vi.useRealTimers()
    const exit = await Effect.runPromiseExit(breaker.wrap(Effect.never))
    assert.include(String(exit), "BreakerTimeoutError")
  })

  it("a tick that began under fake timers ends (F20)", async () => {
    const clock = Effect.runSync(Effect.clockWith(Effect.succeed))
    const ticker = new Ticker(clock, 1000, Effect.runFork)
    ticker.refresh()
    vi.useRealTimers()
    assert.isTrue(ticker.fresh)
    await until("the tick is over", () => !ticker.fresh)
  })

  it("a scope closes on a storage that never answers, though nobody advances the timers (F20, F22)", async () => {
    const link = new Link(await Effect.runPromise(memory))
    const breaker = Effect.runSync(link.make("faked", { trip: Trip.consecutiveFailures(1) }).pipe(Scope.provide(scope)))
    link.fault(hanging)
    Effect.runFork(breaker.wrap(Effect.fail("down")))
    await vi.advanceTimersByTimeAsync(100)
    assert.strictEqual((await Effect.runPromise(breaker.snapshot)).statistics.failure, 1)
    await Effect.runPromise(Scope.close(scope, Exit.void))
  })
})
