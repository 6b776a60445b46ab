/**
 * Runs a scenario: a text file with commands and the trace they must print, in the manner of etcd-io/raft's testdata.
 *
 * A file opens with at least three comment lines (`# …`); the first is the test's title. Then come blocks, each ended
 * by an empty line: comments, commands, `----`, and the trace of those commands. `UPDATE=1` writes the trace that was
 * printed in place of the one that was expected; read every changed line against `docs/protocol.md` before you commit
 * it.
 *
 * Everything runs on the simulator of `test/sim`: virtual time, one scheduler, seeded random numbers. So a trace
 * follows from the commands alone.
 *
 * Setting up (first, once; more instances later with `start`):
 *
 *     fleet a b c [evidence=pooled|any] [trip=consecutive(5)|failures(3,1m)|rate(0.5,10s,20)|slow(0.5,10s,20,200ms)]
 *                 [openFor=10s] [maxOpenFor=1m] [probes=1] [successes=1] [sample=10,0.5] [lease=30s] [ramp=10s]
 *                 [throttle=2,1m,20] [timeout=2s] [consistency=local|strict|300ms] [onStorageError=fail]
 *                 [enforcement=metricsOnly] [syncEvery=1s] [pushes=yes] [bells=yes] [reports=quiet|everyInterval] [idle=1h]
 *                 [storages=primary,secondary] [keys=2 neverOpenMoreThan=0.5] [messages=byHand]
 *     start d [the policy's options, where they are not the fleet's]
 *
 * Events and commands (`[x5]` repeats, `every=` apart or at once; a duration is `50ms`, `1s`, `2m`, `1h`):
 *
 *     call a succeed|fail|ignore|die [x5] [every=100ms] [takes=3s] [hint=20s] [key=1]
 *     call a wait, end a succeed|fail|… a call that takes until it is told to end
 *     advance 1s
 *     cut a [from=primary] [refused]      no message passes; with `refused`, requests fail at once
 *     link a [latency=200ms] [lose=request|reply] [double]
 *     heal a                              ends all faults of the link
 *     pause a, resume a, crash a, stop a  `stop` sends the last reports, `crash` does not
 *     wipe                                the storage loses all records
 *     failover [5s]                       a replica takes over that is 5 s behind, or has all but the last change
 *     clock +3s                           steps the storage's clock
 *     override a forcedOpen|disabled|metricsOnly [by=ops] [for=1m] [reason=incident]
 *     clear a, reset a, halfOpen a        [by=ops]
 *     reconfigure a trip=consecutive(1)   options of the policy, on this instance alone
 *     rest                                heals everything, lets 12 s pass, and checks the fleet at rest
 *     show                                prints every instance and the record
 *
 * With `messages=byHand` nothing is random: `draw a 0.9` is what a machine draws from then on, of numbers from 0 to 1, and 0.5 before.
 * Messages take no time, and arrive when time passes. Before that, those under way are named by their
 * order, from 1 (exhaustive searches print such scenarios):
 *
 *     deliver 1, lose 1                   it arrives now, or never
 *     double 1                            it arrives now, and once more when it is delivered again
 *     hold 1                              it stays under way until it is delivered
 *
 * The trace has a line for each call that ended (or began, if it takes time), each request (`->`), each answer (`<-`),
 * each push (`<~`) and each transition, with the seconds since the beginning. A request without counts and its answer
 * share one line (`read`), which is left out if the last read was the same. Equal lines in a row become one, with their
 * number.
 */
import { Stage } from "./stage.ts"

export interface Block {
  /** The line number of its first line. */
  readonly line: number
  /** Comments and commands, as they stand in the file. */
  readonly input: ReadonlyArray<string>
  readonly expected: ReadonlyArray<string>
}

/** A file's opening comment and its blocks. */
export const parse = (
  text: string
): { readonly head: ReadonlyArray<string>; readonly blocks: ReadonlyArray<Block> } => {
  const lines = text.trimEnd().split("\n")
  const end = lines.indexOf("")
  const head = lines.slice(0, end)
  if (end < 3 || !head.every((line) => line.startsWith("# "))) {
    throw new Error("a scenario opens with at least three comment lines and an empty line")
  }
  const blocks: Array<Block> = []
  for (let at = end + 1; at < lines.length;) {
    const next = lines.indexOf("", at)
    const block = lines.slice(at, next === -1 ? undefined : next)
    const rule = block.indexOf("----")
    if (rule === -1) throw new Error(`line ${at + 1}: a block has no "----"`)
    blocks.push({ line: at + 1, input: block.slice(0, rule), expected: block.slice(rule + 1) })
    at += block.length + 1
  }
  return { head, blocks }
}

/** The text of a file in which every block has this trace. */
export const print = (text: string, traces: ReadonlyArray<ReadonlyArray<string>>): string => {
  const { blocks, head } = parse(text)
  const printed = blocks.map(({ input }, i) => [...input, "----", ...traces[i]!].join("\n"))
  return `${[head.join("\n"), ...printed].join("\n\n")}\n`
}

/** The trace that each block prints. */
export const run = (text: string): ReadonlyArray<ReadonlyArray<string>> => {
  const stage = new Stage()
  return parse(text).blocks.map(({ input, line }) => {
    for (const [i, command] of input.entries()) {
      if (command.startsWith("#")) continue
      try {
        stage.perform(command)
      } catch (error) {
        throw new Error(`line ${line + i}, ${command}: ${String(error)}`, { cause: error })
      }
    }
    return stage.take()
  })
}

/** Throws if a printed trace differs from the expected one. The error has the lines that differ. */
export const check = (file: string, text: string): void => {
  const traces = run(text)
  const found = parse(text).blocks.flatMap(({ expected, input, line }, i) => {
    const differs = difference(expected, traces[i]!)
    return differs === undefined ? [] : [`${file}:${line}\n${[...input, "----", ...differs].join("\n")}`]
  })
  if (found.length > 0) {
    throw new Error(
      `${found.join("\n\n")}\n\n- expected, + printed. If what is printed is right, UPDATE=1 writes it into the file.`
    )
  }
}

/** The lines of both traces, with a mark on those of only one; `undefined` if the traces are equal. */
const difference = (
  expected: ReadonlyArray<string>,
  printed: ReadonlyArray<string>
): ReadonlyArray<string> | undefined => {
  // common[i][j]: the length of the longest common subsequence of `expected` from i and `printed` from j.
  const common = Array.from({ length: expected.length + 1 }, () => new Array<number>(printed.length + 1).fill(0))
  for (let i = expected.length - 1; i >= 0; i--) {
    for (let j = printed.length - 1; j >= 0; j--) {
      common[i]![j] = expected[i] === printed[j]
        ? common[i + 1]![j + 1]! + 1
        : Math.max(common[i + 1]![j]!, common[i]![j + 1]!)
    }
  }
  const lines: Array<string> = []
  let [i, j] = [0, 0]
  while (i < expected.length || j < printed.length) {
    if (i < expected.length && j < printed.length && expected[i] === printed[j]) {
      lines.push(`  ${expected[i++]}`)
      j++
    } else if (j === printed.length || (i < expected.length && common[i + 1]![j]! >= common[i]![j + 1]!)) {
      lines.push(`- ${expected[i++]}`)
    } else lines.push(`+ ${printed[j++]}`)
  }
  return lines.every((line) => line.startsWith(" ")) ? undefined : lines
}
