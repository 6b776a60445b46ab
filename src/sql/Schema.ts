/**
 * The tables, in four flavours of SQL. Text is compared byte by byte, times are UTC.
 *
 * The indexes, and what for: the primary keys, for all that is done to a circuit; `expires_at` and `heard_at`, by which what
 * is forgotten is found; `created_at` of the history, for what happened since a time and what is too old. The primary key of
 * the history is by circuit and time, which is the order in which it is read, and lets Postgres partition it by time.
 */

export type Flavour = "sqlite" | "postgres" | "mysql" | "mariadb"

/** What tables are called. */
export interface Tables {
  readonly states: string
  readonly counts: string
  readonly windows: string
  readonly instances: string
  readonly history: string
  readonly jobs: string
  readonly migrations: string
}

/** Names with a dot between schema and table, which Effect's SQL quotes each by itself. */
export const tablesOf = (prefix: string, schema: string | undefined): Tables => {
  const name = (table: string) => `${schema === undefined ? "" : `${schema}.`}${prefix}${table}`
  return {
    states: name("states"),
    counts: name("counts"),
    windows: name("windows"),
    instances: name("instances"),
    history: name("history"),
    jobs: name("jobs"),
    migrations: name("migrations")
  }
}

interface Types {
  /** A name, compared as it is: with its case, its accents and its trailing spaces. */
  readonly name: string
  readonly text: string
  readonly time: string
  readonly now: string
  readonly quote: string
  /** After the columns of a table that is updated often. */
  readonly updated: string
  readonly table: string
}

const mysql = (collation: string): Types => ({
  name: `varchar(255) CHARACTER SET utf8mb4 COLLATE ${collation}`,
  text: `mediumtext CHARACTER SET utf8mb4 COLLATE ${collation}`,
  time: "datetime(3)",
  now: "(UTC_TIMESTAMP(3))",
  quote: "`",
  updated: " ENGINE = InnoDB",
  table: " ENGINE = InnoDB"
})

const types: Readonly<Record<Flavour, Types>> = {
  sqlite: {
    name: "text",
    text: "text",
    time: "text",
    now: "(strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))",
    quote: "\"",
    updated: "",
    table: ""
  },
  postgres: {
    name: "varchar(255) COLLATE \"C\"",
    text: "text",
    time: "timestamptz",
    now: "clock_timestamp()",
    quote: "\"",
    // Room to write a row again on its page.
    updated: " WITH (fillfactor = 50)",
    table: ""
  },
  mysql: mysql("utf8mb4_0900_bin"),
  mariadb: mysql("utf8mb4_nopad_bin")
}

const STATES = "('closed', 'open', 'half_open')"

const quotedBy = (quote: string) => (names: string): string =>
  names.split(".").map((name) => `${quote}${name}${quote}`).join(".")

/** The statements that make the tables, each harmless where its table is there already. */
const statements = (flavour: Flavour, tables: Tables): ReadonlyArray<string> => {
  const { name, now, quote, table, text, time, updated } = types[flavour]
  const quoted = quotedBy(quote)
  const isMysql = flavour === "mysql" || flavour === "mariadb"
  /** An index of its own, or within the table: MySQL has no `IF NOT EXISTS` for one. */
  const indexed = (of: string, columns: string) => {
    const index = `${of.split(".").at(-1)}_${columns}`
    return isMysql
      ? { inside: `,\n  KEY ${quoted(index)} (${columns})`, after: [] }
      : { inside: "", after: [`CREATE INDEX IF NOT EXISTS ${quoted(index)} ON ${quoted(of)} (${columns})`] }
  }
  const create = (of: string, columns: string, index: string | undefined, options: string) => {
    const { after, inside } = index === undefined ? { after: [], inside: "" } : indexed(of, index)
    return [`CREATE TABLE IF NOT EXISTS ${quoted(of)} (\n  ${columns.trim()}${inside}\n)${options}`, ...after]
  }
  return [
    ...create(
      tables.states,
      `
  service_name ${name} NOT NULL PRIMARY KEY,
  full_name ${text},
  state varchar(9) NOT NULL DEFAULT 'closed' CHECK (state IN ${STATES}),
  override_kind varchar(12),
  generation bigint NOT NULL DEFAULT 0,
  consecutive_failures bigint NOT NULL DEFAULT 0,
  failure_count bigint NOT NULL DEFAULT 0,
  success_count bigint NOT NULL DEFAULT 0,
  timeout_count bigint NOT NULL DEFAULT 0,
  total_requests bigint NOT NULL DEFAULT 0,
  last_failure_time ${time},
  last_success_time ${time},
  opened_at ${time},
  open_until ${time},
  created_at ${time} NOT NULL DEFAULT ${now},
  updated_at ${time} NOT NULL DEFAULT ${now},
  expires_at ${time},
  document ${text}`,
      "expires_at",
      table
    ),
    ...create(
      tables.counts,
      `
  service_name ${name} NOT NULL,
  stripe smallint NOT NULL,
  delta ${text},
  PRIMARY KEY (service_name, stripe)`,
      undefined,
      updated
    ),
    ...create(
      tables.windows,
      `
  service_name ${name} NOT NULL,
  width integer NOT NULL,
  slot smallint NOT NULL,
  stripe smallint NOT NULL,
  bucket bigint NOT NULL,
  success_count bigint NOT NULL,
  failure_count bigint NOT NULL,
  slow_count bigint NOT NULL,
  PRIMARY KEY (service_name, width, slot, stripe)`,
      undefined,
      updated
    ),
    ...create(
      tables.instances,
      `
  service_name ${name} NOT NULL,
  instance ${name} NOT NULL,
  kind varchar(9) NOT NULL,
  sequence bigint NOT NULL,
  heard_at double precision NOT NULL,
  PRIMARY KEY (service_name, instance, kind)`,
      "heard_at",
      table
    ),
    ...create(
      tables.history,
      `
  service_name ${name} NOT NULL,
  generation bigint NOT NULL,
  state_change varchar(24) NOT NULL,
  old_state varchar(9) NOT NULL CHECK (old_state IN ${STATES}),
  new_state varchar(9) NOT NULL CHECK (new_state IN ${STATES}),
  consecutive_failures bigint NOT NULL,
  failure_count bigint NOT NULL,
  total_requests bigint NOT NULL,
  reason ${text} NOT NULL,
  actor ${text},
  created_at ${time} NOT NULL,
  entry ${text} NOT NULL,
  PRIMARY KEY (service_name, created_at, generation)`,
      "created_at",
      table
    ),
    ...create(
      tables.jobs,
      `
  job varchar(32) NOT NULL PRIMARY KEY,
  due_at bigint NOT NULL`,
      undefined,
      table
    )
  ]
}

/** The migrations in their order. One that was released never changes: what comes later is one more. */
export const migrations: ReadonlyArray<{
  readonly name: string
  readonly statements: (flavour: Flavour, tables: Tables) => ReadonlyArray<string>
}> = [{ name: "circuit_breaker_tables", statements }]

/** The statements that note all migrations as done, where the tables were made by hand: as Effect's `Migrator` does. */
export const noted = (flavour: Flavour, { migrations: table }: Tables): ReadonlyArray<string> => {
  const { quote } = types[flavour]
  const name = quotedBy(quote)(table)
  const time = flavour === "postgres"
    ? "timestamptz NOT NULL DEFAULT now()"
    : "timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP"
  return [
    `CREATE TABLE IF NOT EXISTS ${name} (
  migration_id integer NOT NULL PRIMARY KEY,
  created_at ${time},
  name varchar(255) NOT NULL
)`,
    ...migrations.map((migration, index) =>
      `INSERT INTO ${name} (migration_id, name) SELECT ${index + 1}, '${migration.name}'
WHERE NOT EXISTS (SELECT 1 FROM ${name} WHERE migration_id = ${index + 1})`
    )
  ]
}
