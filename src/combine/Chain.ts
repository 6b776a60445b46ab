/**
 * One storage made of several in an order: the first that answers decides. What it has come to is copied to those behind it.
 * When a better one is back, what the others have come to meanwhile is carried to it, circuit by circuit, before it decides on
 * any of them again.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as PubSub from "effect/PubSub"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { makeLog } from "../internal/Log.ts"
import {
  type Announcement,
  type CircuitReport,
  type Snapshot,
  type Storage,
  StorageError,
  type Synced
} from "../Storage/Storage.ts"
import { BATCH, type Carried, carry } from "./Carry.ts"
import { Copy } from "./Copy.ts"
import { Displaced } from "./Displaced.ts"
import { type Asked, Failed, Guarded, isUnreached, sensible, told } from "./Guarded.ts"
import { Owed } from "./Owed.ts"

/**
 * What happened between the storages of a chain. They are named as they name themselves.
 *
 * - `Fallback`: `from` was asked and did not answer, so `to` was.
 * - `Down`: a storage failed again and again, and is asked next to nothing until it answers. `Up`: it has answered again.
 * - `Reconciled`: `circuits` were compared, of which some were carried `forward` to the storage that is back, others `back` from
 *   it; of those that `failed` the storages did not answer.
 *
 * @category models
 * @since 0.1.0
 */
export type ChainEvent =
  | {
    readonly _tag: "Fallback"
    readonly operation: string
    readonly from: string
    readonly to: string
    readonly error: StorageError
  }
  | { readonly _tag: "Down" | "Up"; readonly backend: string }
  | {
    readonly _tag: "Reconciled"
    readonly from: string
    readonly to: string
    readonly circuits: number
    readonly forward: number
    readonly back: number
    readonly failed: number
  }

/** A storage of a chain, and how many milliseconds a request to it may take. Default: an equal share of what is left. */
export interface Link {
  readonly storage: Storage
  readonly deadline?: number | undefined
}

export interface ChainOptions {
  /** What it calls itself: `fallback`, `mirror`. */
  readonly kind: string
  readonly links: ReadonlyArray<Link>
  /** How many milliseconds a request may take in all. */
  readonly budget: number
  /** Whether all are told of reports, and not only of what has changed. */
  readonly reports: boolean
}

export interface Chain extends Storage {
  readonly events: Stream.Stream<ChainEvent>
  /** Compares all circuits of the first storage and another, and brings the older of each up to date. */
  readonly repair: Effect.Effect<void, StorageError>
}

const fallbacks = Metric.counter("circuit_breaker.persistence.fallbacks", {
  description: "Requests that another storage had to answer than the one that was to",
  incremental: true
})

/** How many events wait for one who is slow to hear of them before the oldest is dropped. */
const CAPACITY = 256
/** Between two attempts to hear of a storage's changes. */
const HEARING = Schedule.spaced("1 second")
const subscribed: Announcement = { _tag: "Subscribed" }

/** What a storage tells of changes, listened to again whenever that ends: another goes on meanwhile. */
export const heard = ({ changes }: Storage): Stream.Stream<Announcement> =>
  Stream.suspend(() => changes).pipe(
    Stream.concat(Stream.fail("ended")),
    Stream.catchCause(() => Stream.fail("ended")),
    Stream.retry(HEARING),
    Stream.orDie
  )

type Answers<A> = ReadonlyArray<Result.Result<A, StorageError>>

const owing = (operation: string): StorageError =>
  new StorageError({ operation, reason: "Unavailable", cause: "it is still to count reports that come before" })

/** A request to a chain, circuit by circuit. */
interface Asking<A> {
  readonly operation: string
  readonly circuits: ReadonlyArray<string>
  /** Asks a storage, at its place, for some of them, by their indices, and says of each what it answered. */
  readonly ask: (storage: Storage, indices: ReadonlyArray<number>) => Effect.Effect<Answers<A>, StorageError>
  /** Whether calls are to be counted: then it must have counted those before them. */
  readonly counts?: boolean
  /** Whether an error is an answer, too. */
  readonly isFinal?: (error: StorageError) => boolean
  /** Told which storage answered, and whether the first was asked before. */
  readonly answered: (index: number, answer: A, place: number, asked: boolean) => void
}

export const makeChain = Effect.fnUntraced(function*(
  { budget, kind, links, reports: copiesReports }: ChainOptions
): Effect.fn.Return<Chain, never, Scope.Scope> {
  const clock = yield* Clock.Clock
  const context = yield* Effect.context<never>()
  const log = makeLog(context)
  const scope = yield* Effect.scope
  const events = yield* PubSub.sliding<ChainEvent>(CAPACITY)
  const switches = yield* PubSub.sliding<Announcement>(1)
  const instance = `chain ${yield* Random.nextInt} ${yield* Random.nextInt}`
  const displaced = new Displaced()
  /** What the first storage is still to count. */
  const owed = new Owed(instance)
  const fork = (effect: Effect.Effect<unknown>): void => {
    Effect.runForkWith(context)(Effect.forkIn(effect, scope))
  }

  const hops = links.map(({ storage }, place) =>
    new Guarded(storage, place === links.length - 1, clock, context, budget, turned)
  )
  const now = (): number => hops[0]!.now()
  const nameOf = (place: number): string => hops[place]!.storage.backend
  const decides = (place: number): boolean => hops[place]!.storage.capabilities.fences
  const names = hops.map(({ storage }) => storage.backend).join(", ")

  // -----------------------------------------------------------------------------
  // what is told of it
  // -----------------------------------------------------------------------------

  const complained = new Set<number>()
  const tell = (event: ChainEvent): boolean => PubSub.publishUnsafe(events, event)

  function turned(hop: Guarded, state: "Closed" | "Open"): void {
    const { backend } = hop.storage
    const place = hops.indexOf(hop)
    tell({ _tag: state === "Open" ? "Down" : "Up", backend })
    // Circuits are elsewhere now, so whoever knows of one looks again.
    PubSub.publishUnsafe(switches, subscribed)
    if (state === "Open") log("Warn", "A storage is left alone, for it fails", { backend })
    else {
      log("Info", "A storage is back", { backend })
      // It is told of the change before it has made it.
      fork(Effect.andThen(Effect.yieldNow, catchUp(place)))
    }
  }

  const fellBack = (
    operation: string,
    place: number,
    asked: boolean,
    error: StorageError
  ): Effect.Effect<void> => {
    const [from, to] = [nameOf(place), nameOf(place + 1)]
    if (asked) {
      tell({ _tag: "Fallback", operation, from, to, error })
      const cause = error
      if (complained.has(place)) {
        log("Debug", "A storage did not answer again, another did", { operation, from, to, cause })
      } else log("Warn", "A storage did not answer, another did", { operation, from, to, cause })
      complained.add(place)
    }
    return Metric.update(Metric.withAttributes(fallbacks, { from, to, reason: asked ? error.reason : "Skipped" }), 1)
  }

  // -----------------------------------------------------------------------------
  // requests
  // -----------------------------------------------------------------------------

  const deadlineOf = (place: number, left: number): number =>
    Math.max(1, Math.min(left, links[place]!.deadline ?? left / (hops.length - place)))

  /** Asks one storage after the other for what has no answer yet. */
  const through = <A>(asking: Asking<A>): Effect.Effect<Answers<A>, StorageError> =>
    Effect.gen(function*() {
      const { answered, circuits, counts = false, isFinal = () => false, operation } = asking
      const start = now()
      const left = (): number => Math.max(1, budget - (now() - start))
      const answers = new Array<Result.Result<A, StorageError>>(circuits.length)
      /** Whether an error leaves it open what another storage would say. */
      const isOpenTo = (error: StorageError): boolean => isUnreached(error) && !isFinal(error)
      const isOpen = (index: number): boolean => {
        const answer = answers[index]
        return answer === undefined || (Result.isFailure(answer) && isOpenTo(answer.failure))
      }
      const asked: Array<boolean> = []
      let open: ReadonlyArray<number> = circuits.map((_, index) => index)
      const errors: Array<StorageError> = []
      for (const [place, hop] of hops.entries()) {
        const failed = yield* prepare(open.map((index) => circuits[index]!), place, counts, left())
        const debts = counts ? debtsOf(place) : undefined
        const ready = open.filter((index) => debts?.has(circuits[index]!) !== true)
        const result = yield* Effect.result(
          failed !== undefined
            ? Effect.fail(new Failed(true, failed))
            : ready.length === 0
            ? Effect.fail(new Failed(false, owing(operation)))
            : hop.attempt(
              operation,
              deadlineOf(place, left()),
              (storage) => asking.ask(storage, ready),
              (answer) => answer instanceof StorageError && isOpenTo(answer)
            )
        )
        asked[place] = Result.isSuccess(result) || result.failure.asked
        if (Result.isSuccess(result)) {
          complained.delete(place)
          for (const [i, index] of ready.entries()) {
            const answer = result.success[i]!
            answers[index] = answer
            if (Result.isSuccess(answer)) answered(index, answer.success, place, place > 0 && asked[0] === true)
          }
        } else if (!isOpenTo(result.failure.error)) return yield* Effect.fail(result.failure.error)
        open = open.filter(isOpen)
        if (open.length === 0) break
        const answer = answers[open[0]!]
        if (Result.isFailure(result)) errors.push(result.failure.error)
        else errors.push(answer !== undefined && Result.isFailure(answer) ? answer.failure : owing(operation))
        if (place + 1 < hops.length) yield* fellBack(operation, place, asked[place], errors.at(-1)!)
      }
      const last = errors.at(-1)
      const none = () =>
        errors.length > 1
          ? new StorageError({
            operation,
            reason: last!.reason,
            cause: new AggregateError(errors, `none of ${names} answered`)
          })
          : last!
      if (circuits.length > 0 && open.length === circuits.length) return yield* Effect.fail(none())
      return circuits.map((_, index) => answers[index] ?? Result.fail(none()))
    })

  // -----------------------------------------------------------------------------
  // what the others get to know
  // -----------------------------------------------------------------------------

  const copies = hops.map((hop, place) => {
    const { durable, fences } = hop.storage.capabilities
    return place > 0 && decides(0) && fences && (durable || copiesReports)
      ? new Copy(hops[0]!, hop, budget, instance)
      : undefined
  })

  /** Tells all copies of reports, but the one that is to answer now, and says of what. */
  const tellCopies = (reports: ReadonlyArray<CircuitReport>): ReadonlyArray<ReadonlySet<CircuitReport> | undefined> => {
    const lead = hops.findIndex((hop) => !hop.isSick)
    return copies.map((copy, place) => place === lead ? undefined : copy?.tell(reports, fork))
  }

  // -----------------------------------------------------------------------------
  // the way back
  // -----------------------------------------------------------------------------

  /** What a storage is still to count. */
  const debtsOf = (place: number): Owed | undefined => place === 0 ? owed : copies[place]?.owed

  /**
   * Before a storage answers for circuits again, those that others had to answer for are carried to it, and it counts what it is
   * still to count: reports that come before those would make them seem to be counted. Each request has its own deadline. Says
   * what the storage failed with, if it did.
   */
  const prepare = (
    circuits: ReadonlyArray<string>,
    place: number,
    counts: boolean,
    left: number
  ): Effect.Effect<StorageError | undefined> => {
    const debts = counts ? debtsOf(place) : undefined
    const owing = circuits.filter((circuit) => debts?.has(circuit) === true)
    if (owing.length === 0 && displaced.among(circuits, place).size === 0) return Effect.undefined
    const hop = hops[place]!
    const { failure } = hop
    const better = hop.within(deadlineOf(place, left))
    const paid = Effect.forEach(owing, (circuit) => Effect.ignore(debts!.pay(circuit, better)), {
      concurrency: 16,
      discard: true
    })
    return Effect.andThen(bringBack(circuits, place, better), paid).pipe(
      Effect.timeoutOption(Duration.millis(left / 2)),
      Effect.map(() => hop.failure === failure ? undefined : hop.failure)
    )
  }

  /** Carries circuits that others had to answer for to a better storage. */
  const bringBack = (
    circuits: ReadonlyArray<string>,
    place: number,
    better: Asked
  ): Effect.Effect<ReadonlyArray<Carried>> => {
    const carried = [...displaced.among(circuits, place)].map(([at, names]) => {
      const all = decides(at) && decides(place)
        ? carry(hops[at]!.within(deadlineOf(at, budget) / 2), better, names, "to")
        : Effect.succeed(names.map((circuit): Carried => ({ circuit, done: Result.succeed("left") })))
      return all.pipe(
        Effect.tap((all) =>
          Effect.sync(() => {
            for (const { circuit, done } of all) if (Result.isSuccess(done)) displaced.set(circuit, place)
          })
        ),
        // It answers all the same: whoever knows more puts that back.
        Effect.catch((error) =>
          Effect.succeed(names.map((circuit): Carried => ({ circuit, done: Result.fail(error) })))
        )
      )
    })
    return Effect.map(Effect.all(carried, { concurrency: 4 }), (all) => all.flat())
  }

  /** Carries, and has counted, all that nobody asks for, once a storage is back. */
  const catchUp = (place: number): Effect.Effect<void> =>
    Effect.gen(function*() {
      const better = hops[place]!.within(budget)
      const circuits = displaced.behind(place)
      const all: Array<Carried> = []
      for (let i = 0; i < circuits.length; i += BATCH) {
        all.push(...(yield* bringBack(circuits.slice(i, i + BATCH), place, better)))
      }
      if (circuits.length > 0) reconciled(names, nameOf(place), all)
      if (place > 0) return
      yield* Effect.forEach(owed.circuits, (circuit) => Effect.ignore(owed.pay(circuit, better)), {
        concurrency: 16,
        discard: true
      })
    })

  const reconciled = (from: string, to: string, all: ReadonlyArray<Carried>): void => {
    const count = (what: string) => all.filter(({ done }) => Result.isSuccess(done) && done.success === what).length
    const [circuits, forward, back] = [all.length, count("forward"), count("back")]
    const failed = all.filter(({ done }) => Result.isFailure(done)).length
    tell({ _tag: "Reconciled", from, to, circuits, forward, back, failed })
    log("Info", "Circuits were reconciled", { from, to, circuits, forward, back, failed })
  }

  const repair = Effect.forEach([...copies.entries()], ([place, copy]) => {
    if (copy === undefined) return Effect.void
    const seen = new Set<string>()
    const all = Stream.concat(hops[0]!.storage.list, hops[place]!.storage.list).pipe(
      Stream.filter((circuit) => !seen.has(circuit) && seen.add(circuit).size > 0),
      Stream.grouped(BATCH),
      Stream.mapEffect((circuits) => copy.carry(circuits)),
      Stream.flattenIterable
    )
    return Effect.map(Stream.runCollect(all), (carried) => reconciled(nameOf(0), nameOf(place), carried))
  }, { discard: true })

  // -----------------------------------------------------------------------------
  // the storage
  // -----------------------------------------------------------------------------

  const one = <A>(
    operation: string,
    circuit: string,
    ask: (storage: Storage) => Effect.Effect<A, StorageError>,
    rest: Partial<Pick<Asking<A>, "answered" | "isFinal">> = {}
  ): Effect.Effect<A, StorageError> =>
    Effect.flatMap(
      through({
        operation,
        circuits: [circuit],
        ask: (storage) => Effect.map(ask(storage), (answer) => [Result.succeed(answer)]),
        answered: () => {},
        ...rest
      }),
      ([answer]) => Effect.fromResult(answer!)
    )

  const decided = (circuit: string, place: number, snapshot: Snapshot): void => {
    if (place > 0) displaced.set(circuit, place)
    else for (const copy of copies) copy?.decided(circuit, snapshot)
  }

  const { capabilities } = hops[0]!.storage
  for (const copy of copies) if (copy !== undefined) yield* copy.backlog.run

  return {
    backend: `${kind}(${names})`,
    capabilities,
    idleTimeToLive: hops.map(({ storage }) => storage.idleTimeToLive).reduce((a, b) => Duration.min(a, b)),
    sync: (reports) =>
      Effect.suspend(() => {
        const copied = copiesReports ? tellCopies(reports) : undefined
        return through({
          operation: "sync",
          circuits: reports.map(({ circuit }) => circuit),
          counts: true,
          ask: (storage, indices) =>
            Effect.map(
              storage.sync(indices.map((index) => reports[index]!)),
              (synced) => sensible(synced, indices.length).map(({ result }) => result)
            ),
          answered: (index, { snapshot }, place, asked) => {
            const report = reports[index]!
            if (place > 0) owed.add(report, asked, now())
            for (const [other, copy] of copied === undefined ? [] : copies.entries()) {
              if (other !== place && copied![other]?.has(report) !== true) copy?.missed(report, other < place)
            }
            decided(report.circuit, place, snapshot)
          }
        })
      }).pipe(Effect.map((results) => results.map((result, i): Synced => ({ circuit: reports[i]!.circuit, result })))),
    change: (circuit, change) =>
      one("change", circuit, (storage) => Effect.map(storage.change(circuit, change), told), {
        // What an operator wants and a storage refuses, another must not do.
        isFinal: ({ reason }) => reason === "Denied" && change._tag === "Operation",
        answered: (_, { snapshot }, place) => decided(circuit, place, snapshot)
      }),
    probe: (circuit, probe) =>
      one("probe", circuit, (storage) => Effect.map(storage.probe(circuit, probe), told), {
        answered: (_, { snapshot }, place) => decided(circuit, place, snapshot)
      }),
    changes: capabilities.pushes
      ? Stream.mergeAll([
        Stream.fromPubSub(switches),
        ...hops.filter(({ storage }) => storage.capabilities.pushes).map(({ storage }) => heard(storage))
      ], { concurrency: "unbounded" })
      : Stream.empty,
    list: hops.map(({ storage }) => storage.list).reduce((all, next) => Stream.catchCause(all, () => next)),
    history: (circuit, options) => one("history", circuit, (storage) => storage.history(circuit, options)),
    events: Stream.fromPubSub(events),
    repair
  }
})
