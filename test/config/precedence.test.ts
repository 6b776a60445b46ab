import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect } from "effect"
import { type Field, fields } from "../../src/config/internal/Fields.ts"
import type { Breaker } from "../../src/index.ts"
import { classOf, keyedClassOf, messageOf, policyOf, type Sources } from "./support.ts"

/** From the weakest to the strongest. */
const SOURCES = [
  "Breaker.Defaults",
  "the file's defaults",
  "the class",
  "the file's service",
  "the environment"
] as const

/** A value of a field that is unlike that of the source before: as a file has it, and as the policy does. */
const sampleOf = ({ kind }: Field, i: number): readonly [written: unknown, value: unknown] => {
  switch (kind) {
    case "duration":
      return [11 + i, Duration.seconds(11 + i)]
    case "count":
    case "factor":
      return [2 + i, 2 + i]
    case "rate":
    case "share or false":
      return [0.1 + i / 10, 0.1 + i / 10]
    case "trip": {
      const trip = { _tag: "ConsecutiveFailures", failures: 2 + i }
      return [trip, trip]
    }
    default: {
      const word = kind[i % kind.length]!
      return [word, word]
    }
  }
}

const nest = (path: ReadonlyArray<string>, value: unknown): {} =>
  path.reduceRight<unknown>((inner, name) => ({ [name]: inner }), value) as {}

const at = (policy: unknown, path: ReadonlyArray<string>): unknown =>
  path.reduce<unknown>((value, name) => (value as Record<string, unknown>)[name], policy)

const textOf = (value: unknown): string => typeof value === "string" ? value : JSON.stringify(value)

/** All sources up to one give the field. */
const given = (field: Field, upTo: number) => {
  const path = field.policy!
  const [written, values] = [SOURCES.map((_, i) => sampleOf(field, i)[0]), SOURCES.map((_, i) => sampleOf(field, i)[1])]
  const has = (source: (typeof SOURCES)[number]) => SOURCES.indexOf(source) <= upTo
  const document = {
    circuit_breaker: {
      ...(has("the file's defaults") ? { defaults: nest(field.keys, written[1]) } : {}),
      services: has("the file's service") ? { ordered: nest(field.keys, written[3]) } : {}
    }
  }
  return {
    defaults: nest(path, values[0]),
    policy: has("the class") ? nest(path, values[2]) : {},
    expected: values[upTo],
    sources: {
      file: ["json", JSON.stringify(document)],
      environment: has("the environment") ? { [`ORDERED_${field.variable}`]: textOf(written[4]) } : {}
    } satisfies Sources
  }
}

const policyFields = fields.filter(({ policy, variable }) => policy !== undefined && variable !== undefined)

/** Fields that `Breaker.Defaults` cannot have. */
const NOT_IN_DEFAULTS = [
  "timeout",
  "maxConcurrent",
  "halfOpen",
  "onStorageError",
  "capacity",
  "idleTimeToLive",
  "overflow",
  "neverOpenMoreThan"
]

describe("precedence", () => {
  for (const field of policyFields) {
    const name = field.keys.join(".")
    it.effect(`${name} (${field.variable}): the stronger source wins`, () =>
      Effect.gen(function*() {
        const first = NOT_IN_DEFAULTS.includes(field.policy![0]!) ? 1 : 0
        for (let i = first; i < SOURCES.length; i++) {
          const { defaults, expected, policy, sources } = given(field, i)
          const service = field.isKeyed ? keyedClassOf("ordered", policy) : classOf("ordered", policy)
          const resolved = yield* policyOf(service, sources, first === 0 ? defaults : {})
          assert.deepStrictEqual(at(resolved, field.policy!), expected, `${SOURCES[i]} gives ${name}`)
        }
      }))
  }

  it.effect("fields of half_open are merged one by one", () =>
    Effect.gen(function*() {
      const { halfOpen } = yield* policyOf(classOf("merged", { halfOpen: { probes: 2, lease: "9 seconds" } }), {
        file: [
          "yaml",
          "circuit_breaker: { defaults: { half_open: { ramp: 7, probes: 9 } }, services: { merged: { half_open: { successes: 3 } } } }"
        ],
        environment: { MERGED_HALF_OPEN_LEASE: "4" }
      })
      assert.deepStrictEqual(halfOpen, {
        ramp: Duration.seconds(7),
        probes: 2,
        successes: 3,
        lease: Duration.seconds(4)
      })
    }))

  const rate = (threshold: number, minimumCalls: number, seconds: number) => ({
    _tag: "FailureRate",
    threshold,
    minimumCalls,
    window: { _tag: "Within", duration: seconds === 60 ? "60 seconds" : Duration.seconds(seconds) }
  })
  const streak = (failures: number) => ({ _tag: "ConsecutiveFailures", failures })
  const service = (text: string) => ["yaml", `circuit_breaker: { services: { trips: ${text} } }`] as const

  it.effect.each<readonly [name: string, sources: Sources, expected: unknown]>([
    ["a streak", { file: service("{ failure_threshold: 3 }") }, streak(3)],
    ["a rate, with its defaults", { file: service("{ error_rate_threshold: 0.5 }") }, rate(0.5, 10, 60)],
    [
      "any of both",
      { file: service("{ failure_threshold: 3, error_rate_threshold: 0.5, window: 30, minimum_calls: 20 }") },
      { _tag: "Any", policies: [streak(3), rate(0.5, 20, 30)] }
    ],
    [
      "the environment replaces one part",
      {
        file: service("{ failure_threshold: 3, error_rate_threshold: 0.5 }"),
        environment: { TRIPS_FAILURE_THRESHOLD: "7" }
      },
      { _tag: "Any", policies: [streak(7), rate(0.5, 10, 60)] }
    ],
    [
      "a part in the environment replaces a whole in the file",
      {
        file: service("{ trip: { _tag: ConsecutiveFailures, failures: 3 } }"),
        environment: { TRIPS_FAILURE_THRESHOLD: "7" }
      },
      streak(7)
    ],
    [
      "a whole in the environment replaces the parts in the file",
      {
        file: service("{ failure_threshold: 3, error_rate_threshold: 0.5, window: 30 }"),
        environment: { TRIPS_TRIP: JSON.stringify(streak(9)) }
      },
      streak(9)
    ],
    ["the class is before the file's defaults", {
      file: ["yaml", "circuit_breaker: { defaults: { failure_threshold: 3 } }"]
    }, streak(4)]
  ])("trip: %s", ([, sources, expected]) =>
    Effect.map(
      policyOf(classOf("trips", { trip: { _tag: "ConsecutiveFailures", failures: 4 } }), sources),
      ({ trip }) => assert.deepStrictEqual(trip, expected)
    ))

  it.effect.each(["open_for", "recovery_timeout", "timeout_seconds"])("%s is openFor", (name) =>
    Effect.map(
      policyOf(classOf("named"), { file: ["yaml", `circuit_breaker: { services: { named: { ${name}: 12 } } }`] }),
      ({ openFor }) => assert.deepStrictEqual(openFor, Duration.seconds(12))
    ))

  it.effect("RECOVERY_TIMEOUT replaces timeout_seconds of the file, and two of its names are refused", () =>
    Effect.gen(function*() {
      const file = ["yaml", "circuit_breaker:\n  services:\n    named:\n      timeout_seconds: 12"] as const
      const replaced = yield* policyOf(classOf("named"), { file, environment: { NAMED_RECOVERY_TIMEOUT: "5" } })
      assert.deepStrictEqual(replaced.openFor, Duration.seconds(5))
      assert.strictEqual(
        yield* messageOf(classOf("named"), { file: [file[0], `${file[1]}\n      open_for: 3`] }),
        "breakers.yaml:5: circuit_breaker.services.named.open_for must be left out, because timeout_seconds is another " +
          "name of it and is given, too, got 3"
      )
      assert.strictEqual(
        yield* messageOf(classOf("named"), { environment: { NAMED_RECOVERY_TIMEOUT: "5", NAMED_OPEN_FOR: "3" } }),
        "NAMED_OPEN_FOR: must be left out, because NAMED_RECOVERY_TIMEOUT is another name of it and is given, too, got \"3\""
      )
    }))

  it.effect("a number is seconds, and a text has its unit", () =>
    Effect.gen(function*() {
      const openFor = (sources: Sources) => Effect.map(policyOf(classOf("unit"), sources), ({ openFor }) => openFor)
      for (const [text, millis] of [["1.5", 1500], ["250 millis", 250], [" 2 ", 2000], ["1 minute", 60_000]] as const) {
        assert.deepStrictEqual(yield* openFor({ environment: { UNIT_OPEN_FOR: text } }), Duration.millis(millis))
      }
      for (const [text, millis] of [["1.5", 1500], ["250 millis", 250], ["0x10", 16_000]] as const) {
        const file = ["yaml", `circuit_breaker: { services: { unit: { open_for: ${text} } } }`] as const
        assert.deepStrictEqual(yield* openFor({ file }), Duration.millis(millis))
      }
    }))

  it.effect("an empty variable is not set", () =>
    Effect.map(
      policyOf(classOf("empty"), { environment: { EMPTY_OPEN_FOR: "", EMPTY_FAILURE_THRESHOLD: " " } }),
      (policy) =>
        assert.deepStrictEqual(Object.keys(policy).filter((field) => field === "openFor" || field === "trip"), [])
    ))

  it.effect("keyed fields of the defaults are for keyed breakers alone", () =>
    Effect.gen(function*() {
      const file = ["yaml", "circuit_breaker: { defaults: { capacity: 7, open_for: 9 } }"] as const
      assert.strictEqual((yield* policyOf(keyedClassOf("many"), { file })).capacity, 7)
      const one: Breaker.Policy & Breaker.KeyedOptions = yield* policyOf(classOf("one"), { file })
      assert.deepStrictEqual([one.capacity, one.openFor], [undefined, Duration.seconds(9)])
    }))
})
