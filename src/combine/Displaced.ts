/**
 * Circuits that another storage than the first of a chain had to answer for: where they are now, and what the first has not
 * counted of them.
 */
import * as Effect from "effect/Effect"
import { aged, type Delta, isEmpty, merge, noDelta } from "../core/Delta.ts"
import type { CircuitReport, StorageError } from "../Storage/Storage.ts"
import { now } from "./Carry.ts"
import type { Asked } from "./Guarded.ts"

/** So many reports of a circuit are kept that the first storage may have counted; of further ones it has not. */
const MOST_DOUBTED = 16

interface Told<A> {
  readonly told: A
  /** When its ages were right. */
  readonly at: number
}

/** What the first storage is still to count. */
interface Owed {
  /** It was asked to count these, and did not answer: by their names it knows whether it has. */
  readonly doubted: ReadonlyArray<Told<CircuitReport>>
  /** It was not asked to count these. */
  readonly rest: Told<Delta> | undefined
}

const nothing: Owed = { doubted: [], rest: undefined }

export class Displaced {
  readonly #places = new Map<string, number>()
  readonly #owed = new Map<string, Owed>()
  readonly #instance: string
  #sequence = 0

  /** `instance` names the reports of what is owed: no other has it. */
  constructor(instance: string) {
    this.#instance = instance
  }

  /** Those whose place is behind this one. */
  behind(place: number): ReadonlyArray<string> {
    return [...this.#places].flatMap(([circuit, at]) => at > place ? [circuit] : [])
  }

  /** Which of these are behind this place, by where they are. */
  among(circuits: ReadonlyArray<string>, place: number): ReadonlyMap<number, ReadonlyArray<string>> {
    const found = new Map<number, Array<string>>()
    for (const circuit of circuits) {
      const at = this.#places.get(circuit)
      if (at === undefined || at <= place) continue
      const others = found.get(at)
      if (others === undefined) found.set(at, [circuit])
      else others.push(circuit)
    }
    return found
  }

  get size(): number {
    return this.#places.size
  }

  set(circuit: string, place: number): void {
    if (place === 0) this.#places.delete(circuit)
    else this.#places.set(circuit, place)
  }

  /** A report that another storage has counted. `asked`: the first may have, too. */
  owe(report: CircuitReport, asked: boolean, at: number): void {
    if (isEmpty(report.delta)) return
    const { doubted, rest } = this.#owed.get(report.circuit) ?? nothing
    if (asked && doubted.length < MOST_DOUBTED) {
      this.#owed.set(report.circuit, { doubted: [...doubted, { told: report, at }], rest })
    } else {
      const lifetime: Delta = { ...noDelta, lifetime: report.delta.lifetime }
      const told = rest === undefined ? lifetime : merge(aged(rest.told, at - rest.at), lifetime)
      this.#owed.set(report.circuit, { doubted, rest: { told, at } })
    }
  }

  /** Has the first storage count what is owed for a circuit. */
  pay(circuit: string, first: Asked): Effect.Effect<void, StorageError> {
    return Effect.suspend(() => {
      const owed = this.#owed.get(circuit)
      if (owed === undefined) return Effect.void
      this.#owed.delete(circuit)
      const { doubted, rest } = owed
      // It is frozen with its name from now on.
      const last: ReadonlyArray<Told<CircuitReport>> = rest === undefined ? [] : [{
        at: rest.at,
        told: {
          circuit,
          instance: this.#instance,
          sequence: ++this.#sequence,
          generation: 0,
          delta: rest.told,
          withins: []
        }
      }]
      const all = [...doubted, ...last]
      return Effect.forEach(
        all,
        ({ at, told }) => Effect.flatMap(now, (now) => first.sync([{ ...told, delta: aged(told.delta, now - at) }])),
        { discard: true }
      )
        .pipe(Effect.onError(() =>
          Effect.sync(() => {
            const since = this.#owed.get(circuit) ?? nothing
            this.#owed.set(circuit, { doubted: [...all, ...since.doubted], rest: since.rest })
          })
        ))
    })
  }
}
