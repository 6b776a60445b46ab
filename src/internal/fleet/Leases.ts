/**
 * The leases of one circuit of one instance. They are requested per instance, one request in flight at a time; calls only wait
 * for the answer. A lease that comes too late for the call that waited serves the next, and one that nobody used is given back.
 *
 * **Invariants**
 *
 * - A lease holds one of the fleet's places until its time is over. Its probe may run on, and is settled however late it ends.
 * - Every time here is by the holder's clock and counted from the request, so a place ends here before it ends in the storage.
 * - `GATE_LEASE` is shut exactly while `#unused` holds a lease.
 * - A lease is requested again by the same name until it is answered, because it may have been granted. It is settled again by
 *   the same settlement until that is acknowledged, for the length of a lease and two intervals.
 * - A newer generation ends every lease of an older one.
 */
import * as Effect from "effect/Effect"
import { keptLeases } from "../../core/Lease.ts"
import type { Settlement } from "../../core/Permit.ts"
import type { LeaseName } from "../../core/Record.ts"
import { closedBecause, reopenedBecause } from "../../core/State.ts"
import type { LocalMillis } from "../../core/Time.ts"
import type { Probe, Probed, PutBack, Settle, Snapshot } from "../../Storage/Storage.ts"
import { messages } from "../Messages.ts"
import { GATE_LEASE, type Leave, type Local } from "./Fleet.ts"
import type { Membership } from "./Membership.ts"

/** The membership whose leases these are. */
interface Holder {
  readonly local: Local
  readonly membership: Membership
  readonly snapshot: Snapshot
  readonly isAway: boolean
  readonly leave: (now: LocalMillis) => Leave
  /** Sends a probe's message. `answered` gets `undefined` where the request failed. */
  readonly probe: (probe: Probe, answered: (probed: Probed | undefined) => void) => void
  readonly accept: (snapshot: Snapshot, knewGeneration: number, requestedAt: LocalMillis) => void
  readonly whenNothingChanges: (f: () => void) => void
  /** Takes part in the next round. */
  readonly addToRound: () => void
  readonly logPersisted: (snapshot: Snapshot) => void
}

interface Lease {
  readonly name: LeaseName
  readonly generation: number
  /** Until when it holds a place. */
  readonly until: LocalMillis
}

/** A request for a lease. */
interface Asking {
  readonly name: LeaseName
  readonly at: LocalMillis
  /** How long the lease is to be. A repeated request must not name another time, because the lease may have been granted by this one. */
  readonly leaseMillis: number
  isInFlight: boolean
  readonly waiters: Array<() => void>
}

/** The end of a probe, until the storage has acknowledged it. */
interface Settling {
  readonly settle: Settle
  /** Until when its lease holds a place, unless it is acknowledged before. */
  readonly placeUntil: LocalMillis
  /** Until when it is sent again. */
  readonly until: LocalMillis
  readonly settlement: Settlement
  isInFlight: boolean
  /** Whether the circuit has judged it by itself, because the storage does not answer. */
  isJudgedAlone: boolean
}

const notUsed: Settlement = { outcome: "Ignored", slow: false, timeout: false, hintMillis: 0 }

export class Leases {
  readonly #holder: Holder
  #asking: Asking | undefined = undefined
  #deniedUntil: LocalMillis = -Infinity
  /** The lease that waits for a call, and since when. */
  #unused: (Lease & { readonly at: LocalMillis }) | undefined = undefined
  /** The leases of running probes, by the sequence of their names. */
  readonly #running = new Map<number, Lease>()
  readonly #settling = new Set<Settling>()

  constructor(holder: Holder) {
    this.#holder = holder
  }

  /** Whether one has still to be settled or given back. */
  get isPending(): boolean {
    return this.#settling.size > 0 || this.#unused !== undefined
  }

  get isAsking(): boolean {
    return this.#asking !== undefined
  }

  #now(): LocalMillis {
    return this.#holder.membership.connection.now()
  }

  // -----------------------------------------------------------------------------
  // getting one
  // -----------------------------------------------------------------------------

  leave(now: LocalMillis): "Granted" | "Ask" | "Denied" {
    if (this.#usable(now) !== undefined) return "Granted"
    const isDenied = this.#asking?.isInFlight === true || now < this.#deniedUntil ||
      this.#placesSettling(now) >= this.#holder.membership.plan.probes
    return isDenied ? "Denied" : "Ask"
  }

  /** How many places the storage still counts as taken because it has not acknowledged the end of their probes. */
  #placesSettling(now: LocalMillis): number {
    let places = 0
    for (const { placeUntil } of this.#settling) if (now < placeUntil) places++
    return places
  }

  /** No probe starts on a lease that has lapsed. */
  #usable(now: LocalMillis): Lease | undefined {
    return this.#unused !== undefined && now < this.#unused.until ? this.#unused : undefined
  }

  #keep(lease: Lease | undefined): void {
    const { local } = this.#holder
    this.#unused = lease === undefined ? undefined : { ...lease, at: this.#now() }
    if (lease === undefined) local.open(GATE_LEASE)
    else local.shut(GATE_LEASE)
  }

  take(now: LocalMillis): LeaseName | undefined {
    const lease = this.#usable(now)
    if (lease === undefined) return undefined
    this.#keep(undefined)
    this.#running.set(lease.name.sequence, lease)
    return lease.name
  }

  /** Requests one, and waits for the answer no longer than a call may be kept. */
  readonly request: Effect.Effect<void> = Effect.suspend(() => {
    const asking = this.#ask()
    return asking.isInFlight
      ? this.#holder.membership.connection.patiently((resume) => asking.waiters.push(resume))
      : Effect.void
  })

  /** Requests one for the next call, whichever that is. */
  requestAhead(): void {
    this.#ask()
  }

  #ask(isAgain = false): Asking {
    const { membership: { connection, drift, instance, plan }, snapshot: { generation } } = this.#holder
    const now = this.#now()
    let asking = this.#asking
    if (asking === undefined || now >= asking.at + asking.leaseMillis) {
      const name = { instance, sequence: connection.nextSequence() }
      asking = { name, at: now, leaseMillis: plan.leaseMillis, isInFlight: false, waiters: [] }
    }
    const { leaseMillis: duration, name, waiters } = this.#asking = asking
    asking.isInFlight = true
    const { fingerprint } = drift
    this.#holder.probe(
      { _tag: "Ask", lease: name, generation, duration, probes: plan.probes, fingerprint },
      (probed) => {
        asking.isInFlight = false
        if (probed === undefined) this.#holder.addToRound()
        else this.#answered(asking, probed, generation, now, isAgain)
        for (const resume of waiters.splice(0)) resume()
      }
    )
    return asking
  }

  #answered(
    { at, leaseMillis, name, waiters }: Asking,
    { granted, snapshot }: Probed,
    knewGeneration: number,
    requestedAt: LocalMillis,
    isAgain: boolean
  ): void {
    const { local, membership: { log } } = this.#holder
    this.#asking = undefined
    log(granted ? messages.leaseGranted : messages.leaseDenied, { circuit: local.name })
    this.#holder.accept(snapshot, knewGeneration, requestedAt)
    if (granted && snapshot.generation === this.#holder.snapshot.generation) {
      this.#keep({ name, generation: snapshot.generation, until: at + leaseMillis })
      this.#holder.addToRound()
    } else if (snapshot.generation < knewGeneration && !isAgain) {
      // The storage has lost the circuit. Once it is put back, the storage can grant a lease.
      const waiting = waiters.splice(0)
      this.#holder.whenNothingChanges(() => this.#askAgain(waiting))
    } else this.#denied(snapshot)
  }

  #askAgain(waiting: ReadonlyArray<() => void>): void {
    const asking = this.#holder.leave(this.#now()) === "Ask" ? this.#ask(true) : undefined
    for (const resume of waiting) {
      if (asking?.isInFlight === true) asking.waiters.push(resume)
      else resume()
    }
  }

  /** After a denial none is requested before a probe can be free. */
  #denied({ generation, state }: Snapshot): void {
    const { membership: { plan, rounds }, snapshot } = this.#holder
    const isKnown = generation === snapshot.generation
    const isFull = state._tag === "HalfOpen" && state.live >= plan.probes
    const waitMillis = state._tag === "Open"
      ? state.remaining
      : state._tag === "HalfOpen"
      ? Math.max(isFull ? state.nextLapse ?? 0 : 0, state.probesIn ?? 0)
      : undefined
    const isGiven = isKnown && waitMillis !== undefined && waitMillis > 0
    this.#deniedUntil = this.#now() + (isGiven ? waitMillis : rounds.intervalMillis)
  }

  // -----------------------------------------------------------------------------
  // giving it back
  // -----------------------------------------------------------------------------

  /** A probe ended: tells the storage. */
  ended(sequence: number, settlement: Settlement, now: LocalMillis): void {
    const lease = this.#running.get(sequence)
    if (lease === undefined) return
    this.#running.delete(sequence)
    this.#give(lease, settlement, this.#outcome(settlement, now), false, now)
  }

  #outcome({ hintMillis, outcome }: Settlement, now: LocalMillis): Settle["outcome"] {
    const { local, membership: { instance, plan } } = this.#holder
    const { failures, maxOpenForMillis, successes } = plan
    switch (outcome) {
      case "Success":
        return { _tag: "Success", successes, why: { reason: closedBecause(plan, successes) } }
      case "Failure":
        return {
          _tag: "Failure",
          opening: { openFor: local.nextOpenForMillis(now), maxOpenFor: maxOpenForMillis },
          hint: Math.min(hintMillis, maxOpenForMillis),
          why: { reason: reopenedBecause(plan, failures), evidence: { by: "instance", instance } },
          ...(failures > 1 ? { failures } : {})
        }
      case "Ignored":
        return { _tag: "Ignored", ...(hintMillis > 0 ? { hint: Math.min(hintMillis, maxOpenForMillis) } : {}) }
    }
  }

  #give(
    { generation, name, until }: Lease,
    settlement: Settlement,
    outcome: Settle["outcome"],
    isJudgedAlone: boolean,
    now: LocalMillis
  ): void {
    const { plan: { leaseMillis }, rounds: { intervalMillis } } = this.#holder.membership
    this.#settle({
      settle: { lease: name, generation, outcome },
      placeUntil: until,
      until: now + leaseMillis + 2 * intervalMillis,
      settlement,
      isInFlight: false,
      isJudgedAlone
    })
  }

  #settle(settling: Settling): void {
    const { isAway, membership: { drift: { fingerprint } } } = this.#holder
    const requestedAt = this.#now()
    this.#settling.add(settling)
    settling.isInFlight = true
    if (isAway) this.judgeAlone()
    const settle = { _tag: "Settle", ...settling.settle, fingerprint } as const
    this.#holder.probe(settle, (probed) => {
      settling.isInFlight = false
      if (probed === undefined) return this.#holder.addToRound()
      this.#settling.delete(settling)
      if (probed.granted) this.#holder.logPersisted(probed.snapshot)
      this.#holder.accept(probed.snapshot, settle.generation, requestedAt)
      this.free()
    })
  }

  /** The storage does not answer, so the circuit judges its ended probes by itself. */
  judgeAlone(): void {
    const { local, snapshot: { generation } } = this.#holder
    const now = this.#now()
    for (const settling of this.#settling) {
      if (settling.isJudgedAlone || settling.settle.generation !== generation) continue
      settling.isJudgedAlone = true
      local.judgeAlone(settling.settlement.outcome, settling.settlement.hintMillis, now)
    }
  }

  // -----------------------------------------------------------------------------
  // as time goes by
  // -----------------------------------------------------------------------------

  /** In each round: settles again without an answer, and gives back a lease that nobody used. */
  expire(now: LocalMillis): void {
    const { membership: { rounds } } = this.#holder
    const asking = this.#asking
    if (asking?.isInFlight === false && now >= asking.at + asking.leaseMillis) this.#asking = undefined
    for (const settling of this.#settling) {
      if (now >= settling.until) this.#settling.delete(settling)
      else if (!settling.isInFlight) this.#settle(settling)
    }
    const unused = this.#unused
    if (unused === undefined || now - unused.at < rounds.intervalMillis) return
    this.#keep(undefined)
    this.#give(unused, notUsed, { _tag: "Ignored" }, true, now)
  }

  /** A newer generation has no lease of an older one. */
  forgetBefore(generation: number): void {
    this.free()
    this.#keep(undefined)
    this.#running.clear()
    for (const settling of this.#settling) {
      if (settling.settle.generation < generation) this.#settling.delete(settling)
    }
  }

  /** The fleet may have a free probe: a denial holds no longer. */
  free(): void {
    this.#deniedUntil = -Infinity
  }

  /** The leases of running probes, for a storage that has lost them. */
  running(now: LocalMillis): PutBack["leases"] {
    return keptLeases([...this.#running.values()], now)
      .map(({ name, until }) => ({ ...name, remaining: Math.max(0, until - now) }))
  }
}
