/** Reports on databases: windows and streaks that are kept in stripes, whoever writes between a reading and a writing. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Fiber, Layer, Result } from "effect"
import { SqlClient } from "effect/sql"
import { atOnce, circuitOf, failures, HOUR, MINUTE, reading, times } from "../../src/conformance/Law.ts"
import { totals } from "../../src/core/Buckets.ts"
import { aged, type Delta, noStreak, shedCalls } from "../../src/core/Delta.ts"
import { type CircuitRecord, snapshot } from "../../src/core/Record.ts"
import { report } from "../../src/core/Report.ts"
import { databaseOf } from "../../src/sql/Database.ts"
import { stripeFrom, stripeText, tokenOf } from "../../src/sql/Rows.ts"
import { tablesFor } from "../../src/sql/Settings.ts"
import { additionOf, emptied, enter, MOST_STRIPES, recordOf, type Stripe, stripeOf } from "../../src/sql/Stripes.ts"
import { bucketsOf, windowOf } from "../../src/sql/StripeWindow.ts"
import { writeUnlocked } from "../../src/sql/Write.ts"
import { eventually } from "../support/machine.ts"
import { RandomReports } from "../support/reports.ts"
import { build, type Database, databases, freshPrefix, postgres } from "./databases.ts"
import { statementsOf } from "./statements.ts"

const sqlOn = (database: Database) =>
  Effect.map(Layer.build(Layer.fresh(database.client())), Context.get(SqlClient.SqlClient))

describe.each(databases)("$name", (database) => {
  it.live(`random reports of many instances count as the pure record does: ${database.name}`, () =>
    Effect.gen(function*() {
      const prefix = freshPrefix()
      const storages = yield* Effect.forEach(times(2), () => build(database.client(), { prefix }))
      const reports = new RandomReports(12, 2)
      for (let step = 0; step < 250; step++) {
        const it = circuitOf(storages[reports.random(2)]!, "circuit")
        const report = reports.next()
        reports.answered(report, (yield* it.send(report)).snapshot.asOf)
        yield* reports.check(it, step)
      }
    }).pipe(Effect.scoped))

  it.live(`a report that is sent by several connections at once counts once: ${database.name}`, () =>
    Effect.gen(function*() {
      const prefix = freshPrefix()
      const storages = yield* Effect.forEach(times(6), () => build(database.client(), { prefix }))
      yield* circuitOf(storages[0]!, "circuit").report(failures(1), { instance: "other" })
      for (const sequence of times(10)) {
        const one = { ...reading("circuit", "a"), sequence: sequence + 1, delta: failures(2), withins: [MINUTE] }
        const answers = yield* atOnce(6, (index) => storages[index]!.sync([one]))
        for (const [{ result } = assert.fail()] of answers) {
          const { reported, snapshot } = Result.getOrThrow(result)
          assert.deepEqual([reported, snapshot.streak, snapshot.totals[0]!.failure], [
            "Counted",
            1 + 2 * (sequence + 1),
            1 + 2 * (sequence + 1)
          ])
        }
      }
    }).pipe(Effect.scoped))

  it.live(`no report of an older generation enters a window, whenever the change comes: ${database.name}`, () =>
    Effect.gen(function*() {
      const prefix = freshPrefix()
      const storages = yield* Effect.forEach(times(4), () => build(database.client(), { prefix }))
      const it = circuitOf(storages[0]!, "circuit")
      yield* it.report(failures(1))
      for (const round of times(8)) {
        const { generation, lifetime } = yield* it.read
        const reports = atOnce(12, (index) =>
          storages[index % 4]!.sync([{
            ...reading("circuit", `${index}`),
            sequence: round + 1,
            generation,
            delta: failures(1),
            withins: [MINUTE]
          }]))
        yield* Effect.all([reports, it.operate({ _tag: "Reset" })], { concurrency: "unbounded" })
        const after = yield* it.send({ withins: [MINUTE] })
        assert.isAbove(after.snapshot.generation, generation)
        assert.deepEqual(
          [
            after.snapshot.streak,
            after.snapshot.totals[0]!.failure,
            after.snapshot.lifetime.failure - lifetime.failure
          ],
          [0, 0, 12]
        )
      }
    }).pipe(Effect.scoped))
})

describe("the text of a stripe", () => {
  const NOW = 1_800_000_000_000

  it("a stripe counts as the pure record does while counts become too old", () => {
    const reports = new RandomReports(12, 2)
    let record: CircuitRecord | undefined
    let stripe = emptied(NOW)
    for (let second = 0; second < 600; second++) {
      const now = NOW + 1000 * second
      const sent = reports.next()
      const next = report(record, sent, now, HOUR).record
      if (next !== record) stripe = stripeFrom(stripeText(enter(new Map([[0, stripe]]), 0, sent, true, now), "id"))
      record = next
      const withins = [5000, MINUTE, 5 * MINUTE]
      assert.deepStrictEqual(
        snapshot(recordOf(undefined, new Map([[0, stripe]]), now, HOUR), withins, now, HOUR).totals,
        snapshot(record, withins, now, HOUR).totals
      )
    }
  })

  it("a report changes its beginning alone, and all of it in one second of fifteen, when old counts are removed", () => {
    let [stripe, text, whole] = [emptied(NOW), "", 0]
    for (let second = 0; second < 600; second++) {
      const counts = { success: second % 7, failure: 1, slow: 0 }
      const delta = { ...failures(1), buckets: [{ age: 0, ...counts }] }
      stripe = enter(new Map([[0, stripe]]), 0, { delta, withins: [MINUTE] }, true, NOW + 1000 * second)
      const newest = `"counts":[${counts.success},1,0`
      const next = stripeText(stripe, "id")
      if (second >= 60 && !text.endsWith(next.slice(next.indexOf(newest) + newest.length + 1))) whole++
      text = next
    }
    assert.isAtMost(whole, 540 / 15)
  })

  it("counts with the oldest first, as earlier versions have written them, are read", () => {
    const window = times(3).map((i) => ({
      width: 1000,
      index: 5 + 2 * i,
      success: i + 1,
      failure: i,
      slow: 0,
      shed: 1
    }))
    const text = stripeText({ ...emptied(NOW), window: windowOf(window) }, "id")
    const earlier = JSON.stringify({
      ...JSON.parse(text),
      window: [{
        width: 1000,
        first: 5,
        counts: [1, 0, 0, 0, 0, 0, 2, 1, 0, 0, 0, 0, 3, 2, 0],
        shed: [1, 0, 1, 0, 1]
      }]
    })
    assert.sameDeepMembers([...bucketsOf([stripeFrom(text).window])], window)
    assert.sameDeepMembers([...bucketsOf([stripeFrom(earlier).window])], window)
  })
})

/** A circuit with rows in tables of its own, in Postgres. */
const storedCircuit = Effect.gen(function*() {
  const prefix = freshPrefix()
  yield* circuitOf(yield* build(postgres.client(), { prefix }), "circuit").report(failures(1))
  const sql = yield* sqlOn(postgres)
  const database = databaseOf(sql, tablesFor({ prefix }), HOUR)
  return { sql, database, counts: sql(database.tables.counts) }
})

describe("in Postgres", () => {
  it.live("a report that the database adds counts as one that has seen all reports before it", () =>
    Effect.gen(function*() {
      const { counts, database, sql } = yield* storedCircuit
      const write = (delta: string) => sql`UPDATE ${counts} SET delta = ${delta} WHERE stripe = 0`
      const read = Effect.map(
        sql<{ readonly delta: string }>`SELECT delta FROM ${counts} WHERE stripe = 0`,
        ([row]) => row!.delta
      )
      const random = new RandomReports(12, 2)
      let [own, other, now, added] = [emptied(0), emptied(0), 1_800_000_000_000.123, 0]
      let seen = { own, other, now }
      for (const step of times(600)) {
        if (step % 150 === 0) own = { ...emptied(now), base: `${step}` }
        const sent = random.next()
        const { delta, withins } = random.random(4) > 0 ? { ...sent, withins: [MINUTE].slice(random.random(2)) } : sent
        const report = {
          delta: {
            ...delta,
            // Few of them with calls that were shed.
            buckets: delta.buckets.slice(0, random.random(2)).map(({ shed = 0, ...bucket }) => ({
              ...bucket,
              ...shedCalls(random.random(5) === 0 ? shed : 0)
            })),
            hint: [0, 0, 0, 5000][random.random(4)]!,
            lifetime: {
              ...delta.lifetime,
              lastSuccessAge: random.random(100) / 7,
              lastSuccessDuration: [undefined, 5, 1e-7, 1e21][random.random(4)]
            }
          },
          withins
        }
        const isCurrent = random.random(10) > 0
        const stripes = new Map([[0, seen.own], [1, seen.other]])
        const addition = additionOf(stripes, 0, report, isCurrent, seen.now)
        const stripe = enter(stripes, 0, report, isCurrent, seen.now)
        const text = stripeText(own, `${step}`.padStart(32, "0"))
        yield* write(text)
        const written = yield* writeUnlocked(
          database,
          {
            stripes: [{ key: "circuit", index: 0, stripe: () => stripe, addition }],
            seen: [{ key: "circuit", instance: "a", kind: "report", sequence: step + 100, at: now }]
          },
          () => "of another text",
          { adds: () => true, waits: true }
        )
        const found = yield* read
        if (written.length === 0) {
          assert.strictEqual(found, text)
          const [ones, ...others] = own.window
          const { index = Number.NaN, width } = addition?.bucket ?? {}
          const hasPlace = others.length === 0 && (ones === undefined || ones.width === width &&
              (index > ones.newest ? ones.shed === undefined : 3 * (ones.newest - index) < ones.counts.length))
          assert.isFalse(addition?.base === own.base && (addition?.bucket === undefined || hasPlace), `step ${step}`)
        } else {
          added++
          assert.deepStrictEqual([addition?.base, tokenOf(found) === tokenOf(text)], [own.base, false])
          // As of the later one of the report and the stripe. A report of failures that misses a success came before it.
          const later = Math.max(seen.now, own.asOf)
          const late = aged(report.delta, later - seen.now)
          const isBefore = !late.streak.sawSuccess && addition!.newest < own.since
          const expected = enter(
            new Map([[0, own], [1, seen.other], [2, { ...emptied(0), success: own.since }]]),
            0,
            { ...report, delta: isBefore ? { ...late, streak: noStreak } : late },
            isCurrent,
            later
          )
          const { window: _, ...rest } = stripeFrom(found)
          const { window: __, ...expectedRest } = stripeFrom(stripeText(expected, "id"))
          assert.deepStrictEqual(rest, expectedRest, `step ${step}`)
          const totals = (stripe: Stripe) =>
            snapshot(recordOf(undefined, new Map([[0, stripe]]), later, HOUR), [5000, MINUTE, 5 * MINUTE], later, HOUR)
              .totals
          assert.deepStrictEqual(totals(stripeFrom(found)), totals(expected), `step ${step}`)
        }
        // The next report has seen the stripe before this one, or with it. The other stripe goes on, too.
        const before = { own: stripeFrom(text), other, now }
        now += step % 20 === 0 ? 30_000 * random.random(4) : [0, 0.1, 700, 2000, -3000][random.random(5)]!
        own = written.length === 0
          ? enter(new Map([[0, before.own], [1, other]]), 0, report, isCurrent, now)
          : stripeFrom(found)
        if (random.random(2) === 0) other = enter(new Map([[0, own], [1, other]]), 1, random.next(), true, now)
        seen = random.random(2) === 0 ? before : { own, other, now }
      }
      assert.isAbove(added, 200)
    }).pipe(Effect.scoped))

  it.live("the database adds to no text that it would damage, and leaves it to a process", () =>
    Effect.gen(function*() {
      const { counts, database, sql } = yield* storedCircuit
      // So late that the number of the second takes more than 32 bits.
      const now = 2_300_000_000_000
      const delta = { ...failures(1), buckets: [{ age: 0, success: 2, failure: 1, slow: 0 }] }
      const former: Stripe = { ...enter(new Map(), 0, { delta, withins: [MINUTE] }, true, now - 3000), base: "base" }
      const text = stripeText(former, "0".repeat(32))
      const [ones] = former.window
      const replaced = (part: string | RegExp, by: string) => {
        const changed = text.replace(part, by)
        assert.notStrictEqual(changed, text)
        return changed
      }
      const most = Number.MAX_SAFE_INTEGER
      const texts = {
        "as this version writes it": text,
        "the oldest counts first": replaced("\"newest\"", "\"first\""),
        "the window first": replaced(/(,"asOf".*)(,"window".*)(,"base".*)/, "$2$1$3"),
        "the window before another field": replaced(/(,"since":\d+)(.*)(,"base")/, "$2$1$3"),
        "the window before the time": replaced(/(,"asOf":\d+)(.*)(,"base")/, "$2$1$3"),
        "no window": replaced(/,"window":.*(?=,"base")/, ""),
        "a field within the window": replaced(",\"counts\"", ",\"more\":[1],\"counts\""),
        "a field at the window's end": replaced("}],\"base\"", ",\"more\":[1]}],\"base\""),
        "a field after the calls that were shed": replaced("}],\"base\"", ",\"shed\":[1],\"more\":[1]}],\"base\""),
        "the width last": replaced(/("width":1000),(.*)(}],"base")/, "$2,$1$3"),
        "another window within the delta": replaced(",\"lifetime\"", ",\"window\":[],\"lifetime\""),
        "another base within the window": replaced(",\"counts\"", ",\"base\":1,\"counts\""),
        "two widths": replaced("}],\"base\"", `},${JSON.stringify({ ...ones, width: 10_000 })}],"base"`),
        "another width": replaced("\"width\":1000,\"newest\":", "\"width\":600000,\"newest\":1"),
        "a newest bucket in the far future": replaced(/"newest":\d+/, `"newest":${most}`),
        "no place": replaced(/"counts":\[[\d,]*\]/, "\"counts\":[]"),
        "most successes": replaced("\"counts\":[2,", `"counts":[${most},`),
        "most failures in a row": replaced("\"trailing\":1", `"trailing":${most}`),
        "a lifetime without a count": replaced(",\"rejected\":0", "")
      }
      const reports = [
        { delta, withins: [MINUTE], at: now },
        { delta, withins: [MINUTE], at: now - 3000 },
        { delta, withins: [], at: now },
        {
          delta: { ...delta, buckets: [{ age: 0, success: -3, failure: 1, slow: 0 }] },
          withins: [MINUTE],
          at: now - 3000
        },
        { delta: { ...delta, streak: { ...noStreak, sawSuccess: true } }, withins: [], at: now }
      ]
      for (const [name, stored] of Object.entries(texts)) {
        for (const [index, { at, ...report }] of reports.entries()) {
          const addition = additionOf(new Map([[0, former]]), 0, report, true, at)
          assert.isDefined(addition)
          yield* sql`UPDATE ${counts} SET delta = ${stored} WHERE stripe = 0`
          yield* sql`DELETE FROM ${sql(database.tables.instances)}`
          const written = yield* writeUnlocked(
            database,
            {
              stripes: [{ key: "circuit", index: 0, stripe: () => assert.fail("it is added"), addition }],
              seen: [{ key: "circuit", instance: "a", kind: "report", sequence: 1, at }]
            },
            () => undefined,
            { adds: () => true, waits: true }
          )
          const [row] = yield* sql<{ readonly delta: string }>`SELECT delta FROM ${counts} WHERE stripe = 0`
          if (written.length === 0) {
            assert.strictEqual(row!.delta, stored)
            assert.isTrue(name !== "as this version writes it" || index === 3)
            continue
          }
          const { window, ...rest } = stripeFrom(row!.delta)
          const { window: expectedWindow, ...expectedRest } = enter(
            new Map([[0, stripeFrom(stored)]]),
            0,
            report,
            true,
            at
          )
          assert.deepEqual(rest, expectedRest, `${name}, report ${index}`)
          const totalsOf = (window: Stripe["window"]) => totals(bucketsOf([window]), [MINUTE, 10 * MINUTE], now)
          assert.deepEqual(totalsOf(window), totalsOf(expectedWindow), `${name}, report ${index}`)
        }
      }
    }).pipe(Effect.scoped))

  it.live("a window that only the database adds to keeps the last minute, and stays short", () =>
    Effect.gen(function*() {
      const { counts, database, sql } = yield* storedCircuit
      let [stripe, expected, now] = [{ ...emptied(0), base: "base" } as Stripe, emptied(0), 1_800_000_000_000]
      yield* sql`UPDATE ${counts} SET delta = ${stripeText(stripe, "0".repeat(32))} WHERE stripe = 0`
      const totals = (stripe: Stripe) =>
        snapshot(recordOf(undefined, new Map([[0, stripe]]), now, HOUR), [MINUTE], now, HOUR).totals
      for (const second of times(200)) {
        // Now and then nobody calls for some time.
        now += second % 90 === 89 ? 40_000 : 1000
        const report = {
          delta: { ...failures(1), buckets: [{ age: 0, success: second, failure: 1, slow: 0 }] },
          withins: [MINUTE]
        }
        const addition = additionOf(new Map([[0, stripe]]), 0, report, true, now)
        const written = yield* writeUnlocked(
          database,
          {
            stripes: [{ key: "circuit", index: 0, stripe: () => assert.fail("it is added"), addition }],
            seen: [{ key: "circuit", instance: "a", kind: "report", sequence: second + 100, at: now }]
          },
          () => undefined,
          { adds: () => true, waits: true }
        )
        assert.lengthOf(written, 1)
        const [row] = yield* sql<{ readonly delta: string }>`SELECT delta FROM ${counts} WHERE stripe = 0`
        stripe = stripeFrom(row!.delta)
        expected = enter(new Map([[0, expected]]), 0, report, true, now)
        assert.deepStrictEqual(totals(stripe), totals(expected), `second ${second}`)
        assert.isAtMost(stripe.window[0]!.counts.length, 3 * 75)
      }
    }).pipe(Effect.scoped))

  it.live.each([{ between: "another report", counted: 3 }, { between: "a change", counted: 1 }])(
    "a report waits for who holds its stripe, and needs no transaction: $between",
    (each) =>
      Effect.gen(function*() {
        const prefix = freshPrefix()
        const it = circuitOf(yield* build(postgres.client(), { prefix }), "circuit")
        yield* it.report(failures(1))
        const sql = yield* sqlOn(postgres)
        const counts = sql(`${prefix}counts`)
        const waiting = yield* sql.withTransaction(Effect.gen(function*() {
          const [row] = yield* sql<{ readonly stripe: number; readonly delta: string }>`
SELECT stripe, delta FROM ${counts} WHERE delta IS NOT NULL FOR UPDATE`
          const { delta, stripe } = row!
          const fiber = yield* Effect.forkChild(statementsOf(it.send({ sequence: 2, delta: failures(1) })))
          yield* eventually(
            "the report waits",
            Effect.map(
              sql`SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE ${`%${prefix}counts%`}`,
              (rows) => rows.length > 0
            )
          )
          const former = stripeFrom(delta)
          const next = each.between === "a change"
            ? emptied(former.asOf)
            : enter(new Map([[stripe, former]]), stripe, { delta: failures(1), withins: [] }, true, former.asOf)
          yield* sql`UPDATE ${counts} SET delta = ${stripeText(next, "0".repeat(32))} WHERE stripe = ${stripe}`
          return fiber
        }))
        assert.lengthOf((yield* Fiber.join(waiting)).statements, 4)
        const { lifetime, streak } = yield* it.read
        assert.deepEqual([lifetime.failure, streak], [each.counted, each.counted])
      }).pipe(Effect.scoped)
  )

  it.live("batches that report to the same stripes at once need no transaction, and no report is lost", () =>
    Effect.gen(function*() {
      const prefix = freshPrefix()
      const storages = yield* Effect.forEach(times(4), () => build(postgres.client(), { prefix }))
      // Instances of one stripe.
      const instances = times(40).map(String).filter((instance) => stripeOf(instance, MOST_STRIPES) === 0).slice(0, 4)
      assert.lengthOf(instances, 4)
      const batch = (index: number, sequence: number) =>
        storages[index]!.sync(
          times(20).map((circuit) => ({
            ...reading(`circuit ${circuit}`, instances[index]!),
            sequence,
            delta: failures(1),
            withins: [MINUTE]
          }))
        )
      yield* batch(0, 1)
      for (const round of times(15)) {
        const { statements } = yield* statementsOf(atOnce(4, (index) => batch(index, round + 2)))
        assert.isTrue(statements.every((text) => !text.endsWith("FOR UPDATE")), statements.join("\n"))
      }
      const { lifetime, streak, totals } = (yield* circuitOf(storages[0]!, "circuit 7").send({ withins: [MINUTE] }))
        .snapshot
      assert.deepEqual([lifetime.failure, streak, totals[0]!.failure], [61, 61, 61])
    }).pipe(Effect.scoped))

  it.live("a batch of reports is two statements, and a look is one", () =>
    Effect.gen(function*() {
      const storage = yield* build(postgres.client(), { prefix: freshPrefix() })
      const batch = (sequence: number, delta: Delta) =>
        storage.sync(
          times(50).map((index) => ({
            ...reading(`circuit ${index}`, "a"),
            sequence,
            delta,
            withins: [MINUTE]
          }))
        )
      yield* batch(1, failures(1))
      assert.lengthOf((yield* statementsOf(batch(2, failures(1)))).statements, 2)
      assert.lengthOf((yield* statementsOf(circuitOf(storage, "circuit 1").read)).statements, 1)
    }).pipe(Effect.scoped))

  it.live("reports update rows where they are, and leave no dead ones behind", () =>
    Effect.gen(function*() {
      const prefix = freshPrefix()
      const storage = yield* build(postgres.client(), { prefix })
      const minute = times(60).map((i) => ({ age: (59 - i) * 1000, success: 100 + i, failure: i, slow: i }))
      const sync = (sequence: number, buckets: Delta["buckets"]) =>
        Effect.forEach(times(8), (instance) =>
          storage.sync(
            times(10).map((index) => ({
              ...reading(`circuit ${index}`, `${instance}`),
              sequence,
              delta: { ...failures(1), buckets },
              withins: [MINUTE]
            }))
          ))
      yield* sync(1, minute)
      for (const round of times(50)) yield* sync(round + 2, [{ age: 0, success: 1, failure: 0, slow: 0 }])
      const sql = yield* sqlOn(postgres)
      // The statistics come some time after the reports.
      yield* eventually(
        "of 4,000 updates of each table, nearly all are on the page of their row",
        Effect.gen(function*() {
          const rows = yield* sql<{ readonly updated: string; readonly hot: string; readonly dead: string }>`
SELECT n_tup_upd AS updated, n_tup_hot_upd AS hot, n_dead_tup AS dead FROM pg_stat_user_tables
WHERE relname IN ${sql.in([`${prefix}counts`, `${prefix}instances`])}`
          return rows.length === 2 &&
            rows.every(({ dead, hot, updated }) =>
              Number(updated) >= 4000 && Number(hot) > 0.95 * Number(updated) && Number(dead) < 0.2 * Number(updated)
            )
        })
      )
    }).pipe(Effect.scoped))
})
