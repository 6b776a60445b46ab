/**
 * Two clocks, two types. A time by one clock where the other's is expected does not compile; a plain number, as arithmetic
 * gives it, fits both. Durations are plain numbers, their unit last in the name.
 *
 * What crosses from one to the other crosses as a duration: what remains, or what has elapsed.
 */

/** Milliseconds by this process's monotonic clock. */
export type LocalMillis = number & { readonly clock?: "local" }

/** Milliseconds by the storage's clock. */
export type StorageMillis = number & { readonly clock?: "storage" }
