/**
 * The small worlds that are searched. Each is a fleet, what has happened before the search begins, and how often each kind of act
 * may happen in one run. Time passes, and messages arrive, as often as they can.
 */

import {
  answersApart,
  calls,
  knowsNewest,
  type Promising,
  reportsAtMost,
  sheds,
  staysClosed,
  tells
} from "./promises.ts"

/** How often something may happen in one run. What is absent does not happen. */
export interface Budget {
  /** Calls that end at once. */
  readonly calls?: number
  /** Calls that take until they are told to end. */
  readonly waits?: number
  /** Messages that are doubled or held up, perhaps for ever. */
  readonly faults?: number
  /** Processes that are paused. They are resumed at any time. */
  readonly pauses?: number
  readonly crashes?: number
  readonly wipes?: number
  /** Failovers to the copy from before the last change. */
  readonly failovers?: number
  /** Steps of the storage's clock, by a minute forward or back. */
  readonly clocks?: number
  /** Acts of operators, and changes of policies. */
  readonly acts?: number
  /** Longer times, in which every message that is not held arrives at once. */
  readonly leaps?: number
}

export type Kind = keyof Budget

export interface Plan {
  readonly name: string
  /** What is searched, in a sentence. */
  readonly about: string
  /** The instances, and the options of the fleet. */
  readonly fleet: string
  readonly before?: ReadonlyArray<string>
  readonly budget: Budget
  /** What a call does, instead of to succeed or to fail. */
  readonly calls?: ReadonlyArray<string>
  /** Acts, with `%` for the process. */
  readonly acts?: ReadonlyArray<string>
  /** How long a leap is, in milliseconds. */
  readonly leapMillis?: number
  /** What is promised besides the invariants of the protocol. */
  readonly promise?: Promising
  /** How each new state is also brought to rest, and checked there. */
  readonly rests?: ReadonlyArray<string>
  /** Rules of `mutations.ts` without which a run of this world breaks the protocol. */
  readonly rules?: ReadonlyArray<string>
  /** How many steps are searched by `npm run check:exhaustive`, and by `npm test`. */
  readonly depth: number
  readonly depthInTests: number
}

const any = "evidence=any trip=consecutive(1) openFor=1s lease=1s"
const pooled = "trip=consecutive(2) openFor=1s lease=1s"
const quiet = "bells=yes reports=quiet"
const silent = `trip=rate(0.5,30s,4) ${quiet}`
const chained = `trip=rate(0.5,90s,20) ${quiet} storages=primary,secondary`
const throttled = `trip=consecutive(99) throttle=2,20s,4 ${quiet}`

/** Both instances know the circuit, and have their first reports under way. */
const known = ["call a succeed", "call b succeed", "advance 1s"]

/** Both instances know the circuit, and have told everything. */
const silence = ["call a succeed", "call b succeed", "advance 2s"]

const times = (count: number, ...commands: ReadonlyArray<string>): ReadonlyArray<string> =>
  Array.from({ length: count }, () => commands).flat()

/** Both instances are in use, and report in rounds that come later than the search. */
const busy = [
  "draw a 0.9",
  "draw b 0.9",
  "call a succeed x100 every=250ms",
  "call b succeed x100 every=250ms",
  "advance 2s"
]

/** The circuit is open for both, and its time is over. */
const opened = ["call a fail", "advance 50ms", "call b fail", "advance 1.1s"]

export const plans: ReadonlyArray<Plan> = [
  {
    name: "trip",
    about: "A closed circuit that opens with the first instance that trips, while an operator resets it.",
    fleet: `a b ${any}`,
    budget: { calls: 2, faults: 1, acts: 1 },
    acts: ["reset %"],
    rules: [
      "a trip is of the generation it was decided in"
    ],
    depth: 5,
    depthInTests: 2
  },
  {
    name: "three",
    about: "Three instances of a closed circuit.",
    fleet: `a b c ${any}`,
    budget: { calls: 3, faults: 1 },
    depth: 5,
    depthInTests: 2
  },
  {
    name: "pushes",
    about: "A storage that pushes its changes, beside answers that are older.",
    fleet: `a b ${any} pushes=yes`,
    before: [...known, "deliver 1"],
    budget: { calls: 2, faults: 1 },
    rules: [
      "a view that is older than what is known is dropped"
    ],
    depth: 5,
    depthInTests: 2
  },
  {
    name: "pooled",
    about: "A closed circuit that opens when the evidence of all trips, while an operator resets it.",
    fleet: `a b ${pooled}`,
    before: [...known, "call a fail"],
    budget: { calls: 2, faults: 1, acts: 1 },
    acts: ["reset %"],
    rules: [
      "reports of an older generation are no evidence",
      "outcomes are evidence only of the generation they were let through in",
      "pooled evidence must hold in two snapshots"
    ],
    depth: 5,
    depthInTests: 2
  },
  {
    name: "counts",
    about: "Reports that are lost, doubled and late; everything is counted once the fleet is at rest.",
    fleet: "a b trip=consecutive(9)",
    before: known,
    budget: { calls: 2, faults: 2 },
    rests: ["rest"],
    rules: [
      "a report is counted once",
      "a report that was sent is frozen"
    ],
    depth: 4,
    depthInTests: 2
  },
  {
    name: "probe",
    about: "An open circuit whose time is over, with probes that take longer than a lease.",
    fleet: `a b ${any}`,
    before: opened,
    budget: { calls: 1, waits: 2, faults: 1, leaps: 1 },
    leapMillis: 1100,
    rules: [
      "no more leases are live than the policy's probes"
    ],
    depth: 6,
    depthInTests: 2
  },
  {
    name: "lapsed",
    about: "A half-open circuit with a probe whose lease has lapsed.",
    fleet: `a b ${any}`,
    before: [...opened, "call a wait", "advance 1.1s"],
    budget: { calls: 1, waits: 1, faults: 1, leaps: 1 },
    leapMillis: 1100,
    rules: [
      "a lease that has lapsed is settled like any other",
      "an Ask forgets no lease whose probe may still run",
      "a lease that has lapsed holds no place",
      "a probe's holder settles it however late it ends"
    ],
    depth: 5,
    depthInTests: 2
  },
  {
    name: "probes",
    about: "A half-open circuit that needs two successes, one of which is about to be settled.",
    fleet: `a b ${any} successes=2`,
    before: [...opened, "call a succeed", "deliver 1"],
    budget: { calls: 2, faults: 1 },
    rules: [
      "only a lease that is held in its generation is settled",
      "successful probes of a round add up until they are enough"
    ],
    depth: 6,
    depthInTests: 2
  },
  {
    name: "sample",
    about:
      "A half-open circuit that a sample judges, after its first failure, where dependencies ask callers to come back later.",
    fleet: `a b ${any} sample=4,0.5`,
    before: [...opened, "call a fail", "advance 50ms"],
    calls: ["fail", "succeed", "ignore hint=3s"],
    budget: { calls: 3 },
    rules: [
      "failed probes of a round add up until the sample is lost",
      "no lease is granted before the hint of an ignored probe is over"
    ],
    depth: 5,
    depthInTests: 2
  },
  {
    name: "alone",
    about: "An instance that is cut off from the storage, opens and probes alone, and comes back.",
    fleet: `a b ${any}`,
    before: ["call a succeed", "call b succeed", "cut a refused", "call a fail", "advance 2.2s"],
    budget: { calls: 1, waits: 2, leaps: 1, acts: 1 },
    acts: ["heal a"],
    leapMillis: 1100,
    rules: [
      "a probe of an instance's own that hangs holds no place for longer than a lease"
    ],
    depth: 5,
    depthInTests: 2
  },
  {
    name: "wiped",
    about:
      "An open circuit of a storage that is wiped, or fails over to the copy from before the last change, while operators act.",
    fleet: `a b ${any} openFor=10s`,
    before: ["call a fail", "advance 50ms"],
    budget: { calls: 1, acts: 1, wipes: 1, failovers: 1 },
    acts: ["reset %"],
    rules: [
      "generations are above the clock"
    ],
    depth: 6,
    depthInTests: 2
  },
  {
    name: "failover",
    about: "A closed circuit whose storage fails over to the copy in which it was open.",
    fleet: `a b ${any} openFor=10s`,
    before: ["call a fail", "advance 50ms", "reset a", "advance 50ms", "call a succeed"],
    budget: { calls: 1, faults: 1, failovers: 1 },
    rules: [
      "Closed is not put back over an Open whose time is not up"
    ],
    depth: 6,
    depthInTests: 2
  },
  {
    name: "operators",
    about: "Operators who force a circuit open, clear that, reset it and begin a round.",
    fleet: `a b ${any}`,
    before: known,
    budget: { calls: 1, acts: 2, faults: 1 },
    acts: ["override % forcedOpen for=1s", "clear %", "reset %", "halfOpen %"],
    depth: 4,
    depthInTests: 2
  },
  {
    name: "machines",
    about: "Processes that are paused and crash, and a storage's clock that is set, around a probe.",
    fleet: `a b ${any}`,
    before: opened,
    budget: { waits: 1, pauses: 1, crashes: 1, clocks: 1, leaps: 1 },
    leapMillis: 3000,
    depth: 5,
    depthInTests: 2
  },
  {
    name: "late",
    about: "A report that is held up for long, with evidence by time.",
    fleet: "a b trip=failures(5,10s)",
    before: [...known, "call a fail", "advance 50ms"],
    budget: { calls: 1, faults: 1, crashes: 1, leaps: 1 },
    leapMillis: 9000,
    rules: [
      "a report that is late is older than it says"
    ],
    depth: 5,
    depthInTests: 2
  },
  {
    name: "policies",
    about: "Policies that change while the evidence trips.",
    fleet: `a b ${pooled}`,
    before: [...known, "call a fail", "call a fail", "advance 1.5s"],
    budget: { calls: 1, acts: 1, faults: 1 },
    acts: ["reconfigure % trip=consecutive(1)"],
    rules: [
      "the evidence must trip the new policy for an interval of its own"
    ],
    depth: 6,
    depthInTests: 2
  },
  {
    name: "measured",
    about:
      "A closed circuit that opens with the first instance that trips, while the policy of an instance turns to measuring alone.",
    fleet: `a b ${any}`,
    budget: { calls: 3, faults: 1, acts: 1 },
    acts: ["reconfigure % enforcement=metricsOnly"],
    rules: [
      "an instance that only measures asks for no opening",
      "what is only measured is no evidence",
      "an instance that only measures refuses no call, and takes no lease",
      "what an instance opened before it only measured, it opens for no other"
    ],
    depth: 5,
    depthInTests: 2
  },
  {
    name: "strict",
    about: "Calls that load the fleet's view before they run, while a trip is under way.",
    fleet: `a b ${any} consistency=strict`,
    before: ["call a succeed", "deliver 1", "call b fail", "deliver 2", "deliver 2"],
    budget: { calls: 2, faults: 1 },
    rules: [
      "a strict call joins no load that was sent before it came"
    ],
    depth: 5,
    depthInTests: 2
  },
  {
    name: "alert",
    about: "Evidence that trips before an alert is called, and a fleet that must have had time to answer.",
    fleet: `a b ${pooled} bells=yes reports=everyInterval`,
    before: [
      "call a succeed",
      "call b succeed",
      "advance 2s",
      "call a fail",
      "call a fail",
      "advance 50ms",
      "deliver 1",
      "deliver 1"
    ],
    budget: { faults: 1 },
    rules: [
      "evidence trips only in an alert that all had time to answer"
    ],
    depth: 9,
    depthInTests: 4
  },
  {
    name: "silent",
    about: "A silent fleet whose unsaid successes outweigh the failures of one instance, with messages in any order.",
    fleet: `a b ${silent}`,
    before: ["call a succeed", "call b succeed", "advance 2s", "call b succeed x9", "call a fail x5"],
    budget: { calls: 1 },
    calls: ["fail"],
    promise: staysClosed,
    rules: [
      "who hears of an alert reports what is unsaid",
      "the bell is polled",
      "who judges waits for the answers to an alert"
    ],
    depth: 8,
    depthInTests: 4
  },
  {
    name: "told",
    about: "A silent fleet in which failures are told soon, once the circuit could open on as many of every instance.",
    fleet: `a b trip=rate(0.5,30s,8) ${quiet}`,
    before: silence,
    budget: { calls: 2 },
    calls: ["fail"],
    promise: tells("failure", 60, (untold) => untold >= 2),
    rules: [
      "failures that could open the circuit are reported soon",
      "what is not known may fill the minimum of calls"
    ],
    depth: 6,
    depthInTests: 2
  },
  {
    name: "isolated",
    about: "An instance that trips where the successes of the others keep the circuit closed, and tells why at once.",
    fleet: `a b trip=rate(0.5,30s,4) ${quiet}`,
    before: ["call a succeed", "call b succeed x40", "advance 3s", "call a fail x2"],
    budget: { calls: 2 },
    promise: tells("failure", 60, (untold, process) => untold > 0 && process.snapshot(0).isolated),
    rules: [
      "an own trip is reported at once"
    ],
    depth: 6,
    depthInTests: 2
  },
  {
    name: "slow",
    about: "A silent fleet in which slow calls are told in the next round, once the circuit could open on them.",
    fleet: `a b trip=slow(0.5,30s,4,100ms) ${quiet}`,
    before: silence,
    budget: { calls: 2 },
    calls: ["succeed takes=200ms"],
    promise: tells("slow", 1100, (untold) => untold >= 1),
    rules: [
      "slow calls could open the circuit, too"
    ],
    depth: 6,
    depthInTests: 2
  },
  {
    name: "called",
    about: "An alert that a wiped storage has forgotten, and a fleet that goes on to fail.",
    fleet: `a b trip=consecutive(5) ${quiet}`,
    before: [...silence, "call a fail x4", "advance 100ms"],
    budget: { calls: 1, wipes: 1 },
    calls: ["fail"],
    promise: calls(4),
    rules: [
      "every report of an instance that suspects a trip says so"
    ],
    depth: 7,
    depthInTests: 4
  },
  {
    name: "calm",
    about: "A fleet that is silent again after an alert.",
    fleet: `a b trip=consecutive(5) ${quiet}`,
    before: [...silence, "call a fail x4", "advance 100ms", "call a succeed", "advance 5s"],
    budget: { calls: 2 },
    calls: ["succeed"],
    promise: reportsAtMost(1, 5000),
    rules: [
      "an alert ends"
    ],
    depth: 7,
    depthInTests: 4
  },
  {
    name: "partial",
    about: "An instance of whose calls some fail, and which tells that less often from time to time.",
    fleet: "a trip=consecutive(50)",
    before: ["call a succeed", "advance 2s", "call a fail", "advance 50ms", "call a fail", "advance 100ms"],
    budget: { calls: 3 },
    promise: reportsAtMost(2, 300),
    rules: [
      "each report that a failure hurries makes the next one wait longer"
    ],
    depth: 8,
    depthInTests: 4
  },
  {
    name: "calmer",
    about: "An instance that told of failures once an interval, and of none for three intervals.",
    fleet: `a trip=consecutive(10) ${quiet}`,
    before: [...times(6, "call a succeed", "call a fail x3", "advance 1s"), "advance 3.2s"],
    budget: { calls: 2 },
    calls: ["fail x3"],
    promise: reportsAtMost(1, 150),
    rules: [
      "a calm makes the next report of a failure come half as late"
    ],
    depth: 8,
    depthInTests: 4
  },
  {
    name: "vain",
    about: "A row of failures in a silent fleet, after others that called alerts and opened nothing.",
    fleet: `a b trip=consecutive(5) ${quiet}`,
    before: [...silence, ...times(7, "call a fail x4", "advance 2s", "call a succeed"), "advance 5s", "call a fail x4"],
    budget: { calls: 2 },
    calls: ["succeed"],
    promise: reportsAtMost(1, 5000),
    rules: [
      "after alerts in vain a row is no suspicion before it is as long as the rule says"
    ],
    depth: 7,
    depthInTests: 4
  },
  {
    name: "beside",
    about: "A second failure soon after one that began an alert, after other alerts that opened nothing.",
    fleet: `a trip=rate(0.5,30s,8) ${quiet}`,
    before: [
      "call a succeed",
      "advance 2s",
      ...times(7, "call a succeed x5", "call a fail x4", "advance 2s"),
      "advance 8s",
      "call a fail",
      "advance 200ms",
      "call a fail"
    ],
    budget: { calls: 2 },
    calls: ["succeed"],
    promise: reportsAtMost(1, 1000),
    rules: [
      "after alerts in vain a report beside the rounds stands for that of the next round"
    ],
    depth: 8,
    depthInTests: 4
  },
  {
    name: "rows",
    about: "Failures in a row that successes end, whenever they are reported.",
    fleet: "a b trip=consecutive(9)",
    before: [...silence, "call a fail", "advance 100ms"],
    budget: { calls: 2, faults: 1 },
    rules: [
      "successes that come late end a row, too"
    ],
    depth: 5,
    depthInTests: 2
  },
  {
    name: "answers",
    about: "Instances that answer an alert at a time that they draw.",
    fleet: `a b c trip=consecutive(5) ${quiet}`,
    before: [
      "call a succeed",
      "call b succeed",
      "call c succeed",
      "advance 2s",
      "call b succeed",
      "call c succeed",
      "call a fail x4",
      "draw b 0.1",
      "draw c 0.9",
      "advance 900ms"
    ],
    budget: { faults: 1 },
    promise: answersApart,
    rules: [
      "instances answer an alert at random"
    ],
    depth: 7,
    depthInTests: 3
  },
  {
    name: "shares",
    about:
      "Calls of three instances of which one fails: it sheds them, as does one that has few, and one that has met many successes does not.",
    fleet: `a b c ${throttled}`,
    before: [
      "call a succeed",
      "call b succeed",
      "call c succeed",
      "advance 2s",
      "call a succeed",
      "call c succeed x8",
      "call b fail x80",
      "advance 3s",
      "draw a 0.1",
      "draw b 0.1",
      "draw c 0.1"
    ],
    budget: { calls: 2 },
    calls: ["succeed"],
    promise: sheds(true, true, false),
    rules: [
      "calls that were shed are requests",
      "an instance with calls enough sheds by what it has met itself",
      "an instance with few calls sheds as the fleet does",
      "who sees that calls could be shed asks for the counts of all"
    ],
    depth: 6,
    depthInTests: 2
  },
  {
    name: "unsaid",
    about: "An instance that fails, beside one whose successes are not said yet: a third sheds nothing.",
    fleet: `a b c ${throttled}`,
    before: [
      "call a succeed",
      "call b succeed",
      "call c succeed",
      "advance 2s",
      "draw a 0.1",
      "draw b 0.9",
      "draw c 0.1",
      "call c succeed",
      "call b succeed x60",
      "call a fail x40",
      "advance 950ms"
    ],
    budget: { calls: 1 },
    calls: ["succeed"],
    promise: sheds(undefined, false, false),
    rules: [
      "the fleet's requests shed calls once all had their say"
    ],
    depth: 7,
    depthInTests: 3
  },
  {
    name: "ramp",
    about: "A circuit that a probe closes, and instances that hear of it at different times.",
    fleet: `a b ${any} ramp=3s`,
    before: [...opened, "call a succeed", "advance 850ms"],
    budget: { calls: 1, faults: 1 },
    rules: [
      "the fleet's ramp begins when its circuit closed"
    ],
    depth: 6,
    depthInTests: 3
  },
  {
    name: "keys",
    about: "Two keys of a breaker, of which one may be open.",
    fleet: "a keys=2 neverOpenMoreThan=0.5 trip=consecutive(1) openFor=10s",
    before: ["call a succeed key=1", "call a succeed key=2", "advance 2s"],
    budget: { calls: 2, faults: 1 },
    calls: ["fail key=1", "fail key=2"],
    rules: [
      "no more keys open than neverOpenMoreThan says",
      "keys that open in the same second are counted",
      "the guard of the keys is asked before the fleet is"
    ],
    depth: 7,
    depthInTests: 3
  },
  {
    name: "outage",
    about:
      "A silent fleet on two storages: each instance is cut off from another one, operators act, and one is healed.",
    fleet: `a b ${chained}`,
    before: [...busy, "cut a from=primary refused", "cut b from=secondary refused"],
    budget: { acts: 1, leaps: 2 },
    acts: ["override % forcedOpen"],
    leapMillis: 3000,
    promise: knowsNewest,
    rests: ["heal a", "advance 10s"],
    rules: [
      "another storage that answers has another epoch",
      "another epoch has every circuit looked at"
    ],
    depth: 4,
    depthInTests: 2
  },
  {
    name: "return",
    about:
      "A fleet whose first storage was away for all: polls return to it sooner than changes do, while an operator acts.",
    fleet: `a b ${chained}`,
    before: [...busy, "cut a from=primary refused", "cut b from=primary refused", "override b forcedOpen"],
    budget: { acts: 3, leaps: 2 },
    acts: ["clear %", "heal %"],
    leapMillis: 1500,
    promise: knowsNewest,
    rests: ["heal a", "heal b", "advance 10s"],
    rules: [
      "every circuit is looked at where any may have rung"
    ],
    depth: 4,
    depthInTests: 2
  }
]
