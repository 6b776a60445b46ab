/**
 * A minute in the life of a circuit, without waiting: `TestClock` moves the time. `testing.test.ts` does the same in a
 * test.
 */
import { Console, Effect, Layer } from "effect"
import { TestClock } from "effect/testing"
import { Breaker, Storage, Trip } from "../src/index.ts"

class Mail extends Breaker.Service<Mail>()("mail", {
  trip: Trip.failureRate({ threshold: 0.5, within: "30 seconds", minimumCalls: 4 }),
  openFor: "1 minute"
}) {}

const send = (ok: boolean) => Effect.exit(Mail.wrap(ok ? Effect.succeed("sent") : Effect.fail("bounced")))

const program = Effect.gen(function*() {
  const mail = yield* Mail
  let seconds = 0
  const report = (what: string) =>
    Effect.flatMap(mail.state, (state) => Console.log(`${String(seconds).padStart(3)} s  ${state.padEnd(6)}  ${what}`))
  const wait = (more: number) => {
    seconds += more
    return TestClock.adjust(more * 1000)
  }

  yield* send(true)
  yield* send(true)
  yield* report("two mails are sent")
  yield* wait(10)
  yield* send(false)
  yield* send(false)
  yield* report("two more bounce, which is half of four")
  yield* wait(59)
  yield* send(true)
  yield* report("a mail is refused")
  yield* wait(1)
  yield* send(true)
  yield* report("a mail is sent as the probe")
})

// A breaker keeps the clock that it was made with, so provide the test clock to its layer.
const layers = Mail.layer.pipe(Layer.provide(Storage.MemoryStorageLive), Layer.provideMerge(TestClock.layer()))

await program.pipe(Effect.provide(layers), Effect.runPromise)
