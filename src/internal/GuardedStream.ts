/** A stream under a permit. It settles when the stream ends, fails, times out or is given up, whichever comes first. */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Pull from "effect/Pull"
import * as Stream from "effect/Stream"
import { BreakerTimeoutError } from "../BreakerError.ts"
import type { StreamSettles } from "../Guard.ts"
import { success } from "../Outcome.ts"
import { type AnyClassify, enforcementOf } from "./Call.ts"
import { durationIn, refuse, YEAR_MILLIS } from "./Check.ts"
import { type Find, takeIn, type TakenPermit } from "./TakenPermit.ts"
import { spanOf } from "./Tracing.ts"
import { withoutStack } from "./WithoutStack.ts"

export interface StreamOptions {
  readonly classify?: AnyClassify | undefined
  readonly idleTimeout?: Duration.Input | undefined
  readonly settles?: StreamSettles | undefined
}

/** Throws a `RangeError` for options out of range. */
export const checkStreamOptions = ({ idleTimeout }: StreamOptions): void => {
  if (idleTimeout === undefined) return
  refuse("wrapStreamWith", durationIn("idleTimeout", idleTimeout, 1, YEAR_MILLIS))
}

/** Runs a stream through the circuit that `find` chooses when it is started. Throws a `RangeError` for options out of range. */
export const guardedStream = <A, E, R>(
  self: Stream.Stream<A, E, R>,
  find: Find,
  options: StreamOptions
): Stream.Stream<A, any, R> => {
  checkStreamOptions(options)
  return Stream.unwrap(Effect.withFiber((fiber) => {
    const enforcement = enforcementOf(fiber)
    const circuit = enforcement === "bypass" ? undefined : find(fiber)
    if (circuit === undefined) return Effect.succeed(self)
    const guarded = Effect.flatMap(Effect.scope, (scope) =>
      Effect.map(
        takeIn(scope, circuit, enforcement === "metricsOnly"),
        (permit): Stream.Stream<A, any, R> => underPermit(self, permit, options)
      ))
    return circuit.shared.tracing === "spans"
      ? Effect.succeed(Stream.withSpan(Stream.unwrap(guarded), ...spanOf(circuit)) as Stream.Stream<A, any, R>)
      : guarded
  }))
}

/** Runs a stream under a permit that is settled when it ends, and that its scope gives back where it does not. */
export const underPermit = <A, E, R>(
  self: Stream.Stream<A, E, R>,
  permit: Pick<TakenPermit, "circuit" | "hasLapsed" | "settle" | "settleBy" | "timeout">,
  { classify, idleTimeout, settles = "end" }: StreamOptions
): Stream.Stream<A, E | BreakerTimeoutError, R> =>
  Stream.transformPull(self, (pull) => {
    let isFirst = true
    const idle = idleTimeout === undefined ? undefined : Duration.fromInputUnsafe(idleTimeout)
    return Effect.succeed(Effect.suspend(() =>
      Effect.onExit(within(pull, isFirst ? permit.timeout : idle, permit.circuit), (exit) => {
        if (Exit.isSuccess(exit)) {
          const settlesNow = isFirst && settles === "first"
          isFirst = false
          // A stream may have no end. A probe that delivers when its place is free for another has shown enough.
          return settlesNow || permit.hasLapsed ? permit.settle(success) : Effect.void
        }
        if (Pull.isDoneCause(exit.cause)) return permit.settleBy(classify, Exit.void)
        // The consumer has given up. The scope gives the permit back, as `Ignored`.
        return Cause.hasInterruptsOnly(exit.cause) ? Effect.void : permit.settleBy(classify, exit)
      })
    ))
  })

/** Waits for the next elements no longer than `limit`. The time between two pulls is the consumer's. */
const within = <A, E, R>(
  pull: Effect.Effect<A, E, R>,
  limit: Duration.Duration | undefined,
  circuit: string
): Effect.Effect<A, E | BreakerTimeoutError, R> =>
  limit === undefined
    ? pull
    : Effect.timeoutOrElse(pull, {
      duration: limit,
      orElse: () => Effect.fail(withoutStack(() => new BreakerTimeoutError({ circuit, timeout: limit })))
    })
