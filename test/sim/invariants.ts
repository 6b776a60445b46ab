/**
 * The invariants of a fleet, checked from outside: at the server, on the wire, at the calls. They read nothing from the
 * code under test but what a user can read of a breaker.
 */
import { Duration, type Exit, Result } from "effect"
import { isTagged } from "effect/Predicate"
import type { Ask, Settle } from "../../src/core/Lease.ts"
import type { CircuitRecord, LeaseName } from "../../src/core/Record.ts"
import type { Event } from "../../src/Event.ts"
import type { Breaker, Trip } from "../../src/index.ts"
import type { Changed, CircuitReport, Probed, Snapshot, Synced } from "../../src/Storage/Storage.ts"
import type { Call, Fleet, Process, Watcher } from "../../src/testing/internal/Fleet.ts"
import type { Exchange } from "../../src/testing/internal/Link.ts"
import type { Handled, Input } from "../../src/testing/internal/Server.ts"

/** The longest a call waits for its load or its lease. */
const PATIENCE = 100
/** The deadline of a request. */
const DEADLINE = 1000
/**
 * For so long after a slow answer, intervals may be longer: they are four round trips and a quarter of that by chance, of an average
 * which is a deadline at most and is halved by each fast answer, so that they add up to 5 × (1 + 1/2 + …) deadlines.
 */
const SLOWED_MILLIS = 10 * DEADLINE
/** Rounds are left out while the next one comes within four intervals, be a timer a tenth of one late. */
const MOST_SLOWED = 4.1
/** A timer may be this much late, because times are fractions. */
const ROUNDING = 0.01
/**
 * A report may be under way for twice the deadline without being late, and the answer before it as long without being taken for
 * the first after a sleep.
 */
const LATE = 4 * DEADLINE + PATIENCE

/** A generation of a circuit, as it was first committed. */
interface Issued {
  readonly state: CircuitRecord["state"]["_tag"]
  readonly reason: string | undefined
  readonly by: Input["_tag"]
  /** When it was committed, in the world's time. */
  readonly at: number
  /** When the next generation was committed. */
  endedAt: number
  /** When its open time is over. */
  readonly openUntil: number
  readonly isOverridden: boolean
}

type Window = CircuitRecord["window"]

interface Requested {
  readonly at: number
  readonly isAccepted: boolean
}

/** A key that was called so long ago counts as one in use, by a breaker that counts seconds. */
const KEYS_MILLIS = 58_000

const requestsIn = ({ failure, shed = 0, success }: Window[number]): number => success + failure + shed

/** A process's newest view of a circuit, as its answers show it. */
interface View {
  generation: number
  state: string
  remaining: number
}

interface Verdicts {
  /** Since when all snapshots of this generation have tripped: the time of the first request, by both clocks. */
  since: { readonly asOf: number; readonly at: number } | undefined
  last: { readonly asOf: number; readonly at: number; readonly alertedFor: number } | undefined
  generation: number
}

/** A lease, which holds its place at least until then. */
interface Grant {
  readonly sequence: number
  readonly generation: number
  readonly until: number
}

interface Running {
  /** The sequence of its lease; `undefined` for a probe of its process's own. */
  readonly lease: number | undefined
  /** The generation that its process knew when it began, and when the half-open state had begun there. */
  readonly generation: number
  readonly roundAt: number
  /** Until when it holds its place. */
  readonly until: number
}

const millisOf = (input: Duration.Input): number => Duration.toMillis(Duration.fromInputUnsafe(input))

/** The policy of a process is `metricsOnly`: it refuses no call by itself, and takes no part in what the fleet decides. */
const measures = ({ policies }: Process, circuit: number): boolean => policies[circuit]!.enforcement === "metricsOnly"

const intervalOf = ({ syncEvery = 1000 }: Breaker.Data): number => millisOf(syncEvery)

/** The longest interval of a process: the round that is under way when its policy changes is one of the policy before. */
const longestInterval = ({ former }: Process, circuit: number): number => Math.max(...former[circuit]!.map(intervalOf))

/** The same on a slow storage: four times as long, but no longer than a sixth of the shortest window. */
const longestSlowed = ({ former }: Process, circuit: number): number =>
  Math.max(...former[circuit]!.map((policy) => {
    const spans = spansOf(policy.trip ?? defaultTrip).concat(policy.throttle?.within ?? [])
    const sixth = Math.min(...spans.map((span) => millisOf(span) / 6))
    return Math.max(intervalOf(policy), Math.min(MOST_SLOWED * intervalOf(policy), sixth))
  }))

export class Invariants implements Omit<Watcher, "pushed" | "chained"> {
  readonly broken: Array<string> = []
  readonly #fleet: Fleet
  /** By circuit, then generation. */
  readonly #issued = new Map<string, Map<number, Issued>>()
  readonly #newest = new Map<string, number>()
  readonly #views = new Map<string, View>()
  readonly #verdicts = new Map<string, Verdicts>()
  /** How many exchanges of a process failed in a row, in all and by circuit. */
  readonly #failures = new Map<string, number>()
  /** How long the last exchanges of a process took. */
  readonly #took = new Map<number, ReadonlyArray<{ readonly at: number; readonly millis: number }>>()
  /** The newest request of a process about a circuit that was answered. */
  readonly #answers = new Map<string, { readonly sent: number; readonly sentAt: number }>()
  /** Since when a process is due to learn of a change, and the generation that it knew then. */
  readonly #dues = new Map<string, { readonly at: number; readonly known: number }>()
  readonly #calledAt = new Map<string, number>()
  /** How many calls a process admitted in a generation, less those that it has reported as evidence of it. */
  readonly #admitted = new Map<string, number>()
  /** The newest report of a process that was checked. */
  readonly #reported = new Map<string, number>()
  /** By process and circuit: the calls that were asked for, and neither ignored nor refused but by being shed. */
  readonly #requests = new Map<string, Array<Requested>>()
  readonly #counted = new Map<string, { success: number; failure: number; ignored: number; rejected: number }>()
  /** Probes that run. */
  readonly #running = new Map<Call, Running>()
  /** Leases that a process was granted and has not used. */
  readonly #grants = new Map<string, Array<Grant>>()
  /** When each lease was first requested. */
  readonly #asked = new Map<string, { readonly at: number; readonly duration: number }>()
  /** Leases that the server has granted and that were not settled, since it last lost data. */
  readonly #unsettled = new Set<string>()
  /** By circuit and outcome: how many probes were settled since it became half-open. An override does not end the round. */
  readonly #probesEnded = new Map<string, number>()
  /** By circuit and generation: when the hints of its ignored probes are over, by the server's clock. */
  readonly #hinted = new Map<string, number>()
  /** By process and circuit: when the hints of its own ignored calls are over. */
  readonly #toldUntil = new Map<string, number>()
  /** Calls that ended as probes, with the lease that is to be settled. */
  readonly #due = new Map<Call, string>()
  /** Leases whose settlement was sent. */
  readonly #settled = new Set<string>()
  /** By process: since when the circuits of its keyed breaker are not closed, and whether it has opened them by itself. */
  readonly #unclosed = new Map<number, Map<string, { readonly since: number; readonly isOwn: boolean }>>()
  /** The newest generation of a circuit that a process has asked to open on the fleet's evidence. */
  readonly #proposed = new Map<string, number>()
  /** When a process was last seen with a circuit that was closed, and the fleet's was not, or the other way round. */
  readonly #apart = new Map<string, { readonly at: number; readonly isApart: boolean }>()
  /** When the recorded calls of a process ended. */
  readonly #endedAt = new Map<string, Array<number>>()
  /** When a clock step or a loss of data last upset leases and generations. */
  #upsetAt = -Infinity
  #wasSetBack = false
  #wasMoved = false

  constructor(fleet: Fleet) {
    this.#fleet = fleet
    fleet.watchers.push(this)
  }

  /** The server's clock was moved, or it has lost data. */
  upset(by = 0): void {
    this.#upsetAt = this.#fleet.world.now
    this.#dues.clear()
    this.#unsettled.clear()
    if (by < 0) this.#wasSetBack = true
    if (by !== 0) this.#wasMoved = true
  }

  #check(holds: boolean, message: () => string): void {
    if (!holds) this.broken.push(`${this.#fleet.world.now.toFixed(0)} ms: ${message()}`)
  }

  #name(circuit: number): string {
    return this.#fleet.options.circuits[circuit]!.name
  }

  #circuit(name: string): number {
    return this.#fleet.options.circuits.findIndex((circuit) => circuit.name === name)
  }

  /** Whether enough time has passed for a circuit to expire. */
  #mayForget(): boolean {
    const { now, startedAt } = this.#fleet.world
    return now - startedAt >= Duration.toMillis(this.#fleet.server.storage.idleTimeToLive)
  }

  /** The largest number of probes that any process allows. */
  #probes(circuit: number): number {
    return Math.max(
      ...this.#fleet.processes.flatMap(({ former }) => former[circuit]!.map(({ halfOpen }) => halfOpen?.probes ?? 1))
    )
  }

  // -----------------------------------------------------------------------------
  // at the server
  // -----------------------------------------------------------------------------

  handled({ after, before, circuit, from, input, now }: Handled): void {
    const idle = Duration.toMillis(this.#fleet.server.storage.idleTimeToLive)
    const old = before === undefined || now >= (before.expiresAt ?? Infinity) ? undefined : before.record
    const record = after?.record
    const generation = old?.generation ?? 0
    switch (input._tag) {
      case "Report":
        if (input.generation !== generation) {
          this.#check(
            record === before?.record ||
              (input.generation < generation && hasSameEvidence(old, record, this.#wasSetBack)),
            () => `a report of generation ${input.generation} changed generation ${generation} of ${circuit}`
          )
        }
        this.#check(
          (record?.generation ?? 0) === (before === undefined ? 0 : before.record.generation) || old === undefined,
          () => `a report changed the generation of ${circuit}`
        )
        if (record !== undefined && record !== before?.record) {
          const { streak: { sawSuccess, trailing } } = input.delta
          // Of a report that was counted before, the suspicion alone takes effect.
          const isCounted = record.lifetime.success > (old?.lifetime.success ?? 0)
          this.#check(
            !isCounted || input.generation !== generation || !sawSuccess || record.streak === trailing,
            () =>
              `a report with a success, and ${trailing} failures after it, left a row of ${record.streak} at ${circuit}`
          )
          this.#checkAges(from, circuit, old?.window ?? [], record.window, now)
        }
        break
      case "Ask": {
        const { instance, sequence } = input.lease
        const isGranted = isHeld(record, input.lease)
        if (isGranted) this.#unsettled.add(`${circuit} ${record!.generation} ${instance} ${sequence}`)
        const hintUntil = this.#hinted.get(`${circuit} ${generation}`) ?? -Infinity
        this.#check(
          !isGranted || isHeld(old, input.lease) || now >= hintUntil || this.#wasSetBack ||
            this.#fleet.server.losses > 0,
          () => `a lease of ${circuit} was granted to ${instance} ${hintUntil - now} ms before a hint was over`
        )
        this.#check(
          isGranted || !hasFreePlace(old, input, now),
          () => `a lease of ${circuit} was denied to ${instance}, and a place was free`
        )
        break
      }
      case "Settle": {
        const { instance, sequence } = input.lease
        const isCurrent = generation === input.generation
        this.#check(
          (isCurrent && isHeld(old, input.lease)) || record === before?.record,
          () => `a settlement of a lease that is not held changed ${circuit}`
        )
        const round = `${circuit} ${generation}`
        if (record !== before?.record && input.outcome._tag !== "Ignored") {
          this.#checkRound(circuit, input.outcome, record)
        }
        const hint = input.outcome._tag === "Success" || record?.state._tag !== "HalfOpen" ? 0 : input.outcome.hint ?? 0
        if (record !== before?.record && hint > 0) {
          this.#hinted.set(round, Math.max(this.#hinted.get(round) ?? -Infinity, now + hint))
        }
        const wasGranted = this.#unsettled.delete(`${circuit} ${input.generation} ${instance} ${sequence}`)
        this.#check(
          !(wasGranted && isCurrent) || record !== before?.record || this.#mayForget(),
          () => `a settlement of a lease of ${circuit} that was granted to ${instance} changed nothing`
        )
        break
      }
      case "Trip":
        this.#check(
          record === before?.record || (input.generation === generation && now - input.asOf <= input.maxAge),
          () =>
            `a trip decided in generation ${input.generation}, ${
              now - input.asOf
            } ms ago, changed ${generation} of ${circuit}`
        )
        break
      case "PutBack":
        this.#check(
          !(old?.state._tag === "Open" && Math.max(now, old.usedAt) < old.state.until &&
            input.snapshot.state._tag === "Closed" &&
            record?.state._tag !== "Open"),
          () => `Closed was put back over an Open of ${circuit} whose time is not up`
        )
        this.#check(
          record === before?.record || input.age <= idle,
          () => `what was confirmed ${input.age} ms ago was put back, beyond the idle time`
        )
        this.#check(
          record === before?.record || this.#wasMoved || this.#fleet.processes[from]?.machine.isPunctual !== true ||
            now - input.snapshot.asOf <= idle + 2 * LATE,
          () => `what was confirmed ${now - input.snapshot.asOf} ms ago was put back as of ${input.age} ms ago`
        )
        break
    }
    if (record === undefined || record === before?.record) return
    const isForced = input._tag === "Operation" && input.to._tag === "HalfOpen"
    if (record.state._tag !== "HalfOpen" || isForced) {
      for (const outcome of ["Success", "Failure"]) this.#probesEnded.delete(`${circuit} ${outcome}`)
    }
    if (record.state._tag === "HalfOpen") {
      const live = record.state.leases.filter(({ until }) => now < until).length
      const probes = this.#probes(this.#circuit(circuit))
      this.#check(live <= probes, () => `${live} leases of ${circuit} are live, where ${probes} may be`)
    }
    if (record.generation !== before?.record.generation) this.#issue(circuit, generation, record, input, now)
  }

  /** A probe closes or reopens the circuit exactly as the last that is needed, by the policy of the instance that settles it. */
  #checkRound(
    circuit: string,
    outcome: Exclude<Settle["outcome"], { readonly _tag: "Ignored" }>,
    record: CircuitRecord | undefined
  ): void {
    const [needed, follows] = outcome._tag === "Success"
      ? [outcome.successes, "Closed"]
      : [outcome.failures ?? 1, "Open"]
    const round = `${circuit} ${outcome._tag}`
    const ended = (this.#probesEnded.get(round) ?? 0) + 1
    this.#probesEnded.set(round, ended)
    this.#check(
      (record?.state._tag === follows) === (ended >= needed) || this.#fleet.server.losses > 0 || this.#mayForget(),
      () =>
        `${ended} of ${needed} times ${outcome._tag} of a probe, then ${follows}, left ${circuit} ${record?.state._tag}`
    )
  }

  /** No report makes a process's outcomes younger than they are, by more than a report and an answer may be under way. */
  #checkAges(from: number, circuit: string, before: Window, after: Window, now: number): void {
    if (this.#wasMoved) return
    const ended = this.#endedAt.get(`${from} ${this.#circuit(circuit)}`) ?? []
    const added = after.map((bucket) => {
      const old = before.find(({ index, width }) => index === bucket.index && width === bucket.width)
      const calls = requestsIn(bucket) - (old === undefined ? 0 : requestsIn(old))
      return { width: bucket.width, start: bucket.index * bucket.width, calls }
    })
    for (const { start, width } of added.filter(({ calls }) => calls > 0)) {
      const claimed = added.reduce(
        (sum, other) => other.width === width && other.start >= start ? sum + other.calls : sum,
        0
      )
      const since = this.#fleet.world.now - (now - start) - LATE
      const happened = ended.filter((at) => at >= since).length
      this.#check(
        claimed <= happened,
        () => `process ${from} reports ${claimed} outcomes of ${circuit} in the last ${now - start} ms, of ${happened}`
      )
    }
  }

  #issue(circuit: string, before: number, record: CircuitRecord, input: Input, now: number): void {
    const { generation, state } = record
    let issued = this.#issued.get(circuit)
    if (issued === undefined) this.#issued.set(circuit, issued = new Map())
    const known = issued.get(generation)
    const isBack = input._tag === "PutBack" && generation === input.snapshot.generation
    const newest = this.#newest.get(circuit) ?? 0
    if (isBack) {
      this.#check(known !== undefined, () => `generation ${generation} of ${circuit} was put back, and never was`)
    } else if (input._tag !== "Report") {
      this.#check(
        generation > before && (generation > newest || this.#wasSetBack),
        () => `generation ${generation} of ${circuit} follows ${before}, and ${newest} was the newest`
      )
    }
    // After a loss and a clock that was set back, a forgotten generation may be issued again. This cannot be prevented.
    const isUnknowable = this.#wasSetBack && (this.#fleet.server.losses > 0 || this.#mayForget())
    this.#check(
      generation === 0 || isUnknowable || known === undefined ||
        (known.state === state._tag && known.reason === record.why?.reason),
      () =>
        `generation ${generation} of ${circuit} was ${known!.state} (${
          known!.reason
        }), and was issued again as ${state._tag} (${record.why?.reason})`
    )
    const at = this.#fleet.world.now
    for (const other of issued.values()) other.endedAt = Math.min(other.endedAt, at)
    if (known === undefined || isBack) {
      issued.set(generation, {
        state: state._tag,
        reason: record.why?.reason,
        by: known?.by ?? input._tag,
        at,
        endedAt: Infinity,
        openUntil: state._tag === "Open" ? at + state.until - now : at,
        isOverridden: record.override !== undefined
      })
    }
    this.#newest.set(circuit, Math.max(newest, generation))
    for (const process of this.#fleet.processes) {
      if (this.#knows(process, this.#circuit(circuit)) === before) {
        this.#dues.delete(`${process.index} ${this.#circuit(circuit)}`)
      }
      const isOpen = process.snapshot(this.#circuit(circuit)).state !== "Closed"
      if (isOpen) this.#owe(process, this.#circuit(circuit))
    }
  }

  // -----------------------------------------------------------------------------
  // on the wire
  // -----------------------------------------------------------------------------

  sent(process: Process, { inputs, sentAt }: Exchange): void {
    for (const [name, input] of inputs) {
      if (input._tag === "Report") this.#checkEvidence(process, name, input)
      if (input._tag === "Ask") {
        const lease = `${process.index} ${name} ${input.lease.sequence}`
        // One that was asked for before is asked for until there is an answer.
        this.#check(
          this.#asked.has(lease) || !measures(process, this.#circuit(name)),
          () => `process ${process.index} asks for a lease of ${name}, which it only measures`
        )
        if (!this.#asked.has(lease)) this.#asked.set(lease, { at: sentAt, duration: input.duration })
      }
      if (input._tag === "Settle") {
        const who = `${process.index} ${name}`
        const grants = this.#grants.get(who) ?? []
        this.#settled.add(`${who} ${input.lease.sequence}`)
        this.#grants.set(who, grants.filter(({ sequence }) => sequence !== input.lease.sequence))
      }
      if (input._tag !== "Trip") continue
      const circuit = this.#circuit(name)
      this.#check(
        !measures(process, circuit),
        () => `process ${process.index} asks to open ${name}, which it only measures`
      )
      this.#proposes(process, circuit, input.generation)
      const { consistency = "local", evidence = "pooled", syncEvery } = process.policies[circuit]!
      if (evidence === "any" || consistency !== "local" || looksAtCalls(tripOf(process, circuit))) continue
      const { generation, last, since } = this.#verdicts.get(`${process.index} ${name}`) ?? {}
      const interval = millisOf(syncEvery ?? 1000)
      this.#check(
        generation === input.generation && since !== undefined && last !== undefined &&
          last.asOf - since.asOf >= interval - 0.001 &&
          last.at - since.at >= interval - 0.001,
        () =>
          `process ${process.index} trips ${name} on evidence that held for ${
            (last?.at ?? 0) - (since?.at ?? 0)
          } ms, since ${sentAt}`
      )
      this.#check(
        this.#fleet.options.bells !== true || (last?.alertedFor ?? -Infinity) >= 1.25 * interval - 0.001,
        () => `process ${process.index} trips ${name} ${last?.alertedFor} ms after the fleet was called`
      )
    }
  }

  // -----------------------------------------------------------------------------
  // at the keys of a breaker
  // -----------------------------------------------------------------------------

  told(process: Process, event: Event): void {
    if (event._tag !== "Transition") return
    const unclosed = this.#unclosed.get(process.index) ?? new Map()
    this.#unclosed.set(process.index, unclosed)
    if (event.to === "Closed") return void unclosed.delete(event.circuit)
    if (event.from !== "Closed") return
    // The event's own snapshot is of the state before.
    const { fleet, isolated, state } = process.snapshot(this.#circuit(event.circuit))
    const isOwn = event.to === "Open" && state === "Open" && isolated && fleet?.state !== "Open"
    if (isOwn) this.#checkKeys(process, event.circuit)
    unclosed.set(event.circuit, { since: this.#fleet.world.now, isOwn })
  }

  /** A process asks for an opening, for the first time in this generation. It has opened the circuit before, if by its own evidence. */
  #proposes(process: Process, circuit: number, generation: number): void {
    const who = `${process.index} ${circuit}`
    const { override, state } = process.snapshot(circuit)
    if (state !== "Closed" || override !== undefined || generation <= (this.#proposed.get(who) ?? -1)) return
    this.#proposed.set(who, generation)
    this.#checkKeys(process, this.#name(circuit))
  }

  /**
   * A process that opens one more of its keys has few enough open, of those that were called lately. It may not have counted one yet
   * that others have opened in the last second.
   */
  #checkKeys(process: Process, opens: string): void {
    const { options: { circuits, neverOpenMoreThan }, world: { now } } = this.#fleet
    if (neverOpenMoreThan === undefined || !process.machine.isPunctual) return
    const isCounted = (name: string) =>
      process.snapshot(this.#circuit(name)).state !== "Closed" &&
      now - (this.#calledAt.get(`${process.index} ${this.#circuit(name)}`) ?? -Infinity) < KEYS_MILLIS
    const open =
      [...this.#unclosed.get(process.index) ?? []].filter(([name, { isOwn, since }]) =>
        name !== opens && (isOwn || now - since > 1000) && isCounted(name)
      ).length
    this.#check(
      open + 1 <= neverOpenMoreThan * circuits.length,
      () => `process ${process.index} opens ${opens} besides ${open} of ${circuits.length} keys`
    )
  }

  /** An instance reports as evidence of a generation at most the outcomes of calls it admitted in that generation. */
  #checkEvidence(process: Process, name: string, { delta, generation, sequence }: CircuitReport): void {
    const who = `${process.index} ${name}`
    if (sequence <= (this.#reported.get(who) ?? 0)) return
    this.#reported.set(who, sequence)
    const { buckets, streak } = delta
    const counted = buckets.reduce((sum, { failure, success }) => sum + failure + success, 0)
    const evidence = Math.max(counted, streak.leading, streak.trailing)
    const left = (this.#admitted.get(`${who} ${generation}`) ?? 0) - evidence
    this.#admitted.set(`${who} ${generation}`, left)
    this.#check(
      left >= 0 || this.#mayForget(),
      () => `process ${process.index} reports ${-left} outcomes of ${name} too many as of generation ${generation}`
    )
  }

  ended(process: Process, exchange: Exchange, exit: Exit.Exit<unknown, unknown> | undefined): void {
    const isAnswered = exit !== undefined && exit._tag === "Success"
    const { now } = this.#fleet.world
    const took = this.#took.get(process.index) ?? []
    this.#took.set(process.index, [...took.filter(({ at }) => now - at < SLOWED_MILLIS), {
      at: now,
      millis: now - exchange.sentAt
    }])
    this.#failed(`${process.index}`, isAnswered)
    if (exchange.kind === "sync") {
      const answers = isAnswered ? exit.value as ReadonlyArray<Synced> : []
      for (const name of exchange.inputs.keys()) {
        const result = answers.find(({ circuit }) => circuit === name)?.result
        const snapshot = result !== undefined && Result.isSuccess(result) ? result.success.snapshot : undefined
        this.#failed(`${process.index} ${name}`, snapshot !== undefined)
        if (snapshot === undefined) continue
        this.#answered(process, name, exchange)
        this.#judge(process, name, snapshot, exchange)
      }
      return
    }
    for (const [name, input] of exchange.inputs) {
      const who = `${process.index} ${name}`
      this.#failed(who, isAnswered)
      if (!isAnswered) continue
      const answer = exit.value as Changed | Probed
      this.#meets(process, name, answer.snapshot)
      if (input._tag === "Ask" && "granted" in answer && answer.granted) {
        const grants = this.#grants.get(who) ?? []
        const { lease: { sequence } } = input
        const { generation } = answer.snapshot
        // A repeated Ask does not extend the lease.
        const { at, duration } = this.#asked.get(`${who} ${sequence}`)!
        this.#grants.set(who, [...grants, { sequence, generation, until: at + duration }])
      }
    }
  }

  #failed(who: string, isAnswered: boolean): void {
    this.#failures.set(who, isAnswered ? 0 : (this.#failures.get(who) ?? 0) + 1)
  }

  /** Whether the storage counts as unreachable for a process. */
  #isUnreachable(process: Process, circuit: number): boolean {
    return (this.#failures.get(`${process.index}`) ?? 0) >= 2 ||
      (this.#failures.get(`${process.index} ${this.#name(circuit)}`) ?? 0) >= 2
  }

  #answered(process: Process, name: string, { sent, sentAt }: Exchange): void {
    const who = `${process.index} ${name}`
    if (sent > (this.#answers.get(who)?.sent ?? 0)) this.#answers.set(who, { sent, sentAt })
  }

  /** Records since when the fleet's evidence has tripped in the snapshots of a process. */
  #judge(process: Process, name: string, snapshot: Snapshot, exchange: Exchange): void {
    const { inputs, sentAt } = exchange
    this.#meets(process, name, snapshot)
    const who = `${process.index} ${name}`
    const verdicts = this.#verdicts.get(who) ??
      { since: undefined, last: undefined, generation: snapshot.generation }
    this.#verdicts.set(who, verdicts)
    // The storage may have expired the circuit, so the instance adopts its answer and begins anew.
    if (snapshot.generation < verdicts.generation && this.#mayForget()) {
      this.#verdicts.set(who, { since: undefined, last: undefined, generation: snapshot.generation })
      return this.#judge(process, name, snapshot, exchange)
    }
    if (snapshot.generation < verdicts.generation || (verdicts.last !== undefined && sentAt < verdicts.last.at)) return
    const circuit = this.#circuit(name)
    const { withins } = inputs.get(name) as CircuitReport
    const moment = { asOf: snapshot.asOf, at: sentAt, alertedFor: snapshot.alert?.since ?? -Infinity }
    const trip = tripOf(process, circuit)
    // The spans of an answer are those of the policy in force when it was requested.
    const isTripping = snapshot.state._tag === "Closed" && hasSpans(trip, withins) && trips(trip, snapshot, withins)
    verdicts.since = isTripping ? verdicts.since ?? moment : undefined
    verdicts.last = moment
  }

  #meets(process: Process, name: string, { generation }: Snapshot): void {
    const who = `${process.index} ${name}`
    const verdicts = this.#verdicts.get(who)
    if (verdicts === undefined || verdicts.generation === generation) return
    if (generation > verdicts.generation) this.#verdicts.set(who, { since: undefined, last: undefined, generation })
  }

  /** Evidence that tripped the former policy says nothing of the new one, and another `syncEvery` begins now. */
  reconfigured(process: Process, circuit: number): void {
    const verdicts = this.#verdicts.get(`${process.index} ${this.#name(circuit)}`)
    if (verdicts !== undefined) verdicts.since = undefined
    const who = `${process.index} ${circuit}`
    const due = this.#dues.get(who)
    if (due !== undefined) this.#dues.set(who, { ...due, at: this.#fleet.world.now })
  }

  // -----------------------------------------------------------------------------
  // at the calls
  // -----------------------------------------------------------------------------

  bodyStarts(call: Call): void {
    const { circuit, process } = call
    const name = this.#name(circuit)
    this.#waited(call)
    this.#look(process, circuit)
    const snapshot = process.snapshot(circuit)
    const mode = snapshot.override?.mode
    call.isRecorded = mode !== "Disabled"
    this.#check(
      mode !== "ForcedOpen",
      () => `process ${process.index} ran a call through ${name}, which is forced open`
    )
    // Outcomes under `metricsOnly` are no evidence.
    if (measures(process, circuit) && mode === undefined) return
    const admission = `${process.index} ${name} ${snapshot.fleet?.generation ?? 0}`
    this.#admitted.set(admission, (this.#admitted.get(admission) ?? 0) + 1)
    this.#checkStrict(call)
    // A breaker whose scope has closed decides alone.
    if (mode !== undefined || !process.isAlive) return
    const left = snapshot.retryAfter === undefined ? 0 : Duration.toMillis(snapshot.retryAfter)
    this.#check(
      snapshot.state !== "Open" || left <= 0,
      () => `process ${process.index} ran a call through ${name}, which is open for ${left} ms`
    )
    if (snapshot.state === "HalfOpen") this.#probeStarts(call, snapshot)
  }

  #probeStarts(call: Call, snapshot: Breaker.Snapshot): void {
    const { circuit, process } = call
    const name = this.#name(circuit)
    const grants = this.#grants.get(`${process.index} ${name}`) ?? []
    const generation = snapshot.fleet?.generation ?? 0
    const { now } = this.#fleet.world
    const used = grants.findLastIndex((grant) => grant.generation === generation && now < grant.until)
    const [grant] = used === -1 ? [] : grants.splice(used, 1)
    const until = grant?.until ?? now + leaseOf(process, circuit)
    this.#running.set(call, { lease: grant?.sequence, generation, roundAt: roundOf(snapshot, now), until })
    if (grant !== undefined || this.#isUpset(call)) return
    const own = this.#ownProbes(call, snapshot)
    const isAlone = snapshot.fleet?.state === "Closed"
    const most = isAlone ? process.policies[circuit]!.halfOpen?.probes ?? 1 : 1
    this.#check(
      isAlone || this.#isUnreachable(process, circuit),
      () => `process ${process.index} probes ${name} without a lease, and the storage answers it`
    )
    this.#check(own <= most, () => `process ${process.index} runs ${own} probes of its own through ${name}`)
  }

  /** How many probes of a process's own hold a place in the round of the snapshot. */
  #ownProbes({ circuit, process }: Call, snapshot: Breaker.Snapshot): number {
    const { now } = this.#fleet.world
    const generation = snapshot.fleet?.generation ?? 0
    return [...this.#running].filter(([other, probe]) =>
      other.process === process && other.circuit === circuit && probe.lease === undefined && now < probe.until &&
      probe.generation === generation && Math.abs(probe.roundAt - roundOf(snapshot, now)) < 1
    ).length
  }

  /**
   * Whether a process starts no probe yet, because a probe of its own that did not reopen had a `retryAfter`. It waits longer
   * where its machine sleeps.
   */
  #wasTold(process: Process, circuit: number): boolean {
    const until = this.#toldUntil.get(`${process.index} ${circuit}`)
    return until !== undefined && (this.#fleet.world.now < until || !process.machine.isPunctual)
  }

  /** Whether an answer of the server may no longer hold, because it lost data or its clock was moved. */
  #isUpset({ circuit, process }: Call): boolean {
    // After its machine slept, a process may take a lease for valid that has lapsed.
    const upsetAt = Math.max(this.#upsetAt, process.machine.wokeAt)
    return this.#fleet.world.now - upsetAt < 2 * Math.max(...leasesOf(process, circuit)) + 2000
  }

  bodyEnds(call: Call, exit: Exit.Exit<unknown, unknown>): void {
    const { behaviour, circuit, process } = call
    const probe = this.#running.get(call)
    this.#running.delete(call)
    if (probe?.lease !== undefined && this.#knows(process, circuit) === probe.generation) {
      this.#due.set(call, `${process.index} ${this.#name(circuit)} ${probe.lease}`)
    }
    if (!call.isRecorded) return
    const who = `${process.index} ${circuit}`
    this.#endedAt.set(who, [...this.#endedAt.get(who) ?? [], this.#fleet.world.now])
    const counts = this.#countsOf(process, circuit)
    const isSampled = process.former[circuit]!.some(({ halfOpen }) => halfOpen?.sample !== undefined)
    if ((behaviour.ends === "isIgnored" || isSampled) && behaviour.hint !== undefined) {
      const until = this.#fleet.world.now + behaviour.hint
      this.#toldUntil.set(who, Math.max(this.#toldUntil.get(who) ?? -Infinity, until))
    }
    if (behaviour.ends === "isIgnored" && !isInterrupted(exit)) counts.ignored++
    else {
      const isAccepted = behaviour.ends === "succeeds" && exit._tag === "Success"
      this.#requested(process, circuit, isAccepted)
      counts[isAccepted ? "success" : "failure"]++
    }
  }

  callEnds(call: Call, exit: Exit.Exit<unknown, unknown>): void {
    const { circuit, process } = call
    this.#look(process, circuit)
    const name = this.#name(circuit)
    const due = this.#due.get(call)
    this.#due.delete(call)
    this.#check(
      due === undefined || this.#settled.has(due),
      () => `a probe of process ${process.index} through ${name} ended, and its lease was not settled`
    )
    const storedAt = this.#storedAt(circuit)
    this.#calledAt.set(`${process.index} ${circuit}`, call.arrivedAt)
    if (storedAt < call.arrivedAt) this.#owe(process, circuit)
    if (call.startedAt === undefined) {
      const error = exit._tag === "Failure" && exit.cause.reasons.find((reason) => reason._tag === "Fail")?.error
      this.#waited(call)
      this.#check(
        isTagged(error, "BreakerOpenError"),
        () => `a call of process ${process.index} failed with ${String(error)}`
      )
      this.#countsOf(process, circuit).rejected++
      this.#check(
        !measures(process, circuit) ||
          (isTagged(error, "BreakerOpenError") && "state" in error && error.state === "ForcedOpen"),
        () => `process ${process.index} rejected a call to ${name}, which it only measures`
      )
      if (isTagged(error, "BreakerOpenError") && "state" in error && error.state === "Throttled") {
        return this.#checkShed(call)
      }
      const snapshot = process.snapshot(circuit)
      const { override, retryAfter, state } = snapshot
      this.#check(
        state !== "Closed" || retryAfter !== undefined || override?.mode === "ForcedOpen",
        () => `process ${process.index} rejected a call to ${name}, which is closed`
      )
      const isIsolated = process.isAlive && state === "HalfOpen" && override === undefined &&
        snapshot.fleet?.state === "Closed"
      // The clock of a machine that slept stood still, so that its round began later than by the world's.
      this.#check(
        !isIsolated || this.#ownProbes(call, snapshot) > 0 || this.#isUpset(call) ||
          this.#wasTold(process, circuit),
        () => `process ${process.index} rejected a call to ${name}, and no probe of its own holds a place`
      )
      return
    }
    const waited = call.endedAt! - call.bodyEndedAt!
    const most = process.policies[circuit]!.consistency === "strict" ? DEADLINE : 0
    if (process.machine.resumedAt < call.bodyEndedAt!) {
      this.#check(
        waited <= most + ROUNDING,
        () => `a call of process ${process.index} was kept for ${waited} ms after it had ended`
      )
    }
  }

  /**
   * A call was shed: enough requests were made within the window, and of one process, or of all together, more than that were accepted
   * were not.
   */
  #checkShed({ circuit, process }: Call): void {
    const { now } = this.#fleet.world
    const throttles = process.former[circuit]!.flatMap(({ throttle }) => throttle ?? [])
    // The view that it was shed on is as old as an interval on a slow storage.
    const within = Math.max(...throttles.map(({ within }) => millisOf(within!))) + LATE +
      longestSlowed(process, circuit)
    const least = Math.min(...throttles.map(({ minimumCalls }) => minimumCalls!))
    const recent = (index: number, millis: number) =>
      (this.#requests.get(`${index} ${circuit}`) ?? []).filter(({ at }) => now - at < millis)
    const own = recent(process.index, within)
    // The view counts for less as it grows old, until it is as old as the window.
    const all = this.#fleet.processes.flatMap(({ index }) => recent(index, 2 * within))
    const isBad = (requests: ReadonlyArray<Requested>): boolean =>
      requests.length >= least && requests.some(({ isAccepted }) => !isAccepted)
    this.#check(throttles.length > 0, () => `process ${process.index} shed a call, and its policy has no throttle`)
    // Where a machine sleeps, requests are older than it knows.
    const isPunctual = this.#fleet.processes.every(({ machine }) => machine.isPunctual)
    this.#check(
      isBad(own) || isBad(all) || !isPunctual || this.#wasMoved,
      () => `process ${process.index} shed a call, of ${own.length} requests of its own and ${all.length} of all`
    )
    const who = `${process.index} ${circuit}`
    this.#endedAt.set(who, [...this.#endedAt.get(who) ?? [], now])
    this.#requested(process, circuit, false)
  }

  #requested(process: Process, circuit: number, isAccepted: boolean): void {
    const who = `${process.index} ${circuit}`
    this.#requests.set(who, [...this.#requests.get(who) ?? [], { at: this.#fleet.world.now, isAccepted }])
  }

  #waited({ arrivedAt, circuit, process }: Call): void {
    const { consistency = "local" } = process.policies[circuit]!
    if (process.machine.resumedAt >= arrivedAt) return
    const waited = this.#fleet.world.now - arrivedAt
    const most = (consistency === "local" ? 0 : DEADLINE) + 2 * PATIENCE
    this.#check(waited <= most + ROUNDING, () => `a call of process ${process.index} waited for ${waited} ms`)
  }

  /** A strict call that arrives after an opening was committed is rejected, unless the storage did not answer. */
  #checkStrict({ arrived, arrivedAt, circuit, process }: Call): void {
    if (process.policies[circuit]!.consistency !== "strict" || this.#upsetAt >= 0) return
    const answer = this.#answers.get(`${process.index} ${this.#name(circuit)}`)
    if (answer === undefined || answer.sent < arrived) {
      this.#check(
        process.link.hurtAt >= arrivedAt - 2 * DEADLINE || process.machine.resumedAt >= arrivedAt ||
          this.#isUnreachable(process, circuit) || this.#fleet.world.now - arrivedAt >= DEADLINE - ROUNDING,
        () => `a strict call of process ${process.index} ran that had no answer of its own`
      )
      return
    }
    for (
      const { at, endedAt, isOverridden, openUntil, state } of this.#issued.get(this.#name(circuit))?.values() ?? []
    ) {
      this.#check(
        state !== "Open" || isOverridden || at >= arrivedAt || Math.min(endedAt, openUntil) <= this.#fleet.world.now,
        () => `a strict call of process ${process.index} ran that arrived at ${arrivedAt}, after the opening at ${at}`
      )
    }
  }

  #countsOf(process: Process, circuit: number) {
    const who = `${process.index} ${circuit}`
    let counts = this.#counted.get(who)
    if (counts === undefined) this.#counted.set(who, counts = { success: 0, failure: 0, ignored: 0, rejected: 0 })
    return counts
  }

  // -----------------------------------------------------------------------------
  // the views of processes
  // -----------------------------------------------------------------------------

  #look(process: Process, circuit: number): void {
    const snapshot = process.snapshot(circuit)
    const { fleet } = snapshot
    if (fleet === undefined) return
    this.#check(
      !snapshot.isolated || snapshot.statistics.failure > 0,
      () => `process ${process.index} is isolated in ${this.#name(circuit)}, where none of its calls has failed`
    )
    this.#checkRamp(process, circuit, snapshot, fleet)
    const who = `${process.index} ${circuit}`
    const name = this.#name(circuit)
    const last = this.#views.get(who)
    const { generation, state } = fleet
    const now = this.#fleet.world.now
    const issued = this.#issued.get(name)?.get(generation)
    if (last !== undefined && generation !== last.generation) {
      this.#check(
        generation > last.generation || this.#mayForget(),
        () => `process ${process.index} went back from generation ${last.generation} to ${generation} of ${name}`
      )
      this.#check(
        generation === 0 || issued !== undefined,
        () => `process ${process.index} knows a generation of ${name} that never was`
      )
      const isOpen = last.state === "Open" && now < last.remaining
      const isLegitimate = issued?.by === "Settle" || issued?.by === "Operation" || issued?.by === "Trip"
      this.#check(
        !(isOpen && state === "Closed") || isLegitimate,
        () => `process ${process.index} closed ${name}, which was open, by ${issued?.by ?? "forgetting"}`
      )
    }
    this.#views.set(who, { generation, state, remaining: issued?.openUntil ?? now })
  }

  /** The ramp of a circuit that the fleet has closed begins when it was closed, though a process may hear of it later. */
  #checkRamp(
    process: Process,
    circuit: number,
    { override, retryAfter, state }: Breaker.Snapshot,
    fleet: Breaker.FleetSnapshot
  ): void {
    const who = `${process.index} ${circuit}`
    const { now } = this.#fleet.world
    const isApart = (state === "Closed") !== (fleet.state === "Closed")
    const apart = this.#apart.get(who)
    if (isApart || apart?.isApart === true) this.#apart.set(who, { at: now, isApart })
    const ramp = Math.max(...process.former[circuit]!.map(({ halfOpen }) => millisOf(halfOpen?.ramp ?? 0)))
    const closed = this.#issued.get(this.#name(circuit))?.get(fleet.generation)
    if (state !== "Closed" || retryAfter === undefined || override !== undefined || closed === undefined) return
    // A process that was apart from its fleet may have closed by probes of its own.
    if (now - (this.#apart.get(who)?.at ?? -Infinity) <= ramp || this.#wasMoved) return
    // An answer may have waited for a machine that stood still.
    if (Math.max(process.machine.resumedAt, process.machine.wokeAt) > closed.at) return
    const endsAfter = now + Duration.toMillis(retryAfter) - closed.at
    this.#check(
      // An answer is under way for no longer than a deadline, and what is pushed for as long as the link takes.
      endsAfter <= ramp + (this.#fleet.options.pushes === true ? 2 : 1) * DEADLINE + ROUNDING,
      () => `the ramp of process ${process.index} ends ${endsAfter} ms after ${this.#name(circuit)} was closed`
    )
  }

  /** A process that made calls, or whose circuit is not closed, knows the stored state once its round trips succeed. */
  #owe(process: Process, circuit: number): void {
    const who = `${process.index} ${circuit}`
    const known = this.#knows(process, circuit)
    if (!this.#dues.has(who) && known !== this.#stores(circuit)) {
      this.#dues.set(who, { at: this.#fleet.world.now, known })
    }
  }

  #knows(process: Process, circuit: number): number {
    return process.snapshot(circuit).fleet?.generation ?? 0
  }

  #stores(circuit: number): number {
    return this.#fleet.server.documents.get(this.#name(circuit))?.record.generation ?? 0
  }

  /** When the change was made that is stored. */
  #storedAt(circuit: number): number {
    return this.#issued.get(this.#name(circuit))?.get(this.#stores(circuit))?.at ?? this.#upsetAt
  }

  /** Whether a process has used a circuit since it last changed, or still polls it. */
  #uses(process: Process, circuit: number): boolean {
    const changedAt = this.#storedAt(circuit)
    const calledAt = this.#calledAt.get(`${process.index} ${circuit}`) ?? -Infinity
    return process.snapshot(circuit).state !== "Closed" || calledAt > changedAt
  }

  #checkAdopted(process: Process, circuit: number): void {
    const who = `${process.index} ${circuit}`
    const name = this.#name(circuit)
    let due = this.#dues.get(who)
    if (due === undefined) return
    const stored = this.#stores(circuit)
    const known = this.#knows(process, circuit)
    if (known === stored || this.#mayForget() || !this.#uses(process, circuit)) {
      this.#dues.delete(who)
      return
    }
    const { latency, jitter } = process.link.quality
    const longest = longestInterval(process, circuit)
    // An answer from between two changes tells of the first alone.
    if (known !== due.known) this.#dues.set(who, due = { at: this.#storedAt(circuit), known })
    const since = Math.max(due.at, process.link.hurtAt + DEADLINE, process.machine.resumedAt, this.#upsetAt)
    const isSlowed = this.#took.get(process.index)?.some(({ at, millis }) =>
      millis > longest / 4 && this.#fleet.world.now - at < SLOWED_MILLIS
    )
    const interval = isSlowed === true ? longestSlowed(process, circuit) : longest
    // An interval until the bell is polled, and three exchanges: the poll, a look at the circuit, and to put a record back.
    const within = interval + 6 * (latency + jitter) + 100
    this.#check(
      this.#fleet.world.now - since <= within || this.#fleet.server.unavailable.has(name),
      () =>
        `process ${process.index} knows generation ${known} of ${name}, where ${stored} is stored, for ${
          this.#fleet.world.now - since
        } ms`
    )
  }

  // -----------------------------------------------------------------------------
  // after every step
  // -----------------------------------------------------------------------------

  afterStep(): void {
    const { circuits } = this.#fleet.options
    for (const [circuit, { name }] of circuits.entries()) {
      this.#checkProbes(circuit, name)
      this.#checkTotals(circuit, name, false)
      for (const process of this.#fleet.processes) {
        if (!process.isAlive || process.machine.isPaused) continue
        this.#look(process, circuit)
        this.#checkAdopted(process, circuit)
      }
    }
  }

  /** Checks that no more probes hold a place than may. A probe that outlasts its lease runs on without one. */
  #checkProbes(circuit: number, name: string): void {
    const leased = [...this.#running].filter(([call, { lease, until }]) =>
      lease !== undefined && this.#fleet.world.now < until && call.circuit === circuit && call.process.isAlive &&
      !call.process.machine.isPaused && !this.#isUpset(call)
    )
    const probes = this.#probes(circuit)
    for (const [, { generation }] of leased) {
      const running = leased.filter(([, probe]) => probe.generation === generation).length
      this.#check(running <= probes, () => `${running} probes of ${name} hold a place, where ${probes} may`)
    }
  }

  /** Checks that nothing is counted twice, and, when all reports are in, that nothing is missing. */
  #checkTotals(circuit: number, name: string, isQuiet: boolean): void {
    const record = this.#fleet.server.documents.get(name)?.record
    const all = this.#fleet.processes.map((process) => process.snapshot(circuit).statistics)
    for (const kind of ["success", "failure", "ignored", "rejected", "timeout", "slow"] as const) {
      const truth = all.reduce((sum, statistics) => sum + statistics[kind], 0)
      const counted = record?.lifetime[kind] ?? 0
      // If data is lost before a report is answered, a record that is put back may include the report, and its
      // repetition counts again.
      this.#check(
        counted <= truth || this.#fleet.server.losses > 0,
        () => `${counted} times ${kind} is stored of ${name}, which happened ${truth} times`
      )
      if (isQuiet) this.#check(counted === truth, () => `${counted} times ${kind} is stored of ${name}, of ${truth}`)
    }
  }

  /**
   * Checks a fleet at rest: every server answers, and nothing has happened for a while. `isWhole`: no report was lost
   * for good.
   */
  atRest(isWhole: boolean): void {
    for (const [circuit, { name }] of this.#fleet.options.circuits.entries()) {
      this.#checkTotals(circuit, name, isWhole)
      for (const process of this.#fleet.processes) {
        const counts = this.#countsOf(process, circuit)
        const { failure, ignored, rejected, success } = process.snapshot(circuit).statistics
        if (process.isAlive) {
          this.#check(
            success + failure === counts.success + counts.failure && ignored === counts.ignored &&
              rejected === counts.rejected,
            () =>
              `process ${process.index} counted ${
                JSON.stringify({ success, failure, ignored, rejected })
              } of ${name}, of ${JSON.stringify(counts)}`
          )
          this.#check(process.calls.size === 0, () => `${process.calls.size} calls of process ${process.index} hang`)
        }
      }
    }
  }

  /** Checks a fleet in which every process has used every circuit since it came to rest. */
  inAgreement(): void {
    for (const [circuit, { name }] of this.#fleet.options.circuits.entries()) {
      const stored = this.#stores(circuit)
      for (const process of this.#fleet.processes) {
        if (!process.isAlive || !this.#uses(process, circuit)) continue
        const known = this.#knows(process, circuit)
        this.#check(
          known === stored,
          () => `process ${process.index} knows generation ${known} of ${name}, where ${stored} is stored`
        )
      }
    }
  }
}

const lengthOf = ({ halfOpen }: Breaker.Data): number => millisOf(halfOpen?.lease ?? 30_000)

const leaseOf = (process: Process, circuit: number): number => lengthOf(process.policies[circuit]!)

const leasesOf = (process: Process, circuit: number): ReadonlyArray<number> => process.former[circuit]!.map(lengthOf)

/** When the state of a snapshot began. */
const roundOf = ({ elapsed }: Breaker.Snapshot, now: number): number =>
  elapsed === undefined ? -Infinity : now - Duration.toMillis(elapsed)

/** Whether a record knows a lease, be its time over. */
const isHeld = (record: CircuitRecord | undefined, { instance, sequence }: LeaseName): boolean =>
  record?.state._tag === "HalfOpen" &&
  record.state.leases.some((lease) => lease.instance === instance && lease.sequence === sequence)

/** Whether the server must grant a lease, written a second time and naively. */
const hasFreePlace = (record: CircuitRecord | undefined, ask: Ask, now: number): boolean =>
  record?.state._tag === "HalfOpen" && record.generation >= ask.generation &&
  (record.override === undefined || now >= (record.override.until ?? Infinity)) &&
  now >= (record.state.probesFrom ?? -Infinity) &&
  record.state.leases.filter(({ until }) => now < until).length < ask.probes &&
  !record.seen.some(({ instance, kind, sequence }) =>
    kind === "ask" && instance === ask.lease.instance && sequence >= ask.lease.sequence
  )

/**
 * Whether two records differ at most in the fields that every report may change. Times are moved back with a clock that was set
 * back.
 */
const hasSameEvidence = (
  a: CircuitRecord | undefined,
  b: CircuitRecord | undefined,
  wasSetBack: boolean
): boolean => {
  const evidence = ({ generation, hintUntil, override, state, streak, window }: CircuitRecord) =>
    JSON.stringify([generation, state._tag, streak, ...(wasSetBack ? [] : [hintUntil, override, state, window])])
  return a !== undefined && b !== undefined && evidence(a) === evidence(b)
}

const defaultTrip: Trip.Trip = { _tag: "ConsecutiveFailures", failures: 5 }

const tripOf = (process: Process, circuit: number): Trip.Trip => process.policies[circuit]!.trip ?? defaultTrip

const looksAtCalls = (trip: Trip.Trip): boolean =>
  "policies" in trip ? trip.policies.some(looksAtCalls) : "window" in trip && trip.window._tag === "LastCalls"

/** The spans of time that a policy looks back over. */
const spansOf = (trip: Trip.Trip): ReadonlyArray<Duration.Input> => {
  if ("policies" in trip) return trip.policies.flatMap(spansOf)
  if (trip._tag === "Failures") return [trip.within]
  return trip._tag === "ConsecutiveFailures" || trip.window._tag === "LastCalls" ? [] : [trip.window.duration]
}

const hasSpans = (trip: Trip.Trip, withins: ReadonlyArray<number>): boolean =>
  spansOf(trip).every((span) => withins.includes(millisOf(span)))

/** Whether the evidence of a snapshot trips a policy, written a second time and naively. */
const trips = (trip: Trip.Trip, snapshot: Snapshot, withins: ReadonlyArray<number>): boolean => {
  const over = (duration: Duration.Input) => snapshot.totals[withins.indexOf(millisOf(duration))]!
  switch (trip._tag) {
    case "ConsecutiveFailures":
      return snapshot.streak >= trip.failures
    case "Failures":
      return over(trip.within).failure >= trip.count
    case "FailureRate":
    case "SlowCallRate": {
      if (trip.window._tag === "LastCalls") return false
      const { failure, slow, success } = over(trip.window.duration)
      const bad = trip._tag === "FailureRate" ? failure : slow
      return bad > 0 && success + failure >= trip.minimumCalls && bad / (success + failure) >= trip.threshold
    }
    case "Any":
      return trip.policies.some((trip) => trips(trip, snapshot, withins))
    case "All":
      return trip.policies.every((trip) => trips(trip, snapshot, withins))
  }
}

const isInterrupted = (exit: Exit.Exit<unknown, unknown>): boolean =>
  exit._tag === "Failure" && exit.cause.reasons.some((reason) => reason._tag === "Interrupt")
