/** A process that uses circuits in Redis in all ways, and says that it lives. See `hostile.test.ts`. */
import { Effect, Stream } from "effect"
import { failures, reading } from "../../src/conformance/Law.ts"
import * as IoRedis from "../../src/layers/IoRedis.ts"
import { Storage } from "../../src/Storage/Storage.ts"
import { circuit, layerOn } from "./support.ts"

/** The longest that a request waits for a server that does not answer. */
const PATIENCE_MILLIS = 1500

/** Uses the circuits of a server in all ways at once, whatever comes of it, and tells how many requests were answered. */
const use = (url: string) =>
  Effect.gen(function*() {
    const storage = yield* Storage
    const it = yield* circuit("used")
    yield* Effect.forkChild(Effect.ignore(Stream.runDrain(storage.changes)))
    const requests: ReadonlyArray<Effect.Effect<unknown, unknown>> = [
      storage.sync(["a", "b", "c"].map((name) => ({ ...reading(name, "a"), delta: failures(1) }))),
      it.operate({ _tag: "Reset" }),
      Stream.runDrain(storage.list),
      storage.history("used"),
      Effect.delay(it.read, 200)
    ]
    const answered = yield* Effect.forEach(
      requests,
      (request) =>
        Effect.match(Effect.timeout(request, PATIENCE_MILLIS), { onFailure: () => 0, onSuccess: () => 1 as number }),
      { concurrency: "unbounded" }
    )
    yield* Effect.sleep(50)
    return answered.reduce((sum, one) => sum + one, 0)
  }).pipe(Effect.provide(layerOn(IoRedis.fromUrl(url))))

/** Reads a circuit again and again, for as long as the process lives. */
const hold = (url: string) =>
  Effect.flatMap(circuit("held"), (it) => Effect.forever(Effect.ignore(Effect.timeout(it.read, PATIENCE_MILLIS)))).pipe(
    Effect.provide(layerOn(IoRedis.fromUrl(url)))
  )

export type Requests = { readonly use: ReadonlyArray<string>; readonly hold: string; readonly memory: undefined }
export type Replies = { readonly use: ReadonlyArray<number>; readonly hold: undefined; readonly memory: number }

const reply = async (what: keyof Requests, input: unknown): Promise<unknown> => {
  switch (what) {
    case "use":
      return Effect.runPromise(Effect.forEach(input as ReadonlyArray<string>, use, { concurrency: "unbounded" }))
    case "hold":
      Effect.runFork(hold(input as string))
      return null
    case "memory":
      return process.resourceUsage().maxRSS * 1024
  }
}

process.on("message", ([what, input]: [keyof Requests, unknown]) => {
  void reply(what, input).then((answer) => process.send!(answer))
})
process.on("disconnect", () => process.exit())
process.send!("ready")
