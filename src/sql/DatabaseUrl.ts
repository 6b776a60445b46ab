/**
 * Reads the URL of a database: one reader for Postgres, MySQL and MariaDB.
 *
 * It is no WHATWG URL, because those know no socket beside a user, and because passwords are often not percent-encoded.
 * A percent sign that encodes nothing stands for itself. Every parameter of the query is read or refused, so that none,
 * such as one that asks for TLS, is ignored.
 *
 * **Invariants**
 *
 * - No error quotes a user, a password or a whole URL. It names a parameter, and quotes its value where that says how to
 *   connect. No part of a password stands there, because a URL with an `@` after its host is refused first.
 */
import * as Config from "effect/Config"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"

/** Whether a URL asks for TLS. `preferred` allows plain text if the server knows no TLS. */
export type Tls = "off" | "preferred" | "on" | "identity" | "unverified"

export interface Address {
  readonly host?: string
  readonly port?: number
  /** The path of a Unix socket; in Postgres of its directory. */
  readonly socket?: string
  readonly username?: string
  readonly password?: string
  readonly database?: string
  readonly tls?: Tls
  readonly applicationName?: string
  /** Command line options of Postgres. */
  readonly startupOptions?: string
  readonly connectTimeoutMillis?: number
  readonly maxConnections?: number
  readonly pooler?: boolean
}

export type Driver = "postgres" | "mysql"

const forms: Readonly<Record<Driver, { readonly scheme: RegExp; readonly form: string }>> = {
  postgres: { scheme: /^postgres(ql)?:\/\//i, form: "postgres://user:password@host:port/database" },
  mysql: { scheme: /^(mysql|mariadb):\/\//i, form: "mysql://user:password@host:port/database" }
}

/** The driver that a URL is for, by its scheme. */
export const driverOf = (url: string): Driver | undefined =>
  forms.postgres.scheme.test(url) ? "postgres" : forms.mysql.scheme.test(url) ? "mysql" : undefined

const SUBJECT = "a database URL"

const wrong = (problem: string): RangeError => new RangeError(`${SUBJECT} ${problem}`)

/** A percent sign that encodes nothing is itself, because `a%c` may be somebody's password. */
const decoded = (text: string): string => {
  try {
    return decodeURIComponent(text)
  } catch {
    return text.replaceAll(/(?:%[0-9a-f]{2})+/gi, (encoded) => {
      try {
        return decodeURIComponent(encoded)
      } catch {
        return encoded
      }
    })
  }
}

const portOf = (text: string): number => {
  const port = Number(text)
  if (/^\d{1,5}$/.test(text) && port >= 1 && port <= 65_535) return port
  throw wrong("must have a port from 1 to 65535")
}

/** A host or an IPv6 address in brackets, with a port; or the encoded path of a socket. */
const hostOf = (text: string): Address => {
  if (text === "") return {}
  if (text.includes(",")) {
    throw wrong(
      "must name one host: give the one that takes writes, or a proxy that leads to it, because only one is connected to"
    )
  }
  const [, bracketed, plain, port] = /^(?:\[([0-9a-fA-F:.]+(?:%[^\]]*)?)\]|([^:[\]]*))(?::(.*))?$/.exec(text) ?? []
  const host = bracketed ?? (plain === undefined ? undefined : decoded(plain))
  if (host === undefined) throw wrong("must have a host, or an IPv6 address in brackets, and at most one port")
  return {
    ...host === "" ? {} : host.startsWith("/") ? { socket: host } : { host },
    ...port === undefined || port === "" ? {} : { port: portOf(port) }
  }
}

const tlsWords: ReadonlyMap<string, Tls> = new Map([
  ...["disable", "disabled", "false", "off", "no", "0"].map((word) => [word, "off"] as const),
  ...["allow", "prefer", "preferred"].map((word) => [word, "preferred"] as const),
  ...["require", "required", "true", "on", "yes", "1", "verify-ca", "verify_ca"].map((word) => [word, "on"] as const),
  ...["verify-full", "verify_identity", "verify-identity"].map((word) => [word, "identity"] as const),
  ["no-verify", "unverified"]
])

const flagOf = (name: string, value: string): boolean => {
  if (value === "true" || value === "1") return true
  if (value === "false" || value === "0") return false
  throw wrong(`must have the parameter ${name} as true or false`)
}

const countOf = (name: string, value: string): number => {
  if (/^\d{1,9}$/.test(value)) return Number(value)
  throw wrong(`must have the parameter ${name} as a whole number`)
}

type Read = (value: string, name: string) => Address

const readTls: Read = (value, name) => {
  const tls = tlsWords.get(value.toLowerCase())
  if (tls === undefined) {
    throw wrong(
      `has the parameter ${name}=${value.slice(0, 20)}, which is none of disable, prefer, require, verify-full`
    )
  }
  return { tls }
}

/** Words that ask for nothing beyond what happens anyway. */
const only = (...words: ReadonlyArray<string>): Read => (value, name) => {
  if (words.includes(value)) return {}
  throw wrong(`has the parameter ${name}=${value.slice(0, 20)}, which cannot be given; remove it, or set ${words[0]}`)
}

const socket: Read = (value) => ({ socket: value })

const shared: Readonly<Record<string, Read>> = {
  user: (username) => ({ username }),
  username: (username) => ({ username }),
  password: (password) => ({ password }),
  ssl: readTls,
  sslmode: readTls,
  connection_limit: (value, name) => ({ maxConnections: countOf(name, value) }),
  connectionlimit: (value, name) => ({ maxConnections: countOf(name, value) })
}

const parameters: Readonly<Record<Driver, Readonly<Record<string, Read>>>> = {
  postgres: {
    ...shared,
    host: (value) => value.startsWith("/") ? { socket: value } : hostOf(/^[^[].*:/.test(value) ? `[${value}]` : value),
    port: (value) => ({ port: portOf(value) }),
    dbname: (database) => ({ database }),
    application_name: (applicationName) => ({ applicationName }),
    options: (startupOptions) => ({ startupOptions }),
    // Zero is no limit there, and a connection that is never given up would hold its place in the pool.
    connect_timeout: (value, name) => {
      const seconds = countOf(name, value)
      return seconds === 0 ? {} : { connectTimeoutMillis: seconds * 1000 }
    },
    pgbouncer: (value, name) => ({ pooler: flagOf(name, value) }),
    channel_binding: only("disable", "prefer"),
    gssencmode: only("disable", "prefer"),
    target_session_attrs: only("any")
  },
  mysql: {
    ...shared,
    tls: readTls,
    "ssl-mode": readTls,
    ssl_mode: readTls,
    usessl: readTls,
    socket,
    socketpath: socket,
    connecttimeout: (value, name) => ({ connectTimeoutMillis: countOf(name, value) })
  }
}

const queryOf = (driver: Driver, query: string): Address => {
  let address: Address = {}
  for (const pair of query.split("&")) {
    if (pair === "") continue
    const at = pair.indexOf("=")
    const name = decoded(at < 0 ? pair : pair.slice(0, at))
    const read = parameters[driver][name.toLowerCase()]
    if (read === undefined) {
      throw wrong(
        `has the parameter "${name.slice(0, 40)}", which is not read: remove it, or use an option of the layer`
      )
    }
    const part = read(decoded(at < 0 ? "" : pair.slice(at + 1)), name)
    if (address.tls !== undefined && part.tls !== undefined && address.tls !== part.tls) {
      throw wrong("asks for TLS in two ways that differ")
    }
    address = { ...address, ...part }
  }
  return address
}

/** The parts of a URL. Throws a `RangeError` for a URL of another form, or with a parameter that is not read. */
export const readDatabaseUrl = (driver: Driver, url: string): Address => {
  const { form, scheme } = forms[driver]
  const prefix = scheme.exec(url)?.[0]
  if (prefix === undefined) throw wrong(`must be like ${form}`)
  const [, authority = "", path = "", query = ""] =
    /^([^/?]*)(?:\/([^?]*))?(?:\?(.*))?$/s.exec(url.slice(prefix.length)) ?? []
  if (`${path}${query}`.includes("@")) {
    throw wrong(
      "has an @ after its host: percent-encode /, ? and @ in the user and the password, as in %2F, %3F and %40"
    )
  }
  // The last @, because a password may have one.
  const at = authority.lastIndexOf("@")
  const [, user = "", password] = /^([^:]*)(?::(.*))?$/s.exec(at < 0 ? "" : authority.slice(0, at)) ?? []
  return {
    ...hostOf(authority.slice(at + 1)),
    ...user === "" ? {} : { username: decoded(user) },
    ...password === undefined || password === "" ? {} : { password: decoded(password) },
    ...path === "" ? {} : { database: decoded(path) },
    ...queryOf(driver, query)
  }
}

/** A variable with a URL that `readDatabaseUrl` accepts. */
export const urlFrom = (driver: Driver, name: string): Config.Config<Redacted.Redacted> =>
  Config.flatMap(Config.Redacted(name), (url) => {
    try {
      readDatabaseUrl(driver, Redacted.value(url))
      return Config.succeed(url)
    } catch (error) {
      const message = error instanceof Error ? error.message.replace(SUBJECT, name) : String(error)
      return Config.fail(new Schema.SchemaError(new SchemaIssue.InvalidValue({ message })))
    }
  })
