/**
 * Background fibers: they outlive the fiber that starts them, so they run in a context that is kept from an earlier
 * time.
 *
 * The scope and the span of that time are omitted. Either may have ended, and a background fiber must neither add
 * finalizers to a request's scope nor hang its spans under one that is over.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as Tracer from "effect/Tracer"

/** Starts an effect at once and does not wait for it. */
export type Fork = <A, E>(effect: Effect.Effect<A, E>) => Fiber.Fiber<A, E>

/**
 * Forks in this context. With a scope, fibers are interrupted when it closes, and at once when it is closed already.
 */
export const makeFork = (context: Context.Context<never>, scope?: Scope.Scope): Fork => {
  const fork = Effect.runForkWith(Context.omit(Scope.Scope, Tracer.ParentSpan)(context))
  return scope === undefined ? fork : (effect) => Fiber.runIn(fork(effect), scope)
}
