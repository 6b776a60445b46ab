/** Checks what operators say, before anything is sent: the same on every storage, and without one. */
import { durationIn, fieldsIn, isObject, lineIn, oneOf, type Problem, YEAR_MILLIS } from "./Check.ts"

const MODES = ["ForcedOpen", "Disabled", "MetricsOnly"]
const LONGEST_REASON = 1000
const LONGEST_ACTOR = 200

/** Who acts. */
export const actorProblems = (actor: unknown): ReadonlyArray<Problem> => lineIn("actor", actor, LONGEST_ACTOR)

/** The problems of an override's options; empty for good ones. */
export const overrideProblems = (options: {
  readonly mode: unknown
  readonly reason: unknown
  readonly actor: unknown
  readonly expiresIn?: unknown
}): ReadonlyArray<Problem> => {
  const unknown = fieldsIn("", options, ["mode", "reason", "actor", "expiresIn"])
  return isObject(options)
    ? [
      ...unknown,
      ...oneOf("mode", options.mode, MODES),
      ...lineIn("reason", options.reason, LONGEST_REASON),
      ...actorProblems(options.actor),
      ...(options.expiresIn === undefined ? [] : durationIn("expiresIn", options.expiresIn as never, 1, YEAR_MILLIS))
    ]
    : unknown
}

/** The problems of the options that clear an override; empty for good ones. */
export const clearProblems = (options: { readonly actor: unknown }): ReadonlyArray<Problem> => {
  const unknown = fieldsIn("", options, ["actor"])
  return isObject(options) ? [...unknown, ...actorProblems(options.actor)] : unknown
}

/** The problems of the options of an act whose reason may be left out; empty for good ones. */
export const actProblems = (
  options: { readonly actor: unknown; readonly reason?: unknown }
): ReadonlyArray<Problem> => {
  const unknown = fieldsIn("", options, ["actor", "reason"])
  return isObject(options)
    ? [
      ...unknown,
      ...actorProblems(options.actor),
      ...(options.reason === undefined ? [] : lineIn("reason", options.reason, LONGEST_REASON))
    ]
    : unknown
}
