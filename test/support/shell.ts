/** Runs commands of the command line one after another in one process, and answers with what each printed and its exit code. */
import { Effect } from "effect"
import { run } from "../../src/cli/Cli.ts"

export interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface Requests {
  readonly run: ReadonlyArray<string>
}

export interface Replies {
  readonly run: Ended
}

/** Keeps what is written to a stream, in place of writing it. */
const capture = (stream: NodeJS.WriteStream) => {
  let text = ""
  stream.write = (chunk: string | Uint8Array, ...rest: ReadonlyArray<unknown>) => {
    text += typeof chunk === "string" ? chunk : Buffer.from(chunk).toString()
    const written = rest.findLast((argument) => typeof argument === "function")
    if (written !== undefined) process.nextTick(written)
    return true
  }
  return () => {
    const taken = text
    text = ""
    return taken
  }
}

const [stdout, stderr] = [capture(process.stdout), capture(process.stderr)]

process.on("message", ([, argv]: ["run", ReadonlyArray<string>]) => {
  void Effect.runPromiseExit(run({ argv })).then((exit) => {
    process.send!({ code: exit._tag === "Success" ? exit.value : 130, stdout: stdout(), stderr: stderr() })
  })
})
process.on("disconnect", () => process.exit(0))
process.send!("ready")
