/**
 * A storage that is kept in step with the one that decides: it is told of reports as they are made, and what it could not be
 * told, or what has changed, is carried to it. Nobody waits for it.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { isEmpty } from "../core/Delta.ts"
import type { CircuitReport, Snapshot, StorageError } from "../Storage/Storage.ts"
import { Backlog, MOST_WAITING } from "./Backlog.ts"
import { type Carried, carry } from "./Carry.ts"
import { type Guarded, isUnreached } from "./Guarded.ts"

/** At most so many batches of reports are under way at once. */
const MOST_BATCHES = 8

export class Copy {
  readonly backlog: Backlog<object>
  readonly #original: Guarded
  readonly #hop: Guarded
  readonly #budget: number
  readonly #counts: boolean
  #batches = 0
  /** The newest generations that it was brought. */
  readonly #decided = new Map<string, number>()
  /** Circuits of which reports are under way to it, and how many: what it has not counted cannot be known meanwhile. */
  readonly #told = new Map<string, number>()
  /** Circuits that are being carried to it, whose reports must not reach it otherwise: they would count twice. */
  readonly #carrying = new Set<string>()

  /** `counts`: whether it is to count calls, too. */
  constructor(original: Guarded, hop: Guarded, budget: number, counts: boolean) {
    this.#original = original
    this.#hop = hop
    this.#budget = budget
    this.#counts = counts
    this.backlog = new Backlog((batch) => this.#workOff(batch.map(([circuit]) => circuit)))
  }

  /** Brings it what the original has decided, unless it has had it already. */
  decided(circuit: string, { generation }: Snapshot): void {
    if (generation <= (this.#decided.get(circuit) ?? 0)) return
    this.#decided.delete(circuit)
    this.#decided.set(circuit, generation)
    if (this.#decided.size > MOST_WAITING) this.#decided.delete(this.#decided.keys().next().value!)
    this.missed([circuit])
  }

  /** Of these it has missed something. */
  missed(circuits: Iterable<string>): void {
    for (const circuit of circuits) this.backlog.add(circuit, {})
  }

  /** Tells it of reports, but of those that it must not or cannot be told of: once the other has counted them it has missed them. */
  tell(
    reports: ReadonlyArray<CircuitReport>,
    fork: (effect: Effect.Effect<unknown>) => void
  ): ReadonlyArray<string> {
    const isBusy = this.#batches >= MOST_BATCHES || this.#hop.isSick
    const isLeftOut = ({ circuit }: CircuitReport): boolean =>
      isBusy || this.backlog.has(circuit) || this.#carrying.has(circuit)
    const counted = reports.filter(({ delta }) => !isEmpty(delta))
    const told = counted.filter((report) => !isLeftOut(report))
    if (told.length > 0) fork(this.#send(told))
    return counted.flatMap((report) => told.includes(report) ? [] : [report.circuit])
  }

  #send(reports: ReadonlyArray<CircuitReport>): Effect.Effect<void> {
    this.#batches++
    for (const { circuit } of reports) this.#told.set(circuit, (this.#told.get(circuit) ?? 0) + 1)
    const ended = Effect.sync(() => {
      this.#batches--
      for (const { circuit } of reports) {
        const others = this.#told.get(circuit)! - 1
        if (others > 0) this.#told.set(circuit, others)
        else this.#told.delete(circuit)
      }
    })
    return this.#hop.within(this.#budget).sync(reports).pipe(
      Effect.map((synced) =>
        synced.flatMap(({ circuit, result }) =>
          Result.isSuccess(result) && result.success.reported === "Counted" ? [] : [circuit]
        )
      ),
      Effect.catch(() => Effect.succeed(reports.map(({ circuit }) => circuit))),
      Effect.map((circuits) => this.missed(circuits)),
      Effect.ensuring(ended)
    )
  }

  /** Brings it up to date with these; what it is just being told of comes later. */
  carry(circuits: ReadonlyArray<string>): Effect.Effect<ReadonlyArray<Carried>, StorageError> {
    return Effect.suspend(() => {
      const quiet = circuits.filter((circuit) => !this.#told.has(circuit))
      this.missed(circuits.filter((circuit) => this.#told.has(circuit)))
      for (const circuit of quiet) this.#carrying.add(circuit)
      return Effect.ensuring(
        carry(this.#original.within(this.#budget), this.#hop.within(this.#budget), quiet, {
          counts: this.#counts,
          decides: "from"
        }),
        Effect.sync(() => {
          for (const circuit of quiet) this.#carrying.delete(circuit)
        })
      )
    })
  }

  #workOff(circuits: ReadonlyArray<string>): Effect.Effect<ReadonlySet<string>> {
    const isDone = ({ done }: Carried): boolean =>
      Result.isSuccess(done) ? done.success !== "short" : !isUnreached(done.failure)
    return this.carry(circuits).pipe(
      Effect.map((carried) => new Set(carried.flatMap((one) => isDone(one) ? [one.circuit] : []))),
      Effect.catch(() => Effect.succeed(new Set<string>()))
    )
  }
}
