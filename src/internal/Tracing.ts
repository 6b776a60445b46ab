/**
 * Annotations on the span of the caller: a rejection, a timeout, a probe, and a transition that the call makes. A call that a closed
 * circuit admits, and that ends in time, runs none of this code.
 *
 * The caller's span is that of the fiber that runs the call. Fibers in the background have none, so what the fleet decides later is
 * on no span.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import { TracerTimingEnabled } from "effect/References"
import type { AnySpan, Span, SpanOptions } from "effect/Tracer"
import type { BreakerOpenError, BulkheadFullError } from "../BreakerError.ts"
import type { State } from "../core/State.ts"

export type Mode = "annotate" | "spans" | "off"

export const Tracing: Context.Reference<Mode> = Context.Reference<Mode>("effect-breaker/Tracing", {
  defaultValue: () => "annotate"
})

/** The fields of a circuit that are told. */
interface Told {
  readonly name: string
  readonly current: Pick<State, "_tag" | "reason">
  readonly shared: { readonly tracing: Mode; readonly name: string }
}

type Caller = Fiber.Fiber<unknown, unknown>
type StateName = State["_tag"] | "ForcedOpen"

const names = { Closed: "closed", Open: "open", HalfOpen: "half_open", ForcedOpen: "forced_open" } as const

// -----------------------------------------------------------------------------
// a span for each call
// -----------------------------------------------------------------------------

/** The name has no key in it, because keys may be many. */
const spanName = ({ shared }: Told): string => `circuit_breaker ${shared.name}`

/** The name and options of the span of a call. */
export const spanOf = (circuit: Told): readonly [name: string, options: SpanOptions] => [
  spanName(circuit),
  { attributes: { "circuit_breaker.circuit": circuit.name }, captureStackTrace: false }
]

// -----------------------------------------------------------------------------
// the caller's span
// -----------------------------------------------------------------------------

/** As many events as OpenTelemetry keeps of one span. A worker may be rejected for as long as its span lasts. */
const MOST_EVENTS = 128

/** Effect's spans keep every event they get, in an array. Others have a limit of their own. */
const isFull = ({ events }: Span & { readonly events?: unknown }): boolean =>
  Array.isArray(events) && events.length >= MOST_EVENTS

const isTold = (span: AnySpan): span is Span =>
  span._tag === "Span" && span.sampled && span.status._tag !== "Ended" && !isFull(span)

/** Tells an event, and its attributes on the span itself: the caller's, and the one around the call where there is one. */
const tell = (
  circuit: Told,
  caller: Caller,
  event: string,
  onSpan: Readonly<Record<string, unknown>>,
  onEvent: Record<string, unknown>
): void => {
  const span = caller.cache.span!
  const isAround = circuit.shared.tracing === "spans" && span._tag === "Span" && span.name === spanName(circuit)
  const at = caller.getRef(TracerTimingEnabled) ? caller.getRef(Clock.Clock).currentTimeNanosUnsafe() : 0n
  for (const told of isAround ? [span, ...Option.toArray(span.parent)] : [span]) {
    if (!isTold(told)) continue
    for (const key in onSpan) told.attribute(key, onSpan[key])
    told.event(event, at, onEvent)
  }
}

/** Whether there is a span to tell of. */
const isTraced = (circuit: Told, caller: Caller | undefined): caller is Caller =>
  caller?.cache.span !== undefined && circuit.shared.tracing !== "off"

/** Tells how a call came out, where that is not as usual. */
const tellOutcome = (
  circuit: Told,
  caller: Caller,
  outcome: "rejected" | "timeout" | "probe",
  state: StateName,
  more: Readonly<Record<string, unknown>>
): void => {
  const attributes = {
    "circuit_breaker.circuit": circuit.name,
    "circuit_breaker.state": names[state],
    "circuit_breaker.outcome": outcome,
    ...more
  }
  tell(circuit, caller, `circuit_breaker.${outcome}`, attributes, attributes)
}

export const tellRejection = (
  circuit: Told,
  caller: Caller | undefined,
  rejection: Exit.Exit<never, BreakerOpenError | BulkheadFullError>
): void => {
  if (!isTraced(circuit, caller) || rejection._tag !== "Failure") return
  const reason = rejection.cause.reasons[0]
  if (reason?._tag !== "Fail") return
  const { error } = reason
  if (error._tag === "BulkheadFullError") {
    const full = `${error.maxConcurrent} concurrent calls are running`
    return tellOutcome(circuit, caller, "rejected", circuit.current._tag, { "circuit_breaker.reason": full })
  }
  const { retryAfter, state } = error
  const why = state === "Throttled" ? "a share of the calls is shed" : error.reason
  tellOutcome(circuit, caller, "rejected", state === "Throttled" ? "Closed" : state, {
    ...(why === undefined ? {} : { "circuit_breaker.reason": why }),
    ...(retryAfter === undefined ? {} : { "circuit_breaker.retry_after": Duration.toSeconds(retryAfter) })
  })
}

export const tellTimeout = (
  circuit: Told,
  caller: Caller | undefined = Fiber.getCurrent(),
  limitMillis?: number
): void => {
  if (!isTraced(circuit, caller)) return
  const reason = limitMillis === undefined ? "timeout" : `timeout after ${limitMillis} ms`
  tellOutcome(circuit, caller, "timeout", circuit.current._tag, { "circuit_breaker.reason": reason })
}

export const tellProbe = (circuit: Told, caller: Caller | undefined = Fiber.getCurrent()): void => {
  if (isTraced(circuit, caller)) tellOutcome(circuit, caller, "probe", circuit.current._tag, {})
}

/** Tells a transition that has been made. */
export const tellTransition = (
  circuit: Told,
  from: State["_tag"],
  caller: Caller | undefined = Fiber.getCurrent()
): void => {
  if (!isTraced(circuit, caller)) return
  const { _tag: to, reason } = circuit.current
  tell(circuit, caller, "circuit_breaker.transition", {}, {
    "circuit_breaker.circuit": circuit.name,
    from: names[from],
    to: names[to],
    ...(reason === undefined ? {} : { "circuit_breaker.reason": reason })
  })
}
