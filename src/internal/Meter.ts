/**
 * Measurements for metrics beyond the fields that circuits have anyway. While nobody uses them, a call pays nothing for them.
 */
import { Counts } from "./Counts.ts"

/** How a call ended, as metrics name it. */
export type CallOutcome = "success" | "failure" | "timeout" | "ignored"

/** Is told of what happens. Each function must be quick and must not throw. */
export interface Listener {
  /** A call was counted as a failure or a timeout. */
  readonly failed?: ((error: unknown) => void) | undefined
  /** A call ended. All calls of the breaker are timed while somebody asks for this. */
  readonly took?: ((outcome: CallOutcome, millis: number) => void) | undefined
  /** A circuit changed its state. */
  readonly moved?: (() => void) | undefined
  /** The circuit of a key was evicted. */
  readonly evicted?: ((circuit: object) => void) | undefined
  /** The breaker has another policy. */
  readonly reconfigured?: (() => void) | undefined
}

export class Meter {
  /** The counts of keys that are gone. */
  readonly gone = new Counts()
  readonly #listeners = new Set<Listener>()

  /** Whether somebody wants to know how long calls take. */
  get isTiming(): boolean {
    for (const { took } of this.#listeners) if (took !== undefined) return true
    return false
  }

  add(listener: Listener): void {
    this.#listeners.add(listener)
  }

  delete(listener: Listener): void {
    this.#listeners.delete(listener)
  }

  failed(error: unknown): void {
    for (const { failed } of this.#listeners) failed?.(error)
  }

  took(outcome: CallOutcome, millis: number): void {
    for (const { took } of this.#listeners) took?.(outcome, millis)
  }

  moved(): void {
    for (const { moved } of this.#listeners) moved?.()
  }

  evicted(circuit: object): void {
    for (const { evicted } of this.#listeners) evicted?.(circuit)
  }

  reconfigured(): void {
    for (const { reconfigured } of this.#listeners) reconfigured?.()
  }
}
