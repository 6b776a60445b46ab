/**
 * `npm run bench:fleet`: what a fleet costs its storage, with `reports: "quiet"` and with `reports: "every interval"` in the
 * same run, and how long it takes to open.
 *
 * --on server     redis (the default), cluster (a Redis Cluster of three masters) or postgres
 * --processes n   processes that the 20 instances are spread over (default 10)
 * --seconds n     how long each case is measured (default 30; at least 30 to see quiet reports)
 * --json          prints one array of { case, contender, value, unit }
 *
 * 20 instances with 50 circuits each are measured. Each has a storage and connections of its own, and calls each circuit at
 * random times: 5 times a second where all is well and where all is sick, 20 times where a share fails. Each contender has a
 * server of its own, so that the processor time of the servers can be told apart. All contenders run at once, so that the machine
 * is the same for all. On Postgres, which needs more processor time, only the contenders of one trip rule run at once. A simulation
 * of the same engine counts reports and polls for 20 and for 200 instances.
 *
 * A case without a suffix has a failure rate within a minute, one with `-streak` five consecutive failures. `open` is the
 * time from the first failure until the fleet's opening is committed, `rejection` until an instance rejects that had no
 * failures of its own; `-storm` is for all circuits at once.
 */
import { setTimeout as sleep } from "node:timers/promises"
import { parseArgs } from "node:util"
import type { Breaker } from "../../src/index.ts"
import { Child } from "../../test/support/children.ts"
import { wholeNumber } from "../../test/support/options.ts"
import { byCase, percentile } from "./measure.ts"
import type { Group, Load, Replies, Requests, Sent, Times } from "./member.ts"
import { type Bound, print, type Result } from "./report.ts"
import { simulate } from "./simulated.ts"
import { SERVERS, startStore, type Store, type Work } from "./stores.ts"

const { values: options } = parseArgs({
  options: {
    on: { type: "string", default: "redis" },
    processes: { type: "string", default: "10" },
    seconds: { type: "string", default: "30" },
    json: { type: "boolean" }
  }
})

const ON = SERVERS.find((server) => server === options.on)
if (ON === undefined) throw new RangeError(`--on must be one of ${SERVERS.join(", ")}, and is ${options.on}`)

const INSTANCES = 20

const SECONDS = wholeNumber("seconds", options.seconds, { least: 1 })
const PROCESSES = wholeNumber("processes", options.processes, { least: 1, most: INSTANCES })

const CIRCUITS = 50
const LARGE = 200

const IDLE_MILLIS = 10_000

const MODES = { "quiet": "quiet", "every-interval": "every interval" } as const
type Mode = keyof typeof MODES
const modes = Object.keys(MODES) as ReadonlyArray<Mode>

const TRIPS: Readonly<Record<"" | "-streak", NonNullable<Breaker.Data["trip"]>>> = {
  "": { _tag: "FailureRate", threshold: 0.5, minimumCalls: 20, window: { _tag: "Within", duration: 60_000 } },
  "-streak": { _tag: "ConsecutiveFailures", failures: 5 }
}
type Rule = keyof typeof TRIPS
const rules = Object.keys(TRIPS) as ReadonlyArray<Rule>

const policyOf = (mode: Mode, rule: Rule): Breaker.Data => ({
  trip: TRIPS[rule],
  evidence: "pooled",
  reports: MODES[mode],
  openFor: 60_000
})

interface Case {
  readonly name: string
  readonly load: Load
  /** How long the fleet runs before it is measured. */
  readonly warmUpSeconds: number
}

/** In this order, because the last one opens the circuits. */
const cases: ReadonlyArray<Case> = [
  // As long as in the simulation. A streak is reported after half a minute, and a quarter of that more. Alerts that nothing follows
  // become rarer after ten intervals.
  { name: "healthy", load: { rate: 5, failing: 0 }, warmUpSeconds: 40 },
  { name: "1pct", load: { rate: 20, failing: 0.01 }, warmUpSeconds: 40 },
  { name: "20pct", load: { rate: 20, failing: 0.2 }, warmUpSeconds: 40 },
  { name: "sick", load: { rate: 5, failing: 1 }, warmUpSeconds: 0 }
]

const progress = (text: string): void => {
  // On the error output, because the results may be read by a program.
  if (process.stderr.isTTY) console.error(`… ${text}`)
}

// -----------------------------------------------------------------------------
// the fleet
// -----------------------------------------------------------------------------

type Member = Child<Requests, Replies>

const members: Array<Member> = []

const all = <K extends keyof Requests>(what: K, request: Requests[K]): Promise<ReadonlyArray<Replies[K]>> =>
  Promise.all(members.map((member) => member.request(what, request)))

const join = async (group: Omit<Group, "instances" | "on" | "watches">, isWatched: boolean): Promise<void> => {
  await Promise.all(members.map((member, i) => {
    const instances = Math.floor(INSTANCES / PROCESSES) + (i < INSTANCES % PROCESSES ? 1 : 0)
    return member.request("join", { ...group, on: ON, instances, watches: isWatched && i === 0 })
  }))
}

const NOTHING: Sent = { reports: 0, looks: 0, polls: 0, changes: 0, probes: 0 }

/** How many requests all instances of a contender have sent to its storage so far, by kind. */
const sentBy = (contender: string, replies: ReadonlyArray<Replies["work"]>): Sent =>
  replies.reduce((sum, { sent: { [contender]: sent = NOTHING } }) => ({
    reports: sum.reports + sent.reports,
    looks: sum.looks + sent.looks,
    polls: sum.polls + sent.polls,
    changes: sum.changes + sent.changes,
    probes: sum.probes + sent.probes
  }), NOTHING)

/** When something first happened to each circuit of a contender, anywhere. */
const timesOf = (contender: string, replies: ReadonlyArray<Replies["work"]>): ReadonlyArray<Times> => {
  const found = replies.map(({ times }) => times[contender] ?? {})
  const names = new Set(found.flatMap((circuits) => Object.keys(circuits)))
  return [...names].map((name) => {
    const first = (what: keyof Times) => {
      const times = found.flatMap(({ [name]: circuit }) => circuit?.[what] ?? [])
      return times.length === 0 ? {} : { [what]: Math.min(...times) }
    }
    return { ...first("failed"), ...first("opened"), ...first("rejected") }
  })
}

/** The times from the first failure until something happened, of the circuits to which it did. */
const delaysOf = (times: ReadonlyArray<Times>, until: "opened" | "rejected"): ReadonlyArray<number> =>
  times.flatMap(({ failed, [until]: at }) => failed === undefined || at === undefined ? [] : [at - failed])

const percentilesOf = (name: string, contender: Mode, delays: ReadonlyArray<number>): ReadonlyArray<Result> =>
  delays.length === 0 ? [] : [0.5, 0.99].map((share) => ({
    case: name.replace("%", `p${share * 100}`),
    contender,
    value: percentile(delays, share),
    unit: "ms"
  }))

// -----------------------------------------------------------------------------
// what it costs
// -----------------------------------------------------------------------------

interface Contender {
  readonly name: string
  readonly mode: Mode
  readonly rule: Rule
  readonly store: Store
}

interface Reading {
  readonly at: number
  readonly replies: ReadonlyArray<Replies["work"]>
  readonly work: ReadonlyMap<string, Work>
}

const read = async (contenders: ReadonlyArray<Contender>): Promise<Reading> => {
  const work = await Promise.all(contenders.map(async ({ name, store }) => [name, await store.work()] as const))
  return { at: performance.now(), replies: await all("work", {}), work: new Map(work) }
}

const ratesOf = (name: string, { mode, name: contender, rule, store }: Contender, before: Reading, after: Reading) => {
  const perSecond = (from: number, to: number) => (to - from) * 1000 / (after.at - before.at)
  const [first, last] = [sentBy(contender, before.replies), sentBy(contender, after.replies)]
  const ofSent = (Object.keys(NOTHING) as ReadonlyArray<keyof Sent>).map((what): Result => ({
    case: `${what}-${name}${rule}`,
    contender: mode,
    value: perSecond(first[what], last[what]),
    unit: `${what}/s`
  }))
  const ofServer = Object.entries(store.units).map(([what, unit]): Result => ({
    case: `${what}-${name}${rule}`,
    contender: mode,
    value: perSecond(before.work.get(contender)![what]!, after.work.get(contender)![what]!),
    unit
  }))
  return [...ofSent, ...ofServer]
}

const setLoad = (contenders: ReadonlyArray<string>, circuits: ReadonlyArray<string>, load: Load) =>
  Promise.all(members.map(async (member) => {
    // A process answers one request at a time.
    for (const contender of contenders) await member.request("load", { contender, circuits, load })
  }))

/** The processor time that servers take without a fleet, which a larger fleet does not multiply. */
const measureIdle = async (contenders: ReadonlyArray<Contender>): Promise<ReadonlyArray<Result>> => {
  progress("idle")
  const start = await read(contenders)
  await sleep(IDLE_MILLIS)
  const end = await read(contenders)
  return contenders.flatMap((contender) => ratesOf("idle", contender, start, end))
    .filter((result) => result.case.startsWith("server-cpu-idle"))
}

const measureCost = async (contenders: ReadonlyArray<Contender>): Promise<ReadonlyArray<Result>> => {
  const circuits = Array.from({ length: CIRCUITS }, (_, i) => `circuit-${i}`)
  const results: Array<Result> = [...await measureIdle(contenders)]
  for (const { mode, name, rule, store } of contenders) {
    await join({ contender: name, url: store.url, policy: policyOf(mode, rule), pushes: true, circuits }, false)
  }
  for (const { load, name, warmUpSeconds } of cases) {
    progress(`${name}: warming up`)
    // The times of the last case begin with its load.
    await all("forget", {})
    const before = warmUpSeconds === 0 ? await read(contenders) : undefined
    await setLoad(contenders.map(({ name }) => name), circuits, load)
    await sleep(warmUpSeconds * 1000)
    progress(name)
    const start = before ?? await read(contenders)
    await sleep(SECONDS * 1000)
    const end = await read(contenders)
    for (const contender of contenders) {
      results.push(...ratesOf(name, contender, start, end))
      const opened = delaysOf(timesOf(contender.name, end.replies), "opened")
      results.push(...percentilesOf(`open-storm-%${contender.rule}`, contender.mode, opened))
    }
  }
  await all("leave", {})
  return results
}

/**
 * Ten times as many instances: what a report costs stays, and the simulation tells how many there are. What the server takes
 * without a fleet stays, too.
 */
const measureLarge = (results: ReadonlyArray<Result>): ReadonlyArray<Result> =>
  rules.flatMap((rule) =>
    cases.slice(0, 3).flatMap(({ load, name }) =>
      modes.flatMap((mode) => {
        progress(`simulating ${name}${rule}, ${mode}`)
        const of = (what: string, at: string = name) =>
          results.find((one) => one.case === `${what}-${at}${rule}` && one.contender === mode)?.value ?? 0
        const [small, large] = [INSTANCES, LARGE].map((instances) =>
          simulate({ instances, policy: policyOf(mode, rule), load, seconds: 60 })
        )
        const row = (what: string, instances: number, value: number, unit: string): Result => ({
          case: `${what}-${name}${rule}-${instances}x${CIRCUITS}`,
          contender: mode,
          value,
          unit
        })
        const factor = large!.reports / small!.reports
        const idle = of("server-cpu", "idle")
        return [
          row("simulated-reports", INSTANCES, small!.reports * CIRCUITS, "reports/s"),
          row("simulated-reports", LARGE, large!.reports * CIRCUITS, "reports/s"),
          row("computed-reports", LARGE, of("reports") * factor, "reports/s"),
          row("computed-polls", LARGE, of("polls") * LARGE / INSTANCES, "polls/s"),
          row("computed-server-cpu", LARGE, idle + (of("server-cpu") - idle) * factor, "ms/s")
        ]
      })
    )
  )

// -----------------------------------------------------------------------------
// how long it takes to open
// -----------------------------------------------------------------------------

const OPENINGS = 40
const OPENING_MILLIS = 250

interface Opening {
  readonly mode: Mode
  readonly pushes: boolean
  readonly name: string
  readonly url: string
}

const measureOpening = async (openings: ReadonlyArray<Opening>): Promise<ReadonlyArray<Result>> => {
  const circuits = Array.from({ length: OPENINGS }, (_, i) => `open-${i}`)
  for (const { mode, name, pushes, url } of openings) {
    const own = circuits.map((circuit) => `${circuit}-${pushes}`)
    await join({ contender: name, url, policy: policyOf(mode, "-streak"), pushes, circuits: own }, true)
    await setLoad([name], own, { rate: 5, failing: 0 })
  }
  progress("opening: warming up")
  await sleep(10_000)
  for (const [i, circuit] of circuits.entries()) {
    progress(`opening ${i + 1} of ${OPENINGS}`)
    for (const { name, pushes } of openings) await setLoad([name], [`${circuit}-${pushes}`], { rate: 5, failing: 1 })
    await sleep(OPENING_MILLIS)
  }
  // More than any opening takes.
  await sleep(8000)
  const replies = await all("work", {})
  await all("leave", {})
  return openings.flatMap(({ mode, name, pushes }) => {
    const times = timesOf(name, replies)
    const suffix = pushes ? "" : "-without-pushes"
    return [
      ...percentilesOf(`open-%${suffix}`, mode, delaysOf(times, "opened")),
      ...percentilesOf(`rejection-%${suffix}`, mode, delaysOf(times, "rejected")),
      { case: `opened${suffix}`, contender: mode, value: delaysOf(times, "opened").length, unit: `of ${OPENINGS}` }
    ]
  })
}

// -----------------------------------------------------------------------------
// the run
// -----------------------------------------------------------------------------

const boundsOf = (value: (name: string, contender: string) => number): ReadonlyArray<Bound> => {
  const bound = (text: string, name: string, most: number): Bound => ({
    text: `${text}, reports: quiet / every interval`,
    measured: value(`reports-${name}`, "quiet") / value(`reports-${name}`, "every-interval"),
    most
  })
  return [
    bound("healthy, a rate", "healthy", 0.06),
    bound("healthy, a streak", "healthy-streak", 0.04),
    bound("1 % failing, a rate", "1pct", 0.15),
    bound("1 % failing, a streak", "1pct-streak", 0.15),
    bound("20 % failing, a rate", "20pct", 0.45),
    bound("20 % failing, a streak", "20pct-streak", 0.45),
    bound("all sick, a rate", "sick", 1.05),
    bound("all sick, a streak", "sick-streak", 1.05)
  ]
}

/** Groups that run one after the other: on Postgres one group of each kind, elsewhere a single one. */
const waves = <A>(all: ReadonlyArray<A>, kindOf: (one: A) => unknown): ReadonlyArray<ReadonlyArray<A>> =>
  ON === "postgres" ? [...new Set(all.map(kindOf))].map((kind) => all.filter((one) => kindOf(one) === kind)) : [all]

const inTurn = async <A>(
  waves: ReadonlyArray<ReadonlyArray<A>>,
  measure: (wave: ReadonlyArray<A>) => Promise<ReadonlyArray<Result>>
): Promise<ReadonlyArray<Result>> => {
  const results: Array<Result> = []
  for (const wave of waves) results.push(...await measure(wave))
  return results
}

/** Leaves out the cases in which the value of every contender is zero. */
const withoutZeros = (results: ReadonlyArray<Result>): ReadonlyArray<Result> =>
  results.filter(({ case: name }) => results.some((other) => other.case === name && other.value > 0))

const stores: Array<Store> = []
try {
  const contenders: Array<Contender> = []
  for (const rule of rules) {
    for (const mode of modes) {
      const store = await startStore(ON)
      stores.push(store)
      contenders.push({ name: `${mode}${rule}`, mode, rule, store })
    }
  }
  for (let i = 0; i < PROCESSES; i++) {
    members.push(await Child.start<Requests, Replies>(`member ${i}`, new URL("./member.ts", import.meta.url), []))
  }
  const openings = contenders.filter(({ rule }) => rule === "-streak").flatMap(({ mode, store: { url } }) =>
    [true, false].map((pushes): Opening => ({ mode, pushes, url, name: `open-${mode}-${pushes}` }))
  )
  let cost: ReadonlyArray<Result>
  await print([
    async () => {
      const all = await inTurn(waves(contenders, ({ rule }) => rule), measureCost)
      return cost = withoutZeros(byCase(all))
    },
    async () => byCase(measureLarge(cost)),
    async () => byCase(await inTurn(waves(openings, ({ pushes }) => pushes), measureOpening))
  ], boundsOf)
} finally {
  await Promise.all(members.map((member) => member.stop()))
  await Promise.all(stores.map((store) => store.stop()))
}
process.exit()
