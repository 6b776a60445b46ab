/**
 * Decodes what Redis answers: the replies of scripts, histories, announcements and pages of a scan. Errors name the
 * circuit, the field and the value.
 */
import { shedCalls } from "../core/Delta.ts"
import {
  type CircuitRecord,
  isSnapshotAlert,
  type RecordState,
  type Snapshot,
  snapshot,
  type Why
} from "../core/Record.ts"
import { overrideWord, stateWord } from "../core/Words.ts"
import { shown } from "../internal/Check.ts"
import type { Announcement, Bells, HistoryEntry } from "../Storage/Storage.ts"
import { type Field, FIELDS } from "./Fields.ts"

/** Redis holds or answered something else than expected. `place` says where. */
class UnexpectedValue extends Error {
  override readonly name = "UnexpectedValue"

  constructor(place: string, value: unknown, expected: string) {
    super(
      `Redis ${place} holds ${value === undefined || value === null ? "nothing" : shown(value)}, expected ${expected}`
    )
  }
}

const fail = (place: string, value: unknown, expected: string): never => {
  throw new UnexpectedValue(place, value, expected)
}

const arrayIn = (place: string, value: unknown): ReadonlyArray<unknown> =>
  Array.isArray(value) ? value : fail(place, value, "a list")

const textIn = (place: string, value: unknown): string =>
  typeof value === "string" ? value : fail(place, value, "a text")

const numberIn = (place: string, value: unknown): number => {
  const number = typeof value === "string" && value !== "" ? Number(value) : value
  return typeof number === "number" && Number.isFinite(number) ? number : fail(place, value, "a number")
}

/** The key of `words` whose word is `value`. */
const keyIn = <K extends string>(place: string, value: unknown, words: Readonly<Record<K, string>>): K => {
  const keys = Object.keys(words) as Array<K>
  return keys.find((key) => words[key] === value) ?? fail(place, value, `one of ${Object.values(words).join(", ")}`)
}

const jsonIn = (place: string, value: unknown): unknown => {
  try {
    return JSON.parse(textIn(place, value))
  } catch {
    return fail(place, value, "JSON")
  }
}

const isWhy = (value: unknown): value is Why =>
  typeof value === "object" && value !== null && "reason" in value && typeof value.reason === "string"

const WHY = "a JSON object with a reason"

const ANSWERS = {
  sync: ["Counted", "Behind", "Refused"],
  change: ["Committed", "Refused"],
  probe: ["Granted", "Refused"]
} as const

export type Operation = keyof typeof ANSWERS

/** A reply that does not begin with the name of the request: it is that of another one, or of no script. */
export class ForeignReply extends Error {
  override readonly name = "ForeignReply"

  constructor(operation: string, reply: unknown) {
    super(`Redis answered ${operation} with the reply to another request: ${shown(reply)}`)
  }
}

/** The reply of a script behind the name of its request. Throws a `ForeignReply` if it has another name. */
export const replyTo = (operation: string, request: string, reply: unknown): ReadonlyArray<unknown> => {
  if (!Array.isArray(reply) || reply[0] !== request) throw new ForeignReply(operation, reply)
  return reply.slice(1)
}

/** The reply of a script: the answer to the request, and the circuit after it. */
export interface Reply<O extends Operation> {
  readonly answer: typeof ANSWERS[O][number]
  readonly snapshot: Snapshot
  /** Whether others must hear of what was written. */
  readonly rings: boolean
}

/** Decodes the reply of a script behind the name of its request. Throws if it is invalid. */
export const decodeReply = <O extends Operation>(
  operation: O,
  circuit: string,
  [word, time, fields, leases, sums, rang, count]: ReadonlyArray<unknown>,
  withins: ReadonlyArray<number>,
  idleMillis: number
): Reply<O> => {
  const place = `reply to ${operation} of circuit ${shown(circuit)}`
  const answers: ReadonlyArray<Reply<O>["answer"]> = ANSWERS[operation]
  const answer = answers.find((answer) => answer === word) ?? fail(place, word, `one of ${answers.join(", ")}`)
  const now = numberIn(place, time)
  const values = arrayIn(place, fields)
  const record = values.length === 0 ? undefined : recordOf(circuit, values, arrayIn(place, leases))
  const totals = arrayIn(place, sums).map((sum) => numberIn(place, sum))
  if (totals.length !== 4 * withins.length) return fail(place, sums, `${4 * withins.length} totals`)
  const members = numberIn(place, count)
  return {
    answer,
    rings: numberIn(place, rang) === 1,
    snapshot: {
      ...snapshot(record, [], now, idleMillis),
      ...(members === 0 ? {} : { members }),
      totals: withins.map((_, i) => ({
        success: totals[4 * i]!,
        failure: totals[4 * i + 1]!,
        slow: totals[4 * i + 2]!,
        ...shedCalls(totals[4 * i + 3]!)
      }))
    }
  }
}

const PLACES = new Map<Field, number>(FIELDS.map((field, place) => [field, place]))

/** The values of a circuit's hash, in the order of `FIELDS`. */
class Values {
  readonly #circuit: string
  readonly #values: ReadonlyArray<unknown>

  constructor(circuit: string, values: ReadonlyArray<unknown>) {
    this.#circuit = circuit
    this.#values = values
  }

  /** A place in the circuit, for errors. */
  placeOf(what: string): string {
    return `${what} of circuit ${shown(this.#circuit)}`
  }

  place(field: Field): string {
    return this.placeOf(`field ${field}`)
  }

  get(field: Field): unknown {
    return this.#values[PLACES.get(field)!] ?? undefined
  }

  text(field: Field): string {
    return textIn(this.place(field), this.get(field))
  }

  number(field: Field): number {
    return numberIn(this.place(field), this.get(field))
  }

  optionalNumber(field: Field): number | undefined {
    return this.get(field) === undefined ? undefined : this.number(field)
  }
}

/** A record from the values of `FIELDS`, and the times at which its leases end. */
const recordOf = (
  circuit: string,
  values: ReadonlyArray<unknown>,
  leases: ReadonlyArray<unknown>
): CircuitRecord => {
  const fields = new Values(circuit, values)
  return {
    format: fields.number("format"),
    generation: fields.number("generation"),
    state: stateOf(fields, leases),
    changedAt: fields.optionalNumber("state_since"),
    openings: fields.number("consecutive_openings"),
    openFor: fields.number("open_for"),
    override: overrideOf(fields),
    hintUntil: fields.number("retry_after_until"),
    why: fields.get("why") === undefined ? undefined : whyOf(fields),
    fingerprint: fields.get("fingerprint") === undefined ? undefined : fields.text("fingerprint"),
    lifetime: {
      success: fields.number("success_count"),
      failure: fields.number("failure_count"),
      ignored: fields.number("ignored_count"),
      timeout: fields.number("timeout_count"),
      slow: fields.number("slow_count"),
      rejected: fields.number("rejected_count"),
      opened: fields.number("opened_count"),
      lastSuccessAt: fields.optionalNumber("last_success_time"),
      lastSuccessDuration: fields.optionalNumber("last_success_duration"),
      lastFailureAt: fields.optionalNumber("last_failure_time"),
      lastFailureDuration: fields.optionalNumber("last_failure_duration"),
      lastOpenedAt: fields.optionalNumber("opened_at")
    },
    window: [],
    streak: fields.number("consecutive_failures"),
    seen: [],
    alert: alertOf(fields),
    usedAt: fields.number("updated_at")
  }
}

const stateOf = (fields: Values, leases: ReadonlyArray<unknown>): RecordState => {
  const state = keyIn(fields.place("state"), fields.get("state"), stateWord)
  switch (state) {
    case "Closed":
      return { _tag: state }
    case "Open":
      return { _tag: state, until: fields.number("open_until") }
    case "HalfOpen":
      return {
        _tag: state,
        leases: leases.map((until) => ({
          instance: "",
          sequence: 0,
          until: numberIn(fields.placeOf("lease"), until)
        })),
        successes: fields.number("probe_successes"),
        failures: fields.optionalNumber("probe_failures"),
        probesFrom: fields.optionalNumber("probes_from")
      }
  }
}

const alertOf = (fields: Values): CircuitRecord["alert"] => {
  const until = fields.optionalNumber("alert_until")
  return until === undefined ? undefined : { until, calledAt: fields.number("called_at") }
}

const whyOf = (fields: Values): Why => {
  const why = jsonIn(fields.place("why"), fields.get("why"))
  return isWhy(why) ? why : fail(fields.place("why"), fields.get("why"), WHY)
}

const overrideOf = (fields: Values): CircuitRecord["override"] => {
  const override = fields.get("override")
  return override === undefined ? undefined : {
    kind: keyIn(fields.place("override"), override, overrideWord),
    reason: fields.text("override_reason"),
    actor: fields.text("override_actor"),
    until: fields.optionalNumber("override_until")
  }
}

/** Decodes the rows of a history. Throws if one is invalid. */
export const decodeHistory = (circuit: string, reply: unknown): ReadonlyArray<HistoryEntry> => {
  const place = (what: string) => `${what} of circuit ${shown(circuit)}`
  return arrayIn(place("history"), reply).map((row) => {
    const entry = jsonIn(place("row of the history"), row)
    if (typeof entry !== "object" || entry === null) return fail(place("row of the history"), row, "an object")
    const { at, from, generation, override, to, why } = entry as Readonly<Record<string, unknown>>
    const field = (name: string) => place(`field ${name} in the history`)
    return {
      generation: numberIn(field("generation"), generation),
      at: numberIn(field("at"), at),
      from: keyIn(field("from"), from, stateWord),
      to: keyIn(field("to"), to, stateWord),
      override: override === undefined ? undefined : keyIn(field("override"), override, overrideWord),
      why: isWhy(why) ? why : fail(field("why"), why, WHY)
    }
  })
}

/** Decodes a published message. Empty if it is not an announcement, because any client may publish anything. */
export const decodeAnnouncement = (message: string): ReadonlyArray<Announcement> => {
  try {
    const { alert, circuit, generation } = JSON.parse(message)
    const known = Number(generation)
    return typeof circuit === "string" && Number.isSafeInteger(known)
      ? [{ _tag: "Changed", circuit, generation: known, ...(isSnapshotAlert(alert) ? { alert } : {}) }]
      : []
  } catch {
    return []
  }
}

/** Decodes the answer to a poll of the bell. Throws if it is invalid. */
export const decodeBells = ([epoch, time, last, circuits, told]: ReadonlyArray<unknown>): Bells => {
  const place = "reply to bells"
  const now = numberIn(place, time)
  const bells = { epoch: textIn(place, epoch), now, lastRungAt: numberIn(place, last) }
  if (circuits === undefined) return { ...bells, rung: "all" }
  const texts = arrayIn(place, told)
  return {
    ...bells,
    rung: arrayIn(place, circuits).flatMap((circuit, i) => {
      // Of a circuit whose field was lost alone it is only known that it rang.
      const [generation, until, calledAt] = texts[i] === "" ? [Number.MAX_SAFE_INTEGER, 0, 0] : textIn(place, texts[i])
        .split(" ").map((text) => numberIn(place, text))
      const alert = { remaining: until! - now, since: Math.max(0, now - calledAt!) }
      return [{
        circuit: textIn(place, circuit),
        generation: generation!,
        ...(alert.remaining > 0 ? { alert } : {})
      }]
    })
  }
}

/** Decodes a page of a scan. Throws a `ForeignReply` if it is not one. */
export const decodePage = (operation: string, reply: unknown): readonly [next: string, keys: ReadonlyArray<string>] => {
  const [next, keys] = Array.isArray(reply) ? reply : []
  if (typeof next !== "string" || !/^\d+$/.test(next) || !isTexts(keys)) throw new ForeignReply(operation, reply)
  return [next, keys]
}

const isTexts = (value: unknown): value is ReadonlyArray<string> =>
  Array.isArray(value) && value.every((one) => typeof one === "string")

/** Decodes the number of repaired keys. */
export const decodeRepaired = ([repaired]: ReadonlyArray<unknown>): number =>
  numberIn("reply to repairExpiry", repaired)

/**
 * The prefix that a client puts before its keys: the key that the server has begins with it, the one that the client was given
 * does not.
 */
export const decodePrefix = (key: string, [sent]: ReadonlyArray<unknown>): string =>
  typeof sent === "string" && sent.endsWith(key)
    ? sent.slice(0, -key.length)
    : fail(`reply about key ${shown(key)}`, sent, "that key, or one that ends so")
