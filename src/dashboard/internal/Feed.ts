/** The data that the dashboard's page receives, as JSON. */
import type { Output } from "../../cli/Output.ts"

/** The state that is shown: an operator's override goes before the state beneath it. */
export type Status = "forced_open" | "open" | "half_open" | "metrics_only" | "disabled" | "closed"

/** The storage, as the last read found it. `since` is when it began to be so. */
export interface StorageHealth {
  readonly backend: string
  readonly reachable: boolean
  readonly since: string
  /** How long its last answer took. */
  readonly latencyMillis: number | null
  readonly error: string | null
}

/** A circuit that this process sees differently from the fleet. */
export interface Here {
  readonly circuit: string
  /** Why this instance rejects calls on its own evidence. */
  readonly isolated: string | null
  /** The fingerprint of this process's policy and of the fleet's, where they differ. */
  readonly drift: { readonly here: string; readonly fleet: string } | null
}

/** A change of a circuit, and the override that was in force before it, as its history has them. */
export interface LastChange extends Output.Change {
  readonly overrideBefore: string | null
}

/**
 * An update. The first one has all circuits and `reset: true`, those that follow have what changed.
 *
 * - `total`: how many circuits there are; more than are sent beyond the dashboard's `limit`.
 * - `changes`: the last changes of all circuits, newest first; `null` where they are as they were.
 * - `unreadable`: circuits whose record cannot be read, with the reason.
 */
export interface Update {
  readonly at: string
  readonly reset: boolean
  readonly total: number
  readonly statuses: Readonly<Record<Status, number>>
  readonly circuits: ReadonlyArray<Output.Circuit>
  readonly removed: ReadonlyArray<string>
  readonly changes: ReadonlyArray<LastChange> | null
  readonly unreadable: ReadonlyArray<{ readonly circuit: string; readonly reason: string }>
  readonly here: ReadonlyArray<Here>
  readonly storage: StorageHealth
}

/** The settings that the page asks for when it starts: its title, and whether the reader may act. */
export interface Session {
  readonly title: string
  readonly may: "read" | "act"
  /** Whether a token would allow more. */
  readonly takesToken: boolean
  /** Who acts, where the server knows it and the page need not ask. */
  readonly actor: string | null
}

/** The acts that the page can ask for. */
export interface Act {
  readonly act: "override" | "clear" | "half-open" | "reset"
  readonly actor?: string | undefined
  readonly reason?: string | undefined
  readonly mode?: "forced_open" | "disabled" | "metrics_only" | undefined
  /** For how long an override holds; absent for one without an end. */
  readonly forMillis?: number | undefined
}
