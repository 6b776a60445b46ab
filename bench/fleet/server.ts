export interface Server {
  readonly url: string
  readonly stop: () => Promise<void>
}

/** The server that an environment variable names. Without one, starts a server and sets the variable to it. */
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
