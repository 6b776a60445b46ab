/** The rows of the tables, encoded from and decoded into the types of the core. */
import * as Schema from "effect/Schema"
import type { Delta } from "../core/Delta.ts"
import { type CircuitRecord, expiresAt, overrideAt, type Seen } from "../core/Record.ts"
import { overrideWord, stateWord } from "../core/Words.ts"
import { checkerOf, readerOf } from "../internal/StoredJson.ts"
import type { HistoryEntry } from "../Storage/Storage.ts"
import type { Dialect } from "./Dialect.ts"
import { keyOf } from "./NameColumns.ts"
import type { Stripe } from "./Stripes.ts"
import { windowFrom } from "./StripeWindow.ts"

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

/**
 * Encodes `counts.delta`. Throws for a stripe that could not be decoded again, so that it is never written. The order of the fields is
 * the one in which Postgres cuts the text (`Additions.ts`).
 */
export const stripeText = ({ asOf, base, delta, since, success, window }: Stripe, id: string): string => {
  const stored = { id, asOf, delta, since, success, window: windowFrom(window), base: base ?? id }
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
