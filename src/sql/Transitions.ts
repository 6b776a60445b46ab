/**
 * Changes and probes: one transaction that holds the circuit, runs a transition of the core on it and writes the
 * result.
 */
import * as Effect from "effect/Effect"
import type { SqlError } from "effect/sql/SqlError"
import { type Change, change, historyWhy } from "../core/Change.ts"
import { ask, settle } from "../core/Lease.ts"
import { type CircuitRecord, expired, historyEntry, type Message, snapshot, type Why } from "../core/Record.ts"
import { operationDenied } from "../internal/StorageErrors.ts"
import type { Changed, Probe, Probed, Snapshot, StorageError } from "../Storage/Storage.ts"
import { type AnnouncementError, type Announcer, announcing } from "./Announcements.ts"
import { ring } from "./Bells.ts"
import type { Database } from "./Database.ts"
import { vanished } from "./DatabaseErrors.ts"
import { lockCircuits } from "./Locks.ts"
import { keyOf } from "./NameColumns.ts"
import { transaction } from "./Transaction.ts"
import { readView } from "./View.ts"
import { createCircuits, writeChange } from "./Write.ts"

export interface TransitionOptions {
  readonly keepsHistory: boolean
  readonly announcer: Announcer
}

interface Transition<A> {
  readonly step: (
    record: CircuitRecord | undefined,
    nowMillis: number
  ) => readonly [record: CircuitRecord | undefined, answer: A]
  /** The message that the transition acts on, so that a repeat can be recognized. */
  readonly message?: Pick<Message, "kind" | "instance"> | undefined
  /** For the history; by default the record's own. */
  readonly why?: Why | undefined
}

type Answered<A> = A & { readonly snapshot: Snapshot }

/** One attempt, in a transaction; `undefined` where the circuit's rows must be made first. */
const attempt = <A extends object>(
  database: Database,
  { announcer, announces, keepsHistory }: TransitionOptions & { readonly announces: boolean },
  circuit: string,
  { message, step, why }: Transition<A>
): Effect.Effect<Answered<A> | undefined, SqlError | StorageError | AnnouncementError> =>
  Effect.gen(function*() {
    const { idleMillis } = database
    const key = keyOf(circuit)
    const exists = (yield* lockCircuits(database, [key])).length > 0
    // The storage's clock is read once the rows are held, or a lease could lapse while it waits for them.
    const view = yield* readView(database, [key], {
      seen: message === undefined ? undefined : { kind: message.kind, messages: [{ key, instance: message.instance }] }
    })
    const { nowMillis, seen } = view
    const { record: stored } = yield* view.circuit(key)
    const before = stored === undefined || expired(stored, idleMillis, nowMillis) ? undefined : { ...stored, seen }
    const [record, answer] = step(before, nowMillis)
    const result = { ...answer, snapshot: snapshot(record, [], nowMillis, idleMillis) }
    if (record === undefined || record === before) return result
    if (!exists) return undefined
    const isChange = record.generation !== (before?.generation ?? 0)
    yield* writeChange(database, key, {
      record,
      seen: record.seen.filter((message) => !(seen as ReadonlyArray<unknown>).includes(message)),
      entry: isChange ? { entry: historyEntry(before, record, why, nowMillis), before } : undefined
    }, { nowMillis, keepsHistory })
    if (isChange) yield* ring(database, key, record.generation, nowMillis)
    if (isChange && announces) yield* announcer.announce(database, circuit, record.generation)
    return result
  })

/** Attempts at a transition whose circuit has no rows, which are made in between. Others may delete them again. */
const MOST_ATTEMPTS = 5

const run = <A extends object>(
  database: Database,
  options: TransitionOptions,
  circuit: string,
  transition: Transition<A>
): Effect.Effect<Answered<A>, SqlError | StorageError> =>
  Effect.gen(function*() {
    for (let attempts = 0; attempts < MOST_ATTEMPTS; attempts++) {
      if (attempts > 0) yield* transaction(database, createCircuits(database, [circuit]))
      const result = yield* announcing(
        database,
        options.announcer,
        circuit,
        (announces) => attempt(database, { ...options, announces }, circuit, transition)
      )
      if (result !== undefined) return result
    }
    return yield* vanished(database.tables.states, circuit, MOST_ATTEMPTS - 1)
  })

/** Makes a change, if its compare-and-set holds. An operation that is refused fails with `Denied`. */
export const runChange = (
  database: Database,
  options: TransitionOptions,
  circuit: string,
  input: Change
): Effect.Effect<Changed, SqlError | StorageError> =>
  run(database, options, circuit, {
    step: (record, nowMillis) => {
      const { committed, record: next } = change(record, input, nowMillis, database.idleMillis)
      return [next, { committed }]
    },
    why: historyWhy(input),
    message: input._tag === "Operation" ? { kind: "operation", instance: input.id } : undefined
  }).pipe(
    Effect.filterOrFail(
      ({ committed }) => committed || input._tag !== "Operation",
      ({ snapshot }) => operationDenied(circuit, input, snapshot)
    )
  )

/** Leases a probe, or settles one. */
export const runProbe = (
  database: Database,
  options: TransitionOptions,
  circuit: string,
  input: Probe
): Effect.Effect<Probed, SqlError | StorageError> =>
  run(
    database,
    options,
    circuit,
    input._tag === "Ask"
      ? {
        step: (record, nowMillis) => {
          const { granted, record: next } = ask(record, input, nowMillis, database.idleMillis)
          return [next, { granted }]
        },
        message: { kind: "ask", instance: input.lease.instance }
      }
      : {
        step: (record, nowMillis) => {
          const { record: next, settled } = settle(record, input, nowMillis, database.idleMillis)
          return [next, { granted: settled }]
        }
      }
  )
