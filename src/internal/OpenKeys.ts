/**
 * How many circuits of a keyed breaker may be open at once, as Envoy's limit on ejections: where all keys fail at once, the fault is
 * more likely with the caller or its network, and with every circuit open nothing would be left to call.
 */
import type { LocalMillis } from "../core/Time.ts"

/** A key counts for so long after its last call. */
const RECENT_SECONDS = 60

interface Counted {
  readonly state: "Closed" | "Open" | "HalfOpen"
  readonly usedAtSecond: number
}

export class OpenKeys {
  #share = 1
  #circuits: () => Iterable<Counted> = () => []
  /** The circuits are counted once a second, because many may open together. */
  #countedAtSecond = -1
  #recent = 0
  #open = 0

  /** At most this share of the circuits that were called lately. With 1 nothing is counted. */
  limit(share: number, circuits: () => Iterable<Counted>): void {
    this.#share = share
    this.#circuits = circuits
    this.#countedAtSecond = -1
  }

  /** Whether one more may open, which it does then. */
  mayOpen(now: LocalMillis): boolean {
    if (this.#share === 1) return true
    const second = Math.floor(now / 1000)
    if (second !== this.#countedAtSecond) this.#count(second)
    if (this.#open + 1 > this.#share * this.#recent) return false
    this.#open++
    return true
  }

  #count(second: number): void {
    this.#countedAtSecond = second
    this.#recent = this.#open = 0
    for (const { state, usedAtSecond } of this.#circuits()) {
      if (second - usedAtSecond > RECENT_SECONDS) continue
      this.#recent++
      if (state !== "Closed") this.#open++
    }
  }
}
