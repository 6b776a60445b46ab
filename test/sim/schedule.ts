/** The events of a simulation as plain data from a seed, so that they can be printed, replayed and shrunk. */
import type { Breaker, Trip } from "../../src/index.ts"
import type { Behaviour, CircuitPlan } from "../../src/testing/internal/Fleet.ts"
import { perfect, type Quality } from "../../src/testing/internal/Link.ts"
import { Rng } from "../../src/testing/internal/Random.ts"

export type Act =
  /** Calls that begin one after the other. */
  | {
    readonly do: "calls"
    readonly process: number
    readonly circuit: number
    readonly every: number
    readonly of: ReadonlyArray<Behaviour>
  }
  | { readonly do: "link"; readonly process: number; readonly quality: Quality }
  | { readonly do: "pause" | "suspend" | "crash" | "stop"; readonly process: number }
  | { readonly do: "resume"; readonly process: number; readonly inReverse: boolean }
  | { readonly do: "start"; readonly skew: number }
  | { readonly do: "wipe" }
  | { readonly do: "failover"; readonly behind: number }
  | { readonly do: "clock"; readonly by: number }
  | { readonly do: "lock"; readonly circuit: number; readonly for: number }
  | { readonly do: "shard"; readonly circuit: number; readonly isDown: boolean }
  | {
    readonly do: "override"
    readonly process: number
    readonly circuit: number
    readonly mode: Breaker.OverrideMode
    readonly expiresIn?: number | undefined
  }
  | { readonly do: "clear" | "reset" | "halfOpen"; readonly process: number; readonly circuit: number }
  | {
    readonly do: "reconfigure"
    readonly process: number
    readonly circuit: number
    readonly change: Breaker.Data
  }
  | { readonly do: "nothing" }

/** In milliseconds. */
export const LONGEST_CALL = 12_000

/** Of the long calls, every fourth takes longer than any lease. */
const stretched = (takes: number): number => takes > LONGEST_CALL / 4 ? 3 * takes : takes

/** `after`: how many milliseconds pass before the next step. */
export type Step = Act & { readonly after: number }

export interface Schedule {
  readonly seed: number
  readonly circuits: ReadonlyArray<CircuitPlan>
  /** Of the circuits, which are then the keys of one breaker. */
  readonly neverOpenMoreThan?: number | undefined
  readonly processes: number
  readonly pushes: boolean
  readonly bells: boolean
  readonly idleTimeToLive: number
  readonly quality: Quality
  readonly steps: ReadonlyArray<Step>
}

const tripFrom = (rng: Rng): Trip.Trip =>
  rng.weighted<() => Trip.Trip>([
    [4, () => ({ _tag: "ConsecutiveFailures", failures: rng.int(1, 6) })],
    [2, () => ({ _tag: "Failures", count: rng.int(2, 8), within: rng.pick([5000, 20_000, 120_000]) })],
    [3, () => rateFrom(rng, { _tag: "Within", duration: rng.pick([3000, 10_000, 30_000]) })],
    [1, () => rateFrom(rng, { _tag: "LastCalls", calls: rng.int(6, 12) })],
    [1, () => ({ _tag: "Any", policies: [tripFrom(rng), { _tag: "ConsecutiveFailures", failures: rng.int(3, 6) }] })],
    [
      1,
      () => ({
        _tag: "All",
        policies: [{ _tag: "ConsecutiveFailures", failures: 2 }, rateFrom(rng, { _tag: "Within", duration: 10_000 })]
      })
    ]
  ])()

const rateFrom = (rng: Rng, window: Trip.Window): Trip.Trip => ({
  _tag: "FailureRate",
  threshold: rng.pick([0.3, 0.5, 0.8]),
  minimumCalls: rng.int(2, 6),
  window
})

const withinsOf = (trip: Trip.Trip): ReadonlyArray<number> =>
  "policies" in trip
    ? trip.policies.flatMap(withinsOf)
    : "within" in trip
    ? [Number(trip.within)]
    : "window" in trip && trip.window._tag === "Within"
    ? [Number(trip.window.duration)]
    : []

const policyFrom = (rng: Rng): Breaker.Data => {
  const openFor = rng.pick([1000, 3000, 5000, 10_000])
  const trip = tripFrom(rng)
  return {
    trip,
    openFor,
    maxOpenFor: openFor * 3,
    halfOpen: {
      probes: rng.pick([1, 1, 2, 3]),
      successes: rng.pick([1, 1, 2, 3]),
      lease: rng.pick([2000, 5000]),
      ramp: rng.pick([0, 0, 3000])
    },
    consistency: rng.weighted<Breaker.Consistency>([[7, "local"], [2, "strict"], [1, { maxAge: 500 }]]),
    ...(rng.chance(0.2) ? { evidence: "any" } : {}),
    ...(rng.chance(0.2) ? { syncEvery: rng.pick([200, 500, 2000]) } : {})
  }
}

/** The policy with half-open rounds that a sample judges, in some schedules. */
const sampledFrom = (rng: Rng, policy: Breaker.Data): Breaker.Data => {
  if (!rng.chance(0.3)) return policy
  const { successes: _, ...halfOpen } = policy.halfOpen ?? {}
  const sample = { calls: rng.int(2, 6), failureRate: rng.pick([0.3, 0.5, 0.8]) }
  return { ...policy, halfOpen: { ...halfOpen, sample } }
}

/** The policy with throttling, in some schedules. */
const throttledFrom = (rng: Rng, policy: Breaker.Data): Breaker.Data =>
  rng.chance(0.3)
    ? {
      ...policy,
      throttle: {
        k: rng.pick([1, 1.2, 2]),
        within: rng.pick([5000, 20_000]),
        minimumCalls: rng.int(2, 6),
        max: rng.pick([0.5, 0.9])
      }
    }
    : policy

/** The policy with or without a shadow start, in some schedules: with one it enforces nothing. */
const measuredFrom = (rng: Rng, policy: Breaker.Data): Breaker.Data =>
  rng.chance(0.15) ? { ...policy, enforcement: rng.pick(["metricsOnly", "metricsOnly", "enforce"] as const) } : policy

/** A change of a policy. How fresh a view must be is not changed, because a call is judged by what it was when it came. */
const changeFrom = (rng: Rng): Breaker.Data => {
  const { consistency: _, ...policy } = policyFrom(rng)
  const evidence = looksAtCalls(policy.trip!) ? "any" : rng.pick(["pooled", "any"] as const)
  return { ...policy, evidence, syncEvery: rng.pick([200, 500, 1000, 2000]) }
}

const looksAtCalls = (trip: Trip.Trip): boolean =>
  "policies" in trip ? trip.policies.some(looksAtCalls) : "window" in trip && trip.window._tag === "LastCalls"

const qualityFrom = (rng: Rng): Quality => ({
  latency: rng.pick([0, 1, 5, 20]),
  jitter: rng.pick([0, 5, 30]),
  losesRequest: 0,
  losesReply: 0,
  doubles: 0
})

const badQualityFrom = (rng: Rng): Quality => ({
  latency: rng.pick([1, 20, 80, 400]),
  jitter: rng.pick([0, 50, 500, 1500]),
  losesRequest: rng.pick([0, 0.1, 0.4]),
  losesReply: rng.pick([0, 0.1, 0.4, 0.8]),
  doubles: rng.pick([0, 0.2, 0.6]),
  ...(rng.chance(0.3) ? { cut: rng.pick(["silent", "refused"] as const) } : {})
})

/** The schedule of a seed. */
export const scheduleFrom = (seed: number): Schedule => {
  const rng = new Rng(seed)
  const processes = rng.weighted([[3, 2], [4, 3], [2, 4], [1, 6]])
  // Whether the storage has bells, and which circuits report rarely where it does. Policies of both kinds are mixed.
  const quiet = new Rng(seed, 4)
  const bells = quiet.chance(0.5)
  const withReports = (policy: Breaker.Data): Breaker.Data =>
    quiet.chance(0.6) ? policy : { ...policy, reports: "every interval" }
  // Whether samples judge half-open rounds.
  const sampled = new Rng(seed, 5)
  // Whether circuits shed calls.
  const throttled = new Rng(seed, 6)
  // Policies with `enforcement: "metricsOnly"`.
  const measured = new Rng(seed, 8)
  const softened = (policy: Breaker.Data): Breaker.Data =>
    measuredFrom(measured, throttledFrom(throttled, sampledFrom(sampled, withReports(policy))))
  const plain = Array.from({ length: rng.pick([1, 1, 2]) }, (_, i) => ({
    name: `c${i}`,
    policy: softened(policyFrom(rng))
  }))
  // Whether the circuits are keys, of which some stay closed.
  const keyed = new Rng(seed, 7)
  const neverOpenMoreThan = keyed.chance(0.2) ? keyed.pick([0.3, 0.5, 0.7]) : undefined
  const circuits = neverOpenMoreThan === undefined
    ? plain
    : Array.from({ length: keyed.int(2, 4) }, (_, i) => ({ name: `keyed/${i}`, policy: plain[0]!.policy }))
  const quality = rng.chance(0.7) ? qualityFrom(rng) : perfect
  // Each kind of fault is left out of some schedules, because it hides others: a loss of data hides wrong counts.
  const losesData = rng.chance(0.35)
  const kills = rng.chance(0.3)
  const movesClock = rng.chance(0.3)
  const operates = rng.chance(0.4)
  const pauses = rng.chance(0.4)
  // From numbers of its own, so that the schedules without it stay as they are.
  const sleep = new Rng(seed, 1)
  const suspends = sleep.chance(0.3)
  // Whether dependencies answer that the caller is to come back later.
  const hints = new Rng(seed, 2)
  const isLimited = hints.chance(0.3)
  const idlesSoon = suspends && sleep.chance(0.5)
  const change = new Rng(seed, 3)
  const changes = neverOpenMoreThan === undefined && change.chance(0.4)
    ? Array.from({ length: change.int(1, 3) }, () => softened(changeFrom(change)))
    : []
  const down = circuits.map(() => rng.chance(0.5))
  const process = (): number => rng.int(0, processes - 1)
  const circuit = (): number => rng.int(0, circuits.length - 1)
  const behaviour = (isDown: boolean): Behaviour => {
    const drawn = behaviourOf(isDown)
    return isLimited && hints.chance(0.15) ? { ...drawn, ends: "isIgnored", hint: hints.pick([500, 8000]) } : drawn
  }
  const behaviourOf = (isDown: boolean): Behaviour => ({
    ends: rng.weighted(
      isDown
        ? [[8, "fails"], [1, "succeeds"], [0.3, "isIgnored"], [0.3, "dies"]]
        : [[20, "succeeds"], [1, "fails"], [0.5, "isIgnored"]]
    ),
    takes: rng.weighted([[5, 0], [4, rng.int(1, 200)], [1, stretched(rng.int(200, LONGEST_CALL / 3))]]),
    ...(isDown && rng.chance(0.05) ? { hint: rng.pick([500, 8000]) } : {})
  })
  const calls = (): Act => {
    const at = circuit()
    if (rng.chance(0.12)) down[at] = !down[at]
    // A single instance may fail where the others succeed.
    const isDown = rng.chance(0.1) ? !down[at] : down[at]!
    return {
      do: "calls",
      process: process(),
      circuit: at,
      every: rng.pick([0, 10, 100, 300]),
      of: Array.from({ length: rng.int(1, 6) }, () => behaviour(isDown))
    }
  }
  const act = (): Act =>
    rng.weighted<() => Act>([
      [12, calls],
      [2, () => ({ do: "link", process: process(), quality: rng.chance(0.5) ? quality : badQualityFrom(rng) })],
      [pauses ? 1.5 : 0, () => ({ do: "pause", process: process() })],
      [suspends ? 1.5 : 0, () => ({ do: "suspend", process: process() })],
      [pauses || suspends ? 2 : 0, () => ({ do: "resume", process: process(), inReverse: rng.chance(0.5) })],
      [kills ? 0.5 : 0, () => ({ do: "crash", process: process() })],
      [kills ? 0.5 : 0, () => ({ do: "stop", process: process() })],
      [kills ? 1 : 0.1, () => ({ do: "start", skew: rng.pick([0, -86_400_000, 3_600_000]) })],
      [losesData ? 0.8 : 0, () => ({ do: "wipe" })],
      [losesData ? 0.8 : 0, () => ({ do: "failover", behind: rng.pick([100, 1000, 5000, 20_000]) })],
      [movesClock ? 1 : 0, () => ({ do: "clock", by: rng.pick([-60_000, -3000, -500, 500, 3000, 60_000]) })],
      [0.4, () => ({ do: "lock", circuit: circuit(), for: rng.pick([50, 500, 3000, 6000]) })],
      [0.4, () => ({ do: "shard", circuit: circuit(), isDown: rng.chance(0.5) })],
      [operates ? 1 : 0, () => ({
        do: "override",
        process: process(),
        circuit: circuit(),
        mode: rng.pick(["ForcedOpen", "Disabled", "MetricsOnly"] as const),
        ...(rng.chance(0.5) ? { expiresIn: rng.pick([1000, 5000]) } : {})
      })],
      [operates ? 1 : 0, () => ({ do: "clear", process: process(), circuit: circuit() })],
      [operates ? 0.5 : 0, () => ({ do: "reset", process: process(), circuit: circuit() })],
      [operates ? 0.5 : 0, () => ({ do: "halfOpen", process: process(), circuit: circuit() })],
      [0.5, () => ({ do: "nothing" })]
    ])()
  const after = (): number =>
    rng.weighted([[3, 0], [4, rng.int(1, 300)], [4, rng.int(300, 2000)], [1, rng.int(2000, 12_000)]])
  return {
    seed,
    circuits,
    ...(neverOpenMoreThan === undefined ? {} : { neverOpenMoreThan }),
    processes,
    pushes: rng.chance(0.4),
    bells,
    // A pooled window is no longer than the idle time.
    idleTimeToLive: rng.chance(0.1) || idlesSoon
      ? Math.max(
        10_000,
        ...[...circuits.map(({ policy }) => policy), ...changes].flatMap(({ throttle, trip }) => [
          ...withinsOf(trip!),
          Number(throttle?.within ?? 0)
        ])
      )
      : 60 * 60 * 1000,
    quality,
    steps: Array.from({ length: rng.int(8, 45) }, () => ({ ...act(), after: after() })).flatMap((step) => {
      if (changes.length === 0 || !change.chance(0.4)) return [step]
      const reconfigure: Step = {
        do: "reconfigure",
        process: change.int(0, processes - 1),
        circuit: change.int(0, circuits.length - 1),
        change: change.pick(changes),
        after: 0
      }
      return [reconfigure, step]
    })
  }
}
