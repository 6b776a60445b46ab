/** Updates as server-sent events. The storage is followed while somebody looks on, once for all who do. */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as RcRef from "effect/RcRef"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Operator, Watched } from "../../Operator.ts"
import { Registry } from "../../Registry.ts"
import { Board, Viewer } from "./Board.ts"
import type { Here, Update } from "./Feed.ts"

/** How often a viewer's updates are looked for. Changes within it come together. */
const LOOK_MILLIS = 250
/** An update without changes is sent so often, because it says that the connection and the storage are there. */
const ALIVE_MILLIS = 2000
const AGAIN_MILLIS = 1000
/** A page that is loaded again within this time does not make the storage be read anew. */
const KEPT = "5 seconds"
/** How often the breakers of this process are looked at. */
const HERE_MILLIS = 5000
/** How often the storage is asked whether it answers. */
const LOOK_AGAIN_MILLIS = 1000
/** Reading a circuit creates no record, so asking for one that nobody has costs the least. */
const NO_CIRCUIT = "the dashboard asks whether the storage answers"
const MOST_HERE = 100
/** How often the histories of circuits that have changed are read, and of how many at most. */
const HISTORIES_MILLIS = 500
const MOST_HISTORIES = 10

interface Options {
  readonly limit: number
  readonly refreshEvery: Duration.Input | undefined
}

/** The circuits that this process rejects on its own evidence while the fleet does not, and those whose policy differs from the fleet's. */
export const here: Effect.Effect<ReadonlyArray<Here>> = Effect.gen(function*() {
  const found: Array<Here> = []
  for (const { fingerprint, snapshots } of yield* (yield* Registry).breakers) {
    const ours = yield* fingerprint
    for (const { circuit, fleet, isolated, why = "" } of yield* snapshots()) {
      const drift = fleet?.drift === undefined ? null : { here: ours, fleet: fleet.drift }
      const alone = isolated && fleet?.state !== "Open"
      if (alone || drift !== null) found.push({ circuit, isolated: alone ? why : null, drift })
      if (found.length === MOST_HERE) return found
    }
  }
  return found
})

/** Follows the storage until the scope closes. `ready` is done after the first answer. */
const follow = (
  operator: Operator,
  { refreshEvery }: Options
): Effect.Effect<{ readonly board: Board; readonly ready: Effect.Effect<void> }, never, Scope.Scope> =>
  Effect.gen(function*() {
    const board = new Board(operator.backend)
    const ready = yield* Deferred.make<void>()
    const take = (watched: Watched) =>
      Effect.gen(function*() {
        board.take(watched, yield* Clock.currentTimeMillis)
        yield* Deferred.succeed(ready, undefined)
      })
    yield* operator.watch({ every: refreshEvery }).pipe(
      Stream.runForEach(take),
      Effect.catch((error) => take({ _tag: "Unavailable", error })),
      Effect.andThen(Effect.sleep(AGAIN_MILLIS)),
      Effect.forever,
      Effect.forkScoped
    )
    const look = Effect.gen(function*() {
      const [took, read] = yield* Effect.timed(Effect.exit(operator.get(NO_CIRCUIT)))
      board.answered(read, yield* Clock.currentTimeMillis, Duration.toMillis(took))
    })
    yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.sleep(LOOK_AGAIN_MILLIS), look)))
    const readHistory = (circuit: string) =>
      operator.history(circuit).pipe(
        Effect.map((entries) => board.remember(circuit, entries)),
        // A history that cannot be decoded is not read again.
        Effect.catch(({ reason }) => Effect.sync(() => board.historyUnread(reason === "Invalid" ? [] : [circuit])))
      )
    const readHistories = Effect.suspend(() =>
      Effect.forEach(board.takeUnread(MOST_HISTORIES), readHistory, { concurrency: 4, discard: true })
    )
    yield* ready.pipe(
      Deferred.await,
      Effect.andThen(Effect.forever(Effect.andThen(readHistories, Effect.sleep(HISTORIES_MILLIS)))),
      Effect.forkScoped
    )
    return { board, ready: Deferred.await(ready) }
  })

const encoder = new TextEncoder()

const event = (update: Update): Uint8Array => encoder.encode(`data: ${JSON.stringify(update)}\n\n`)

/** A stream for each viewer. */
export const makeFeed = (
  operator: Operator,
  options: Options
): Effect.Effect<Stream.Stream<Uint8Array>, never, Scope.Scope> =>
  Effect.gen(function*() {
    // The stream runs in the fiber of a request, which does not have the `Registry` that the layer was given.
    const hereNow = Effect.provideService(here, Registry, yield* Registry)
    const following = yield* RcRef.make({ acquire: follow(operator, options), idleTimeToLive: KEPT })
    return Stream.unwrap(Effect.gen(function*() {
      const { board, ready } = yield* RcRef.get(following)
      yield* ready
      const viewer = new Viewer()
      let [sentAt, lookedAt] = [-Infinity, -Infinity]
      let around: ReadonlyArray<Here> = []
      const next: Effect.Effect<Uint8Array> = Effect.gen(function*() {
        for (;;) {
          const at = yield* Clock.currentTimeMillis
          if (at - lookedAt >= HERE_MILLIS) {
            lookedAt = at
            around = yield* hereNow
          }
          if (board.version > viewer.version || at - sentAt >= ALIVE_MILLIS) {
            sentAt = at
            return event(board.updateFor(viewer, { at, here: around, limit: options.limit }))
          }
          yield* Effect.sleep(LOOK_MILLIS)
        }
      })
      return Stream.concat(Stream.fromEffect(next), Stream.fromEffectRepeat(Effect.delay(next, LOOK_MILLIS)))
    }))
  })
