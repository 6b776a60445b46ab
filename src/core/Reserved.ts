/**
 * Names of circuits that this library keeps for itself: the record of a health check, the phase of a migration. They
 * are stored like any other circuit, but no list shows them.
 */
export const RESERVED_PREFIX = "__effect_breaker/"

export const isReserved = (circuit: string): boolean => circuit.startsWith(RESERVED_PREFIX)
