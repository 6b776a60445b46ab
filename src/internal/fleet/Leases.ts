/**
 * The fleet's leave to probe, as one instance has it: it is the instance that asks and not the call, once at a time. A lease
 * that comes too late for the call that waited serves the next, and what nobody used is given back.
 */
import * as Effect from "effect/Effect"
import { GATE_LEASE, Permit, type Settlement } from "../../core/Machine.ts"
import type { LeaseName } from "../../core/Record.ts"
import type { PutBack, Settle, Snapshot } from "../../Storage/Storage.ts"
import type { Replica } from "./Replica.ts"

/** A storage keeps a lease for longer than its holder uses it, so that a probe which took too long is still heard of. */
export const GRACE = 1000

interface Lease {
  readonly name: LeaseName
  readonly generation: number
  /** By the holder's clock, from the request. */
  readonly until: number
}

/** A lease that was asked for. Without an answer it is asked for again by its name, for it may have been granted. */
interface Asking {
  readonly name: LeaseName
  readonly at: number
  underWay: boolean
  readonly waiters: Array<() => void>
}

/** How a probe ended, until the storage has heard of it. */
interface Settling {
  readonly settle: Settle
  readonly until: number
  readonly settlement: Settlement
  underWay: boolean
  /** Whether the own machine has judged it, for nobody answered. */
  alone: boolean
}

const unused: Settlement = { outcome: "Ignored", slow: false, timeout: false, hint: 0 }

export class Leases {
  readonly #replica: Replica
  #asking: Asking | undefined = undefined
  #deniedUntil = -Infinity
  #grant: (Lease & { readonly at: number }) | undefined = undefined
  readonly #held = new Map<number, Lease>()
  readonly #settling = new Set<Settling>()

  constructor(replica: Replica) {
    this.#replica = replica
  }

  /** Whether the storage is still to hear of one. */
  get isUnsaid(): boolean {
    return this.#settling.size > 0 || this.#grant !== undefined
  }

  get isAsking(): boolean {
    return this.#asking !== undefined
  }

  // -----------------------------------------------------------------------------
  // getting one
  // -----------------------------------------------------------------------------

  at(now: number): "Granted" | "Ask" | "Denied" {
    if (this.#grantAt(now) !== undefined) return "Granted"
    return this.#asking?.underWay === true || this.#settling.size > 0 || now < this.#deniedUntil ? "Denied" : "Ask"
  }

  /** No probe starts on a lease that has lapsed. */
  #grantAt(now: number): Lease | undefined {
    return this.#grant !== undefined && now < this.#grant.until ? this.#grant : undefined
  }

  #putGrant(grant: Lease | undefined): void {
    const { circuit, member: { engine } } = this.#replica
    this.#grant = grant === undefined ? undefined : { ...grant, at: engine.now() }
    if (grant === undefined) circuit.gate &= ~GATE_LEASE
    else circuit.gate |= GATE_LEASE
  }

  take(now: number): Permit | undefined {
    const grant = this.#grantAt(now)
    if (grant === undefined) return undefined
    this.#putGrant(undefined)
    this.#held.set(grant.name.sequence, grant)
    return new Permit(this.#replica.circuit.epoch, now, { probe: true, until: grant.until, lease: grant.name })
  }

  /** Asks for one, and is there to be waited for. */
  ask(): Effect.Effect<void> {
    const asking = this.#ask()
    return asking.underWay ? this.#replica.member.engine.patiently((done) => asking.waiters.push(done)) : Effect.void
  }

  /** Asks for one that whoever comes next may use. */
  askAhead(): void {
    this.#ask()
  }

  #ask(isAgain = false): Asking {
    const { circuit: { plan }, member: { engine, fingerprint, instance, lane }, snapshot: { generation } } =
      this.#replica
    const now = engine.now()
    let asking = this.#asking
    if (asking === undefined || now >= asking.at + plan.lease) {
      asking = { name: { instance, sequence: ++engine.sequence }, at: now, underWay: false, waiters: [] }
    }
    const { at, name, waiters } = this.#asking = asking
    asking.underWay = true
    const duration = plan.lease + GRACE
    const ask = { _tag: "Ask", lease: name, generation, duration, probes: plan.probes, fingerprint } as const
    this.#replica.probe(ask, () => {
      asking.underWay = false
    }, ({ granted, snapshot }) => {
      this.#asking = undefined
      engine.log("Trace", granted ? "A lease was granted" : "A lease was denied", {
        circuit: this.#replica.circuit.name
      })
      this.#replica.accept(snapshot, generation, now)
      if (granted && snapshot.generation === this.#replica.snapshot.generation) {
        this.#putGrant({ name, generation: snapshot.generation, until: at + plan.lease })
        lane.add(this.#replica)
      } else if (snapshot.generation < generation && !isAgain) {
        // The storage had lost what it would have granted: once that is put back it can.
        this.#replica.whenUnchanging(() => this.#askAgain(waiters.splice(0)))
      } else this.#denied(snapshot)
    }, () => {
      for (const done of waiters.splice(0)) done()
    })
    return asking
  }

  #askAgain(waiters: ReadonlyArray<() => void>): void {
    const { member: { engine } } = this.#replica
    const asking = this.#replica.leaseAt(engine.now()) === "Ask" ? this.#ask(true) : undefined
    if (asking?.underWay === true) asking.waiters.push(...waiters)
    else for (const done of waiters) done()
  }

  #denied({ generation, state }: Snapshot): void {
    const { circuit: { plan }, member: { engine, lane: { interval } }, snapshot } = this.#replica
    const isKnown = generation === snapshot.generation
    const isFull = state._tag === "HalfOpen" && state.live >= plan.probes
    const wait = state._tag === "Open" ? state.remaining : isFull ? state.nextLapse : undefined
    this.#deniedUntil = engine.now() + (isKnown && wait !== undefined && wait > 0 ? wait : interval)
  }

  // -----------------------------------------------------------------------------
  // giving it back
  // -----------------------------------------------------------------------------

  settle({ lease, until }: Permit, now: number, settlement: Settlement): void {
    const held = this.#held.get(lease!.sequence)
    if (held === undefined) return
    this.#held.delete(lease!.sequence)
    const settle = { lease: held.name, generation: held.generation, outcome: this.#outcome(settlement, now) }
    this.#settle({ settle, until: until + GRACE, settlement, underWay: false, alone: false })
  }

  #outcome({ hint, outcome }: Settlement, now: number): Settle["outcome"] {
    const { circuit, member: { instance } } = this.#replica
    const { maxOpenFor, successes } = circuit.plan
    switch (outcome) {
      case "Success":
        return { _tag: "Success", successes, why: { reason: `${successes} of ${successes} probes succeeded` } }
      case "Failure":
        return {
          _tag: "Failure",
          opening: { openFor: circuit.nextOpenFor(now), maxOpenFor },
          hint: Math.min(hint, maxOpenFor),
          why: { reason: "a probe failed", evidence: { by: "instance", instance } }
        }
      case "Ignored":
        return { _tag: "Ignored" }
    }
  }

  #settle(settling: Settling): void {
    const { member: { engine, fingerprint, lane } } = this.#replica
    const askedAt = engine.now()
    this.#settling.add(settling)
    settling.underWay = true
    if (this.#replica.away) this.judgeAlone()
    const settle = { _tag: "Settle", ...settling.settle, fingerprint } as const
    this.#replica.probe(settle, () => {
      settling.underWay = false
    }, ({ granted, snapshot }) => {
      this.#settling.delete(settling)
      if (granted) this.#replica.persisted(snapshot)
      this.#replica.accept(snapshot, settle.generation, askedAt)
      this.#deniedUntil = -Infinity
    }, () => {
      if (this.#settling.has(settling)) lane.add(this.#replica)
    })
  }

  /** What nobody can be told the own machine acts on. */
  judgeAlone(): void {
    const { circuit, member: { engine }, snapshot: { generation } } = this.#replica
    const now = engine.now()
    for (const settling of this.#settling) {
      if (settling.alone || settling.settle.generation !== generation) continue
      settling.alone = true
      circuit.settleAlone(settling.settlement.outcome, settling.settlement.hint, now)
    }
  }

  // -----------------------------------------------------------------------------
  // as time goes by
  // -----------------------------------------------------------------------------

  /** Says again what was not heard, while it matters, and gives back what nobody used. */
  tend(now: number): void {
    const { circuit: { plan }, member: { lane: { interval } } } = this.#replica
    if (this.#asking?.underWay === false && now >= this.#asking.at + plan.lease) this.#asking = undefined
    for (const settling of this.#settling) {
      if (now >= settling.until) this.#settling.delete(settling)
      else if (!settling.underWay) this.#settle(settling)
    }
    for (const [sequence, { until }] of this.#held) if (now >= until + GRACE) this.#held.delete(sequence)
    if (this.#grant === undefined || now - this.#grant.at < interval) return
    const { generation, name, until } = this.#grant
    this.#putGrant(undefined)
    const settle = { lease: name, generation, outcome: { _tag: "Ignored" } } as const
    this.#settle({ settle, until: until + GRACE, settlement: unused, underWay: false, alone: true })
  }

  /** A new generation has no lease of an older one. */
  forget(generation: number): void {
    this.freed()
    this.#putGrant(undefined)
    this.#held.clear()
    for (const settling of this.#settling) if (settling.settle.generation < generation) this.#settling.delete(settling)
  }

  /** There is a place for a probe. */
  freed(): void {
    this.#deniedUntil = -Infinity
  }

  /** The leases that are in use, for a storage that has lost them. */
  held(now: number): PutBack["leases"] {
    return [...this.#held.values()].map(({ name, until }) => ({ ...name, remaining: Math.max(0, until - now) }))
  }
}
