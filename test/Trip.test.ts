import { assert, describe, it } from "@effect/vitest"
import { type Duration, Schema } from "effect"
import { Breaker, Trip } from "../src/index.ts"

const seconds = { within: "10 seconds" } as const

/** Policies that a constructor must refuse, with the message, which names a field, a value and a range. */
const bad: ReadonlyArray<readonly [() => Trip.Trip, string]> = [
  ...[0, -1, 1.5, NaN, Infinity, 2 ** 53].flatMap((count) => [
    [() => Trip.consecutiveFailures(count), `failures must be a whole number at least 1, got ${count}`] as const,
    [() => Trip.failures({ count, ...seconds }), `count must be a whole number at least 1, got ${count}`] as const
  ]),
  ...[-0.1, 1.1, NaN, Infinity, -Infinity, "0.5" as never, undefined as never].flatMap((threshold) => {
    const got = typeof threshold === "string" ? `"${threshold}"` : threshold
    const message = `threshold must be a rate in [0, 1], got ${got}`
    return [
      [() => Trip.failureRate({ threshold, ...seconds }), message] as const,
      [() => Trip.slowCallRate({ threshold, slowerThan: 1, lastCalls: 5 }), message] as const
    ]
  }),
  ...[[0, "0"], [-5, "-5"], [NaN, "NaN"], [Infinity, "Infinity"], ["soon", "\"soon\""], ["11 hours", "\"11 hours\""]]
    .flatMap(([value, got]) => {
      const within = value as Duration.Input
      const message = `within must be a finite duration from 1 ms to 36000000 ms, got ${got}`
      return [
        [() => Trip.failures({ count: 1, within }), message] as const,
        [() => Trip.failureRate({ threshold: 1, within }), message] as const,
        [() => Trip.slowCallRate({ threshold: 1, slowerThan: 1, within }), message] as const
      ]
    }),
  ...[0, -1, 1.5, NaN, Infinity, 100_001].map((lastCalls) =>
    [
      () => Trip.failureRate({ threshold: 1, lastCalls }),
      `Trip: lastCalls must be a whole number from 1 to 100000, got ${lastCalls}`
    ] as const
  ),
  ...[0, -1, 1.5, NaN, 11].map((minimumCalls) =>
    [
      () => Trip.failureRate({ threshold: 1, lastCalls: 10, minimumCalls }),
      `minimumCalls must be a whole number from 1 to 10, got ${minimumCalls}`
    ] as const
  ),
  [
    () => Trip.failureRate({ threshold: 1, ...seconds, minimumCalls: 0 }),
    "minimumCalls must be a whole number at least 1, got 0"
  ],
  ...[-1, NaN, Infinity].map((slowerThan) =>
    [
      () => Trip.slowCallRate({ threshold: 1, slowerThan, ...seconds }),
      `slowerThan must be a finite duration at least 0 ms, got ${slowerThan}`
    ] as const
  ),
  [
    () => Trip.failureRate({ threshold: 2, within: 0, minimumCalls: 0 }),
    "threshold must be a rate in [0, 1], got 2; within must be a finite duration from 1 ms to 36000000 ms, got 0; " +
    "minimumCalls must be a whole number at least 1, got 0"
  ],
  [
    () => Trip.any({ _tag: "Sometimes" } as never, Trip.consecutiveFailures(1)),
    "policies[0]._tag must be one of ConsecutiveFailures, Failures, FailureRate, SlowCallRate, Any, All, got \"Sometimes\""
  ],
  [
    () =>
      Trip.any(
        Trip.consecutiveFailures(1),
        { _tag: "All", policies: [{ _tag: "ConsecutiveFailures", failures: 0 }] }
      ),
    "policies[1].policies[0].failures must be a whole number at least 1, got 0"
  ],
  [
    () => Trip.all(...[] as never as [Trip.Trip, Trip.Trip]),
    "policies.length must be a whole number from 1 to 100, got 0"
  ],
  [
    () =>
      Trip.any({ _tag: "FailureRate", threshold: 1, minimumCalls: 1, window: { _tag: "Whenever" } as never }, ...two()),
    "policies[0].window._tag must be one of Within, LastCalls, got \"Whenever\""
  ],
  [
    () =>
      Trip.any(
        Trip.slowCallRate({ threshold: 0.5, slowerThan: "1 second", ...seconds }),
        Trip.all(
          Trip.slowCallRate({ threshold: 0.1, slowerThan: "5 seconds", ...seconds }),
          Trip.consecutiveFailures(1)
        )
      ),
    "slowerThan must be one duration for all policies, got [1000,5000]"
  ]
]

function two() {
  return [Trip.consecutiveFailures(1), Trip.consecutiveFailures(2)] as const
}

describe("an invalid trip policy is refused at once (C1.6, C7.104)", () => {
  for (const [make, message] of bad) {
    it(`an invalid trip policy is refused: ${message}`, () => {
      const error = assertThrows(make)
      assert.instanceOf(error, RangeError)
      assert.include(String(error), message)
    })
  }

  const assertThrows = (make: () => unknown): unknown => {
    try {
      make()
    } catch (error) {
      return error
    }
    assert.fail("not refused")
  }
})

describe("a valid trip policy", () => {
  it("a trip policy may have thresholds of 0 and 1, windows of up to 10 hours, and a minimum of up to lastCalls", () => {
    Trip.failureRate({ threshold: 0, within: 1, minimumCalls: 1 })
    Trip.failureRate({ threshold: 1, within: "10 hours" })
    Trip.failureRate({ threshold: 1, lastCalls: 100_000, minimumCalls: 100_000 })
    Trip.slowCallRate({ threshold: 1, slowerThan: 0, lastCalls: 1 })
    Trip.any(
      Trip.slowCallRate({ threshold: 0.5, slowerThan: "1 second", ...seconds }),
      Trip.slowCallRate({ threshold: 0.9, slowerThan: 1000, lastCalls: 5 })
    )
  })

  it("minimumCalls is 10 by default, or lastCalls if that is less (C1.6)", () => {
    assert.deepInclude(Trip.failureRate({ threshold: 1, within: 1000 }), { minimumCalls: 10 })
    assert.deepInclude(Trip.failureRate({ threshold: 1, lastCalls: 4 }), { minimumCalls: 4 })
    assert.deepInclude(Trip.slowCallRate({ threshold: 1, slowerThan: 1, lastCalls: 40 }), { minimumCalls: 10 })
    assert.deepInclude(Trip.slowCallRate({ threshold: 1, slowerThan: 1, lastCalls: 40, minimumCalls: 3 }), {
      minimumCalls: 3
    })
  })
})

const Count = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1000 }))
const Rate = Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1 }))

it.prop("any sensible one survives JSON, and decides as before", [
  Schema.Literals([0, 1, 2, 3]),
  Rate,
  Count,
  Count,
  Schema.Boolean,
  Schema.Boolean
], ([kind, threshold, calls, millis, timed, combined]) => {
  const minimumCalls = Math.ceil(calls / 2)
  const options = { threshold, minimumCalls, ...(timed ? { within: millis } : { lastCalls: calls }) } as const
  const simple = [
    () => Trip.consecutiveFailures(calls),
    () => Trip.failures({ count: calls, within: millis }),
    () => Trip.failureRate(options as Parameters<typeof Trip.failureRate>[0]),
    () => Trip.slowCallRate({ slowerThan: millis, ...options } as Parameters<typeof Trip.slowCallRate>[0])
  ][kind]!()
  const trip = combined ? Trip.any(simple, Trip.all(simple, Trip.consecutiveFailures(2))) : simple
  const decoded = Schema.decodeUnknownSync(Breaker.Data)(JSON.parse(JSON.stringify({ trip })))
  assert.strictEqual(Breaker.fingerprint(decoded), Breaker.fingerprint({ trip }))
  const json = JSON.stringify(Schema.encodeSync(Breaker.Data)(decoded))
  assert.deepStrictEqual(JSON.parse(json), JSON.parse(JSON.stringify({ trip })))
})
