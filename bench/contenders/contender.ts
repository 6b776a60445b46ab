/**
 * The interface of a contender, and what contenders have in common.
 */
import { Context, Effect, Layer, Scope } from "effect"
import type { Spec, Workload } from "../cases.ts"

/** A call through a breaker, and the same call without it. */
export interface Subject {
  readonly bare: () => Promise<unknown>
  readonly call: () => Promise<unknown>
  /** A call through the same breaker to a dependency that answers when `answer` does. */
  readonly wait?: (answer: Promise<number>) => Promise<unknown>
  readonly isOpen: () => Promise<boolean>
}

export interface Contender {
  /** Makes a new circuit each time. */
  readonly single?: (spec: Spec, workload: Workload) => Promise<Subject>
  /** Makes a circuit for each key that `next` returns. Each call takes the next key. */
  readonly keyed?: (spec: Spec, workload: Workload, capacity: number, next: () => string) => Promise<Subject>
  /** Makes a circuit for each key, runs one call through each, and returns the object that holds them. */
  readonly hold?: (spec: Spec, workload: Workload, keys: ReadonlyArray<string>) => Promise<unknown>
}

type Run<R> = (effect: Effect.Effect<number, unknown, R>) => Promise<number>

class Request extends Context.Service<Request, { readonly id: number }>()("effect-breaker/bench/Request") {}

let requests = 0

/**
 * The subject of a contender that wraps effects. In a fresh context, the bare call pays for that context as well, so
 * the difference between the two is the breaker's alone.
 */
export const subjectOf = <R>(
  { effect, freshContext = false }: Workload,
  wrap: (call: Effect.Effect<number, Error>) => Effect.Effect<number, unknown, R>,
  runInContext: Run<R>,
  isOpen: () => Promise<boolean>
): Subject => {
  const run: Run<R> = freshContext
    ? (effect) => runInContext(Effect.provideService(effect, Request, { id: requests++ }))
    : runInContext
  return {
    bare: () => run(effect),
    call: () => run(wrap(effect)),
    wait: (answer) => run(wrap(Effect.promise(() => answer))),
    isOpen
  }
}

/** Builds a layer that is open as long as the process lives. */
export const build = <A, E>(layer: Layer.Layer<A, E>) => Effect.runPromise(Layer.buildWithScope(layer, forever))

export const forever = Scope.makeUnsafe()

let circuits = 0

/** A name that no other circuit of the process has. */
export const freshName = () => `circuit-${circuits++}`
