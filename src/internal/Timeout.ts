/**
 * The timeout of a call. It runs the call in a fiber of its own, as `Effect.timeout` does, but with one fiber in place of two
 * and a place in a queue in place of a timer, and neither for a call that ends without waiting.
 *
 * Fibers start and end each other on the stack of JavaScript, so calls within calls use it up. Beyond a depth the next step is a
 * task of its own, on an empty stack. A stack that ran out would look like a failure of what the call calls.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
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
  const child = start(self as Effect.Effect<A, E>, parent)
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
      onStack(parent, () => resume(late ?? exit))
    })
  })
  // A parent that is interrupted before it waits never runs the callback, so the child is ended here.
  return Effect.onExitPrimitive(restore(end), () => {
    stopWaiting()
    return child.pollUnsafe() === undefined ? Effect.andThen(interrupt(child, parent), faultsOf(child)) : undefined
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

// -----------------------------------------------------------------------------
// the stack
// -----------------------------------------------------------------------------

/** So many calls within calls use about a tenth of the stack. */
const MOST_ON_STACK = 100

/** The fiber of the first of the starts, ends and interruptions that are on the stack. */
let root: Fiber.Fiber<unknown, unknown> | undefined
/** How many are on the stack since then. */
let depth = 0

/** Whether the fiber is run by the scheduler that runs the root. `Effect.runSync` within a call has a scheduler of its own. */
const isUnderRoot = (fiber: Fiber.Fiber<unknown, unknown>): boolean =>
  root !== undefined && root.cache.scheduler === fiber.cache.scheduler

const isDeep = (fiber: Fiber.Fiber<unknown, unknown>): boolean => depth >= MOST_ON_STACK && isUnderRoot(fiber)

const counted = <A>(fiber: Fiber.Fiber<unknown, unknown>, f: () => A): A => {
  const before = { root, depth }
  if (!isUnderRoot(fiber)) {
    root = fiber
    depth = 0
  }
  depth++
  try {
    return f()
  } finally {
    root = before.root
    depth = before.depth
  }
}

/** Runs `f` on this stack, or as a task where too much is on it. The task is the root's, because `Effect.runSync` runs only those. */
const onStack = (fiber: Fiber.Fiber<unknown, unknown>, f: () => void): void => {
  if (!isDeep(fiber)) return counted(fiber, f)
  const taskOf = root!
  taskOf.currentDispatcher.scheduleTask(() => counted(taskOf, f), 0)
}

const start = <A, E>(self: Effect.Effect<A, E>, parent: Fiber.Fiber<unknown, unknown>): Fiber.Fiber<A, E> => {
  const run = Effect.runForkWith(parent.context)
  return isDeep(parent)
    ? run(Effect.callback<A, E>((resume) => onStack(parent, () => resume(self))))
    : counted(parent, () => run(self))
}

const interrupt = <A, E>(child: Fiber.Fiber<A, E>, parent: Fiber.Fiber<unknown, unknown>): Effect.Effect<void> =>
  Effect.callback((resume) => {
    child.addObserver(() => onStack(parent, () => resume(Effect.void)))
    onStack(parent, () => child.interruptUnsafe(parent.id))
  })
