/**
 * The documents that the command line prints with `--json`, and that the dashboard serves: one on stdout for each command, and
 * one a line for
 * `watch` and `record`. Durations are milliseconds, times are ISO 8601 in UTC. Fields are added, never taken away or changed in meaning.
 *
 * @since 0.1.0
 */

/**
 * @category models
 * @since 0.1.0
 */
export declare namespace Output {
  /** A circuit as its storage shows it. */
  interface Circuit {
    readonly circuit: string
    readonly state: "closed" | "open" | "half_open"
    readonly override: {
      readonly mode: "forced_open" | "disabled" | "metrics_only"
      readonly reason: string
      readonly actor: string
      /** `null` until it is cleared. */
      readonly remaining: number | null
    } | null
    readonly generation: number
    /** Until an open circuit takes a probe, or until the next place of a half-open one is free at the latest. */
    readonly remaining: number | null
    /** How long the state has lasted; `null` if it never changed. */
    readonly elapsed: number | null
    readonly why: string | null
    readonly actor: string | null
    readonly evidence: unknown
    /** Consecutive openings. */
    readonly openings: number
    /** The planned length of the last opening. */
    readonly open_for: number
    /** The rest of the longest `retryAfter`; 0 if there is none. */
    readonly retry_after: number
    readonly probes: { readonly running: number; readonly successes: number; readonly failures: number } | null
    readonly consecutive_failures: number
    /** The fingerprint of the policy that last changed the state. */
    readonly fingerprint: string | null
    readonly lifetime: Readonly<
      Record<"success" | "failure" | "ignored" | "timeout" | "slow" | "rejected" | "times_opened", number>
    >
    readonly last_success_at: string | null
    readonly last_failure_at: string | null
    readonly last_opened_at: string | null
  }
  /** A circuit that could not be read, and why. */
  interface Unreadable {
    readonly circuit: string
    readonly error: string
  }
  interface Change {
    readonly circuit: string
    readonly generation: number
    readonly at: string
    readonly from: Circuit["state"]
    readonly to: Circuit["state"]
    /** The override in force after the change. */
    readonly override: string | null
    readonly reason: string
    readonly actor: string | null
    readonly evidence: unknown
  }
  interface Ls {
    readonly backend: string
    readonly at: string
    readonly circuits: ReadonlyArray<Circuit>
    readonly unreadable: ReadonlyArray<Unreadable>
  }
  /** The part of `show` beyond the circuit. */
  interface Show extends Circuit {
    readonly backend: string
    readonly at: string
    /** The counts of the last seconds and minutes, of the spans that instances count. */
    readonly windows: ReadonlyArray<
      Record<"within" | "success" | "failure" | "slow" | "shed", number>
    >
    readonly changes: ReadonlyArray<Change>
    /** How many instances have reported within the idle time, or some more. `null` where none has. */
    readonly instances: number | null
    /** Whether the given policy is the one that last changed the state; `null` where none is given or none has. */
    readonly policy: { readonly fingerprint: string; readonly matches: boolean } | null
  }
  interface History {
    readonly circuit: string
    readonly changes: ReadonlyArray<Change>
  }
  interface Acted {
    readonly done: boolean
    readonly before: Circuit
    readonly after: Circuit
  }
  interface ConfigCheck {
    readonly file: string
    readonly problems: ReadonlyArray<
      {
        readonly source: string
        readonly line?: number | undefined
        readonly path: string
        readonly got: unknown
        readonly allowed: string
      }
    >
    /** The policy that each service of the file would have, with the source of each field. Durations in `policy` are milliseconds. */
    readonly services: ReadonlyArray<
      { readonly service: string; readonly policy: unknown; readonly from: Readonly<Record<string, string>> }
    >
  }
  interface Health {
    readonly backend: string
    readonly healthy: boolean
    readonly verified: boolean
    readonly latency: number
    readonly at: string
    readonly error: string | null
  }
}
