/**
 * @since 0.1.0
 */
export * as Breaker from "./Breaker.ts"
export * as Outcome from "./Outcome.ts"
export * as Storage from "./Storage.ts"
export * as Trip from "./Trip.ts"
