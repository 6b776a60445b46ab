/** Processes of contenders, for as long as something is measured with them. */
import { Child } from "../../test/support/children.ts"
import type { Replies, Requests } from "./worker.ts"

export type Contender = Child<Requests, Replies>

export const withContenders = async <A>(
  starts: ReadonlyArray<readonly [name: string, url: string]>,
  use: (contenders: ReadonlyArray<Contender>) => Promise<A>
): Promise<A> => {
  const contenders: Array<Contender> = []
  try {
    for (const [name, url] of starts) {
      contenders.push(await Child.start(name, new URL("./worker.ts", import.meta.url), [name, url]))
    }
    return await use(contenders)
  } finally {
    await Promise.all(contenders.map((contender) => contender.stop()))
  }
}
