package main

import (
	"bufio"
	"os"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/respawnhttp/respawn"
)

// machine says where the figures are from, and what else ran there.
func machine(load string) [][]string {
	return [][]string{
		{"CPU", processor()},
		{"cores", thousands(runtime.NumCPU())},
		{"system", runtime.GOOS + "/" + runtime.GOARCH + kernel()},
		{"Go", strings.TrimPrefix(runtime.Version(), "go")},
		{"load average at the start", load},
	}
}

// loadAverage is that of the last minute. Before a run it is the work of
// others, who make caches and memory slower for all rows.
func loadAverage() string {
	averages, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	last, _, _ := strings.Cut(string(averages), " ")
	return last
}

func processor() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return "unknown"
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if key, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

func kernel() string {
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return ""
	}
	return ", Linux " + strings.TrimSpace(string(release))
}

// versions are those of the modules in this program.
func versions() map[string]string {
	v := map[string]string{"github.com/respawnhttp/respawn": respawn.Version}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	for _, m := range info.Deps {
		if _, own := v[m.Path]; !own {
			v[m.Path] = strings.TrimPrefix(m.Version, "v")
		}
	}
	return v
}
