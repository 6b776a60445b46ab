/** The rows of the tables, encoded from and decoded into the types of the core. */
import * as Schema from "effect/Schema"
import type { Bucket } from "../core/Buckets.ts"
import { type Counts, type Delta, noCounts, shedCalls } from "../core/Delta.ts"
import { type CircuitRecord, expiresAt, overrideAt, type Seen } from "../core/Record.ts"
import { overrideWord, stateWord } from "../core/Words.ts"
import { shown } from "../internal/Check.ts"
import { checkerOf, readerOf } from "../internal/StoredJson.ts"
import type { HistoryEntry } from "../Storage/Storage.ts"
import type { Dialect } from "./Dialect.ts"
import { keyOf } from "./NameColumns.ts"
import type { Stripe } from "./Stripes.ts"

const Count = Schema.Natural

const StoredStripe = Schema.Struct({
  id: Schema.optional(Schema.String),
  asOf: Schema.Finite,
  since: Count,
  success: Count,
  delta: Schema.Struct({
    streak: Schema.Struct({ leading: Count, sawSuccess: Schema.Boolean, trailing: Count }),
    lifetime: Schema.Record(Schema.String, Schema.Finite),
    hint: Schema.Finite
  }),
  window: Schema.optional(Schema.Unknown),
  base: Schema.optional(Schema.String)
})

const checkStripe = checkerOf(StoredStripe)
const readStripe = readerOf(StoredStripe)

/**
 * The buckets of one width: the index of the newest, and successes, failures and slow calls of each one after the other, the newest
 * first, without a gap. So what a report changes is at the beginning of the text, and Postgres logs no more than that. `first` is
 * the index of the oldest where that is the first, as in earlier versions. `shed` are the calls that were shed in each, absent where there
 * was none.
 */
interface StoredBuckets {
  readonly width: number
  readonly newest?: number
  readonly first?: number
  readonly counts: ReadonlyArray<number>
  readonly shed?: ReadonlyArray<number>
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0

const isCounts = (value: unknown): value is ReadonlyArray<number> => Array.isArray(value) && value.every(isCount)

const isBuckets = (value: unknown): value is StoredBuckets => {
  const { counts, first, newest = first, shed = [], width } = (value ?? {}) as Partial<StoredBuckets>
  return isCount(width) && isCount(newest) && isCounts(counts) && counts.length % 3 === 0 && isCounts(shed)
}

/** A stripe has hundreds of counts, so they are checked here and not by a schema. */
const checkWindow = (value: unknown): ReadonlyArray<StoredBuckets> => {
  if (Array.isArray(value) && value.every(isBuckets)) return value
  throw new Error(`field window holds ${shown(value)}, expected counts in buckets of each width`)
}

const windowFrom = (value: unknown): ReadonlyArray<Bucket> =>
  checkWindow(value).flatMap(({ counts, first, newest = 0, shed = [], width }: StoredBuckets) =>
    Array.from({ length: counts.length / 3 }, (_, i) => {
      const [success, failure, slow] = counts.slice(3 * i, 3 * i + 3) as [number, number, number]
      return {
        width,
        index: first === undefined ? newest - i : first + i,
        success,
        failure,
        slow,
        ...shedCalls(shed[i] ?? 0)
      }
    }).filter(({ failure, shed = 0, slow, success }) => success + failure + slow + shed > 0)
  )

const storedWindow = (window: ReadonlyArray<Bucket>): ReadonlyArray<StoredBuckets> =>
  [...Map.groupBy(window, ({ width }) => width)].map(([width, buckets]) => {
    const byIndex = new Map(buckets.map((bucket) => [bucket.index, bucket]))
    const newest = Math.max(...byIndex.keys())
    const length = newest - Math.min(...byIndex.keys()) + 1
    const all = Array.from({ length }, (_, i): Counts => byIndex.get(newest - i) ?? noCounts)
    const shed = all.map(({ shed = 0 }) => shed)
    return {
      width,
      newest,
      counts: all.flatMap(({ failure, slow, success }) => [success, failure, slow]),
      ...(shed.some((count) => count > 0) ? { shed } : {})
    }
  })

/** The length of `{"id":"…"`: a stripe begins with an id of its own, by which a writer sees whether it was written meanwhile. */
const BEGINNING = 40

/** The beginning of a text, which no other text of the same stripe has. */
export const tokenOf = (text: string): string => text.slice(0, BEGINNING)

/** In SQL, the token of a column. */
export const tokenIn = (column: string): string => `left(${column}, ${BEGINNING})`

/** Decodes `counts.delta`. Throws an error that names the bad field. */
export const stripeFrom = (text: string): Stripe => {
  const { id: _, window = [], ...stripe } = readStripe(text) as typeof StoredStripe.Type & { readonly delta: Delta }
  return { ...stripe, window: windowFrom(window) }
}

/** Encodes `counts.delta`. Throws for a stripe that could not be decoded again, so that it is never written. */
export const stripeText = (stripe: Stripe, id: string): string => {
  const stored = { id, ...stripe, window: checkWindow(storedWindow(stripe.window)), base: stripe.base ?? id }
  checkStripe(stored)
  return JSON.stringify(stored)
}

const totalRequests = ({ failure, ignored, success }: CircuitRecord["lifetime"]): number => success + failure + ignored

/**
 * The columns of `states` beside `document`, for people and their queries. The storage reads none of them but
 * `expires_at`.
 */
export const stateColumns = (record: CircuitRecord, { time }: Dialect, nowMillis: number, idleMillis: number) => {
  const { lifetime, state } = record
  const override = overrideAt(record, nowMillis)
  return {
    state: stateWord[state._tag],
    override_kind: override === undefined ? null : overrideWord[override.kind],
    generation: record.generation,
    consecutive_failures: record.streak,
    failure_count: lifetime.failure,
    success_count: lifetime.success,
    timeout_count: lifetime.timeout,
    total_requests: totalRequests(lifetime),
    last_failure_time: time(lifetime.lastFailureAt),
    last_success_time: time(lifetime.lastSuccessAt),
    opened_at: time(lifetime.lastOpenedAt),
    open_until: time(state._tag === "Open" ? state.until : undefined),
    updated_at: time(nowMillis),
    expires_at: time(expiresAt(record, idleMillis))
  }
}

/** Postgres stores no NUL. */
const withoutNul = (text: string): string => text.replaceAll("\0", "\ufffd")

/** A row of `history`. Its counts are those that led to the change, so they are of the record before it. */
export const historyRow = (
  key: string,
  entry: HistoryEntry,
  before: CircuitRecord | undefined,
  { time }: Dialect
) => ({
  service_name: key,
  generation: entry.generation,
  state_change: `${stateWord[entry.from]}_to_${stateWord[entry.to]}`,
  old_state: stateWord[entry.from],
  new_state: stateWord[entry.to],
  consecutive_failures: before?.streak ?? 0,
  failure_count: before?.lifetime.failure ?? 0,
  total_requests: before === undefined ? 0 : totalRequests(before.lifetime),
  reason: withoutNul(entry.why.reason),
  actor: entry.why.actor === undefined ? null : withoutNul(entry.why.actor),
  created_at: time(entry.at),
  entry: JSON.stringify(entry)
})

const State = Schema.Literals(["Closed", "Open", "HalfOpen"])

const StoredEntry: Schema.Codec<HistoryEntry> = Schema.Struct({
  generation: Count,
  at: Schema.Finite,
  from: State,
  to: State,
  override: Schema.optional(Schema.String),
  why: Schema.Struct({
    reason: Schema.String,
    actor: Schema.optional(Schema.String),
    evidence: Schema.optional(Schema.Unknown)
  })
})

/** Decodes `history.entry`. Throws an error that names the bad field. */
export const entryFrom: (text: string) => HistoryEntry = readerOf(StoredEntry)

/** Decodes a column that holds a state. Its `CHECK` allows no other word. */
export const stateFrom = (text: string): HistoryEntry["to"] =>
  text === stateWord.Open ? "Open" : text === stateWord.HalfOpen ? "HalfOpen" : "Closed"

/** A row of `instances`. */
export const instanceRow = (key: string, { at, instance, kind, sequence }: Seen) => ({
  service_name: key,
  instance: keyOf(instance),
  kind,
  sequence,
  heard_at: at
})
