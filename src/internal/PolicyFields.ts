/**
 * The fields of a policy and of keyed breakers that config can give, once: `Breaker.config`, files and their environment, and the
 * JSON Schema for editors are all made from this table.
 */
import type { Consistency, Data, HalfOpen, Sample, Throttle } from "./PolicyModel.ts"
import type { keyedFields as keyedNames } from "./ResolvedPolicy.ts"

/** The type of a field; a list of words is those that it takes. */
export type Kind = "duration" | "count" | "factor" | "rate" | "share or false" | "trip" | ReadonlyArray<string>

/** The fields of an object, each with its kind or its own fields. The field `""` is the object as a single value. */
interface Kinds {
  readonly [field: string]: Kind | Kinds
}

type KindsOf<T> = { readonly [K in keyof T]-?: Kind | Kinds }

/** A field of the type that is not in the table does not compile. */
const kinds = {
  trip: "trip",
  openFor: "duration",
  maxOpenFor: "duration",
  halfOpen: {
    probes: "count",
    successes: "count",
    sample: { calls: "count", failureRate: "rate" } satisfies KindsOf<Sample>,
    lease: "duration",
    timeout: "duration",
    ramp: "duration"
  } satisfies KindsOf<HalfOpen>,
  throttle: {
    k: "factor",
    within: "duration",
    minimumCalls: "count",
    max: "rate"
  } satisfies KindsOf<Throttle>,
  timeout: "duration",
  maxConcurrent: "count",
  consistency: {
    "": ["local", "strict"],
    maxAge: "duration"
  } satisfies KindsOf<Exclude<Consistency, string>> & { readonly "": ReadonlyArray<Extract<Consistency, string>> },
  evidence: ["pooled", "any"],
  onStorageError: ["allow", "fail"],
  enforcement: ["enforce", "metricsOnly"],
  approachAt: "share or false",
  syncEvery: "duration",
  reports: ["quiet", "every interval"]
} as const satisfies KindsOf<Data>

const keyedKinds = {
  capacity: "count",
  idleTimeToLive: "duration",
  overflow: ["evictIdle", "shareOne", "passThrough"],
  neverOpenMoreThan: "rate"
} as const satisfies KindsOf<Record<(typeof keyedNames)[number], unknown>>

export interface PolicyField {
  /** Where it is in a policy: `["halfOpen", "probes"]`. */
  readonly path: ReadonlyArray<string>
  readonly kind: Kind
}

const isKind = (kind: Kind | Kinds): kind is Kind => typeof kind === "string" || Array.isArray(kind)

const fieldsOf = (kinds: Kinds, outer: ReadonlyArray<string> = []): ReadonlyArray<PolicyField> =>
  Object.entries(kinds).flatMap(([name, kind]) => {
    const path = name === "" ? outer : [...outer, name]
    return isKind(kind) ? [{ path, kind }] : fieldsOf(kind, path)
  })

/** The fields of a policy that is data. */
export const policyFields: ReadonlyArray<PolicyField> = fieldsOf(kinds)

/** The fields that keyed breakers have besides. */
export const keyedFields: ReadonlyArray<PolicyField> = fieldsOf(keyedKinds)

/** `maxOpenFor` as `max_open_for`. */
export const snakeCase = (name: string): string => name.replaceAll(/([a-z])([A-Z])/g, "$1_$2").toLowerCase()

/** The name of a field's environment variable, without its prefix. */
export const variableOf = (path: ReadonlyArray<string>): string => path.map(snakeCase).join("_").toUpperCase()

interface Given {
  readonly path: ReadonlyArray<string>
  readonly value: unknown
  /** The value as it was given, for messages. */
  readonly name: string
}

/** The fields that are given besides one that says the same: `consistency` besides `consistency.maxAge`. */
export const givenTwice = (
  values: ReadonlyArray<Given>
): ReadonlyArray<{ readonly name: string; readonly because: string }> =>
  values.flatMap(({ name, path: [outer, inner] }) =>
    inner === undefined
      ? values.filter(({ path }) => path[0] === outer && path.length > 1).slice(0, 1).map((other) => ({
        name,
        because: other.name
      }))
      : []
  )

/** An object with a value at each path. */
export const nested = (values: ReadonlyArray<Given>): Readonly<Record<string, unknown>> => {
  const whole: Record<string, unknown> = {}
  for (const { path, value } of values) {
    const [last, ...outer] = path.toReversed()
    const holder = outer.reduceRight<Record<string, unknown>>((held, name) => {
      const inner = held[name]
      return held[name] = typeof inner === "object" ? { ...inner } : {}
    }, whole)
    holder[last!] = value
  }
  return whole
}
