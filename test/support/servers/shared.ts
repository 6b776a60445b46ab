import { inject } from "vitest"

/** The addresses of one server of each kind. */
export interface ServerUrls {
  readonly redis: string
  readonly postgres: string
  readonly mysql: string
}

declare module "vitest" {
  interface ProvidedContext {
    readonly servers: ReadonlyArray<ServerUrls>
  }
}

/** The address of this worker's own server. No other file uses that server at the same time. */
export const serverUrl = (kind: keyof ServerUrls): string => {
  const worker = Number(process.env.VITEST_POOL_ID)
  const urls = inject("servers")[worker - 1]
  if (urls === undefined) throw new Error(`no servers were started for worker ${worker}`)
  return urls[kind]
}
