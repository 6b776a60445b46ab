/**
 * Not breakers, but what a breaker cannot do without.
 */
import { Effect } from "effect"
import type { Contender } from "./contender.ts"
import { ours } from "./ours.ts"

const run = Effect.runPromise
const never = async () => false

/**
 * The least that can tell how a call ended, however it ended, with Effect's public interface: a look at a gate, an
 * `onExitPrimitive`, a count. Passing `interruptible` to it would be cheaper and would miss interruptions.
 *
 * Effect's run loop is twice as fast as long as a process has run no more than a handful of kinds of effects, which no program
 * does: so this one has done what ours has.
 */
export const floor: Contender = {
  single: async (spec, workload) => {
    const { effect } = workload
    const { call } = await ours.single!(spec, workload)
    for (let i = 0; i < 100; i++) await call()
    const circuit = { gate: 0, successes: 0, failures: 0 }
    const wrap = <A, E, R>(self: Effect.Effect<A, E, R>) =>
      Effect.withFiber(() =>
        circuit.gate !== 0 ? self : Effect.onExitPrimitive(self, (exit) => {
          if (exit._tag === "Success") circuit.successes++
          else circuit.failures++
          return undefined
        })
      )
    return { bare: () => run(effect), call: () => run(wrap(effect)), isOpen: never }
  }
}

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
