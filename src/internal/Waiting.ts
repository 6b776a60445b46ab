/**
 * Waiting for a permit.
 *
 * Those who wait for one circuit of one instance form a queue: its first one tries, and the next one tries once that has its permit
 * or has given up. So a circuit that turns half-open meets one of them, and not all.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Random from "effect/Random"
import * as Semaphore from "effect/Semaphore"
import { retryAt } from "../core/State.ts"
import type { Circuit } from "./Circuit.ts"

/** The longest time after which a waiting caller looks again, because an operator may have closed the circuit. */
const LONGEST_WAIT_MILLIS = 1000

/** The shortest wait after a refusal: a ramp refuses at random, and a lease may be denied for a moment. */
const SHORTEST_WAIT_MILLIS = 50

/** The time until a retry is spread by this share of it, so that instances do not return at one moment. */
const SPREAD = 0.1

interface Queue {
  readonly turn: Semaphore.Semaphore
  /** Opened when a place in the bulkhead is free, and when the policy has changed. */
  readonly place: Latch.Latch
}

/** The queues, apart from the circuits, because most circuits never have one. */
const queues = new WeakMap<Circuit, Queue>()

const queueOf = (circuit: Circuit): Queue => {
  let queue = queues.get(circuit)
  if (queue === undefined) {
    queue = { turn: Semaphore.makeUnsafe(1), place: Latch.makeUnsafe(false) }
    queues.set(circuit, queue)
  }
  return queue
}

/** A call of this circuit has ended. */
export const placeFreed = (circuit: Circuit): void => {
  if (circuit.shared.maxConcurrent !== undefined) queues.get(circuit)?.place.openUnsafe()
}

/** The policy of this circuit has changed: whoever waits looks again. */
export const lookAgain = (circuit: Circuit): void => {
  queues.get(circuit)?.place.openUnsafe()
}

/** Tries again, in turn, until `take` is not refused. */
export const waiting = <A>(circuit: Circuit, take: Effect.Effect<A, any>): Effect.Effect<A, any> => {
  const { place, turn } = queueOf(circuit)
  const attempt: Effect.Effect<A, any> = Effect.suspend(() => {
    const wait = restMillis(circuit)
    if (wait === 0) return take.pipe(Effect.catch((error) => isRefusal(error) ? again : Effect.fail(error)))
    return again
  })
  const again: Effect.Effect<A, any> = Effect.suspend(() => {
    place.closeUnsafe()
    const rest = Math.max(restMillis(circuit), SHORTEST_WAIT_MILLIS)
    return Random.next.pipe(
      Effect.flatMap((random) => {
        const spread = Math.min(rest * SPREAD, LONGEST_WAIT_MILLIS) * random
        return Effect.raceFirst(
          Effect.sleep(Duration.millis(Math.min(rest + spread, LONGEST_WAIT_MILLIS))),
          place.await
        )
      }),
      Effect.andThen(attempt)
    )
  })
  return turn.withPermits(1)(attempt)
}

const isRefusal = (error: { readonly _tag?: string }): boolean =>
  error._tag === "BreakerOpenError" || error._tag === "BulkheadFullError"

/** How long a call would certainly be refused; 0 where it has to be tried. */
const restMillis = (circuit: Circuit): number => {
  const now = circuit.shared.ticker.exact()
  if (circuit.isFull()) return LONGEST_WAIT_MILLIS
  if (circuit.refusalAt(now) === undefined) return 0
  const at = retryAt(circuit.shared, circuit.current, now)
  return at === undefined ? LONGEST_WAIT_MILLIS : Math.max(SHORTEST_WAIT_MILLIS, at - now)
}
