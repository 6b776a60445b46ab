/**
 * One call through two breakers: what the shadow, the one that does not decide, is asked and told.
 *
 * **Invariants**
 *
 * - The shadow is asked once, after the decider has decided, and told once, after the decider was told.
 * - Nothing here is waited for. What can be done at once is done before the call goes on, and the rest in fibers of its own.
 * - The shadow's permit is given back however the call ends, because its scope is closed when the shadow is told.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { hasProperty } from "effect/Predicate"
import * as Scope from "effect/Scope"
import * as Tracer from "effect/Tracer"
import { BreakerTimeoutError } from "../../BreakerError.ts"
import type { Permit } from "../../Guard.ts"
import type { AnyClassify } from "../../internal/Call.ts"
import { backgroundSleep, monotonicNow } from "../../internal/Clock.ts"
import { judgedBy, settleAs } from "../../internal/Judge.ts"
import { unhandled } from "../../internal/Log.ts"
import { messages } from "../../internal/Messages.ts"
import { isTimeoutOf } from "../../internal/OwnTimeout.ts"
import { withoutStack } from "../../internal/WithoutStack.ts"
import * as Outcome from "../../Outcome.ts"
import type { Agreement } from "./Agreement.ts"
import { type Mismatch, otherSide, type Side, type Sides } from "./CompareModel.ts"

type AnyExit = Exit.Exit<unknown, unknown>

/** How a call ended. */
export interface Ending {
  readonly exit: AnyExit
  /** The decider's judgement; `undefined` where it does not tell. */
  readonly judged: Judgement | undefined
  /** The outcome that the shadow is told; `undefined` where it judges by itself. */
  readonly given: Effect.Effect<Outcome.Outcome | undefined>
  /** Whether the decider's timeout ended the call. */
  readonly isCut: boolean
}

interface Judgement {
  readonly outcome: Outcome.Outcome
  readonly reason: string | undefined
}

interface Word {
  readonly says: "run" | "rejected"
  readonly reason: string | undefined
}

const RUN: Word = { says: "run", reason: undefined }

export class ComparedCall {
  readonly #sides: Sides
  readonly #agreement: Agreement
  readonly #decides: Side
  readonly #scope = Scope.makeUnsafe()
  /** The shadow's permit, or `undefined` where it gave none. */
  #asked: Fiber.Fiber<Permit | undefined> | undefined
  #timer: Fiber.Fiber<unknown> | undefined
  #startedAt = 0
  #hasTimedOut = false

  constructor(sides: Sides, agreement: Agreement, decides: Side) {
    this.#sides = sides
    this.#agreement = agreement
    this.#decides = decides
  }

  get #shadow() {
    return this.#sides[otherSide(this.#decides)]
  }

  /** The decider runs the call. */
  readonly runs: Effect.Effect<void> = Effect.suspend(() => this.#ask(RUN))

  /** The call did not run, with this cause. */
  rejected(cause: Cause.Cause<unknown>): Effect.Effect<void> {
    const error = cause.reasons.find(Cause.isFailReason)
    // A call that was given up, or a decider that broke, has said nothing.
    if (error === undefined) return Effect.void
    const word: Word = { says: "rejected", reason: messageOf(error.error) }
    const { mayI } = this.#shadow as { readonly mayI?: (() => boolean | undefined) | undefined }
    if (mayI === undefined) {
      const ending = { exit: Exit.void, judged: undefined, given: Effect.succeed(Outcome.ignored), isCut: false }
      return Effect.andThen(this.#ask(word), this.#tell(ending))
    }
    return inBackground(Effect.suspend(() => {
      const mayRun = mayI()
      return mayRun === undefined ? Effect.void : this.#decided(word, mayRun ? RUN : { ...RUN, says: "rejected" })
    }))
  }

  /** The call that the decider ran has ended. */
  ended(ending: Ending): Effect.Effect<void> {
    return this.#tell(ending)
  }

  #ask(word: Word): Effect.Effect<void> {
    // A call through both has in its context what either needs.
    const permit = this.#shadow.permit as Effect.Effect<Permit, unknown, Scope.Scope>
    const answer = Effect.flatMap(
      Effect.exit(Scope.provide(permit, this.#scope)),
      (exit) => this.#answered(word, exit)
    )
    // A permit that was taken must be known when the call ends.
    return Effect.uninterruptible(Effect.gen({ self: this }, function*() {
      this.#startedAt = yield* monotonicNow
      this.#asked = yield* started(answer)
    }))
  }

  #answered(word: Word, exit: Exit.Exit<Permit, unknown>): Effect.Effect<Permit | undefined> {
    if (Exit.isSuccess(exit)) {
      const permit = exit.value
      const timed = word.says === "run" && permit.timeout !== undefined
        ? this.#startTimer(permit, permit.timeout)
        : Effect.void
      return Effect.as(Effect.andThen(timed, this.#decided(word, RUN)), permit)
    }
    const error = exit.cause.reasons.find(Cause.isFailReason)
    // A shadow that broke has said nothing.
    if (error === undefined) return Effect.as(unhandled(messages.shadowFailed, exit.cause), undefined)
    return Effect.as(this.#decided(word, { says: "rejected", reason: messageOf(error.error) }), undefined)
  }

  /** Ends the call for the shadow when its own timeout would have. */
  #startTimer(permit: Permit, timeout: Duration.Duration): Effect.Effect<void> {
    const end = Effect.andThen(backgroundSleep(timeout), this.#timeOut(permit, timeout))
    return Effect.map(started(end), (fiber) => {
      this.#timer = fiber
    })
  }

  #timeOut(permit: Permit, timeout: Duration.Duration): Effect.Effect<unknown> {
    return Effect.suspend(() => {
      this.#hasTimedOut = true
      return permit.settleExit(Exit.fail(timeoutOf(permit, timeout)))
    })
  }

  #tell(ending: Ending): Effect.Effect<void> {
    return inBackground(Effect.suspend(() => {
      if (this.#asked === undefined) return Effect.void
      return Effect.flatMap(
        Fiber.join(this.#asked),
        (permit) => permit === undefined ? Effect.void : this.#settle(permit, ending)
      ).pipe(Effect.ensuring(Scope.close(this.#scope, Exit.void)))
    }))
  }

  #settle(permit: Permit, { exit, given, isCut, judged }: Ending): Effect.Effect<void> {
    return Effect.gen({ self: this }, function*() {
      this.#timer?.interruptUnsafe()
      const { timeout } = permit
      // Both timeouts may be over at the same time, and the decider's ends the call first.
      if (isCut && !this.#hasTimedOut && timeout !== undefined) {
        const now = yield* monotonicNow
        if (now - this.#startedAt >= Duration.toMillis(timeout)) yield* this.#timeOut(permit, timeout)
      }
      if (this.#hasTimedOut) {
        const reason = timeout && timeoutOf(permit, timeout).message
        return yield* this.#judged(judged, { outcome: Outcome.failure(), reason })
      }
      const outcome = isCut ? Outcome.ignored : (yield* given) ?? (yield* judgedBy(this.#shadow, exit))
      yield* settleAs(permit, exit, outcome)
      // Of a call that was cut it cannot tell.
      if (!isCut && outcome !== undefined) yield* this.#judged(judged, { outcome, reason: undefined })
    })
  }

  #decided(decider: Word, shadow: Word): Effect.Effect<void> {
    this.#agreement.compared()
    return decider.says === shadow.says
      ? Effect.void
      : this.#mismatch("Decided", [decider.says, shadow.says], [decider.reason, shadow.reason])
  }

  #judged(decider: Judgement | undefined, shadow: Judgement): Effect.Effect<void> {
    return decider === undefined || decider.outcome._tag === shadow.outcome._tag
      ? Effect.void
      : this.#mismatch("Outcome", [decider.outcome._tag, shadow.outcome._tag], [decider.reason, shadow.reason])
  }

  #mismatch(
    _tag: Mismatch["_tag"],
    words: readonly [Mismatch[Side], Mismatch[Side]],
    reasons: readonly [string | undefined, string | undefined]
  ): Effect.Effect<void> {
    const decides = this.#decides
    const bySide = <A>([decider, shadow]: readonly [A, A]): Readonly<Record<Side, A>> =>
      decides === "old" ? { old: decider, new: shadow } : { old: shadow, new: decider }
    const { circuit } = this.#sides.new
    const mismatch = this.#agreement.mismatch({ _tag, circuit, decides, ...bySide(words), reasons: bySide(reasons) })
    // Whoever is told may take its time. The shadow is told meanwhile.
    return Effect.asVoid(started(mismatch))
  }
}

/** The judgement of a circuit whose own timeout ended a call; `undefined` where it did not. */
export const timedOutBy = (circuit: string, exit: AnyExit): Judgement | undefined => {
  const error = Exit.isFailure(exit) ? exit.cause.reasons.find(Cause.isFailReason)?.error : undefined
  return isTimeoutOf(error, circuit) ? { outcome: Outcome.failure(), reason: messageOf(error) } : undefined
}

/** The outcome of an exit by the call's own `classify`. The call's context has the services that it needs. */
export const classifiedBy = (classify: AnyClassify, exit: AnyExit): Effect.Effect<Outcome.Outcome> =>
  Effect.suspend(() => {
    const outcome = classify(exit)
    return Effect.isEffect(outcome) ? outcome as Effect.Effect<Outcome.Outcome> : Effect.succeed(outcome)
  })

const timeoutOf = ({ circuit }: Permit, timeout: Duration.Duration) =>
  withoutStack(() => new BreakerTimeoutError({ circuit, timeout }))

/** The most characters of a reason. An error's message may come from anywhere. */
const LONGEST_REASON = 200

const messageOf = (error: unknown): string | undefined => {
  try {
    const message = hasProperty(error, "message") ? error.message : undefined
    return typeof message === "string" ? message.slice(0, LONGEST_REASON) : undefined
  } catch {
    return undefined
  }
}

/** Starts a fiber at once, without the span of the call, because what happens to the shadow does not happen to the call. */
const started = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<Fiber.Fiber<A, E>> =>
  Effect.forkDetach(
    Effect.updateContext(effect, (context: Context.Context<never>) => Context.omit(Tracer.ParentSpan)(context)),
    { startImmediately: true }
  )

/** Does at once what can be done at once, and the rest beside the call. A shadow that breaks is reported. */
const inBackground = (effect: Effect.Effect<void>): Effect.Effect<void> =>
  Effect.asVoid(started(Effect.catchCause(effect, (cause) => unhandled(messages.shadowFailed, cause))))
