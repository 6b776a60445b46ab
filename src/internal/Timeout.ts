/**
 * The timeout of a call. It runs the call in a fiber of its own, as `Effect.timeout` does, but with one fiber in place of two
 * and a place in a queue in place of a timer, and neither for a call that ends without waiting.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type { Deadlines } from "./Deadlines.ts"

type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/**
 * Runs a call until its deadline. Then it settles at once by `timedOut` and is interrupted. Its caller gets the exit of `timedOut`
 * once its finalizers have run, whatever the call ends with by then.
 *
 * The call is a root fiber in its caller's context and not a child (`Effect.forkChild`), because a child is interrupted when
 * its parent ends, and here the parent must first wait for it and then pass on its faults.
 */
export const bounded = <A, E, R>(
  self: Effect.Effect<A, E, R>,
  deadlines: Deadlines,
  timedOut: () => Exit.Exit<never, unknown>,
  parent: Fiber.Fiber<unknown, unknown>,
  restore: Restore
): Effect.Effect<A, any, R> => {
  const child = Effect.runForkWith(parent.context)(self as Effect.Effect<A, E>)
  const ended = child.pollUnsafe()
  if (ended !== undefined) return ended
  let late: Exit.Exit<never, unknown> | undefined
  let waiting = true
  const deadline = deadlines.add(() => {
    waiting = false
    late = timedOut()
    child.interruptUnsafe(parent.id)
  })
  const stopWaiting = (): void => {
    if (waiting) deadlines.remove(deadline)
    waiting = false
  }
  const end = Effect.callback<A, any>((resume) => {
    child.addObserver((exit) => {
      stopWaiting()
      resume(late ?? exit)
    })
  })
  // A parent that is interrupted before it waits never runs the callback, so the child is ended here.
  return Effect.onExitPrimitive(restore(end), () => {
    stopWaiting()
    return child.pollUnsafe() === undefined ? Effect.andThen(Fiber.interrupt(child), faultsOf(child)) : undefined
  })
}

/** Failures of an interrupted call's finalizers: its caller gets them, as it would without a timeout. */
const faultsOf = <A, E>(child: Fiber.Fiber<A, E>): Effect.Effect<void, E> =>
  Effect.suspend(() => {
    const exit = child.pollUnsafe()
    const faults = exit?._tag === "Failure"
      ? exit.cause.reasons.filter((reason) => !Cause.isInterruptReason(reason))
      : []
    return faults.length === 0 ? Effect.void : Effect.failCause(Cause.fromReasons(faults))
  })
