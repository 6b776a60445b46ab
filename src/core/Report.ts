/** The transition of `sync`: adds an instance's report. A report may create a record, but never a generation. */
import { addCounts } from "./Buckets.ts"
import { addLifetime, aged, type Delta, extendRun, isEmpty, type LifetimeDelta } from "./Delta.ts"
import {
  acknowledged,
  alerted,
  type CircuitRecord,
  created,
  isRepeat,
  isWritable,
  type RecordLifetime,
  unexpired,
  withLastCalls
} from "./Record.ts"
import type { StorageMillis } from "./Time.ts"

/**
 * The outcomes that an instance saw since its last report. With an empty delta a report only reads.
 *
 * `sequence` grows with every report. A report is sent until it is acknowledged: its counts stay the same, and only its
 * ages change (`Delta.aged`). Outcomes that come in meanwhile go into the next report.
 *
 * **Gotchas**
 *
 * A sequence is remembered for the idle time after it was counted. A report that is sent again after that counts twice,
 * so give up a report that is in doubt for half as long, by the sender's clock. That clock may stand still, while the
 * sender's machine sleeps, and a report may be held up on its way. So the storage refuses a report that arrives more
 * than half the idle time after its `asOf`.
 */
export interface Report {
  readonly instance: string
  readonly sequence: number
  /** The one generation in which all of the outcomes were admitted. */
  readonly generation: number
  readonly delta: Delta
  /** The spans of time that the instance's policy looks back over. They determine the widths of its buckets. */
  readonly withins: ReadonlyArray<number>
  /**
   * The storage's clock as of the ages, as far as the sender knows it: that of the last snapshot before the report was
   * first sent, and the time since by the sender's clock. Absent if the sender has not heard of the storage before.
   */
  readonly asOf?: StorageMillis | undefined
  /**
   * Set where its sender suspects that the fleet's evidence trips: for how long it calls for the counts of all. It takes
   * effect without outcomes, too, and also if it arrives twice.
   */
  readonly suspect?: number | undefined
}

/** The report and the answer before it may each have been under way for a second, the deadline of a request. */
export const TRANSIT_MILLIS = 2000

/** How much older the outcomes are than the report says, because its sender slept or the report was held up. */
const lateMillis = ({ asOf }: Pick<Report, "asOf">, now: StorageMillis): number =>
  asOf === undefined || now - asOf <= TRANSIT_MILLIS ? 0 : now - asOf

/** The outcomes with the ages that they have on arrival. */
export const arrived = (report: Pick<Report, "asOf" | "delta">, now: StorageMillis): Delta => {
  const late = lateMillis(report, now)
  return late === 0 ? report.delta : aged(report.delta, late)
}

/**
 * The result of a report:
 *
 * - `Counted`: the report is counted, now or by an earlier attempt. Never send it again.
 * - `Behind`: nothing was counted, because the storage has lost data that the sender knows. Put the record back
 *   (`PutBack`) and send the report again; if the put-back is refused, adopt the storage's generation and send it again
 *   under that.
 * - `Refused`: nothing was counted now, because a newer version of this library wrote the record (`format`), or because
 *   the report is too late to tell whether an earlier attempt was counted. Do not send it again.
 */
export type Reported = "Counted" | "Behind" | "Refused"

/**
 * Adds a report once per instance and sequence. Only outcomes of the record's generation enter the evidence, and only a
 * suspicion in it begins an alert.
 */
export const report = (
  stored: CircuitRecord | undefined,
  input: Report,
  now: StorageMillis,
  idleTimeToLive: number
): { readonly record: CircuitRecord | undefined; readonly reported: Reported } => {
  const counted = count(stored, input, now, idleTimeToLive)
  const record = unexpired(counted.record, idleTimeToLive, now)
  const { generation, suspect = 0 } = input
  const isCalled = suspect > 0 && record?.generation === generation && record.state._tag === "Closed" &&
    isWritable(record)
  return isCalled ? { ...counted, record: alerted(record, suspect, now) } : counted
}

const count = (
  stored: CircuitRecord | undefined,
  input: Report,
  now: StorageMillis,
  idleTimeToLive: number
): { readonly record: CircuitRecord | undefined; readonly reported: Reported } => {
  const { generation, instance, sequence, withins } = input
  const delta = arrived(input, now)
  const known = unexpired(stored, idleTimeToLive, now)
  const message = { kind: "report", instance, sequence } as const
  if (isEmpty(delta) || isRepeat(known, message, now, idleTimeToLive)) return { record: stored, reported: "Counted" }
  if (!isWritable(known) || lateMillis(input, now) > idleTimeToLive / 2) return { record: stored, reported: "Refused" }
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

const lifetimeWith = (lifetime: RecordLifetime, delta: LifetimeDelta, now: StorageMillis): RecordLifetime =>
  withLastCalls({ ...lifetime, ...addLifetime(lifetime, delta) }, delta, (age) => now - Math.max(0, age))
