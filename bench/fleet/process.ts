/** The processes of contenders, which live as long as a measurement. */
import { Child } from "../../test/support/children.ts"
import type { Replies, Requests } from "./worker.ts"

/** A contender's name in its module, and the environment in which it finds its server. */
export interface Start {
  readonly name: string
  readonly env?: Readonly<Record<string, string>>
}

export type Contender = Child<Requests, Replies>

export type WithContenders<C> = <A>(
  starts: ReadonlyArray<Start>,
  use: (contenders: ReadonlyArray<C>) => Promise<A>
) => Promise<A>

/** Starts contenders of a module that exports `load`, and `answers` to the requests that only its benchmark makes. */
export const contendersIn = <Q extends Requests, P extends Replies & { readonly [_ in keyof Q]: unknown }>(
  module: URL
): WithContenders<Child<Q, P>> =>
async (starts, use) => {
  const contenders: Array<Child<Q, P>> = []
  try {
    for (const { env, name } of starts) {
      contenders.push(await Child.start(name, new URL("./worker.ts", import.meta.url), [module.href, name], env))
    }
    return await use(contenders)
  } finally {
    await Promise.all(contenders.map((contender) => contender.stop()))
  }
}
