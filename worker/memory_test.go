package worker

import (
	"math"
	"runtime/debug"
	"testing"
	"testing/fstest"
)

// TestGrantedMemory_IsTheLeastOfItsGroups: cgroup v2 and v1, on a host and in a container.
func TestGrantedMemory_IsTheLeastOfItsGroups(t *testing.T) {
	for name, row := range map[string]struct {
		files map[string]string
		want  int64
	}{
		"no cgroups": {nil, 0},
		"v2, none":   {map[string]string{"proc/self/cgroup": "0::/a.slice/b\n", "sys/fs/cgroup/a.slice/b/memory.max": "max\n"}, 0},
		"v2, its own": {map[string]string{
			"proc/self/cgroup": "0::/a.slice/b\n", "sys/fs/cgroup/a.slice/b/memory.max": "536870912\n", "sys/fs/cgroup/a.slice/memory.max": "max\n",
		}, 512 << 20},
		"v2, its parent's": {map[string]string{
			"proc/self/cgroup": "0::/a.slice/b\n", "sys/fs/cgroup/a.slice/b/memory.max": "536870912\n", "sys/fs/cgroup/a.slice/memory.max": "268435456",
		}, 256 << 20},
		"v2, a container": {map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "1073741824\n"}, 1 << 30},
		"v1": {map[string]string{
			"proc/self/cgroup": "5:cpu,cpuacct:/x\n4:memory:/docker/c\n0::/docker/c\n", "sys/fs/cgroup/memory/docker/c/memory.limit_in_bytes": "536870912\n",
		}, 512 << 20},
		"v1, a container": {map[string]string{"proc/self/cgroup": "4:memory:/docker/c\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "536870912\n"}, 512 << 20},
		"v1, none":        {map[string]string{"proc/self/cgroup": "4:memory:/\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, 0},
		"nonsense":        {map[string]string{"proc/self/cgroup": "x\n0::\n", "sys/fs/cgroup/memory.max": "-5"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			root := fstest.MapFS{}
			for file, text := range row.files {
				root[file] = &fstest.MapFile{Data: []byte(text)}
			}
			if got := grantedMemory(root); got != row.want {
				t.Errorf("%d bytes, want %d", got, row.want)
			}
		})
	}
}

// TestTuneMemory_GOMEMLIMITDecides: what the user set stays.
func TestTuneMemory_GOMEMLIMITDecides(t *testing.T) {
	t.Setenv("GOMEMLIMIT", "1GiB")
	before := debug.SetMemoryLimit(-1)
	t.Cleanup(func() { debug.SetGCPercent(100) })
	if got := tuneMemory(); got != 0 || debug.SetMemoryLimit(-1) != before {
		t.Errorf("a limit of %d was set", got)
	}
	if before != math.MaxInt64 {
		t.Logf("the test itself runs with a limit of %d", before)
	}
}
