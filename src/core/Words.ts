/** The words for states and overrides in fields and columns that people read: of Redis and of SQL databases. */

export const stateWord = { Closed: "closed", Open: "open", HalfOpen: "half_open" } as const

export const overrideWord = { ForcedOpen: "forced_open", Disabled: "disabled", MetricsOnly: "metrics_only" } as const
