/** The fields of a circuit's hash in Redis. People read them with `redis-cli`; times are Unix milliseconds. */

/** The fields that hold a number. */
export const NUMBERS = [
  "format",
  "generation",
  "state_since",
  "open_until",
  "open_for",
  "consecutive_openings",
  "probe_successes",
  "probe_failures",
  "probes_from",
  "override_until",
  "retry_after_until",
  "alert_until",
  "called_at",
  "consecutive_failures",
  "total_requests",
  "success_count",
  "failure_count",
  "ignored_count",
  "timeout_count",
  "slow_count",
  "rejected_count",
  "opened_count",
  "last_success_time",
  "last_success_duration",
  "last_failure_time",
  "last_failure_duration",
  "opened_at",
  "updated_at"
] as const

/** The fields that hold a text. */
export const TEXTS = [
  "state",
  "override",
  "override_reason",
  "override_actor",
  "why",
  "fingerprint",
  "window_totals",
  "companions"
] as const

/** The fields that a circuit may lack. */
export const OPTIONAL = [
  "state_since",
  "open_until",
  "probe_successes",
  "probe_failures",
  "probes_from",
  "override",
  "override_reason",
  "override_actor",
  "override_until",
  "why",
  "fingerprint",
  "window_totals",
  "companions",
  "alert_until",
  "called_at",
  "total_requests",
  "last_success_time",
  "last_success_duration",
  "last_failure_time",
  "last_failure_duration",
  "opened_at"
] as const

export type Field = typeof TEXTS[number] | typeof NUMBERS[number]

/** The fields that a Closed or Open circuit without an override does not have, or that a report of it does not read. */
const PLAINLY_UNUSED: ReadonlyArray<Field> = [
  "probe_successes",
  "probe_failures",
  "probes_from",
  "override_reason",
  "override_actor",
  "override_until",
  "total_requests",
  "companions"
]

/** The fields that a plain report needs: see `LuaPlainReport.ts`. They are the first of `FIELDS`. */
export const PLAIN_FIELDS: ReadonlyArray<Field> = [...TEXTS, ...NUMBERS].filter((field) =>
  !PLAINLY_UNUSED.includes(field)
)

export const FIELDS: ReadonlyArray<Field> = [...PLAIN_FIELDS, ...PLAINLY_UNUSED]

/** The longest value of a field. The scripts neither write nor read a longer one. */
export const LONGEST_VALUE_BYTES = 65_536

/** How many changes a circuit's history keeps. */
export const MOST_HISTORY = 100
