package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// server checks what INFO tells of each server.
func (d *doctor) server() {
	for _, n := range d.nodes {
		for _, f := range []finding{versionOf(n.Info), evictionOf(n.Info), memoryOf(n.Info), persistenceOf(n.Info)} {
			if n.Addr != "" {
				f.What = n.Addr + ": " + f.What
			}
			d.findings = append(d.findings, f)
		}
	}
}

func versionOf(info map[string]string) finding {
	f := finding{Code: "LM002", Check: "version", Severity: sevOK}
	name, v := "Redis", info["redis_version"]
	if vk := info["valkey_version"]; vk != "" || info["server_name"] == "valkey" {
		name = "Valkey (speaks " + v + ")"
		v, f.What = info["redis_version"], ""
		if vk != "" {
			name = "Valkey " + vk + ", as Redis"
		}
	}
	major, err := strconv.Atoi(strings.SplitN(v, ".", 2)[0])
	switch {
	case err != nil:
		f.Severity, f.What = sevUnknown, "the server does not tell (embedded, or INFO is not allowed)"
	case major < 7:
		f.Severity, f.What, f.Remedy = sevError, name+" "+v, "use Redis 7.0 or newer, or Valkey"
	default:
		f.What = name + " " + v
	}
	return f
}

func evictionOf(info map[string]string) finding {
	f := finding{Code: "LM003", Check: "eviction", Severity: sevOK, What: info["maxmemory_policy"]}
	switch info["maxmemory_policy"] {
	case "noeviction":
	case "":
		f.Severity, f.What = sevUnknown, "the server does not tell its maxmemory-policy"
	default:
		f.Severity = sevError
		f.Remedy = "it evicts keys and loses operations: CONFIG SET maxmemory-policy noeviction, and in the configuration file (not done by --fix: others may share this Redis)"
	}
	return f
}

// memoryFull is the part of maxmemory from which on we warn.
const memoryFull = 0.9

func memoryOf(info map[string]string) finding {
	f := finding{Code: "LM004", Check: "memory", Severity: sevOK}
	most, err := strconv.ParseFloat(info["maxmemory"], 64)
	used, err2 := strconv.ParseFloat(info["used_memory"], 64)
	switch {
	case err != nil || err2 != nil:
		f.Severity, f.What = sevUnknown, "the server does not tell its memory"
	case most == 0:
		f.Severity, f.What, f.Remedy = sevWarning, "maxmemory is not set", "without it the host kills Redis when memory is full, where it would refuse new operations: set maxmemory below the host's"
	case used >= most*memoryFull:
		f.Severity, f.What = sevWarning, fmt.Sprintf("%.0f %% of maxmemory used", 100*used/most)
		f.Remedy = "give it more memory, or let the fleet drain: at 100 % enqueue and claims are refused"
	default:
		f.What = fmt.Sprintf("%.0f %% of maxmemory used", 100*used/most)
	}
	return f
}

func persistenceOf(info map[string]string) finding {
	f := finding{Code: "LM005", Check: "persistence", Severity: sevOK, What: "AOF on"}
	if info["aof_enabled"] == "" {
		f.Severity, f.What = sevUnknown, "the server does not tell (embedded: nothing survives its process)"
		return f
	}
	if info["aof_enabled"] == "1" {
		if info["aof_last_write_status"] == "err" {
			f.Severity, f.What, f.Remedy = sevError, "the last write of the AOF failed", "see the server's log; is the disk full?"
		}
		return f
	}
	f.Severity, f.What = sevWarning, "AOF is off: a crash of Redis loses what was accepted since the last snapshot"
	f.Remedy = "appendonly yes, appendfsync everysec"
	if save, err := strconv.ParseInt(info["rdb_last_save_time"], 10, 64); err == nil {
		f.What += fmt.Sprintf(", %s ago", short(time.Since(time.Unix(save, 0))))
	}
	return f
}

// partitions compares the configured number with the recorded one; false when
// nothing more can be looked at.
func (d *doctor) partitions(ctx context.Context) bool {
	const code, check = "LM006", "partitions"
	recorded, err := d.s.RecordedPartitions(ctx)
	switch here := d.s.Partitions(); {
	case err != nil:
		d.say(code, check, sevError, cause(err), "the user needs HGET on {prefix:fleet}:facts")
		return false
	case recorded == 0:
		d.say(code, check, sevInfo, "none recorded: no fleet has started here yet", "")
	case recorded != here:
		d.say(code, check, sevError, fmt.Sprintf("configured %d, the fleet was started with %d", here, recorded), fmt.Sprintf("set redis.partitions to %d", recorded))
		return false
	default:
		d.say(code, check, sevOK, strconv.Itoa(here), "")
	}
	return true
}
