/**
 * Circuits that this library keeps for itself: the record that a health check writes and reads, the phase of a migration. They
 * are stored as any other, and told of in no list.
 */
export const RESERVED = "__effect_breaker/"

export const isReserved = (circuit: string): boolean => circuit.startsWith(RESERVED)
