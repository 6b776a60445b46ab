import { assert, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { Breaker, Storage, Trip } from "../src/index.ts"

class Mail extends Breaker.Service<Mail>()("mail", {
  trip: Trip.consecutiveFailures(2),
  openFor: "1 minute",
  timeout: "2 seconds"
}) {}

const sendOrQueue = (send: Effect.Effect<string>) =>
  send.pipe(Mail.wrap, Effect.catchTag("BreakerOpenError", () => Effect.succeed("queued")))

it.effect("mail is queued while the circuit is open", () =>
  Effect.gen(function*() {
    assert.strictEqual(yield* sendOrQueue(Effect.succeed("sent")), "queued")
  }).pipe(Effect.provide(Mail.layerTest({ state: "Open" }))))

it.effect("two timeouts open the circuit, a minute later it heals", () =>
  Effect.gen(function*() {
    const mail = yield* Mail
    for (const _ of [1, 2]) {
      const hanging = yield* Effect.forkChild(Effect.flip(sendOrQueue(Effect.never)), { startImmediately: true })
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual((yield* Fiber.join(hanging))._tag, "BreakerTimeoutError")
    }
    assert.strictEqual(yield* mail.state, "Open")
    yield* TestClock.adjust("1 minute")
    assert.strictEqual(yield* sendOrQueue(Effect.succeed("sent")), "sent")
    assert.strictEqual(yield* mail.state, "Closed")
  }).pipe(Effect.provide(Mail.layer), Effect.provide(Storage.MemoryStorageLive)))
