/** The origin of a request. */
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Option from "effect/Option"

/** Scheme and authority of a URL, where they are all of it that says the origin: without credentials. */
const START = /^https?:\/\/[^/?#@\\]+/

/** The origins of the starts that were met lately, because parsing a URL costs more than the rest of a guarded request. */
const origins = new Map<string, string>()
const MOST_ORIGINS = 1000

/** Scheme, host and port; `null` for a URL that is invalid or has none, such as `data:`, whose origin is "null". */
export const originOf = (request: HttpClientRequest.HttpClientRequest): string | null => {
  const start = START.exec(request.url)?.[0]
  const known = start === undefined ? undefined : origins.get(start)
  if (known !== undefined) return known
  const url = HttpClientRequest.toUrl(request)
  if (Option.isNone(url) || url.value.origin === "null") return null
  const { origin } = url.value
  if (start !== undefined) {
    if (origins.size >= MOST_ORIGINS) origins.clear()
    origins.set(start, origin)
  }
  return origin
}
