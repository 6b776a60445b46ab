/** The upstream of the benchmark, in a process of its own. It sends its port, and ends when its parent does. */
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"

const body = JSON.stringify({ users: ["a", "b", "c"] })
const server = createServer((_request, response) => {
  response.writeHead(200, { "content-type": "application/json", "content-length": body.length })
  response.end(body)
})
server.listen(0, "127.0.0.1", () => process.send!((server.address() as AddressInfo).port))
process.on("disconnect", () => process.exit())
