/**
 * The circuits of a keyed breaker: made on demand, evicted when idle, never more than the capacity.
 *
 * Eviction is a CLOCK: a hand goes round the circuits, and each new key moves it past a sample of them, so that no call pays for
 * a look at all. It evicts circuits that were idle for their time. To make room, it evicts the least recently used of the
 * sample with which nothing would be lost, as Redis does.
 */
import type { LocalMillis } from "../core/Time.ts"
import { refuse } from "./Check.ts"
import { Circuit } from "./Circuit.ts"
import { OVERFLOW_KEY, prefixOf } from "./CircuitName.ts"
import type { Shared } from "./Shared.ts"

export type Overflow = "evictIdle" | "shareOne" | "passThrough"

/** How many circuits the hand passes for a new key. */
const SAMPLE = 64

export class Keys {
  readonly shared: Shared
  readonly #capacity: number
  readonly #idleMillis: number
  readonly #overflow: Overflow
  readonly #circuits = new Map<string, Circuit>()
  #hand = this.#circuits.values()
  #overflowing: Circuit | undefined = undefined

  constructor(shared: Shared, capacity: number, idleMillis: number, overflow: Overflow) {
    this.shared = shared
    this.#capacity = capacity
    this.#idleMillis = idleMillis
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
    const { ticker } = this.shared
    if (!ticker.fresh) ticker.refresh()
    circuit.usedAtSecond = ticker.second
    return circuit
  }

  /** The circuit of this name, if there is one. */
  find(name: string): Circuit | undefined {
    const prefix = prefixOf(this.shared.name)
    if (!name.startsWith(prefix)) return undefined
    const key = name.slice(prefix.length)
    return key === OVERFLOW_KEY ? this.#overflowing : this.#circuits.get(key)
  }

  *all(): Iterable<Circuit> {
    yield* this.#circuits.values()
    if (this.#overflowing !== undefined) yield this.#overflowing
  }

  #make(key: string): Circuit | undefined {
    if (typeof key !== "string" || key === "" || !key.isWellFormed()) {
      refuse(`Keyed breaker ${JSON.stringify(this.shared.name)}`, [
        { field: "key", value: key, range: "a well-formed text of at least one character" }
      ])
    }
    const now = this.shared.ticker.exact()
    this.#sweep(now, this.#circuits.size >= this.#capacity && this.#overflow === "evictIdle")
    if (this.#circuits.size >= this.#capacity) {
      return this.#overflow === "passThrough" ? undefined : this.#overflowing ??= new Circuit(this.shared, OVERFLOW_KEY)
    }
    const circuit = new Circuit(this.shared, key)
    this.#circuits.set(key, circuit)
    return circuit
  }

  #sweep(now: LocalMillis, makeRoom: boolean): void {
    let oldest: Circuit | undefined
    let oldestUse = Infinity
    for (let left = Math.min(SAMPLE, this.#circuits.size); left > 0; left--) {
      let next = this.#hand.next()
      if (next.done === true) next = (this.#hand = this.#circuits.values()).next()
      const circuit = next.value!
      const lastUse = circuit.lastUseAt()
      // A count of calls in flight that stayed too high is not believed once the idle time is over.
      if (now - lastUse >= this.#idleMillis && circuit.isOver(now)) {
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
