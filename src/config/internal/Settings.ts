/**
 * The settings of one service by one source, field by field, and the policy that they make.
 *
 * Sources are merged as they were written: `PAYMENTS_FAILURE_THRESHOLD` replaces `failure_threshold` of the file and leaves its
 * `error_rate_threshold`. The trip policy is made of what is then there.
 */
import type { KeyedOptions } from "../../Breaker.ts"
import type { Problem as Refused } from "../../internal/Check.ts"
import { givenTwice, nested } from "../../internal/PolicyFields.ts"
import { keyedFields, keyedProblems, problems as policyProblems } from "../../internal/ResolvedPolicy.ts"
import type { Data, Policy } from "../../Policy.ts"
import type { Trip } from "../../Trip.ts"
import { type Field, fields } from "./Fields.ts"
import { type At, type Problem, problemAt, sourceOf } from "./Problem.ts"

export interface Setting {
  readonly field: Field
  readonly value: unknown
  readonly at: At
}

/** By the name of the field's first key, or of both: `half_open.probes`. */
export type Settings = ReadonlyMap<string, Setting>

export type ServiceData = Data & KeyedOptions

export const nameOf = ({ keys }: Field): string => keys.join(".")

const TRIP_PARTS = fields.filter(({ policy }) => policy === undefined).map(nameOf)

/** Where a setting of a policy's field is: by any of the names of the field. */
const settingsOf = (settings: Settings, field: string): ReadonlyArray<Setting> =>
  [...settings.values()].filter(({ field: { policy } }) => policy?.join(".") === field)

/** The settings of one source, without those that say the same twice. */
export const settingsFrom = (given: ReadonlyArray<Setting>, found: Array<Problem>): Settings => {
  const settings = new Map<string, Setting>()
  const byPolicy = new Map<string, Setting>()
  for (const setting of given) {
    const field = setting.field.policy?.join(".")
    const other = field === undefined ? undefined : byPolicy.get(field)
    if (other !== undefined) {
      found.push(problemAt(setting.at, `left out, because ${nameIn(other)} is another name of it and is given, too`))
      continue
    }
    if (field !== undefined) byPolicy.set(field, setting)
    settings.set(nameOf(setting.field), setting)
  }
  const trip = settings.get("trip")
  for (const name of ["failure_threshold", "error_rate_threshold"]) {
    const part = settings.get(name)
    if (trip !== undefined && part !== undefined) {
      found.push(problemAt(part.at, `left out, because ${nameIn(trip)} is the whole trip policy`))
    }
  }
  for (const { because, name } of givenTwice(asGiven(settings))) {
    found.push(problemAt(settings.get(name)!.at, `left out, because ${because} is given, too`))
  }
  return settings
}

/** The last part of a place: a variable's name, or a field's. */
const nameIn = ({ at, field }: Setting): string => at.source === at.path[0] ? at.source : nameOf(field)

const asGiven = (settings: Settings) =>
  [...settings].flatMap(([name, { field, value }]) =>
    field.policy === undefined ? [] : [{ path: field.policy, value, name }]
  )

/** Two sources in one. A field of `stronger` replaces the same field of `weaker`, by whatever name. */
export const merged = (weaker: Settings, stronger: Settings): Settings => {
  const replaced = new Set([...stronger.values()].flatMap(({ field }) => fieldsReplacedBy(field)))
  return new Map([...[...weaker].filter(([name]) => !replaced.has(name)), ...stronger])
}

/** Both say when a half-open circuit closes. */
const isSample = (path: ReadonlyArray<string>): boolean => path[1] === "sample"
const isSuccesses = (path: ReadonlyArray<string>): boolean => path[1] === "successes"

/** All names whose values a field replaces: its own names, a whole trip policy its parts, and a part the whole. */
const fieldsReplacedBy = (field: Field): ReadonlyArray<string> => {
  const [outer] = field.policy ?? ["trip"]
  const names = fields.filter(({ keys, policy }) =>
    policy === undefined || field.policy === undefined
      ? keys.join() === field.keys.join()
      : policy.join() === field.policy.join() ||
        // `consistency: strict` and `consistency.max_age` are one field in two forms.
        (outer === "consistency" && policy[0] === outer) ||
        (isSample(policy) && isSuccesses(field.policy)) || (isSuccesses(policy) && isSample(field.policy))
  ).map(nameOf)
  if (field.policy?.[0] === "trip") return [...names, ...TRIP_PARTS]
  return field.policy === undefined ? [...names, "trip"] : names
}

// -----------------------------------------------------------------------------
// the policy
// -----------------------------------------------------------------------------

const DEFAULT_WINDOW = "60 seconds"
const DEFAULT_MINIMUM_CALLS = 10

/** The trip policy of the settings, if they have one. */
const tripOf = (settings: Settings): Trip | undefined => {
  const value = (name: string) => settings.get(name)?.value
  const failures = value("failure_threshold") as number | undefined
  const threshold = value("error_rate_threshold") as number | undefined
  const streak: Trip | undefined = failures === undefined ? undefined : { _tag: "ConsecutiveFailures", failures }
  const rate: Trip | undefined = threshold === undefined ? undefined : {
    _tag: "FailureRate",
    threshold,
    minimumCalls: (value("minimum_calls") ?? DEFAULT_MINIMUM_CALLS) as number,
    window: { _tag: "Within", duration: (value("window") ?? DEFAULT_WINDOW) as Data["openFor"] & {} }
  }
  return streak !== undefined && rate !== undefined
    ? { _tag: "Any", policies: [streak, rate] }
    : value("trip") as Trip | undefined ?? streak ?? rate
}

/** The policy's fields that the settings give, and no others. */
export const dataOf = (settings: Settings): ServiceData => {
  const trip = tripOf(settings)
  const data = nested(asGiven(settings)) as ServiceData
  return trip === undefined ? data : { ...data, trip }
}

/** The problems of the settings by themselves. */
export const settingsProblems = (settings: Settings): ReadonlyArray<Problem> => {
  const parts = settings.has("error_rate_threshold") ? [] : ["window", "minimum_calls"]
  const alone = parts.flatMap((name) => {
    const part = settings.get(name)
    return part === undefined ? [] : [problemAt(part.at, "left out, because it needs error_rate_threshold beside it")]
  })
  return alone.length > 0 ? alone : dataProblems(settings, dataOf(settings))
}

/** The problems of a policy that the settings are part of, each at the setting that it comes from. */
export const dataProblems = (settings: Settings, policy: Policy & KeyedOptions): ReadonlyArray<Problem> =>
  located(settings, [...policyProblems(policy, keyedFields), ...keyedProblems(policy)])

/** Says where in the configuration the problems of a policy are. */
export const located = (settings: Settings, found: ReadonlyArray<Refused>): ReadonlyArray<Problem> =>
  found.flatMap(({ field, range, value }) => {
    const [setting] = settingsBehind(settings, field)
    return setting === undefined
      ? [...settings.values()].slice(0, 1).map(({ at }) =>
        problemAt({ ...at, path: [...at.path.slice(0, -1), field], value }, range)
      )
      : [problemAt(setting.at, range)]
  })

/** The settings that a field with a problem was made of. A problem of a trip policy names a field within it. */
const settingsBehind = (settings: Settings, field: string): ReadonlyArray<Setting> => {
  if (field === "consistency with onStorageError") {
    return [...settingsOf(settings, "onStorageError"), ...consistencyOf(settings)]
  }
  if (field === "consistency") return consistencyOf(settings)
  const direct = settingsOf(settings, field)
  if (direct.length > 0 || !field.startsWith("trip")) return direct
  const part = partNames[field.slice(field.lastIndexOf(".") + 1)]
  const setting = settings.get("trip") ?? (part === undefined ? undefined : settings.get(part))
  return setting === undefined ? TRIP_PARTS.flatMap((name) => settings.get(name) ?? []) : [setting]
}

const consistencyOf = (settings: Settings): ReadonlyArray<Setting> => [
  ...settingsOf(settings, "consistency"),
  ...settingsOf(settings, "consistency.maxAge")
]

/** The setting that gives each field of the trip policies above. */
const partNames: Readonly<Record<string, string>> = {
  failures: "failure_threshold",
  threshold: "error_rate_threshold",
  minimumCalls: "minimum_calls",
  within: "window"
}

/** Which source gave each field of the policy: `{ openFor: "breakers.yaml:12" }`. */
export const sourcesOf = (settings: Settings): Readonly<Record<string, string>> => {
  const from = new Map<string, string>()
  for (const { at, field } of settings.values()) {
    const name = field.policy?.join(".") ?? "trip"
    const source = sourceOf(at)
    const other = from.get(name)
    from.set(name, other === undefined ? source : `${other}, ${source}`)
  }
  return Object.fromEntries(from)
}
