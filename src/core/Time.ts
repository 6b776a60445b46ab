/**
 * Two clocks, two types. A time by one clock where the other's is expected does not compile; a plain number, as arithmetic
 * gives it, fits both. Durations are plain numbers, their unit last in the name.
 *
 * A time crosses from one clock to the other as a duration: the time that remains, or that has elapsed.
 */

/** Milliseconds by this process's monotonic clock. */
export type LocalMillis = number & { readonly clock?: "local" }

/** Milliseconds by the storage's clock. */
export type StorageMillis = number & { readonly clock?: "storage" }
