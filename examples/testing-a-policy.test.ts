/** Tests of a policy of one's own: what an outage of the dependency costs, and what one of the storage does. */
import { assert, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { Breaker, Storage, Trip } from "../src/index.ts"
import { Drive, FaultyStorage, Simulation } from "../src/testing.ts"

const policy = {
  trip: Trip.failureRate({ threshold: 0.5, within: "10 seconds", minimumCalls: 20 }),
  openFor: "5 seconds",
  timeout: "1 second"
} as const

class Payments extends Breaker.Service<Payments>()("payments", policy) {}

it("an outage of a minute reaches the dependency with few calls, and the fleet heals by itself", () => {
  const fleet = Simulation.make({ policy, circuit: "payments", instances: 8 })
  let isDown = false
  fleet.traffic({
    perSecond: 200,
    // While it is down it hangs, and each call is given up after the timeout.
    behaviour: () => ({ ends: "succeeds", takes: isDown ? "1 minute" : "50 millis" })
  })
  assert.strictEqual(fleet.advance("1 minute").rejected, 0)

  isDown = true
  const untilOpen = fleet.advance("10 seconds")
  assert.isTrue(fleet.instances.every(({ state }) => state === "Open"))
  const opened = fleet.transitions[0]!
  assert.isBelow(opened.at, 68_000)
  assert.isBelow(untilOpen.ran / untilOpen.calls, 0.8)

  const during = fleet.advance("50 seconds")
  assert.isBelow(during.ran / during.calls, 0.01)

  isDown = false
  fleet.advance("10 seconds")
  const after = fleet.advance("10 seconds")
  assert.strictEqual(after.rejected, 0)
  assert.strictEqual(after.failed, 0)
})

const storage = FaultyStorage.layer(Storage.MemoryStorageLive)
const layers = Layer.provideMerge(Payments.layer, storage)

it.effect("payments go on while the storage is away, and an open circuit stays open", () =>
  Effect.gen(function*() {
    yield* FaultyStorage.set({ outage: "refused" })
    assert.strictEqual(yield* Payments.wrap(Effect.succeed("paid")), "paid")
    yield* Drive.open(yield* Payments)
    assert.isTrue(Breaker.isNotCalled(yield* Effect.flip(Payments.wrap(Effect.succeed("paid")))))
  }).pipe(Effect.provide(layers)))

it.effect("the first call after the open time decides", () =>
  Effect.gen(function*() {
    const payments = yield* Payments
    yield* Drive.untilProbe(payments)
    yield* Effect.exit(Payments.wrap(Effect.fail("still down")))
    assert.strictEqual(yield* payments.state, "Open")
    yield* Drive.untilProbe(payments)
    yield* Payments.wrap(Effect.succeed("paid"))
    assert.strictEqual(yield* payments.state, "Closed")
  }).pipe(Effect.provide(layers)))
