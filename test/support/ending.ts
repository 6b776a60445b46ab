/**
 * A program that has nothing more to do after its calls, and does not dispose of its runtime. Its arguments are a storage, a kind
 * of call, and an empty directory. It prints how the calls ended.
 */
import { Effect, Exit, Layer, ManagedRuntime } from "effect"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { Breaker, Storage, Trip } from "../../src/index.ts"
import { layer as layerFile } from "../../src/layers/FileStorageLive.ts"
import { layer as layerSqlite } from "../../src/layers/SqliteStorageLive.ts"
import * as Fallback from "../../src/Storage/Fallback.ts"
import * as Health from "../../src/Storage/Health.ts"
import * as Mirror from "../../src/Storage/Mirror.ts"
import { hanging, Link, memory } from "./storages.ts"

const [, , storage = "", call = "", directory = ""] = process.argv

const live = Storage.MemoryStorageLive
const file = layerFile({ directory })
const silent = Effect.map(memory, (storage) => {
  const link = new Link(storage)
  link.fault(hanging)
  return link.storage
})

const storages: Readonly<Record<string, Layer.Layer<Storage.Storage, unknown>>> = {
  memory: live,
  file,
  sqlite: layerSqlite({ file: join(directory, "circuits.sqlite") }),
  fallback: Fallback.layer([{ storage: file }, { storage: live }]),
  mirror: Mirror.layer([{ storage: live }, { storage: file }]),
  monitored: Layer.provideMerge(Health.layer({ every: "1 hour" }), live),
  silent: Layer.effect(Storage.Storage, silent)
}

// Whatever runs out does so in an hour, but for the timeout of a call that hangs.
const policy = { trip: Trip.consecutiveFailures(2), openFor: "1 hour", evidence: "pooled" } as const

class Ending extends Breaker.Service<Ending>()("ending", { ...policy, timeout: "1 hour" }) {}
class Hasty extends Breaker.Service<Hasty>()("hasty", { ...policy, timeout: "50 millis" }) {}

const ok = Effect.promise(() => sleep(5, "ok"))

/** Fails until the circuit is open, by the pooled evidence of the storage. */
const opens: Effect.Effect<unknown, unknown, Ending> = Effect.suspend(() =>
  Effect.matchEffect(Ending.wrap(Effect.andThen(ok, Effect.fail("down"))), {
    onSuccess: Effect.succeed,
    onFailure: (error) => Breaker.isRejection(error) ? Effect.succeed(error._tag) : opens
  })
)

const calls: Readonly<Record<string, Effect.Effect<unknown, unknown, Ending | Hasty>>> = {
  "ends in time": Ending.wrap(ok),
  "opens the circuit": opens,
  // Nothing but the timeout keeps the process alive until it ends.
  "hangs": Effect.flip(Hasty.wrap(Effect.never))
}

const layer = Layer.mergeAll(Ending.layer, Hasty.layer).pipe(Layer.provide(storages[storage]!))
const exit = await ManagedRuntime.make(layer).runPromiseExit(calls[call]!)
console.log(`ended with ${Exit.isSuccess(exit) ? exit.value : exit}`)
