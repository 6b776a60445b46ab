/** The vocabulary of the laws: circuits of the storage under test, and waiting. */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import type { Change, Operation, OperationTo, PutBack, Trip } from "../core/Change.ts"
import { type Delta, noCounts, noDelta, noLifetimeCounts, streakOf } from "../core/Delta.ts"
import type { Ask, Settle } from "../core/Lease.ts"
import { FORMAT, type Opening, type Snapshot, type SnapshotOverride } from "../core/Record.ts"
import type { Report } from "../core/Report.ts"
import { monotonicMillis } from "../internal/Clock.ts"
import { newId } from "../internal/Ids.ts"
import type { Capabilities, CircuitReport, Probe, Storage, StorageError } from "../Storage/Storage.ts"
import { difference, is, type Unmet, unmet } from "./Claim.ts"

/** Everything that a law works with. */
export interface Subject {
  readonly storage: Storage
  /** A second storage on the same data, as another process would have it. */
  readonly another: Effect.Effect<Storage, Unmet, Scope.Scope>
  readonly capabilities: Capabilities
  readonly idleTimeToLive: number
  readonly unit: number
  readonly maxBlocking: number
  readonly histories: number
  readonly seed: number
  /** A circuit with a name that no other run uses, in the storage under test or in another. */
  readonly circuit: (label?: string, storage?: Storage) => Circuit
  readonly wait: (millis: number) => Effect.Effect<void>
  readonly rewrite: (
    circuit: Circuit,
    f: (record: Readonly<Record<string, unknown>>) => unknown
  ) => Effect.Effect<void, Unmet>
  readonly outage: Effect.Effect<void, Unmet, Scope.Scope>
}

/** A law, with the capabilities and the hooks of the suite that it requires. */
export interface Definition {
  readonly name: string
  readonly requires: Partial<Capabilities>
  readonly hooks: ReadonlyArray<"rewrite" | "outage">
  /** The idle time in units; one hour if the law is not about expiry. */
  readonly idleUnits?: number | undefined
  /**
   * The law checks something that lasts only for a while: a check that is late, on a stalled machine, proves nothing.
   */
  readonly timed?: boolean | undefined
  readonly check: (subject: Subject) => Effect.Effect<void, Unmet | StorageError, Scope.Scope>
}

export const law = (
  name: string,
  requires: Partial<Capabilities>,
  body: (subject: Subject) => Generator<Effect.Effect<any, Unmet | StorageError, Scope.Scope>, void, never>,
  options: Partial<Pick<Definition, "hooks" | "idleUnits" | "timed">> = {}
): Definition => ({ name, requires, hooks: [], ...options, check: Effect.fnUntraced(body) })

export const FENCED = { fences: true } as const

export const HOUR = 3_600_000

export const MINUTE = 60_000

export const WITHINS = [30_000]

const OPENING: Opening = { openFor: MINUTE, maxOpenFor: HOUR }

export const author = {
  why: { reason: "5 consecutive failures", evidence: { failures: 5 } },
  fingerprint: "conformance"
}

export const FORCED: SnapshotOverride = { kind: "ForcedOpen", reason: "maintenance", actor: "ann" }

/** The snapshot of a circuit that was never written. */
export const NOTHING = {
  format: FORMAT,
  generation: 0,
  state: { _tag: "Closed" },
  elapsed: undefined,
  openings: 0,
  openFor: 0,
  override: undefined,
  hint: 0,
  why: undefined,
  fingerprint: undefined,
  lifetime: { ...noLifetimeCounts, opened: 0 },
  streak: 0
}

export const failures = (n: number, hint = 0): Delta => ({
  buckets: [{ age: 0, success: 0, failure: n, slow: 0 }],
  streak: streakOf(Array.from({ length: n }, () => true)),
  lifetime: { ...noLifetimeCounts, failure: n, lastFailureAge: 0 },
  hint
})

export const ignored = (n: number): Delta => ({ ...noDelta, lifetime: { ...noLifetimeCounts, ignored: n } })

/** The expected snapshot after `n` failures and nothing else. */
export const failed = (n: number) => ({ totals: [{ ...noCounts, failure: n }], streak: n, lifetime: { failure: n } })

export const success = (successes = 1): Settle["outcome"] => ({
  _tag: "Success",
  successes,
  why: { reason: "recovered" }
})

export const failure: Extract<Settle["outcome"], { readonly _tag: "Failure" }> = {
  _tag: "Failure",
  opening: OPENING,
  hint: 0,
  why: { reason: "a probe failed" }
}

/** A failed probe that reopens as the second of its round. */
export const secondFailure: Settle["outcome"] = { ...failure, failures: 2 }

export const IGNORED: Extract<Settle["outcome"], { readonly _tag: "Ignored" }> = { _tag: "Ignored" }

export const times = (n: number): ReadonlyArray<number> => Array.from({ length: n }, (_, index) => index)

export const atOnce = <A, E>(
  n: number,
  f: (index: number) => Effect.Effect<A, E>
): Effect.Effect<ReadonlyArray<A>, E> => Effect.forEach(times(n), f, { concurrency: "unbounded" })

/** A report without counts, which only reads. */
export const reading = (circuit: string, instance: string): CircuitReport => ({
  circuit,
  instance,
  sequence: 1,
  generation: 0,
  delta: noDelta,
  withins: WITHINS
})

/** The operations of one circuit of one storage, with defaults for the fields that most laws do not vary. */
export const circuitOf = (storage: Storage, name: string) => {
  let sequence = 0
  let operations = 0
  const run = newId()
  const send = (report: Partial<Report>) =>
    Effect.gen(function*() {
      const [answer, ...others] = yield* storage.sync([{ ...reading(name, "a"), ...report }])
      if (answer === undefined || others.length > 0 || answer.circuit !== name) {
        return yield* unmet("sync of one report", "one answer, of its circuit", [answer, ...others])
      }
      return yield* Effect.fromResult(answer.result)
    })
  const read = Effect.map(send({}), ({ snapshot }) => snapshot)
  const change = (input: Change) => storage.change(name, input)
  const probe = (input: Probe) => storage.probe(name, input)
  const trip = (on: Snapshot, options: Partial<Trip> = {}) =>
    change({
      _tag: "Trip",
      generation: on.generation,
      asOf: on.asOf,
      maxAge: HOUR,
      opening: OPENING,
      ...author,
      ...options
    })
  return {
    name,
    /** Sends exactly this report; without a delta it only reads. */
    send,
    change,
    probe,
    read,
    /** Sends a report with the next sequence, in the storage's generation. */
    report: (delta: Delta, options: Partial<Report> = {}) =>
      Effect.flatMap(
        read,
        ({ generation }) => send({ generation, sequence: options.sequence ?? ++sequence, delta, ...options })
      ),
    trip,
    /** Trips the circuit on its present snapshot. */
    open: (opening: Partial<Opening> = {}) =>
      Effect.flatMap(read, (seen) => trip(seen, { opening: { ...OPENING, ...opening } })),
    putBack: (snapshot: Snapshot, options: Partial<PutBack> = {}) =>
      change({ _tag: "PutBack", snapshot, age: 0, leases: [], ...options }),
    operate: (to: OperationTo, options: Partial<Operation> = {}) =>
      change({
        _tag: "Operation",
        id: `${run}-${++operations}`,
        known: 0,
        why: { reason: `${to._tag} by hand`, actor: "ann" },
        to,
        ...options
      }),
    ask: (instance: string, options: Partial<Ask> & { readonly sequence?: number } = {}) =>
      Effect.flatMap(read, ({ generation }) => {
        const { sequence = 1, ...others } = options
        const lease = { instance, sequence }
        return probe({ _tag: "Ask", lease, generation, duration: MINUTE, probes: 1, ...others })
      }),
    settle: (
      instance: string,
      outcome: Settle["outcome"],
      options: { readonly generation?: number; readonly sequence?: number } = {}
    ) =>
      Effect.flatMap(read, (seen) => {
        const { generation = seen.generation, sequence = 1 } = options
        return probe({ _tag: "Settle", lease: { instance, sequence }, generation, outcome })
      })
  }
}

export type Circuit = ReturnType<typeof circuitOf>

// For waits in real time, because a test's clock does not advance by itself.
const live = Clock.Clock.defaultValue()

export const liveSleep = (millis: number): Effect.Effect<void> => live.sleep(Duration.millis(millis))

export const liveNow = (): number => monotonicMillis(live)

/**
 * Waits until the claim holds. Lets real time pass for messages in flight, and the storage's time, by which it may
 * poll.
 */
export const eventually = (
  { unit, wait }: Subject,
  claim: string,
  actual: () => unknown,
  expected: unknown
): Effect.Effect<void, Unmet> =>
  Effect.gen(function*() {
    for (let tries = 0; tries < 100 && difference(actual(), expected) !== undefined; tries++) {
      yield* liveSleep(10)
      yield* wait(unit / 10)
    }
    yield* is(`${claim}, in the end`, actual(), expected)
  })

const PATIENCE_MILLIS = 3000

/** The answer of the effect. Fails if there is none within `PATIENCE_MILLIS`. */
export const soon = <A, E>(claim: string, effect: Effect.Effect<A, E>): Effect.Effect<A, E | Unmet> =>
  Effect.gen(function*() {
    // Detached, because the effect may never end and must not hold up its parent.
    const fiber = yield* Effect.forkDetach(effect, { startImmediately: true })
    return yield* Effect.raceFirst(
      Fiber.join(fiber),
      Effect.andThen(liveSleep(PATIENCE_MILLIS), unmet(claim, `an end within ${PATIENCE_MILLIS} ms`, "none"))
    )
  })

/** The reason that an operation fails with, or "no failure". */
export const reasonOf = (effect: Effect.Effect<unknown, Unmet | StorageError>): Effect.Effect<string, Unmet> =>
  effect.pipe(
    Effect.as("no failure"),
    Effect.catchTag("StorageError", ({ reason }) => Effect.succeed(reason))
  )
