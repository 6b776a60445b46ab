/**
 * The test kit: storages that fail, fleets in one process, and breakers in a state. It needs no test framework.
 *
 * @since 0.1.0
 */
export * as Drive from "./testing/Drive.ts"
export * as FaultyStorage from "./testing/FaultyStorage.ts"
export * as Simulation from "./testing/Simulation.ts"
