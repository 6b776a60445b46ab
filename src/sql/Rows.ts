/** What lies in the tables, as the core knows it, and back. Whatever makes no sense throws. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { Delta } from "../core/Delta.ts"
import { type CircuitRecord, expiresAt, overrideAt, type Seen } from "../core/Record.ts"
import { type HistoryEntry, StorageError } from "../Storage/Storage.ts"
import type { Dialect } from "./Dialect.ts"
import type { Stripe, Stripes } from "./Stripes.ts"

/** What is stored of one circuit, as text. */
export interface Stored {
  readonly document: string | undefined
  readonly stripes: ReadonlyMap<number, string>
}

const Count = Schema.Natural

const StoredStripe = Schema.Struct({
  asOf: Schema.Finite,
  since: Count,
  success: Count,
  delta: Schema.Struct({
    streak: Schema.Struct({ leading: Count, sawSuccess: Schema.Boolean, trailing: Count }),
    lifetime: Schema.Record(Schema.String, Schema.Finite),
    hint: Schema.Finite
  })
})

// It checks and does not decode, which would lose the fields that it does not know.
const check: (input: unknown) => asserts input is typeof StoredStripe.Type = (input) =>
  Schema.asserts(StoredStripe, input)

const stripeFrom = (text: string): Stripe => {
  const stripe: unknown = JSON.parse(text)
  check(stripe)
  return stripe as unknown as Stripe
}

export const stripesFrom = ({ stripes }: Stored): Stripes =>
  new Map([...stripes].map(([index, text]) => [index, stripeFrom(text)]))

export const stripeText = (stripe: Stripe): string => {
  check(stripe as { readonly asOf: number; readonly delta: Delta })
  return JSON.stringify(stripe)
}

const STATES = { Closed: "closed", Open: "open", HalfOpen: "half_open" } as const
const OVERRIDES = { ForcedOpen: "forced_open", Disabled: "disabled", MetricsOnly: "metrics_only" } as const

/** The columns beside a record that are for people and their queries: nothing reads them back but the end. */
export const columnsOf = (record: CircuitRecord, { time }: Dialect, now: number, idleTimeToLive: number) => {
  const { lifetime, state } = record
  const override = overrideAt(record, now)
  return {
    state: STATES[state._tag],
    override_kind: override === undefined ? null : OVERRIDES[override.kind],
    generation: record.generation,
    consecutive_failures: record.streak,
    failure_count: lifetime.failure,
    success_count: lifetime.success,
    timeout_count: lifetime.timeout,
    total_requests: lifetime.success + lifetime.failure + lifetime.ignored,
    last_failure_time: time(lifetime.lastFailureAt),
    last_success_time: time(lifetime.lastSuccessAt),
    opened_at: time(lifetime.lastOpenedAt),
    open_until: time(state._tag === "Open" ? state.until : undefined),
    updated_at: time(now),
    expires_at: time(expiresAt(record, idleTimeToLive))
  }
}

/** Text that Postgres takes. */
const withoutNul = (text: string): string => text.replaceAll("\0", "\ufffd")

/** A row of the history: its evidence is what was counted when the change was made. */
export const historyRow = (
  key: string,
  entry: HistoryEntry,
  before: CircuitRecord | undefined,
  { time }: Dialect
) => ({
  service_name: key,
  generation: entry.generation,
  state_change: `${STATES[entry.from]}_to_${STATES[entry.to]}`,
  old_state: STATES[entry.from],
  new_state: STATES[entry.to],
  consecutive_failures: before?.streak ?? 0,
  failure_count: before?.lifetime.failure ?? 0,
  total_requests: before === undefined ?
    0 :
    before.lifetime.success + before.lifetime.failure + before.lifetime.ignored,
  reason: withoutNul(entry.why.reason),
  actor: entry.why.actor === undefined ? null : withoutNul(entry.why.actor),
  created_at: time(entry.at),
  entry: JSON.stringify(entry)
})

const StoredEntry = Schema.Struct({
  generation: Count,
  at: Schema.Finite,
  from: Schema.Literals(["Closed", "Open", "HalfOpen"]),
  to: Schema.Literals(["Closed", "Open", "HalfOpen"]),
  override: Schema.optional(Schema.String),
  why: Schema.Struct({
    reason: Schema.String,
    actor: Schema.optional(Schema.String),
    evidence: Schema.optional(Schema.Unknown)
  })
})

const checkEntry: (input: unknown) => asserts input is HistoryEntry = (input) => Schema.asserts(StoredEntry, input)

const entryFrom = (text: string): HistoryEntry => {
  const entry: unknown = JSON.parse(text)
  checkEntry(entry)
  return entry
}

export const entriesFrom = (
  rows: ReadonlyArray<{ readonly entry: string }>
): Effect.Effect<ReadonlyArray<HistoryEntry>, StorageError> =>
  Effect.try({
    try: () => rows.map(({ entry }) => entryFrom(entry)),
    catch: (cause) => new StorageError({ operation: "history", reason: "Invalid", cause })
  })

/** The state that a column names, which allows of no other. */
export const stateFrom = (text: string): HistoryEntry["to"] =>
  text === STATES.Open ? "Open" : text === STATES.HalfOpen ? "HalfOpen" : "Closed"

/** A row of those that were heard. */
export const heardRow = (key: string, { at, instance, kind, sequence }: Seen, keyOf: (name: string) => string) => ({
  service_name: key,
  instance: keyOf(instance),
  kind,
  sequence,
  heard_at: at
})
