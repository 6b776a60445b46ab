/** One circuit in a storage: the transitions, with defaults for most arguments. */
import { type Change, change, type OperationTo } from "../../src/core/Change.ts"
import { type Delta, noLifetimeCounts, streakOf } from "../../src/core/Delta.ts"
import { ask, settle } from "../../src/core/Lease.ts"
import type { CircuitRecord, LeaseName, Opening, Snapshot, SnapshotOverride } from "../../src/core/Record.ts"
import { snapshot } from "../../src/core/Record.ts"
import { report } from "../../src/core/Report.ts"

export const IDLE = 3_600_000
export const MINUTE = 60_000
export const WITHINS = [30_000]
export const why = { reason: "5 consecutive failures" }
export const opening: Opening = { openFor: MINUTE, maxOpenFor: 60 * MINUTE }

export const failures = (n: number, hint = 0): Delta => ({
  buckets: [{ age: 0, success: 0, failure: n, slow: 0 }],
  streak: streakOf(Array.from({ length: n }, () => true)),
  lifetime: { ...noLifetimeCounts, failure: n, lastFailureAge: 0 },
  hint
})

/** One circuit in a storage. Its clock starts at 0, so the clock does not order the generations. */
export class Circuit {
  record: CircuitRecord | undefined
  now = 0
  readonly #sequences = new Map<string, number>()

  get generation(): number {
    return this.snapshot().generation
  }
  get state(): Snapshot["state"]["_tag"] {
    return this.snapshot().state._tag
  }
  /** A second storage with the same data: a replica that diverges from here on. */
  clone(): Circuit {
    const copy = new Circuit()
    copy.record = this.record
    copy.now = this.now
    return copy
  }
  wait(by: number): this {
    this.now += by
    return this
  }
  wipe(): this {
    this.record = undefined
    return this
  }
  snapshot(withins = WITHINS): Snapshot {
    return snapshot(this.record, withins, this.now, IDLE)
  }
  report(
    instance: string,
    delta: Delta,
    options: { sequence?: number; generation?: number; withins?: Array<number>; asOf?: number } = {}
  ) {
    const sequence = options.sequence ?? (this.#sequences.get(instance) ?? 0) + 1
    this.#sequences.set(instance, sequence)
    const generation = options.generation ?? this.generation
    const input = { instance, sequence, generation, delta, withins: options.withins ?? WITHINS, asOf: options.asOf }
    const result = report(this.record, input, this.now, IDLE)
    this.record = result.record
    return result.reported
  }
  change(input: Change): boolean {
    const result = change(this.record, input, this.now, IDLE)
    this.record = result.record
    return result.committed
  }
  trip(on: Snapshot = this.snapshot(), how: Opening | undefined = opening, maxAge = 2000): boolean {
    return this.change({ _tag: "Trip", generation: on.generation, asOf: on.asOf, maxAge, opening: how, why })
  }
  putBack(known: Snapshot, age = 0, leases: Array<LeaseName & { remaining: number }> = []): boolean {
    return this.change({ _tag: "PutBack", snapshot: known, age, leases })
  }
  operate(to: OperationTo, id = Math.random().toString(), known = this.generation): boolean {
    return this.change({ _tag: "Operation", id, known, why: { reason: "by hand", actor: "ann" }, to })
  }
  ask(
    instance: string,
    sequence = 1,
    options: { probes?: number; duration?: number; generation?: number } = {}
  ): boolean {
    const { duration = 10_000, generation = this.generation, probes = 1 } = options
    const result = ask(this.record, { lease: { instance, sequence }, generation, duration, probes }, this.now, IDLE)
    this.record = result.record
    return result.granted
  }
  settle(
    instance: string,
    tag: "Success" | "Failure" | "Ignored",
    options: {
      sequence?: number
      generation?: number
      successes?: number
      failures?: number
      hint?: number
      opening?: Opening
    } = {}
  ): boolean {
    const { generation = this.generation, hint = 0, sequence = 1, successes = 1 } = options
    const outcome = tag === "Success"
      ? { _tag: tag, successes, why: { reason: "recovered" } }
      : tag === "Failure"
      ? {
        _tag: tag,
        opening: options.opening ?? opening,
        hint,
        failures: options.failures,
        why: { reason: "a probe failed" }
      }
      : { _tag: tag, hint }
    const result = settle(this.record, { lease: { instance, sequence }, generation, outcome }, this.now, IDLE)
    this.record = result.record
    return result.settled
  }
}

export const open = (): Circuit => {
  const circuit = new Circuit()
  circuit.trip()
  return circuit
}

export const halfOpen = (): Circuit => {
  const circuit = open().wait(MINUTE)
  circuit.ask("opener", 1)
  circuit.settle("opener", "Ignored")
  return circuit
}

export const forced: SnapshotOverride = { kind: "ForcedOpen", reason: "maintenance", actor: "ann" }
