/** Claims of a law, and the error that reports the first difference between the expected and the actual value. */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type { Snapshot } from "../core/Record.ts"

/** A claim that does not hold. The suite adds the name of the law. */
export class Unmet extends Data.TaggedError("Unmet")<{
  readonly claim: string
  readonly expected: string
  readonly actual: string
}> {}

export const unmet = (claim: string, expected: unknown, actual: unknown): Effect.Effect<never, Unmet> =>
  Effect.fail(new Unmet({ claim, expected: show(expected), actual: show(actual) }))

/** An expected number with a tolerance. */
export class Range {
  readonly min: number
  readonly max: number
  constructor(min: number, max: number) {
    this.min = min
    this.max = max
  }
}

/** The tolerance of a time: some storages read their clock twice, or keep whole milliseconds. */
export const SLACK_MILLIS = 20

export const near = (millis: number): Range => new Range(millis - SLACK_MILLIS, millis + SLACK_MILLIS)

export const atLeast = (min: number): Range => new Range(min, Infinity)

export const show = (value: unknown): string => {
  if (value instanceof Range) return value.max === Infinity ? `at least ${value.min}` : `${value.min} to ${value.max}`
  if (value instanceof Error) return `${value}`
  if (typeof value === "string" && /^[\w ]+$/.test(value)) return value
  const text = JSON.stringify(value, (_, inner: unknown) => inner instanceof Range ? show(inner) : inner) ?? "undefined"
  return text.length > 300 ? `${text.slice(0, 300)}… (${text.length} characters)` : text
}

export const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** The first difference between the actual and the expected value. Of objects only the expected fields are compared. */
export const difference = (actual: unknown, expected: unknown, at = ""): Parameters<typeof unmet> | undefined => {
  if (expected instanceof Range) {
    const within = typeof actual === "number" && expected.min <= actual && actual <= expected.max
    return within ? undefined : [at, expected, actual]
  }
  if (Array.isArray(expected)) {
    if (!Array.isArray(actual) || actual.length !== expected.length) return [at, expected, actual]
    return firstOf(expected.map((one, index) => () => difference(actual[index], one, `${at}[${index}]`)))
  }
  if (isObject(expected)) {
    if (!isObject(actual)) return [at, expected, actual]
    return firstOf(
      Object.entries(expected).map(([key, one]) => () => difference(actual[key], one, at === "" ? key : `${at}.${key}`))
    )
  }
  return Object.is(actual, expected) ? undefined : [at, expected, actual]
}

const firstOf = <A>(searches: ReadonlyArray<() => A | undefined>): A | undefined => {
  for (const search of searches) {
    const found = search()
    if (found !== undefined) return found
  }
  return undefined
}

/**
 * Claims that the actual value is as expected. Fields that are not expected are ignored; an expected `undefined` must
 * be absent.
 */
export const is = (claim: string, actual: unknown, expected: unknown): Effect.Effect<void, Unmet> => {
  const found = difference(actual, expected)
  if (found === undefined) return Effect.void
  const [at, wanted, seen] = found
  return unmet(at === "" ? claim : `${claim}, ${at}`, wanted, seen)
}

/** The expected snapshot at a later moment, if nothing but time has passed. */
export const later = (seen: Snapshot, asOf: number) => {
  const by = asOf - seen.asOf
  const left = (millis: number | undefined) => millis === undefined ? undefined : near(Math.max(0, millis - by))
  const age = (millis: number | undefined) => millis === undefined ? undefined : near(millis + by)
  const { alert, lifetime, override, state } = seen
  return {
    format: seen.format,
    generation: seen.generation,
    state: state._tag === "Open"
      ? { ...state, remaining: left(state.remaining) }
      : state._tag === "HalfOpen"
      ? { ...state, nextLapse: left(state.nextLapse), probesIn: left(state.probesIn) }
      : state,
    elapsed: age(seen.elapsed),
    openings: seen.openings,
    openFor: near(seen.openFor),
    override: override === undefined ? undefined : { ...override, remaining: left(override.remaining) },
    hint: left(seen.hint),
    why: seen.why,
    fingerprint: seen.fingerprint,
    lifetime: {
      ...lifetime,
      lastSuccessAge: age(lifetime.lastSuccessAge),
      lastFailureAge: age(lifetime.lastFailureAge),
      lastOpenedAge: age(lifetime.lastOpenedAge)
    },
    streak: seen.streak,
    alert: alert === undefined || by > alert.remaining + SLACK_MILLIS
      ? undefined
      : { remaining: left(alert.remaining), since: age(alert.since) }
  }
}

/** Claims that two snapshots of a circuit are the same but for the time between them. */
export const unchanged = (claim: string, after: Snapshot, before: Snapshot) =>
  is(claim, after, later(before, after.asOf))
