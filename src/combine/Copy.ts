/**
 * A storage that is kept in step with the one that decides: it is told of reports as they are made, and what has changed is
 * carried to it. What it could not be told it is told later. Nobody waits for it.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { isEmpty } from "../core/Delta.ts"
import type { CircuitReport, Snapshot, StorageError } from "../Storage/Storage.ts"
import { Backlog, MOST_WAITING } from "./Backlog.ts"
import { type Carried, carry, makeUp } from "./Carry.ts"
import { type Guarded, isUnreached } from "./Guarded.ts"
import { Owed } from "./Owed.ts"

/** At most so many batches of reports are under way at once. */
const MOST_BATCHES = 8

export class Copy {
  readonly backlog: Backlog<object>
  readonly #original: Guarded
  readonly #hop: Guarded
  readonly #budget: number
  /** What it is still to count. */
  readonly owed: Owed
  /** The newest generations that it was brought. */
  readonly #decided = new Map<string, number>()
  #batches = 0
  /** Circuits of which reports are under way. */
  readonly #telling = new Set<string>()

  /** `instance` names what it is told later: no other has it. */
  constructor(original: Guarded, hop: Guarded, budget: number, instance: string) {
    this.#original = original
    this.#hop = hop
    this.#budget = budget
    this.owed = new Owed(instance)
    this.backlog = new Backlog((batch) => this.#workOff(batch.map(([circuit]) => circuit)))
  }

  /** Brings it what the original has decided, unless it has had it already. */
  decided(circuit: string, { generation }: Snapshot): void {
    if (generation <= (this.#decided.get(circuit) ?? 0)) return
    this.#decided.delete(circuit)
    this.#decided.set(circuit, generation)
    if (this.#decided.size > MOST_WAITING) this.#decided.delete(this.#decided.keys().next().value!)
    this.backlog.add(circuit, {})
  }

  /** A report that it has not counted. `asked`: it may have. */
  missed(report: CircuitReport, asked: boolean): void {
    if (isEmpty(report.delta)) return
    this.owed.add(report, asked, this.#hop.now())
    this.backlog.add(report.circuit, {})
  }

  /** Tells it of those reports that it can be told of now, each circuit's in their order, and says which these are. */
  tell(
    reports: ReadonlyArray<CircuitReport>,
    fork: (effect: Effect.Effect<unknown>) => void
  ): ReadonlySet<CircuitReport> {
    const isBusy = this.#batches >= MOST_BATCHES || this.#hop.isSick
    const told = isBusy ?
      [] :
      reports.filter(({ circuit, delta }) => !isEmpty(delta) && !this.#telling.has(circuit) && !this.owed.has(circuit))
    if (told.length === 0) return new Set()
    this.#batches++
    for (const { circuit } of told) this.#telling.add(circuit)
    const counted = this.#hop.within(this.#budget).sync(told).pipe(
      Effect.map((synced) =>
        synced.map(({ result }) => Result.isSuccess(result) && result.success.reported === "Counted")
      ),
      Effect.catch(() => Effect.succeed([]))
    )
    fork(Effect.map(counted, (isCounted) => {
      this.#batches--
      for (const [i, report] of told.entries()) {
        this.#telling.delete(report.circuit)
        if (isCounted[i] !== true) this.missed(report, true)
      }
    }))
    return new Set(told)
  }

  /** Brings it up to date with these. */
  carry(circuits: ReadonlyArray<string>): Effect.Effect<ReadonlyArray<Carried>, StorageError> {
    const [original, hop] = [this.#original.within(this.#budget), this.#hop.within(this.#budget)]
    return Effect.flatMap(
      carry(original, hop, circuits, "from"),
      (carried) =>
        Effect.forEach(carried, (one) =>
          Result.isFailure(one.done) ? Effect.succeed(one) : Effect.map(
            Effect.result(this.owed.pay(one.circuit, hop)),
            (paid): Carried => Result.isSuccess(paid) ? one : { circuit: one.circuit, done: Result.fail(paid.failure) }
          ), { concurrency: MOST_BATCHES })
    )
  }

  /** Brings it up to date with these, and makes up for calls that it was never told of by anyone. */
  repair(circuits: ReadonlyArray<string>): Effect.Effect<ReadonlyArray<Carried>, StorageError> {
    const [original, hop] = [this.#original.within(this.#budget), this.#hop.within(this.#budget)]
    return Effect.flatMap(
      this.carry(circuits),
      (carried) =>
        Effect.map(makeUp(original, hop, circuits), (made) =>
          carried.map((one, i) => {
            if (Result.isFailure(one.done)) return one
            const { done } = made[i]!
            const isDone = Result.isSuccess(done) && done.success !== "short"
            return isDone && one.done.success !== "alike" ? one : made[i]!
          }))
    )
  }

  #workOff(circuits: ReadonlyArray<string>): Effect.Effect<ReadonlySet<string>> {
    const isDone = ({ done }: Carried): boolean => Result.isSuccess(done) || !isUnreached(done.failure)
    return this.carry(circuits).pipe(
      Effect.map((carried) => new Set(carried.flatMap((one) => isDone(one) ? [one.circuit] : []))),
      Effect.catch(() => Effect.succeed(new Set<string>()))
    )
  }
}
