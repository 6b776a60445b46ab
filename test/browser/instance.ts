/** A process with breakers on a Redis, of whose calls a test decides. Arguments: the URL of the Redis and a prefix. */
import { Effect, Exit } from "effect"
import { Breaker, Trip } from "../../src/index.ts"
import * as IoRedis from "../../src/layers/IoRedis.ts"
import { layerOn } from "../redis/support.ts"

export type Requests = { readonly call: { readonly key: string; readonly succeeds: boolean } }
/** Whether the call was run. */
export type Replies = { readonly call: boolean }

const [url, prefix] = process.argv.slice(2) as [string, string]

const program = Effect.gen(function*() {
  const shop = yield* Breaker.makeKeyed("shop", { trip: Trip.consecutiveFailures(1), openFor: "10 minutes" })
  const call = ({ key, succeeds }: Requests["call"]) =>
    Effect.gen(function*() {
      let ran = false
      const work = Effect.suspend(() => {
        ran = true
        return succeeds ? Effect.void : Effect.fail("declined")
      })
      return Exit.isExit(yield* Effect.exit(shop.wrap(work, { key }))) && ran
    })
  process.on("message", ([, input]: ["call", Requests["call"]]) => {
    void Effect.runPromise(call(input)).then((ran) => process.send!(ran))
  })
  process.send!("ready")
  return yield* Effect.never
})

process.on("disconnect", () => process.exit())
Effect.runFork(Effect.scoped(program).pipe(Effect.provide(layerOn(IoRedis.fromUrl(url), { prefix }))))
