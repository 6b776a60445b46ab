/** The transition of `sync`: an instance adds what it saw. A report creates a record, never a generation. */
import { addCounts } from "./Buckets.ts"
import { addLifetime, type Delta, extendRun, isEmpty, type LifetimeDelta } from "./Delta.ts"
import {
  acknowledged,
  type CircuitRecord,
  created,
  isRepeat,
  isWritable,
  type RecordLifetime,
  unexpired,
  withLastCalls
} from "./Record.ts"

/**
 * What an instance saw since its last report. With an empty delta it is a pure read.
 *
 * Its sequence grows by report and its counts are frozen with it: it is sent until it is acknowledged, and only its ages
 * change (`Delta.aged`). What comes in meanwhile goes into the next.
 *
 * **Gotchas**
 *
 * A sequence is remembered for the idle time after it was counted. A report that is sent again after that would count twice,
 * so one that is in doubt for that long must be given up.
 */
export interface Report {
  readonly instance: string
  readonly sequence: number
  /** In which the outcomes were admitted: of one generation, all of them. */
  readonly generation: number
  readonly delta: Delta
  /** The spans of time that the instance's policy looks back over: they say how its buckets are cut. */
  readonly withins: ReadonlyArray<number>
}

/**
 * What became of a report:
 *
 * - `Counted`: it is in, now or since it was first sent. Never send it again.
 * - `Behind`: nothing of it is in, for the storage has lost data that the sender knows of. Put the record back (`PutBack`)
 *   and send it again; if that is refused, adopt the storage's generation and send it again under that.
 * - `Refused`: nothing of it is in, for a newer version of this library owns the record. Sending it again is no use.
 */
export type Reported = "Counted" | "Behind" | "Refused"

/** Adds a report: once per instance and sequence, and to the evidence only within the generation it was gathered in. */
export const report = (
  stored: CircuitRecord | undefined,
  { delta, generation, instance, sequence, withins }: Report,
  now: number,
  idleTimeToLive: number
): { readonly record: CircuitRecord | undefined; readonly reported: Reported } => {
  const known = unexpired(stored, idleTimeToLive, now)
  const message = { kind: "report", instance, sequence } as const
  if (isEmpty(delta) || isRepeat(known, message, now, idleTimeToLive)) return { record: stored, reported: "Counted" }
  if (!isWritable(known)) return { record: stored, reported: "Refused" }
  const record = known ?? created(now)
  if (record.generation < generation) return { record: stored, reported: "Behind" }
  const counted = acknowledged(record, message, now, idleTimeToLive)
  const lifetime = lifetimeWith(record.lifetime, delta.lifetime, now)
  if (generation < record.generation) return { record: { ...counted, lifetime }, reported: "Counted" }
  return {
    record: {
      ...counted,
      lifetime,
      window: addCounts(record.window, delta.buckets, withins, now),
      streak: extendRun(record.streak, delta.streak),
      hintUntil: delta.hint > 0 ? Math.max(record.hintUntil, now + delta.hint) : record.hintUntil
    },
    reported: "Counted"
  }
}

const lifetimeWith = (lifetime: RecordLifetime, delta: LifetimeDelta, now: number): RecordLifetime =>
  withLastCalls({ ...lifetime, ...addLifetime(lifetime, delta) }, delta, (age) => now - Math.max(0, age))
