/**
 * The scripts that the storage runs in Redis: the transitions of `core/Report.ts`, `core/Change.ts` and
 * `core/Lease.ts`, in Lua. A law of the conformance suite compares both on random histories: change them together.
 *
 * A script has its circuit to itself while it runs. It touches the five keys of that circuit, which are in one slot of
 * a Cluster, and replies with the circuit's fields. The storage makes the snapshot of them, with the functions of the
 * core.
 *
 * Every reply begins with the name of its request, because a client or a proxy may hand a reply to another request.
 */
import { createHash } from "node:crypto"
import { overrideWord } from "../core/Words.ts"
import { plainReport } from "./LuaPlainReport.ts"
import { inputOnly, preludeWith } from "./LuaPrelude.ts"

export interface Script {
  readonly lua: string
  /** The SHA-1 of the text. A server that has run the script before knows it by its digest. */
  readonly digest: string
}

/** `core/Report.ts`: counts a report, and sums the window. Most reports go the short way, of `LuaPlainReport.ts`. */
const sync = `
local answer = 'Counted'
local late = late_by(input.asOf)
local readable = known and not cleared
spans = sum_anew(input.withins, r and r.window_totals and stored_spans(r.window_totals) or {}, readable)
local counted = false
if input.counts and not is_repeat('report', input.instance, input.sequence) then
  if (r and not writable(r)) or late > input.idle / 2 then
    answer = 'Refused'
  elseif input.generation > was.generation then
    answer = 'Behind'
  else
    r = r or created()
    acknowledge('report', input.instance, input.sequence)
    local delta = input.lifetime
    for _, kind in ipairs({ 'success', 'failure', 'ignored', 'timeout', 'slow', 'rejected' }) do
      r[kind .. '_count'] = r[kind .. '_count'] + (delta[kind] or 0)
    end
    set_last_calls(delta, function(age) return now - math.max(0, age + late) end)
    if input.generation == r.generation then
      for _, bucket in ipairs(input.buckets) do bucket.age = bucket.age + late end
      enter(spans, input.withins, input.buckets, readable)
      local streak = input.streak
      r.consecutive_failures = streak.trailing + (streak.sawSuccess and 0 or r.consecutive_failures)
      if input.hint > late then r.retry_after_until = math.max(r.retry_after_until, now + (input.hint - late)) end
    end
    counted = true
  end
end
local suspects = input.suspect and r and writable(r) and r.generation == input.generation and r.state == 'closed'
if suspects then alert(input.suspect) end
if counted or suspects then save() end
return reply(answer, totals(spans_within(spans, input.withins)))
`

/** `core/Change.ts`: trips, what operators do, and putting back. */
const change = `
local answer = 'Refused'

local function restore(snapshot, generation, age)
  local state = snapshot.state
  r.generation = generation
  set_state(state.name)
  if state.name == 'open' then r.open_until = now + state.remaining - age end
  if state.name == 'half_open' then
    r.probe_successes, r.probe_failures = state.successes, (state.failures or 0) > 0 and state.failures
    r.probes_from = state.probesIn and now + state.probesIn - age or false
  end
  r.state_since = snapshot.elapsed and now - age - snapshot.elapsed or false
  r.consecutive_openings, r.open_for = snapshot.openings, snapshot.openFor
  set_override(snapshot.override, age)
  r.retry_after_until = now + snapshot.hint - age
  r.why, r.fingerprint = snapshot.why or false, snapshot.fingerprint or false
  -- Both counts include some of the same outcomes, so their sum would count those twice. The larger is never too large.
  for _, kind in ipairs({ 'success', 'failure', 'ignored', 'timeout', 'slow', 'rejected', 'opened' }) do
    r[kind .. '_count'] = math.max(r[kind .. '_count'], snapshot.lifetime[kind])
  end
  local function time_of(ago) return now - age - ago end
  set_last_calls(snapshot.lifetime, time_of)
  local opened_age = snapshot.lifetime.lastOpenedAge
  if opened_age then r.opened_at = math.max(r.opened_at or -math.huge, time_of(opened_age)) end
  r.updated_at = now
  clear_evidence()
end

local tags = {}

function tags.Trip()
  if now - input.asOf > input.maxAge or was.generation ~= input.generation then return end
  if was.state ~= 'closed' then return end
  if not input.opening and not (r and overridden(r) and r.override == '${overrideWord.MetricsOnly}') then return end
  r = r or created()
  answer = 'Committed'
  local generation = next_generation(input.generation)
  if input.opening then
    opened(generation, input.opening, input)
  else
    changed(generation, 'closed', input)
  end
  save()
end

function tags.PutBack()
  local snapshot = input.snapshot
  if was.generation >= snapshot.generation or input.age > input.idle or not writable(snapshot) then return end
  r = r or created()
  if not input.certain and snapshot.state.name == 'closed' and r.state == 'open' and now < r.open_until then
    -- A circuit that is wrongly open recovers by itself, so it stays open. The snapshot has the newer override.
    r.generation = next_generation(snapshot.generation)
    set_override(snapshot.override, input.age)
    r.updated_at = now
    clear_evidence()
  else
    answer = 'Committed'
    restore(snapshot, snapshot.generation, input.age)
    if r.state == 'half_open' then
      for i, held in ipairs(input.leases) do r.leases[i] = { name = held.name, ends = now + held.remaining } end
    end
  end
  save()
end

local operations = {}

function operations.Override(generation)
  r.generation = generation
  -- A lease of an older generation can be neither settled nor counted.
  set_leases({})
  set_override(input.to, 0)
  clear_evidence()
end

function operations.ClearOverride(generation)
  operations.Override(generation)
end

function operations.Reset(generation)
  changed(generation, 'closed', input)
  r.state_since, r.consecutive_openings, r.open_for = now, 0, 0
end

function operations.HalfOpen(generation)
  changed(generation, 'half_open', input)
end

function operations.Remove(generation)
  r, removed = created(), true
  set_leases({})
  r.generation, r.state_since, r.why = generation, now, input.why
  clear_evidence()
end

function operations.Import(generation)
  restore(input.to.snapshot, generation, 0)
end

function tags.Operation()
  if is_repeat('operation', input.id, 0) then
    answer = 'Committed'
    return
  end
  if input.existing and r == nil then return end
  if input.to.snapshot and not writable(input.to.snapshot) then return end
  r = r or created()
  answer = 'Committed'
  operations[input.to._tag](next_generation(input.known))
  acknowledge('operation', input.id, 0)
  save()
end

if r == nil or writable(r) then tags[input._tag]() end
return reply(answer, {})
`

/** `core/Lease.ts`: leases a probe, or settles one. */
const probe = `
local answer = 'Refused'

local function ask()
  if r.generation < input.generation then return end
  for _, lease in ipairs(r.leases) do
    if lease.name == input.name then
      if now < lease.ends then answer = 'Granted' end
      return
    end
  end
  if is_repeat('ask', input.instance, input.sequence) or overridden(r) or r.state == 'closed' then return end
  if r.state == 'half_open' and now < (r.probes_from or 0) then return end
  if (r.state == 'open' and now < r.open_until) or #r.leases - lapsed_leases() >= input.probes then return end
  if r.state == 'open' then
    local author = { why = '{"reason":"the open time is over"}', fingerprint = input.fingerprint }
    changed(next_generation(r.generation), 'half_open', author)
  end
  answer = 'Granted'
  local leases = kept_leases()
  leases[#leases + 1] = { name = input.name, ends = now + input.duration }
  set_leases(leases)
  acknowledge('ask', input.instance, input.sequence)
  save()
end

local function settle()
  if r.generation ~= input.generation or r.state ~= 'half_open' then return end
  local held, others = nil, {}
  for _, lease in ipairs(r.leases) do
    if lease.name == input.name then held = lease else others[#others + 1] = lease end
  end
  if held == nil then return end
  answer = 'Granted'
  local outcome = input.outcome
  local author = { why = outcome.why, fingerprint = input.fingerprint }
  local failures = (r.probe_failures or 0) + (outcome._tag == 'Failure' and 1 or 0)
  if outcome._tag == 'Failure' and failures >= (outcome.failures or 1) then
    r.retry_after_until = math.max(r.retry_after_until, now + outcome.hint, r.probes_from or 0)
    opened(next_generation(r.generation), outcome.opening, author)
  else
    local successes = r.probe_successes + (outcome._tag == 'Success' and 1 or 0)
    if outcome._tag == 'Success' and successes >= outcome.successes then
      changed(next_generation(r.generation), 'closed', author)
    else
      r.probe_successes, r.probe_failures, r.updated_at = successes, failures > 0 and failures, now
      local hint = outcome._tag ~= 'Success' and outcome.hint or 0
      if hint > 0 then r.probes_from = math.max(r.probes_from or 0, now + hint) end
      set_leases(others)
    end
  end
  save()
end

if r and writable(r) then
  if input._tag == 'Ask' then
    ask()
    -- The times of a circuit whose clock was set back are written, or its open time would begin again with each request.
    if ahead > 0 and answer == 'Refused' then save() end
  else
    settle()
  end
end
return reply(answer, {})
`

/** Gives the keys that have no expiry the circuit's, and replies how many they were. */
const repair = `
local at, repaired = r and expires_at(r) or math.huge, 0
if at == math.huge then return { input.request, 0 } end
for _, key in ipairs(KEYS) do
  if redis.call('PTTL', key) == -1 then
    redis.call('PEXPIREAT', key, text(math.ceil(at)))
    repaired = repaired + 1
  end
end
return { input.request, repaired }
`

/** The latest changes, also of a circuit that cannot be decoded. */
const history = `
return { input.request, redis.call('LRANGE', HISTORY, 0, input.last) }
`

/** The key as the server has it. A client may put a prefix of its own before the keys that it sends. */
const key = `
return { input.request, RECORD }
`

const BELL_MILLIS = 60000

/** Rings the bell for a circuit. What rang more than a minute ago is forgotten, at most a hundred at once. */
const ring = `
local TIMES, TOLD = unpack(KEYS)
if not redis.call('HGET', TOLD, 'epoch') then redis.call('HSET', TOLD, 'epoch', input.epoch) end
local told = redis.call('HGET', TOLD, ':' .. input.circuit)
local generation = told and tonumber(string.match(told, '^(%S+)')) or 0
if input.generation >= generation then
  local until_, called = 0, 0
  if input.alert then until_, called = now + input.alert.remaining, now - input.alert.since end
  redis.call('HSET', TOLD, 'last', string.format('%.3f', now), ':' .. input.circuit,
    string.format('%.0f %.3f %.3f', input.generation, until_, called))
  redis.call('ZADD', TIMES, string.format('%.3f', now), input.circuit)
end
for _, circuit in ipairs(redis.call('ZRANGEBYSCORE', TIMES, '-inf', string.format('(%.3f', now - ${BELL_MILLIS}),
  'LIMIT', 0, 100)) do
  redis.call('ZREM', TIMES, circuit)
  redis.call('HDEL', TOLD, ':' .. circuit)
end
return { input.request }
`

/** The circuits that rang since a time, and their bells. Without a time, or for more than a minute ago, the answer is that any may have. */
const poll = `
local TIMES, TOLD = unpack(KEYS)
if not redis.call('HGET', TOLD, 'epoch') then redis.call('HSET', TOLD, 'epoch', input.epoch) end
local known = redis.call('HMGET', TOLD, 'epoch', 'last')
local reply = { input.request, known[1], string.format('%.3f', now), known[2] or '0' }
if not input.since or now - input.since > ${BELL_MILLIS} then return reply end
local circuits = redis.call('ZRANGEBYSCORE', TIMES, string.format('%.3f', input.since), '+inf')
local told = {}
for i, circuit in ipairs(circuits) do told[i] = redis.call('HGET', TOLD, ':' .. circuit) or '' end
reply[5], reply[6] = circuits, told
return reply
`

const scriptOf = (body: string, beginning: string = preludeWith()): Script => {
  // Comments and indentation are not sent.
  const lua = (beginning + body).replaceAll(/^\s*(?:--.*)?/gm, "").replaceAll(/\n+/g, "\n")
  return { lua, digest: createHash("sha1").update(lua).digest("hex") }
}

/** By operation. */
export const scripts = {
  sync: scriptOf(sync, preludeWith(plainReport)),
  change: scriptOf(change),
  probe: scriptOf(probe),
  repair: scriptOf(repair),
  history: scriptOf(history, inputOnly),
  key: scriptOf(key, inputOnly),
  ring: scriptOf(ring, inputOnly),
  poll: scriptOf(poll, inputOnly)
}
