/** How a command ends when it does not succeed. */
import * as Data from "effect/Data"

export const exitCodes = {
  ok: 0,
  no: 1,
  usage: 2,
  storage: 3,
  refused: 4
} as const

export type ExitCode = typeof exitCodes[keyof typeof exitCodes]

/** The command ends with this code. Without a message it has said why already. */
export class CliFailure extends Data.TaggedError("CliFailure")<{
  readonly code: ExitCode
  readonly text?: string | undefined
}> {}

export const usage = (text: string): CliFailure => new CliFailure({ code: exitCodes.usage, text })

export const refused = (text: string): CliFailure => new CliFailure({ code: exitCodes.refused, text })

/** The answer to the question is no, and the output says why. */
export const no = new CliFailure({ code: exitCodes.no })
