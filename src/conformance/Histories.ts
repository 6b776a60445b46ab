/** The most general law: that a storage answers as the pure record does. */
import * as Effect from "effect/Effect"
import { type Change, change, type OperationTo } from "../core/Change.ts"
import { noLifetimeCounts, streakOf } from "../core/Delta.ts"
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

/**
 * Sends random steps to one circuit of the storage, and applies each to a local record. The local record uses the clock
 * that the storage's answer carries. Generations and times may differ by as much as two readings of a clock.
 */
const history = ({ circuit, idleTimeToLive, unit }: Subject, seed: number) =>
  Effect.gen(function*() {
    const it = circuit(`history ${seed}`)
    const random = randomFrom(seed)
    const one = <A>(...of: readonly [A, ...ReadonlyArray<A>]): A => of[random(of.length)] ?? of[0]
    const instance = () => one("a", "b", "__proto__")
    const sent: Array<Report> = []
    const leases: Array<LeaseName & { readonly generation: number }> = []
    let last = yield* it.read
    const views = [last]
    let record: CircuitRecord | undefined
    let sequence = 0

    const opening = (): Opening => ({ openFor: one(1, 3, 6) * unit, maxOpenFor: 7 * unit })
    const view = (): Snapshot => one(last, last, last, ...views.slice(-8))
    const aReport = (): Report => {
      const [ok, bad, age] = [random(3), random(4), one(0, 0, 2500, 40_000)]
      const input: Report = {
        instance: instance(),
        sequence: ++sequence,
        generation: view().generation + one(0, 0, 0, 1),
        delta: {
          buckets: [{ age: age + 1000, success: ok, failure: 0, slow: 1 }, { age, success: 0, failure: bad, slow: 0 }],
          streak: streakOf([...times(ok).map(() => false), ...times(bad).map(() => true)]),
          lifetime: {
            ...noLifetimeCounts,
            success: ok,
            failure: bad,
            slow: 1,
            rejected: random(2),
            lastFailureAge: age,
            lastFailureDuration: one(undefined, age + 0.25)
          },
          hint: one(0, 0, 5 * unit)
        },
        withins: one([30_000], [5000, 60_000], [300_000], [])
      }
      sent.push(input)
      return input
    }
    const operation = (): OperationTo => {
      const override = {
        _tag: "Override",
        kind: one("ForcedOpen", "Disabled", "MetricsOnly"),
        reason: "r",
        actor: "a"
      } as const
      return one<OperationTo>(
        override,
        { ...override, remaining: 2 * unit },
        ...times(3).map(() => ({ _tag: "ClearOverride" }) as const),
        { _tag: "Reset" },
        ...times(4).map(() => ({ _tag: "HalfOpen" }) as const),
        { _tag: "Remove" },
        { _tag: "Import", snapshot: view() }
      )
    }
    const step = (): Step => {
      switch (
        one("report", "report", "again", "trip", "operate", "putBack", "ask", "settle", ...LIKELY[last.state._tag])
      ) {
        case "report":
          return reporting(it, aReport())
        case "again":
          return reporting(it, sent[random(sent.length)] ?? aReport())
        case "trip": {
          const { asOf, generation } = view()
          const maxAge = one(unit, HOUR)
          return changing(it, {
            _tag: "Trip",
            generation,
            asOf,
            maxAge,
            opening: one(opening(), opening(), undefined),
            ...author
          })
        }
        case "operate": {
          const id = `${it.name} ${one(++sequence, sequence, sequence - 1)}`
          const [known, why] = [view().generation, { reason: "by hand", actor: "ann" }]
          return changing(it, { _tag: "Operation", id, known, why, to: operation() })
        }
        case "putBack": {
          const known = view()
          const held = leases.slice(-1).map(({ instance, sequence }) => ({ instance, sequence, remaining: 2 * unit }))
          const generation = last.generation + random(3)
          return changing(it, {
            _tag: "PutBack",
            snapshot: { ...known, generation },
            age: last.asOf - known.asOf,
            leases: held,
            certain: random(2) === 0
          })
        }
        case "ask": {
          const lease = one<LeaseName>({ instance: instance(), sequence: ++sequence }, ...leases.slice(-1))
          const generation = one(last.generation, last.generation, view().generation, last.generation + 1)
          return probing(it, { _tag: "Ask", lease, generation, duration: one(2, 10) * unit, probes: 1 + random(3) })
        }
        case "settle": {
          const held = one(leases.at(-1), leases.at(-1), leases.at(-2)) ?? { instance: "a", sequence: 1, generation: 0 }
          const generation = one(held.generation, held.generation, held.generation, last.generation)
          const outcome = one<Settle["outcome"]>(
            success(1 + random(3)),
            success(1 + random(3)),
            { ...failure, opening: opening(), hint: one(0, 5 * unit) },
            IGNORED
          )
          return probing(it, {
            _tag: "Settle",
            lease: { instance: held.instance, sequence: held.sequence },
            generation,
            outcome
          })
        }
      }
    }

    return Effect.fnUntraced(function*(number: number) {
      const { lease, name, predict, send, withins = [] } = step()
      const [answer, seen] = yield* send
      const [predicted, next] = predict(record, seen.asOf, idleTimeToLive)
      const expected = snapshot(next, withins, seen.asOf, idleTimeToLive)
      const claim = `step ${number} of seed ${seed}, ${name}`
      yield* is(claim, answer, predicted)
      yield* is(claim, seen, {
        ...later(expected, seen.asOf),
        generation: expected.generation === last.generation
          ? expected.generation
          : new Range(expected.generation - SLACK_MILLIS * 1000, expected.generation + SLACK_MILLIS * 1000),
        totals: expected.totals
      })
      record = next === undefined ? undefined : { ...next, generation: seen.generation }
      if (lease !== undefined && answer === true) leases.push({ ...lease, generation: seen.generation })
      last = seen
      views.push(seen)
    })
  })

export const all: ReadonlyArray<Definition> = [
  law(
    "every answer agrees with the pure record, for random operations in random order",
    FENCED,
    function*(subject) {
      const { histories, idleTimeToLive, seed, unit, wait } = subject
      const all = yield* Effect.forEach(times(histories), (index) => history(subject, seed + index))
      const random = randomFrom(seed)
      for (const number of times(60)) {
        // All histories wait at the same time, so this takes no longer than one of them.
        const units = [0, 0, 0, 0, 1, 1, 2][random(7)]!
        yield* wait(number === 40 ? idleTimeToLive : units * unit)
        yield* Effect.forEach(all, (step) => step(number), { concurrency: "unbounded" })
      }
    },
    { idleUnits: 12 }
  )
]
