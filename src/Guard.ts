/**
 * The types of guards of calls, which a breaker in hand, its service class and an adapter of another breaker share.
 * Everything around a call, such as the HTTP client, takes these.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { BreakerOpenError, BreakerTimeoutError, BulkheadFullError } from "./BreakerError.ts"
import type { Outcome } from "./Outcome.ts"
import type { Classify } from "./Policy.ts"

/**
 * Runs an effect through a breaker. It has one signature and no options, so that `effect.pipe(X.wrap)` infers.
 *
 * @category models
 * @since 0.1.0
 */
export interface Wrap<out Err, out Ctx> {
  <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E | Err, R | Ctx>
}

/**
 * `Wrap` with options for one call: a `classify` in place of the policy's.
 *
 * @category models
 * @since 0.1.0
 */
export interface WrapWith<out Err, out Ctx> {
  <A, E, R2 = never>(
    options: { readonly classify?: Classify<A, E, R2> | undefined }
  ): <R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | Err, R | R2 | Ctx>
  <A, E, R, R2 = never>(
    self: Effect.Effect<A, E, R>,
    options: { readonly classify?: Classify<A, E, R2> | undefined }
  ): Effect.Effect<A, E | Err, R | R2 | Ctx>
}

/**
 * `WrapWith` for a keyed breaker. A key is a well-formed text of at least one character; any other is a defect of the call.
 *
 * @category models
 * @since 0.1.0
 */
export interface WrapKeyed<out Err, out Ctx> {
  // First, because a `classify` that ignores its exit gets its type from the first signature that is tried.
  <A, E, R2 = never>(
    options: { readonly key: string; readonly classify: Classify<A, E, R2> | undefined }
  ): <R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | Err, R | R2 | Ctx>
  (options: { readonly key: string; readonly classify?: undefined }): Wrap<Err, Ctx>
  <A, E, R, R2 = never>(
    self: Effect.Effect<A, E, R>,
    options: { readonly key: string; readonly classify?: Classify<A, E, R2> | undefined }
  ): Effect.Effect<A, E | Err, R | R2 | Ctx>
}

/**
 * Leave to make one call, for work that is not one Effect: a message that is acknowledged later, a socket, a driver's callback.
 *
 * It settles once, and the first settlement wins. Both functions succeed with whether this settlement was the one that was
 * recorded. A permit that nobody settled is given back as `Ignored` when its scope closes.
 *
 * **Gotchas**
 *
 * - Nothing is interrupted when the time of the policy's `timeout` is over, because there is nothing to interrupt. Its holder can
 *   keep to `timeout`, and settle by the exit of a `BreakerTimeoutError`.
 * - A probe's place is free for another probe after the policy's `halfOpen.lease`. Its outcome counts even then, as long as the
 *   circuit is in the same half-open round.
 *
 * @category models
 * @since 0.1.0
 */
export interface Permit {
  readonly circuit: string
  /** Whether it decides if a half-open circuit closes. */
  readonly probe: boolean
  /** How long a probe's place is still its own, computed when it is read; `undefined` where the permit is no probe's. */
  readonly remaining: Duration.Duration | undefined
  /** How long the policy lets a call take. */
  readonly timeout: Duration.Duration | undefined
  readonly settle: (outcome: Outcome) => Effect.Effect<boolean>
  /** Settles by the policy's `classify`, or by `Outcome.fromExit`. */
  readonly settleExit: (exit: Exit.Exit<unknown, unknown>) => Effect.Effect<boolean>
}

// `infer E` gives the unions below no alias, so that the compiler shows their members.

/**
 * The errors of taking a permit.
 *
 * @category models
 * @since 0.1.0
 */
export type PermitError<Err> = [Err] extends [infer E] ? E extends BreakerTimeoutError ? never : E : never

/**
 * The errors of waiting for a permit: all that are no rejections.
 *
 * @category models
 * @since 0.1.0
 */
export type AwaitError<Err> = [Err] extends [infer E]
  ? E extends BreakerOpenError | BreakerTimeoutError | BulkheadFullError ? never : E
  : never

/**
 * When the outcome of a stream is known. `end` (the default): when the stream ends. `first`: with its first element, for streams
 * that have no end of their own.
 *
 * @category models
 * @since 0.1.0
 */
export type StreamSettles = "end" | "first"

/**
 * Runs a stream through a breaker. Admission is decided when the stream is started, and it has one outcome however it ends: its
 * end is a success, a failure is classified, also in the middle, and a consumer that stops reading (`take`, interruption) is
 * `Ignored`.
 *
 * The policy's `timeout` bounds the wait for the first element. A stream that is retried is admitted anew.
 *
 * @category models
 * @since 0.1.0
 */
export interface WrapStream<out Err, out Ctx> {
  <A, E, R>(self: Stream.Stream<A, E, R>): Stream.Stream<A, E | Err, R | Ctx>
}

/**
 * `WrapStream` with options. `idleTimeout` is the longest wait for each element after the first, counted only while the consumer
 * waits, because a slow consumer is not the dependency's fault. It ends the stream with `BreakerTimeoutError` and counts as a
 * timeout. From a millisecond to a year; anything else is a `RangeError` at once. `classify` gets the exit of the stream.
 *
 * @category models
 * @since 0.1.0
 */
export interface WrapStreamWith<out Err, out Ctx> {
  // Those with `classify` first, as in `WrapKeyed`.
  <E, R2 = never>(
    options: {
      readonly idleTimeout: Duration.Input
      readonly settles?: StreamSettles | undefined
      readonly classify: Classify<void, E, R2>
    }
  ): <A, R>(self: Stream.Stream<A, E, R>) => Stream.Stream<A, E | Err | BreakerTimeoutError, R | R2 | Ctx>
  <E, R2 = never>(
    options: {
      readonly idleTimeout?: undefined
      readonly settles?: StreamSettles | undefined
      readonly classify: Classify<void, E, R2>
    }
  ): <A, R>(self: Stream.Stream<A, E, R>) => Stream.Stream<A, E | Err, R | R2 | Ctx>
  (
    options: {
      readonly idleTimeout: Duration.Input
      readonly settles?: StreamSettles | undefined
      readonly classify?: undefined
    }
  ): WrapStream<Err | BreakerTimeoutError, Ctx>
  (
    options: {
      readonly idleTimeout?: undefined
      readonly settles?: StreamSettles | undefined
      readonly classify?: undefined
    }
  ): WrapStream<Err, Ctx>
  <A, E, R, R2 = never>(
    self: Stream.Stream<A, E, R>,
    options: {
      readonly idleTimeout?: Duration.Input | undefined
      readonly settles?: StreamSettles | undefined
      readonly classify?: Classify<void, E, R2> | undefined
    }
  ): Stream.Stream<A, E | Err | BreakerTimeoutError, R | R2 | Ctx>
}

/**
 * `WrapStream` for a keyed breaker.
 *
 * @category models
 * @since 0.1.0
 */
export interface WrapStreamKeyed<out Err, out Ctx> {
  (options: { readonly key: string }): WrapStream<Err, Ctx>
  <A, E, R>(self: Stream.Stream<A, E, R>, options: { readonly key: string }): Stream.Stream<A, E | Err, R | Ctx>
}

/**
 * A guard of the calls of one circuit: a breaker, its class, or an adapter of another breaker. `Ctx` is the class where it is a
 * class, and `never` where it is a breaker in hand.
 *
 * @category models
 * @since 0.1.0
 */
export interface Guard<out Err, out Ctx> {
  readonly circuit: string
  readonly wrapWith: WrapWith<Err, Ctx>
  readonly permit: Effect.Effect<Permit, PermitError<Err>, Ctx | Scope.Scope>
}

/**
 * A guard of calls with a circuit for each key: a keyed breaker, its class, or an adapter of another one.
 *
 * @category models
 * @since 0.1.0
 */
export interface KeyedGuard<out Err, out Ctx> {
  readonly wrap: WrapKeyed<Err, Ctx>
  readonly permit: (options: { readonly key: string }) => Effect.Effect<Permit, PermitError<Err>, Ctx | Scope.Scope>
}
