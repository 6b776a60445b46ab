/** The guide to moving in: its tables of options, and the same traffic through both breakers. */
import { afterEach, assert, beforeEach, describe, it } from "@effect/vitest"
import * as cockatiel from "cockatiel"
import { Cause, Data, Duration, Effect, type Exit, Schedule, type Scope } from "effect"
import { CircuitBreaker } from "effect/persistence"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import Opossum from "opossum"
import { vi } from "vitest"
import { Breaker, Outcome, Storage, Trip } from "../../src/index.ts"
import { defaultSample, defaultTrip, resolve } from "../../src/internal/ResolvedPolicy.ts"
import * as Adapter from "../../src/interop/Adapter.ts"
import { root } from "../support/docs.ts"
import { make } from "../utils.ts"
import { type Attempt, play, type TrafficError } from "./traffic.ts"

const read = (file: string): string => readFileSync(join(root, file), "utf8")

const withoutComments = (source: string): string => source.replaceAll(/\/\*[^]*?\*\//g, "")

const guide = read("docs/moving-in.md")

type Row = ReadonlyArray<string>

/** The rows of the table with this head, below a heading. */
const rowsUnder = (heading: string, ...head: Row): ReadonlyArray<Row> => {
  const section = guide.split(/^(?=## )/m).find((part) => part.startsWith(`## ${heading}\n`)) ?? ""
  const rows = section.split("\n").map((line) => line.split("|").slice(1, -1).map((cell) => cell.trim()))
  const from = rows.findIndex((row) => row.join() === head.join())
  const length = rows.slice(from).findIndex((row) => row.length === 0)
  assert.isAbove(from, -1, `${heading}: no table of ${head.join(", ")}`)
  return rows.slice(from + 2, length < 0 ? undefined : from + length)
}

const plain = (cell: string): string => cell.replaceAll("`", "")

/** The value of an expression that the guide shows. */
const valueOf = (code: string, scope: Record<string, unknown>): any =>
  // oxlint-disable-next-line typescript/no-implied-eval -- it is code of this repository
  new Function(...Object.keys(scope), `return (${code})`)(...Object.values(scope))

// -----------------------------------------------------------------------------
// decisions
// -----------------------------------------------------------------------------

const isMine = (error: unknown): boolean => (error as TrafficError).isMine

/** The error of a call, which says that it is the caller's own where it is. */
class CallError extends Data.TaggedError("CallError")<{ readonly isMine: boolean }> {
  get [Outcome.outcome](): Outcome.Outcome {
    return this.isMine ? Outcome.ignored : Outcome.failure()
  }
}

const callOf = (begin: () => Promise<void>): Effect.Effect<void, CallError> =>
  Effect.tryPromise({ try: begin, catch: (error) => new CallError({ isMine: isMine(error) }) })

const through = (guard: Pick<Breaker.Guard<unknown, never>, "wrapWith">): Effect.Effect<Attempt> =>
  Effect.map(
    Effect.context<never>(),
    (context) => (begin) => Effect.runPromiseWith(context)(guard.wrapWith(callOf(begin), {}))
  )

const opossum = (options: string) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const given = { timeout: false, errorFilter: isMine, ...valueOf(options, {}) }
      return new Opossum((call: () => Promise<void>) => call(), given)
    }),
    (breaker) => Effect.sync(() => breaker.shutdown())
  )

const cockatielOf = (options: string) =>
  cockatiel.circuitBreaker(cockatiel.handleWhen((error) => !isMine(error)), valueOf(options, { ...cockatiel }))

const effects = (options: string): Effect.Effect<Attempt, never, Scope.Scope> =>
  Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.make(valueOf(options, { CircuitBreaker, Schedule }))
    const context = yield* Effect.context<never>()
    const classify = (exit: Exit.Exit<void, unknown>) =>
      exit._tag === "Success"
        ? CircuitBreaker.success
        : isMine(Cause.squash(exit.cause))
        ? CircuitBreaker.ignored
        : CircuitBreaker.failure()
    return (begin: () => Promise<void>) =>
      Effect.runPromiseWith(context)(breaker.execute(callOf(begin), { key: "traffic", classify }))
  }).pipe(Effect.provide(CircuitBreaker.layerStoreMemory()))

/** A breaker of another library from the options that the guide shows, as its own users call it. */
const libraries: Record<string, (options: string) => Effect.Effect<Attempt, never, Scope.Scope>> = {
  "From opossum": (options) => Effect.map(opossum(options), (breaker) => (begin) => breaker.fire(begin)),
  "From cockatiel": (options) =>
    Effect.sync(() => {
      const policy = cockatielOf(options)
      return (begin) => policy.execute(begin)
    }),
  "From Effect's own breaker": effects
}

/** The same breaker behind its adapter. */
const adapters: Record<string, (options: string) => Effect.Effect<Attempt, never, Scope.Scope>> = {
  "From opossum": (options) =>
    Effect.flatMap(opossum(options), (breaker) => through(Adapter.opossum("traffic", breaker))),
  "From cockatiel": (options) => through(Adapter.cockatiel("traffic", cockatielOf(options)))
}

interface Scene {
  readonly heading: string
  readonly there: string
  readonly here: string
  readonly traffic: string
  readonly theirs: string
  readonly ours: string
  readonly why: string
}

const scenes: ReadonlyArray<Scene> = Object.keys(libraries).flatMap((heading) => {
  const policies = new Map(
    rowsUnder(heading, "Policy", "There", "Here").map(([name, there, here]) => [name, { there, here }])
  )
  return rowsUnder(heading, "Policy", "Traffic", "Theirs", "Ours", "Why").map((row): Scene => {
    const [policy = "", traffic = "", theirs = "", ours = "", why = ""] = row.map(plain)
    const { here = "", there = "" } = policies.get(policy)!
    return { heading, there: plain(there), here: plain(here), traffic, theirs, ours, why }
  })
})

describe("the same traffic", () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ["Date", "setTimeout", "clearTimeout", "setInterval", "clearInterval"] })
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  for (const { heading, here, ours, there, theirs, traffic, why } of scenes) {
    it.effect(`${heading}, ${there}: ${traffic}`, () =>
      Effect.gen(function*() {
        assert.strictEqual(yield* Effect.flatMap(libraries[heading]!(there), (them) => play(them, traffic)), theirs)
        const breaker = yield* make("traffic", valueOf(here, { Trip, Schedule }))
        assert.strictEqual(yield* Effect.flatMap(through(breaker), (us) => play(us, traffic)), ours)
        assert.strictEqual(why === "same", theirs === ours, "a difference is explained, and nothing else is")
      }))

    // An adapter has no third ending for a promise, so to it the caller's own error is a success.
    if (adapters[heading] !== undefined && !traffic.includes("I")) {
      it.effect(`${heading}, adapted, ${there}: ${traffic}`, () =>
        Effect.gen(function*() {
          assert.strictEqual(yield* Effect.flatMap(adapters[heading]!(there), (them) => play(them, traffic)), theirs)
        }))
    }
  }

  it("covers what is the same and what is not, for each library", () => {
    for (const heading of Object.keys(libraries)) {
      const whys = scenes.filter((scene) => scene.heading === heading).map(({ why }) => why === "same")
      assert.isTrue(whys.includes(true) && whys.includes(false), heading)
    }
  })
})

// -----------------------------------------------------------------------------
// options
// -----------------------------------------------------------------------------

const optionsOf = (heading: string) =>
  rowsUnder(heading, "Option", "Default there", "Ours", "Default here", "What differs").map((row) => {
    const [option = "", defaultThere = "", ours = "", defaultHere = "", differs = ""] = row.map(plain)
    return { option, defaultThere, ours, defaultHere, differs }
  })

const seconds = (millis: number): string => `${millis / 1000} seconds`
const orNone = (value: number | undefined): string => String(value || "none")

/** The defaults of a breaker without a policy, as the guide writes them. */
const policyDefaults: Readonly<Record<string, string>> = (() => {
  const policy = resolve("any", {})
  assert.deepStrictEqual([policy.rule, defaultTrip._tag], [defaultTrip, "ConsecutiveFailures"])
  return {
    "trip": `${"failures" in policy.rule ? policy.rule.failures : ""} consecutive failures`,
    "openFor": seconds(Number(policy.openFor)),
    "maxOpenFor": `${Duration.toHours(policy.maxOpenForMillis)} hour`,
    "halfOpen.probes": String(policy.probes),
    "halfOpen.successes": String(policy.successes),
    "halfOpen.sample.calls": String(defaultSample.calls),
    "halfOpen.sample.failureRate": String(defaultSample.failureRate),
    "halfOpen.lease": seconds(policy.leaseMillis),
    "timeout": orNone(policy.timeoutMillis),
    "maxConcurrent": orNone(policy.maxConcurrent),
    "enforcement": policy.enforcement,
    "onStorageError": policy.fleet.failsWithStorage ? "fail" : "allow",
    "classify": "Outcome.fromExit"
  }
})()

/** Options with which each constructor of a trip policy makes one. */
const tripOptions = {
  failureRate: { threshold: 0.5, within: "1 minute" },
  slowCallRate: { threshold: 0.5, slowerThan: "1 second", within: "1 minute" }
} as const

const constructors = { failureRate: Trip.failureRate, slowCallRate: Trip.slowCallRate } as const

const tripDefault = (constructor: keyof typeof tripOptions, option: string): string => {
  const make = constructors[constructor] as (options: Record<string, unknown>) => Trip.Trip
  const all = { ...tripOptions[constructor] }
  const made = make(all) as unknown as Record<string, unknown>
  if (option in made && !(option in all)) return String(made[option])
  const isWindow = option === "within" || option === "lastCalls"
  if (option === "lastCalls") make({ ...all, within: undefined, lastCalls: 20 })
  // An option without a default is refused where it is left out.
  assert.throws(() => make({ ...all, [isWindow ? "within" : option]: undefined }), RangeError)
  return option in all || isWindow ? "required" : "unknown"
}

const headings = [...Object.keys(libraries), "From resilience4j", "From Polly"]

describe("the tables of options", () => {
  for (const heading of headings) {
    it.effect(`${heading}: each option of ours exists, with the default that the table gives`, () =>
      Effect.gen(function*() {
        const breaker = yield* make("options", {})
        const modules: Record<string, object> = { Breaker, Outcome, Storage, Trip, breaker }
        const rows = optionsOf(heading)
        assert.isAbove(rows.length, 10)
        for (const { defaultHere, differs, option, ours } of rows) {
          const where = `${option}: ${ours}`
          const [module = "", member = "", field] = ours.split(".")
          if (ours === "–") assert.strictEqual(defaultHere, "–", where)
          else if (ours in policyDefaults) {
            const policy = { "classify": "Outcome.fromExit", ...policyDefaults }
            assert.strictEqual(defaultHere, policy[ours as keyof typeof policy], where)
          } else if (field !== undefined) {
            assert.strictEqual(defaultHere, tripDefault(member as keyof typeof tripOptions, field), where)
          } else {
            assert.isTrue(modules[module] !== undefined && member in modules[module], `${where} does not exist`)
            const isGiven = ours === "breaker.circuit" || ours === "Trip.consecutiveFailures"
            assert.strictEqual(defaultHere, isGiven ? "required" : "–", where)
          }
          // Where ours has nothing, the table says what to do.
          assert.isTrue(ours !== "–" || differs !== "", where)
        }
        // A breaker has a name, and a streak its length.
        assert.throws(() => Trip.consecutiveFailures(undefined as any), RangeError)
        assert.throws(() => Breaker.Service<never>()(undefined as any, {} as any), RangeError)
      }))
  }

  it("From opossum: all options that it reads, with its defaults", () => {
    const source = read("node_modules/opossum/lib/circuit.js")
    const rows = optionsOf("From opossum")
    const names = new Set(Array.from(source.matchAll(/\boptions\.(\w+)/g), ([, name]) => name!))
    // A cache that it makes for itself.
    names.delete("coalesceCache")
    for (const name of names) assert.isTrue(rows.some(({ option }) => option === name), `${name} is missing`)
    const breaker = new Opossum(() => Promise.resolve(), {})
    const { options } = breaker
    for (const { defaultThere, option } of rows) {
      if (/^(?:\d+|true|false)$/.test(defaultThere) && options[option] !== undefined) {
        assert.strictEqual(JSON.stringify(options[option]), defaultThere, option)
      }
    }
    assert.strictEqual(
      String(breaker.volumeThreshold),
      rows.find(({ option }) => option === "volumeThreshold")!.defaultThere
    )
    assert.strictEqual(options["capacity"], Number.MAX_SAFE_INTEGER)
    breaker.shutdown()
    for (const { option } of rows.filter(({ option }) => option.endsWith("()"))) {
      assert.isFunction((breaker as any)[option.slice(0, -2)], option)
    }
  })

  it("From cockatiel: all options of a breaker, with their defaults", () => {
    const rows = optionsOf("From cockatiel")
    const names = (file: string, of: RegExp): ReadonlyArray<string> => {
      const [, body = ""] = of.exec(withoutComments(read(`node_modules/cockatiel/dist/${file}`))) ?? []
      return Array.from(body.matchAll(/^\s+(\w+)\??:/gm), ([, name]) => name!)
    }
    const declared = [
      ...names("CircuitBreakerPolicy.d.ts", /interface ICircuitBreakerOptions \{([^}]+)\}/),
      ...names("CircuitBreakerPolicy.d.ts", /interface IHalfOpenSamplingOptions \{([^}]+)\}/)
        .map((name) => `halfOpenSampling.${name}`),
      ...["CountBreaker", "SamplingBreaker"].flatMap((breaker) =>
        names(`breaker/${breaker}.d.ts`, /interface I\w+Options \{([^}]+)\}/).map((name) => `${breaker}.${name}`)
      )
    ].filter((name) => name !== "halfOpenSampling")
    assert.isAbove(declared.length, 9)
    for (const name of declared) assert.isTrue(rows.some(({ option }) => option === name), `${name} is missing`)
    const made = cockatielOf("{ breaker: new ConsecutiveBreaker(3), halfOpenAfter: 10_000 }")
    const sampling = (made as any).halfOpenSampling as Record<string, number>
    for (const { defaultThere, option } of rows) {
      const [, field] = /^halfOpenSampling\.(\w+)$/.exec(option) ?? []
      if (field !== undefined) assert.strictEqual(String(sampling[field]), defaultThere, option)
    }
    for (
      const name of [
        "handleAll",
        "handleType",
        "handleWhen",
        "handleResultType",
        "handleWhenResult",
        "timeout",
        "bulkhead",
        "fallback"
      ]
    ) {
      assert.isTrue(name in cockatiel && rows.some(({ option }) => option.startsWith(name)), name)
    }
    for (const name of ["isolate", "toJSON", "state", "onBreak"]) {
      assert.isTrue(name in made && rows.some(({ option }) => option.startsWith(name)), name)
    }
  })

  it("From resilience4j, From Polly: all options of their configurations", () => {
    const declared = {
      "From resilience4j": [
        "failureRateThreshold",
        "slidingWindowType",
        "slidingWindowSize",
        "minimumNumberOfCalls",
        "slowCallRateThreshold",
        "slowCallDurationThreshold",
        "waitDurationInOpenState",
        "waitIntervalFunctionInOpenState",
        "automaticTransitionFromOpenToHalfOpenEnabled",
        "permittedNumberOfCallsInHalfOpenState",
        "maxWaitDurationInHalfOpenState",
        "recordExceptions",
        "recordException",
        "ignoreExceptions",
        "ignoreException",
        "recordResult",
        "transitionOnResult",
        "writableStackTraceEnabled",
        "currentTimestampFunction",
        "initialState"
      ],
      "From Polly": [
        "FailureRatio",
        "MinimumThroughput",
        "SamplingDuration",
        "BreakDuration",
        "BreakDurationGenerator",
        "ShouldHandle",
        "ManualControl",
        "StateProvider",
        "OnOpened",
        "OnClosed",
        "OnHalfOpened"
      ]
    }
    for (const [heading, names] of Object.entries(declared)) {
      const options = optionsOf(heading).map(({ option }) => option)
      assert.includeMembers(options, names)
    }
  })

  it("From Effect's own breaker: all options, with their defaults", () => {
    const rows = new Map(
      optionsOf("From Effect's own breaker").map(({ defaultThere, option }) => [option, defaultThere])
    )
    const source = withoutComments(read("node_modules/effect/src/persistence/CircuitBreaker.ts"))
    const names = (of: RegExp) => {
      const [, body = ""] = of.exec(source) ?? []
      return Array.from(body.matchAll(/^\s+readonly (\w+)\??:/gm), ([, name]) => name!)
    }
    const options = [
      ...names(/export const make: \(options: \{([^}]+)\}/),
      ...names(/export const rate = \(options: \{([^}]+)\}/).map((name) => `rate.${name}`),
      ...["layerStoreMemory", "layerStoreRedis"].flatMap((store) =>
        names(new RegExp(`export const ${store} = \\(options\\?: \\{([^}]+)\\}`)).map((name) => `${store}.${name}`)
      )
    ]
    assert.isAbove(options.length, 8)
    for (const name of options) assert.isTrue(rows.has(name), `${name} is missing`)
    const rate = CircuitBreaker.rate({}) as unknown as Record<string, unknown>
    for (const name of ["threshold", "size", "minimumCalls"]) {
      assert.strictEqual(rows.get(`rate.${name}`), String(rate[name]))
    }
    assert.include(source, `options.maxOpenDuration ?? "${rows.get("maxOpenDuration")}"`)
    assert.include(source, `options.onStoreError ?? "${rows.get("onStoreError")}"`)
    assert.include(source, `options?.probeLease ?? "${rows.get("layerStoreRedis.probeLease")}"`)
    assert.include(source, `options?.prefix ?? "${rows.get("layerStoreRedis.prefix")}"`)
  })
})
