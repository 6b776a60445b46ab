/**
 * The circuits of a keyed breaker: made on demand, evicted when idle, never more than the capacity.
 *
 * A hand goes round the circuits, a few for each new key, so that no call pays for a look at all of them. It evicts those that
 * were idle for their time, and, to make room, the least recently used of those it saw that nothing would be lost with (least
 * recently used by sample, as Redis evicts).
 */
import { refuse } from "./Check.ts"
import { Circuit } from "./Circuit.ts"
import type { Guard } from "./Guard.ts"
import { prefixOf } from "./CircuitName.ts"

export type Overflow = "evictIdle" | "shareOne" | "passThrough"

/** How many circuits the hand passes for a new key. */
const SAMPLE = 64

// No user's key is empty, so no user's circuit is meant.
const OVERFLOW_KEY = ""

export class Keys {
  readonly #guard: Guard
  readonly #capacity: number
  readonly #idleTimeToLive: number
  readonly #overflow: Overflow
  readonly #circuits = new Map<string, Circuit>()
  #hand = this.#circuits.values()
  #shared: Circuit | undefined = undefined

  constructor(guard: Guard, capacity: number, idleTimeToLive: number, overflow: Overflow) {
    this.#guard = guard
    this.#capacity = capacity
    this.#idleTimeToLive = idleTimeToLive
    this.#overflow = overflow
  }

  /** How many circuits there are, the shared one aside. */
  get size(): number {
    return this.#circuits.size
  }

  /** The circuit of a key, or `undefined` where the call is to pass by. */
  get(key: string): Circuit | undefined {
    const circuit = this.#circuits.get(key) ?? this.#make(key)
    if (circuit === undefined) return undefined
    const { ticker } = this.#guard
    if (!ticker.fresh) ticker.refresh()
    circuit.usedAt = ticker.second
    return circuit
  }

  /** The circuit of this name, if there is one. */
  find(name: string): Circuit | undefined {
    const prefix = prefixOf(this.#guard.name)
    if (!name.startsWith(prefix)) return undefined
    const key = name.slice(prefix.length)
    return key === OVERFLOW_KEY ? this.#shared : this.#circuits.get(key)
  }

  *all(): Iterable<Circuit> {
    yield* this.#circuits.values()
    if (this.#shared !== undefined) yield this.#shared
  }

  #make(key: string): Circuit | undefined {
    if (typeof key !== "string" || key === "" || !key.isWellFormed()) {
      refuse(`Keyed breaker ${JSON.stringify(this.#guard.name)}`, [
        { field: "key", value: key, range: "a well-formed text of at least one character" }
      ])
    }
    const now = this.#guard.ticker.exact()
    this.#sweep(now, this.#circuits.size >= this.#capacity && this.#overflow === "evictIdle")
    if (this.#circuits.size >= this.#capacity) {
      return this.#overflow === "passThrough" ? undefined : this.#shared ??= new Circuit(this.#guard, OVERFLOW_KEY)
    }
    const circuit = new Circuit(this.#guard, key)
    this.#circuits.set(key, circuit)
    return circuit
  }

  #sweep(now: number, makeRoom: boolean): void {
    let oldest: Circuit | undefined
    let oldestUse = Infinity
    for (let left = Math.min(SAMPLE, this.#circuits.size); left > 0; left--) {
      let next = this.#hand.next()
      if (next.done === true) next = (this.#hand = this.#circuits.values()).next()
      const circuit = next.value!
      const lastUse = circuit.lastUse()
      // A count of calls in flight that stayed too high is not believed once the idle time is over.
      if (now - lastUse >= this.#idleTimeToLive && circuit.isOver(now)) {
        this.#circuits.delete(circuit.key!)
        makeRoom = false
      } else if (circuit.inFlight === 0 && lastUse < oldestUse && circuit.isCalm(now)) {
        oldest = circuit
        oldestUse = lastUse
      }
    }
    if (makeRoom && oldest !== undefined) this.#circuits.delete(oldest.key!)
  }
}
