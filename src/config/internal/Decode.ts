/**
 * The settings of a document, or all of its problems.
 *
 * Keys come from anywhere, `__proto__` too: they are only compared with those that are known, and the services are kept in a `Map`.
 */
import { isDate } from "effect/Predicate"
import { isObject, nearest } from "../../internal/Check.ts"
import { nameProblems } from "../../internal/CircuitName.ts"
import { TRUTH_ALLOWED, truthOf } from "../../internal/ConfigWords.ts"
import { type Field, fields } from "./Fields.ts"
import { type At, type Inside, type Problem, problemAt } from "./Problem.ts"
import { type Setting, type Settings, settingsFrom, settingsProblems } from "./Settings.ts"
import { readValue } from "./Values.ts"

export const PERSISTENCES = ["memory", "file", "sqlite", "redis", "database", "postgres", "mysql"] as const

export type Persistence = (typeof PERSISTENCES)[number]

/** A value, and where it was given. */
export interface Given<A> {
  readonly value: A
  readonly at: At
}

/** The settings of a file. */
export interface Decoded {
  readonly enabled: Given<boolean> | undefined
  readonly persistence: Given<Persistence> | undefined
  readonly redisUrl: Given<string> | undefined
  readonly redisPoolSize: Given<number> | undefined
  readonly defaults: Settings
  readonly services: ReadonlyMap<string, Settings>
  /** Where each service begins. */
  readonly serviceKeys: ReadonlyMap<string, At>
}

/** The problems. `unknown` are keys that nobody reads, which may only be a warning. */
export interface Found {
  readonly problems: Array<Problem>
  readonly unknown: Array<Problem>
}

export const emptyDecoded: Decoded = {
  enabled: undefined,
  persistence: undefined,
  redisUrl: undefined,
  redisPoolSize: undefined,
  defaults: new Map(),
  services: new Map(),
  serviceKeys: new Map()
}

/** Enough for any program, and few enough to check at once. */
const MOST_SERVICES = 1000

/** Reads the document that `root` holds. `inside` is the place of a key of a place's value. */
export const decode = (root: At, inside: Inside, found: Found): Decoded => {
  const top = members(root, inside, ["circuit_breaker", "redis"], found)
  const breaker = section(top, "circuit_breaker", inside, ["enabled", "persistence", "defaults", "services"], found)
  const redis = section(top, "redis", inside, ["url", "pool_size"], found)
  const settings = (at: At | undefined) => at === undefined ? new Map<string, Setting>() : settingsIn(at, inside, found)
  return {
    enabled: given(breaker.get("enabled"), enabledOf, TRUTH_ALLOWED, found),
    persistence: given(breaker.get("persistence"), persistenceOf, `one of ${PERSISTENCES.join(", ")}`, found),
    redisUrl: given(redis.get("url"), redisUrlOf, "a URL that begins with redis:// or rediss://", found),
    redisPoolSize: given(redis.get("pool_size"), poolSizeOf, "a whole number from 1 to 1000", found),
    defaults: settings(breaker.get("defaults")),
    ...servicesIn(breaker.get("services"), inside, found)
  }
}

/** The known members of an object by their keys. An empty one may be `null`, as in YAML where all its lines are comments. */
const members = (at: At, inside: Inside, known: ReadonlyArray<string>, found: Found): ReadonlyMap<string, At> => {
  const all = anyMembers(at, inside, `an object with the keys ${known.join(", ")}`, found)
  return new Map([...all].filter(([key, at]) => {
    if (known.includes(key)) return true
    found.unknown.push(unknownKey(at, key, known))
    return false
  }))
}

const anyMembers = (at: At, inside: Inside, allowed: string, found: Found): ReadonlyMap<string, At> => {
  if (at.value === null || at.value === undefined) return new Map()
  if (!isObject(at.value) || isDate(at.value)) {
    found.problems.push(problemAt(at, allowed))
    return new Map()
  }
  return new Map(Object.entries(at.value).map(([key, value]) => [key, inside(at, key, value)]))
}

const unknownKey = (at: At, key: string, known: ReadonlyArray<string>): Problem => {
  const near = nearest(key, known)
  return problemAt(
    at,
    near === undefined
      ? `left out, because the only keys here are ${known.join(", ")}`
      : `left out, because there is no such key (did you mean ${near}?)`
  )
}

const section = (
  top: ReadonlyMap<string, At>,
  key: string,
  inside: Inside,
  known: ReadonlyArray<string>,
  found: Found
): ReadonlyMap<string, At> => {
  const at = top.get(key)
  return at === undefined ? new Map() : members(at, inside, known, found)
}

const given = <A>(
  at: At | undefined,
  read: (value: unknown) => A | undefined,
  allowed: string,
  found: Found
): Given<A> | undefined => {
  if (at === undefined) return undefined
  const value = read(at.value)
  if (value === undefined) found.problems.push(problemAt(at, allowed))
  return value === undefined ? undefined : { value, at }
}

export const enabledOf = (value: unknown): boolean | undefined =>
  typeof value === "boolean" ? value : typeof value === "string" ? truthOf(value) : undefined

export const persistenceOf = (value: unknown): Persistence | undefined =>
  PERSISTENCES.find((name) => typeof value === "string" && value.trim() === name)

const redisUrlOf = (value: unknown): string | undefined =>
  typeof value === "string" && /^rediss?:\/\/\S+$/.test(value) && URL.canParse(value) ? value : undefined

const poolSizeOf = (value: unknown): number | undefined =>
  typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= 1000 ? value : undefined

// -----------------------------------------------------------------------------
// services
// -----------------------------------------------------------------------------

const servicesIn = (
  at: At | undefined,
  inside: Inside,
  found: Found
): Pick<Decoded, "services" | "serviceKeys"> => {
  const serviceKeys = at === undefined
    ? new Map<string, At>()
    : anyMembers(at, inside, "an object with a key for each service", found)
  if (at !== undefined && serviceKeys.size > MOST_SERVICES) {
    found.problems.push(problemAt(at, `an object with at most ${MOST_SERVICES} services`))
    return emptyDecoded
  }
  const services = new Map<string, Settings>()
  for (const [name, at] of serviceKeys) {
    for (const { range } of nameProblems(name)) found.problems.push(problemAt(at, `under ${range}`))
    services.set(name, settingsIn(at, inside, found))
  }
  return { services, serviceKeys }
}

/** Fields by one of their keys: one field, or several in an object. `consistency` may be either. */
const byKey = (of: ReadonlyArray<Field>, depth: number): ReadonlyMap<string, ReadonlyArray<Field>> =>
  Map.groupBy(of, ({ keys }) => keys[depth]!)

const settingsIn = (at: At, inside: Inside, found: Found): Settings => {
  const given: Array<Setting> = []
  const problems = found.problems.length
  const read = (field: Field, at: At) => {
    const result = readValue(field.kind, at, "file", inside)
    if ("problems" in result) found.problems.push(...result.problems)
    else given.push({ field, value: result.value, at })
  }
  const readMembers = (at: At, of: ReadonlyArray<Field>, depth: number): void => {
    const groups = byKey(of, depth)
    for (const [key, member] of members(at, inside, [...groups.keys()], found)) {
      const own = groups.get(key)!.find(({ keys }) => keys.length === depth + 1)
      const inner = groups.get(key)!.filter(({ keys }) => keys.length > depth + 1)
      if (inner.length === 0 || (own !== undefined && !isObject(member.value))) read(own!, member)
      else readMembers(member, inner, depth + 1)
    }
  }
  readMembers(at, fields, 0)
  const settings = settingsFrom(given, found.problems)
  // The checks of a whole policy need values that could be read.
  if (found.problems.length === problems) found.problems.push(...settingsProblems(settings))
  return settings
}
