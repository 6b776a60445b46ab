/**
 * The operations of a storage on circuits in Redis. It keeps no state: each operation is one script, or one command.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Redis from "effect/persistence/Redis"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import { isReserved } from "../core/Reserved.ts"
import { failIfUnreachable, failure, isInvalid, operationDenied } from "../internal/StorageErrors.ts"
import type {
  Announcement,
  Change,
  Changed,
  CircuitReport,
  HistoryEntry,
  Probe,
  Probed,
  StorageError,
  Synced
} from "../Storage/Storage.ts"
import { decodeAnnouncement, decodeHistory, decodePage, decodeReply, type Operation, type Reply } from "./Decode.ts"
import { encodeChange, encodeProbe, encodeReport } from "./Encode.ts"
import type { KeyNames } from "./KeyNames.ts"
import { isUnknownScript, storageErrorOf } from "./RedisFailure.ts"
import { type Script, scripts } from "./Scripts.ts"

/** The keys that one `SCAN` looks at. An idle server needs less than a millisecond for them. */
const SCAN_COUNT = "500"

/** The scripts in progress at once, for one caller. */
const CONCURRENCY = 100

const SUBSCRIBED: Announcement = { _tag: "Subscribed" }

type Client = Redis.Redis["Service"]

export interface CircuitsOptions {
  readonly names: KeyNames
  readonly idleMillis: number
  /** The servers to scan, because `SCAN` lists the keys of one server. */
  readonly masters: Effect.Effect<ReadonlyArray<Pick<Client, "send">>, Redis.RedisError>
}

export class Circuits {
  readonly #redis: Client
  readonly #options: CircuitsOptions

  constructor(redis: Client, options: CircuitsOptions) {
    this.#redis = redis
    this.#options = options
  }

  /** One script per circuit, all sent at once: one round trip, on any number of servers. */
  sync(reports: ReadonlyArray<CircuitReport>): Effect.Effect<ReadonlyArray<Synced>, StorageError> {
    return Effect.tap(
      Effect.forEach(reports, (report) => this.#syncOne(report), { concurrency: CONCURRENCY }),
      failIfUnreachable
    )
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
    return Stream.filter(
      this.#circuits("list", this.#options.names.recordPattern),
      (circuit) => !isReserved(circuit)
    )
  }

  history(circuit: string, limit: number): Effect.Effect<ReadonlyArray<HistoryEntry>, StorageError> {
    if (limit < 1) return Effect.succeed([])
    const key = this.#options.names.of(circuit).history
    return this.#request("history", circuit, () => this.#redis.send("LRANGE", key, "0", `${Math.floor(limit) - 1}`))
      .pipe(
        Effect.flatMap((rows) => decode("history", circuit, () => decodeHistory(circuit, rows)))
      )
  }

  /** The number of keys that had no expiry and have one now. An invalid circuit is left as it is. */
  get repairExpiry(): Effect.Effect<number, StorageError> {
    const operation = "repairExpiry"
    const repair = (circuit: string) =>
      this.#request(operation, circuit, () => this.#send(circuit, scripts.repair, {})).pipe(
        Effect.map(Number),
        Effect.catchIf(isInvalid, () => Effect.succeed(0))
      )
    return this.#circuits(operation, this.#options.names.pattern).pipe(
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
    return this.#request(
      operation,
      circuit,
      () => this.#send(circuit, scripts[operation], { ...input, channel })
    ).pipe(
      Effect.flatMap((reply) =>
        decode(operation, circuit, () => decodeReply(operation, circuit, reply, withins, idleMillis))
      )
    )
  }

  #request<A>(
    operation: string,
    circuit: string,
    request: () => Effect.Effect<A, Redis.RedisError>
  ): Effect.Effect<A, StorageError> {
    return circuit.isWellFormed()
      ? Effect.mapError(Effect.suspend(request), storageErrorOf(operation, circuit))
      : Effect.fail(failure({ operation, circuit }, "Invalid", "the circuit's name is not well-formed Unicode"))
  }

  #send(circuit: string, { digest, lua }: Script, input: object): Effect.Effect<unknown, Redis.RedisError> {
    const { idleMillis, names } = this.#options
    const keys = names.of(circuit).all
    const text = JSON.stringify({ ...input, circuit, idle: idleMillis })
    const send = (command: string, script: string) =>
      this.#redis.send(command, script, String(keys.length), ...keys, text)
    // `EVAL` goes to the server of the keys, as `EVALSHA` does. `SCRIPT LOAD` would go to any server of a Cluster.
    return Effect.catchIf(send("EVALSHA", digest), isUnknownScript, () => send("EVAL", lua))
  }

  /** The circuits that have a key which matches the pattern, on all masters, each once. */
  #circuits(operation: string, pattern: string): Stream.Stream<string, StorageError> {
    return Stream.suspend(() => {
      const seen = new Set<string>()
      return this.#scan(operation, pattern).pipe(
        Stream.flattenIterable,
        Stream.map((key) => this.#options.names.circuitOf(key)),
        Stream.filter((circuit) => circuit !== undefined && !seen.has(circuit) && seen.add(circuit).size > 0),
        Stream.map((circuit) => circuit!)
      )
    })
  }

  /** The keys that match a pattern. `SCAN` may list a key twice while the server resizes its table. */
  #scan(operation: string, pattern: string): Stream.Stream<ReadonlyArray<string>, StorageError> {
    return Stream.flatMap(
      Stream.fromIterableEffect(Effect.mapError(this.#options.masters, storageErrorOf(operation))),
      ({ send }) =>
        Stream.paginate("0", (cursor) =>
          send("SCAN", cursor, "MATCH", pattern, "COUNT", SCAN_COUNT).pipe(
            Effect.mapError(storageErrorOf(operation)),
            Effect.flatMap((reply) => decode(operation, undefined, () => decodePage(reply))),
            Effect.map(([next, keys]) => [[keys], next === "0" ? Option.none() : Option.some(next)] as const)
          ))
    )
  }
}

const decode = <A>(operation: string, circuit: string | undefined, f: () => A): Effect.Effect<A, StorageError> =>
  Effect.try({ try: f, catch: (cause) => failure({ operation, circuit }, "Invalid", cause) })
