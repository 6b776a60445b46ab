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
import { announce } from "./Announcements.ts"
import type { Database } from "./Database.ts"
import { lockCircuit } from "./Locks.ts"
import { keyOf } from "./NameColumns.ts"
import { transaction } from "./Transaction.ts"
import { readView } from "./View.ts"
import { createCircuits, writeChange } from "./Write.ts"

export interface TransitionOptions {
  readonly keepsHistory: boolean
  /** The channel on which Postgres announces changes. */
  readonly channel: string
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
  options: TransitionOptions,
  circuit: string,
  { message, step, why }: Transition<A>
): Effect.Effect<Answered<A> | undefined, SqlError | StorageError> =>
  Effect.gen(function*() {
    const { idleMillis } = database
    const key = keyOf(circuit)
    const exists = yield* lockCircuit(database, key)
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
      isNew: before === undefined,
      seen: record.seen.filter((message) => !(seen as ReadonlyArray<unknown>).includes(message)),
      entry: isChange ? { entry: historyEntry(before, record, why, nowMillis), before } : undefined
    }, { nowMillis, keepsHistory: options.keepsHistory })
    if (isChange) yield* announce(database, options.channel, circuit, record.generation)
    return result
  })

const run = <A extends object>(
  database: Database,
  options: TransitionOptions,
  circuit: string,
  transition: Transition<A>
): Effect.Effect<Answered<A>, SqlError | StorageError> =>
  Effect.flatMap(
    transaction(database, attempt(database, options, circuit, transition)),
    (result) =>
      result !== undefined ? Effect.succeed(result) : Effect.andThen(
        transaction(database, createCircuits(database, [circuit])),
        Effect.suspend(() => run(database, options, circuit, transition))
      )
  )

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
      () => operationDenied(circuit)
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
