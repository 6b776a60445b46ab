/**
 * A storage of several in an order: the first that answers decides, and what it has decided is copied to those behind
 * it. When a better storage answers again, circuits are brought back to it, each before it answers for that circuit.
 *
 * - `chain/Request`: one request, storage by storage.
 * - `chain/WayBack`: what a better storage gets before it answers, and in the background.
 * - `chain/Copies`: what each storage has yet to receive.
 * - `chain/Events`: events, log and metric.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { RESERVED_PREFIX } from "../core/Reserved.ts"
import { hasBells } from "../internal/Bells.ts"
import { makeFork } from "../internal/Fork.ts"
import { randomId } from "../internal/Ids.ts"
import { makeLogUntilClosed } from "../internal/Log.ts"
import { errorOf, failure, isInvalid } from "../internal/StorageErrors.ts"
import type { Bells, CircuitReport, Snapshot, Storage, StorageError, Synced } from "../Storage/Storage.ts"
import { Copies } from "./chain/Copies.ts"
import { type ChainEvent, ChainEvents } from "./chain/Events.ts"
import { Hops } from "./chain/Hops.ts"
import { answer, type ChainParts, type ChainRequest } from "./chain/Request.ts"
import { WayBack } from "./chain/WayBack.ts"
import { changesOf } from "./Changes.ts"
import type { FuseChange, Kind } from "./Fuse.ts"
import { checkBells, checkEntries, checkSnapshot, FusedStorage, kindOf, oneOf, syncSome } from "./FusedStorage.ts"

/** A storage of a chain. Without a deadline it has an equal share of the time that is left. */
export interface Link {
  readonly storage: Storage
  readonly deadlineMillis?: number | undefined
}

export interface ChainOptions {
  /** The first part of the name: `fallback`, `mirror`. */
  readonly kind: string
  readonly links: ReadonlyArray<Link>
  /** How long a request may take, all storages together. */
  readonly budgetMillis: number
  /** Whether reports go to all storages, and not only changes. */
  readonly areReportsCopied: boolean
}

export interface Chain extends Storage {
  readonly events: Stream.Stream<ChainEvent>
  /** Reconciles all circuits of the first storage with each of the others. */
  readonly repair: Effect.Effect<void, StorageError>
}

export const makeChain = Effect.fnUntraced(function*(
  options: ChainOptions
): Effect.fn.Return<Chain, never, Scope.Scope> {
  const parts = yield* makeParts(options)
  const { copies, events, hops } = parts
  yield* copies.run
  // One that decides without bells calls no alerts either.
  const rings = hops.storages.every(({ storage }) => !storage.capabilities.fences || hasBells(storage))
  return {
    backend: `${options.kind}(${hops.names})`,
    capabilities: { ...hops.at(0).storage.capabilities, bells: rings },
    idleTimeToLive: hops.storages.map(({ storage }) => storage.idleTimeToLive).reduce((a, b) => Duration.min(a, b)),
    ...requestsOf(parts),
    ...(rings ? { bells: bellsOf(parts) } : {}),
    ...streamsOf(parts),
    events: events.events,
    repair: copies.repair(events)
  }
})

const makeParts = Effect.fnUntraced(function*(
  { areReportsCopied, budgetMillis, links }: ChainOptions
): Effect.fn.Return<ChainParts, never, Scope.Scope> {
  const clock = yield* Clock.Clock
  const context = yield* Effect.context<never>()
  const events = yield* ChainEvents.make(yield* makeLogUntilClosed)
  const instance = `chain ${yield* randomId}`
  const request = makeFork(context)
  const background = makeFork(context, yield* Effect.scope)

  const changed = (change: FuseChange, storage: FusedStorage): void => {
    const place = hops.storages.indexOf(storage)
    if (change._tag !== "WritesDue") events.changed(change, place, storage)
    // After the request by which the storage showed that it answers.
    if (change._tag !== "Down") background(Effect.andThen(Effect.yieldNow, wayBack.catchUp(place)))
  }
  const storages = links.map(({ storage }, place) =>
    new FusedStorage({
      storage,
      isLast: place === links.length - 1,
      clock,
      fork: request,
      longestMillis: budgetMillis,
      changed
    })
  )
  const hops = new Hops(storages, links.map(({ deadlineMillis }) => deadlineMillis), budgetMillis)
  const copies = new Copies(hops, areReportsCopied, instance, background)
  const wayBack = new WayBack(hops, copies, events, background)
  return { hops, copies, events, wayBack }
})

const requestsOf = (parts: ChainParts): Pick<Storage, "sync" | "change" | "probe" | "history"> => {
  const { copies, wayBack } = parts
  const decided = (circuit: string, place: number, snapshot: Snapshot): void => {
    if (place > 0) wayBack.answered(circuit, place)
    else copies.decided(circuit, snapshot)
  }
  return {
    sync: (reports) =>
      Effect.map(
        Effect.suspend(() => answer(parts, syncRequest(parts, reports, decided))),
        (results) => results.map((result, i): Synced => ({ circuit: reports[i]!.circuit, result }))
      ),
    change: (circuit, change) =>
      one(parts, "change", circuit, "write", (storage) => Effect.map(storage.change(circuit, change), checkSnapshot), {
        // Another storage must not apply an operation that one has refused.
        isFinal: ({ reason }) => reason === "Denied" && change._tag === "Operation",
        answered: ({ snapshot }, place) => decided(circuit, place, snapshot)
      }),
    probe: (circuit, probe) =>
      one(parts, "probe", circuit, "write", (storage) => Effect.map(storage.probe(circuit, probe), checkSnapshot), {
        answered: ({ snapshot }, place) => decided(circuit, place, snapshot)
      }),
    history: (circuit, options) =>
      one(
        parts,
        "history",
        circuit,
        "look",
        (storage) => Effect.map(storage.history(circuit, options), checkEntries),
        {}
      )
  }
}

type SyncAnswer = Result.Result.Success<Synced["result"]>

const syncRequest = (
  { copies }: ChainParts,
  reports: ReadonlyArray<CircuitReport>,
  decided: (circuit: string, place: number, snapshot: Snapshot) => void
): ChainRequest<SyncAnswer> => {
  const copied = copies.report(reports)
  return {
    operation: "sync",
    circuits: reports.map(({ circuit }) => circuit),
    kinds: reports.map(kindOf),
    decides: false,
    counts: true,
    send: (storage, indices) => syncSome(storage, reports, indices),
    isFinal: () => false,
    answered: (index, { snapshot }, place, sentToFirst) => {
      const report = reports[index]!
      copies.counted(report, place, sentToFirst, copied)
      decided(report.circuit, place, snapshot)
    }
  }
}

/** A request about one circuit. */
const one = <A>(
  parts: ChainParts,
  operation: string,
  circuit: string,
  kind: Kind,
  send: (storage: Storage) => Effect.Effect<A, StorageError>,
  { answered, isFinal = () => false }: {
    readonly answered?: (answer: A, place: number) => void
    readonly isFinal?: (error: StorageError) => boolean
  }
): Effect.Effect<A, StorageError> =>
  Effect.flatMap(
    Effect.suspend(() =>
      answer(parts, {
        ...oneOf(operation, kind, send),
        circuits: [circuit],
        decides: kind === "write",
        counts: false,
        isFinal,
        answered: (_, answer, place) => answered?.(answer, place)
      })
    ),
    ([answer]) => Effect.fromResult(answer!)
  )

/** The circuit that a poll is about, for the parts that go by circuits. Nobody has one of this name. */
const POLL = `${RESERVED_PREFIX}bells`

const noBells = failure({ operation: "bells" }, "Denied", "the storage that answers has no bells")

/**
 * Polls the storage that answers. That it is another one than before shows as another epoch. Where circuits are in several
 * storages, any of them may have rung.
 */
const bellsOf = (parts: ChainParts): NonNullable<Storage["bells"]> => (since) =>
  Effect.suspend(() => {
    const { hops, wayBack } = parts
    let at = 0
    const send = ({ bells }: Storage) =>
      bells === undefined ? Effect.fail(noBells) : Effect.map(bells(since), checkBells)
    const poll = one(parts, "bells", POLL, "look", send, {
      // A storage that has none is not away.
      isFinal: (error) => error === noBells,
      answered: (_, place) => {
        at = place
      }
    })
    return Effect.map(poll, (bells): Bells => {
      const isInSeveral = hops.at(at).areWritesDown || wayBack.placement.behind(at).length > 0
      return { ...bells, epoch: `${at} ${bells.epoch}`, ...(isInSeveral ? { rung: "all" } : {}) }
    })
  })

const streamsOf = ({ events, hops }: ChainParts): Pick<Storage, "changes" | "list"> => {
  const storages = hops.storages.map(({ storage }) => storage)
  return {
    changes: storages[0]!.capabilities.pushes
      ? Stream.mergeAll(
        [events.switches, ...storages.filter(({ capabilities }) => capabilities.pushes).map(changesOf)],
        { concurrency: "unbounded" }
      )
      : Stream.empty,
    list: Stream.suspend(() => {
      // A storage that fails has named some circuits already.
      const seen = new Set<string>()
      return storages.map(({ list }) => list)
        .reduce((all, next) =>
          Stream.catchCause(
            all,
            (cause) => isInvalid(errorOf({ operation: "list" }, cause)) ? Stream.failCause(cause) : next
          )
        )
        .pipe(Stream.filter((name) => !seen.has(name) && seen.add(name).size > 0))
    })
  }
}
