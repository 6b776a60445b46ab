/** Two processes on one storage: a breaker each, by a way of its own to one memory, which counts what is asked and can be cut. */
import { Console, Context, Effect, Layer, Stream } from "effect"
import { Breaker, Storage } from "../../src/index.ts"

interface Way {
  readonly pushes: boolean
  isCut: boolean
  requests: number
}

const through = (storage: Storage.Storage, way: Way): Storage.Storage => {
  const ask = <A>(request: Effect.Effect<A, Storage.StorageError>): Effect.Effect<A, Storage.StorageError> =>
    Effect.suspend(() => {
      way.requests++
      return way.isCut
        ? Effect.fail(new Storage.StorageError({ operation: "any", reason: "Unavailable", cause: "no route" }))
        : request
    })
  return {
    ...storage,
    capabilities: { ...storage.capabilities, pushes: way.pushes },
    changes: way.pushes ? storage.changes : Stream.empty,
    sync: (reports) => ask(storage.sync(reports)),
    change: (circuit, change) => ask(storage.change(circuit, change)),
    probe: (circuit, probe) => ask(storage.probe(circuit, probe))
  }
}

/** In a program of yours this is `Payments.layer` on a storage that processes share. */
export const twoProcesses = <const P extends Breaker.Policy>(policy: P, { pushes }: Pick<Way, "pushes">) =>
  Effect.gen(function*() {
    const storage = Context.get(yield* Layer.build(Storage.MemoryStorageLive), Storage.Storage)
    const start = Effect.suspend(() => {
      const way: Way = { pushes, isCut: false, requests: 0 }
      return Breaker.make("payments", policy).pipe(
        Effect.provideService(Storage.Storage, through(storage, way)),
        Effect.map((breaker) => ({ breaker, way }))
      )
    })
    return [yield* start, yield* start] as const
  })

/** Prints how a call ends. */
export const say =
  (who: string) => (call: Effect.Effect<string, string | Breaker.BreakerError | Storage.StorageError>) =>
    Effect.match(call, {
      onSuccess: (value) => value,
      onFailure: (error) => typeof error === "string" ? error : Breaker.isRejection(error) ? "rejected" : error.message
    }).pipe(Effect.flatMap((outcome) => Console.log(`${who}: ${outcome}`)))

export const charge = Effect.succeed("charged")

export const decline = Effect.fail("declined")
