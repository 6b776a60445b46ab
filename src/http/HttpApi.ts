/**
 * Circuit breakers in `HttpApi`: error schemas for endpoints, and middleware on both sides.
 *
 * **Gotchas**
 *
 * Declare `error: BreakerHttpApi.Rejections` and not the error classes themselves: these schemas encode no more than a client may
 * see.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import type * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as HttpApiMiddleware from "effect/http-api/HttpApiMiddleware"
import * as HttpApiSchema from "effect/http-api/HttpApiSchema"
import type * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as HttpEffect from "effect/http/HttpEffect"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import { BreakerOpenError, BreakerTimeoutError, BulkheadFullError } from "../BreakerError.ts"
import type { Guard, KeyedGuard } from "../Guard.ts"
import * as Problems from "../internal/Problem.ts"
import { quicklyBy } from "./internal/Classification.ts"
import { originOf } from "./internal/Origin.ts"
import { classifyRoute } from "./internal/ServerClassification.ts"

// -----------------------------------------------------------------------------
// errors of endpoints
// -----------------------------------------------------------------------------

/** A circuit whose name the server keeps to itself. */
const UNNAMED = "unnamed"

const bodyOf = <const Status extends 503 | 504>(
  status: Status,
  codes: ReadonlyArray<Problems.Problem["code"]>
) =>
  Schema.Struct({
    type: Schema.tag("about:blank"),
    status: Schema.tag(status),
    title: Schema.tag(Problems.titles[status]),
    code: Schema.Literals(codes),
    retry_after: Schema.optionalKey(Schema.Finite),
    circuit: Schema.optionalKey(Schema.String)
  }) as unknown as Schema.Codec<Problems.Problem>

/** Sets `Retry-After`, which is no part of a body, on the answer of the request that is being served. */
const withRetryAfter = (problem: Problems.Problem): Effect.Effect<Problems.Problem> =>
  Effect.contextWith((context: Context.Context<never>) => {
    const { retry_after } = problem
    const isServed = Context.getOrUndefined(context, HttpServerRequest.HttpServerRequest) !== undefined
    if (retry_after !== undefined && isServed) {
      HttpEffect.appendPreResponseHandlerUnsafe(
        context,
        (_request, response) =>
          Effect.succeed(HttpServerResponse.setHeader(response, "retry-after", String(retry_after)))
      )
    }
    return Effect.succeed(problem)
  })

const problemSchema = <E>(
  error: Schema.Codec<E, unknown>,
  status: 503 | 504,
  codes: ReadonlyArray<Problems.Problem["code"]>,
  encode: (error: E) => Problems.Problem,
  decode: (problem: Problems.Problem) => E
): Schema.Codec<E, Problems.Problem> =>
  bodyOf(status, codes).pipe(
    Schema.decodeTo(
      Schema.toType(error),
      SchemaTransformation.transformEffect<E, Problems.Problem>({
        decode: (problem) => Effect.sync(() => decode(problem)),
        encode: (error) => Effect.suspend(() => withRetryAfter(encode(error)))
      })
    ),
    HttpApiSchema.status(status),
    HttpApiSchema.asJson({ contentType: "application/problem+json" })
  ) as unknown as Schema.Codec<E, Problems.Problem>

const durationOf = (seconds: number | undefined) =>
  seconds === undefined ? {} : { retryAfter: Duration.seconds(seconds) }

/**
 * A `BreakerOpenError` as the problem that `BreakerHttpServer.toResponse` answers: 503, `circuit_open`, `Retry-After`.
 *
 * A client decodes it to a `BreakerOpenError` with `retryAfter`. Its `circuit` is `unnamed`, because servers do not name theirs.
 *
 * @category schemas
 * @since 0.1.0
 */
export const OpenProblem: Schema.Codec<BreakerOpenError, Problems.Problem> = problemSchema<BreakerOpenError>(
  BreakerOpenError,
  503,
  ["circuit_open", "throttled"],
  ({ retryAfter }) => Problems.problem("circuit_open", { retryAfter }),
  ({ circuit = UNNAMED, retry_after }) =>
    new BreakerOpenError({ circuit, state: "Open", openedBy: "fleet", ...durationOf(retry_after) })
)

/**
 * A `BreakerTimeoutError` as a problem: 504, `timeout`. A client decodes it with a `timeout` of zero, because it is not told.
 *
 * @category schemas
 * @since 0.1.0
 */
export const TimeoutProblem: Schema.Codec<BreakerTimeoutError, Problems.Problem> = problemSchema<BreakerTimeoutError>(
  BreakerTimeoutError,
  504,
  ["timeout"],
  () => Problems.problem("timeout", { status: 504 }),
  ({ circuit = UNNAMED }) => new BreakerTimeoutError({ circuit, timeout: Duration.zero })
)

/**
 * A `BulkheadFullError` as a problem: 503, `bulkhead_full`, `Retry-After`. A client decodes it with a `maxConcurrent` of 0, because
 * it is not told.
 *
 * @category schemas
 * @since 0.1.0
 */
export const BulkheadProblem: Schema.Codec<BulkheadFullError, Problems.Problem> = problemSchema<BulkheadFullError>(
  BulkheadFullError,
  503,
  ["bulkhead_full"],
  () => Problems.problem("bulkhead_full", { retryAfter: Duration.seconds(1) }),
  ({ circuit = UNNAMED }) => new BulkheadFullError({ circuit, maxConcurrent: 0 })
)

/**
 * The errors of endpoints whose handlers may be rejected: `error: BreakerHttpApi.Rejections`.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Rejections: readonly [typeof OpenProblem, typeof TimeoutProblem, typeof BulkheadProblem] = [
  OpenProblem,
  TimeoutProblem,
  BulkheadProblem
]

// -----------------------------------------------------------------------------
// middleware
// -----------------------------------------------------------------------------

/**
 * Which circuit a call of a generated client is for. `origin`: that of the request's origin. `group`: that of the group's name.
 * `endpoint`: that of the names of the group and the endpoint. A function: that of its key; `null` and an empty key are unguarded.
 *
 * @category models
 * @since 0.1.0
 */
export type Key =
  | "origin"
  | "group"
  | "endpoint"
  | ((options: {
    readonly endpoint: HttpApiEndpoint.Top
    readonly group: HttpApiGroup.Top
    readonly request: HttpClientRequest.HttpClientRequest
  }) => string | null)

type Middlewares = HttpApiMiddleware.AnyId
type Response = HttpServerResponse.HttpServerResponse
type AnyGuard = Guard<any, any> | KeyedGuard<any, any>

interface Called {
  readonly endpoint: HttpApiEndpoint.Top
  readonly group: HttpApiGroup.Top
}

const nameOf = (key: "group" | "endpoint", { endpoint, group }: Called): string =>
  key === "group" ? group.identifier : `${group.identifier}/${endpoint.identifier}`

/**
 * The client side of a middleware of yours that has `clientError` and `requiredForClient`: each method of the generated client then
 * has the breaker's errors in its type. A breaker that can fail with more than `clientError` does not compile.
 *
 * Responses are classified as by `BreakerHttpClient.classify`. The default key is `group`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerClient: {
  <Id extends Middlewares, S, Ctx>(
    tag: Context.Key<Id, S>,
    breaker: KeyedGuard<HttpApiMiddleware.ClientError<Id>, Ctx>,
    options?: { readonly key?: Key | undefined }
  ): Layer.Layer<HttpApiMiddleware.ForClient<Id>, never, Ctx>
  <Id extends Middlewares, S, Ctx>(
    tag: Context.Key<Id, S>,
    breaker: Guard<HttpApiMiddleware.ClientError<Id>, Ctx>
  ): Layer.Layer<HttpApiMiddleware.ForClient<Id>, never, Ctx>
} = (
  tag: Context.Key<any, any>,
  breaker: AnyGuard,
  options: { readonly key?: Key | undefined } = {}
): Layer.Layer<any, never, any> => {
  const classify = quicklyBy(undefined)
  const { key = "group" } = options
  return HttpApiMiddleware.layerClient(tag, (called): Effect.Effect<any, any, any> => {
    const self = called.next(called.request)
    if ("wrapWith" in breaker) return breaker.wrapWith(self, { classify })
    const of = typeof key === "function"
      ? key(called)
      : key === "origin"
      ? originOf(called.request)
      : nameOf(key, called)
    return of === null || of === "" ? self : breaker.wrap(self, { key: of, classify })
  })
}

/**
 * The server side of a middleware of yours that has `error: BreakerHttpApi.Rejections`: its endpoints run through the breaker.
 *
 * A response of 5xx except 501 is a Failure, as in `BreakerHttpServer.guard`. The default key is `group`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: {
  <Id extends Middlewares, S, Ctx>(
    tag: Context.Key<Id, S>,
    breaker: KeyedGuard<HttpApiMiddleware.Error<Id>, Ctx>,
    options?: { readonly key?: "group" | "endpoint" | undefined }
  ): Layer.Layer<Id, never, Ctx>
  <Id extends Middlewares, S, Ctx>(
    tag: Context.Key<Id, S>,
    breaker: Guard<HttpApiMiddleware.Error<Id>, Ctx>
  ): Layer.Layer<Id, never, Ctx>
} = (
  tag: Context.Key<any, any>,
  breaker: AnyGuard,
  options: { readonly key?: "group" | "endpoint" | undefined } = {}
): Layer.Layer<any, never, any> => {
  const classify = classifyRoute()
  return Layer.effect(
    tag,
    Effect.map(Effect.context<never>(), (context) => (route: Effect.Effect<Response, unknown, any>, called: Called) => {
      const exit = Effect.exit(route)
      const guarded: Effect.Effect<Exit.Exit<Response, unknown>, unknown, any> = "wrapWith" in breaker
        ? breaker.wrapWith(exit, { classify })
        : breaker.wrap(exit, { key: nameOf(options.key ?? "group", called), classify })
      return Effect.flatten(Effect.updateContext(guarded, (own: Context.Context<any>) => Context.merge(context, own)))
    })
  )
}
