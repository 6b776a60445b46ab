/**
 * Not breakers, but what a breaker cannot do without.
 */
import { Effect } from "effect"
import { type Contender } from "./contender.ts"

const run = Effect.runPromise
const never = async () => false

/** `Effect.timeout` on the bare call. */
export const timeoutAlone: Contender = {
  single: async ({ timeout }, { effect }) => ({
    bare: () => run(effect),
    call: () => run(Effect.timeout(effect, timeout!)),
    isOpen: never
  })
}

/** Kept, so that the look-up is not optimized away. */
export let found: object | undefined

/** The bare call and a look at a map that holds an object for each key. */
export const mapGet: Contender = {
  keyed: async (_spec, { effect }, capacity, next) => {
    const map = new Map(Array.from({ length: capacity }, () => [next(), {}]))
    return {
      bare: () => {
        next()
        return run(effect)
      },
      call: () => {
        found = map.get(next())
        return run(effect)
      },
      isOpen: never
    }
  }
}
