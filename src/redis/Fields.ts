/**
 * How a circuit lies in Redis, for people and for `redis-cli`: a hash of fields that say what they are, in Unix milliseconds
 * and counts, beside it a few keys of what there are many of.
 */
import { type CircuitRecord, type Snapshot, snapshot, type Why } from "../core/Record.ts"
import type { Announcement, HistoryEntry } from "../Storage/Storage.ts"

/** The fields that hold a number. */
export const NUMBERS = [
  "format",
  "generation",
  "state_since",
  "open_until",
  "open_for",
  "consecutive_openings",
  "probe_successes",
  "override_until",
  "retry_after_until",
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

/** The fields that hold anything else. */
export const TEXTS = ["state", "override", "override_reason", "override_actor", "why", "fingerprint"] as const

/** What a circuit may be without. */
export const OPTIONAL = [
  "state_since",
  "open_until",
  "probe_successes",
  "override",
  "override_reason",
  "override_actor",
  "override_until",
  "why",
  "fingerprint",
  "total_requests",
  "last_success_time",
  "last_success_duration",
  "last_failure_time",
  "last_failure_duration",
  "opened_at"
] as const

export const FIELDS = [...TEXTS, ...NUMBERS] as const

type Field = typeof FIELDS[number]

/** The longest text of a field, in bytes: what is longer is neither written nor read. */
export const LONGEST = 65_536

/** How many changes a circuit's history keeps. */
export const MOST_HISTORY = 100

/** The keys of one circuit, in the order in which the scripts take them. */
export interface Keys {
  readonly all: readonly [record: string, window: string, leases: string, instances: string, history: string]
  readonly history: string
}

const UNREADABLE = /[\p{Cc}%{}]/gu

/** Text without braces, line ends and the like; `%` begins what stands for one of them. */
const escape = (text: string): string =>
  text.replaceAll(UNREADABLE, (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`)

// An empty hash tag is none, and the keys of the circuit would be in many slots.
const EMPTY = "%"

export interface Naming {
  readonly keys: (circuit: string) => Keys
  /** The pattern of the keys of all circuits, and of what is beside them. */
  readonly records: string
  readonly all: string
  /** The circuit that a key is of, if it is of one. */
  readonly circuitOf: (key: string) => string | undefined
  readonly channel: string
}

/** The keys of circuits: after the prefix, the name as the key's one hash tag. */
export const naming = (prefix: string): Naming => {
  const start = escape(prefix)
  const pattern = start.replaceAll(/[*?[\]\\^]/g, (sign) => `\\${sign}`)
  return {
    keys: (circuit) => {
      const record = `${start}{${circuit === "" ? EMPTY : escape(circuit)}}`
      const history = `${record}:history`
      return { all: [record, `${record}:window`, `${record}:leases`, `${record}:instances`, history], history }
    },
    records: `${pattern}{*}`,
    all: `${pattern}{*}*`,
    circuitOf: (key) => {
      const name = key.startsWith(start)
        ? /^\{([^{}]+)\}(?::(?:window|leases|instances|history))?$/s.exec(key.slice(start.length))?.[1]
        : undefined
      if (name === undefined) return undefined
      return name === EMPTY ? "" : name.replaceAll(
        /%([0-9A-F]{2})/g,
        (_, code: string) => String.fromCharCode(Number.parseInt(code, 16))
      )
    },
    channel: `${start}changes`
  }
}

/** What Redis answered makes no sense. */
class Nonsense extends Error {
  override readonly name = "Nonsense"
}

const nonsense = (what: string): never => {
  throw new Nonsense(`${what} makes no sense`)
}

const array = (value: unknown, what: string): ReadonlyArray<unknown> => Array.isArray(value) ? value : nonsense(what)

const number = (value: unknown, what: string): number => {
  const read = typeof value === "string" && value !== "" ? Number(value) : value
  return typeof read === "number" && Number.isFinite(read) ? read : nonsense(what)
}

const STATES = { closed: "Closed", open: "Open", half_open: "HalfOpen" } as const
const OVERRIDES = { forced_open: "ForcedOpen", disabled: "Disabled", metrics_only: "MetricsOnly" } as const

/** How the kinds of overrides are called in Redis. */
export const overrideName = { ForcedOpen: "forced_open", Disabled: "disabled", MetricsOnly: "metrics_only" } as const
export const stateName = { Closed: "closed", Open: "open", HalfOpen: "half_open" } as const

const wordOf = <A>(words: Readonly<Record<string, A>>, value: unknown, what: string): A => {
  const word = typeof value === "string" && Object.hasOwn(words, value) ? words[value] : undefined
  return word === undefined ? nonsense(what) : word
}

const whyOf = (text: string): Why => {
  const why: unknown = JSON.parse(text)
  return typeof why === "object" && why !== null && "reason" in why && typeof why.reason === "string"
    ? why as Why
    : nonsense("why")
}

const ANSWERS = {
  sync: ["Counted", "Behind", "Refused"],
  change: ["Committed", "Refused"],
  probe: ["Granted", "Refused"]
} as const

export type Operation = keyof typeof ANSWERS

/** What a script answers: what became of the request, and the circuit after it, if there is one. */
export interface Reply<O extends Operation> {
  readonly answer: typeof ANSWERS[O][number]
  readonly snapshot: Snapshot
}

/** Reads a script's answer. Throws where it is none. */
export const decodeReply = <O extends Operation>(
  operation: O,
  reply: unknown,
  withins: ReadonlyArray<number>,
  idle: number
): Reply<O> => {
  const [word, time, fields, leases, sums] = array(reply, "the reply")
  const answers: ReadonlyArray<Reply<O>["answer"]> = ANSWERS[operation]
  const answer = answers.find((answer) => answer === word) ?? nonsense("the answer")
  const now = number(time, "the time")
  const values = array(fields, "the fields")
  const record = values.length === 0 ? undefined : recordOf(values, array(leases, "the leases"))
  const totals = array(sums, "the totals").map((sum) => number(sum, "a total"))
  if (totals.length !== 3 * withins.length) return nonsense("the totals")
  return {
    answer,
    snapshot: {
      ...snapshot(record, [], now, idle),
      totals: withins.map((_, i) => ({
        success: totals[3 * i]!,
        failure: totals[3 * i + 1]!,
        slow: totals[3 * i + 2]!
      }))
    }
  }
}

const recordOf = (values: ReadonlyArray<unknown>, leases: ReadonlyArray<unknown>): CircuitRecord => {
  const byField = new Map<Field, unknown>(FIELDS.map((field, i) => [field, values[i]]))
  const textIn = (field: Field): string | undefined => {
    const value = byField.get(field) ?? undefined
    return value === undefined || typeof value === "string" ? value : nonsense(field)
  }
  const timeIn = (field: Field): number | undefined => {
    const value = textIn(field)
    return value === undefined ? undefined : number(value, field)
  }
  const countIn = (field: Field): number => timeIn(field) ?? nonsense(field)
  const override = textIn("override")
  const why = textIn("why")
  const state = wordOf(STATES, textIn("state"), "state")
  return {
    format: countIn("format"),
    generation: countIn("generation"),
    state: state === "Closed"
      ? { _tag: state }
      : state === "Open"
      ? { _tag: state, until: countIn("open_until") }
      : {
        _tag: state,
        leases: leases.map((until) => ({ instance: "", sequence: 0, until: number(until, "a lease") })),
        successes: countIn("probe_successes")
      },
    changedAt: timeIn("state_since"),
    openings: countIn("consecutive_openings"),
    openFor: countIn("open_for"),
    override: override === undefined ? undefined : {
      kind: wordOf(OVERRIDES, override, "override"),
      reason: textIn("override_reason") ?? nonsense("override_reason"),
      actor: textIn("override_actor") ?? nonsense("override_actor"),
      until: timeIn("override_until")
    },
    hintUntil: countIn("retry_after_until"),
    why: why === undefined ? undefined : whyOf(why),
    fingerprint: textIn("fingerprint"),
    lifetime: {
      success: countIn("success_count"),
      failure: countIn("failure_count"),
      ignored: countIn("ignored_count"),
      timeout: countIn("timeout_count"),
      slow: countIn("slow_count"),
      rejected: countIn("rejected_count"),
      opened: countIn("opened_count"),
      lastSuccessAt: timeIn("last_success_time"),
      lastSuccessDuration: timeIn("last_success_duration"),
      lastFailureAt: timeIn("last_failure_time"),
      lastFailureDuration: timeIn("last_failure_duration"),
      lastOpenedAt: timeIn("opened_at")
    },
    window: [],
    streak: countIn("consecutive_failures"),
    seen: [],
    usedAt: countIn("updated_at")
  }
}

/** Reads the rows of a history. Throws where one is none. */
export const decodeHistory = (reply: unknown): ReadonlyArray<HistoryEntry> =>
  array(reply, "the history").map((row) => {
    const entry: unknown = typeof row === "string" ? JSON.parse(row) : undefined
    if (typeof entry !== "object" || entry === null) return nonsense("a row of the history")
    const { at, from, generation, override, to, why } = entry as Readonly<Record<string, unknown>>
    return {
      generation: number(generation, "a generation of the history"),
      at: number(at, "a time of the history"),
      from: wordOf(STATES, from, "a state of the history"),
      to: wordOf(STATES, to, "a state of the history"),
      override: override === undefined ? undefined : wordOf(OVERRIDES, override, "an override of the history"),
      why: whyOf(JSON.stringify(why))
    }
  })

/** Reads what was published: nothing where it is no announcement, for anyone may publish anything. */
export const decodeAnnouncement = (message: string): ReadonlyArray<Announcement> => {
  try {
    const { circuit, generation } = JSON.parse(message)
    const known = Number(generation)
    return typeof circuit === "string" && Number.isSafeInteger(known)
      ? [{ _tag: "Changed", circuit, generation: known }]
      : []
  } catch {
    return []
  }
}

/** Reads a page of a scan. Throws where it is none. */
export const decodePage = (reply: unknown): readonly [next: string, keys: ReadonlyArray<string>] => {
  const [next, keys] = array(reply, "the page")
  const names = array(keys, "the keys").map((key) => typeof key === "string" ? key : nonsense("a key"))
  return [typeof next === "string" ? next : nonsense("the cursor"), names]
}
