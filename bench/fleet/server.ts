export interface Server {
  readonly url: string
  readonly stop: () => Promise<void>
}

/** The server that a variable of the environment names, or one of the benchmark's own, which it names from then on. */
export const given = async (
  variable: string,
  start: () => Promise<Server>,
  leave: () => Promise<void> = () => Promise.resolve()
): Promise<Server> => {
  const url = process.env[variable]
  if (url !== undefined && url !== "") return { url, stop: leave }
  const server = await start()
  process.env[variable] = server.url
  return server
}
