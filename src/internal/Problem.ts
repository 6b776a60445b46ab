/**
 * How an error of a breaker is answered over HTTP: the data of the answer. It says neither why a circuit opened nor what an operator
 * wrote, because those are for the people who run the service and not for its clients.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { HttpServerResponse } from "effect/http/HttpServerResponse"

export type { HttpServerResponse } from "effect/http/HttpServerResponse"

export interface Problem {
  readonly type: "about:blank"
  readonly status: 503 | 504 | 429
  readonly title: "Service Unavailable" | "Gateway Timeout" | "Too Many Requests"
  readonly code: "circuit_open" | "throttled" | "bulkhead_full" | "timeout" | "storage_unavailable"
  readonly retry_after?: number
  readonly circuit?: string
}

export const titles = { 503: "Service Unavailable", 504: "Gateway Timeout", 429: "Too Many Requests" } as const

/** `retryAfter` is rounded up to whole seconds, and at least 1, because 0 would ask for a retry at once. */
export const problem = (
  code: Problem["code"],
  { circuit, retryAfter, status = 503 }: {
    readonly status?: Problem["status"] | undefined
    readonly retryAfter?: Duration.Duration | undefined
    readonly circuit?: string | undefined
  }
): Problem => ({
  type: "about:blank",
  status,
  title: titles[status],
  code,
  ...(retryAfter === undefined ? {} : { retry_after: Math.max(1, Math.ceil(Duration.toSeconds(retryAfter))) }),
  ...(circuit === undefined ? {} : { circuit })
})

/** The answer, with Effect's HTTP modules loaded when the first one is needed, so that the core does not import them. */
export const answer = (problem: Problem): Effect.Effect<HttpServerResponse> =>
  Effect.map(
    Effect.promise(() => import("effect/http/HttpServerResponse")),
    (HttpServerResponse) => HttpServerResponse.jsonUnsafe(problem, optionsOf(problem))
  )

/** The status, content type and headers of the answer. */
export const optionsOf = ({ retry_after, status }: Problem) => ({
  status,
  contentType: "application/problem+json",
  headers: {
    "cache-control": "no-store",
    ...(retry_after === undefined ? {} : { "retry-after": String(retry_after) })
  }
})
