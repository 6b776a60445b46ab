/**
 * The circuit breakers of one storage in a combination: three failures in a row skip the storage for a second, then for
 * two, up to thirty, and one probe decides when it is used again.
 *
 * These are not the core's circuits, because a storage needs none of what makes those large: no windows, no fleet, no
 * override, no statistics.
 *
 * A storage has one fuse for looks and one for writes, because a storage on a full or read-only disk answers looks and
 * fails writes.
 *
 * Invariants
 *
 * - An answered look clears no failed write. An answered write clears failed looks, too, because a write looks at the
 *   circuit first.
 * - A permit belongs to the state that it was given in. Its outcome is late, and ignored, once that state has ended.
 * - `HalfOpen` has at most one probe. A probe without an outcome fails when it lapses.
 */
import type { LocalMillis } from "../core/Time.ts"

export const FAILURES = 3
const FIRST_OPEN_FOR_MILLIS = 1000
const LONGEST_OPEN_FOR_MILLIS = 30_000

/** `openings` counts openings in a row; they are forgotten at `calmAt`. */
interface Closed {
  readonly _tag: "Closed"
  failures: number
  readonly openings: number
  readonly calmAt: LocalMillis
}

interface Open {
  readonly _tag: "Open"
  readonly openings: number
  readonly openForMillis: number
  readonly until: LocalMillis
}

interface HalfOpen {
  readonly _tag: "HalfOpen"
  readonly openings: number
  readonly openForMillis: number
  probe: Permit | undefined
}

/** The admission of one request. It settles once. */
export interface Permit {
  readonly state: Closed | HalfOpen
  readonly lapsesAt: LocalMillis
}

export type Outcome = "Success" | "Failure" | "Ignored"

/** The kinds of request: one that only looks at circuits, and one that writes. */
export type Kind = "look" | "write"

/**
 * - `Down`: the storage is skipped from now on, for looks or for writes.
 * - `WritesDue`: it answers looks, and the next write is the probe that decides whether it is used for writes again.
 * - `Up`: it is used for everything again.
 */
export type FuseChange =
  | { readonly _tag: "Down"; readonly forMillis: number }
  | { readonly _tag: "WritesDue" }
  | { readonly _tag: "Up" }

export class StorageFuse {
  #state: Closed | Open | HalfOpen = { _tag: "Closed", failures: 0, openings: 0, calmAt: -Infinity }
  readonly #leaseMillis: number

  /** `leaseMillis` is how long a probe may run. */
  constructor(leaseMillis: number) {
    this.#leaseMillis = leaseMillis
  }

  get isDown(): boolean {
    return this.#state._tag !== "Closed"
  }

  /** Whether a request is refused now. */
  skips(now: LocalMillis): boolean {
    const state = this.#state
    switch (state._tag) {
      case "Closed":
        return false
      case "Open":
        return now < state.until
      case "HalfOpen":
        return state.probe !== undefined
    }
  }

  /** A permit for one request, or `undefined` while the storage is skipped. */
  admit(now: LocalMillis): Permit | undefined {
    const state = this.#state
    switch (state._tag) {
      case "Closed":
        return { state, lapsesAt: Infinity }
      case "Open": {
        if (now < state.until) return undefined
        const { openForMillis, openings } = state
        return this.#probe(this.#state = { _tag: "HalfOpen", openings, openForMillis, probe: undefined }, now)
      }
      case "HalfOpen":
        if (state.probe === undefined) return this.#probe(state, now)
        if (now >= state.probe.lapsesAt) this.#open(state.openings, now)
        return undefined
    }
  }

  /** Records the outcome of a permit, and returns what it changed. */
  settle({ lapsesAt, state }: Permit, outcome: Outcome, now: LocalMillis): FuseChange | undefined {
    if (state !== this.#state) return undefined
    if (state._tag === "Closed") {
      if (outcome === "Ignored") return undefined
      state.failures = outcome === "Success" ? 0 : state.failures + 1
      return state.failures < FAILURES ? undefined : this.#open(now < state.calmAt ? state.openings : 0, now)
    }
    if (outcome === "Failure" || now >= lapsesAt) {
      this.#open(state.openings, now)
      return undefined
    }
    if (outcome === "Success") return this.#close(state.openings, now + state.openForMillis)
    state.probe = undefined
    return undefined
  }

  /** Uses the storage again, because it has answered a request that had no permit of this fuse. */
  reset(): FuseChange | undefined {
    if (this.#state._tag !== "Closed") return this.#close(0, -Infinity)
    this.#state.failures = 0
    return undefined
  }

  #probe(state: HalfOpen, now: LocalMillis): Permit {
    return state.probe = { state, lapsesAt: now + this.#leaseMillis }
  }

  #open(openings: number, now: LocalMillis): FuseChange {
    const openForMillis = Math.min(LONGEST_OPEN_FOR_MILLIS, FIRST_OPEN_FOR_MILLIS * 2 ** openings)
    this.#state = { _tag: "Open", openings: openings + 1, openForMillis, until: now + openForMillis }
    return { _tag: "Down", forMillis: openForMillis }
  }

  #close(openings: number, calmAt: LocalMillis): FuseChange {
    this.#state = { _tag: "Closed", failures: 0, openings, calmAt }
    return { _tag: "Up" }
  }
}

/** The fuses of a storage, for looks and for writes. */
export class Fuses {
  readonly #look: StorageFuse
  readonly #write: StorageFuse

  /** `leaseMillis` is how long a probe may run. */
  constructor(leaseMillis: number) {
    this.#look = new StorageFuse(leaseMillis)
    this.#write = new StorageFuse(leaseMillis)
  }

  get isDown(): boolean {
    return this.#look.isDown || this.#write.isDown
  }

  get areWritesDown(): boolean {
    return this.#write.isDown
  }

  /** A permit for a request of this kind, or `undefined` while the storage is skipped for it. */
  admit(kind: Kind, now: LocalMillis): Permit | undefined {
    return this.#of(kind).admit(now)
  }

  /** Records the outcome of a request, with its permit if it had one, and returns what that changed. */
  settle(kind: Kind, permit: Permit | undefined, outcome: Outcome, now: LocalMillis): FuseChange | undefined {
    const wasDown = this.isDown
    const fuse = this.#of(kind)
    const change = permit !== undefined
      ? fuse.settle(permit, outcome, now)
      : outcome === "Success"
      ? fuse.reset()
      : undefined
    if (outcome === "Success" && kind === "write" && !this.#write.isDown) this.#look.reset()
    if (change?._tag === "Down") return wasDown ? undefined : change
    if (wasDown && !this.isDown) return { _tag: "Up" }
    const areWritesDue = outcome === "Success" && kind === "look" && this.#write.isDown && !this.#write.skips(now)
    return areWritesDue ? { _tag: "WritesDue" } : undefined
  }

  #of(kind: Kind): StorageFuse {
    return kind === "look" ? this.#look : this.#write
  }
}
