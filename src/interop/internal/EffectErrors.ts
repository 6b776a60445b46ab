/** The errors of Effect's breaker. They have no stack, because it would be that of the fiber runtime, at ten times the cost. */
import * as Duration from "effect/Duration"
import * as CircuitBreaker from "effect/persistence/CircuitBreaker"
import { failure } from "../../internal/StorageErrors.ts"
import { withoutStack } from "../../internal/WithoutStack.ts"
import type { StorageError } from "../../Storage/Storage.ts"

const errorOf = (reason: () => CircuitBreaker.CircuitBreakerErrorReason): CircuitBreaker.CircuitBreakerError =>
  withoutStack(() => new CircuitBreaker.CircuitBreakerError({ reason: reason() }))

/** `remaining` is zero where nobody knows it. */
export const openError = (key: string, remaining: Duration.Input = Duration.zero): CircuitBreaker.CircuitBreakerError =>
  errorOf(() => new CircuitBreaker.CircuitOpen({ key, retryAfter: Duration.fromInputUnsafe(remaining) }))

export const halfOpenError = (key: string): CircuitBreaker.CircuitBreakerError =>
  errorOf(() => new CircuitBreaker.CircuitHalfOpen({ key }))

/** Its cause has none of its own: Effect's error is encoded with all its causes, and a driver's may hold hosts and passwords. */
export const storeError = ({ circuit, message, operation, reason }: StorageError): CircuitBreaker.CircuitBreakerError =>
  errorOf(() =>
    new CircuitBreaker.CircuitBreakerStoreError({
      message,
      cause: failure({ operation, circuit }, reason, undefined)
    })
  )
