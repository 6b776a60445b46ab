/**
 * Circuit breakers around an HTTP client.
 *
 * `withBreaker` guards one client, with the breaker's errors in the client's type. `layer` guards the `HttpClient` of everything
 * below it, libraries included; its errors stay `HttpClientError`s.
 *
 * **Gotchas**
 *
 * - Outside of `retryTransient` a breaker sees one outcome for each call, inside one for each attempt. Neither place sends a
 *   request to an open circuit: use this module's `retryTransient` with `layer`, because Effect's retries a `TransportError`.
 * - A response's outcome is known with its status. With `bodies: "end"` it is known when the body has been read.
 * - The policy's `timeout` interrupts the request, which aborts its socket.
 *
 * **Example** (A circuit for each origin)
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { HttpClient, HttpClientResponse } from "effect/http"
 * import { Breaker, Storage, Trip } from "effect-breaker"
 * import * as BreakerHttpClient from "effect-breaker/http/HttpClient"
 *
 * class Origins extends Breaker.KeyedService<Origins>()("http", { trip: Trip.consecutiveFailures(2) }) {}
 *
 * const sick = HttpClient.make((request) =>
 *   Effect.succeed(HttpClientResponse.fromWeb(request, new Response(null, { status: 503 })))
 * )
 *
 * const program = Effect.gen(function*() {
 *   const client = BreakerHttpClient.withBreaker(sick, Origins)
 *   yield* client.get("https://api.test/users")
 *   yield* client.get("https://api.test/users")
 *   return yield* Effect.flip(client.get("https://api.test/orders"))
 * }).pipe(
 *   Effect.map((error) => error._tag),
 *   Effect.provide(Origins.layer),
 *   Effect.provide(Storage.MemoryStorageLive)
 * )
 *
 * await Effect.runPromise(program) // => "BreakerOpenError"
 * ```
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import { dual } from "effect/Function"
import * as HttpClient from "effect/http/HttpClient"
import type { HttpClientError } from "effect/http/HttpClientError"
import type * as HttpClientRequest from "effect/http/HttpClientRequest"
import type { HttpClientResponse } from "effect/http/HttpClientResponse"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Predicate from "effect/Predicate"
import type * as Schedule from "effect/Schedule"
import type { BreakerError } from "../BreakerError.ts"
import type { Guard, KeyedGuard } from "../Guard.ts"
import { CallDetails } from "../internal/CallDetails.ts"
import { rejectionIn } from "../internal/CarriedError.ts"
import { durationIn, refuse } from "../internal/Check.ts"
import type { Outcome } from "../Outcome.ts"
import type { Classify } from "../Policy.ts"
import type { Budget } from "../Retry.ts"
import type { StorageError } from "../Storage/Storage.ts"
import { classifyBy, quicklyBy, retryAfterAt } from "./internal/Classification.ts"
import { dressed, type RejectAs } from "./internal/Dressed.ts"
import { originOf } from "./internal/Origin.ts"
import { untilBodyEnds } from "./internal/UntilBodyEnds.ts"

export type { RejectAs } from "./internal/Dressed.ts"

type With<E, R> = HttpClient.HttpClient.With<E, R>

// -----------------------------------------------------------------------------
// options
// -----------------------------------------------------------------------------

/**
 * Which circuit a request is for: that of its `origin` (scheme, host and port; the default), or that of the key that a function
 * returns.
 *
 * `null` and an empty key mean no circuit: the request runs unguarded. So does one without an origin, because its URL is
 * invalid; the client fails with `InvalidUrlError`. A function that throws is a defect of the request.
 *
 * @category models
 * @since 0.1.0
 */
export type Key = "origin" | ((request: HttpClientRequest.HttpClientRequest) => string | null)

/**
 * When the outcome of a response is known. `head` (the default): with its status. `end`: when its body has been read to the end,
 * or has failed.
 *
 * With `end` the permit is held until then. A body that its reader gives up is `Ignored`. A body that nobody has begun to read
 * within `bodyIdleTimeout` is settled by its status.
 *
 * @category models
 * @since 0.1.0
 */
export type Bodies = "head" | "end"

/**
 * Options of a client that goes through one circuit.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<in E = never, out R2 = never> {
  /** Classifies responses and errors in place of this module's `classify`. */
  readonly classify?: Classify<HttpClientResponse, E, R2> | undefined
  /** Exceptions to the table of this module's `classify`; `undefined` is no exception. */
  readonly statuses?:
    | ((status: number, request: HttpClientRequest.HttpClientRequest) => Outcome["_tag"] | undefined)
    | undefined
  /** Default `head`. */
  readonly bodies?: Bodies | undefined
  /**
   * The longest wait for the next bytes of a body while its reader waits for them. After that the body fails with a
   * `TransportError`, and its cause is a `BreakerTimeoutError`. From a millisecond to a day; anything else is a `RangeError` at once.
   * Default with `bodies: "end"`: 30 seconds. Not used with `head`.
   */
  readonly bodyIdleTimeout?: Duration.Input | undefined
  /** `false`: only requests with the option `enabled: true` go through a circuit. Default `true`. */
  readonly enabled?: boolean | undefined
}

/**
 * Options of a client that goes through a circuit for each key.
 *
 * @category models
 * @since 0.1.0
 */
export interface KeyedOptions<in E = never, out R2 = never> extends Options<E, R2> {
  /** Default `origin`. */
  readonly key?: Key | undefined
}

/**
 * The options of one request, in place of its client's. `key: null` and `enabled: false` bypass the circuit.
 *
 * @category models
 * @since 0.1.0
 */
export interface RequestOptions {
  readonly enabled?: boolean | undefined
  readonly key?: string | null | undefined
  readonly classify?: Classify<HttpClientResponse, any> | undefined
  readonly bodies?: Bodies | undefined
}

/**
 * The options of the requests that run within. They travel in the context, because a request has no place for them, so retries
 * and redirects see them, too. Default: none.
 *
 * @category references
 * @since 0.1.0
 */
export const RequestOptions: Context.Reference<RequestOptions> = Context.Reference<RequestOptions>(
  "effect-breaker/http/HttpClient/RequestOptions",
  { defaultValue: () => ({}) }
)

/**
 * Runs requests with options of their own. Past every breaker: `Breaker.bypass`.
 *
 * @category combinators
 * @since 0.1.0
 */
export const withRequestOptions: {
  (options: RequestOptions): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, options: RequestOptions): Effect.Effect<A, E, R>
} = dual(
  2,
  <A, E, R>(self: Effect.Effect<A, E, R>, options: RequestOptions) =>
    Effect.provideService(self, RequestOptions, options)
)

// -----------------------------------------------------------------------------
// clients
// -----------------------------------------------------------------------------

const DAY_MILLIS = 24 * 60 * 60 * 1000

type AnyGuard = Guard<any, any> | KeyedGuard<any, any>
type AnyOptions = KeyedOptions<any, any>
type Requested = Effect.Effect<HttpClientResponse, any, any>

/**
 * A client whose requests go through a breaker, with the breaker's errors in the client's type.
 *
 * Put it outside of `retryTransient` for one outcome for each call, or inside for one for each attempt. A rejection is not
 * retried in either place, because it is no `HttpClientError`.
 *
 * @category combinators
 * @since 0.1.0
 */
export const withBreaker: {
  <Err, Ctx, E = unknown, R2 = never>(
    breaker: KeyedGuard<Err, Ctx>,
    options?: KeyedOptions<E, R2>
  ): <E1, R>(self: With<E1, R>) => With<E1 | Err, R | R2 | Ctx>
  <Err, Ctx, E = unknown, R2 = never>(
    breaker: Guard<Err, Ctx>,
    options?: Options<E, R2>
  ): <E1, R>(self: With<E1, R>) => With<E1 | Err, R | R2 | Ctx>
  <E1, R, Err, Ctx, R2 = never>(
    self: With<E1, R>,
    breaker: KeyedGuard<Err, Ctx>,
    options?: KeyedOptions<E1, R2>
  ): With<E1 | Err, R | R2 | Ctx>
  <E1, R, Err, Ctx, R2 = never>(
    self: With<E1, R>,
    breaker: Guard<Err, Ctx>,
    options?: Options<E1, R2>
  ): With<E1 | Err, R | R2 | Ctx>
} = dual(
  ([first]) => HttpClient.isHttpClient(first),
  (self: With<any, any>, breaker: AnyGuard, options: AnyOptions = {}): With<any, any> =>
    HttpClient.transform(self, guarded(breaker, options))
)

/**
 * Replaces the `HttpClient` of everything below by one that goes through a breaker, libraries included.
 *
 * Its errors stay `HttpClientError`s whose cause is the breaker's error: see `RejectAs`, `rejectionOf` and `catchRejection`. A
 * timeout of the policy's and a `StorageError` are always `TransportError`s, so a timeout is retried like any other.
 *
 * **Gotchas**
 *
 * Provide the exporter of your telemetry, and a storage that speaks HTTP, with a client of their own.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: {
  <Err extends BreakerError | StorageError, Ctx, R2 = never>(
    breaker: KeyedGuard<Err, Ctx>,
    options?: KeyedOptions<HttpClientError, R2> & { readonly rejectAs?: RejectAs | undefined }
  ): Layer.Layer<HttpClient.HttpClient, never, HttpClient.HttpClient | Ctx | R2>
  <Err extends BreakerError | StorageError, Ctx, R2 = never>(
    breaker: Guard<Err, Ctx>,
    options?: Options<HttpClientError, R2> & { readonly rejectAs?: RejectAs | undefined }
  ): Layer.Layer<HttpClient.HttpClient, never, HttpClient.HttpClient | Ctx | R2>
} = (
  breaker: AnyGuard,
  options: AnyOptions & { readonly rejectAs?: RejectAs | undefined } = {}
): Layer.Layer<HttpClient.HttpClient, never, any> => {
  const guard = guarded(breaker, options)
  const { rejectAs = "TransportError" } = options
  const replaced = (self: HttpClient.HttpClient) =>
    HttpClient.makeWith(
      Effect.flatMap((request) =>
        dressed(guard(self.postprocess(Effect.succeed(request)), request), request, rejectAs)
      ),
      self.preprocess
    )
  // The services that the breaker requires are in the layer's context, which `layerMergedContext` gives to each request.
  return HttpClient.layerMergedContext(Effect.map(HttpClient.HttpClient, replaced) as Effect.Effect<any>)
}

/** A request through the breaker, as the client's and the request's own options say. Throws for options out of range. */
const guarded = (breaker: AnyGuard, options: AnyOptions) => {
  const classifyAs = options.classify ?? quicklyBy(options.statuses)
  const { bodyIdleTimeout = "30 seconds" } = options
  refuse("withBreaker", durationIn("bodyIdleTimeout", bodyIdleTimeout, 1, DAY_MILLIS))
  const idle = Duration.fromInputUnsafe(bodyIdleTimeout)
  return (self: Requested, request: HttpClientRequest.HttpClientRequest): Requested =>
    Effect.withFiber((fiber) => {
      const own = Context.get(fiber.context, RequestOptions)
      if (!(own.enabled ?? options.enabled ?? true)) return self
      const classify = own.classify ?? classifyAs
      const bodies = own.bodies ?? options.bodies ?? "head"
      if ("wrapWith" in breaker) {
        if (own.key === null) return self
        const guarded = bodies === "head"
          ? breaker.wrapWith(self, { classify })
          : untilBodyEnds(self, breaker.permit, classify, idle)
        return Effect.provideService(guarded, CallDetails, { url: request.url, method: request.method })
      }
      const { key: keyOf = "origin" } = options
      const key = own.key !== undefined ? own.key : keyOf === "origin" ? originOf(request) : keyOf(request)
      if (key === null || key === "") return self
      return bodies === "head"
        ? breaker.wrap(self, { key, classify })
        : untilBodyEnds(self, breaker.permit({ key }), classify, idle)
    })
}

// -----------------------------------------------------------------------------
// rejections
// -----------------------------------------------------------------------------

/**
 * The breaker's error that an error is, or carries as its cause.
 *
 * @category accessors
 * @since 0.1.0
 */
export const rejectionOf = (error: unknown): Option.Option<BreakerError> => Option.fromUndefinedOr(rejectionIn(error))

/**
 * Handles the breaker's errors, as they are or as the cause of an `HttpClientError`, and nothing else.
 *
 * @category combinators
 * @since 0.1.0
 */
export const catchRejection =
  <A2, E2, R2>(f: (error: BreakerError) => Effect.Effect<A2, E2, R2>) =>
  <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A | A2, Exclude<E, BreakerError> | E2, R | R2> =>
    self.pipe(Effect.catch((error): Effect.Effect<A2, Exclude<E, BreakerError> | E2, R2> => {
      const rejection = rejectionIn(error)
      return rejection === undefined ? Effect.fail(error as Exclude<E, BreakerError>) : f(rejection)
    }))

/** Hides an answer from Effect's `retryTransient`: a rejection, or what a budget has no room to retry. */
class NotRetried<A, E> {
  readonly answer: Effect.Effect<A, E>
  constructor(answer: Effect.Effect<A, E>) {
    this.answer = answer
  }
}

/**
 * Effect's `HttpClient.retryTransient`, which retries timeouts of a breaker and leaves its rejections alone. Use it with a client of
 * `layer`.
 *
 * With a `budget` of `effect-breaker/Retry`, retries stop while more of the calls fail than it allows. The last response or error is
 * then the answer.
 *
 * @category combinators
 * @since 0.1.0
 */
export const retryTransient = <E, B2, ES = never, R1 = never>(options: {
  /** Default `errors-and-responses`. */
  readonly retryOn?: "errors-only" | "response-only" | "errors-and-responses" | undefined
  /** Further errors and responses to retry, besides transient ones. */
  readonly while?: Predicate.Predicate<NoInfer<E>> | undefined
  /** Default: without a delay. */
  readonly schedule?: Schedule.Schedule<B2, NoInfer<E> | HttpClientResponse, ES, R1> | undefined
  /** The most retries. Default: no limit. */
  readonly times?: number | undefined
  /** The `Retry.budget` of the breaker inside. Without it, retries are bounded only by `times` and `schedule`. */
  readonly budget?: Pick<Budget, "while"> | undefined
}) =>
<R>(self: With<E, R>): With<E | ES, R | R1> => {
  const { budget, ...others } = options
  type Hidden = NotRetried<HttpClientResponse, E>
  const hide = (answer: Effect.Effect<HttpClientResponse, E>): Effect.Effect<never, Hidden> =>
    Effect.fail(new NotRetried(answer))
  /** The answer of an attempt as Effect's `retryTransient` is to see it. */
  const withinBudget = (
    answer: Effect.Effect<HttpClientResponse, E>,
    of: unknown
  ): Effect.Effect<HttpClientResponse, E | Hidden> =>
    budget === undefined ? answer : Effect.gen(function*() {
      return (yield* budget.while(of)) ? yield* answer : yield* hide(answer)
    })
  const hidden: With<E | Hidden, R> = HttpClient.transformResponse(
    self,
    Effect.matchEffect({
      onFailure: (error) => {
        const rejection = rejectionIn(error)
        return rejection === undefined || rejection._tag === "BreakerTimeoutError"
          ? withinBudget(Effect.fail(error), error)
          : hide(Effect.fail(error))
      },
      onSuccess: (response) =>
        HttpClient.isTransientResponse(response)
          ? withinBudget(Effect.succeed(response), response)
          : Effect.succeed(response)
    })
  )
  const retried: With<E | Hidden | ES, R | R1> = HttpClient.retryTransient(hidden, {
    ...(others as object),
    while: (error: unknown) =>
      !(error instanceof NotRetried) &&
      (rejectionIn(error)?._tag === "BreakerTimeoutError" || options.while?.(error as E) === true)
  })
  return HttpClient.transformResponse(
    retried,
    Effect.catch((error): Effect.Effect<HttpClientResponse, E | ES> =>
      error instanceof NotRetried ? error.answer : Effect.fail(error)
    )
  )
}

// -----------------------------------------------------------------------------
// classification
// -----------------------------------------------------------------------------

/**
 * The outcome of a response or an error.
 *
 * | response or error                                              | outcome                                      |
 * | -------------------------------------------------------------- | -------------------------------------------- |
 * | 1xx, 2xx, 3xx; 404, 409, 410, 412                              | Success, because it has looked and answered  |
 * | 429                                                            | Ignored, with its `Retry-After`              |
 * | 408, and from 500 all but 501 and 505                          | Failure, with its `Retry-After`              |
 * | any other 4xx, 501, 505                                        | Ignored, because it is about the request     |
 * | a status below 100                                             | Ignored                                      |
 * | `TransportError`, `Cause.TimeoutError`                         | Failure                                      |
 * | `EncodeError`, `InvalidUrlError`; a header that HTTP forbids   | Ignored, because nothing was sent            |
 * | interruption; a `TransportError` caused by an `AbortError`     | Ignored, because the caller gave up          |
 * | a `TransportError` caused by `AbortSignal.timeout`             | Failure                                      |
 * | `StatusCodeError`                                              | by its status                                |
 * | `DecodeError`, `EmptyBodyError`                                | Ignored, because the caller cannot read it   |
 * | a rejection of another breaker, also as a cause                | Ignored                                      |
 * | a timeout of another breaker, also as a cause                  | Failure                                      |
 * | an error with an `Outcome.outcome` of its own                  | that                                         |
 * | any other error, and a defect                                  | Failure                                      |
 *
 * `Retry-After` may be in seconds or a date. A date is compared with the response's own `Date`, or with this process's clock
 * where there is none. A value that is neither is ignored.
 *
 * @category classification
 * @since 0.1.0
 */
export const classify: <E>(exit: Exit.Exit<HttpClientResponse, E>) => Effect.Effect<Outcome> = classifyBy(undefined)

/**
 * `classify` with exceptions by status and request. `undefined` is no exception.
 *
 * @category classification
 * @since 0.1.0
 */
export const classifyWith = (
  options: {
    readonly statuses:
      | ((status: number, request: HttpClientRequest.HttpClientRequest) => Outcome["_tag"] | undefined)
      | undefined
  }
): <E>(exit: Exit.Exit<HttpClientResponse, E>) => Effect.Effect<Outcome> => classifyBy(options.statuses)

/**
 * How long a response asks to stay away: its `Retry-After`, which is zero for a time that is over, and `undefined` where there is
 * none or it is neither a number of seconds nor a date.
 *
 * @category accessors
 * @since 0.1.0
 */
export const retryAfter = (response: HttpClientResponse): Effect.Effect<Duration.Duration | undefined> =>
  Effect.map(Clock.currentTimeMillis, (now) => retryAfterAt(response, now))
