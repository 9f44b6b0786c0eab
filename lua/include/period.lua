-- period_start(period, now): when the period that holds now began, ms, by UTC:
-- hourly, daily_utc, weekly (from Monday), monthly. 0 for any other word.
local DAY = 86400000

local function period_start(period, now)
  local days = math.floor(now / DAY)
  if period == 'hourly' then
    return now - now % 3600000
  elseif period == 'daily_utc' then
    return days * DAY
  elseif period == 'weekly' then
    return (days - (days + 3) % 7) * DAY
  elseif period == 'monthly' then
    -- The day of the month, from days since 1970 (civil_from_days, Howard Hinnant).
    local z = days + 719468
    local doe = z % 146097
    local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
    local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
    local mp = math.floor((5 * doy + 2) / 153)
    return (days - (doy - math.floor((153 * mp + 2) / 5))) * DAY
  end
  return 0
end
