package respawn

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestSimulation runs the client in a simulated world, once for each seed: see
// simPlan for what chance decides, and simulation_invariants_test.go for what
// must hold. SEED=n runs one seed and prints its log; FROM and SEEDS say which
// others.
func TestSimulation(t *testing.T) {
	from, seeds := simEnv(t, "FROM", 1), simEnv(t, "SEEDS", 2000)
	if testing.Short() {
		seeds = min(seeds, 200)
	}
	if os.Getenv("SEED") != "" {
		from, seeds = simEnv(t, "SEED", 0), 1
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
			for !t.Failed() {
				seed := next.Add(1) - 1
				if seed >= from+seeds {
					return
				}
				simulate(t, seed)
			}
		})
	}
}

func simEnv(t *testing.T, name string, unset uint64) uint64 {
	s := os.Getenv(name)
	if s == "" {
		return unset
	}
	n, err := strconv.ParseUint(s, 10, 64)
	require.NoError(t, err, name)
	return n
}

// simulate runs one seed. It fails with the line that runs it again, and the
// log of what happened.
func simulate(t *testing.T, seed uint64) (w *simWorld) {
	again := fmt.Sprintf("SEED=%d go test -run '^TestSimulation$' .", seed)
	stuck := time.AfterFunc(30*time.Second, func() { // of the wall clock: virtual time stands still
		panic("simulation stands still, run it again with: " + again)
	})
	defer stuck.Stop()
	defer func() {
		if v := recover(); v != nil { // synctest found goroutines that will never end
			t.Errorf("%v, run it again with: %s\n%v\n%s", v, again, w.plan, w.log.story())
		}
	}()
	pprof.Do(context.Background(), pprof.Labels("run it again with", again), func(context.Context) {
		synctest.Test(t, func(t *testing.T) {
			w = newWorld(t, drawPlan(seed))
			w.run()
			if w.log.broken != "" {
				t.Errorf("%s, run it again with: %s\n%v\n%s", w.log.broken, again, w.plan, w.log.story())
			}
		})
	})
	return w
}

// run lets the storm rage, then sees that all heals, and that nothing is left.
func (w *simWorld) run() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var storm sync.WaitGroup
	for au := range w.plan.weather {
		storm.Go(func() { w.blow(au) })
	}
	for _, list := range w.plan.callers {
		storm.Go(func() { w.call(list) })
	}
	for _, h := range w.plan.hands {
		storm.Go(func() { w.lend(h) })
	}
	go w.sample(ctx)
	storm.Wait()

	if !w.shut {
		w.note("world", "all is well")
		var calm sync.WaitGroup
		for au := range w.plan.weather {
			calm.Go(func() { w.visit(au, 1000*(au+1)) })
		}
		calm.Wait()
		w.close()
	}
	for _, f := range w.lulls {
		f()
	}
	// Until the last sweep is over, and the last factory has returned.
	w.pause(2*w.plan.patience + 10*time.Second)
	stop()
	w.pause(time.Second)
	synctest.Wait()
	w.settle()
	w.hangUp()
}

// The same seed gives the same plan, and the same log to the nanosecond, but
// for two cases in which one event wakes several goroutines that would all do
// the same thing, and the scheduler has the choice: requests that wait out one
// backoff window (WithWaitForReady), and a Recreate that takes the place of a
// replacement by age, which is due again at once.
func TestSimulationIsDeterministic(t *testing.T) {
	compared := 0
	for seed := uint64(1); compared < 50; seed++ {
		p := drawPlan(seed)
		require.Equal(t, p, drawPlan(seed))
		byHand := slices.ContainsFunc(p.hands, func(h simHand) bool { return h.what == simRecreate })
		if p.kind.real() || p.wait > 0 || p.maxAge > 0 && byHand {
			continue
		}
		compared++
		require.Equal(t, simulate(t, seed).log.lines(), simulate(t, seed).log.lines(), "seed %d", seed)
	}
}
