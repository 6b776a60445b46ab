import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, Duration, Effect, Exit, Result, Schedule, Schema } from "effect"
import { Breaker, Outcome, Trip } from "../src/index.ts"
import { resolve } from "../src/internal/ResolvedPolicy.ts"

const decode = Schema.decodeUnknownSync(Breaker.Data)

const messageOf = (make: () => unknown): { readonly error: unknown; readonly message: string } => {
  try {
    make()
  } catch (error) {
    return { error, message: error instanceof Error ? error.message : String(error) }
  }
  assert.fail("not refused")
}

const YEAR = "a finite duration from 1 ms to 31536000000 ms"
const COUNT = "a whole number from 1 to 1000000"
const within = { _tag: "Within", duration: "10 seconds" } as const
const rate = { _tag: "FailureRate", threshold: 0.5, minimumCalls: 1, window: within } as const

interface Bad {
  readonly data: object
  /** Every problem that must be named: a field, its range, and its value as a constructor and as a schema show it. */
  readonly says: ReadonlyArray<readonly [field: string, range: string, value: string, decoded?: string]>
}

const durations = (field: string, path: (value: unknown) => object, range: string): ReadonlyArray<Bad> =>
  [[0, "0"], [-1, "-1"], [Infinity, "Infinity"]].map(([value, got]) => ({
    data: path(value),
    says: [[
      field,
      range,
      String(got),
      JSON.stringify(typeof value === "number" && Number.isFinite(value) ? Duration.millis(value) : Duration.infinity)
    ]]
  }))

const counts = (field: string, path: (value: unknown) => object): ReadonlyArray<Bad> =>
  [0, -1, 1.5, 1_000_001].map((value) => ({ data: path(value), says: [[field, COUNT, String(value)]] }))

/** Policies that constructors and the schema refuse, in the same words. */
const bad: ReadonlyArray<Bad> = [
  ...durations("openFor", (openFor) => ({ openFor }), YEAR),
  ...durations("maxOpenFor", (maxOpenFor) => ({ maxOpenFor }), YEAR),
  ...durations("timeout", (timeout) => ({ timeout }), YEAR),
  ...durations("halfOpen.lease", (lease) => ({ halfOpen: { lease } }), YEAR),
  ...durations("halfOpen.timeout", (timeout) => ({ halfOpen: { timeout } }), YEAR),
  ...durations("consistency.maxAge", (maxAge) => ({ consistency: { maxAge } }), YEAR),
  ...durations("syncEvery", (syncEvery) => ({ syncEvery }), "a finite duration from 10 ms to 31536000000 ms"),
  ...durations("halfOpen.ramp", (ramp) => ({ halfOpen: { ramp } }), "a finite duration from 0 ms to 31536000000 ms")
    .slice(1),
  ...counts("maxConcurrent", (maxConcurrent) => ({ maxConcurrent })),
  ...counts("halfOpen.probes", (probes) => ({ halfOpen: { probes } })),
  ...counts("halfOpen.successes", (successes) => ({ halfOpen: { successes } })),
  ...[-0.1, 1.1].map((threshold): Bad => ({
    data: { trip: { ...rate, threshold } },
    says: [["trip.threshold", "a rate in [0, 1]", String(threshold)]]
  })),
  {
    data: { trip: { ...rate, minimumCalls: 11, window: { _tag: "LastCalls", calls: 10 } } },
    says: [["trip.minimumCalls", "a whole number from 1 to 10", "11"]]
  },
  {
    data: { trip: { _tag: "ConsecutiveFailures", failures: 0 } },
    says: [["trip.failures", "a whole number at least 1", "0"]]
  },
  {
    data: { trip: { _tag: "Any", policies: [rate, { _tag: "ConsecutiveFailures", failures: 0.5 }] } },
    says: [["trip.policies[1].failures", "a whole number at least 1", "0.5"]]
  },
  {
    data: { openFor: "2 hours", maxOpenFor: "1 hour" },
    says: [[
      "maxOpenFor",
      "a finite duration from 7200000 ms to 31536000000 ms",
      "\"1 hour\"",
      JSON.stringify(Duration.hours(1))
    ]]
  },
  {
    data: { openFor: "2 hours", maxOpenFor: "1 hour", maxConcurrent: 0, trip: { ...rate, threshold: 2 } },
    says: [
      ["trip.threshold", "a rate in [0, 1]", "2"],
      [
        "maxOpenFor",
        "a finite duration from 7200000 ms to 31536000000 ms",
        "\"1 hour\"",
        JSON.stringify(Duration.hours(1))
      ],
      ["maxConcurrent", COUNT, "0"]
    ]
  }
]

describe("an invalid policy is refused, with field, range and value (C7.104)", () => {
  for (const { data, says } of bad) {
    const all = (decoded: boolean) =>
      says.map(([field, range, value, other = value]) => `${field} must be ${range}, got ${decoded ? other : value}`)
        .join("; ")
    it(`an invalid policy is refused: ${all(false)}`, () => {
      const refused = messageOf(() => Breaker.make("nonsense", data))
      assert.instanceOf(refused.error, RangeError)
      assert.strictEqual(refused.message, `Circuit "nonsense": ${all(false)}`)
      const undecoded = messageOf(() => decode(data))
      assert.isTrue(Schema.isSchemaError(undecoded.error))
      assert.strictEqual(undecoded.message, all(true))
    })
  }

  it("a policy refuses words that are not among a field's values", () => {
    const says = {
      consistency: "consistency must be one of local, strict, got \"eventual\"",
      evidence: "evidence must be one of pooled, any, got \"eventual\"",
      onStorageError: "onStorageError must be one of allow, fail, got \"eventual\"",
      enforcement: "enforcement must be one of enforce, metricsOnly, got \"eventual\""
    }
    for (const [field, message] of Object.entries(says)) {
      const data = { [field]: "eventual" }
      assert.include(messageOf(() => Breaker.make("words", data)).message, message)
      const undecoded = messageOf(() => decode(data))
      assert.isTrue(Schema.isSchemaError(undecoded.error))
      assert.include(undecoded.message, field)
    }
    const lastCalls = Trip.any(Trip.consecutiveFailures(2), Trip.failureRate({ threshold: 0.5, lastCalls: 9 }))
    for (const trip of [lastCalls, Trip.all(lastCalls, lastCalls)]) {
      const { message } = messageOf(() => Breaker.make("rings", { trip, evidence: "pooled" }))
      assert.include(message, "evidence must be \"any\" for a trip policy with lastCalls, got \"pooled\"")
    }
    const trip = { _tag: "Sometimes" } as never
    assert.include(messageOf(() => Breaker.make("words", { trip })).message, "trip._tag must be one of Consec")
    assert.isTrue(Schema.isSchemaError(messageOf(() => decode({ trip })).error))
  })

  it("a policy refuses a value that is neither a number nor a duration", () => {
    for (const value of [null, {}, "soon", true, NaN]) {
      for (const field of ["openFor", "maxOpenFor", "timeout", "syncEvery", "maxConcurrent"]) {
        const data = { [field]: value }
        const refused = messageOf(() => Breaker.make("garbage", data))
        assert.instanceOf(refused.error, RangeError)
        assert.include(refused.message, `${field} must be `)
        const undecoded = messageOf(() => decode(data))
        assert.isTrue(Schema.isSchemaError(undecoded.error))
        assert.include(undecoded.message, field)
      }
    }
  })

  it("the message about an invalid policy cuts long values short", () => {
    const huge = "x".repeat(10_000)
    assert.isBelow(messageOf(() => Breaker.make("huge", { openFor: huge as never })).message.length, 300)
  })
})

describe("an unknown field", () => {
  const say = (field: string, hint: string) => `${field} must be left out, because ${hint}`
  const near = (field: string, known: string) => say(field, `there is no such field (did you mean ${known}?)`)
  const policies: ReadonlyArray<readonly [data: object, message: string]> = [
    [{ timout: "2 seconds" }, near("timout", "timeout")],
    [{ openfor: "2 seconds" }, near("openfor", "openFor")],
    [{ open_for: "2 seconds" }, near("open_for", "openFor")],
    [{ maxConcurency: 3 }, near("maxConcurency", "maxConcurrent")],
    [{ tirp: null }, near("tirp", "trip")],
    [{ timout: undefined }, near("timout", "timeout")],
    [{ retries: 3 }, say("retries", "the only fields are trip, openFor")],
    [
      { halfOpen: { max: 3 } },
      say("halfOpen.max", "the only fields are probes, successes, sample, lease, timeout, ramp")
    ],
    [{ halfOpen: { probe: 3 } }, near("halfOpen.probe", "probes")],
    [{ consistency: { maxAge: 500, minAge: 1 } }, near("consistency.minAge", "maxAge")],
    [
      { trip: { _tag: "ConsecutiveFailures", failures: 3, within: 1 } },
      say("trip.within", "the only fields are _tag, failures")
    ],
    [{ trip: { ...rate, minimumCall: 1 } }, near("trip.minimumCall", "minimumCalls")],
    [{ trip: { ...rate, window: { ...within, durations: 1 } } }, near("trip.window.durations", "duration")],
    [{ trip: { _tag: "Any", policies: [{ ...rate, treshold: 1 }] } }, near("trip.policies[0].treshold", "threshold")]
  ]
  for (const [data, message] of policies) {
    it(`an unknown field is refused by constructors and by the schema: ${JSON.stringify(data)} (F30)`, () => {
      for (
        const make of [
          () => Breaker.make("unknown", data),
          () => Breaker.Service()("unknown", data),
          () => Breaker.makeKeyed("unknown", data),
          () => Breaker.KeyedService()("unknown", data),
          () => Breaker.layer("unknown", data),
          () => Breaker.fingerprint(data)
        ]
      ) {
        const refused = messageOf(make)
        assert.instanceOf(refused.error, RangeError)
        assert.include(refused.message, message)
      }
      const undecoded = messageOf(() => decode(data))
      assert.isTrue(Schema.isSchemaError(undecoded.error))
      assert.include(undecoded.message, message)
      const unencoded = messageOf(() => Schema.encodeUnknownSync(Breaker.Data)(data))
      assert.isTrue(Schema.isSchemaError(unencoded.error))
    })
  }

  it("a field of keyed breakers is unknown to a breaker of one circuit (F30)", () => {
    const keyed = { capacity: 10, idleTimeToLive: "1 hour", overflow: "shareOne" } as const
    assert.include(messageOf(() => Breaker.make("one", keyed as {})).message, "capacity must be left out")
    assert.include(
      messageOf(() => Breaker.makeKeyed("many", { capacty: 10 } as {})).message,
      near("capacty", "capacity")
    )
    assert.strictEqual(Breaker.fingerprint(keyed as {}), Breaker.fingerprint({}))
    assert.isTrue(Effect.isEffect(Breaker.makeKeyed("many", keyed)))
  })

  it("a policy that is read from a ConfigProvider may not have unknown fields (F30)", () => {
    const policy = Config.schema(Breaker.Data, "payments")
    const read = (payments: object) =>
      Effect.runSync(Effect.result(policy.parse(ConfigProvider.fromUnknown({ payments }))))
    const good = read({ openFor: "5 seconds", halfOpen: { probes: "2" } })
    assert.strictEqual(
      Breaker.fingerprint(Result.getOrThrow(good)),
      Breaker.fingerprint({ openFor: "5 seconds", halfOpen: { probes: 2 } })
    )
    assert.include(String(read({ timout: "5 seconds" })), near("timout", "timeout"))
    assert.include(String(read({ timouts: { a: "5 seconds" } })), near("timouts", "timeout"))
  })

  it("an unknown field of a trip constructor is refused (F30)", () => {
    const options = { threshold: 0.5, within: "1 second" } as const
    const cases: ReadonlyArray<readonly [() => unknown, string]> = [
      [() => Trip.failureRate({ ...options, minimumCall: 3 } as typeof options), near("minimumCall", "minimumCalls")],
      [
        () => Trip.failures({ count: 3, within: 1, treshold: 1 } as never),
        say("treshold", "the only fields are count, within")
      ],
      [() => Trip.slowCallRate({ ...options, slowerThen: 1 } as never), near("slowerThen", "slowerThan")],
      [
        () => Trip.failureRate({ ...options, lastCalls: 3 } as never),
        "within must be left out, because lastCalls is given"
      ],
      [() => Trip.failureRate(undefined as never), "options must be an object with the fields threshold"]
    ]
    for (const [make, message] of cases) {
      const refused = messageOf(make)
      assert.instanceOf(refused.error, RangeError)
      assert.include(refused.message, message)
    }
  })

  const shapes: ReadonlyArray<readonly [policy: unknown, message: string]> = [
    [undefined, "policy must be an object, got undefined"],
    [null, "policy must be an object, got null"],
    ["5 failures", "policy must be an object, got \"5 failures\""],
    [{ halfOpen: 3 }, "halfOpen must be an object with the fields probes"],
    [{ halfOpen: null }, "halfOpen must be an object with the fields probes"],
    [{ consistency: null }, "consistency must be one of local, strict, got null"],
    [{ trip: null }, "trip must be a trip policy made by Trip, got null"],
    [{ trip: 5 }, "trip must be a trip policy made by Trip, got 5"],
    [{ trip: { _tag: "toString" } }, "trip._tag must be one of"],
    [{ trip: { _tag: "Any" } }, "trip.policies must be an array of trip policies, got undefined"],
    [
      { trip: { _tag: "FailureRate", threshold: 1, minimumCalls: 1 } },
      "trip.window._tag must be one of Within, LastCalls"
    ],
    [{ classify: "all" }, "classify must be a function, got \"all\""]
  ]
  for (const [policy, message] of shapes) {
    it(`a value of the wrong shape is refused with its field: ${JSON.stringify(policy)} (F30)`, () => {
      const refused = messageOf(() => Breaker.make("shape", policy as {}))
      assert.instanceOf(refused.error, RangeError)
      assert.include(refused.message, message)
    })
  }
})

describe("the longest open time", () => {
  it("maxOpenFor is an hour or openFor if longer, and openFor is 60 seconds or maxOpenFor if less", () => {
    const of = (policy: Breaker.Policy) => {
      const { maxOpenForMillis, openFor } = resolve("any", policy)
      return [openFor, maxOpenForMillis]
    }
    assert.deepStrictEqual(of({}), [60_000, 3_600_000])
    assert.deepStrictEqual(of({ openFor: "2 hours" }), [7_200_000, 7_200_000])
    assert.deepStrictEqual(of({ maxOpenFor: "10 seconds" }), [10_000, 10_000])
    assert.deepStrictEqual(of({ openFor: "1 hour", maxOpenFor: "1 hour" }), [3_600_000, 3_600_000])
  })

  it("a policy may have maxOpenFor alone", () => {
    assert.isTrue(Exit.isSuccess(Schema.decodeUnknownExit(Breaker.Data)({ maxOpenFor: "1 second" })))
  })
})

const full: Breaker.Data = {
  trip: Trip.any(
    Trip.failureRate({ threshold: 0.5, within: 30_000, minimumCalls: 20 }),
    Trip.all(
      Trip.slowCallRate({ threshold: 0.9, slowerThan: 1500, lastCalls: 50 }),
      Trip.failures({ count: 3, within: 1000 })
    ),
    Trip.consecutiveFailures(9)
  ),
  openFor: 10_000,
  maxOpenFor: 60_000,
  halfOpen: { probes: 2, successes: 3, lease: 5000, timeout: 4000, ramp: 20_000 },
  timeout: 2000,
  maxConcurrent: 10,
  consistency: { maxAge: 500 },
  evidence: "any",
  onStorageError: "fail",
  enforcement: "metricsOnly",
  approachAt: false,
  syncEvery: 250,
  reports: "quiet"
}

describe("a policy as data", () => {
  it("every field of a policy's data survives JSON", () => {
    const decoded = decode(JSON.parse(JSON.stringify(full)))
    assert.strictEqual(Breaker.fingerprint(decoded), Breaker.fingerprint(full))
    const json: unknown = JSON.parse(JSON.stringify(Schema.encodeSync(Breaker.Data)(decoded)))
    assert.deepStrictEqual(json, JSON.parse(JSON.stringify(full)))
    assert.deepStrictEqual(decode(json), decoded)
  })

  it("a policy's data may have a duration as milliseconds, as text, or as a Duration", () => {
    for (const openFor of [90_000, "90 seconds", "1.5 minutes", Duration.seconds(90)]) {
      assert.deepStrictEqual(Duration.toMillis(Duration.fromInputUnsafe(decode({ openFor }).openFor!)), 90_000)
    }
  })

  it("a policy's data may be empty", () => {
    assert.deepStrictEqual(decode({}), {})
  })
})

describe("a fingerprint", () => {
  const of = Breaker.fingerprint

  it("a fingerprint is 16 hex digits", () => {
    for (const policy of [{}, full, { openFor: 1 }, { timeout: 1 }]) assert.match(of(policy), /^[0-9a-f]{16}$/)
  })

  it.prop("is the same whatever the same time is called", [
    Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 100 }))
  ], ([n]) => {
    const spellings = [
      n * 60_000,
      `${n} minutes`,
      `${n * 60} seconds`,
      Duration.minutes(n),
      BigInt(n) * 60_000_000_000n
    ]
    for (const time of spellings as ReadonlyArray<Duration.Input>) {
      const policy = (duration: Duration.Input): Breaker.Policy => ({
        trip: Trip.failures({ count: 1, within: duration }),
        openFor: duration,
        maxOpenFor: duration,
        timeout: duration,
        halfOpen: { lease: duration, timeout: duration, ramp: duration }
      })
      assert.strictEqual(of(policy(time)), of(policy(n * 60_000)))
    }
  })

  it("a fingerprint is the same whether a default is left out or given", () => {
    assert.strictEqual(
      of({}),
      of({
        trip: Trip.consecutiveFailures(5),
        openFor: "1 minute",
        maxOpenFor: "1 hour",
        halfOpen: { probes: 1, successes: 1, lease: "30 seconds", ramp: 0 },
        timeout: undefined
      })
    )
    assert.strictEqual(of({ timeout: 2000 }), of({ timeout: 2000, halfOpen: { timeout: 2000, lease: 3000 } }))
  })

  it("a fingerprint differs for every field that affects a decision", () => {
    const policies: ReadonlyArray<Breaker.Policy> = [
      {},
      full,
      { trip: Trip.consecutiveFailures(4) },
      { trip: Trip.failures({ count: 5, within: 1000 }) },
      { trip: Trip.failures({ count: 5, within: 1001 }) },
      { trip: Trip.failureRate({ threshold: 0.5, within: 1000 }) },
      { trip: Trip.failureRate({ threshold: 0.51, within: 1000 }) },
      { trip: Trip.failureRate({ threshold: 0.5, within: 1000, minimumCalls: 9 }) },
      { trip: Trip.failureRate({ threshold: 0.5, lastCalls: 1000 }) },
      { trip: Trip.slowCallRate({ threshold: 0.5, within: 1000, slowerThan: 1 }) },
      { trip: Trip.slowCallRate({ threshold: 0.5, within: 1000, slowerThan: 2 }) },
      { trip: Trip.any(Trip.consecutiveFailures(4), Trip.consecutiveFailures(3)) },
      { trip: Trip.all(Trip.consecutiveFailures(4), Trip.consecutiveFailures(3)) },
      { openFor: 1000 },
      { maxOpenFor: "2 hours" },
      { timeout: 1000 },
      { timeout: 1001 },
      { maxConcurrent: 1 },
      { halfOpen: { probes: 2 } },
      { halfOpen: { successes: 2 } },
      { halfOpen: { sample: { calls: 3, failureRate: 0.5 } } },
      { halfOpen: { lease: 1000 } },
      { halfOpen: { timeout: 1000 } },
      { halfOpen: { ramp: 1000 } }
    ]
    assert.strictEqual(new Set(policies.map(of)).size, policies.length)
  })

  it("a fingerprint does not depend on classify, or on which schedule is given", () => {
    assert.strictEqual(of({ ...full, classify: () => Outcome.ignored }), of(full))
    assert.strictEqual(of({ openFor: Schedule.spaced("1 second") }), of({ openFor: Schedule.exponential("2 seconds") }))
  })

  it("a fingerprint of an invalid policy is refused", () => {
    assert.instanceOf(messageOf(() => of({ openFor: 0 })).error, RangeError)
  })
})

describe("the schema of a policy's data", () => {
  it("the schema of a policy's data encodes a policy from code as JSON that decodes to the same policy", () => {
    const policy: Breaker.Data = {
      trip: Trip.failures({ count: 3, within: "30 seconds" }),
      openFor: "10 seconds",
      timeout: 500,
      halfOpen: { lease: Duration.seconds(5) }
    }
    const json = JSON.stringify(Schema.encodeUnknownSync(Breaker.Data)(policy))
    const decoded = Schema.decodeUnknownSync(Breaker.Data)(JSON.parse(json))
    assert.strictEqual(Breaker.fingerprint(decoded), Breaker.fingerprint(policy))
  })
})
