/** The operations of a migration: fill a storage, compare both, and switch the phase. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import type { Snapshot, StorageError } from "../../Storage/Storage.ts"
import { circuitsOf } from "../AllCircuits.ts"
import type { Follower } from "../Follower.ts"
import { countOf, readBoth, type Reconciled } from "../Reconcile.ts"
import { type Comparison, type Difference, MigrationError, type Phase, PHASES, type Progress } from "./Models.ts"
import type { PhaseRecord } from "./PhaseRecord.ts"
import { rolesIn, type Sides } from "./Sides.ts"

const noProgress: Progress = { circuits: 0, carried: 0, newer: 0, short: 0, failed: [] }

const progressAfter = (before: Progress, batch: ReadonlyArray<Reconciled>): Progress => ({
  circuits: before.circuits + batch.length,
  carried: before.carried + countOf(batch, "forward"),
  newer: before.newer + countOf(batch, "back"),
  short: before.short + countOf(batch, "short"),
  failed: [...before.failed, ...batch.flatMap(({ circuit, result }) => Result.isFailure(result) ? [circuit] : [])]
})

const allOf = ({ from, to }: Sides) => circuitsOf(from.storage, to.storage)

/** Brings all circuits of a follower up to date, with the progress after each batch. */
export const fill = (follower: Follower, sides: Sides): Stream.Stream<Progress, StorageError> =>
  allOf(sides).pipe(
    Stream.mapEffect((circuits) => follower.repair(circuits)),
    Stream.mapAccum(() => noProgress, (before, batch) => {
      const progress = progressAfter(before, batch)
      return [progress, [progress]]
    })
  )

/** Fails if a circuit could not be carried. */
const fillAll = (follower: Follower, sides: Sides, from: Phase, to: Phase) =>
  Effect.flatMap(Stream.runLast(fill(follower, sides)), (last) => {
    const { failed: circuits } = Option.getOrElse(last, () => noProgress)
    return circuits.length === 0
      ? Effect.void
      : Effect.fail(new MigrationError({ reason: "Incomplete", from, to, circuits }))
  })

/** Switches all instances to a neighbouring phase, once the storage that is to decide has all circuits. */
export const switchTo = (
  next: Phase,
  record: PhaseRecord,
  sides: Sides
): Effect.Effect<void, MigrationError | StorageError> =>
  Effect.gen(function*() {
    yield* record.readBoth
    const { current } = record
    const step = PHASES.indexOf(next) - PHASES.indexOf(current)
    if (Math.abs(step) > 1) {
      return yield* Effect.fail(new MigrationError({ reason: "NotNext", from: current, to: next, circuits: [] }))
    }
    const { follower = sides.backward, leader } = rolesIn(current, sides)
    const newDecides = leader === sides.to || rolesIn(next, sides).leader === sides.to
    if (step !== 0 && newDecides) yield* fillAll(follower, sides, current, next)
    yield* record.publish(next, leader)
  })

export const compare = (sides: Sides): Effect.Effect<Comparison, StorageError> => {
  const { deadlineMillis, from, to } = sides
  return allOf(sides).pipe(
    Stream.mapEffect((circuits) => readBoth(from.within(deadlineMillis), to.within(deadlineMillis), circuits)),
    Stream.flattenIterable,
    Stream.runFold((): Comparison => ({ circuits: 0, differences: [], failed: [] }), (all, { circuit, snapshots }) => {
      const circuits = all.circuits + 1
      if (Result.isFailure(snapshots)) return { ...all, circuits, failed: [...all.failed, circuit] }
      const [from, to] = snapshots.success
      const what = differencesOf(from, to)
      const found = what.length === 0 ? [] : [{ circuit, what, from, to }]
      return { ...all, circuits, differences: [...all.differences, ...found] }
    })
  )
}

const COMPARED_COUNTS = ["success", "failure", "ignored", "rejected"] as const

const differencesOf = (from: Snapshot, to: Snapshot): Difference["what"] => [
  ...(from.generation === to.generation ? [] : ["generation" as const]),
  ...(from.state._tag === to.state._tag ? [] : ["state" as const]),
  ...(from.override?.kind === to.override?.kind ? [] : ["override" as const]),
  ...(COMPARED_COUNTS.every((key) => from.lifetime[key] === to.lifetime[key]) ? [] : ["counts" as const])
]
