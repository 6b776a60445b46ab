/**
 * The port between a circuit and its fleet. The circuit knows `Fleet`, the fleet knows `Local`, and neither knows the other's
 * class. Both pass values and return results: nothing calls back into its caller.
 */
import type * as Effect from "effect/Effect"
import type { LifetimeCounts } from "../../core/Delta.ts"
import type { Permit, Settlement } from "../../core/Permit.ts"
import type { LeaseName, Why } from "../../core/Record.ts"
import type { FleetState, FleetView, State } from "../../core/State.ts"
import type { LocalMillis } from "../../core/Time.ts"
import type { Totals } from "../../core/TripRule.ts"
import type { FleetSnapshot } from "../../Event.ts"
import type { OperationTo, StorageError } from "../../Storage/Storage.ts"

/**
 * Who may let a probe through. `Own`: the circuit, as many as its policy says. `Alone`: the circuit, one at a time, because the
 * storage does not answer and the whole fleet may be probing. `Granted`: the fleet, by a lease that is here to be taken. `Ask`:
 * the fleet, by a lease that has to be requested. `Denied`: the fleet, which has no lease to give now.
 */
export type Leave = "Own" | "Alone" | "Granted" | "Ask" | "Denied"

/** All that a circuit has counted. The lifetime counts only grow; the streak and the hint are the epoch's. */
export interface Counted extends LifetimeCounts {
  /** Calls that throttling has shed. */
  readonly shed: number
  readonly streak: number
  readonly hintUntil: LocalMillis
  readonly lastSuccessAt: LocalMillis
  readonly lastFailureAt: LocalMillis
  readonly lastSuccessMillis: number | undefined
  readonly lastFailureMillis: number | undefined
}

/** The membership of one circuit of one instance, as the circuit sees it. */
export interface Fleet {
  readonly leave: (now: LocalMillis) => Leave
  /** Takes the lease that `leave` said was granted. */
  readonly takeLease: (now: LocalMillis) => LeaseName | undefined
  /** Asks for a lease, and waits for the answer no longer than a call may be kept. */
  readonly requestLease: Effect.Effect<void>
  /** A probe under a lease ended, however long ago the lease lapsed. */
  readonly probeEnded: (permit: Permit, settlement: Settlement, now: LocalMillis) => void
  /** The circuit came to a new epoch by itself: these are the counts of the one that ended. */
  readonly epochEnded: (ended: Counted, now: LocalMillis) => void
  /** The circuit tripped on its own evidence. `epochEnded` comes first. */
  readonly tripped: (reason: string, now: LocalMillis) => void
  /** A failure was counted: it is reported soon. */
  readonly failed: () => void
  /** A success ended a streak of `length` failures; `successes` were counted before it. */
  readonly streakEnded: (length: number, successes: number) => void
  /** An outcome was counted that is no evidence: a late one, or a probe's. */
  readonly notEvidence: (failed: boolean, slow: boolean) => void
  /** An operator's act, for the whole fleet. `existing`: it is refused where the storage has no record of the circuit. */
  readonly operate: (to: OperationTo, why: Why, existing: boolean) => Effect.Effect<void, StorageError>
  /**
   * A call came. `isIdle`: the circuit was not in the rounds. Returns what the call waits for before it is decided on. That
   * succeeds with `false` if the storage did not answer in time: then the call does not wait a second time, after its end.
   */
  readonly beforeCall: (isIdle: boolean) => Effect.Effect<boolean, StorageError> | undefined
  /** Returns what a call that was admitted under `strict` and has ended waits for before it returns. */
  readonly afterCall: () => Effect.Effect<void> | undefined
  /** Puts the circuit back into the rounds. */
  readonly schedule: () => void
  /** The circuit makes room for another, and is forgotten once nothing is left to report: the next round has all of it. */
  readonly tellAll: () => void
  /** Whether no request is in flight or awaited, and nothing is left to report. */
  readonly isQuiet: boolean
  /** The circuit is forgotten: from here on its membership sends nothing and adopts nothing. What it has not reported is lost. */
  readonly end: () => void
  /** Whether the circuit loses nothing by dropping its membership: nobody else can change it, and nothing is known of it. */
  readonly isDispensable: boolean
  readonly fleetSnapshot: (now: LocalMillis) => FleetSnapshot
  /** How long the last change took to be known here. */
  readonly lagMillis: number | undefined
  /** When the view of the fleet was requested, `-Infinity` where there is none. */
  readonly requestedAt: LocalMillis
  /** Outcomes that the storage has not acknowledged. */
  readonly waiting: number
  /** Outcomes that were given up. */
  readonly lost: number
  /** The fingerprint of the policy that last changed the circuit, where this breaker neither has it nor had it then. */
  readonly drift: string | undefined
  /** How close the fleet's circuit is to opening on pooled evidence: in [0, 1], and 0 where that does not open it. */
  readonly approach: number
  /** The fleet's requests, by which calls are shed; `undefined` where too little is known of them. */
  readonly requests: (now: LocalMillis) => Totals | undefined
}

/** The breaker's part in the fleet, from which each circuit gets its membership once there is something to know. */
export interface Entry {
  /** Whether the breaker's scope has closed. */
  readonly hasLeft: () => boolean
  /** `undefined` after the breaker's scope has closed. */
  readonly join: (circuit: Local) => Fleet | undefined
  /** Whether each call waits for a view that is fresh enough (`strict`, `maxAge`). */
  readonly readsBeforeCalls: boolean
  /** Whether each call waits until its outcome is reported (`strict`). */
  readonly waitsForReports: boolean
  /** Whether the storage counts as unreachable, so that instances decide alone. */
  readonly isAway: () => boolean
  /** How many times longer than `syncEvery` intervals are, because the storage is slow. */
  readonly slowdown: () => number
}

/** Bits of a circuit's gate that its fleet shuts and opens. */
export const GATE_IDLE = 8
export const GATE_LEASE = 16
/** Shut and opened by the circuit itself. */
export const GATE_SHEDS = 128

/**
 * `GATE_IDLE`: the circuit is not in the rounds, so that its next call puts it back. `GATE_LEASE`: a lease waits for a call.
 * `GATE_SHEDS`: a share of the calls is shed.
 */
export type GateBit = typeof GATE_IDLE | typeof GATE_LEASE | typeof GATE_SHEDS

/** One circuit of one instance, as its fleet sees it. */
export interface Local {
  readonly name: string
  readonly state: State["_tag"]
  readonly fleet: Fleet | undefined
  /** Whether a gate bit is shut. */
  readonly isShut: (bit: GateBit) => boolean
  readonly shut: (bit: GateBit) => void
  readonly open: (bit: GateBit) => void
  /** Its membership, made where there is none yet. */
  readonly join: () => Fleet | undefined
  readonly counted: () => Counted
  /** Why and until when the circuit is open; `undefined` where it is not. */
  readonly opening: () => { readonly reason: string | undefined; readonly until: LocalMillis } | undefined
  /** How long the next opening would last. */
  readonly nextOpenForMillis: (now: LocalMillis) => number
  /** Takes over a newer state of the fleet. Returns the counts of the epoch that ended: they are no evidence in the new one. */
  readonly adopt: (view: FleetView, now: LocalMillis) => Counted
  /** Takes over how far the state that was adopted has come, and until when its override holds. */
  readonly refresh: (state: FleetState, overrideUntil: LocalMillis) => void
  /** The fleet's evidence was read: tells its listeners if the circuit comes close to opening. */
  readonly evidenceRead: (now: LocalMillis) => void
  /** Whether the fleet is not to open the circuit, because too many keys are open. That it would have is logged. */
  readonly isHeldBack: (reason: string, now: LocalMillis) => boolean
  /** Judges a probe that had a lease by itself, because the storage does not answer. */
  readonly judgeAlone: (outcome: Settlement["outcome"], hintMillis: number, now: LocalMillis) => void
}

/** The circuits of one breaker. */
export interface Circuits {
  readonly find: (name: string) => Local | undefined
  readonly all: () => Iterable<Local>
}
