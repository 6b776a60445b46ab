/** The outcome of the exit of a route. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Headers from "effect/http/Headers"
import * as HttpServerError from "effect/http/HttpServerError"
import type { HttpServerResponse } from "effect/http/HttpServerResponse"
import * as Result from "effect/Result"
import * as Outcome from "../../Outcome.ts"

/**
 * The bodies of answers that stand for a rejection: they say nothing about what a guard outside of it guards. A response that gets
 * another header is another object, and keeps its body. Each of these answers has a body of its own. Never add `HttpBody.empty`,
 * which all empty answers share.
 */
export const rejected = new WeakSet<HttpServerResponse["body"]>()

/** Exceptions by status; `undefined` is no exception. */
type Statuses = (status: number) => Outcome.Outcome["_tag"] | undefined

const ofResponse = (response: HttpServerResponse, statuses: Statuses | undefined): Effect.Effect<Outcome.Outcome> => {
  if (rejected.has(response.body)) return Effect.succeed(Outcome.ignored)
  const { headers, status } = response
  const tag = statuses?.(status) ?? (status >= 500 && status !== 501 ? "Failure" : "Success")
  if (tag !== "Failure") return Effect.succeed({ _tag: tag })
  const retryAfter = Headers.parseRetryAfter(headers["retry-after"] ?? "")
  return Effect.map(Clock.currentTimeMillis, (now) =>
    Outcome.failure({
      retryAfter: Result.isSuccess(retryAfter) ? Headers.retryAfterDelay(retryAfter.success, now) : undefined
    }))
}

/** Classifies a route whose own exit is a value, so that the errors of the guarded effect are the guard's own. */
export const classifyRoute =
  (statuses?: Statuses) =>
  (exit: Exit.Exit<Exit.Exit<HttpServerResponse, unknown>, unknown>): Effect.Effect<Outcome.Outcome> => {
    if (Exit.isFailure(exit)) return Effect.succeed(Outcome.fromExit(exit))
    const route = exit.value
    if (Exit.isSuccess(route)) return ofResponse(route.value, statuses)
    // Interruption, and an error that says itself what it means, such as a rejection of another breaker.
    const own = Outcome.fromCause(route.cause)
    if (own._tag !== "Failure") return Effect.succeed(own)
    return Effect.flatMap(HttpServerError.causeResponse(route.cause), ([response]) => ofResponse(response, statuses))
  }
