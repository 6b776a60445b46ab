/** Rules of the protocol, each with the one place in the source that holds it, and the source without the rule. */
import type { MeasureName } from "./measures.ts"

export interface Mutation {
  readonly rule: string
  readonly from: string
  readonly to: string
  /**
   * Found by three bad nodes of a silent fleet (`quiet.ts`), by outages of one of two storages (`switch.ts`), or by fleets that throttle
   * (`overload.ts`), and not by random schedules.
   */
  readonly by?: "bad nodes" | "outages" | "overload" | undefined
  /** Found by a measure that is out of its bounds. */
  readonly measure?: MeasureName | undefined
}

export const mutations: ReadonlyArray<Mutation> = [
  {
    rule: "evidence trips only in an alert that all had time to answer",
    from: "const isAnswered = !alerts || (alert !== undefined && alert.since >= answerMillis)",
    to: "const isAnswered = true"
  },
  {
    rule: "who hears of an alert reports what is unsaid",
    from: "const isNews = this.#vigilOf().hear(alert.remaining, this.pacedMillis, now)",
    to: "const isNews = false",
    by: "bad nodes"
  },
  {
    rule: "the bell is polled",
    from: "if (rung !== \"all\") { for (const one of rung) this.#heard(one) }",
    to: "",
    by: "bad nodes"
  },
  {
    rule: "who judges waits for the answers to an alert",
    from: "1.25 * intervalMillis + 2 * roundTripMillis",
    to: "0 * roundTripMillis",
    by: "bad nodes"
  },
  {
    rule: "another storage that answers has another epoch",
    from: "epoch: `${at} ${bells.epoch}`",
    to: "epoch: \"one\"",
    by: "outages"
  },
  {
    rule: "another epoch has every circuit looked at",
    from: "rung === \"all\" || isLost || wasSetBack",
    to: "rung === \"all\" || wasSetBack",
    by: "outages"
  },
  {
    rule: "every circuit is looked at where any may have rung",
    from: "rung === \"all\" || isLost || wasSetBack",
    to: "isLost || wasSetBack",
    by: "outages"
  },
  {
    rule: "failures that could open the circuit are reported soon",
    from: "else if (!rounds.isHurried(this)) {",
    to: "else if (this.isChanging) {",
    measure: "from failures that could open the circuit to their report"
  },
  {
    rule: "an own trip is reported at once",
    from: "if (isQuiet) batches.sendNow(this)",
    to: "",
    measure: "from an instance's own trip to its report, in a fleet that is healthy"
  },
  {
    rule: "slow calls could open the circuit, too",
    from: "if (own.lifetime.failure === 0 && own.lifetime.slow === 0) return false",
    to: "if (own.lifetime.failure === 0) return false",
    measure: "from the first slow call of each instance to a report of it"
  },
  {
    rule: "what is not known may fill the minimum of calls",
    from: "bad / Math.max(success + failure, minimumCalls) >= threshold * early.totals",
    to: "success + failure >= minimumCalls && bad / (success + failure) >= threshold * early.totals",
    measure: "from the first failure of a fleet with few calls to a report of it"
  },
  {
    rule: "every report of an instance that suspects a trip says so",
    from: "suspect: this.#proposals.suspects ?",
    to: "suspect: this.#proposals.suspects && this.#vigil?.isAlert(now) !== true ?",
    measure: "from a loss of the data in an alert to the opening"
  },
  {
    rule: "an alert ends",
    from: "return now < this.#alertUntil",
    to: "return this.#alertUntil > 0",
    measure: "reports a second of ten instances, ten seconds after a burst of failures"
  },
  {
    rule: "each report that a failure hurries makes the next one wait longer",
    from: "this.#delayMillis = Math.min(intervalMillis, 2 * this.#delayAt(now, intervalMillis))",
    to: "this.#delayMillis = FAILURE_DELAY_MILLIS",
    measure: "reports a second of each of ten instances, where 45 % fail and nothing opens"
  },
  {
    rule: "a calm makes the next report of a failure come half as late",
    from: "this.#delayMillis / 2 ** halvings",
    to: "halvings > 0 ? 0 : this.#delayMillis",
    measure: "reports a second of each of twenty instances, of whose calls one in five fails"
  },
  {
    rule: "after alerts in vain a row is no suspicion before it is as long as the rule says",
    from: "streak: isInVain ? 1 : EARLY",
    to: "streak: EARLY",
    measure: "reports a second of each of twenty instances, of whose calls one in five fails"
  },
  {
    rule: "after alerts in vain a report beside the rounds stands for that of the next round",
    from: "isRound && this.#canSkip(now)",
    to: "isRound && false",
    measure: "reports a second of each of ten instances, where alerts begin and end"
  },
  {
    rule: "successes that come late end a row, too",
    from: "later.sawSuccess ? later.trailing : run + later.trailing",
    to: "later.sawSuccess && later.trailing === 0 && run === 0 ? later.trailing : run + later.trailing",
    measure: "reports a second of each of ten instances, of whose calls one in twenty fails"
  },
  {
    rule: "instances answer an alert at random",
    from: "now + withinMillis * connection.random()",
    to: "now",
    measure: "the share of forty instances that answer an alert in the same 50 ms"
  },
  {
    rule: "reports of an older generation are no evidence",
    from: "if (generation < record.generation) return",
    to: "if (generation < 0) return"
  },
  {
    rule: "outcomes are evidence only of the generation they were let through in",
    from: "this.#reports.lifetimeOnly(ended, now)",
    to: "this.#reports.epochEnded(ended, now)"
  },
  {
    rule: "a trip is of the generation it was decided in",
    from: "if (stale || (record?.generation ?? 0) !== input.generation) return refused",
    to: "if (stale) return refused"
  },
  {
    rule: "a view that is older than what is known is dropped",
    from: "if (snapshot.generation < known) {",
    to: "if (snapshot.generation < known && snapshot.generation < knewGeneration) {"
  },
  {
    rule: "only a lease that is held in its generation is settled",
    from: "if (record?.state._tag !== \"HalfOpen\" || held === undefined) return",
    to: "if (record?.state._tag !== \"HalfOpen\") return"
  },
  {
    rule: "a lease that has lapsed is settled like any other",
    from: "if (record?.state._tag !== \"HalfOpen\" || held === undefined) return",
    to: "if (record?.state._tag !== \"HalfOpen\" || held === undefined || !isLive(held, now)) return"
  },
  {
    rule: "an Ask forgets no lease whose probe may still run",
    from: "[...keptLeases(round.state.leases, now), granted]",
    to: "[...liveLeases(round, now), granted]"
  },
  {
    rule: "a lease that has lapsed holds no place",
    from: "if (liveLeases(round, now).length >= probes) return denied",
    to: "if (round.state.leases.length >= probes) return denied"
  },
  {
    rule: "a probe's holder settles it however late it ends",
    from: "const lease = this.#running.get(sequence)\n    if (lease === undefined) return",
    to: "const lease = this.#running.get(sequence)\n    if (lease === undefined || now >= lease.until) return"
  },
  {
    rule: "a probe of an instance's own that hangs holds no place for longer than a lease",
    from: "probes.filter(({ until }) => now < until)",
    to: "probes"
  },
  {
    rule: "no more leases are live than the policy's probes",
    from: "if (liveLeases(round, now).length >= probes) return denied",
    to: ""
  },
  {
    rule: "failed probes of a round add up until the sample is lost",
    from: "const failures = (record.state.failures ?? 0) + (outcome._tag === \"Failure\" ? 1 : 0)",
    to: "const failures = outcome._tag === \"Failure\" ? 1 : 0"
  },
  {
    rule: "successful probes of a round add up until they are enough",
    from: "const successes = record.state.successes + (outcome._tag === \"Success\" ? 1 : 0)",
    to: "const successes = outcome._tag === \"Success\" ? 1 : 0"
  },
  {
    rule: "no lease is granted before the hint of an ignored probe is over",
    from: "if (now < (round.state.probesFrom ?? -Infinity)) return denied",
    to: ""
  },
  {
    rule: "a report is counted once",
    from: "isEmpty(delta) || isRepeat(known, message, now, idleTimeToLive)",
    to: "isEmpty(delta)"
  },
  {
    rule: "a report that was sent is frozen",
    from: "if (this.pending !== undefined || this.#delta === undefined) return",
    to: `if (this.#delta === undefined) return
    if (this.pending !== undefined) {
      const delta = merge(aged(this.pending.delta, this.#at - this.pending.at), this.#delta)
      this.pending = { ...this.pending, delta, at: this.#at }
      this.#delta = undefined
      return
    }`
  },
  {
    rule: "a report that is late is older than it says",
    from: "asOf === undefined || now - asOf <= TRANSIT_MILLIS ? 0 : now - asOf",
    to: "asOf === undefined || now >= asOf ? 0 : 1"
  },
  {
    rule: "generations are above the clock",
    from: "known + 1, Math.floor(now * 1000))",
    to: "known + 1)"
  },
  {
    rule: "Closed is not put back over an Open whose time is not up",
    from:
      "if (!certain && snapshot.state._tag === \"Closed\" && record.state._tag === \"Open\" && now < record.state.until) {",
    to: "if (snapshot.state._tag === \"Closed\" && now < 0) {"
  },
  {
    rule: "pooled evidence must hold in two snapshots",
    from: "if (!lasts && policy.maxAgeMillis > 0) {",
    to: "if (!lasts && policy.maxAgeMillis < 0) {"
  },
  {
    rule: "the evidence must trip the new policy for an interval of its own",
    from: "this.#proposals.forget()\n    // How many",
    to: "// How many"
  },
  {
    rule: "calls that were shed are requests",
    from: "({ failure, shed = 0, success }: Totals): number => success + failure + shed",
    to: "({ failure, success }: Totals): number => success + failure",
    by: "overload"
  },
  {
    rule: "an instance with calls enough sheds by what it has met itself",
    from: "Math.min(1, minimumCalls / ofFleet)",
    to: "1",
    by: "overload"
  },
  {
    rule: "an instance with few calls sheds as the fleet does",
    from: "Math.min(1, minimumCalls / ofFleet)",
    to: "0",
    by: "overload"
  },
  {
    rule: "the fleet's requests shed calls once all had their say",
    from: "else if (isAnswered) this.requests =",
    to: "else this.requests =",
    by: "overload"
  },
  {
    rule: "who sees that calls could be shed asks for the counts of all",
    from: " ||\n  (throttle !== undefined && couldShed(throttle, evidence, EARLY))",
    to: "",
    by: "overload"
  },
  {
    rule: "the fleet's ramp begins when its circuit closed",
    from: "joins ? rampEnd(plan, since)",
    to: "joins ? rampEnd(plan, now)"
  },
  {
    rule: "no more keys open than neverOpenMoreThan says",
    from: "if (this.#open + 1 > this.#share * this.#recent) return false",
    to: ""
  },
  {
    rule: "keys that open in the same second are counted",
    from: "this.#open++\n    return true",
    to: "return true"
  },
  {
    rule: "the guard of the keys is asked before the fleet is",
    from: "if (mode === undefined && local.isHeldBack(reason, connection.now())) return",
    to: ""
  },
  {
    rule: "an instance that only measures asks for no opening",
    from: "takesPart: enforcement === \"enforce\"",
    to: "takesPart: true"
  },
  {
    rule: "what is only measured is no evidence",
    from: "const isMeasured = permit.metricsOnly && (this.#isShadow || state.override === undefined)",
    to: "const isMeasured = false"
  },
  {
    rule: "an instance that only measures refuses no call, and takes no lease",
    from: "if (metricsOnly || this.#isShadow || override !== undefined) {",
    to: "if (metricsOnly || override !== undefined) {"
  },
  {
    rule: "what an instance opened before it only measured, it opens for no other",
    from: "return !isPooled && policy.takesPart && opening !== undefined",
    to: "return !isPooled && opening !== undefined"
  },
  {
    rule: "a strict call joins no load that was sent before it came",
    from: "maxAgeMillis > 0 && inFlight !== undefined && this.#now() - inFlight.requestedAt <= maxAgeMillis",
    to: "inFlight !== undefined"
  }
]
