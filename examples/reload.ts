/**
 * A policy that changes while the program runs: a file is edited, and its circuit keeps its state. A mistake changes nothing.
 */
import { NodeRuntime, NodeServices } from "@effect/platform-node"
import { Console, Effect, Fiber, FileSystem, Layer, Option, References, Result, Stream } from "effect"
import * as BreakerConfig from "../src/config/BreakerConfig.ts"
import { Breaker, Storage, Trip } from "../src/index.ts"

class Payments extends Breaker.Service<Payments>()("payments", { trip: Trip.consecutiveFailures(5) }) {}

const settings = (openFor: string) =>
  `circuit_breaker:\n  services:\n    payments:\n      failure_threshold: 2\n      open_for: ${openFor}\n`

const program = Effect.gen(function*() {
  const fileSystem = yield* FileSystem.FileSystem
  const file = `${yield* fileSystem.makeTempDirectoryScoped()}/breakers.yaml`
  yield* fileSystem.writeFileString(file, settings("60"))

  const edited = (text: string) =>
    Effect.gen(function*() {
      const { reloads } = yield* BreakerConfig.BreakerConfig
      const reload = yield* Effect.forkChild(Stream.runHead(reloads), { startImmediately: true })
      yield* fileSystem.writeFileString(file, text)
      return Option.getOrThrow(yield* Fiber.join(reload))
    })

  const calls = Effect.gen(function*() {
    const payments = yield* Payments
    const charge = Effect.ignore(payments.wrap(Effect.fail("declined")))
    yield* Effect.andThen(charge, charge)
    yield* Console.log(`${yield* payments.state} after 2 failures`)

    const reloaded = Result.getOrThrow(yield* edited(settings("5")))
    for (const { changed, name } of reloaded.circuits) {
      for (const { field, from, to } of changed) yield* Console.log(`${name}: ${field} from ${from} to ${to}`)
    }
    yield* Console.log(`still ${yield* payments.state}`)

    const policy = yield* payments.policy
    const refused = yield* edited(settings("soon"))
    if (Result.isFailure(refused)) yield* Console.log(refused.failure.message.replace(file, "breakers.yaml"))
    yield* Console.log(`the policy is ${policy === (yield* payments.policy) ? "the same" : "another"}`)
  })

  yield* Effect.provide(
    calls,
    BreakerConfig.layerFor(Payments).pipe(
      Layer.provideMerge(BreakerConfig.layer({ file, watch: true })),
      Layer.provide(Storage.MemoryStorageLive)
    )
  )
})

program.pipe(
  Effect.scoped,
  Effect.provide(NodeServices.layer),
  // Without it lines say what was read, and what was wrong with it.
  Effect.provideService(References.MinimumLogLevel, "Fatal"),
  // The watch does not keep the program running.
  NodeRuntime.runMain
)
