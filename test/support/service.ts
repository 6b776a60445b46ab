/** A service with breakers on a storage that is named by URL, in a process of its own. It does what its parent asks. */
import { Context, Effect, Exit, Layer, Option, Scope } from "effect"
import { foundStorage } from "../../src/cli/internal/Session.ts"
import { Breaker, Trip } from "../../src/index.ts"
import { Storage } from "../../src/Storage/Storage.ts"

export interface Requests {
  /** Calls of a circuit that fail, or succeed. */
  readonly fail: { readonly circuit: string; readonly times: number }
  readonly succeed: { readonly circuit: string; readonly times: number }
  /** The state of a circuit in this process. */
  readonly state: { readonly circuit: string }
}

export type Replies = { readonly [_ in keyof Requests]: string }

const [url = "", prefix = ""] = process.argv.slice(2)

const scope = Scope.makeUnsafe()

const storage = await Effect.runPromise(Effect.gen(function*() {
  const { layer } = yield* foundStorage({
    storage: Option.some(url),
    prefix: prefix === "" ? Option.none() : Option.some(prefix),
    schema: Option.none(),
    idle: Option.none()
  }, { create: true })
  return Context.get(yield* Layer.buildWithScope(layer, scope), Storage)
}))

const breakers = new Map<string, Breaker.Breaker<unknown>>()

const breakerOf = (circuit: string) =>
  Effect.gen(function*() {
    const known = breakers.get(circuit)
    if (known !== undefined) return known
    const made = yield* Breaker.make(circuit, { trip: Trip.consecutiveFailures(3), syncEvery: "100 millis" }).pipe(
      Effect.provideService(Storage, storage),
      Effect.provideService(Scope.Scope, scope)
    )
    breakers.set(circuit, made)
    return made
  })

const calls = (circuit: string, times: number, call: Effect.Effect<string, string>) =>
  Effect.gen(function*() {
    const breaker = yield* breakerOf(circuit)
    for (let i = 0; i < times; i++) yield* Effect.ignore(breaker.wrap(call))
    return yield* breaker.state
  })

process.on("message", ([what, input]: [keyof Requests, { readonly circuit: string; readonly times?: number }]) => {
  const { circuit, times = 0 } = input
  const reply = what === "fail"
    ? calls(circuit, times, Effect.fail("down"))
    : what === "succeed"
    ? calls(circuit, times, Effect.succeed("up"))
    : Effect.flatMap(breakerOf(circuit), (breaker) => breaker.state)
  void Effect.runPromise(reply).then((state) => process.send!(state))
})
process.on("disconnect", () => process.exit(0))
process.on("SIGTERM", () => {
  // Reports what was not reported yet.
  void Effect.runPromise(Scope.close(scope, Exit.void)).then(() => process.exit(0))
})
process.send!("ready")
