// Package sim is the seeded simulation: it runs the real client in virtual time, in a
// world drawn from a seed. The plan's files have what chance decides; oracle.go, end.go and
// the judges have what must hold.
package sim

import (
	"context"
	"fmt"
	"runtime/pprof"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// simulate runs one seed. It fails with the line that runs it again, and the
// log of what happened.
func simulate(t *testing.T, seed uint64) (w *world) {
	again := fmt.Sprintf("SEED=%d go test -run '^TestSimulation$' ./internal/sim", seed)
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
func (w *world) run() {
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
	// Until the last sweep is over, the last factory has returned, and the last link has fallen
	// ill: callers may have been done long before the end of the storm.
	w.pause(max(2*w.plan.recreate+10*time.Second, w.plan.storm-w.now()))
	stop()
	w.pause(time.Second)
	synctest.Wait()
	w.settle()
	w.hangUp()
}
