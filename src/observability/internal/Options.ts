/** The options of the exporter, checked, with their defaults. */
import * as Duration from "effect/Duration"
import { countIn, durationIn, fieldsIn, isObject, lineIn, type Problem, refuse } from "../../internal/Check.ts"
import { type Attributes, type Row, table } from "../../internal/MetricTable.ts"

/**
 * The options of `layer`.
 *
 * - `include`: which breakers, by their name. Default: all.
 * - `keyed`: of a keyed breaker, whose keys may be anything. `sum`, the default: one set of series under the breaker's name, in which
 *   `circuit_breaker.state` is the number of circuits in each state. `{ top: n }`: that, and the series of at most n circuits, those
 *   that are not closed before those with the most failures in their window. They are chosen anew every 10 seconds, and the series of
 *   the others are removed. `none`: nothing. There is no way to export all keys.
 * - `durations`: a histogram of call durations, by default in buckets from 5 ms to 10 seconds. Each call then reads the clock twice and
 *   takes a permit, so the default is `false`.
 * - `errors`: failures by `error.type`, the error's `_tag` or else its class. After 20 types of a circuit the others are `_OTHER`.
 *   Default `false`.
 * - `stateCode`: the state as a number, for boards that want one. Default `false`, because such numbers cannot be added up and know
 *   no overrides.
 * - `attributes`: on every series.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly include?: ((name: string) => boolean) | undefined
  readonly keyed?: "sum" | "none" | { readonly top: number } | undefined
  readonly durations?: boolean | { readonly boundaries: ReadonlyArray<Duration.Input> } | undefined
  readonly errors?: boolean | undefined
  readonly stateCode?: boolean | undefined
  readonly attributes?: Readonly<Record<string, string>> | undefined
}

export interface Resolved {
  readonly include: (name: string) => boolean
  readonly keyed: "sum" | "none"
  /** How many keys of a keyed breaker have series of their own. */
  readonly top: number
  /** In seconds. */
  readonly boundaries: ReadonlyArray<number> | undefined
  readonly errors: boolean
  readonly stateCode: boolean
  readonly attributes: Attributes
}

/** The most keys of a breaker with series of their own. */
const MOST_TOP = 1000

const MOST_BOUNDARIES = 100

const DAY_MILLIS = 24 * 60 * 60 * 1000

/** Those that OpenTelemetry advises for durations of requests. */
const defaultBoundaries = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]

/** Throws a `RangeError` that names each option that is out of range, its value and the range. */
export const resolve = (options: Options): Resolved => {
  refuse("BreakerMetrics", fieldsIn("", options, fields))
  refuse("BreakerMetrics", problems(options))
  const { attributes = {}, durations = false, errors = false, include = () => true, keyed = "sum" } = options
  return {
    include,
    keyed: keyed === "none" ? "none" : "sum",
    top: isObject(keyed) ? keyed.top : 0,
    boundaries: durations === false
      ? undefined
      : durations === true
      ? defaultBoundaries
      : durations.boundaries.map((boundary) => Duration.toSeconds(Duration.fromInputUnsafe(boundary))),
    errors,
    stateCode: options.stateCode ?? false,
    attributes
  }
}

const fields = ["include", "keyed", "durations", "errors", "stateCode", "attributes"] satisfies ReadonlyArray<
  keyof Options
>

const problems = (
  { attributes = {}, durations = false, errors = false, include, keyed = "sum", stateCode = false }: Options
): ReadonlyArray<Problem> => [
  ...(include === undefined || typeof include === "function"
    ? []
    : [{ field: "include", value: include, range: "a function of a breaker's name" }]),
  ...(isObject(keyed)
    ? [...fieldsIn("keyed.", keyed, ["top"]), ...countIn("keyed.top", keyed.top, 1, MOST_TOP)]
    : keyed === "sum" || keyed === "none"
    ? []
    : [{ field: "keyed", value: keyed, range: "sum, none or { top: n }" }]),
  ...(isObject(durations) ? boundaryProblems(durations) : booleanIn("durations", durations)),
  ...booleanIn("errors", errors),
  ...booleanIn("stateCode", stateCode),
  ...attributeProblems(attributes)
]

const booleanIn = (field: string, value: unknown): ReadonlyArray<Problem> =>
  typeof value === "boolean" ? [] : [{ field, value, range: "true or false" }]

const boundaryProblems = (
  durations: { readonly boundaries: ReadonlyArray<Duration.Input> }
): ReadonlyArray<Problem> => {
  const { boundaries } = durations
  const unknown = fieldsIn("durations.", durations, ["boundaries"])
  if (unknown.length > 0) return unknown
  if (!Array.isArray(boundaries) || boundaries.length === 0 || boundaries.length > MOST_BOUNDARIES) {
    return [{ field: "durations.boundaries", value: boundaries, range: `1 to ${MOST_BOUNDARIES} durations` }]
  }
  const wrong = boundaries.flatMap((boundary, i) => durationIn(`durations.boundaries[${i}]`, boundary, 0, DAY_MILLIS))
  if (wrong.length > 0) return wrong
  const millis = boundaries.map((boundary) => Duration.toMillis(Duration.fromInputUnsafe(boundary)))
  return millis.every((each, i) => i === 0 || each > millis[i - 1]!)
    ? []
    : [{ field: "durations.boundaries", value: boundaries, range: "in ascending order, without repeats" }]
}

/** As Effect's Prometheus exporter makes it of an attribute. */
const label = (attribute: string): string => attribute.replaceAll(/[^a-zA-Z0-9_]/g, "_").replaceAll(/_+/g, "_")

const rows: ReadonlyArray<Row> = Object.values(table)

/** Attributes that series have already, and labels that exporters add. */
const taken = new Set([
  ...rows.flatMap(({ attributes, subject }) => subject === undefined ? [...attributes] : [...attributes, subject])
    .map(label),
  "unit",
  "time_unit",
  "le"
])

const attributeProblems = (attributes: Attributes): ReadonlyArray<Problem> => {
  if (!isObject(attributes)) {
    return [{ field: "attributes", value: attributes, range: "an object of texts" }]
  }
  const names = Object.keys(attributes)
  return names.flatMap((name, i) => {
    const field = `attributes[${JSON.stringify(name)}]`
    const isOwn = !taken.has(label(name)) && names.findIndex((other) => label(other) === label(name)) === i
    return [
      ...(/^[a-zA-Z][a-zA-Z0-9_.]{0,99}$/.test(name) && isOwn ? [] : [{
        field,
        value: attributes[name],
        range: "under a name of letters, digits, dots and underscores that no other attribute has"
      }]),
      ...lineIn(field, attributes[name], 1000)
    ]
  })
}
