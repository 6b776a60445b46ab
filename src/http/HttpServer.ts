/**
 * Circuit breakers in an HTTP server: answers to rejections, guards of routes, and health endpoints.
 *
 * The errors of a breaker answer by themselves wherever nobody handles them: 503 with `Retry-After` for `BreakerOpenError` and
 * `BulkheadFullError`, 504 for `BreakerTimeoutError`, with a body of RFC 9457. This module is for those who answer them elsewhere or
 * otherwise.
 *
 * **Example** (Routes whose rejections are answered)
 *
 * ```ts import.meta.vitest
 * import { Effect, Layer } from "effect"
 * import { HttpRouter, HttpServerResponse } from "effect/http"
 * import { Breaker, Storage } from "effect-breaker"
 * import * as BreakerHttpServer from "effect-breaker/http/HttpServer"
 *
 * class Search extends Breaker.Service<Search>()("search", { maxConcurrent: 1 }) {}
 *
 * const search = HttpServerResponse.json(["a", "b"])
 *
 * const routes = HttpRouter.add("GET", "/search", Search.wrap(Effect.orDie(search))).pipe(
 *   Layer.provide(BreakerHttpServer.rejections().layer),
 *   HttpRouter.provideRequest(Search.layer),
 *   Layer.provide(Storage.MemoryStorageLive)
 * )
 *
 * const { dispose, handler } = HttpRouter.toWebHandler(routes, { disableLogger: true })
 * const response = await handler(new Request("http://localhost/search"))
 * response.status // => 200
 * await dispose()
 * ```
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type { unhandled } from "effect/Types"
import type { BreakerError } from "../BreakerError.ts"
import { Enforcement, type EnforcementMode } from "../Enforcement.ts"
import type { Snapshot } from "../Event.ts"
import type { Guard, KeyedGuard } from "../Guard.ts"
import * as Problems from "../internal/Problem.ts"
import { CurrentRegistry, type Registered } from "../internal/Registered.ts"
import type * as Outcome from "../Outcome.ts"
import { Monitor } from "../Storage/Health.ts"
import type { StorageError } from "../Storage/Storage.ts"
import { classifyRoute, rejected } from "./internal/ServerClassification.ts"

// -----------------------------------------------------------------------------
// answers
// -----------------------------------------------------------------------------

/**
 * How a rejection is answered.
 *
 * @category models
 * @since 0.1.0
 */
export interface ResponseOptions {
  /** Names the circuit in the body, as `circuit`. Default `false`, because it tells clients what the service is built of. */
  readonly circuit?: boolean | undefined
  /** 429 where a limit is the client's own, as with a guard that has a key for each client. Default 503. */
  readonly bulkheadFull?: 503 | 429 | undefined
}

/**
 * The body of an answer: RFC 9457, `application/problem+json`. `retry_after` is the header `Retry-After` in seconds. The last
 * failure, the reason of an opening and the text of an operator are never in it.
 *
 * @category models
 * @since 0.1.0
 */
export type Problem = Problems.Problem

/** The answer to an error of a breaker, as data. */
const problemOf = (error: BreakerError | StorageError, options: ResponseOptions): Problem => {
  const circuit = options.circuit === true ? error.circuit : undefined
  switch (error._tag) {
    case "BreakerOpenError":
      return Problems.problem("circuit_open", { circuit, retryAfter: error.retryAfter })
    case "BulkheadFullError":
      return Problems.problem("bulkhead_full", {
        circuit,
        retryAfter: Duration.seconds(1),
        status: options.bulkheadFull
      })
    case "BreakerTimeoutError":
      return Problems.problem("timeout", { circuit, status: 504 })
    case "StorageError":
      return Problems.problem("storage_unavailable", { circuit, retryAfter: Duration.seconds(1) })
  }
}

const answerTo = (
  error: BreakerError | StorageError,
  options: ResponseOptions
): HttpServerResponse.HttpServerResponse => {
  const problem = problemOf(error, options)
  const response = HttpServerResponse.jsonUnsafe(problem, Problems.optionsOf(problem))
  if (error._tag !== "BreakerTimeoutError") rejected.add(response.body)
  return response
}

/**
 * The answer to an error of a breaker.
 *
 * | error                 | status                    | `code`          | `Retry-After`                                   |
 * | --------------------- | ------------------------- | --------------- | ----------------------------------------------- |
 * | `BreakerOpenError`    | 503                       | `circuit_open`  | the rest of its time, rounded up, at least 1    |
 * | `BulkheadFullError`   | 503, or `bulkheadFull`    | `bulkhead_full` | 1                                               |
 * | `BreakerTimeoutError` | 504                       | `timeout`       | none, because the request may have had an effect |
 *
 * A `BreakerOpenError` without a known time has no `Retry-After`.
 *
 * @category conversions
 * @since 0.1.0
 */
export const toResponse = (error: BreakerError, options: ResponseOptions = {}): HttpServerResponse.HttpServerResponse =>
  answerTo(error, options)

/**
 * A middleware of routes that answers the breakers' errors of their calls, and takes them out of the routes' errors.
 *
 * @category middleware
 * @since 0.1.0
 */
export const rejections = (options: ResponseOptions = {}): HttpRouter.Middleware<{
  provides: never
  handles: BreakerError
  error: never
  requires: never
  layerError: never
  layerRequires: never
}> =>
  HttpRouter.middleware<{ handles: BreakerError }>()((route: Effect.Effect<Response, BreakerError | unhandled>) =>
    Effect.catchTag(
      route,
      ["BreakerOpenError", "BreakerTimeoutError", "BulkheadFullError"],
      (error) => Effect.succeed(answerTo(error, options))
    )
  )

// -----------------------------------------------------------------------------
// guards
// -----------------------------------------------------------------------------

/**
 * Options of a guard with one circuit.
 *
 * @category models
 * @since 0.1.0
 */
export interface GuardOptions extends ResponseOptions {
  /**
   * Exceptions to what a response says about what is guarded; `undefined` is no exception. Default: 5xx except 501 is a Failure, with
   * its `Retry-After`; everything else is a Success; a client that hung up, and an answer to a rejection, are `Ignored`.
   */
  readonly statuses?:
    | ((status: number, request: HttpServerRequest.HttpServerRequest) => Outcome.Outcome["_tag"] | undefined)
    | undefined
}

/**
 * Options of a guard with a circuit for each key.
 *
 * @category models
 * @since 0.1.0
 */
export interface KeyedGuardOptions extends GuardOptions {
  /**
   * `null` and an empty key are unguarded.
   *
   * **Gotchas**
   *
   * A client can choose its own headers and paths. If a key is made of them, the breaker's `capacity` is all that limits how many
   * circuits it can make.
   */
  readonly key: (request: HttpServerRequest.HttpServerRequest) => string | null
}

type GuardMiddleware<Ctx> = HttpRouter.Middleware<{
  provides: never
  handles: never
  error: never
  requires: never
  layerError: never
  layerRequires: Ctx
}>

type AnyGuard = KeyedGuard<BreakerError | StorageError, any> | Guard<BreakerError | StorageError, any>
type Response = HttpServerResponse.HttpServerResponse
type Route = Effect.Effect<Response, unknown, any>

/**
 * A middleware that runs routes through a breaker, and answers its rejections: to shed load with `maxConcurrent`, or to open for
 * the routes of a part that is down.
 *
 * A permit comes back when the head of the response is made, or the client has gone. Errors of the routes' own calls pass through.
 * A `StorageError` of a breaker under `strict` is answered with 503.
 *
 * **Gotchas**
 *
 * A breaker always has a trip policy, by default five consecutive failures. So a guard that is to shed load and nothing else opens
 * after five answers of 5xx in a row, unless `statuses` returns `Ignored` for them.
 *
 * @category middleware
 * @since 0.1.0
 */
export const guard: {
  <Err extends BreakerError | StorageError, Ctx>(
    breaker: KeyedGuard<Err, Ctx>,
    options: KeyedGuardOptions
  ): GuardMiddleware<Ctx>
  <Err extends BreakerError | StorageError, Ctx>(
    breaker: Guard<Err, Ctx>,
    options?: GuardOptions
  ): GuardMiddleware<Ctx>
} = (breaker: AnyGuard, given?: GuardOptions & Partial<KeyedGuardOptions>): GuardMiddleware<any> => {
  const options = given ?? {}
  return HttpRouter.middleware(
    Effect.map(
      Effect.context<never>(),
      (context) => (route: Route) =>
        Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => {
          const { statuses } = options
          const classify = classifyRoute(statuses && ((status) => statuses(status, request)))
          // The route's exit is a value here, so an error of the wrapped effect is the guard's own.
          const exit = Effect.exit(route)
          let guarded: Effect.Effect<Exit.Exit<Response, unknown>, any, any>
          if ("wrapWith" in breaker) guarded = breaker.wrapWith(exit, { classify })
          else {
            const key = options.key!(request)
            if (key === null || key === "") return route
            guarded = breaker.wrap(exit, { key, classify })
          }
          return Effect.matchEffect(Effect.updateContext(guarded, (own) => Context.merge(context, own)), {
            onFailure: (error: BreakerError | StorageError) => Effect.succeed(answerTo(error, options)),
            onSuccess: (exit) => exit
          })
        })
    )
  ) as any
}

// -----------------------------------------------------------------------------
// health
// -----------------------------------------------------------------------------

/**
 * A circuit in a `HealthReport`.
 *
 * @category models
 * @since 0.1.0
 */
export interface CircuitHealth {
  readonly circuit: string
  /** `disabled` also where enforcement is off for the whole process. `metrics_only` also where that is the policy's `enforcement`. */
  readonly state: "closed" | "half_open" | "open" | "forced_open" | "disabled" | "metrics_only"
  /** Whether this instance alone rejects calls, on its own evidence. */
  readonly isolated: boolean
  /** In seconds, rounded up. */
  readonly retry_after?: number
  /** How close a closed circuit is to opening, from 0 to 1, with two digits. */
  readonly approach: number
}

/**
 * The answer of `/health`.
 *
 * `status` is `pass` if there is nothing to tell, `warn` if a circuit is not closed or the storage does not answer, and `fail` if the
 * storage is required and does not answer. Of a keyed breaker only circuits that are not closed are listed, at most 100.
 *
 * @category models
 * @since 0.1.0
 */
export interface HealthReport {
  readonly status: "pass" | "warn" | "fail"
  readonly enforcement: EnforcementMode
  readonly circuits: ReadonlyArray<CircuitHealth>
  readonly keyed: ReadonlyArray<{ readonly name: string; readonly circuits: number; readonly open: number }>
  readonly storage?: { readonly backend: string; readonly status: "pass" | "fail"; readonly latency_ms?: number }
}

const MOST_LISTED = 100

const stateOf = (
  { enforcement: policy, override, state }: Snapshot,
  enforcement: EnforcementMode
): CircuitHealth["state"] => {
  if (enforcement === "bypass") return "disabled"
  switch (override?.mode) {
    case "ForcedOpen":
      return "forced_open"
    case "Disabled":
      return "disabled"
    case "MetricsOnly":
      return "metrics_only"
    default:
      return policy === "metricsOnly"
        ? "metrics_only"
        : state === "Closed"
        ? "closed"
        : state === "Open"
        ? "open"
        : "half_open"
  }
}

const healthOf = (snapshot: Snapshot, enforcement: EnforcementMode): CircuitHealth => ({
  circuit: snapshot.circuit,
  state: stateOf(snapshot, enforcement),
  isolated: snapshot.isolated,
  // Rounded down, so that 1 is only what would open it.
  approach: Math.floor(snapshot.approach * 100) / 100,
  ...(snapshot.retryAfter === undefined ? {} : { retry_after: Math.ceil(Duration.toSeconds(snapshot.retryAfter)) })
})

/** By its monitor where there is one, else by what the breakers have seen of it. */
const storageHealth = (
  monitor: Option.Option<Monitor["Service"]>,
  snapshots: ReadonlyArray<Snapshot>
): Effect.Effect<HealthReport["storage"]> =>
  Effect.gen(function*() {
    const current = Option.isSome(monitor) ? yield* monitor.value.current : undefined
    if (current !== undefined) {
      const { backend, healthy, latency } = current
      return { backend, status: healthy ? "pass" : "fail", latency_ms: Duration.toMillis(latency) }
    }
    const seen = snapshots.flatMap(({ fleet }) => fleet === undefined ? [] : [fleet])
    const worst = seen.find(({ reachable }) => !reachable) ?? seen[0]
    return worst && { backend: worst.backend, status: worst.reachable ? "pass" : "fail" }
  })

const reportOf = (
  registry: Registered,
  monitor: Option.Option<Monitor["Service"]>
): Effect.Effect<HealthReport> =>
  Effect.gen(function*() {
    const enforcement = yield* Enforcement
    const circuits: Array<CircuitHealth> = []
    const keyed: Array<HealthReport["keyed"][number]> = []
    const all: Array<Snapshot> = []
    for (const entry of yield* registry.breakers) {
      const { isKeyed, name } = entry
      const found = isKeyed ? yield* entry.notClosed(MOST_LISTED) : undefined
      const snapshots = found?.snapshots ?? (yield* entry.snapshots())
      if (found !== undefined) keyed.push({ name, circuits: found.circuits, open: found.notClosed })
      all.push(...snapshots)
      circuits.push(...snapshots.map((snapshot) => healthOf(snapshot, enforcement)))
    }
    const storage = yield* storageHealth(monitor, all)
    const isWell = storage?.status !== "fail" && enforcement !== "bypass" &&
      all.every(({ enforcement, override, state }) =>
        override === undefined && (state === "Closed" || enforcement === "metricsOnly")
      )
    return {
      status: isWell ? "pass" : "warn",
      enforcement,
      circuits,
      keyed,
      ...(storage === undefined ? {} : { storage })
    }
  })

/**
 * The state of all circuits of this process and of their storage. It reads, moves nothing, and sends no request.
 *
 * @category accessors
 * @since 0.1.0
 */
export const healthReport: Effect.Effect<HealthReport> = Effect.flatMap(
  CurrentRegistry,
  (registry) => Effect.flatMap(Effect.serviceOption(Monitor), (monitor) => reportOf(registry, monitor))
)

interface HealthPaths {
  /** Default `/health`. */
  readonly health?: HttpRouter.PathInput | undefined
  /** Default `/ready`. */
  readonly ready?: HttpRouter.PathInput | undefined
}

/**
 * The routes `/health`, which always answers 200 with a `HealthReport`, and `/ready`, which answers 200 or 503 with its status alone.
 *
 * An open circuit never makes an instance unready, because it is open for all instances, and one that serves without a dependency
 * serves. Neither does a storage that is away, unless `storage` is `required`; then a `Monitor` of it is required by type.
 *
 * @category layers
 * @since 0.1.0
 */
export const healthLayer: {
  (options: HealthPaths & { readonly storage: "required" }): Layer.Layer<never, never, HttpRouter.HttpRouter | Monitor>
  (
    options?: HealthPaths & { readonly storage?: "reported" | undefined }
  ): Layer.Layer<never, never, HttpRouter.HttpRouter>
} = (
  options?: HealthPaths & { readonly storage?: "required" | "reported" | undefined }
): Layer.Layer<never, never, any> => {
  const { health = "/health", ready = "/ready", storage = "reported" } = options ?? {}
  return Layer.effectDiscard(Effect.gen(function*() {
    const router = yield* HttpRouter.HttpRouter
    const registry = yield* CurrentRegistry
    const monitor = yield* Effect.serviceOption(Monitor)
    const isRequired = storage === "required"
    const reported = Effect.map(
      reportOf(registry, monitor),
      (report): HealthReport => isRequired && report.storage?.status !== "pass" ? { ...report, status: "fail" } : report
    )
    const headers = { "cache-control": "no-store" }
    yield* router.add(
      "GET",
      health,
      Effect.map(reported, (report) => HttpServerResponse.jsonUnsafe(report, { headers }))
    )
    const isReady = isRequired && Option.isSome(monitor)
      ? Effect.match(monitor.value.ready, { onFailure: () => false, onSuccess: () => true })
      : Effect.succeed(true)
    yield* router.add(
      "GET",
      ready,
      Effect.map(
        isReady,
        (ready) =>
          HttpServerResponse.jsonUnsafe({ status: ready ? "pass" : "fail" }, { status: ready ? 200 : 503, headers })
      )
    )
  }))
}
