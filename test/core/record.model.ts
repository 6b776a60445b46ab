/**
 * A naive model of the record: a list of everything that happened. Every question is answered by reading the list from
 * its beginning.
 *
 * It is slow and simple on purpose. It shares no code with `src/core`, only the types of inputs and results.
 */
import type { Operation, PutBack, Trip } from "../../src/core/Change.ts"
import type { Ask, Settle } from "../../src/core/Lease.ts"
import type { LeaseName, Opening, Snapshot, SnapshotOverride, Why } from "../../src/core/Record.ts"
import type { Reported } from "../../src/core/Report.ts"

/** A call as it ended. Calls are counted only when a question needs it. */
export interface Call {
  readonly age: number
  readonly failed: boolean
  readonly slow: boolean
  readonly took: number | undefined
}

export interface Calls {
  readonly instance: string
  readonly sequence: number
  readonly generation: number
  readonly calls: ReadonlyArray<Call>
  readonly rejected: number
  readonly hint: number
  readonly withins: ReadonlyArray<number>
}

type Fact =
  & { readonly at: number; readonly generation: number }
  & (
    | { readonly is: "report"; readonly report: Calls; readonly evidence: boolean }
    | {
      readonly is: "closed" | "round" | "reset" | "removed"
      readonly why: Why
      readonly fingerprint?: string | undefined
    }
    | {
      readonly is: "opened"
      readonly opening: Opening
      readonly hint: number
      readonly why: Why
      readonly fingerprint?: string | undefined
    }
    | { readonly is: "restored"; readonly snapshot: Snapshot; readonly age: number; readonly why: Why | undefined }
    | { readonly is: "overridden"; readonly override: SnapshotOverride | undefined; readonly age: number }
    | { readonly is: "granted"; readonly lease: LeaseName; readonly until: number; readonly requested: boolean }
    | { readonly is: "settled"; readonly lease: LeaseName; readonly outcome: string; readonly hint: number }
    | { readonly is: "operated"; readonly id: string }
  )

const same = (a: LeaseName, b: LeaseName) => a.instance === b.instance && a.sequence === b.sequence
interface Last {
  readonly at: number
  readonly took: number | undefined
}

const latest = (last: Last | undefined, at: number | undefined, took: number | undefined): Last | undefined =>
  at === undefined || (last !== undefined && at < last.at) ? last : { at, took }

const greatest = (a: number | undefined, b: number | undefined) => a === undefined ? b : Math.max(a, b ?? a)

export class Model {
  facts: ReadonlyArray<Fact> = []
  readonly idle: number

  constructor(idle: number) {
    this.idle = idle
  }

  // ---- questions

  generation(): number {
    return this.facts.at(-1)?.generation ?? 0
  }

  /** The state after all facts, with its openings and its override. */
  story(now: number) {
    let state: "Closed" | "Open" | "HalfOpen" = "Closed"
    let since: number | undefined
    let until = 0
    let openings = 0
    let openFor = 0
    let successes = 0
    let failures = 0
    let hintUntil = 0
    let probesFrom = 0
    let override: SnapshotOverride | undefined
    let overrideUntil = Infinity
    let why: Why | undefined
    let fingerprint: string | undefined
    const forgetWhenCalm = (at: number) => {
      if (state === "Closed" && since !== undefined && at >= since + openFor) openings = 0
    }
    for (const fact of this.facts) {
      const { at } = fact
      switch (fact.is) {
        case "report":
          if (fact.evidence && fact.report.hint > 0) hintUntil = Math.max(hintUntil, at + fact.report.hint)
          break
        case "opened":
          forgetWhenCalm(at)
          hintUntil = Math.max(hintUntil, at + fact.hint, probesFrom)
          probesFrom = 0
          openFor = Math.max(fact.opening.openFor, Math.min(hintUntil - at, fact.opening.maxOpenFor))
          state = "Open"
          since = at
          until = at + openFor
          openings++
          break
        case "round":
          forgetWhenCalm(at)
          state = "HalfOpen"
          since = at
          successes = failures = probesFrom = 0
          break
        case "closed":
          forgetWhenCalm(at)
          if (state !== "Closed") since = at
          state = "Closed"
          hintUntil = probesFrom = 0
          break
        case "reset":
        case "removed":
          state = "Closed"
          since = at
          openings =
            openFor =
            hintUntil =
            probesFrom =
              0
          if (fact.is === "removed") override = fingerprint = undefined
          break
        case "restored": {
          const { snapshot } = fact
          state = snapshot.state._tag
          since = snapshot.elapsed === undefined ? undefined : at - fact.age - snapshot.elapsed
          if (snapshot.state._tag === "Open") until = at - fact.age + snapshot.state.remaining
          probesFrom = 0
          if (snapshot.state._tag === "HalfOpen") {
            const { probesIn } = snapshot.state
            successes = snapshot.state.successes
            failures = snapshot.state.failures ?? 0
            if (probesIn !== undefined) probesFrom = at - fact.age + probesIn
          }
          openings = snapshot.openings
          openFor = snapshot.openFor
          hintUntil = at - fact.age + snapshot.hint
          override = snapshot.override
          overrideUntil = at - fact.age + (override?.remaining ?? Infinity)
          fingerprint = snapshot.fingerprint
          break
        }
        case "overridden":
          override = fact.override
          overrideUntil = at - fact.age + (override?.remaining ?? Infinity)
          break
        case "settled":
          if (fact.outcome === "Success") successes++
          if (fact.outcome === "Failure") failures++
          if (fact.hint > 0) probesFrom = Math.max(probesFrom, at + fact.hint)
      }
      if ("why" in fact) why = fact.why
      if ("fingerprint" in fact) fingerprint = fact.fingerprint ?? fingerprint
    }
    forgetWhenCalm(now)
    if (now >= overrideUntil) override = undefined
    return {
      state,
      since,
      until,
      openings,
      openFor,
      successes,
      failures,
      hintUntil,
      probesFrom,
      override,
      overrideUntil,
      why,
      fingerprint
    }
  }

  /** The leases that hold a place. */
  leases(now: number): ReadonlyArray<LeaseName & { readonly until: number }> {
    return this.unsettled().filter(({ until }) => now < until)
  }

  /**
   * The leases of this generation that can be settled: not the oldest that had lapsed when sixty others had lapsed, too,
   * and a lease was granted. No history of the tests is long enough for that.
   */
  unsettled(): ReadonlyArray<LeaseName & { readonly until: number }> {
    const settled = (lease: LeaseName, from: number) =>
      this.facts.slice(from).some((fact) => fact.is === "settled" && same(fact.lease, lease))
    return this.facts.flatMap((fact, i) =>
      fact.is === "granted" && fact.generation === this.generation() && !settled(fact.lease, i)
        ? [{ ...fact.lease, until: fact.until }]
        : []
    )
  }

  evidence(): ReadonlyArray<Calls & { readonly at: number }> {
    return this.facts.flatMap((fact) =>
      fact.is === "report" && fact.evidence && fact.generation === this.generation()
        ? [{ ...fact.report, at: fact.at }]
        : []
    )
  }

  totals(withins: ReadonlyArray<number>, now: number) {
    const widthOf = (within: number) => [1000, 10_000, 60_000, 600_000].find((width) => 60 * width >= within)!
    return withins.map((within) => {
      const width = widthOf(within)
      const reports = this.evidence().filter((report) => report.withins.some((other) => widthOf(other) === width))
      const calls = reports.flatMap(({ at, calls }) => calls.map((call) => ({ ...call, start: at - call.age })))
      const counted = calls.filter(({ start }) => {
        const cut = Math.floor(start / width) * width
        return cut > now - within || cut === Math.floor(now / width) * width
      })
      return {
        success: counted.filter((call) => !call.failed).length,
        failure: counted.filter((call) => call.failed).length,
        slow: counted.filter((call) => call.slow).length
      }
    })
  }

  streak(): number {
    const outcomes = this.evidence().flatMap(({ calls }) => calls.map(({ failed }) => failed))
    return outcomes.length - 1 - outcomes.lastIndexOf(false)
  }

  lifetime(now: number) {
    const none = { success: 0, failure: 0, ignored: 0, timeout: 0, slow: 0, rejected: 0, opened: 0 }
    let counts = none
    let success: Last | undefined
    let failure: Last | undefined
    let opened: number | undefined
    for (const fact of this.facts) {
      if (fact.is === "report") {
        const { calls, rejected } = fact.report
        for (const call of calls) {
          if (call.failed) failure = latest(failure, fact.at - call.age, call.took)
          else success = latest(success, fact.at - call.age, call.took)
        }
        counts = {
          ...counts,
          success: counts.success + calls.filter((call) => !call.failed).length,
          failure: counts.failure + calls.filter((call) => call.failed).length,
          slow: counts.slow + calls.filter((call) => call.slow).length,
          rejected: counts.rejected + rejected
        }
      } else if (fact.is === "opened") {
        counts = { ...counts, opened: counts.opened + 1 }
        opened = fact.at
      } else if (fact.is === "restored") {
        const restored = fact.snapshot.lifetime
        const then = (age: number | undefined) => age === undefined ? undefined : fact.at - fact.age - age
        counts = Object.fromEntries(
          Object.entries(counts).map(([key, count]) => [key, Math.max(count, restored[key as keyof typeof none])])
        ) as typeof none
        success = latest(success, then(restored.lastSuccessAge), restored.lastSuccessDuration)
        failure = latest(failure, then(restored.lastFailureAge), restored.lastFailureDuration)
        opened = greatest(opened, then(restored.lastOpenedAge))
      } else if (fact.is === "removed") {
        counts = none
        success = failure = undefined
        opened = undefined
      }
    }
    const age = (at: number | undefined) => at === undefined ? undefined : Math.max(0, now - at)
    return {
      ...counts,
      lastSuccessAge: age(success?.at),
      lastSuccessDuration: success?.took,
      lastFailureAge: age(failure?.at),
      lastFailureDuration: failure?.took,
      lastOpenedAge: age(opened)
    }
  }

  /** The instances that have reported within the idle time. */
  members(now: number) {
    const heard = this.facts.flatMap((fact) =>
      fact.is === "report" && now < fact.at + this.idle ? [fact.report.instance] : []
    )
    return heard.length === 0 ? {} : { members: new Set(heard).size }
  }

  snapshot(withins: ReadonlyArray<number>, now: number): Snapshot {
    this.expire(now)
    const story = this.story(now)
    const left = this.leases(now).map(({ until }) => until - now)
    const remaining = story.overrideUntil === Infinity ? undefined : story.overrideUntil - now
    return {
      format: 1,
      generation: this.generation(),
      asOf: now,
      state: story.state === "Closed"
        ? { _tag: "Closed" }
        : story.state === "Open"
        ? { _tag: "Open", remaining: Math.max(0, story.until - now) }
        : {
          _tag: "HalfOpen",
          live: left.length,
          successes: story.successes,
          ...(story.failures > 0 ? { failures: story.failures } : {}),
          nextLapse: left.length === 0 ? undefined : Math.min(...left),
          ...(now < story.probesFrom ? { probesIn: story.probesFrom - now } : {})
        },
      elapsed: story.since === undefined ? undefined : now - story.since,
      openings: story.openings,
      openFor: story.openFor,
      override: story.override === undefined
        ? undefined
        : { kind: story.override.kind, reason: story.override.reason, actor: story.override.actor, remaining },
      hint: Math.max(0, story.hintUntil - now),
      why: story.why,
      fingerprint: story.fingerprint,
      lifetime: this.lifetime(now),
      totals: this.totals(withins, now),
      streak: this.streak(),
      ...this.members(now)
    }
  }

  // ---- what happens

  report(report: Calls, now: number): Reported {
    this.expire(now)
    if (report.calls.length === 0 && report.rejected === 0) return "Counted"
    const counted = this.facts.some((fact) =>
      fact.is === "report" && fact.report.instance === report.instance && fact.report.sequence >= report.sequence &&
      now < fact.at + this.idle
    )
    if (counted) return "Counted"
    if (report.generation > this.generation()) return "Behind"
    this.happen(now, { is: "report", report, evidence: report.generation === this.generation() })
    return "Counted"
  }

  trip({ asOf, fingerprint, generation, maxAge, opening, why }: Trip, now: number): boolean {
    this.expire(now)
    if (generation !== this.generation() || now > asOf + maxAge) return false
    const { override, state } = this.story(now)
    if (state !== "Closed" || (opening === undefined && override?.kind !== "MetricsOnly")) return false
    if (opening === undefined) this.change(now, generation, { is: "closed", why, fingerprint })
    else this.change(now, generation, { is: "opened", opening, hint: 0, why, fingerprint })
    return true
  }

  putBack({ age, certain, leases, snapshot }: PutBack, now: number): boolean {
    this.expire(now)
    if (age > this.idle || snapshot.generation <= this.generation()) return false
    const { state, until } = this.story(now)
    if (certain !== true && snapshot.state._tag === "Closed" && state === "Open" && now < until) {
      this.change(now, snapshot.generation, { is: "overridden", override: snapshot.override, age })
      return false
    }
    this.happen(now, { is: "restored", snapshot, age, why: snapshot.why }, snapshot.generation)
    if (snapshot.state._tag === "HalfOpen") {
      for (const { instance, remaining, sequence } of leases) {
        this.happen(now, { is: "granted", lease: { instance, sequence }, until: now + remaining, requested: false })
      }
    }
    return true
  }

  operation({ existing, id, known, to, why }: Operation, now: number): boolean {
    this.expire(now)
    const done = this.facts.some((fact) => fact.is === "operated" && fact.id === id && now < fact.at + this.idle)
    if (done) return true
    if (existing === true && this.facts.length === 0) return false
    switch (to._tag) {
      case "Override":
        this.change(now, known, { is: "overridden", override: to, age: 0 })
        break
      case "ClearOverride":
        this.change(now, known, { is: "overridden", override: undefined, age: 0 })
        break
      case "Reset":
        this.change(now, known, { is: "reset", why })
        break
      case "HalfOpen":
        this.change(now, known, { is: "round", why })
        break
      case "Remove":
        this.change(now, known, { is: "removed", why })
        break
      case "Import":
        this.change(now, known, { is: "restored", snapshot: to.snapshot, age: 0, why: to.snapshot.why })
    }
    this.happen(now, { is: "operated", id })
    return true
  }

  ask({ duration, fingerprint, generation, lease, probes }: Ask, now: number): boolean {
    this.expire(now)
    if (generation > this.generation()) return false
    const known = this.unsettled().find((held) => same(held, lease))
    if (known !== undefined) return now < known.until
    const spent = this.facts.some((fact) =>
      fact.is === "granted" && fact.requested && fact.lease.instance === lease.instance &&
      fact.lease.sequence >= lease.sequence && now < fact.at + this.idle
    )
    const { override, probesFrom, state, until } = this.story(now)
    if (spent || override !== undefined || state === "Closed" || (state === "Open" && now < until)) return false
    if (state === "Open") this.change(now, 0, { is: "round", why: { reason: "the open time is over" }, fingerprint })
    if (now < probesFrom || this.leases(now).length >= probes) return false
    this.happen(now, { is: "granted", lease, until: now + duration, requested: true })
    return true
  }

  settle({ fingerprint, generation, lease, outcome }: Settle, now: number): boolean {
    this.expire(now)
    if (generation !== this.generation() || !this.unsettled().some((held) => same(held, lease))) return false
    const hint = outcome._tag === "Success" ? 0 : outcome.hint ?? 0
    this.happen(now, { is: "settled", lease, outcome: outcome._tag, hint })
    if (outcome._tag === "Failure" && this.story(now).failures >= (outcome.failures ?? 1)) {
      const { hint, opening, why } = outcome
      this.change(now, 0, { is: "opened", opening, hint, why, fingerprint })
    }
    if (outcome._tag === "Success" && this.story(now).successes >= outcome.successes) {
      this.change(now, 0, { is: "closed", why: outcome.why, fingerprint })
    }
    return true
  }

  private happen(at: number, fact: DistributiveOmit<Fact, "at" | "generation">, generation = this.generation()) {
    this.facts = [...this.facts, { ...fact, at, generation }]
  }

  private change(at: number, known: number, fact: DistributiveOmit<Fact, "at" | "generation">) {
    this.happen(at, fact, Math.max(this.generation() + 1, known + 1, Math.floor(at * 1000)))
  }

  /** Forgets everything, once the record has expired. */
  private expire(now: number) {
    const { openFor, openings, override, overrideUntil, probesFrom, since, state, until } = this.story(now)
    const lastUse = this.facts.at(-1)?.at ?? -Infinity
    const needed = now < lastUse + this.idle ||
      (override !== undefined && now < overrideUntil) ||
      (state === "Open" && now < until) ||
      now < probesFrom ||
      this.leases(now).length > 0 ||
      (openings > 0 && now < (state === "Open" ? until : since ?? 0) + openFor)
    if (!needed) this.facts = []
  }
}

type DistributiveOmit<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never
