/** The type of what `layerTest` is told, apart from what it does, so that the public types name no more than this. */
/**
 * The behaviour of a circuit of `layerTest`, for all of a test. `Err` is the errors of the breaker.
 *
 * - `Closed`, the default: it makes every call. `Open`: it rejects every call. `HalfOpen`: it makes every call as a probe.
 * - `fails`: no call is made, and each fails with this error, or with one of this tag that has the policy's numbers.
 *   `BreakerOpenError` in state `HalfOpen` says that no probe is free; `BulkheadFullError` that no place is.
 *
 * @category models
 * @since 0.1.0
 */
export interface TestState<out Err> {
  readonly state?: "Closed" | "Open" | "HalfOpen" | undefined
  readonly fails?: Err | TagOf<Err> | undefined
}

type TagOf<Err> = Err extends { readonly _tag: infer Tag } ? Tag : never
