/**
 * Background fibers: they outlive the fiber that starts them, so they run in a context that is kept from an earlier
 * time.
 *
 * The scope and the span of that time are omitted. Either may have ended, and a background fiber must neither add
 * finalizers to a request's scope nor hang its spans under one that is over. Nor do they run in what `AsyncLocalStorage` has for the
 * call that happens to start them: they would keep it for as long as they live.
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
  const run = Effect.runForkWith(Context.omit(Scope.Scope, Tracer.ParentSpan)(context))
  const fork: Fork = (effect) => outsideOfCalls(() => run(effect))
  return scope === undefined ? fork : (effect) => Fiber.runIn(fork(effect), scope)
}

/** The parts of Node's `process` that are used, where there is one. */
interface Runtime {
  readonly process?: {
    readonly getBuiltinModule?: (id: "node:async_hooks") => {
      readonly AsyncResource: new(type: string) => { readonly runInAsyncScope: <A>(f: () => A) => A }
    }
  }
}

const asyncHooks = (globalThis as Runtime).process?.getBuiltinModule?.("node:async_hooks")

/** The asynchronous context in which this module was loaded, that of no call. */
const loaded = asyncHooks && new asyncHooks.AsyncResource("effect-breaker")

const outsideOfCalls = <A>(f: () => A): A => loaded === undefined ? f() : loaded.runInAsyncScope(f)
