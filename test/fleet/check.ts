/**
 * Checks the logs of a fleet's processes against the promises of the protocol. It uses nothing of the code under test
 * but the snapshots of breakers, and compares those with the storage's answers. A promise about time counts only the
 * time in which a process could run, because a busy machine breaks no promise.
 */
import type { Answered, Call, Entry, Late, Request, Seen, Sent } from "./log.ts"

/** A fault that the drill inflicted. Its times are of the host's monotonic clock. */
export interface Fault {
  readonly what: string
  readonly from: number
  readonly to: number
  /** The only process that the fault hit; `undefined` for all. */
  readonly process?: number | undefined
  /** The server may have lost writes that it acknowledged. */
  readonly losesData?: boolean | undefined
}

export interface Run {
  /** The entries of each process, in the order in which it wrote them. */
  readonly logs: ReadonlyArray<ReadonlyArray<Entry>>
  readonly faults: ReadonlyArray<Fault>
  /** The circuits on which calls wait for the storage. */
  readonly strict: ReadonlyArray<string>
  /** The circuits that a process which polls may leave unreported, and for how many milliseconds at most. */
  readonly quiet: Readonly<Record<string, number>>
  /** Milliseconds between two round trips. */
  readonly interval: number
  /** The time of the server's clock when the monotonic clock stood at 0. */
  readonly epoch: number
  /** How long a circuit is open, in milliseconds. */
  readonly openFor: number
  /** Taken after the last fault. */
  readonly sightings: ReadonlyArray<Sighting>
}

/** A process that knew another generation than the stored one. */
export interface Sighting {
  readonly process: number
  readonly circuit: string
  readonly stored: number
  readonly known: number
  /** When the process's snapshot was read. */
  readonly at: number
  /** Since when this generation was stored and no fault was active. */
  readonly since: number
}

// Durations that the protocol promises, in milliseconds. Only the time in which a process could run counts.

/** How long a call waits for its circuit to load, and again as long for its lease. */
const PATIENCE = 100
/** How long a storage may take to answer. */
const DEADLINE = 1000
/** How long a process may take to react when nothing keeps it from running. */
const SLACK = 300
/**
 * How long a fault may affect a process after its end. A client waits up to two seconds before it reconnects, which may
 * take one more. Then a round must be sent and answered.
 */
const RECOVERY = 5000
/** The error that a breaker's `retryAfter` may have. */
const INSTANT = 20
/** How far two clocks may differ that should agree. */
const APART = 50

interface Exchange {
  readonly process: number
  readonly sent: Sent
  readonly answer: Answered | undefined
}

/** One request and its answer. */
interface Answer {
  readonly process: number
  readonly at: number
  readonly request: Request
  readonly answeredAt: number
  readonly seen: Seen
  readonly done: boolean
}

export const check = (run: Run): ReadonlyArray<string> => {
  const exchanges = run.logs.flatMap(exchangesOf)
  const answers = exchanges.flatMap(({ answer, process, sent }): ReadonlyArray<Answer> =>
    answer === undefined ? [] : sent.requests.flatMap((request, i) => {
      const seen = answer.seen[i]
      return seen === undefined || seen === null
        ? []
        : [{ process, at: sent.at, request, answeredAt: answer.at, seen, done: answer.done ?? true }]
    })
  )
  return [
    ...run.logs.flatMap((entries, process) => checkCalls(run, process, entries, exchanges, answers)),
    ...run.logs.flatMap((entries, process) => checkViews(process, entries, answers)),
    ...run.logs.flatMap((entries, process) => checkRhythm(run, process, entries, exchanges)),
    ...checkMeanings(answers),
    ...checkOrder(run, answers),
    ...checkClosings(exchanges, answers),
    ...checkWinners(run, answers),
    ...checkLeases(run, exchanges, answers),
    ...run.strict.flatMap((circuit) => checkStrict(run, circuit, answers)),
    ...checkAgreement(run)
  ]
}

const exchangesOf = (entries: ReadonlyArray<Entry>, process: number): ReadonlyArray<Exchange> => {
  const answers = new Map(entries.flatMap((entry) => entry.is === "answered" ? [[entry.id, entry] as const] : []))
  return entries.flatMap((entry) =>
    entry.is === "sent" ? [{ process, sent: entry, answer: answers.get(entry.id) }] : []
  )
}

const callsOf = (entries: ReadonlyArray<Entry>): ReadonlyArray<Call> => entries.filter((entry) => entry.is === "call")

/** The times at which a process's requests failed as a whole. */
const failuresOf = (
  process: number,
  entries: ReadonlyArray<Entry>,
  exchanges: ReadonlyArray<Exchange>
): ReadonlyArray<number> => [
  ...exchanges.flatMap(({ answer, process: of }) =>
    of === process && answer?.seen.every((seen) => seen === null) === true ? [answer.at] : []
  ),
  ...entries.flatMap((entry) => entry.is === "polled" && entry.failed ? [entry.at] : [])
]

/**
 * The entries of a process that was late, with the sum of the delays before each. A busy machine leaves thousands, so
 * lookups use a binary search.
 */
class LatenessOf {
  readonly #late: ReadonlyArray<Late>
  readonly #before: ReadonlyArray<number>

  constructor(entries: ReadonlyArray<Entry>) {
    let sum = 0
    this.#late = entries.filter((entry) => entry.is === "late")
    this.#before = [0, ...this.#late.map(({ by }) => sum += by)]
  }

  between(from: number, to: number): number {
    const first = this.#first(({ at }) => at > from)
    const end = this.#first(({ since }) => since >= to)
    return Math.max(0, this.#before[end]! - this.#before[first]!)
  }

  #first(isSo: (late: Late) => boolean): number {
    let [low, high] = [0, this.#late.length]
    while (low < high) {
      const middle = (low + high) >> 1
      if (isSo(this.#late[middle]!)) high = middle
      else low = middle + 1
    }
    return low
  }
}

const latenesses = new WeakMap<ReadonlyArray<Entry>, LatenessOf>()

/** How long a process was kept from running between two times. */
export const lateness = (entries: ReadonlyArray<Entry>, from: number, to: number): number => {
  const known = latenesses.get(entries) ?? new LatenessOf(entries)
  latenesses.set(entries, known)
  return known.between(from, to)
}

/** Whether `at` is so soon after `since` that a fault at `since` may still affect the process. */
const isRecovering = (entries: ReadonlyArray<Entry>, since: number, at: number): boolean =>
  at - since < RECOVERY + lateness(entries, since, at)

/** Whether a fault hit a process between two times, or so shortly before that it may still affect the process. */
const isHurt = ({ faults, logs }: Run, process: number, from: number, to: number): boolean =>
  faults.some((fault) =>
    (fault.process === undefined || fault.process === process) && fault.from < to &&
    isRecovering(logs[process]!, fault.to, from)
  )

/** Whether the server may have lost acknowledged writes between two times of the server's clock. */
const mayHaveLost = ({ epoch, faults }: Run, from: number, to: number): boolean =>
  faults.some((fault) => fault.losesData === true && fault.from + epoch < to + APART && fault.to + epoch > from - APART)

// -----------------------------------------------------------------------------
// calls
// -----------------------------------------------------------------------------

const NOTHING: Pick<Seen, "generation" | "state"> = { generation: 0, state: "Closed" }

/** Whether a call may be a probe, by its process's snapshot and the time that passed until the call was begun. */
const mayProbe = ({ at, before: { retryAfter = 0, state }, begunAt }: Call): boolean =>
  state !== "Closed" && (state === "HalfOpen" || retryAfter < INSTANT + begunAt - at)

const checkCalls = (
  run: Run,
  process: number,
  entries: ReadonlyArray<Entry>,
  exchanges: ReadonlyArray<Exchange>,
  answers: ReadonlyArray<Answer>
): ReadonlyArray<string> => {
  const broken: Array<string> = []
  const own = answers.filter((answer) => answer.process === process)
  const grants = own.filter(({ done, request }) => request.what === "Ask" && done)
  const failures = failuresOf(process, entries, exchanges)
  for (const call of callsOf(entries)) {
    const { at, atOnce, before, circuit, ended, isFirst, startedAt } = call
    const who = `${at.toFixed(0)} ms: a call of process ${process} through ${circuit}`
    if (!["ok", "failed", "rejected"].includes(ended)) broken.push(`${who} ended with ${ended}`)
    const isStrict = run.strict.includes(circuit)
    const decidedAt = startedAt ?? call.endedAt
    if (!atOnce && !isStrict && !isFirst && !mayProbe(call)) {
      broken.push(`${who} waited, which knew ${JSON.stringify(before)}`)
    }
    const waited = decidedAt - at - lateness(entries, at, decidedAt)
    const most = (isStrict ? 4 * DEADLINE : 2 * PATIENCE) + SLACK
    if (waited > most) broken.push(`${who} waited for ${waited.toFixed(0)} ms`)
    if (startedAt === undefined) continue
    const left = before.state === "Open" ? before.retryAfter ?? 0 : 0
    if (atOnce && left > INSTANT + call.begunAt - at) broken.push(`${who} ran, which is open for ${left} ms`)
    if (!mayProbe(call)) continue
    // Another process may have closed the circuit while the call waited.
    const known = own.filter((answer) => answer.request.circuit === circuit && answer.answeredAt <= startedAt)
      .reduce((newest, { seen }) => seen.generation >= newest.generation ? seen : newest, NOTHING)
    const grant = grants.findIndex((grant) =>
      grant.request.circuit === circuit && grant.answeredAt <= startedAt &&
      startedAt < grant.at + grant.request.duration! + lateness(entries, grant.at, startedAt)
    )
    if (grant !== -1) grants.splice(grant, 1)
    else {
      const wasAway = !before.reachable ||
        failures.some((failed) => failed <= startedAt && isRecovering(entries, failed, startedAt))
      if (!wasAway && known.state !== "Closed" && !isHurt(run, process, at, startedAt)) {
        broken.push(`${who} is a probe without a lease, and the storage answers`)
      }
    }
  }
  return broken
}

/** The generation that a process knows never decreases, and is never behind the storage's answers to it. */
const checkViews = (
  process: number,
  entries: ReadonlyArray<Entry>,
  answers: ReadonlyArray<Answer>
): ReadonlyArray<string> => {
  const moments = [
    ...answers.filter((answer) => answer.process === process)
      .map(({ answeredAt, seen }) => ({
        at: answeredAt,
        circuit: seen.circuit,
        told: seen.generation,
        known: undefined
      })),
    ...callsOf(entries).map(({ at, before, circuit }) => ({ at, circuit, told: 0, known: before.generation }))
  ].toSorted((a, b) => a.at - b.at)
  const least = new Map<string, number>()
  return moments.flatMap(({ at, circuit, known, told }) => {
    const floor = least.get(circuit) ?? 0
    least.set(circuit, Math.max(floor, told, known ?? 0))
    return known === undefined || known >= floor
      ? []
      : [`${at.toFixed(0)} ms: process ${process} knows generation ${known} of ${circuit}, and knew ${floor}`]
  })
}

/**
 * While a circuit is called and the storage is reachable, its process never waits long for an answer. A process that polls
 * hears of a quiet circuit by its polls, and reports it now and then.
 */
const checkRhythm = (
  run: Run,
  process: number,
  entries: ReadonlyArray<Entry>,
  exchanges: ReadonlyArray<Exchange>
): ReadonlyArray<string> => {
  const calls = callsOf(entries)
  const failures = failuresOf(process, entries, exchanges)
  const polls = entries.flatMap((entry) => entry.is === "polled" && !entry.failed ? [entry.at] : [])
  return [...new Set(calls.map(({ circuit }) => circuit))].flatMap((circuit) => {
    const reports = exchanges.flatMap(({ answer, process: of, sent }) => {
      const i = sent.requests.findIndex((request) => request.circuit === circuit && request.what === "Report")
      return of === process && i !== -1 && answer !== undefined && answer.seen[i] !== null ? [answer.at] : []
    })
    const called = calls.filter((call) => call.circuit === circuit).map(({ at }) => at)
    const silences = (what: string, answers: ReadonlyArray<number>, most: number) =>
      answers.slice(1).flatMap((answer, i) => {
        const last = answers[i]!
        // Counts from the first call after an answer, because an instance sends nothing while its circuit is idle.
        const since = called.find((at) => at > last) ?? Infinity
        const silence = answer - Math.max(last, since) - lateness(entries, last, answer)
        return silence <= most + DEADLINE + SLACK || isHurt(run, process, last, answer) ||
            failures.some((failed) => failed > last && failed < answer)
          ? []
          : [`${answer.toFixed(0)} ms: process ${process} ${what} ${circuit} for ${silence.toFixed(0)} ms`]
      })
    const { [circuit]: quietMillis } = run.quiet
    if (quietMillis === undefined) return silences("had no answer about", reports, 2 * run.interval)
    const heard = [...reports, ...polls].toSorted((a, b) => a - b)
    return [
      ...silences("did not hear of", heard, 2 * run.interval),
      ...silences("did not report", reports, quietMillis + run.interval)
    ]
  })
}

// -----------------------------------------------------------------------------
// generations
// -----------------------------------------------------------------------------

/** All answers with the same generation show the same state and the same reason. */
const checkMeanings = (answers: ReadonlyArray<Answer>): ReadonlyArray<string> => {
  const meanings = new Map<string, string>()
  return answers.flatMap(({ seen: { asOf, circuit, generation, state, why } }) => {
    const key = `generation ${generation} of ${circuit}`
    const meaning = `${state} (${why})`
    const known = meanings.get(key) ?? meaning
    meanings.set(key, known)
    return generation === 0 || known === meaning ? [] : [`${key} is ${known}, and ${meaning} as of ${asOf}`]
  })
}

/**
 * A request that is sent after an answer showed a change is answered with that change or a newer one, unless the server
 * lost it.
 */
const checkOrder = (run: Run, answers: ReadonlyArray<Answer>): ReadonlyArray<string> => {
  const newest = new Map<string, { readonly generation: number; readonly answeredAt: number; readonly asOf: number }>()
  return answers.toSorted((a, b) => a.seen.asOf - b.seen.asOf).flatMap(({ answeredAt, at, process, seen }) => {
    const { asOf, circuit, generation } = seen
    const known = newest.get(circuit)
    if (known === undefined || generation >= known.generation) {
      if (known?.generation !== generation) newest.set(circuit, { generation, answeredAt, asOf })
      return []
    }
    if (mayHaveLost(run, known.asOf, asOf) || at < known.answeredAt) return []
    return [
      `${
        at.toFixed(0)
      } ms: process ${process} received generation ${generation} of ${circuit} after generation ${known.generation}`
    ]
  })
}

/** A circuit closes only after a probe succeeded. */
const checkClosings = (exchanges: ReadonlyArray<Exchange>, answers: ReadonlyArray<Answer>): ReadonlyArray<string> => {
  const settled = exchanges.flatMap(({ sent }) => sent.requests.filter(({ what }) => what === "SettleSuccess"))
  const closed = new Map(
    answers.filter(({ seen }) => seen.state === "Closed" && seen.generation > 0)
      .map(({ seen: { circuit, generation } }) => [`${circuit} ${generation}`, { circuit, generation }])
  )
  return [...closed.values()].flatMap(({ circuit, generation }) =>
    settled.some((settle) => settle.circuit === circuit && settle.generation < generation)
      ? []
      : [`generation ${generation} of ${circuit} is Closed, and no probe has succeeded before it`]
  )
}

/** Of several trips of the same generation, only one is committed. */
const checkWinners = (run: Run, answers: ReadonlyArray<Answer>): ReadonlyArray<string> => {
  const winners = new Map<string, Answer>()
  return answers.filter(({ done, request }) => request.what === "Trip" && done).flatMap((trip) => {
    const key = `generation ${trip.request.generation} of ${trip.request.circuit}`
    const other = winners.get(key)
    winners.set(key, trip)
    return other === undefined || mayHaveLost(run, other.seen.asOf, trip.seen.asOf)
      ? []
      : [`${trip.at.toFixed(0)} ms: ${key} was tripped by processes ${other.process} and ${trip.process}`]
  })
}

// -----------------------------------------------------------------------------
// leases
// -----------------------------------------------------------------------------

interface Lease {
  readonly name: string
  readonly circuit: string
  readonly generation: number
  readonly from: number
  /** Until when it holds a place. */
  until: number
  settledAt: number | undefined
}

/**
 * By the server's clock, no more leases hold a place at once than probes are allowed, and no lease is settled twice or
 * in another generation. Both hold unless the server lost what it acknowledged.
 */
const checkLeases = (
  run: Run,
  exchanges: ReadonlyArray<Exchange>,
  answers: ReadonlyArray<Answer>
): ReadonlyArray<string> => {
  const leases = new Map<string, Lease>()
  // A request without an answer may have been executed, which frees the place.
  const mayBeFreeFrom = new Map<string, number>()
  for (const { answer, sent } of exchanges) {
    for (const [i, { circuit, lease, what }] of sent.requests.entries()) {
      if (lease === undefined || what === "Ask" || (answer?.seen[i] ?? null) !== null) continue
      const name = `${circuit} ${lease}`
      mayBeFreeFrom.set(name, Math.min(mayBeFreeFrom.get(name) ?? Infinity, sent.at + run.epoch - APART))
    }
  }
  return answers.toSorted((a, b) => a.seen.asOf - b.seen.asOf).flatMap(({ done, request, seen }) => {
    if (!done || request.lease === undefined) return []
    const name = `${request.circuit} ${request.lease}`
    const lease = leases.get(name)
    if (request.what !== "Ask") {
      if (lease === undefined || mayHaveLost(run, lease.from, seen.asOf)) return []
      const { settledAt } = lease
      lease.settledAt = seen.asOf
      lease.until = Math.min(lease.until, seen.asOf)
      if (settledAt !== undefined) return [`the lease ${name} was settled at ${settledAt}, and again at ${seen.asOf}`]
      return lease.generation === request.generation
        ? []
        : [`the lease ${name} of generation ${lease.generation} was settled in ${request.generation}`]
    }
    if (lease !== undefined) return []
    const { circuit, generation } = seen
    const until = seen.asOf + request.duration!
    leases.set(name, { name, circuit, generation, from: seen.asOf, until, settledAt: undefined })
    const live = [...leases.values()].filter((other) =>
      other.circuit === circuit && other.generation === generation && seen.asOf < other.until &&
      seen.asOf < (mayBeFreeFrom.get(other.name) ?? Infinity) && !mayHaveLost(run, other.from, seen.asOf)
    )
    return live.length <= Math.max(1, request.probes!)
      ? []
      : [
        `${live.length} leases of ${circuit} are live at ${seen.asOf}, where ${request.probes} may be: ${
          live.map(({ from, name, until }) => `${name} from ${from} until ${until}`).join(", ")
        }`
      ]
  })
}

// -----------------------------------------------------------------------------
// strict circuits
// -----------------------------------------------------------------------------

/** Once any process has received an opening, every strict call is rejected until the open time is over. */
const checkStrict = (run: Run, circuit: string, answers: ReadonlyArray<Answer>): ReadonlyArray<string> => {
  const openings = new Map<number, { readonly toldAt: number; readonly asOf: number }>()
  for (const { answeredAt, seen } of answers) {
    if (seen.circuit !== circuit || seen.state !== "Open") continue
    const known = openings.get(seen.generation)
    openings.set(seen.generation, {
      toldAt: Math.min(known?.toldAt ?? Infinity, answeredAt),
      asOf: Math.min(known?.asOf ?? Infinity, seen.asOf)
    })
  }
  return run.logs.flatMap((entries, process) =>
    callsOf(entries).flatMap(({ at, circuit: of, startedAt }) => {
      if (of !== circuit || startedAt === undefined || isHurt(run, process, at - DEADLINE, startedAt)) return []
      // The first answer that shows an opening may come later than its start, so the open time may end sooner.
      const opening = [...openings].find(([, { asOf, toldAt }]) =>
        toldAt < at && startedAt + run.epoch < asOf + run.openFor - DEADLINE &&
        !answers.some(({ seen }) =>
          seen.circuit === circuit && seen.asOf > asOf && seen.asOf <= startedAt + run.epoch && seen.state !== "Open"
        )
      )
      return opening === undefined
        ? []
        : [`${at.toFixed(0)} ms: a strict call of process ${process} ran after generation ${opening[0]} was open`]
    })
  )
}

// -----------------------------------------------------------------------------
// agreement
// -----------------------------------------------------------------------------

/** Soon after the last fault and the last change, each process knows the stored generation. */
const checkAgreement = ({ logs, sightings }: Run): ReadonlyArray<string> =>
  sightings.flatMap(({ at, circuit, known, process, since, stored }) =>
    isRecovering(logs[process]!, since, at)
      ? []
      : [
        `${
          at.toFixed(0)
        } ms: process ${process} knows generation ${known} of ${circuit}, and ${stored} was stored for ${
          (at - since).toFixed(0)
        } ms`
      ]
  )
