/**
 * A request with its outcome at the end of the response's body.
 *
 * **Invariants**
 *
 * - A permit is settled once: by the head where that is no success or no body follows, else by the body, else by the head again
 *   once nobody has begun to read for `idle`.
 * - Its scope closes with its settlement.
 */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { DecodeError, HttpClientError, isHttpClientError, TransportError } from "effect/http/HttpClientError"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as HttpIncomingMessage from "effect/http/HttpIncomingMessage"
import * as Inspectable from "effect/Inspectable"
import { pipeArguments } from "effect/Pipeable"
import * as Pull from "effect/Pull"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { BreakerTimeoutError } from "../../BreakerError.ts"
import type { Permit } from "../../Guard.ts"
import { rejectionIn } from "../../internal/CarriedError.ts"
import { backgroundSleep } from "../../internal/Clock.ts"
import { unhandled } from "../../internal/Log.ts"
import { messages } from "../../internal/Messages.ts"
import { isTimeoutOf } from "../../internal/OwnTimeout.ts"
import { withoutStack } from "../../internal/WithoutStack.ts"
import * as Outcome from "../../Outcome.ts"
import type { Classify } from "../../Policy.ts"

type Response = HttpClientResponse.HttpClientResponse
type BodyError = HttpClientError

/** Holds a permit until it is settled. */
class Held {
  readonly permit: Permit
  readonly #scope: Scope.Closeable
  /** The body's reader has begun. */
  isRead = false

  constructor(permit: Permit, scope: Scope.Closeable) {
    this.permit = permit
    this.#scope = scope
  }

  settle(outcome: Outcome.Outcome): Effect.Effect<void> {
    return Effect.andThen(this.permit.settle(outcome), this.close)
  }

  settleExit(exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> {
    return Effect.andThen(this.permit.settleExit(exit), this.close)
  }

  get close(): Effect.Effect<void> {
    return Scope.close(this.#scope, Exit.void)
  }
}

/** Runs a request under a permit. Its response settles the permit when its body has been read. */
export const untilBodyEnds = <E, Err, R, Ctx, R2>(
  self: Effect.Effect<Response, E, R>,
  takePermit: Effect.Effect<Permit, Err, Ctx | Scope.Scope>,
  classify: Classify<Response, any, R2>,
  idle: Duration.Duration
): Effect.Effect<Response, E | Err | BreakerTimeoutError, R | R2 | Exclude<Ctx, Scope.Scope>> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const permit = yield* Effect.onError(
        restore(Scope.provide(takePermit, scope)),
        (cause) => Scope.close(scope, Exit.failCause(cause))
      )
      const held = new Held(permit, scope)
      const exit = yield* Effect.exit(restore(withinTimeout(self, permit)))
      if (isOwnTimeout(exit, permit)) {
        yield* held.settleExit(exit)
        return yield* exit
      }
      const classified = yield* Effect.exit(restore(classifiedBy(classify, exit)))
      const outcome = Exit.isSuccess(classified) ? classified.value : Outcome.ignored
      if (Exit.isFailure(classified) && !Cause.hasInterruptsOnly(classified.cause)) {
        yield* unhandled(messages.classifyFailed, classified.cause)
      }
      if (Exit.isFailure(exit) || outcome._tag !== "Success" || hasNoBody(exit.value)) {
        yield* held.settle(outcome)
        return yield* exit
      }
      yield* Effect.forkIn(
        Effect.andThen(backgroundSleep(idle), Effect.suspend(() => held.isRead ? Effect.void : held.settle(outcome))),
        scope
      )
      return new GuardedResponse(exit.value, held, idle)
    })
  )

const withinTimeout = <A, E, R>(
  self: Effect.Effect<A, E, R>,
  { circuit, timeout }: Permit
): Effect.Effect<A, E | BreakerTimeoutError, R> =>
  timeout === undefined
    ? self
    : Effect.timeoutOrElse(self, {
      duration: timeout,
      orElse: () => Effect.fail(withoutStack(() => new BreakerTimeoutError({ circuit, timeout })))
    })

const isOwnTimeout = (exit: Exit.Exit<unknown, unknown>, { circuit }: Permit): boolean =>
  Exit.isFailure(exit) &&
  exit.cause.reasons.some((reason) => Cause.isFailReason(reason) && isTimeoutOf(reason.error, circuit))

const classifiedBy = <R2>(
  classify: Classify<Response, any, R2>,
  exit: Exit.Exit<Response, unknown>
): Effect.Effect<Outcome.Outcome, never, R2> =>
  Effect.suspend(() => {
    const outcome = classify(exit)
    return Effect.isEffect(outcome) ? outcome : Effect.succeed(outcome)
  })

const hasNoBody = ({ headers, request, status }: Response): boolean =>
  request.method === "HEAD" || status === 101 || status === 204 || status === 304 || headers["content-length"] === "0"

const isEmpty = (error: unknown): boolean => isHttpClientError(error) && error.reason._tag === "EmptyBodyError"

/** A response whose body settles the permit of its request. */
class GuardedResponse extends Inspectable.Class implements Response {
  readonly [HttpClientResponse.TypeId] = HttpClientResponse.TypeId
  readonly [HttpIncomingMessage.TypeId] = HttpIncomingMessage.TypeId
  readonly #original: Response
  readonly #held: Held
  readonly #idle: Duration.Duration
  #bytes: Effect.Effect<Uint8Array<ArrayBuffer>, BodyError> | undefined = undefined

  constructor(original: Response, held: Held, idle: Duration.Duration) {
    super()
    this.#original = original
    this.#held = held
    this.#idle = idle
  }

  get request() {
    return this.#original.request
  }

  get url() {
    return this.#original.url
  }

  get status() {
    return this.#original.status
  }

  get headers() {
    return this.#original.headers
  }

  get cookies() {
    return this.#original.cookies
  }

  get remoteAddress() {
    return this.#original.remoteAddress
  }

  get upgrade() {
    return this.#original.upgrade
  }

  /** The body as it arrives. Its last element settles the permit, or its failure, or its reader that gives up. */
  get stream(): Stream.Stream<Uint8Array, BodyError> {
    return Stream.suspend(() => {
      this.#held.isRead = true
      const awaited = Stream.transformPull(this.#original.stream, (pull) =>
        Effect.succeed(Effect.onExit(
          Effect.timeoutOrElse(pull, { duration: this.#idle, orElse: () => Effect.fail(this.#idled()) }),
          (exit) => this.#settle(exit)
        )))
      return Stream.ensuring(awaited, this.#held.close)
    })
  }

  /** The end of a body is a failure that is done. One that its reader interrupts is left to the scope, and so `Ignored`. */
  #settle(exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> {
    if (Exit.isSuccess(exit) || Cause.hasInterruptsOnly(exit.cause)) return Effect.void
    const error = Cause.squash(exit.cause)
    if (Pull.isDoneCause(exit.cause) || isEmpty(error)) return this.#held.settle(Outcome.success)
    const rejection = rejectionIn(error)
    return rejection === undefined
      ? this.#held.settle(Outcome.failure())
      : this.#held.settleExit(Exit.fail(rejection))
  }

  #idled(): BodyError {
    const { circuit } = this.#held.permit
    const cause = withoutStack(() => new BreakerTimeoutError({ circuit, timeout: this.#idle }))
    const description = `no bytes of the body for ${Duration.toMillis(this.#idle)} ms`
    return new HttpClientError({ reason: new TransportError({ request: this.request, cause, description }) })
  }

  /** The whole body, read once. What is left of a body that somebody has begun to read would look like the whole. */
  get #body(): Effect.Effect<Uint8Array<ArrayBuffer>, BodyError> {
    const whole = Stream.runCollect(Stream.catchIf(this.stream, isEmpty, () => Stream.empty))
    return this.#bytes ??= Effect.runSync(Effect.cached(
      Effect.suspend(() => this.#held.isRead ? Effect.fail(this.#unusable()) : Effect.map(whole, concat))
    ))
  }

  #unusable(): BodyError {
    const description = "the body cannot be read any more, because somebody has begun to read it"
    return new HttpClientError({ reason: new DecodeError({ request: this.request, response: this, description }) })
  }

  /** Reads the body here, and has it decoded as the platform decodes any body. */
  #decoded<A>(decode: (response: Response) => Effect.Effect<A, BodyError>): Effect.Effect<A, BodyError> {
    return Effect.flatMap(this.#body, (bytes) => {
      const headers = { "content-type": this.headers["content-type"] ?? "" }
      return decode(HttpClientResponse.fromWeb(this.request, new Response(bytes, { headers })))
    })
  }

  get arrayBuffer() {
    return this.#decoded((response) => response.arrayBuffer)
  }

  get text() {
    return this.#decoded((response) => response.text)
  }

  get json() {
    return this.#decoded((response) => response.json)
  }

  get urlParamsBody() {
    return this.#decoded((response) => response.urlParamsBody)
  }

  get formData() {
    return this.#decoded((response) => response.formData)
  }

  toJSON(): unknown {
    return this.#original.toJSON()
  }

  pipe() {
    return pipeArguments(this, arguments)
  }
}

const concat = (chunks: ReadonlyArray<Uint8Array>): Uint8Array<ArrayBuffer> => {
  const bytes = new Uint8Array(chunks.reduce((total, { length }) => total + length, 0))
  let offset = 0
  for (const chunk of chunks) {
    bytes.set(chunk, offset)
    offset += chunk.length
  }
  return bytes
}
