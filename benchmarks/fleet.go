package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

// The fleet is simulated in virtual time, which only a test can have: runFleet
// runs this one, with these in its environment.
const (
	fleetTest         = "^TestFleet$"
	fleetEnv          = "RESPAWN_BENCHMARKS_FLEET"           // where to write its fleetResult
	fleetProcessesEnv = "RESPAWN_BENCHMARKS_FLEET_PROCESSES" // how many
)

const (
	fleetWarm   = 5 * time.Second  // after the start all are connected,
	fleetDown   = 10 * time.Second // the upstream goes away,
	fleetUp     = 70 * time.Second // comes back,
	fleetEnd    = 120 * time.Second
	fleetEvery  = time.Second            // each process sends a request this often
	fleetBucket = 250 * time.Millisecond // of the count of attempts
)

// What each process has.
const (
	sceneSessions    = "sessions"    // a session that the outage ends for good, as an SSH tunnel
	sceneConnections = "connections" // a pool of connections, which dials again by itself
)

// What stands between it and the upstream.
const (
	policyJitter   = "respawn"
	policyLockstep = "respawn, no jitter"
	policyBare     = "bare"
)

type fleetResult struct {
	Processes int
	Runs      []fleetRun
}

type fleetRun struct {
	Scene, Policy string
	Attempts      []int     // connections tried at the upstream, in each bucket
	Back          []float64 // for each process that is back: its first success after the upstream is, in seconds
}

func runFleet(test *exec.Cmd, processes int) (result fleetResult, err error) {
	dir, err := os.MkdirTemp("", "fleet")
	if err != nil {
		return result, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "fleet.json")
	test.Env = append(os.Environ(), fleetEnv+"="+file, fleetProcessesEnv+"="+strconv.Itoa(processes))
	if out, err := test.CombinedOutput(); err != nil {
		return result, fmt.Errorf("%s: %w\n%s", test, err, out)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return result, err
	}
	return result, json.Unmarshal(data, &result)
}

// rate is the attempts per second in each bucket.
func (r fleetRun) rate() []float64 {
	rates := make([]float64, len(r.Attempts))
	for i, n := range r.Attempts {
		rates[i] = float64(n) / fleetBucket.Seconds()
	}
	return rates
}

// between are the rates from one time to another.
func (r fleetRun) between(from, to time.Duration) []float64 {
	return r.rate()[from/fleetBucket : to/fleetBucket]
}

func peak(rates []float64) float64 { return slices.Max(rates) }

func mean(rates []float64) float64 {
	var sum float64
	for _, r := range rates {
		sum += r
	}
	return sum / float64(len(rates))
}

// backAfter is when the share q of all processes was back.
func (r fleetRun) backAfter(q float64, processes int) (seconds float64, ok bool) {
	n := int(q * float64(processes))
	if n > len(r.Back) {
		return 0, false
	}
	return slices.Sorted(slices.Values(r.Back))[max(n, 1)-1], true
}
