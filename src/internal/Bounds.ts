/**
 * The bounds of the protocol that no option changes. `docs/fleet.md` and `docs/protocol.md` give the same numbers, and a test
 * compares them.
 */

/** A request to a storage fails when it has no answer by then. */
export const REQUEST_DEADLINE_MILLIS = 1000

/** The longest a call waits for the load of its circuit, or for the lease of a probe. */
export const CALL_PATIENCE_MILLIS = 100

/** The longest a failure is kept back so that one report can carry several. */
export const FAILURE_DELAY_MILLIS = 50

/** The most circuits in one request, because a storage may serve one request at a time and others wait for it. */
export const CIRCUITS_PER_REQUEST = 100

/** After so many failed requests in a row the storage counts as unreachable. */
export const FAILURES_UNTIL_UNREACHABLE = 2
