// Runs a circuit through its life on the storage that the environment names, from the installed package, and says what does not work.
import { Duration, Effect, Exit, Layer, Logger, Schedule, Stream } from "effect"
import { Breaker, Storage, Trip } from "effect-breaker"
import { StorageLive } from "effect-breaker/layers/StorageLive"

class Payments extends Breaker.Service()("payments", {
  trip: Trip.consecutiveFailures(2),
  openFor: "200 millis",
  evidence: "any",
  // So that a storage that does not work fails the calls.
  consistency: "strict",
  onStorageError: "fail"
}) {}

const expect = (what, is) => is ? Effect.void : Effect.fail(`${what} does not work`)

const program = Effect.gen(function*() {
  const payments = yield* Payments
  const succeeds = Effect.map(Effect.exit(Payments.wrap(Effect.void)), Exit.isSuccess)
  yield* expect("a call", yield* succeeds)
  for (let i = 0; i < 2; i++) yield* Effect.exit(Payments.wrap(Effect.fail("down")))
  yield* expect("opening", (yield* payments.state) === "Open")
  yield* expect("a rejection", Breaker.isNotCalled(yield* Effect.flip(Payments.wrap(Effect.void))))
  yield* Effect.sleep(Duration.millis(400))
  // On a busy machine a call may not get its lease in time.
  const retried = { until: (done) => done, times: 20, schedule: Schedule.spaced("100 millis") }
  yield* expect("a probe", yield* Effect.repeat(succeeds, retried))
  yield* expect("closing", (yield* payments.state) === "Closed")
  const { list } = yield* Storage.Storage
  yield* expect("listing", (yield* Stream.runCollect(list)).includes("payments"))
}).pipe(Effect.provide(Layer.provideMerge(Payments.layer, StorageLive)), Effect.provide(Logger.layer([])))

const exit = await Effect.runPromiseExit(program)
console.log(Exit.isSuccess(exit) ? "yes" : `no: ${String(exit.cause).split("\n")[0].slice(0, 200)}`)
process.exit()
