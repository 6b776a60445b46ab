/** The most general law: a storage answers as the pure record does. */
import * as Effect from "effect/Effect"
import { type Change, change, type OperationTo } from "../core/Change.ts"
import { noLifetimeCounts, shedCalls, streakOf } from "../core/Delta.ts"
import { ask, type Settle, settle } from "../core/Lease.ts"
import { type CircuitRecord, type LeaseName, type Opening, type Snapshot, snapshot } from "../core/Record.ts"
import { type Report, report } from "../core/Report.ts"
import type { Probe, StorageError } from "../Storage/Storage.ts"
import { is, later, Range, SLACK_MILLIS, type Unmet } from "./Claim.ts"
import {
  author,
  type Circuit,
  type Definition,
  failure,
  FENCED,
  HOUR,
  IGNORED,
  law,
  type Subject,
  success,
  times
} from "./Law.ts"

/** Pseudo-random numbers, the same for the same seed. */
const randomFrom = (seed: number) => {
  let state = seed
  return (below: number): number => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below
  }
}

/** A request to a circuit, and the prediction of the pure record: the answer, and the record after it. */
interface Step {
  readonly name: string
  readonly send: Effect.Effect<readonly [answer: unknown, snapshot: Snapshot], Unmet | StorageError>
  readonly predict: (
    record: CircuitRecord | undefined,
    now: number,
    idleTimeToLive: number
  ) => readonly [answer: unknown, record: CircuitRecord | undefined]
  readonly withins?: ReadonlyArray<number>
  /** The lease that an `Ask` requests. */
  readonly lease?: LeaseName
}

const reporting = (it: Circuit, input: Report): Step => ({
  name: "report",
  withins: input.withins,
  send: Effect.map(it.send(input), ({ reported, snapshot }) => [reported, snapshot] as const),
  predict: (record, now, idle) => {
    const next = report(record, input, now, idle)
    return [next.reported, next.record]
  }
})

const changing = (it: Circuit, input: Change): Step => ({
  name: input._tag === "Operation" ? input.to._tag : input._tag,
  send: Effect.map(it.change(input), ({ committed, snapshot }) => [committed, snapshot] as const),
  predict: (record, now, idle) => {
    const next = change(record, input, now, idle)
    return [next.committed, next.record]
  }
})

const probing = (it: Circuit, input: Probe): Step => ({
  name: input._tag === "Ask" ? "ask" : `settle ${input.outcome._tag}`,
  ...(input._tag === "Ask" ? { lease: input.lease } : {}),
  send: Effect.map(it.probe(input), ({ granted, snapshot }) => [granted, snapshot] as const),
  predict: (record, now, idle) => {
    if (input._tag === "Ask") {
      const next = ask(record, input, now, idle)
      return [next.granted, next.record]
    }
    const next = settle(record, input, now, idle)
    return [next.settled, next.record]
  }
})

/** Steps that are more likely in a state, because a round of probes needs many in a row and is easily cut short. */
const LIKELY = {
  Closed: ["trip", "trip"],
  Open: ["ask", "ask", "ask", "ask"],
  HalfOpen: ["ask", "ask", "ask", "settle", "settle", "settle", "settle", "settle"]
} as const

/** A lease that was granted, and the generation of its round. */
interface Held extends LeaseName {
  readonly generation: number
}

/**
 * Sends random requests to one circuit of the storage, and applies each to a local record. The local record uses the
 * clock that the storage's answer carries. Generations and times may differ by as much as two readings of a clock.
 *
 * A seed gives the same requests again, because every choice is made with `#random` and the order of the choices in a
 * method is fixed.
 */
class History {
  readonly #circuit: Circuit
  readonly #idleTimeToLive: number
  readonly #unit: number
  readonly #seed: number
  readonly #random: (below: number) => number
  readonly #rings: boolean
  readonly #reports: Array<Report> = []
  readonly #leases: Array<Held> = []
  readonly #views: Array<Snapshot>
  #last: Snapshot
  #record: CircuitRecord | undefined
  #sequence = 0

  private constructor(
    circuit: Circuit,
    { capabilities, idleTimeToLive, unit }: Subject,
    seed: number,
    first: Snapshot
  ) {
    this.#rings = capabilities.bells === true
    this.#circuit = circuit
    this.#idleTimeToLive = idleTimeToLive
    this.#unit = unit
    this.#seed = seed
    this.#random = randomFrom(seed)
    this.#views = [first]
    this.#last = first
  }

  static start(subject: Subject, seed: number): Effect.Effect<History, Unmet | StorageError> {
    const circuit = subject.circuit(`history ${seed}`)
    return Effect.map(circuit.read, (first) => new History(circuit, subject, seed, first))
  }

  /** Sends the next request, and compares the answer and the snapshot with the pure record's. */
  readonly step = Effect.fnUntraced({ self: this }, function*(number: number) {
    const { lease, name, predict, send, withins = [] } = this.#next()
    const [answer, seen] = yield* send
    const [predicted, next] = predict(this.#record, seen.asOf, this.#idleTimeToLive)
    const expected = snapshot(next, withins, seen.asOf, this.#idleTimeToLive)
    const claim = `step ${number} of seed ${this.#seed}, ${name}`
    yield* is(claim, answer, predicted)
    yield* is(claim, seen, {
      ...later(expected, seen.asOf),
      generation: expected.generation === this.#last.generation
        ? expected.generation
        : new Range(expected.generation - SLACK_MILLIS * 1000, expected.generation + SLACK_MILLIS * 1000),
      totals: expected.totals
    })
    this.#record = next === undefined ? undefined : { ...next, generation: seen.generation }
    if (lease !== undefined && answer === true) this.#leases.push({ ...lease, generation: seen.generation })
    this.#last = seen
    this.#views.push(seen)
  })

  #next(): Step {
    const likely = LIKELY[this.#last.state._tag]
    switch (this.#one("report", "report", "again", "trip", "operate", "putBack", "ask", "settle", ...likely)) {
      case "report":
        return this.#report()
      case "again":
        return this.#reportAgain()
      case "trip":
        return this.#trip()
      case "operate":
        return this.#operate()
      case "putBack":
        return this.#putBack()
      case "ask":
        return this.#ask()
      case "settle":
        return this.#settle()
    }
  }

  #report(): Step {
    const [ok, bad, age] = [this.#random(3), this.#random(4), this.#one(0, 0, 2500, 40_000)]
    const input: Report = {
      instance: this.#instance(),
      sequence: ++this.#sequence,
      generation: this.#view().generation + this.#one(0, 0, 0, 1),
      delta: {
        buckets: [
          { age: age + 1000, success: ok, failure: 0, slow: 1 },
          { age, success: 0, failure: bad, slow: 0, ...shedCalls(Math.max(0, this.#random(6) - 2)) }
        ],
        streak: streakOf([...times(ok).map(() => false), ...times(bad).map(() => true)]),
        lifetime: {
          ...noLifetimeCounts,
          success: ok,
          failure: bad,
          slow: 1,
          rejected: this.#random(2),
          lastFailureAge: age,
          lastFailureDuration: this.#one(undefined, age + 0.25)
        },
        hint: this.#one(0, 0, 5 * this.#unit)
      },
      withins: this.#one([30_000], [5000, 300_000], [300_000], []),
      asOf: this.#one(undefined, this.#last.asOf, this.#last.asOf - 2500),
      ...(this.#rings ? { suspect: this.#one(undefined, undefined, undefined, 3 * this.#unit, 20 * this.#unit) } : {})
    }
    this.#reports.push(input)
    return reporting(this.#circuit, input)
  }

  #reportAgain(): Step {
    const report = this.#reports[this.#random(this.#reports.length)]
    return report === undefined ? this.#report() : reporting(this.#circuit, report)
  }

  #trip(): Step {
    const { asOf, generation } = this.#view()
    const maxAge = this.#one(this.#unit, HOUR)
    const opening = this.#one(this.#opening(), this.#opening(), undefined)
    return changing(this.#circuit, { _tag: "Trip", generation, asOf, maxAge, opening, ...author })
  }

  #operate(): Step {
    // An operation may repeat the id of an earlier one: it then takes no effect.
    const id = `${this.#circuit.name} ${this.#one(++this.#sequence, this.#sequence, this.#sequence - 1)}`
    const [known, why] = [this.#view().generation, { reason: "by hand", actor: "ann" }]
    const kind = this.#one("ForcedOpen", "Disabled", "MetricsOnly")
    const override = { _tag: "Override", kind, reason: "r", actor: "a" } as const
    const to = this.#one<OperationTo>(
      override,
      { ...override, remaining: 2 * this.#unit },
      ...times(3).map(() => ({ _tag: "ClearOverride" }) as const),
      { _tag: "Reset" },
      ...times(4).map(() => ({ _tag: "HalfOpen" }) as const),
      { _tag: "Remove" },
      { _tag: "Import", snapshot: this.#view() }
    )
    return changing(this.#circuit, { _tag: "Operation", id, known, why, to })
  }

  #putBack(): Step {
    const known = this.#view()
    const generation = this.#last.generation + this.#random(3)
    return changing(this.#circuit, {
      _tag: "PutBack",
      snapshot: { ...known, generation },
      age: this.#last.asOf - known.asOf,
      leases: this.#leases.slice(-1)
        .map(({ instance, sequence }) => ({ instance, sequence, remaining: 2 * this.#unit })),
      certain: this.#random(2) === 0
    })
  }

  #ask(): Step {
    const { generation: newest } = this.#last
    const lease = this.#one<LeaseName>(
      { instance: this.#instance(), sequence: ++this.#sequence },
      ...this.#leases.slice(-1)
    )
    const generation = this.#one(newest, newest, this.#view().generation, newest + 1)
    const duration = this.#one(2, 10) * this.#unit
    return probing(this.#circuit, { _tag: "Ask", lease, generation, duration, probes: 1 + this.#random(3) })
  }

  #settle(): Step {
    const [latest, earlier] = [this.#leases.at(-1), this.#leases.at(-2)]
    const held = this.#one(latest, latest, earlier) ?? { instance: "a", sequence: 1, generation: 0 }
    const generation = this.#one(held.generation, held.generation, held.generation, this.#last.generation)
    const outcome = this.#one<Settle["outcome"]>(
      success(1 + this.#random(3)),
      success(1 + this.#random(3)),
      {
        ...failure,
        opening: this.#opening(),
        hint: this.#one(0, 5 * this.#unit),
        failures: this.#one(undefined, undefined, 2, 3)
      },
      { ...IGNORED, hint: this.#one(0, 0, 2 * this.#unit) }
    )
    const lease: LeaseName = { instance: held.instance, sequence: held.sequence }
    return probing(this.#circuit, { _tag: "Settle", lease, generation, outcome })
  }

  /** Most requests are made on the newest snapshot, and the others on one of the last eight. */
  #view(): Snapshot {
    return this.#one(this.#last, this.#last, this.#last, ...this.#views.slice(-8))
  }

  #opening(): Opening {
    return { openFor: this.#one(1, 3, 6) * this.#unit, maxOpenFor: 7 * this.#unit }
  }

  #instance(): string {
    return this.#one("a", "b", "__proto__")
  }

  #one<A>(...of: readonly [A, ...ReadonlyArray<A>]): A {
    return of[this.#random(of.length)] ?? of[0]
  }
}

export const all: ReadonlyArray<Definition> = [
  law(
    "every answer agrees with the pure record, for random operations in random order",
    FENCED,
    function*(subject) {
      const { histories, idleTimeToLive, seed, unit, wait } = subject
      const all = yield* Effect.forEach(times(histories), (index) => History.start(subject, seed + index))
      const random = randomFrom(seed)
      for (const number of times(60)) {
        // All histories wait at the same time, so this takes no longer than one of them.
        const units = [0, 0, 0, 0, 1, 1, 2][random(7)]!
        yield* wait(number === 40 ? idleTimeToLive : units * unit)
        yield* Effect.forEach(all, (history) => history.step(number), { concurrency: "unbounded" })
      }
    },
    { idleUnits: 12 }
  )
]
