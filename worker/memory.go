package worker

import (
	"io/fs"
	"os"
	"path"
	"runtime/debug"
	"strconv"
	"strings"
)

// garbage is the GC percentage of a worker process. Its live heap is a few MB and
// its garbage a few KB per operation, so that at Go's default of 100 it collects
// all the time: measured, 400 saves a fifth of its CPU and costs some 20 MB.
const garbage = 400

// memoryShare is how much of the memory that its cgroup grants the process uses before
// the collector works harder; the rest is for what is not the Go heap.
const memoryShare = 0.9

// tuneMemory sets the garbage collector and its limit, unless GOGC and GOMEMLIMIT do.
// Without a limit a heap may grow to five times what lives in it, and the kernel kills
// a worker that holds large requests. It returns the limit in bytes; 0: it set none.
func tuneMemory() int64 {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbage)
	}
	if os.Getenv("GOMEMLIMIT") != "" {
		return 0
	}
	granted := grantedMemory(os.DirFS("/"))
	if granted == 0 {
		return 0
	}
	limit := int64(float64(granted) * memoryShare)
	debug.SetMemoryLimit(limit)
	return limit
}

// grantedMemory is how many bytes the process's cgroup and those above it grant it, the
// least of them; 0 where none does. root is the file system. It reads cgroup v2 and v1;
// in a container the process's own group is the root of what it sees.
func grantedMemory(root fs.FS) (least int64) {
	groups, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(groups)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3) // NUMBER:CONTROLLERS:PATH
		if len(parts) != 3 {
			continue
		}
		mount, file := "", ""
		switch {
		case parts[0] == "0" && parts[1] == "":
			mount, file = "sys/fs/cgroup", "memory.max"
		case parts[1] == "memory":
			mount, file = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		default:
			continue
		}
		for group := path.Clean("/" + parts[2]); ; group = path.Dir(group) {
			if n := readBytes(root, path.Join(mount, group, file)); n > 0 && (least == 0 || n < least) {
				least = n
			}
			if group == "/" {
				break
			}
		}
	}
	return least
}

// unlimited is what cgroup v1 says where there is no limit: the largest number of pages.
const unlimited = 1 << 60

func readBytes(root fs.FS, name string) int64 {
	text, err := fs.ReadFile(root, name)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64) // "max": no limit
	if err != nil || n >= unlimited {
		return 0
	}
	return n
}
