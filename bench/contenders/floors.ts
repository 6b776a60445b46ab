/**
 * The least work that any breaker has to do for a call, without a breaker.
 */
import { Effect } from "effect"
import { type Contender, subjectOf } from "./contender.ts"
import { inHand, memory } from "./ours.ts"

const run = Effect.runPromise
const never = async () => false
const ours = inHand(await memory())

/**
 * The least with which Effect's public interface can report how a call ended, however it ended: a `withFiber` that
 * reads a gate, an `onExitPrimitive`, and a counter. Passing `interruptible` to `onExitPrimitive` would cost less and
 * would miss interruptions.
 *
 * It first runs calls through our breaker, because Effect's run loop is twice as fast while a process has run only a
 * few kinds of effects, and no real program stays at so few.
 */
export const floor: Contender = {
  single: async (spec, workload) => {
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
    return subjectOf(workload, wrap, run, never)
  }
}

/** `Effect.timeout` around the bare call. */
export const timeoutAlone: Contender = {
  single: async ({ timeoutMillis }, workload) =>
    subjectOf(workload, (call) => Effect.timeout(call, timeoutMillis!), run, never)
}

/** Exported, so that the compiler does not remove the look-up as dead code. */
export let found: object | undefined

/** The bare call, and a look-up in a map that holds an object for each key. */
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
