/**
 * What a contender gives to be measured.
 */
import { Effect, Layer, Scope } from "effect"
import type { Spec, Workload } from "../cases.ts"

/** A call through a breaker, and the same call without it. */
export interface Subject {
  readonly bare: () => Promise<unknown>
  readonly call: () => Promise<unknown>
  readonly isOpen: () => Promise<boolean>
}

export interface Contender {
  /** A circuit of its own each time. */
  readonly single?: (spec: Spec, workload: Workload) => Promise<Subject>
  /** A circuit for each key that `next` gives, call by call. */
  readonly keyed?: (spec: Spec, workload: Workload, capacity: number, next: () => string) => Promise<Subject>
  /** Makes circuits, one call each, and returns what holds them. */
  readonly hold?: (spec: Spec, workload: Workload, keys: ReadonlyArray<string>) => Promise<unknown>
}

/** Builds a layer for as long as the process lives. */
export const build = <A, E>(layer: Layer.Layer<A, E>) => Effect.runPromise(Layer.buildWithScope(layer, forever))

export const forever = Scope.makeUnsafe()

let circuits = 0

/** A name that no other circuit of the process has. */
export const freshName = () => `circuit-${circuits++}`
