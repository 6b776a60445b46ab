/**
 * A chain of a storage that goes away and comes back, and a second storage: the circuit stays open for all breakers.
 * The remote storage is a memory that can be cut off, instead of a Redis. Log lines, which say the same with times, are
 * hidden.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect, Layer, PubSub, References, Stream } from "effect"
import { Breaker, Storage, Trip } from "../src/index.ts"
import type { ChainEvent } from "../src/Storage/Fallback.ts"

class Payments extends Breaker.Service<Payments>()("payments", {
  trip: Trip.consecutiveFailures(2),
  openFor: "1 hour",
  evidence: "any",
  syncEvery: "20 millis"
}) {}

let isAway = false

const RemoteStorageLive = Layer.effect(
  Storage.Storage,
  Effect.map(Storage.Storage, (memory) => {
    const reached = <A>(request: Effect.Effect<A, Storage.StorageError>) =>
      Effect.suspend(() =>
        isAway
          ? Effect.fail(new Storage.StorageError({ operation: "request", reason: "Unavailable", cause: "cut off" }))
          : request
      )
    return Storage.Storage.of({
      ...memory,
      backend: "remote",
      capabilities: { ...memory.capabilities, shared: true, durable: true },
      sync: (reports) => reached(memory.sync(reports)),
      change: (circuit, change) => reached(memory.change(circuit, change)),
      probe: (circuit, probe) => reached(memory.probe(circuit, probe))
    })
  })
).pipe(Layer.provide(Storage.MemoryStorageLive))

const program = Effect.gen(function*() {
  const events = yield* PubSub.unbounded<ChainEvent>({ replay: 100 })
  const happened = (tag: ChainEvent["_tag"]) =>
    Stream.runHead(Stream.filter(Stream.fromPubSub(events), (event) => event._tag === tag))
  const StorageLive = Storage.fallback([
    { storage: RemoteStorageLive, deadline: "50 millis" },
    { storage: Layer.fresh(Storage.MemoryStorageLive) }
  ], {
    onEvent: (event) =>
      Effect.andThen(
        event._tag === "Down" || event._tag === "Up" ? Console.log(`${event.backend}: ${event._tag}`) : Effect.void,
        PubSub.publish(events, event)
      )
  })

  const call = Payments.wrap(Effect.fail("no answer")).pipe(
    Effect.flip,
    Effect.map((error) => Breaker.isRejection(error) ? "the call is refused" : "the call fails")
  )
  const say = (what: string) => Effect.flatMap(call, (result) => Console.log(`${what}: ${result}`))

  yield* Effect.gen(function*() {
    yield* say("closed")
    yield* say("closed")
    yield* say("open")
    isAway = true
    yield* happened("Down")
    yield* say("the remote storage is away")
    isAway = false
    yield* happened("Up")
    yield* say("the remote storage is back")
  }).pipe(Effect.provide(Payments.layer.pipe(Layer.provide(StorageLive))))
}).pipe(Effect.provideService(References.MinimumLogLevel, "Error"))

// It waits for events of the storage alone, and timers of a breaker do not keep a process alive.
NodeRuntime.runMain(program)
