/** Clients without a network, for tests of HTTP integrations. */
import { Effect, Ref } from "effect"
import { HttpClient, HttpClientError, type HttpClientRequest, HttpClientResponse } from "effect/http"

export interface Answer {
  readonly status?: number
  readonly headers?: Record<string, string>
  readonly body?: string | null
}

/** A client whose answer to each request is a function of the request. It counts what was sent. */
export const clientOf = (
  answer: (
    request: HttpClientRequest.HttpClientRequest
  ) => Answer | Effect.Effect<Answer, HttpClientError.HttpClientError>
) =>
  Effect.gen(function*() {
    const sent = yield* Ref.make(0)
    const client = HttpClient.make((request) =>
      Effect.gen(function*() {
        yield* Ref.update(sent, (n) => n + 1)
        const given = answer(request)
        const { body = null, headers = {}, status = 200 } = Effect.isEffect(given) ? yield* given : given
        return HttpClientResponse.fromWeb(request, responseOf(status, headers, body))
      })
    )
    return { client, sent: Ref.get(sent) }
  })

/** A response with any status, also one that `Response` refuses to construct. */
const responseOf = (status: number, headers: Record<string, string>, body: string | null): Response =>
  Object.defineProperty(new Response(body, { headers }), "status", { value: status })

/** The error of a request that could not be sent. */
export const transportError = (request: HttpClientRequest.HttpClientRequest, cause?: unknown) =>
  new HttpClientError.HttpClientError({ reason: new HttpClientError.TransportError({ request, cause }) })
