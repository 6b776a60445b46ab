/**
 * The circuits of a keyed breaker: made on demand, evicted when idle, never more than the capacity.
 *
 * Eviction is a CLOCK: a hand goes round the circuits, and each new key moves it past a sample of them, so that no call pays for
 * a look at all. It evicts circuits that were idle for their time. To make room, it evicts the circuit of the sample with which the
 * least would be lost (`Circuit.lossAt`), and of several such the least recently used, as Redis does.
 *
 * **Invariants**
 *
 * - A key has at most one circuit that is not forgotten, so that an instance never sends two reports of one circuit at a time.
 *   An evicted circuit that has calls, requests or outcomes under way is in `#leaving` until it is quiet, and a key that returns
 *   meanwhile gets it back.
 * - `#circuits` holds at most `#capacity` circuits. Where the capacity was made smaller, those that may not be evicted yet are beyond
 *   it, and no new one is added. `#leaving` holds at most as many as the largest capacity so far.
 */
import type { LocalMillis } from "../core/Time.ts"
import type { Event } from "../Event.ts"
import { refuse } from "./Check.ts"
import { Circuit } from "./Circuit.ts"
import { OVERFLOW_KEY, overflowName, prefixOf } from "./CircuitName.ts"
import { messages } from "./Messages.ts"
import type { Overflow } from "./PolicyModel.ts"
import type { Shared } from "./Shared.ts"

/** The action of a keyed breaker for a new key that finds no free place. */
type Action = Extract<Event, { readonly _tag: "Capacity" }>["action"]

/** The options of a keyed breaker, as numbers. */
export interface KeyedOptions {
  readonly capacity: number
  readonly idleMillis: number
  readonly overflow: Overflow
  readonly neverOpenMoreThan: number
}

/** How many circuits the hand passes for a new key. */
const SAMPLE = 64

/** Throws a `RangeError` for a key that names no circuit. */
export const refuseKey = (breaker: string, key: string): void => {
  if (typeof key !== "string" || key === "" || !key.isWellFormed()) {
    refuse(`Keyed breaker ${JSON.stringify(breaker)}`, [
      { field: "key", value: key, range: "a well-formed text of at least one character" }
    ])
  }
}

export class Keys {
  readonly shared: Shared
  #capacity: number
  #mostLeaving: number
  #idleMillis: number
  #overflow: Overflow
  readonly #circuits = new Map<string, Circuit>()
  #hand = this.#circuits.values()
  /** Evicted circuits that are not quiet yet, in the order in which they were evicted. */
  readonly #leaving = new Map<string, Circuit>()
  #leavingHand = this.#leaving.values()
  #overflowing: Circuit | undefined = undefined
  /** The actions for new keys without a free place that were logged. */
  readonly #said = new Set<Action>()

  constructor(shared: Shared, { capacity, idleMillis, neverOpenMoreThan, overflow }: KeyedOptions) {
    this.shared = shared
    shared.openKeys.limit(neverOpenMoreThan, () => this.kept())
    this.#capacity = this.#mostLeaving = capacity
    this.#idleMillis = idleMillis
    this.#overflow = overflow
  }

  /**
   * Sets how many circuits are kept. Of more than that, those that are missed the least go at once; those that protect their
   * dependency, obey an operator or run calls stay until they may be evicted.
   */
  configure({ capacity, idleMillis, neverOpenMoreThan, overflow }: KeyedOptions): void {
    this.shared.openKeys.limit(neverOpenMoreThan, () => this.kept())
    if (capacity !== this.#capacity || overflow !== this.#overflow) this.#said.clear()
    this.#capacity = capacity
    this.#mostLeaving = Math.max(this.#mostLeaving, capacity)
    this.#idleMillis = idleMillis
    this.#overflow = overflow
    const excess = this.#circuits.size - capacity
    if (excess <= 0) return
    const now = this.shared.ticker.exact()
    const evictable = [...this.#circuits.values()].flatMap((circuit) => {
      const loss = circuit.inFlight > 0 ? Infinity : circuit.lossAt(now)
      return loss === Infinity ? [] : [{ circuit, loss, lastUse: circuit.lastUseAt() }]
    })
    evictable.sort((a, b) => a.loss - b.loss || a.lastUse - b.lastUse)
    for (const { circuit } of evictable.slice(0, excess)) this.#evict(circuit)
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

  /** The circuit of a key, for operators. Where the key's calls pass by, it is one outside of the capacity. */
  lookUp(key: string): Circuit {
    const circuit = this.get(key)
    if (circuit !== undefined) return circuit
    const unplaced = new Circuit(this.shared, key)
    this.#leave(unplaced)
    return unplaced
  }

  /** The circuit of this name, if there is one. */
  find(name: string): Circuit | undefined {
    if (name === overflowName(this.shared.name)) return this.#overflowing
    const prefix = prefixOf(this.shared.name)
    if (!name.startsWith(prefix)) return undefined
    const key = name.slice(prefix.length)
    return this.#circuits.get(key) ?? this.#leaving.get(key)
  }

  *all(): Iterable<Circuit> {
    yield* this.#circuits.values()
    yield* this.#leaving.values()
    if (this.#overflowing !== undefined) yield this.#overflowing
  }

  /** The circuits that `size` counts. */
  kept(): Iterable<Circuit> {
    return this.#circuits.values()
  }

  #make(key: string): Circuit | undefined {
    refuseKey(this.shared.name, key)
    const now = this.shared.ticker.exact()
    this.#forgetQuiet()
    // Taken out first, because an eviction that follows may give up the oldest that is leaving.
    const former = this.#leaving.get(key)
    this.#leaving.delete(key)
    const isFull = this.#circuits.size >= this.#capacity
    const least = this.#sweep(now, isFull && this.#overflow === "evictIdle")
    if (least !== undefined && this.#circuits.size >= this.#capacity) {
      this.#say("evicts")
      this.#evict(least)
    }
    if (this.#circuits.size >= this.#capacity) {
      if (former === undefined) return this.#withoutRoom()
      this.#leave(former)
      return former
    }
    const circuit = former ?? new Circuit(this.shared, key)
    this.#circuits.set(key, circuit)
    return circuit
  }

  #withoutRoom(): Circuit | undefined {
    if (this.#overflow === "passThrough") {
      this.#say("passes")
      return undefined
    }
    this.#say("shares")
    return this.#overflowing ??= new Circuit(this.shared, OVERFLOW_KEY)
  }

  /** Evicts what was idle for its time. Returns the circuit of the sample that is missed the least, if one is looked for. */
  #sweep(now: LocalMillis, isLooking: boolean): Circuit | undefined {
    let least: Circuit | undefined
    let leastLoss = Infinity
    let leastUse = Infinity
    for (let left = Math.min(SAMPLE, this.#circuits.size); left > 0; left--) {
      let next = this.#hand.next()
      if (next.done === true) next = (this.#hand = this.#circuits.values()).next()
      const circuit = next.value!
      const lastUse = circuit.lastUseAt()
      if (now - lastUse >= this.#idleMillis && circuit.isOver(now)) {
        this.#evict(circuit)
        continue
      }
      if (!isLooking || circuit.inFlight > 0 || (leastLoss === 0 && lastUse >= leastUse)) continue
      const loss = circuit.lossAt(now)
      if (loss > leastLoss || loss === Infinity || (loss === leastLoss && lastUse >= leastUse)) continue
      least = circuit
      leastLoss = loss
      leastUse = lastUse
    }
    return least
  }

  #evict(circuit: Circuit): void {
    this.#circuits.delete(circuit.key!)
    this.shared.meter.evicted(circuit)
    circuit.forgetErrors()
    if (circuit.isQuiet) circuit.forget()
    else this.#leave(circuit)
  }

  #leave(circuit: Circuit): void {
    circuit.fleet?.tellAll()
    this.#leaving.set(circuit.key!, circuit)
    if (this.#leaving.size > this.#mostLeaving) this.#forget(this.#leaving.values().next().value!)
  }

  #forget(circuit: Circuit): void {
    this.#leaving.delete(circuit.key!)
    circuit.forget()
  }

  #forgetQuiet(): void {
    for (let left = Math.min(SAMPLE, this.#leaving.size); left > 0; left--) {
      let next = this.#leavingHand.next()
      if (next.done === true) next = (this.#leavingHand = this.#leaving.values()).next()
      // The set shrinks meanwhile.
      if (next.done === true) return
      if (next.value.isQuiet) this.#forget(next.value)
    }
  }

  #say(action: Action): void {
    if (this.#said.has(action)) return
    this.#said.add(action)
    const { hub, log, name } = this.shared
    log(messages.capacityReached, { breaker: name, capacity: this.#capacity, action })
    hub.publish({ _tag: "Capacity", circuit: name, capacity: this.#capacity, action })
  }
}
