/** Evidence in words, for the command line and the dashboard. */
/** Numbers of people's size: `1 failure`, `1,200 failures`. */
const plural = (count: number, word: string): string => `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0

const COUNTS = ["success", "failure", "slow", "shed"]

/** The counts of one window; `undefined` where they are in another form. */
const windowLine = (totals: unknown): string | undefined => {
  if (!isRecord(totals) || Object.keys(totals).some((name) => !COUNTS.includes(name))) return undefined
  const { failure, shed = 0, slow = 0, success } = totals
  if (!isCount(success) || !isCount(failure) || !isCount(slow) || !isCount(shed)) return undefined
  const failed = `${failure.toLocaleString("en")} of ${plural(success + failure, "call")} failed`
  return [
    failed,
    ...slow === 0 ? [] : [`${slow.toLocaleString("en")} slow`],
    ...shed === 0 ? [] : [`${shed.toLocaleString("en")} shed`]
  ].join(", ")
}

/** The line of what breakers write; `undefined` where it is in another form. */
const known = (evidence: Readonly<Record<string, unknown>>): string | undefined => {
  const { by, instance, streak = 0, totals = [], ...others } = evidence
  if (Object.keys(others).length > 0 || !isCount(streak) || !Array.isArray(totals)) return undefined
  const isOfInstance = by === "instance" && (instance === undefined || typeof instance === "string")
  if (!isOfInstance && !(by === "fleet" && instance === undefined)) return undefined
  const windows = totals.map(windowLine)
  if (windows.includes(undefined)) return undefined
  const counts = [...streak === 0 ? [] : [`${plural(streak, "failure")} in a row`], ...windows]
  const whose = by === "fleet"
    ? "the whole fleet"
    : instance === undefined
    ? "one instance"
    : `instance ${instance} alone`
  return counts.length === 0 ? whose : `${whose}: ${counts.join("; ")}`
}

/**
 * The evidence of a change as a line for people: `the whole fleet: 57 failures in a row; 61 of 122 calls failed`. Evidence in another
 * form, which a change of somebody's own may have, becomes a list of names and values. The line may hold any character, so escape it.
 */
export const evidenceLine = (evidence: unknown): string => {
  if (!isRecord(evidence)) return typeof evidence === "string" ? evidence : JSON.stringify(evidence) ?? ""
  return known(evidence) ??
    Object.entries(evidence)
      .map(([name, value]) => `${name} ${typeof value === "string" ? value : JSON.stringify(value)}`)
      .join(", ")
}
