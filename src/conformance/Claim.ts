/** What a law claims, and how it says what was not so. */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type { Snapshot } from "../core/Record.ts"

/** A claim that does not hold. The suite says of which law. */
export class Unmet extends Data.TaggedError("Unmet")<{
  readonly claim: string
  readonly expected: string
  readonly actual: string
}> {}

export const unmet = (claim: string, expected: unknown, actual: unknown): Effect.Effect<never, Unmet> =>
  Effect.fail(new Unmet({ claim, expected: show(expected), actual: show(actual) }))

/** A number that need not be met exactly. */
export class Range {
  readonly min: number
  readonly max: number
  constructor(min: number, max: number) {
    this.min = min
    this.max = max
  }
}

/** By how much a time may be off, in milliseconds: some read their clock twice, or keep whole milliseconds. */
export const SLACK = 20

export const near = (millis: number): Range => new Range(millis - SLACK, millis + SLACK)

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

/** The first place where what came is not what had to. Of objects only the expected fields count. */
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

const firstOf = <A>(looks: ReadonlyArray<() => A | undefined>): A | undefined => {
  for (const look of looks) {
    const found = look()
    if (found !== undefined) return found
  }
  return undefined
}

/** That what came is what had to, where that says anything: `undefined` for what must not be there. */
export const is = (claim: string, actual: unknown, expected: unknown): Effect.Effect<void, Unmet> => {
  const found = difference(actual, expected)
  if (found === undefined) return Effect.void
  const [at, wanted, came] = found
  return unmet(at === "" ? claim : `${claim}, ${at}`, wanted, came)
}

/** What a snapshot must have become by another moment, if nothing but time has happened. */
export const later = (seen: Snapshot, asOf: number) => {
  const by = asOf - seen.asOf
  const left = (millis: number | undefined) => millis === undefined ? undefined : near(Math.max(0, millis - by))
  const age = (millis: number | undefined) => millis === undefined ? undefined : near(millis + by)
  const { lifetime, override, state } = seen
  return {
    format: seen.format,
    generation: seen.generation,
    state: state._tag === "Open"
      ? { ...state, remaining: left(state.remaining) }
      : state._tag === "HalfOpen"
      ? { ...state, nextLapse: left(state.nextLapse) }
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
    streak: seen.streak
  }
}

/** That two looks at a circuit see the same, some time apart. */
export const unchanged = (claim: string, after: Snapshot, before: Snapshot) =>
  is(claim, after, later(before, after.asOf))
