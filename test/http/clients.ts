/**
 * A process with many HTTP clients. It opens as many requests as its second argument says to the URL of the first, and sends
 * "open" once all are written. It destroys them all at the message "leave".
 */
import { Agent, type ClientRequest, get } from "node:http"

const [url = "", count = "0"] = process.argv.slice(2)
const agent = new Agent({ maxSockets: Infinity })
const requests: Array<ClientRequest> = []
let written = 0

process.on("message", () => {
  for (const request of requests) request.destroy()
  process.disconnect()
})

for (let n = 0; n < Number(count); n++) {
  const request = get(url, { agent })
  request.on("error", () => {})
  request.on("finish", () => {
    if (++written === Number(count)) process.send!("open")
  })
  requests.push(request)
}
