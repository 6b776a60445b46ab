/**
 * The window of `core/Buckets.ts`, in Lua. A bucket is a member `start width success failure slow` of a sorted set,
 * scored by the time at which it leaves the window: buckets of several widths are side by side in it, and each leaves in
 * its time. A report counts once in each of the widths that its policy looks at. Calls that were shed are a member of their own,
 * `start width shed`, because versions that do not know them would pass over the outcomes of a bucket with a sixth number.
 *
 * The field `window_totals` has the totals over each span that a policy asked for, so that a report reads only the
 * buckets that it adds to and those that have left a span since.
 *
 * **Invariants**
 *
 * - The totals hold as of the last write, and for the number of buckets that they name. Where the circuit was written
 *   since by a version that does not know them, or buckets were lost, they are summed anew from all buckets. They begin with `=`,
 *   by which versions that do not count calls that were shed see that these totals are not theirs.
 * - A bucket that begins after now, which a clock that was set back leaves, is in no totals. It is removed when they are
 *   summed anew, because it would come into the span unnoticed.
 * - A bucket is removed only when every span of the totals has left it behind.
 */
import { MOST_BUCKETS, WIDTHS } from "../core/Buckets.ts"

/** Other spans of which the totals are kept beside those of the report: policies differ while one is deployed. */
const MOST_OTHER_SPANS = 3

const widths = WIDTHS.slice(0, -1).map((width) => `if within <= ${MOST_BUCKETS * width} then return ${width} end`)

export const window = `
-- What is to be written: arguments of ZADD, and the members that they replace.
local entered, outdated = {}, {}

local function width_of(within)
  ${widths.join("\n  ")}
  return ${WIDTHS.at(-1)}
end

local function pattern_of(width)
  return '^(%-?%d+) ' .. width .. ' (%d+) (%d+) (%d+)$'
end

local function shed_pattern_of(width)
  return '^(%-?%d+) ' .. width .. ' (%d+)$'
end

-- The start of the oldest bucket within a span.
local function first_of(within, width)
  return math.floor((now - math.max(within, width)) / width) * width + width
end

local function span_of(within, first, success, failure, slow, shed)
  local width = width_of(within)
  return { within = within, width = width, kept = ${MOST_BUCKETS} * width, first = first or first_of(within, width),
    success = success or 0, failure = failure or 0, slow = slow or 0, shed = shed or 0 }
end

local function add(span, success, failure, slow, shed)
  span.success, span.failure, span.slow = span.success + success, span.failure + failure, span.slow + slow
  if shed then span.shed = span.shed + shed end
end

-- Adds a member of the span's width, or takes it away. Returns when it starts.
local function add_member(span, member, pattern, sign)
  local start, success, failure, slow = string.match(member, pattern)
  if start then
    add(span, sign * success, sign * failure, sign * slow)
    return start + 0
  end
  local shed
  start, shed = string.match(member, shed_pattern_of(span.width))
  if start then
    span.shed = span.shed + sign * shed
    return start + 0
  end
end

-- The totals as they are stored: the spans, when they were written, and for how many buckets.
local function stored_spans(window_totals)
  local spans = {}
  local written_at, buckets, rest = string.match(window_totals, '^=(%S+) (%S+)(.*)$')
  for within, first, success, failure, slow, shed in
    string.gmatch(rest or '', '(%d%S*) (%d+) (%d+) (%d+) (%d+) (%d+)')
  do
    spans[#spans + 1] = span_of(tonumber(within) or 0, first + 0, success + 0, failure + 0, slow + 0, shed + 0)
  end
  return spans, written_at, tonumber(buckets)
end

-- The spans with these lengths, of some spans. \`nil\` if one is missing.
local function spans_within(spans, withins)
  local found = {}
  for i, within in ipairs(withins) do
    for _, span in ipairs(spans) do
      if span.within == within then found[i] = span end
    end
    if not found[i] then return nil end
  end
  return found
end

-- Moves the spans on to now. Returns whether a bucket may have left one.
local function slide(spans)
  local slid = false
  for _, span in ipairs(spans) do
    local first = first_of(span.within, span.width)
    if first > span.first then
      local left = redis.call('ZRANGEBYSCORE', WINDOW, whole(span.first + span.kept), whole(first - span.width + span.kept))
      local pattern = pattern_of(span.width)
      for _, member in ipairs(left) do add_member(span, member, pattern, -1) end
      span.first, slid = first, true
    end
  end
  return slid
end

-- The spans of a report, and those of others that are stored, summed from the buckets.
local function sum_anew(withins, others, readable)
  local spans, known_within = {}, {}
  for _, within in ipairs(withins) do
    if not known_within[within] then spans[#spans + 1], known_within[within] = span_of(within), true end
  end
  for i = 1, math.min(#others, ${MOST_OTHER_SPANS}) do
    local within = others[i].within
    if not known_within[within] then spans[#spans + 1], known_within[within] = span_of(within), true end
  end
  for _, span in ipairs(readable and spans or {}) do
    local pattern = pattern_of(span.width)
    for _, member in ipairs(redis.call('ZRANGEBYSCORE', WINDOW, whole(span.first + span.kept), '+inf')) do
      local start = add_member(span, member, pattern, 1)
      if start and start > now then
        add_member(span, member, pattern, -1)
        outdated[#outdated + 1] = member
      end
    end
  end
  return spans
end

local function enter_in(spans, width, counts, readable)
  local kept, buckets, oldest, newest = ${MOST_BUCKETS} * width, {}, nil, nil
  for _, counted in ipairs(counts) do
    local success, failure, slow, shed = counted.success, counted.failure, counted.slow, counted.shed or 0
    -- An age below zero comes from a clock that was set back, and nothing ends in the future.
    local start = math.floor((now - math.max(0, counted.age)) / width) * width
    if start + kept > now and success + failure + slow + shed > 0 then
      local bucket = buckets[start]
      if bucket then
        add(bucket, success, failure, slow, shed)
      else
        buckets[start] = { success = success, failure = failure, slow = slow, shed = shed }
      end
      if not oldest or start < oldest then oldest = start end
      if not newest or start > newest then newest = start end
      for _, span in ipairs(spans) do
        if span.width == width and start >= span.first then add(span, success, failure, slow, shed) end
      end
    end
  end
  if not oldest then return end
  local pattern, from = pattern_of(width), whole(oldest + kept)
  local to = oldest == newest and from or whole(newest + kept)
  for _, member in ipairs(readable and redis.call('ZRANGEBYSCORE', WINDOW, from, to) or {}) do
    local start, success, failure, slow = string.match(member, pattern)
    local bucket = start and buckets[start + 0]
    if bucket and bucket.success + bucket.failure + bucket.slow > 0 then
      add(bucket, success, failure, slow)
      outdated[#outdated + 1] = member
    elseif not start then
      local shed
      start, shed = string.match(member, shed_pattern_of(width))
      bucket = start and buckets[start + 0]
      if bucket and bucket.shed > 0 then
        bucket.shed = bucket.shed + shed
        outdated[#outdated + 1] = member
      end
    end
  end
  for start, bucket in pairs(buckets) do
    if bucket.success + bucket.failure + bucket.slow > 0 then
      entered[#entered + 1] = whole(start + kept)
      entered[#entered + 1] = string.format('%.0f %.0f %.0f %.0f %.0f', start, width, bucket.success, bucket.failure,
        bucket.slow)
    end
    if bucket.shed > 0 then
      entered[#entered + 1] = whole(start + kept)
      entered[#entered + 1] = string.format('%.0f %.0f %.0f', start, width, bucket.shed)
    end
  end
end

-- Counts once in each width of the report's spans, and in all spans of these widths.
local function enter(spans, withins, counts, readable)
  local done = {}
  for _, within in ipairs(withins) do
    local width = width_of(within)
    if not done[width] then enter_in(spans, width, counts, readable) end
    done[width] = true
  end
end

local function totals(spans)
  local sums = {}
  for _, span in ipairs(spans) do
    sums[#sums + 1], sums[#sums + 2] = whole(span.success), whole(span.failure)
    sums[#sums + 1], sums[#sums + 2] = whole(span.slow), whole(span.shed)
  end
  return sums
end

local function window_totals_of(spans, written_at, buckets)
  local words = { '=' .. written_at, buckets }
  for _, span in ipairs(spans) do
    words[#words + 1] = string.format('%s %.0f %.0f %.0f %.0f %.0f', text(span.within), span.first, span.success,
      span.failure, span.slow, span.shed)
  end
  return table.concat(words, ' ')
end

local function save_window(slid)
  -- Without memory Redis refuses this write, and would refuse none behind one that it has allowed.
  if #entered > 0 then redis.call('ZADD', WINDOW, unpack(entered)) end
  if #outdated > 0 then redis.call('ZREM', WINDOW, unpack(outdated)) end
  if slid then redis.call('ZREMRANGEBYSCORE', WINDOW, '-inf', text(now)) end
end
`
