/**
 * The operations of a storage on circuits in Redis: each is one script, but for subscriptions and scans.
 *
 * **Invariants**
 *
 * - A request has a name that no other request has, of this process or another, and a reply is believed only if it
 *   begins with that name. After any other reply the connections are closed, because every later reply on them may
 *   belong to another request, too.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type * as Redis from "effect/persistence/Redis"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import { randomBytes } from "node:crypto"
import { isReserved } from "../core/Reserved.ts"
import {
  deadlineExceeded,
  failIfUnreachable,
  failure,
  isInvalid,
  isUnreachable,
  operationDenied,
  type RequestName
} from "../internal/StorageErrors.ts"
import type {
  Announcement,
  Bells,
  Change,
  Changed,
  CircuitReport,
  HistoryEntry,
  Probe,
  Probed,
  Snapshot,
  StorageError,
  Synced
} from "../Storage/Storage.ts"
import {
  decodeAnnouncement,
  decodeBells,
  decodeHistory,
  decodePage,
  decodePrefix,
  decodeRepaired,
  decodeReply,
  ForeignReply,
  type Operation,
  type Reply,
  replyTo
} from "./Decode.ts"
import { encodeChange, encodeProbe, encodeReport } from "./Encode.ts"
import { MOST_HISTORY } from "./Fields.ts"
import type { KeyNames } from "./KeyNames.ts"
import { isUnknownScript, storageErrorOf } from "./RedisFailure.ts"
import { type Script, scripts } from "./Scripts.ts"

/** The keys that one `SCAN` looks at. An idle server needs less than a millisecond for them. */
const SCAN_COUNT = "500"

/** The scripts in progress at once, for one caller. */
const CONCURRENCY = 100

/**
 * Scripts that are sent together are answered within milliseconds of each other. A server that takes longer than the
 * fastest by this much counts as silent, so that its circuits do not hold up those of the others.
 */
const STRAGGLER_MILLIS = 250

/** The deadline of each request for operators. Breakers have their own. */
export const OPERATOR_DEADLINE_MILLIS = 5000

const SUBSCRIBED: Announcement = { _tag: "Subscribed" }

type Client = Redis.Redis["Service"]

export interface CircuitsOptions {
  readonly names: KeyNames
  readonly idleMillis: number
  /** The servers to scan, because `SCAN` lists the keys of one server. */
  readonly masters: Effect.Effect<ReadonlyArray<Pick<Client, "send">>, Redis.RedisError>
  /** Closes the client's connections, which it then opens anew. */
  readonly closeConnections: Effect.Effect<void>
}

export class Circuits {
  readonly #redis: Client
  readonly #options: CircuitsOptions
  /** Sets this storage's requests apart from those of others on the same server. */
  readonly #sender = randomBytes(9).toString("base64url")
  #requests = 0

  constructor(redis: Client, options: CircuitsOptions) {
    this.#redis = redis
    this.#options = options
  }

  /**
   * One script per circuit, all sent at once: one round trip, on any number of servers. A circuit whose server is silent
   * fails alone.
   */
  sync(reports: ReadonlyArray<CircuitReport>): Effect.Effect<ReadonlyArray<Synced>, StorageError> {
    const batches = Array.from(
      { length: Math.ceil(reports.length / CONCURRENCY) },
      (_, i) => reports.slice(i * CONCURRENCY, (i + 1) * CONCURRENCY)
    )
    return Effect.forEach(batches, (batch) => this.#together(batch)).pipe(
      Effect.map((synced) => synced.flat()),
      Effect.tap(failIfUnreachable)
    )
  }

  /** Waits for the first answer for as long as its caller does, and for the others a little longer. */
  #together(reports: ReadonlyArray<CircuitReport>): Effect.Effect<ReadonlyArray<Synced>> {
    const syncOne = (report: CircuitReport) => this.#syncOne(report)
    if (reports.length === 1) return Effect.forEach(reports, syncOne)
    return Effect.gen(function*() {
      const first = yield* Deferred.make<void>()
      const late = yield* Deferred.make<void>()
      const timer = yield* Effect.forkChild(
        Deferred.await(first).pipe(
          Effect.andThen(Effect.sleep(STRAGGLER_MILLIS)),
          Effect.andThen(Deferred.succeed(late, undefined))
        )
      )
      const synced = yield* Effect.forEach(reports, (report) =>
        Effect.raceFirst(
          Effect.tap(syncOne(report), ({ result }) =>
            Result.isFailure(result) && isUnreachable(result.failure)
              ? Effect.void
              : Deferred.succeed(first, undefined)),
          Effect.map(Deferred.await(late), () => silent(report))
        ), { concurrency: "unbounded" })
      yield* Fiber.interrupt(timer)
      return synced
    })
  }

  #syncOne({ circuit, ...report }: CircuitReport): Effect.Effect<Synced> {
    return Effect.map(
      Effect.result(this.#run("sync", circuit, encodeReport(report), report.withins)),
      (result): Synced => ({
        circuit,
        result: Result.map(result, ({ answer, snapshot }) => ({ reported: answer, snapshot }))
      })
    )
  }

  change(circuit: string, change: Change): Effect.Effect<Changed, StorageError> {
    return Effect.flatMap(this.#run("change", circuit, encodeChange(change)), ({ answer, snapshot }) => {
      const committed = answer === "Committed"
      return committed || change._tag !== "Operation"
        ? Effect.succeed({ committed, snapshot })
        : Effect.fail(operationDenied(circuit, change, snapshot))
    })
  }

  probe(circuit: string, probe: Probe): Effect.Effect<Probed, StorageError> {
    return Effect.map(
      this.#run("probe", circuit, encodeProbe(probe)),
      ({ answer, snapshot }) => ({ granted: answer === "Granted", snapshot })
    )
  }

  get changes(): Stream.Stream<Announcement, StorageError> {
    return Stream.unwrap(Effect.map(this.#redis.subscribe(this.#options.names.channel), (messages) => {
      const announced = Stream.flattenIterable(
        Stream.map(Stream.fromQueue(messages), ({ message }) => decodeAnnouncement(message))
      )
      // By now the server has confirmed the subscription, or the queue has ended with the failure.
      return messages.state._tag === "Done" ? announced : Stream.concat(Stream.succeed(SUBSCRIBED), announced)
    })).pipe(Stream.mapError(storageErrorOf("changes")))
  }

  get list(): Stream.Stream<string, StorageError> {
    const { names } = this.#options
    return Stream.filter(
      this.#circuits("list", (clientPrefix) => names.recordPattern(clientPrefix)),
      (circuit) => !isReserved(circuit)
    )
  }

  history(circuit: string, limit: number): Effect.Effect<ReadonlyArray<HistoryEntry>, StorageError> {
    if (limit < 1) return Effect.succeed([])
    const last = Math.floor(Math.min(limit, MOST_HISTORY)) - 1
    return this.#request("history", circuit, scripts.history, { last }, ([rows]) => decodeHistory(circuit, rows)).pipe(
      withDeadline({ operation: "history", circuit })
    )
  }

  /** The number of keys that had no expiry and have one now. An invalid circuit is left as it is. */
  get repairExpiry(): Effect.Effect<number, StorageError> {
    const operation = "repairExpiry"
    const { names } = this.#options
    const repair = (circuit: string) =>
      this.#request(operation, circuit, scripts.repair, {}, decodeRepaired).pipe(
        withDeadline({ operation, circuit }),
        Effect.catchIf(isInvalid, () => Effect.succeed(0))
      )
    return this.#circuits(operation, (clientPrefix) => names.pattern(clientPrefix)).pipe(
      Stream.mapEffect(repair, { concurrency: CONCURRENCY }),
      Stream.runFold(() => 0, (sum, repaired: number) => sum + repaired)
    )
  }

  #run<O extends Operation>(
    operation: O,
    circuit: string,
    input: object,
    withins: ReadonlyArray<number> = []
  ): Effect.Effect<Reply<O>, StorageError> {
    const { idleMillis, names: { channel } } = this.#options
    const request = this.#request(
      operation,
      circuit,
      scripts[operation],
      { ...input, channel },
      (reply) => decodeReply(operation, circuit, reply, withins, idleMillis)
    )
    return Effect.tap(request, ({ rings, snapshot }) => rings ? this.#ring(circuit, snapshot) : Effect.void)
  }

  /**
   * Rings the bell, which is on one server of a Cluster: what was written is not undone if that server is silent. Others then
   * learn of it by push, or with their next report.
   */
  #ring(circuit: string, { alert, generation }: Snapshot): Effect.Effect<void> {
    const input = { circuit, generation, alert, epoch: this.#sender }
    return this.#bell("ring", scripts.ring, input, () => undefined).pipe(
      Effect.timeoutOption(STRAGGLER_MILLIS),
      Effect.ignore
    )
  }

  bells(since: number | undefined): Effect.Effect<Bells, StorageError> {
    return this.#bell("bells", scripts.poll, { since, epoch: this.#sender }, decodeBells)
  }

  #bell<A>(
    operation: string,
    script: Script,
    input: object,
    decode: (reply: ReadonlyArray<unknown>) => A
  ): Effect.Effect<A, StorageError> {
    return Effect.suspend(() => {
      const request = `${this.#sender}.${++this.#requests}`
      const sent = this.#sendTo(this.#options.names.bell, script, { ...input, request })
      return Effect.flatMap(
        Effect.mapError(sent, storageErrorOf(operation)),
        (reply) => this.#decoded({ operation }, () => decode(replyTo(operation, request, reply)))
      )
    })
  }

  /** Runs a script on a circuit, and decodes its reply. */
  #request<A>(
    operation: string,
    circuit: string,
    script: Script,
    input: object,
    decode: (reply: ReadonlyArray<unknown>) => A
  ): Effect.Effect<A, StorageError> {
    return Effect.suspend(() => {
      if (!circuit.isWellFormed()) {
        return Effect.fail(failure({ operation, circuit }, "Invalid", "the circuit's name is not well-formed Unicode"))
      }
      const request = `${this.#sender}.${++this.#requests}`
      return Effect.flatMap(
        Effect.mapError(this.#send(circuit, script, { ...input, request }), storageErrorOf(operation, circuit)),
        (reply) => this.#decoded({ operation, circuit }, () => decode(replyTo(operation, request, reply)))
      )
    })
  }

  #decoded<A>(name: RequestName, decode: () => A): Effect.Effect<A, StorageError> {
    return Effect.tapError(
      Effect.try({ try: decode, catch: (cause) => failure(name, "Invalid", cause) }),
      ({ cause }) => cause instanceof ForeignReply ? this.#options.closeConnections : Effect.void
    )
  }

  #send(circuit: string, { digest, lua }: Script, input: object): Effect.Effect<unknown, Redis.RedisError> {
    const { idleMillis, names } = this.#options
    return this.#sendTo(names.of(circuit), { digest, lua }, { ...input, circuit, idle: idleMillis })
  }

  #sendTo(
    keys: ReadonlyArray<string>,
    { digest, lua }: Script,
    input: object
  ): Effect.Effect<unknown, Redis.RedisError> {
    const text = JSON.stringify(input)
    const send = (command: string, script: string) =>
      this.#redis.send(command, script, String(keys.length), ...keys, text)
    // `EVAL` goes to the server of the keys, as `EVALSHA` does. `SCRIPT LOAD` would go to any server of a Cluster.
    return Effect.catchIf(send("EVALSHA", digest), isUnknownScript, () => send("EVAL", lua))
  }

  /** The circuits that have a key which matches the pattern, on all masters, each once. */
  #circuits(
    operation: string,
    patternOf: (clientPrefix: string) => string
  ): Stream.Stream<string, StorageError> {
    return Stream.unwrap(Effect.map(this.#clientPrefix(operation), (clientPrefix) => {
      const seen = new Set<string>()
      return this.#scan(operation, patternOf(clientPrefix)).pipe(
        Stream.flattenIterable,
        Stream.map((key) => this.#options.names.circuitOf(key, clientPrefix)),
        Stream.filter((circuit) => circuit !== undefined && !seen.has(circuit) && seen.add(circuit).size > 0),
        Stream.map((circuit) => circuit!)
      )
    }))
  }

  /**
   * The prefix that the client puts before the keys of scripts, such as the `keyPrefix` of ioredis. It does not do so in the pattern
   * of `SCAN`, nor does it remove it from the keys that `SCAN` lists.
   */
  #clientPrefix(operation: string): Effect.Effect<string, StorageError> {
    const [key] = this.#options.names.of("")
    return withDeadline({ operation })(
      Effect.mapError(
        this.#request(operation, "", scripts.key, {}, (reply) => decodePrefix(key, reply)),
        ({ cause, reason }) => failure({ operation }, reason, cause)
      )
    )
  }

  /** The keys that match a pattern. `SCAN` may list a key twice while the server resizes its table. */
  #scan(operation: string, pattern: string): Stream.Stream<ReadonlyArray<string>, StorageError> {
    const failed = storageErrorOf(operation)
    const page = (send: Client["send"], cursor: string) =>
      send("SCAN", cursor, "MATCH", pattern, "COUNT", SCAN_COUNT).pipe(
        Effect.mapError(failed),
        withDeadline({ operation }),
        Effect.flatMap((reply) => this.#decoded({ operation }, () => decodePage(operation, reply))),
        Effect.map(([next, keys]) => [[keys], next === "0" ? Option.none() : Option.some(next)] as const)
      )
    return Stream.flatMap(
      Stream.fromIterableEffect(withDeadline({ operation })(Effect.mapError(this.#options.masters, failed))),
      ({ send }) => Stream.paginate("0", (cursor) => page(send, cursor))
    )
  }
}

/** The answer for a circuit of a Cluster if its server did not answer and the others did. */
const silent = ({ circuit }: CircuitReport): Synced => ({
  circuit,
  result: Result.fail(
    failure({ operation: "sync", circuit }, "Deadline", `no answer within ${STRAGGLER_MILLIS} ms of another circuit's`)
  )
})

const withDeadline =
  (name: RequestName) => <A>(request: Effect.Effect<A, StorageError>): Effect.Effect<A, StorageError> =>
    Effect.timeoutOrElse(request, {
      duration: OPERATOR_DEADLINE_MILLIS,
      orElse: () => Effect.fail(deadlineExceeded(name, OPERATOR_DEADLINE_MILLIS))
    })
