/**
 * Whether the instances of a fleet have one policy. A change of a circuit names the fingerprint of the policy that it was made by,
 * and another than this breaker's is drift.
 *
 * A policy that is changed while the fleet runs reaches the instances one after the other. That is no drift, so a difference is told
 * only where it is still one after `GRACE_MILLIS`, and a change that others make in that time after this breaker's own policy changed
 * is not compared: it may be the last one that they made by the policy before.
 *
 * **Invariants**
 *
 * - It is told once. A new policy of this breaker makes it tell again.
 */
import * as Effect from "effect/Effect"
import type { LocalMillis } from "../../core/Time.ts"
import type { Log } from "../Log.ts"
import { messages } from "../Messages.ts"
import type { Connection } from "./Connection.ts"

/** In this time a change of the policy reaches all instances. */
export const GRACE_MILLIS = 60_000

export class Drift {
  readonly #connection: Connection
  readonly #log: Log
  #fingerprint: string
  /** When the policy of this breaker last changed. */
  #changedAt: LocalMillis = -Infinity
  /** Whether a difference was met by the present policy. */
  #isMet = false

  constructor(connection: Connection, log: Log, fingerprint: string) {
    this.#connection = connection
    this.#log = log
    this.#fingerprint = fingerprint
  }

  /** The fingerprint of this breaker's policy. */
  get fingerprint(): string {
    return this.#fingerprint
  }

  /** Whether a change at this time was made by a policy that this breaker neither has nor had before. */
  differs(other: string | undefined, at: LocalMillis): boolean {
    return other !== undefined && other !== this.#fingerprint && at - this.#changedAt >= GRACE_MILLIS
  }

  /** This breaker has another policy from now on. */
  changed(fingerprint: string): void {
    if (fingerprint === this.#fingerprint) return
    this.#fingerprint = fingerprint
    this.#changedAt = this.#connection.now()
    this.#isMet = false
  }

  /** A change of this circuit was made by a policy with the fingerprint `other`. */
  compare(circuit: string, other: string | undefined): void {
    const fingerprint = this.#fingerprint
    if (other === undefined || other === fingerprint || this.#isMet) return
    if (this.#connection.now() - this.#changedAt < GRACE_MILLIS) return
    this.#isMet = true
    const told = Effect.sync(() => {
      if (fingerprint === this.#fingerprint) this.#log(messages.policiesDiffer, { circuit, fingerprint, other })
    })
    this.#connection.after(GRACE_MILLIS, told)
  }
}
