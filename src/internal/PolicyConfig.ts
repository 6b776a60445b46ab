/** Policies from a `ConfigProvider`: what is read, what is refused, and which variables nobody reads. */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { TripFromJson } from "../Policy.ts"
import { inWords, nearest, type Problem } from "./Check.ts"
import { configErrorOf, rangeErrorsFail } from "./ConfigErrors.ts"
import { logged } from "./Log.ts"
import { messages } from "./Messages.ts"
import type { Data, Policy } from "./PolicyModel.ts"
import { given, problems, undeclared } from "./ResolvedPolicy.ts"

const checked = <P extends Policy>(
  what: string,
  policy: P,
  found: ReadonlyArray<Problem>
): Effect.Effect<P, Config.ConfigError> =>
  found.length === 0
    ? Effect.succeed(policy)
    : Effect.fail(configErrorOf(`${what}: ${found.map(inWords).join("; ")}`))

/**
 * A policy with what config gives. Fails if it is invalid, or if it makes an error possible that `declared` does not. A trip
 * policy that config computes with the constructors of `Trip` is checked by them: what they throw is an error of config, too.
 */
export const configured = <P extends Policy>(
  circuit: string,
  declared: Policy,
  config: () => Config.Config<Policy>,
  merge: (given: Policy) => P,
  check: (policy: P) => ReadonlyArray<Problem> = problems
): Effect.Effect<P, Config.ConfigError> =>
  Effect.suspend(config).pipe(
    rangeErrorsFail,
    Effect.flatMap((values) => {
      const policy = merge(values)
      const found = [...check(policy), ...undeclared(declared, policy)]
      return checked(`Circuit ${JSON.stringify(circuit)}`, policy, found)
    })
  )

// -----------------------------------------------------------------------------
// Breaker.config
// -----------------------------------------------------------------------------

const halfOpen = {
  probes: Config.Finite("HALF_OPEN_PROBES"),
  successes: Config.Finite("HALF_OPEN_SUCCESSES"),
  lease: Config.Duration("HALF_OPEN_LEASE"),
  timeout: Config.Duration("HALF_OPEN_TIMEOUT"),
  ramp: Config.Duration("HALF_OPEN_RAMP")
}

const fields = {
  trip: Config.schema(Schema.fromJsonString(TripFromJson), "TRIP"),
  openFor: Config.Duration("OPEN_FOR"),
  maxOpenFor: Config.Duration("MAX_OPEN_FOR"),
  timeout: Config.Duration("TIMEOUT"),
  maxConcurrent: Config.Finite("MAX_CONCURRENT"),
  enforcement: Config.Literals(["enforce", "metricsOnly"], "ENFORCEMENT"),
  approachAt: Config.schema(Schema.Union([Schema.Finite, Schema.Literal(false)]), "APPROACH_AT")
}

/** The variables that are read, without their prefix. */
const KNOWN = [
  "TRIP",
  "OPEN_FOR",
  "MAX_OPEN_FOR",
  "TIMEOUT",
  "MAX_CONCURRENT",
  "ENFORCEMENT",
  "APPROACH_AT",
  "HALF_OPEN_PROBES",
  "HALF_OPEN_SUCCESSES",
  "HALF_OPEN_LEASE",
  "HALF_OPEN_TIMEOUT",
  "HALF_OPEN_RAMP"
]

/** The fields that are set. One that is not set is absent, so that a policy may be spread over another. */
const present = <A extends Readonly<Record<string, Config.Config<any>>>>(configs: A) =>
  Config.map(
    Config.all(
      Object.fromEntries(
        Object.entries(configs).map(([field, config]) => [
          field,
          Config.map(Config.option(config), Option.getOrUndefined)
        ])
      )
    ),
    given
  )

/** A policy from the variables under a prefix. */
export const policyFrom = (prefix: string): Config.Config<Data> =>
  Config.nested(Config.all({ own: present(fields), halfOpen: present(halfOpen) }), prefix).pipe(
    Config.map(({ halfOpen, own }): Data => Object.keys(halfOpen).length === 0 ? own : { ...own, halfOpen }),
    (policy) => Config.all({ policy, names: namesUnder(prefix) }),
    Config.mapEffect(({ names, policy }) =>
      Effect.andThen(reportUnread(prefix, names), checked(prefix, policy, problems(policy)))
    )
  )

// -----------------------------------------------------------------------------
// variables that nobody reads
// -----------------------------------------------------------------------------

/** As many words as the longest name has, and one more. */
const MOST_WORDS = 4

const Values = Schema.Record(Schema.String, Schema.UndefinedOr(Schema.String))

/** The names of the values under a path. A provider that cannot list them has none. */
const namesAt = (path: ReadonlyArray<string>, words: number): Config.Config<ReadonlyArray<string>> =>
  Config.schema(Values, path).pipe(
    Config.orElse(() => Config.succeed({})),
    Config.flatMap((values) => {
      const names = Object.entries(values).map(([name, value]) => {
        const own = value === undefined ? [] : [name]
        return words === 1
          ? Config.succeed(own)
          : Config.map(
            namesAt([...path, name], words - 1),
            (names) => [...own, ...names.map((rest) => `${name}_${rest}`)]
          )
      })
      return Config.map(Config.all(names), (names) => names.flat())
    })
  )

/** An environment is listed by the words of its names, other sources by the prefix as it is. */
const namesUnder = (prefix: string): Config.Config<ReadonlyArray<string>> =>
  Config.flatMap(
    namesAt([prefix], MOST_WORDS),
    (names) =>
      names.length > 0 || !prefix.includes("_") ? Config.succeed(names) : namesAt(prefix.split("_"), MOST_WORDS)
  )

const HALF_OPEN = "HALF_OPEN_"

const HALF_OPEN_WORDS = KNOWN.flatMap((name) => name.startsWith(HALF_OPEN) ? [name.slice(HALF_OPEN.length)] : [])

/** The variable that was probably meant. */
const guess = (name: string): string | undefined => {
  if (!name.startsWith(HALF_OPEN)) {
    return nearest(name, KNOWN) ?? KNOWN.find((known) => name.startsWith(`${known}_`) || known.endsWith(`_${name}`))
  }
  const word = nearest(name.slice(HALF_OPEN.length), HALF_OPEN_WORDS)
  return word === undefined ? undefined : HALF_OPEN + word
}

/**
 * Logs the variables that are not read, but were probably meant to be, and at a lower level all others. A prefix is often shared
 * with what else configures the dependency, and Kubernetes adds `PAYMENTS_PORT` and `PAYMENTS_SERVICE_HOST` for its service
 * `payments`. A name that ends as one of the breaker's is another breaker's, with a longer prefix.
 */
const reportUnread = (prefix: string, names: ReadonlyArray<string>): Effect.Effect<void> => {
  const misspelt: Array<string> = []
  const others: Array<string> = []
  for (const name of names) {
    if (KNOWN.includes(constantCase(name))) continue
    const meant = KNOWN.some((known) => name.endsWith(`_${known}`)) ? undefined : guess(name)
    if (meant !== undefined) misspelt.push(`${prefix}_${name} (did you mean ${prefix}_${meant}?)`)
    else if (name.startsWith(HALF_OPEN)) misspelt.push(`${prefix}_${name}`)
    else others.push(`${prefix}_${name}`)
  }
  const line = (
    message: typeof messages.variablesMisspelt | typeof messages.variablesUnread,
    variables: Array<string>
  ) => variables.length === 0 ? Effect.void : logged(message, { prefix, variables: variables.join(", ") })
  return Effect.andThen(line(messages.variablesMisspelt, misspelt), line(messages.variablesUnread, others))
}

/** `openFor` of a file, as a provider in constant case reads it. */
const constantCase = (name: string): string => name.replaceAll(/([a-z])([A-Z])/g, "$1_$2").toUpperCase()
