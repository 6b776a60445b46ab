/** The schema of a configuration file: for editors what a file may hold, for programs what comes of it. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as SchemaGetter from "effect/SchemaGetter"
import * as SchemaIssue from "effect/SchemaIssue"
import { isObject } from "../../internal/Check.ts"
import { type Kind, snakeCase } from "../../internal/PolicyFields.ts"
import type { Data } from "../../Policy.ts"
import { decode, type Decoded, type Persistence, PERSISTENCES } from "./Decode.ts"
import { type Field, fields } from "./Fields.ts"
import { insideOf, inWords, type Problem } from "./Problem.ts"
import { dataOf, type ServiceData } from "./Settings.ts"

/** The content of a configuration file, in the library's own names. */
export interface File {
  readonly circuit_breaker?: {
    readonly enabled?: boolean | undefined
    readonly persistence?: Persistence | undefined
    readonly defaults?: Data | undefined
    readonly services?: Readonly<Record<string, ServiceData>> | undefined
  } | undefined
  readonly redis?: { readonly url?: string | undefined; readonly pool_size?: number | undefined } | undefined
}

// -----------------------------------------------------------------------------
// for editors
// -----------------------------------------------------------------------------

const Count = Schema.Int.check(Schema.isGreaterThanOrEqualTo(1))
const Factor = Schema.Finite.check(Schema.isGreaterThanOrEqualTo(1))
const Rate = Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1 }))
const ShareOrFalse = Schema.Union([
  Schema.Finite.check(Schema.isGreaterThan(0), Schema.isLessThanOrEqualTo(1)),
  Schema.Literal(false)
])
const InSeconds = Schema.Union([Schema.Finite.check(Schema.isGreaterThanOrEqualTo(0)), Schema.String])

const Window = Schema.Union([
  Schema.Struct({ _tag: Schema.Literal("Within"), duration: InSeconds }),
  Schema.Struct({ _tag: Schema.Literal("LastCalls"), calls: Count })
])

// A schema with an identifier is one definition that others refer to, so it has the description of all its uses.
const Trip: Schema.Codec<unknown> = Schema.Union([
  Schema.Struct({ _tag: Schema.Literal("ConsecutiveFailures"), failures: Count }),
  Schema.Struct({ _tag: Schema.Literal("Failures"), count: Count, within: InSeconds }),
  Schema.Struct({ _tag: Schema.Literal("FailureRate"), threshold: Rate, minimum_calls: Count, window: Window }),
  Schema.Struct({
    _tag: Schema.Literal("SlowCallRate"),
    threshold: Rate,
    slower_than: InSeconds,
    minimum_calls: Count,
    window: Window
  }),
  Schema.Struct({
    _tag: Schema.Literals(["Any", "All"]),
    policies: Schema.Array(Schema.suspend((): Schema.Codec<unknown> => Trip))
  })
]).annotate({
  identifier: "Trip",
  description: fields.find(({ kind }) => kind === "trip")!.description
}) as unknown as Schema.Codec<unknown>

const schemaOf = (kind: Kind): Schema.Codec<unknown, unknown> => {
  switch (kind) {
    case "duration":
      return InSeconds
    case "count":
      return Count
    case "factor":
      return Factor
    case "rate":
      return Rate
    case "share or false":
      return ShareOrFalse
    case "trip":
      return Trip
    default:
      return Schema.Literals(kind)
  }
}

const described = ({ description, kind }: Field): Schema.Codec<unknown, unknown> =>
  kind === "trip" ? Trip : schemaOf(kind).annotate({ description })

const serviceSchema = (own: ReadonlyArray<Field>, depth = 0): Schema.Codec<unknown, unknown> => {
  const groups = Map.groupBy(own, ({ keys }) => keys[depth]!)
  const member = (group: ReadonlyArray<Field>): Schema.Codec<unknown, unknown> => {
    const [first] = group.filter(({ keys }) => keys.length === depth + 1)
    const inner = group.filter(({ keys }) => keys.length > depth + 1)
    const scalar = first === undefined ? [] : [described(first)]
    const object = inner.length === 0 ? [] : [serviceSchema(inner, depth + 1)]
    const [only, ...others] = [...scalar, ...object]
    return others.length === 0 ? only! : Schema.Union([...scalar, ...object])
  }
  return Schema.Struct(Object.fromEntries([...groups].map(([key, group]) => [key, Schema.optionalKey(member(group))])))
}

const Service = serviceSchema(fields).annotate({ identifier: "Service" })

const Text = Schema.Struct({
  circuit_breaker: Schema.optionalKey(Schema.Struct({
    enabled: Schema.optionalKey(
      Schema.Union([Schema.Boolean, Schema.Literals(["on", "off", "yes", "no"])]).annotate({
        description: "false: every call runs without its breaker. CIRCUIT_BREAKER_ENABLED comes first."
      })
    ),
    persistence: Schema.optionalKey(
      Schema.Literals(PERSISTENCES).annotate({
        description: "Where circuits are kept. CIRCUIT_BREAKER_PERSISTENCE comes first. Default memory."
      })
    ),
    defaults: Schema.optionalKey(Service),
    services: Schema.optionalKey(
      Schema.Record(Schema.String, Service).annotate({
        description:
          "By the names of the breakers: before what the class says. defaults are for every service, beneath it."
      })
    )
  })),
  redis: Schema.optionalKey(Schema.Struct({
    url: Schema.optionalKey(Schema.String.annotate({ description: "redis:// or rediss://. REDIS_URL comes first." })),
    pool_size: Schema.optionalKey(
      Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1000 })).annotate({
        description:
          "How many connections can be reserved. Circuit breakers use none of them. REDIS_POOL_SIZE comes first."
      })
    )
  }))
}).annotate({ title: "effect-breaker" })

// -----------------------------------------------------------------------------
// for programs
// -----------------------------------------------------------------------------

const present = <A extends object>(members: A): Partial<A> | undefined => {
  const entries = Object.entries(members).filter(([, value]) => value !== undefined)
  return entries.length === 0 ? undefined : Object.fromEntries(entries) as Partial<A>
}

/** A document that was decoded, as a program sees it. */
export const toFile = ({ defaults, enabled, persistence, redisPoolSize, redisUrl, services }: Decoded): File =>
  present({
    circuit_breaker: present({
      enabled: enabled?.value,
      persistence: persistence?.value,
      defaults: defaults.size === 0 ? undefined : dataOf(defaults),
      services: services.size === 0
        ? undefined
        : Object.fromEntries([...services].map(([name, settings]) => [name, dataOf(settings)]))
    }),
    redis: present({ url: redisUrl?.value, pool_size: redisPoolSize?.value })
  }) ?? {}

const fromDocument = (value: unknown): Effect.Effect<File, SchemaIssue.Issue> => {
  const found = { problems: new Array<Problem>(), unknown: new Array<Problem>() }
  const decoded = decode({ source: "document", line: undefined, path: [], value }, insideOf, found)
  const problems = [...found.problems, ...found.unknown]
  return problems.length === 0
    ? Effect.succeed(toFile(decoded))
    : Effect.fail(new SchemaIssue.InvalidValue({ message: problems.map(inWords).join("\n") }))
}

/** The document that a file comes from: keys in snake case, durations with their unit. */
const toDocument = ({ circuit_breaker: breaker, redis }: File): unknown =>
  present({
    circuit_breaker: breaker === undefined ? undefined : present({
      ...breaker,
      defaults: breaker.defaults === undefined ? undefined : written(breaker.defaults),
      services: breaker.services === undefined ? undefined : Object.fromEntries(
        Object.entries(breaker.services).map(([name, data]) => [name, written(data)])
      )
    }),
    redis: redis === undefined ? undefined : present(redis)
  }) ?? {}

const DURATIONS = [
  ...fields.flatMap(({ kind, policy }) => kind === "duration" ? policy?.at(-1) ?? [] : []),
  "within",
  "slowerThan",
  "duration"
]

const written = (value: unknown, name = ""): unknown => {
  if (value === undefined) return undefined
  if (DURATIONS.includes(name)) {
    return `${Duration.toMillis(Duration.fromInputUnsafe(value as Duration.Input))} millis`
  }
  if (Array.isArray(value)) return value.map((value) => written(value))
  if (!isObject(value)) return value
  return present(Object.fromEntries(
    Object.entries(value).map(([name, value]) => [name === "_tag" ? name : snakeCase(name), written(value, name)])
  )) ?? {}
}

const Document = Schema.declare((_: unknown): _ is unknown => true, {
  toCodecJson: () =>
    Schema.link<unknown>()(Text, {
      decode: SchemaGetter.transform((text: unknown) => text),
      encode: SchemaGetter.transform((value: unknown) => value as typeof Text.Type)
    })
})

export const File: Schema.Codec<File, unknown> = Document.pipe(
  Schema.decodeTo(Schema.declare((value: unknown): value is File => isObject(value)), {
    decode: SchemaGetter.transformEffect(fromDocument),
    encode: SchemaGetter.transform(toDocument)
  })
)

/** The JSON Schema for editors. */
export const jsonSchema = (): object => {
  const { definitions, schema } = Schema.toJsonSchemaDocument(Text, { onExcessProperty: "error" })
  return { $schema: "https://json-schema.org/draft/2020-12/schema", ...schema, $defs: definitions }
}
