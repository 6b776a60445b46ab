/**
 * A page that shows the circuits of a storage as they are now: what is not closed, why, on what evidence and until when; what changed last
 * and who changed it; how the storage is; and every circuit with its rates and its history.
 *
 * **Details**
 *
 * `layer` adds the page and its routes to any `HttpRouter`. The page is one file that asks no other origin for anything, under a
 * `Content-Security-Policy` that would not let it. It follows the circuits by server-sent events. All its viewers together cost the
 * storage what one costs, and nothing is read while nobody looks.
 *
 * The page is read-only unless a token is configured. With one it can set and clear overrides, probe and reset, each with an actor and a
 * reason that the storage's history keeps. Tokens are sent in the header `Authorization` and are in no cookie and no URL, so that no other
 * site can use them.
 *
 * | route                                  | answers                                                            |
 * | -------------------------------------- | ------------------------------------------------------------------ |
 * | `GET /circuits`                        | the page                                                           |
 * | `GET /circuits/api/session`            | the title, and what the token allows                               |
 * | `GET /circuits/api/circuits`           | all circuits, as `effect-breaker ls --json` prints them            |
 * | `GET /circuits/api/circuits/:circuit`  | one circuit; 404 if it has no record                               |
 * | `GET …/:circuit/history`               | its latest 50 changes                                              |
 * | `GET /circuits/api/events`             | server-sent events, each an update                                 |
 * | `POST …/:circuit/override`             | sets an override, from `{ mode, reason, actor, forMillis }`        |
 * | `POST …/:circuit/clear`                | clears it, from `{ actor, reason }`; so do `half-open` and `reset` |
 *
 * **Gotchas**
 *
 * - Reading is open to whoever reaches the route, unless `readToken` is set. Names, reasons and actors of circuits are internal.
 * - Serve it over TLS where a token is used, because a bearer token is readable on the wire.
 * - "Rejected by this instance alone" and "policies that differ" are about the process that serves the page.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { changeOf, circuitOf } from "../cli/internal/Output.ts"
import type { Output } from "../cli/Output.ts"
import { countIn, durationIn, refuse } from "../internal/Check.ts"
import * as Operator from "../Operator.ts"
import type { Storage, StorageError } from "../Storage/Storage.ts"
import { errorText } from "./internal/Board.ts"
import type { Session } from "./internal/Feed.ts"
import { makeFeed } from "./internal/Feeding.ts"
import { page, policy } from "./internal/page.ts"
import { isSameToken } from "./internal/Tokens.ts"

/**
 * Who asks, and what they may do. `null` is nobody: the request is answered with 401. The actor goes into the history of what they do.
 *
 * @category models
 * @since 0.1.0
 */
export type Authorize<R = never> = (
  request: HttpServerRequest.HttpServerRequest
) => Effect.Effect<{ readonly actor: string; readonly may: "read" | "act" } | null, never, R>

/**
 * Where the dashboard is served, who may read it and act, and what it shows.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** Where the page is. Default `/circuits`. */
  readonly path?: HttpRouter.PathInput | undefined
  /** Default `Circuits`. */
  readonly title?: string | undefined
  /** Allows its bearer to act. Without it nobody may. */
  readonly token?: Redacted.Redacted | undefined
  /** Without it, whoever reaches the route may read. `token` allows reading, too. */
  readonly readToken?: Redacted.Redacted | undefined
  /**
   * How often all circuits are read for all viewers together, from 100 ms to an hour. Default 1 second where the storage does not push
   * changes, else 10 seconds; changes that are pushed are shown at once.
   */
  readonly refreshEvery?: Duration.Input | undefined
  /** The most circuits that a page is sent, those that are not closed first. Default 10,000. */
  readonly limit?: number | undefined
}

interface Access {
  readonly may: "read" | "act"
  /** Present where the server knows who asks. */
  readonly actor?: string | undefined
}

interface Rules<R> {
  readonly authorize: (request: HttpServerRequest.HttpServerRequest) => Effect.Effect<Access | null, never, R>
  /** Whether readers need a token. The page itself is then served to everybody, because it holds no data, and asks for the token. */
  readonly takesToken: boolean
}

const bearerOf = ({ headers }: HttpServerRequest.HttpServerRequest): string | undefined =>
  /^bearer +(.+)$/i.exec(headers["authorization"] ?? "")?.[1]

/** A wrong token is refused also where reading needs none, because whoever shows one means to use it. */
const byTokens = ({ readToken, token }: Options): Rules<never> => ({
  takesToken: token !== undefined || readToken !== undefined,
  authorize: (request) =>
    Effect.sync(() => {
      const given = bearerOf(request)
      if (given === undefined) return readToken === undefined ? { may: "read" } : null
      if (token !== undefined && isSameToken(given, Redacted.value(token))) return { may: "act" }
      return readToken !== undefined && isSameToken(given, Redacted.value(readToken)) ? { may: "read" } : null
    })
})

const problem = (status: number, title: string, detail: string, headers: Record<string, string> = {}) =>
  HttpServerResponse.jsonUnsafe({ type: "about:blank", title, status, detail }, {
    status,
    contentType: "application/problem+json",
    headers: { ...API_HEADERS, ...headers }
  })

const API_HEADERS = { "cache-control": "no-store", "x-content-type-options": "nosniff" }

const PAGE_HEADERS = {
  ...API_HEADERS,
  "content-security-policy": policy,
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "referrer-policy": "no-referrer",
  "x-frame-options": "DENY"
}

const ofStorage = ({ cause, circuit, operation, reason }: StorageError) =>
  reason === "Denied"
    ? problem(404, "Refused", String(cause))
    : problem(503, "The storage did not answer", `${operation} of ${circuit ?? "the circuits"}: ${reason}`)

const Body = Schema.Struct({
  actor: Schema.optional(Schema.String),
  reason: Schema.optional(Schema.String),
  mode: Schema.optional(Schema.Literals(["forced_open", "disabled", "metrics_only"])),
  forMillis: Schema.optional(Schema.Finite)
})

const MODES = { forced_open: "ForcedOpen", disabled: "Disabled", metrics_only: "MetricsOnly" } as const

const acted = ({ after, before, done }: Operator.Acted, now: number): Output.Acted => ({
  done,
  before: circuitOf(before, now),
  after: circuitOf(after, now)
})

/** Does what was asked. Input that makes no sense is a `RangeError`, by which the operator names the field, the value and the range. */
const act = (
  operator: Operator.Operator,
  circuit: string,
  name: string,
  { actor = "", forMillis, mode = "forced_open", reason }: typeof Body.Type
): Effect.Effect<Operator.Acted, StorageError> | undefined => {
  const given = { actor, ...reason === undefined || reason === "" ? {} : { reason } }
  switch (name) {
    case "override":
      return operator.override(circuit, {
        mode: MODES[mode],
        actor,
        reason: reason ?? "",
        expiresIn: forMillis === undefined ? undefined : Duration.millis(forMillis)
      })
    case "clear":
      return operator.clearOverride(circuit, given)
    case "half-open":
      return operator.halfOpen(circuit, given)
    case "reset":
      return operator.reset(circuit, given)
  }
}

const isFromElsewhere = ({ headers }: HttpServerRequest.HttpServerRequest): boolean => {
  const site = headers["sec-fetch-site"]
  return site !== undefined && site !== "same-origin" && site !== "none"
}

type Handler = (
  access: Access,
  request: HttpServerRequest.HttpServerRequest
) => Effect.Effect<HttpServerResponse.HttpServerResponse, StorageError>

const json = (body: unknown) => HttpServerResponse.jsonUnsafe(body, { headers: API_HEADERS })

const notFound = (what: string) => Effect.succeed(problem(404, "Not found", what))

/**
 * The segments of the path after `/api/circuits`, decoded: a circuit, and what is asked of it. They are no parameters of the route,
 * because a router refuses those of more than 100 characters.
 */
const askedIn = ({ url }: HttpServerRequest.HttpServerRequest): ReadonlyArray<string> => {
  const [, rest = ""] = /.*\/api\/circuits\/?([^?]*)/.exec(url) ?? []
  return rest === "" ? [] : rest.split("/").map((segment) => {
    try {
      return decodeURIComponent(segment)
    } catch {
      return segment
    }
  })
}

/** Runs an act for a request that may act. */
const posting = (operator: Operator.Operator): Handler => (access, request) =>
  Effect.gen(function*() {
    if (isFromElsewhere(request)) return problem(403, "Forbidden", "another site sent this request")
    if (access.may !== "act") {
      return problem(403, "Forbidden", "only the bearer of the token may act: enter it on the page")
    }
    const [circuit = "", name = "", ...more] = askedIn(request)
    if (more.length > 0) return yield* notFound("there is nothing at this path")
    const body = yield* Effect.exit(HttpServerRequest.schemaBodyJson(Body))
    if (body._tag === "Failure") return problem(400, "Bad request", "the body is not what this act takes, as JSON")
    const given = { ...body.value, actor: access.actor ?? body.value.actor }
    const acting = yield* Effect.try({
      try: () => act(operator, circuit, name, given),
      catch: (error) => error instanceof RangeError ? problem(400, "Bad request", error.message) : undefined
    }).pipe(Effect.catch((answer) => answer === undefined ? Effect.die("unexpected") : Effect.succeed(answer)))
    if (acting === undefined) return yield* notFound(`there is no act ${name}`)
    return HttpServerResponse.isHttpServerResponse(acting)
      ? acting
      : json(acted(yield* acting, yield* Clock.currentTimeMillis))
  }).pipe(
    Effect.provideService(HttpServerRequest.HttpServerRequest, request)
  )

const MOST_CHANGES = 50

const listing = (operator: Operator.Operator) =>
  Effect.gen(function*() {
    const now = yield* Clock.currentTimeMillis
    const circuits: Array<Output.Circuit> = []
    const unreadable: Array<Output.Unreadable> = []
    yield* Stream.runForEach(operator.list(), ({ circuit, result }) =>
      Effect.sync(() => {
        if (Result.isSuccess(result)) circuits.push(circuitOf({ circuit, snapshot: result.success }, now))
        else unreadable.push({ circuit, error: errorText(result.failure) })
      }))
    return json(
      { backend: operator.backend, at: new Date(now).toISOString(), circuits, unreadable } satisfies Output.Ls
    )
  })

/** Answers a request for all circuits, for one, or for its history. */
const reading = (operator: Operator.Operator, [circuit, what, ...more]: ReadonlyArray<string>) => {
  if (circuit === undefined) return listing(operator)
  if (what === undefined) {
    return Effect.gen(function*() {
      const found = yield* operator.get(circuit)
      return Option.isNone(found)
        ? yield* notFound("this circuit has no record")
        : json(circuitOf(found.value, yield* Clock.currentTimeMillis))
    })
  }
  if (what !== "history" || more.length > 0) return notFound("there is nothing at this path")
  return Effect.map(
    operator.history(circuit, { limit: MOST_CHANGES }),
    (entries) => json({ circuit, changes: entries.map((entry) => changeOf(circuit, entry)) } satisfies Output.History)
  )
}

const routes = <R>(options: Options, rules: Rules<R>) => {
  const { limit = 10_000, path = "/circuits", refreshEvery, title = "Circuits" } = options
  refuse("Dashboard", [
    ...refreshEvery === undefined ? [] : durationIn("refreshEvery", refreshEvery, 100, 3_600_000),
    ...countIn("limit", limit, 1, 1_000_000)
  ])
  return HttpRouter.use((router) =>
    Effect.gen(function*() {
      const operator = yield* Operator.make()
      const events = yield* makeFeed(operator, { limit, refreshEvery })
      const context = yield* Effect.context<R>()
      const session = ({ actor = null, may }: { may: Access["may"]; actor?: string | null | undefined }): Session => ({
        title,
        may,
        actor,
        takesToken: rules.takesToken
      })
      const guarded = (handler: Handler) => (request: HttpServerRequest.HttpServerRequest) =>
        Effect.gen(function*() {
          const authorized: Effect.Effect<Access | null> = Effect.provideContext(rules.authorize(request), context)
          const access = yield* authorized
          if (access === null) {
            const needs = rules.takesToken ? "a token that is right" : "somebody whom the application knows"
            return problem(401, "Unauthorized", `this needs ${needs}`, { "www-authenticate": "Bearer" })
          }
          return yield* handler(access, request).pipe(Effect.catch((error) => Effect.succeed(ofStorage(error))))
        })
      const get = (at: string, handler: Handler) =>
        router.add("GET", `${path}/api${at}` as HttpRouter.PathInput, guarded(handler))

      const html = HttpServerResponse.html(page).pipe(HttpServerResponse.setHeaders(PAGE_HEADERS))
      yield* router.add("GET", path, rules.takesToken ? html : guarded(() => Effect.succeed(html)))
      yield* get("/session", (access) => Effect.succeed(json(session(access))))
      yield* get("/events", () =>
        Effect.succeed(HttpServerResponse.stream(events, {
          contentType: "text/event-stream",
          headers: { ...API_HEADERS, "x-accel-buffering": "no" }
        })))
      yield* get("/circuits/*", (_, request) => reading(operator, askedIn(request)))
      yield* router.add("POST", `${path}/api/circuits/*` as HttpRouter.PathInput, guarded(posting(operator)))
    })
  )
}

/**
 * The page and its routes, with tokens for those who may act or read. Throws a `RangeError` for an option out of its range.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options = {}): Layer.Layer<never, never, HttpRouter.HttpRouter | Storage> =>
  routes(options, byTokens(options))

/**
 * `layer` with options from config: by default the tokens are `CIRCUIT_BREAKER_DASHBOARD_TOKEN` and
 * `CIRCUIT_BREAKER_DASHBOARD_READ_TOKEN`, both optional.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  options: Config.Wrap<Options> = {}
): Layer.Layer<never, Config.ConfigError, HttpRouter.HttpRouter | Storage> =>
  Layer.unwrap(Effect.gen(function*() {
    const tokens = yield* fromEnvironment
    const { readToken = tokens.readToken, token = tokens.token, ...rest } = yield* Config.unwrap(options)
    return layer({ ...rest, token, readToken })
  }))

const fromEnvironment = Config.all({
  token: Config.withDefault(Config.Redacted("CIRCUIT_BREAKER_DASHBOARD_TOKEN"), undefined),
  readToken: Config.withDefault(Config.Redacted("CIRCUIT_BREAKER_DASHBOARD_READ_TOKEN"), undefined)
})

/**
 * `layer` with an authorization of the application's own in place of tokens. Whom it does not know gets no page, either.
 *
 * **Gotchas**
 *
 * Requests of the page carry no token then. With cookies, acts are still refused where a browser says that another site sent them.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerWith = <R = never>(
  options: Omit<Options, "token" | "readToken"> & { readonly authorize: Authorize<R> }
): Layer.Layer<never, never, HttpRouter.HttpRouter | Storage | Exclude<R, Scope.Scope>> =>
  routes(options, { authorize: options.authorize, takesToken: false })
