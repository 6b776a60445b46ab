/**
 * Two processes on one storage: a breaker each, on a storage in memory that they share. Each reaches it over a link of
 * its own, which counts requests and can be cut.
 */
import { Console, Context, Effect, Layer, Stream } from "effect"
import { Breaker, Storage } from "../../src/index.ts"

interface Link {
  readonly pushes: boolean
  isCut: boolean
  requests: number
}

const through = (storage: Storage.Storage, link: Link): Storage.Storage => {
  const send = <A>(request: Effect.Effect<A, Storage.StorageError>): Effect.Effect<A, Storage.StorageError> =>
    Effect.suspend(() => {
      link.requests++
      return link.isCut
        ? Effect.fail(new Storage.StorageError({ operation: "any", reason: "Unavailable", cause: "no route" }))
        : request
    })
  return {
    ...storage,
    capabilities: { ...storage.capabilities, pushes: link.pushes },
    changes: link.pushes ? storage.changes : Stream.empty,
    sync: (reports) => send(storage.sync(reports)),
    change: (circuit, change) => send(storage.change(circuit, change)),
    probe: (circuit, probe) => send(storage.probe(circuit, probe))
  }
}

/** In a real program this is `Payments.layer` on a storage that processes share. */
export const twoProcesses = <const P extends Breaker.Policy>(policy: P, { pushes }: Pick<Link, "pushes">) =>
  Effect.gen(function*() {
    const storage = Context.get(yield* Layer.build(Storage.MemoryStorageLive), Storage.Storage)
    const start = Effect.suspend(() => {
      const link: Link = { pushes, isCut: false, requests: 0 }
      return Breaker.make("payments", policy).pipe(
        Effect.provideService(Storage.Storage, through(storage, link)),
        Effect.map((breaker) => ({ breaker, link }))
      )
    })
    return [yield* start, yield* start] as const
  })

/** Prints the result of a call. */
export const say =
  (who: string) => (call: Effect.Effect<string, string | Breaker.BreakerError | Storage.StorageError>) =>
    Effect.match(call, {
      onSuccess: (value) => value,
      onFailure: (error) => typeof error === "string" ? error : Breaker.isRejection(error) ? "rejected" : error.message
    }).pipe(Effect.flatMap((outcome) => Console.log(`${who}: ${outcome}`)))

export const charge = Effect.succeed("charged")

export const decline = Effect.fail("declined")
