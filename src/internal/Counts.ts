/**
 * The lifetime counts of circuits, as metrics export them. The counts of circuits that are gone are kept as one sum,
 * because a counter that shrinks reads as one that was reset: Prometheus would count all that is left of it once more.
 */
import type { Refusal } from "../core/Permit.ts"
import type { State } from "../core/State.ts"

/** Why calls were refused, as metrics name it. A ramp refuses as a half-open circuit does. */
export const REASONS = ["open", "half_open", "forced", "bulkhead", "throttled"] as const

const reasonIndex: Record<Refusal | "Full", number> = {
  Open: 0,
  HalfOpen: 1,
  Ramp: 1,
  ForcedOpen: 2,
  Full: 3,
  Throttled: 4
}

const states = { Closed: "closed", Open: "open", HalfOpen: "half_open" } as const

/** The state of a circuit, its override aside, as metrics name it. */
export const stateName = (state: State["_tag"]): (typeof states)[State["_tag"]] => states[state]

/**
 * Every change of state that there is. From closed to closed: it would have opened, under metrics-only. `openedBy` is absent
 * where the change opened nothing.
 */
export const TRANSITIONS = [
  { from: "Closed", to: "Open", openedBy: "instance" },
  { from: "Closed", to: "Open", openedBy: "fleet" },
  { from: "Open", to: "HalfOpen", openedBy: undefined },
  { from: "HalfOpen", to: "Closed", openedBy: undefined },
  { from: "HalfOpen", to: "Open", openedBy: "instance" },
  { from: "HalfOpen", to: "Open", openedBy: "fleet" },
  { from: "Open", to: "Closed", openedBy: undefined },
  { from: "Closed", to: "HalfOpen", openedBy: undefined },
  { from: "Closed", to: "Closed", openedBy: undefined }
] as const

const transitionIndex = (from: State["_tag"], { _tag, openedBy }: State): number =>
  TRANSITIONS.findIndex((one) =>
    one.from === from && one.to === _tag && (one.openedBy === undefined || one.openedBy === openedBy)
  )

/** Counts of a circuit that has refused a call or changed its state. */
export class Tally {
  readonly rejections = REASONS.map(() => 0)
  readonly unenforced = REASONS.map(() => 0)
  readonly transitions = TRANSITIONS.map(() => 0)
  /** The state before the last change of state. */
  previous: State["_tag"] | undefined = undefined

  /** Calls that throttling has shed. */
  get shed(): number {
    return this.rejections[reasonIndex.Throttled]!
  }

  refused(refusal: Refusal | "Full"): void {
    this.rejections[reasonIndex[refusal]]!++
  }

  /** A call ran that would have been refused. */
  ran(refusal: Refusal | "Full"): void {
    this.unenforced[reasonIndex[refusal]]!++
  }

  moved(from: State["_tag"], to: State): void {
    this.previous = from
    this.transitions[transitionIndex(from, to)]!++
  }
}

/** The fields of a circuit that are counts. */
interface Source {
  readonly success: number
  readonly failure: number
  readonly timeout: number
  readonly ignored: number
  readonly slow: number
  readonly tally: Tally | undefined
  readonly fleet: { readonly lost: number } | undefined
}

export class Counts {
  success = 0
  /** Timeouts among them. */
  failure = 0
  timeout = 0
  ignored = 0
  slow = 0
  /** Outcomes that the storage may not have counted. */
  lost = 0
  readonly rejections = REASONS.map(() => 0)
  readonly unenforced = REASONS.map(() => 0)
  readonly transitions = TRANSITIONS.map(() => 0)

  addCircuit(circuit: Source): void {
    this.success += circuit.success
    this.failure += circuit.failure
    this.timeout += circuit.timeout
    this.ignored += circuit.ignored
    this.slow += circuit.slow
    this.lost += circuit.fleet?.lost ?? 0
    const { tally } = circuit
    if (tally !== undefined) this.#addLists(tally, 1)
  }

  /** Adds other counts, or with `sign: -1` takes them away. */
  add(other: Counts, sign: 1 | -1 = 1): void {
    this.success += sign * other.success
    this.failure += sign * other.failure
    this.timeout += sign * other.timeout
    this.ignored += sign * other.ignored
    this.slow += sign * other.slow
    this.lost += sign * other.lost
    this.#addLists(other, sign)
  }

  #addLists(other: Pick<Counts, "rejections" | "unenforced" | "transitions">, sign: 1 | -1): void {
    other.rejections.forEach((count, i) => this.rejections[i]! += sign * count)
    other.unenforced.forEach((count, i) => this.unenforced[i]! += sign * count)
    other.transitions.forEach((count, i) => this.transitions[i]! += sign * count)
  }
}
