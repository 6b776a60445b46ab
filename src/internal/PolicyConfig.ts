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
import { givenTwice, type Kind, nested, policyFields, snakeCase, variableOf } from "./PolicyFields.ts"
import type { Data, Policy } from "./PolicyModel.ts"
import { problems, undeclared } from "./ResolvedPolicy.ts"

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

const fields = policyFields.map((field) => ({ ...field, variable: variableOf(field.path) }))

/** The variables that are read, without their prefix. */
const KNOWN = fields.map(({ variable }) => variable)

const configOf = (variable: string, kind: Kind): Config.Config<unknown> => {
  switch (kind) {
    case "trip":
      return Config.schema(Schema.fromJsonString(TripFromJson), variable)
    case "duration":
      return Config.Duration(variable)
    case "share or false":
      return Config.schema(Schema.Union([Schema.Finite, Schema.Literal(false)]), variable)
    case "count":
    case "factor":
    case "rate":
      return Config.Finite(variable)
    default:
      return Config.Literals(kind, variable)
  }
}

/** The fields that are set. One that is not set is absent, so that a policy may be spread over another. */
const set: Config.Config<Data> = Config.mapEffect(
  Config.all(fields.map(({ kind, path, variable }) =>
    Config.map(
      Config.option(configOf(variable, kind)),
      Option.map((value) => ({ path, value, name: variable }))
    )
  )),
  (values) => {
    const given = values.flatMap(Option.toArray)
    const [twice] = givenTwice(given)
    return twice === undefined
      ? Effect.succeed(nested(given))
      : Effect.fail(configErrorOf(`${twice.name} must be left out, because ${twice.because} is given, too`))
  }
)

/** A policy from the variables under a prefix. */
export const policyFrom = (prefix: string): Config.Config<Data> =>
  Config.mapEffect(
    Config.all({ policy: Config.nested(set, prefix), unread: reportUnread(prefix, KNOWN) }),
    ({ policy }) => checked(prefix, policy, problems(policy))
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

/** The variable that was probably meant. */
const guess = (name: string, known: ReadonlyArray<string>): string | undefined => {
  if (!name.startsWith(HALF_OPEN)) {
    return nearest(name, known) ?? known.find((known) => name.startsWith(`${known}_`) || known.endsWith(`_${name}`))
  }
  const words = known.flatMap((name) => name.startsWith(HALF_OPEN) ? [name.slice(HALF_OPEN.length)] : [])
  const word = nearest(name.slice(HALF_OPEN.length), words)
  return word === undefined ? undefined : HALF_OPEN + word
}

/**
 * Logs the variables that are not read, but were probably meant to be, and at a lower level all others. A prefix is often shared
 * with what else configures the dependency, and Kubernetes adds `PAYMENTS_PORT` and `PAYMENTS_SERVICE_HOST` for its service
 * `payments`. A name that ends as one of the breaker's is another breaker's, with a longer prefix.
 */
export const reportUnread = (prefix: string, known: ReadonlyArray<string>): Config.Config<void> =>
  Config.mapEffect(namesUnder(prefix), (names) => {
    const misspelt: Array<string> = []
    const others: Array<string> = []
    for (const name of names) {
      if (known.includes(constantCase(name))) continue
      const meant = known.some((known) => name.endsWith(`_${known}`)) ? undefined : guess(name, known)
      if (meant !== undefined) misspelt.push(`${prefix}_${name} (did you mean ${prefix}_${meant}?)`)
      else if (name.startsWith(HALF_OPEN)) misspelt.push(`${prefix}_${name}`)
      else others.push(`${prefix}_${name}`)
    }
    const line = (
      message: typeof messages.variablesMisspelt | typeof messages.variablesUnread,
      variables: Array<string>
    ) => variables.length === 0 ? Effect.void : logged(message, { prefix, variables: variables.join(", ") })
    return Effect.andThen(line(messages.variablesMisspelt, misspelt), line(messages.variablesUnread, others))
  })

/** `openFor` of a file, as a provider in constant case reads it. */
const constantCase = (name: string): string => snakeCase(name).toUpperCase()
