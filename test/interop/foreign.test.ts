/** Adapters of breakers that run a function. `moving.test.ts` plays traffic through those of opossum and cockatiel. */
import { afterEach, assert, describe, it } from "@effect/vitest"
import * as cockatiel from "cockatiel"
import { Effect, Exit, Fiber } from "effect"
import Opossum from "opossum"
import { Breaker, Outcome } from "../../src/index.ts"
import * as Adapter from "../../src/interop/Adapter.ts"
import { untilQuiet, withReports } from "../utils.ts"

const ran = Effect.succeed("ran")

/** A breaker that does what `execute` says, and notes how each call ended for it. */
const foreign = (execute: (call: () => Promise<unknown>) => Promise<unknown>, isRejection = (_: unknown) => true) => {
  const ends: Array<unknown> = []
  const guard = Adapter.execute("foreign", {
    execute: (call) =>
      execute(() => {
        const ended = call()
        ended.then((value) => ends.push(value), (error: unknown) => ends.push({ error }))
        return ended
      }) as Promise<any>,
    isRejection
  })
  return { guard, ends }
}

const well = (call: () => Promise<unknown>) => call()

describe("Adapter.execute", () => {
  it.effect("gives the breaker the call's value, or its error where the outcome is a failure", () =>
    Effect.gen(function*() {
      const { ends, guard } = foreign(well)
      assert.strictEqual(yield* guard.wrapWith(ran, {}), "ran")
      assert.strictEqual(yield* Effect.flip(guard.wrapWith(Effect.fail("boom"), {})), "boom")
      assert.strictEqual(yield* guard.wrapWith(ran, { classify: () => Outcome.failure() }), "ran")
      assert.strictEqual(
        yield* Effect.flip(guard.wrapWith(Effect.fail("mine"), { classify: () => Outcome.ignored })),
        "mine"
      )
      assert.deepStrictEqual(ends, ["ran", { error: "boom" }, { error: "ran" }, undefined])
    }))

  it.effect("an interrupted call ends as a success for it", () =>
    Effect.gen(function*() {
      const { ends, guard } = foreign(well)
      const call = yield* Effect.forkChild(guard.wrapWith(Effect.never, {}), { startImmediately: true })
      yield* untilQuiet
      yield* Fiber.interrupt(call)
      yield* untilQuiet
      assert.deepStrictEqual(ends, [undefined])
    }))

  it.effect("the next call meets what this one changed", () =>
    Effect.gen(function*() {
      let isOpen = false
      const { guard } = foreign(async (call) => {
        if (isOpen) throw new Error("open")
        return call().catch(() => {
          isOpen = true
        })
      })
      yield* Effect.ignore(guard.wrapWith(Effect.fail("boom"), {}))
      assert.instanceOf(yield* Effect.flip(guard.wrapWith(Effect.die("ran"), {})), Adapter.ForeignOpenError)
    }))

  it.effect("an answer without a call is a rejection: a cache, a fallback", () =>
    Effect.gen(function*() {
      const { guard } = foreign(() => Promise.resolve("cached"))
      assert.instanceOf(yield* Effect.flip(guard.wrapWith(Effect.die("ran"), {})), Adapter.ForeignOpenError)
      assert.instanceOf(yield* Effect.flip(Effect.scoped(guard.permit)), Adapter.ForeignOpenError)
    }))

  it.effect("any other error before the call is reported, and the call is made", () =>
    withReports((reports) =>
      Effect.gen(function*() {
        const broken = foreign(
          () => {
            throw new Error("broken")
          },
          () => false
        )
        assert.strictEqual(yield* broken.guard.wrapWith(ran, {}), "ran")
        const unsure = foreign(() => Promise.reject(new Error("broken")), () => {
          throw new Error("no idea")
        })
        assert.strictEqual(yield* unsure.guard.wrapWith(ran, {}), "ran")
        assert.strictEqual(reports.length, 3)
        for (const { message } of reports) assert.include(message, "A function of an adapted breaker failed")
      })
    ))

  it.effect("the result is the call's own, whatever the breaker makes of it", () =>
    Effect.gen(function*() {
      const { guard } = foreign((call) => Promise.race([call(), Promise.reject(new Error("its timeout"))]))
      const call = yield* Effect.forkChild(guard.wrapWith(Effect.as(Effect.sleep("1 second"), "ran"), {}), {
        startImmediately: true
      })
      yield* untilQuiet
      assert.isUndefined(call.pollUnsafe())
      yield* Fiber.interrupt(call)
      const retrying = foreign((call) => call().catch(call).catch(call).catch(() => "fallback"))
      let runs = 0
      const failing = Effect.suspend(() => Effect.fail(++runs))
      assert.strictEqual(yield* Effect.flip(retrying.guard.wrapWith(failing, {})), 1)
      assert.strictEqual(runs, 1)
      assert.strictEqual(retrying.ends.length, 3)
    }))

  it.effect("a call that is interrupted while the breaker lets it wait is not made", () =>
    Effect.gen(function*() {
      let letRun!: () => void
      const waiting = new Promise<void>((resolve) => {
        letRun = resolve
      })
      const { ends, guard } = foreign(async (call) => {
        await waiting
        return call()
      })
      const call = yield* Effect.forkChild(guard.wrapWith(Effect.die("ran"), {}), { startImmediately: true })
      yield* untilQuiet
      yield* Fiber.interrupt(call)
      letRun()
      yield* untilQuiet
      assert.deepStrictEqual(ends, [undefined])
    }))

  it.effect("a breaker that never ends a call can be left by an interruption", () =>
    Effect.gen(function*() {
      const { guard } = foreign((call) => call().then(() => new Promise(() => {})))
      const call = yield* Effect.forkChild(guard.wrapWith(ran, {}), { startImmediately: true })
      yield* untilQuiet
      assert.isUndefined(call.pollUnsafe())
      yield* Fiber.interrupt(call)
      assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(call)))
    }))
})

describe("Adapter.opossum", () => {
  const made: Array<{ readonly shutdown: () => void }> = []
  afterEach(() => {
    for (const breaker of made.splice(0)) breaker.shutdown()
  })
  const opossum = () => {
    const breaker = new Opossum((call: () => Promise<any>) => call(), { timeout: false, resetTimeout: 1_000_000 })
    made.push(breaker)
    return { breaker, guard: Adapter.opossum("old", breaker) }
  }

  it.effect("rejects as it does, and says by its state whether a call may be made", () =>
    Effect.gen(function*() {
      const { breaker, guard } = opossum()
      assert.strictEqual(guard.mayI?.(), true)
      yield* Effect.ignore(guard.wrapWith(Effect.fail("boom"), {}))
      assert.isTrue(breaker.opened)
      assert.strictEqual(guard.mayI?.(), false)
      const rejection = yield* Effect.flip(guard.wrapWith(Effect.die("ran"), {}))
      assert.instanceOf(rejection, Adapter.ForeignOpenError)
      assert.strictEqual(rejection.circuit, "old")
      assert.isFalse(Breaker.isRejection(rejection))
    }))

  it.effect("once it is shut down it rejects", () =>
    Effect.gen(function*() {
      const { breaker, guard } = opossum()
      breaker.shutdown()
      assert.instanceOf(yield* Effect.flip(guard.wrapWith(Effect.die("ran"), {})), Adapter.ForeignOpenError)
    }))

  it("while it is half-open, it may be called before its probe, if it says so", () => {
    const half = { fire: (call: () => Promise<any>) => call(), opened: false, halfOpen: true }
    assert.isUndefined(Adapter.opossum("old", half).mayI?.())
    assert.isTrue(Adapter.opossum("old", { ...half, pendingClose: true }).mayI?.())
    assert.isFalse(Adapter.opossum("old", { ...half, pendingClose: false }).mayI?.())
  })
})

describe("Adapter.cockatiel", () => {
  it.effect("rejects where its circuit or a bulkhead in its wrap does", () =>
    Effect.gen(function*() {
      const breaker = cockatiel.circuitBreaker(cockatiel.handleAll, {
        breaker: new cockatiel.ConsecutiveBreaker(1),
        halfOpenAfter: 1_000_000
      })
      const guard = Adapter.cockatiel("old", breaker)
      assert.strictEqual(guard.mayI?.(), true)
      const wrapped = Adapter.cockatiel("old", cockatiel.wrap(cockatiel.bulkhead(1), breaker))
      const first = yield* Effect.forkChild(wrapped.wrapWith(Effect.never, {}), { startImmediately: true })
      yield* untilQuiet
      assert.instanceOf(yield* Effect.flip(wrapped.wrapWith(Effect.die("ran"), {})), Adapter.ForeignOpenError)
      yield* Fiber.interrupt(first)
      yield* Effect.ignore(guard.wrapWith(Effect.fail("boom"), {}))
      assert.instanceOf(yield* Effect.flip(guard.wrapWith(Effect.die("ran"), {})), Adapter.ForeignOpenError)
      // It does not say whether its time is over.
      assert.isUndefined(guard.mayI?.())
      assert.isUndefined(wrapped.mayI?.())
      const isolated = cockatiel.circuitBreaker(cockatiel.handleAll, {
        breaker: new cockatiel.ConsecutiveBreaker(1),
        halfOpenAfter: 1
      })
      isolated.isolate()
      assert.strictEqual(Adapter.cockatiel("old", isolated).mayI?.(), false)
    }))
})
