/** A breaker's errors as errors of the HTTP client. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { HttpClientError, isHttpClientError, StatusCodeError, TransportError } from "effect/http/HttpClientError"
import type { HttpClientRequest } from "effect/http/HttpClientRequest"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import type { BreakerError } from "../../BreakerError.ts"
import type { StorageError } from "../../Storage/Storage.ts"

/**
 * How a rejection looks in a client whose errors must be `HttpClientError`s.
 *
 * - `TransportError` (the default): the request was not sent. A retry outside fails as fast as its own schedule, and nothing is
 *   sent. A retry with neither a limit nor a delay spins, as it does where a connection is refused.
 * - `StatusCodeError`: as if the server had answered 503 with `Retry-After`. `HttpClient.retryTransient` then sleeps until the
 *   circuit takes calls again, however long that is: for jobs that may wait, and not for a handler that users wait for.
 *
 * @category models
 * @since 0.1.0
 */
export type RejectAs = "TransportError" | "StatusCodeError"

type Refused = BreakerError | StorageError

const describe = (error: Refused): string => {
  const circuit = `circuit ${JSON.stringify(error.circuit)}`
  switch (error._tag) {
    case "BreakerOpenError":
      return `${circuit} takes no calls now (${error.state}), so the request was not sent`
    case "BulkheadFullError":
      return `${circuit} is at its limit of ${error.maxConcurrent} concurrent calls, so the request was not sent`
    case "BreakerTimeoutError":
      return `${circuit} timed out after ${Duration.toMillis(error.timeout)} ms`
    default:
      return `the storage of ${circuit} did not answer, so the request was not sent`
  }
}

const asStatus = (cause: BreakerError, request: HttpClientRequest): StatusCodeError => {
  const retryAfter = cause._tag === "BreakerOpenError" ? cause.retryAfter : undefined
  const seconds = Math.max(1, Math.ceil(Duration.toSeconds(retryAfter ?? Duration.zero)))
  const headers = { "retry-after": String(seconds) }
  const response = HttpClientResponse.fromWeb(request, new Response(null, { status: 503, headers }))
  return new StatusCodeError({ request, response, cause, description: describe(cause) })
}

/** Fails with an `HttpClientError` where the breaker's own error would be. */
export const dressed = <A, R>(
  self: Effect.Effect<A, HttpClientError | Refused, R>,
  request: HttpClientRequest,
  rejectAs: RejectAs
): Effect.Effect<A, HttpClientError, R> =>
  Effect.mapError(self, (error) => {
    if (isHttpClientError(error)) return error
    const isRejection = error._tag === "BreakerOpenError" || error._tag === "BulkheadFullError"
    const reason = isRejection && rejectAs === "StatusCodeError"
      ? asStatus(error, request)
      : new TransportError({ request, cause: error, description: describe(error) })
    return new HttpClientError({ reason })
  })
