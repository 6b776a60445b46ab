/** The outcome of an HTTP response or an error. */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Headers from "effect/http/Headers"
import * as HttpClientError from "effect/http/HttpClientError"
import type { HttpClientRequest } from "effect/http/HttpClientRequest"
import type { HttpClientResponse } from "effect/http/HttpClientResponse"
import * as Result from "effect/Result"
import { rejectionIn } from "../../internal/CarriedError.ts"
import * as Outcome from "../../Outcome.ts"

/** Exceptions to the table, by status and request; `undefined` is no exception. */
export type Statuses = (status: number, request: HttpClientRequest) => Outcome.Outcome["_tag"] | undefined

/** The table's row of a status. A number below 100 is no status, so it says nothing. */
const tagOf = (status: number): Outcome.Outcome["_tag"] => {
  if (!(status >= 100)) return "Ignored"
  if (status < 400) return "Success"
  if (status >= 500) return status === 501 || status === 505 ? "Ignored" : "Failure"
  switch (status) {
    case 404:
    case 409:
    case 410:
    case 412:
      return "Success"
    case 408:
      return "Failure"
    default:
      return "Ignored"
  }
}

/** How long a response asks to stay away, by the server's own clock where it has told it. */
export const retryAfterAt = (response: HttpClientResponse, nowMillis: number): Duration.Duration | undefined => {
  const header = response.headers["retry-after"]
  if (header === undefined) return undefined
  const parsed = Headers.parseRetryAfter(header)
  if (Result.isFailure(parsed)) return undefined
  return Headers.retryAfterDelay(parsed.success, serverMillis(response) ?? nowMillis)
}

const serverMillis = (response: HttpClientResponse): number | undefined => {
  const parsed = Headers.parseHttpDate(response.headers["date"] ?? "")
  return Result.isSuccess(parsed) ? Number(parsed.success.epochMilliseconds) : undefined
}

const ofResponse = (
  response: HttpClientResponse,
  statuses: Statuses | undefined,
  nowMillis: number
): Outcome.Outcome => {
  const tag = statuses?.(response.status, response.request) ?? tagOf(response.status)
  if (tag === "Success") return Outcome.success
  const retryAfter = retryAfterAt(response, nowMillis)
  if (tag === "Failure") return Outcome.failure({ retryAfter })
  return retryAfter === undefined ? Outcome.ignored : Outcome.ignoredWith({ retryAfter })
}

/** An error of the application may be anything, also a proxy that throws when it is looked at. */
const orFailure = (outcome: () => Outcome.Outcome): Outcome.Outcome => {
  try {
    return outcome()
  } catch {
    return Outcome.failure()
  }
}

const ofError = (error: unknown, statuses: Statuses | undefined, nowMillis: number): Outcome.Outcome => {
  const inner = rejectionIn(error)
  if (inner !== undefined) return Outcome.fromCause(Cause.fail(inner))
  if (!HttpClientError.isHttpClientError(error)) return Outcome.fromCause(Cause.fail(error))
  switch (error.reason._tag) {
    case "TransportError": {
      const { cause, request } = error.reason
      return wasAborted(cause) || wasRefused(cause) || !isSendable(request) ? Outcome.ignored : Outcome.failure()
    }
    case "StatusCodeError":
      return ofResponse(error.reason.response, statuses, nowMillis)
    default:
      return Outcome.ignored
  }
}

/** Whether the application's own signal ended the request. `AbortSignal.timeout` has the name `TimeoutError` instead. */
const wasAborted = (cause: unknown): boolean => cause instanceof Error && cause.name === "AbortError"

/** The codes by which undici and Node refuse to send a request that makes no sense, such as a header with a line break. */
const REFUSALS: ReadonlySet<unknown> = new Set(["UND_ERR_INVALID_ARG", "ERR_INVALID_CHAR", "ERR_INVALID_HTTP_TOKEN"])

const wasRefused = (cause: unknown): boolean => cause instanceof Error && "code" in cause && REFUSALS.has(cause.code)

/** Whether the headers are HTTP's (RFC 9110, section 5). `fetch` refuses others by a `TypeError` like any other. */
const isSendable = ({ headers }: HttpClientRequest): boolean =>
  Object.entries(headers).every(([name, value]) =>
    /^[!#$%&'*+.^_`|~\w-]+$/.test(name) && /^[\t\x20-\x7e\x80-\xff]*$/.test(value)
  )

const ofDefect = (defect: unknown): Outcome.Outcome =>
  wasRefused(defect) ? Outcome.ignored : Outcome.fromCause(Cause.die(defect))

/** The outcome of an exit: any failure counts, then a success, then what is ignored. */
const outcomeOf = (
  exit: Exit.Exit<HttpClientResponse, unknown>,
  statuses: Statuses | undefined,
  nowMillis: number
): Outcome.Outcome => {
  if (exit._tag === "Success") return ofResponse(exit.value, statuses, nowMillis)
  let outcome = Outcome.ignored
  for (const reason of exit.cause.reasons) {
    if (Cause.isInterruptReason(reason)) continue
    const next = orFailure(() =>
      Cause.isFailReason(reason) ? ofError(reason.error, statuses, nowMillis) : ofDefect(reason.defect)
    )
    if (next._tag === "Failure") return next
    if (next._tag === "Success") outcome = next
  }
  return outcome
}

export const classifyBy =
  (statuses: Statuses | undefined) => <E>(exit: Exit.Exit<HttpClientResponse, E>): Effect.Effect<Outcome.Outcome> =>
    Effect.map(Clock.currentTimeMillis, (now) => outcomeOf(exit, statuses, now))

/** The same, at once where no clock is needed: most responses are good. */
export const quicklyBy = (statuses: Statuses | undefined) => {
  const classify = classifyBy(statuses)
  return <E>(exit: Exit.Exit<HttpClientResponse, E>): Outcome.Outcome | Effect.Effect<Outcome.Outcome> =>
    exit._tag === "Success" && statuses === undefined && tagOf(exit.value.status) === "Success"
      ? Outcome.success
      : classify(exit)
}
