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
import { type Asked, isUnreached } from "./Guarded.ts"

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
      const told: Delta = { ...noDelta, lifetime: report.delta.lifetime }
      this.#debts.set(report.circuit, { doubted, rest: together(rest, { told, at }) })
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
      let left = debt
      const paid = Effect.gen({ self: this }, function*() {
        for (const one of debt.doubted) {
          yield* tell(one, storage)
          left = { ...left, doubted: left.doubted.slice(1) }
        }
        if (left.rest === undefined) return
        // From now on it has a name, too: one of its own, so that no order matters.
        const named = this.#named(circuit, left.rest)
        left = { doubted: [named], rest: undefined }
        yield* tell(named, storage)
      })
      return Effect.onExit(paid, (exit) =>
        Effect.sync(() => {
          if (Exit.isFailure(exit)) this.#takeBack(circuit, left)
          this.#paying.delete(circuit)
          Deferred.doneUnsafe(ended, Exit.void)
        }))
    })
  }

  #named(circuit: string, { at, told: delta }: Told<Delta>): Told<CircuitReport> {
    const instance = `${this.#instance} ${++this.#payments}`
    return { at, told: { circuit, instance, sequence: 0, generation: 0, delta, withins: [] } }
  }

  #takeBack(circuit: string, { doubted, rest }: Debt): void {
    const since = this.#debts.get(circuit) ?? nothing
    this.#debts.set(circuit, { doubted: [...doubted, ...since.doubted], rest: together(rest, since.rest) })
  }
}

/** Both as one, as of the later. */
const together = (earlier: Told<Delta> | undefined, later: Told<Delta> | undefined): Told<Delta> | undefined =>
  earlier === undefined || later === undefined
    ? earlier ?? later
    : { told: merge(aged(earlier.told, later.at - earlier.at), later.told), at: later.at }

/** A circuit that the storage makes no sense of it will never count anything for. */
const tell = ({ at, told }: Told<CircuitReport>, storage: Pick<Asked, "sync">): Effect.Effect<void, StorageError> =>
  Effect.flatMap(now, (now) => storage.sync([{ ...told, generation: 0, delta: aged(told.delta, now - at) }])).pipe(
    Effect.flatMap(([answer]) => Effect.fromResult(answer!.result)),
    Effect.catchIf((error) => !isUnreached(error), () => Effect.void),
    Effect.asVoid
  )
