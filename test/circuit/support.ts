/**
 * A circuit with no Effect around it: its clock is a variable, its listener keeps the transitions, and its fleet keeps
 * the circuit's messages.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { Permit, Settlement } from "../../src/core/Permit.ts"
import type { Plan } from "../../src/core/Plan.ts"
import type { LeaseName } from "../../src/core/Record.ts"
import type { State } from "../../src/core/State.ts"
import type { LocalMillis } from "../../src/core/Time.ts"
import type { Event, FleetSnapshot } from "../../src/Event.ts"
import { Circuit } from "../../src/internal/Circuit.ts"
import {
  type Counted,
  type Entry,
  type Fleet,
  GATE_LEASE,
  type Leave,
  type Local
} from "../../src/internal/fleet/Fleet.ts"
import { Hub } from "../../src/internal/Hub.ts"
import { KeptErrors } from "../../src/internal/KeptErrors.ts"
import { Meter } from "../../src/internal/Meter.ts"
import { OpenKeys } from "../../src/internal/OpenKeys.ts"
import type { Shared } from "../../src/internal/Shared.ts"
import { Ticker } from "../../src/internal/Ticker.ts"
import { TransitionLog } from "../../src/internal/TransitionLog.ts"

class Transitions extends Hub {
  readonly seen: Array<readonly [State["_tag"], State["_tag"]]> = []
  override get listening(): boolean {
    return true
  }
  override publish(event: Event): void {
    if (event._tag === "Transition") this.seen.push([event.from, event.to])
  }
}

/** A message of a circuit to its fleet: the method and its arguments. */
export type Message =
  | readonly ["epochEnded", Counted, LocalMillis]
  | readonly ["tripped", string, LocalMillis]
  | readonly ["failed"]
  | readonly ["streakEnded", number, number]
  | readonly ["notEvidence", boolean, boolean]
  | readonly ["probeEnded", LeaseName | undefined, Settlement, LocalMillis]

const nothingKnown: FleetSnapshot = {
  backend: "none",
  reachable: true,
  generation: 0,
  state: "Closed",
  consecutiveFailures: 0,
  windows: [],
  statistics: { success: 0, failure: 0, ignored: 0, timeout: 0, slow: 0, rejected: 0, timesOpened: 0 },
  waiting: 0,
  lost: 0
}

/** The fleet's side of the port: keeps the circuit's messages, and answers as the test has set it. */
export class FakeFleet implements Entry, Fleet {
  received: Array<Message> = []
  joins = 0
  /** The answer of `leave`. */
  answer: Leave = "Own"
  isDispensable = false
  isQuiet = true
  readonly readsBeforeCalls = false
  readonly waitsForReports = false
  readonly lagMillis = undefined
  readonly requestedAt = -Infinity
  readonly waiting = 0
  readonly lost = 0
  readonly requestLease = Effect.void
  readonly approach = 0
  readonly requests = () => undefined
  readonly drift = undefined
  /** The lease that waits for a call. */
  lease: LeaseName | undefined
  #circuit: Local | undefined

  hasLeft(): boolean {
    return false
  }
  isAway(): boolean {
    return false
  }
  slowdown(): number {
    return 1
  }
  join(circuit: Local): Fleet {
    this.#circuit = circuit
    this.joins++
    return this
  }
  leave(): Leave {
    return this.answer
  }
  /** Shuts the gate while a lease waits for a call, as `Leases` does. `undefined` is a lease that has lapsed. */
  grant(lease: LeaseName | undefined): void {
    this.lease = lease
    this.#circuit!.shut(GATE_LEASE)
  }
  takeLease(): LeaseName | undefined {
    const lease = this.lease
    this.takeBack()
    return lease
  }
  takeBack(): void {
    this.lease = undefined
    this.#circuit!.open(GATE_LEASE)
  }
  probeEnded({ lease }: Permit, settlement: Settlement, now: LocalMillis): void {
    this.received.push(["probeEnded", lease, settlement, now])
  }
  epochEnded(ended: Counted, now: LocalMillis): void {
    this.received.push(["epochEnded", ended, now])
  }
  tripped(reason: string, now: LocalMillis): void {
    this.received.push(["tripped", reason, now])
  }
  failed(): void {
    this.received.push(["failed"])
  }
  streakEnded(length: number, successes: number): void {
    this.received.push(["streakEnded", length, successes])
  }
  notEvidence(failed: boolean, slow: boolean): void {
    this.received.push(["notEvidence", failed, slow])
  }
  operate(): Effect.Effect<void> {
    return Effect.die("an operator's act does not pass through a circuit")
  }
  beforeCall(): undefined {
    return undefined
  }
  afterCall(): undefined {
    return undefined
  }
  schedule(): void {}
  ends = 0
  tellAll(): void {}

  end(): void {
    this.ends++
  }
  fleetSnapshot(): FleetSnapshot {
    return nothingKnown
  }
}

export interface Watched {
  readonly circuit: Circuit
  readonly transitions: ReadonlyArray<readonly [State["_tag"], State["_tag"]]>
}

export const circuitOf = (plan: Plan, now: () => number, fleet?: FakeFleet): Watched => {
  const hub = new Transitions()
  const clock = {
    currentTimeMillisUnsafe: now,
    monotonicTimeNanosUnsafe: () => BigInt(Math.round(now() * 1e6))
  } as Shared["clock"]
  const shared: Shared = {
    ...plan,
    name: "watched",
    timeoutMillis: undefined,
    probeTimeoutMillis: undefined,
    maxConcurrent: undefined,
    enforcement: "enforce",
    approachAt: 0.8,
    classify: undefined,
    context: Context.empty(),
    needsPermits: plan.slowerThanMillis !== undefined,
    clock,
    random: () => 0.5,
    openKeys: new OpenKeys(),
    ticker: new Ticker(clock, 0, () => {}),
    hub,
    meter: new Meter(),
    keptErrors: new KeptErrors(),
    deadlines: () => {
      throw new Error("no call of this circuit has a timeout")
    },
    fleet,
    log: () => {},
    tracing: "off",
    transitionLog: new TransitionLog("watched", "only", () => {}),
    debug: undefined,
    trace: undefined,
    report: () => {}
  }
  return { circuit: new Circuit(shared, undefined), transitions: hub.seen }
}
