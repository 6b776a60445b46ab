/**
 * Calls that a storage is still to count, because it did not answer or was not asked: each report by its own name where it may
 * have been counted, the others as one.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { aged, type Delta, isEmpty, merge, noDelta } from "../core/Delta.ts"
import type { CircuitReport, StorageError } from "../Storage/Storage.ts"
import { now } from "./Carry.ts"
import type { Asked } from "./Guarded.ts"

/** So many reports of a circuit are kept by their names; what comes then counts as not asked for. */
const MOST_DOUBTED = 16

interface Told<A> {
  readonly told: A
  /** When its ages were right. */
  readonly at: number
}

interface Debt {
  /** It was asked to count these, and did not answer: by their names it knows whether it has. */
  readonly doubted: ReadonlyArray<Told<CircuitReport>>
  /** It was not asked to count these. */
  readonly rest: Told<Delta> | undefined
}

const nothing: Debt = { doubted: [], rest: undefined }

export class Owed {
  readonly #debts = new Map<string, Debt>()
  /** Circuits that it is just being told of. */
  readonly #paying = new Map<string, Deferred.Deferred<void>>()
  readonly #instance: string
  #payments = 0

  /** `instance` names the reports of what it was not asked for: no other has it. */
  constructor(instance: string) {
    this.#instance = instance
  }

  get circuits(): ReadonlyArray<string> {
    return [...this.#debts.keys()]
  }

  /** Whether newer reports have to wait: an older one that comes after them would not be counted. */
  has(circuit: string): boolean {
    return this.#debts.has(circuit) || this.#paying.has(circuit)
  }

  /** A report that it has not said that it counted. `asked`: it may have. */
  add(report: CircuitReport, asked: boolean, at: number): void {
    if (isEmpty(report.delta)) return
    const { doubted, rest } = this.#debts.get(report.circuit) ?? nothing
    if (asked && doubted.length < MOST_DOUBTED) {
      this.#debts.set(report.circuit, { doubted: [...doubted, { told: report, at }], rest })
    } else {
      const lifetime: Delta = { ...noDelta, lifetime: report.delta.lifetime }
      const told = rest === undefined ? lifetime : merge(aged(rest.told, at - rest.at), lifetime)
      this.#debts.set(report.circuit, { doubted, rest: { told, at } })
    }
  }

  /** Has it count what is owed for a circuit: for the lifetime alone, for as evidence it comes too late. */
  pay(circuit: string, storage: Pick<Asked, "sync">): Effect.Effect<void, StorageError> {
    return Effect.suspend(() => {
      const underWay = this.#paying.get(circuit)
      if (underWay !== undefined) return Effect.andThen(Deferred.await(underWay), this.pay(circuit, storage))
      const debt = this.#debts.get(circuit)
      if (debt === undefined) return Effect.void
      this.#debts.delete(circuit)
      const ended = Deferred.makeUnsafe<void>()
      this.#paying.set(circuit, ended)
      const all = this.#named(circuit, debt)
      const counted = Effect.forEach(
        all,
        ({ at, told }) =>
          Effect.flatMap(now, (now) => storage.sync([{ ...told, generation: 0, delta: aged(told.delta, now - at) }]))
            .pipe(
              Effect.flatMap(([answer]) => Effect.fromResult(answer!.result))
            ),
        { discard: true }
      )
      return Effect.onExit(counted, (exit) =>
        Effect.sync(() => {
          if (Exit.isFailure(exit)) {
            const since = this.#debts.get(circuit) ?? nothing
            this.#debts.set(circuit, { doubted: [...all, ...since.doubted], rest: since.rest })
          }
          this.#paying.delete(circuit)
          Deferred.doneUnsafe(ended, Exit.void)
        }))
    })
  }

  /** What is owed, all with names: that of the rest is one of its own, so that no order matters. */
  #named(circuit: string, { doubted, rest }: Debt): ReadonlyArray<Told<CircuitReport>> {
    if (rest === undefined) return doubted
    const instance = `${this.#instance} ${++this.#payments}`
    const { at, told: delta } = rest
    return [...doubted, { at, told: { circuit, instance, sequence: 0, generation: 0, delta, withins: [] } }]
  }
}
