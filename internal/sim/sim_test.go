package sim

import (
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn/internal/testkit"
)

// keepsGoing makes TestSimulation go on after a seed that failed, to see how many do.
var keepsGoing = os.Getenv("ALL") != ""

// TestSimulation runs the client in a simulated world, once for each seed: see plan for what chance
// decides, and the judges for what must hold. SEED=n runs one seed and prints its log. FROM is the
// first of several seeds and SEEDS their number (475, in CI 2000). ALL=1 goes on after a failure.
func TestSimulation(t *testing.T) {
	from, seeds := env(t, "FROM", 1), env(t, "SEEDS", testkit.InCI[uint64](2000, 475))
	if testing.Short() {
		seeds = min(seeds, 200)
	}
	if os.Getenv("SEED") != "" {
		from, seeds = env(t, "SEED", 0), 1
		w := simulate(t, from)
		t.Logf("%v\n%s", w.plan, w.log.story())
		return
	}
	// Should one seed crash the process, the labels in the traceback name it.
	t.Setenv("GODEBUG", "tracebacklabels=1,"+os.Getenv("GODEBUG"))
	var next atomic.Uint64
	next.Store(from)
	for range runtime.GOMAXPROCS(0) {
		t.Run("worker", func(t *testing.T) {
			t.Parallel()
			for !t.Failed() || keepsGoing {
				seed := next.Add(1) - 1
				if seed >= from+seeds {
					return
				}
				t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) { simulate(t, seed) })
			}
		})
	}
}

func env(t *testing.T, name string, unset uint64) uint64 {
	s := os.Getenv(name)
	if s == "" {
		return unset
	}
	n, err := strconv.ParseUint(s, 10, 64)
	require.NoError(t, err, name)
	return n
}

// The same seed gives the same plan, and the same log to the nanosecond. Where one
// instant holds several events (a caller leaves as its copy is called back, a
// transport is replaced as its last request ends), the scheduler decides their order,
// so it is enough if any two of 20 runs agree. Left out are two cases in which
// many goroutines wake at one instant to do the same thing: requests that wait out
// one backoff window (WithWaitForReady), and a Recreate that takes the place of a
// replacement by age, which is due again at once.
func TestSimulationIsDeterministic(t *testing.T) {
	compared := 0
	for seed := uint64(1); compared < 50; seed++ {
		p := drawPlan(seed)
		require.Equal(t, p, drawPlan(seed))
		byHand := slices.ContainsFunc(p.hands, func(h hand) bool { return h.what == recreates })
		if p.kind.real() || p.wait > 0 || p.maxAge > 0 && byHand {
			continue
		}
		compared++
		assert.True(t, comesAgain(t, seed, 20), "seed %d: each run has a log of its own", seed)
	}
}

// comesAgain reports whether two of that many runs of a seed have the same log.
func comesAgain(t *testing.T, seed uint64, runs int) bool {
	seen := map[string]bool{}
	for range runs {
		log := strings.Join(simulate(t, seed).log.lines(), "\n")
		if seen[log] {
			return true
		}
		seen[log] = true
	}
	return false
}
