package patience

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn/internal/core"
)

const least = 5 * time.Second

// A waiter notes what it is told, and when.
type waiter struct {
	Entry
	authority core.Authority
	began     time.Time
	since     atomic.Pointer[func() time.Time] // nil: since it began

	mu        sync.Mutex
	silent    []time.Duration
	condemned int
}

func (w *waiter) Authority() core.Authority { return w.authority }

func (w *waiter) Since() time.Time {
	if f := w.since.Load(); f != nil {
		return (*f)()
	}
	return w.began
}

func (w *waiter) Silent() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.silent = append(w.silent, time.Since(w.began))
}

func (w *waiter) Condemned() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.condemned++
}

func (w *waiter) told() []time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.silent
}

func a(host string) core.Authority { return core.Authority{Scheme: "http", Host: host, Port: "80"} }

// opened returns a registry of clients that know no authority to take longer.
func opened() *Registry {
	r := new(Registry)
	r.Open(least, func(core.Authority, time.Time) time.Duration { return least })
	return r
}

func enter(r *Registry, host string, on uint64) *waiter {
	w := &waiter{authority: a(host), began: time.Now()}
	r.Enter(&w.Entry, w, on, w.began)
	return w
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestOnlyCallersWithTimeToSpareAreAccompanied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := opened()
		for range 3 { // whatever the coarse clock has seen
			assert.True(t, r.Accompanies(t.Context()))
			assert.True(t, r.Accompanies(within(t, least*3/2)))
			assert.False(t, r.Accompanies(within(t, least*3/2-1)))
			assert.False(t, r.Accompanies(within(t, -time.Second)))
			time.Sleep(time.Hour)
		}
		ctx := within(t, 2*least)
		assert.True(t, r.Accompanies(ctx))
		time.Sleep(least/2 + 1)
		assert.False(t, r.Accompanies(ctx), "the coarse clock is behind, and the real one is asked")
		assert.False(t, new(Registry).Accompanies(t.Context()), "the zero value")
	})
}

func TestAWaiterIsToldAfterEachPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := opened()
		w := enter(r, "a", 1)
		time.Sleep(3*least + least/2)
		assert.Equal(t, []time.Duration{least, 2 * least, 3 * least}, w.told())
		assert.True(t, w.Leave())
		assert.True(t, w.Leave(), "it may be called twice")
		time.Sleep(time.Hour)
		assert.Len(t, w.told(), 3)
	})
}

func TestWhoIsAnsweredInTimeIsToldNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := opened()
		w := enter(r, "a", 1)
		time.Sleep(least - 1)
		assert.False(t, w.Leave())
		time.Sleep(time.Hour)
		assert.Empty(t, w.told())
		assert.False(t, new(Entry).Leave(), "one that never waited")
	})
}

func TestWhatWasLearntIsHeeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		r := new(Registry)
		r.Open(least, func(au core.Authority, _ time.Time) time.Duration {
			asked.Add(1)
			if au.Host == "slow" {
				return 4 * least
			}
			return least
		})
		slow, other := enter(r, "slow", 1), enter(r, "a", 1)
		enter(r, "slow", 1)
		time.Sleep(least)
		synctest.Wait()
		assert.EqualValues(t, 2+2, asked.Load(), "once for each authority, and for each that may have begun when less was known")
		time.Sleep(8*least - least)
		synctest.Wait()
		assert.Equal(t, []time.Duration{4 * least, 8 * least}, slow.told())
		assert.Len(t, other.told(), 8)
	})
}

// What was learned after a wait began is for the next one.
func TestAWaiterIsToldAfterThePatienceThatWasKnownWhenItBegan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(Registry)
		learned := time.Now().Add(least / 2)
		r.Open(least, func(_ core.Authority, since time.Time) time.Duration {
			if since.Before(learned) {
				return least
			}
			return 3 * least
		})
		early := enter(r, "a", 1)
		time.Sleep(least / 2)
		late := enter(r, "a", 1)
		time.Sleep(8 * least)
		synctest.Wait()
		assert.Equal(t, []time.Duration{least, 4 * least, 7 * least}, early.told(), "after the first silence it is another wait")
		assert.Equal(t, []time.Duration{3 * least, 6 * least}, late.told())
	})
}

// Likewise for who is late.
func TestWhoIsLateIsToldByWhatWasKnownWhenItBegan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(Registry)
		learned := time.Now().Add(least / 2)
		r.Open(least, func(_ core.Authority, since time.Time) time.Duration {
			if since.Before(learned) {
				return least
			}
			return 3 * least
		})
		enter(r, "a", 1)
		time.Sleep(least / 2)
		enter(r, "a", 1)
		time.Sleep(2 * least)
		synctest.Wait()
		assert.Equal(t, []Late{{Authority: a("a"), Waiting: 1, Longest: least * 5 / 2, Patience: 3 * least}}, r.Late())
	})
}

// The wait begins anew whenever something else keeps the waiter waiting.
func TestOnlyAWaitForTheTransportCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := opened()
		w := enter(r, "a", 1)
		free := time.Now().Add(2*least + time.Second)
		since := func() time.Time {
			if time.Now().Before(free) {
				return time.Time{}
			}
			return free
		}
		w.since.Store(&since)
		time.Sleep(10 * least)
		synctest.Wait()
		require.NotEmpty(t, w.told())
		assert.Equal(t, 4*least, w.told()[0], "the first look after a whole patience")
	})
}

func TestTheTimerRunsOnlyWhileSomebodyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := opened()
		assert.False(t, r.armed.Load())
		w := enter(r, "a", 1)
		assert.True(t, r.armed.Load())
		w.Leave()
		time.Sleep(least)
		synctest.Wait()
		assert.False(t, r.armed.Load())
		enter(r, "a", 1).Leave()
		w = enter(r, "a", 1)
		time.Sleep(least)
		synctest.Wait()
		assert.True(t, r.armed.Load())
		assert.Len(t, w.told(), 1)
	})
}

func TestThoseOnATransportThatWasReplacedAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := opened()
		r.Condemn(1, []core.Authority{a("a")}) // nobody waits
		here, fresh, other, gone := enter(r, "a", 1), enter(r, "a", 2), enter(r, "b", 1), enter(r, "a", 1)
		gone.Leave()
		r.Condemn(1, nil)
		r.Condemn(1, []core.Authority{a("a"), a("c")})
		synctest.Wait()
		for w, want := range map[*waiter]int{here: 1, fresh: 0, other: 0, gone: 0} {
			assert.Equal(t, want, w.condemned)
		}
		time.Sleep(least)
		synctest.Wait()
		assert.Len(t, other.told(), 1, "the timer goes on")
	})
}

// Thousands that fall silent at once are told that by and by: of an authority a hundred
// are enough to know.
func TestFewOfManyAreToldAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := opened()
		var all []*waiter
		for range 1000 {
			all = append(all, enter(r, "a", 1))
		}
		other := enter(r, "b", 1)
		time.Sleep(least)
		synctest.Wait()
		told := 0
		for _, w := range all {
			told += len(w.told())
		}
		assert.Equal(t, mostTold, told)
		assert.Len(t, other.told(), 1)
	})
}

// A flight is counted in before it enters, and its transport may be replaced in between.
func TestWhoEntersAfterItsTransportWasReplacedIsCondemnedAllTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := opened()
		other := enter(r, "b", 1)
		r.Condemn(1, []core.Authority{a("a")})
		synctest.Wait() // those who wait have been told
		late, elsewhere, well := enter(r, "a", 1), enter(r, "a", 2), enter(r, "b", 1)
		synctest.Wait()
		for _, w := range []*waiter{late, elsewhere, well, other} {
			w.mu.Lock()
			assert.Equal(t, w == late, w.condemned > 0)
			w.mu.Unlock()
		}
		for _, w := range []*waiter{late, elsewhere, well, other} {
			w.Leave()
		}
	})
}

func TestAClosedRegistryTellsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := opened()
		w := enter(r, "a", 1)
		r.Condemn(1, []core.Authority{a("a")})
		r.Close()
		v := enter(r, "a", 1)
		r.Condemn(1, []core.Authority{a("a")})
		time.Sleep(time.Hour)
		assert.Empty(t, w.told())
		assert.Empty(t, v.told())
		assert.Zero(t, v.condemned)
	})
}

// A client that its user has dropped is let go of, though its timer is set.
func TestTheTimerKeepsNobody(t *testing.T) {
	r := opened()
	enter(r, "a", 1).Leave()
	collected := make(chan struct{})
	runtime.AddCleanup(r, func(c chan struct{}) { close(c) }, collected)
	r = nil
	for range 100 {
		runtime.GC()
		select {
		case <-collected:
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
	t.Fatal("the registry is kept")
}

// Everybody comes and goes while the timer tells and condemns.
func TestComingAndGoingAtOnce(t *testing.T) {
	r := new(Registry)
	r.Open(time.Millisecond, func(core.Authority, time.Time) time.Duration { return time.Millisecond })
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 500 {
				w := enter(r, "a", uint64(i%2))
				if i%50 == 0 {
					time.Sleep(2 * time.Millisecond)
				}
				w.Leave()
			}
		})
	}
	for range 50 {
		r.Condemn(1, []core.Authority{a("a")})
		time.Sleep(time.Millisecond)
	}
	wg.Wait()
	for i := range r.shards {
		assert.Nil(t, r.shards[i].first)
	}
	r.Close()
}

func BenchmarkEnterAndLeave(b *testing.B) {
	r := opened()
	w := &waiter{authority: a("a"), began: time.Now()}
	b.ReportAllocs()
	for b.Loop() {
		r.Enter(&w.Entry, w, 1, w.began)
		w.Leave()
	}
}

func BenchmarkNearDeadline(b *testing.B) {
	r := opened()
	ctx, cancel := context.WithTimeout(b.Context(), time.Second)
	defer cancel()
	b.ReportAllocs()
	for b.Loop() {
		r.Accompanies(ctx)
	}
}

// What a sweep costs, off everybody's path, where 100,000 wait and all are due.
func BenchmarkSweep(b *testing.B) {
	r := opened()
	start := time.Now().Add(-time.Hour)
	for range 100_000 {
		w := &waiter{authority: a("a"), began: start}
		r.Enter(&w.Entry, w, 1, start)
	}
	r.Close() // its own timer does not disturb
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		b.StopTimer()
		for i := range r.shards {
			for e := r.shards[i].first; e != nil; e = e.next {
				e.due = start
			}
		}
		b.StartTimer()
		r.sweep()
	}
}

func TestWhoIsLateIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(Registry)
		r.Open(least, func(au core.Authority, _ time.Time) time.Duration {
			if au.Host == "slow" {
				return 4 * least
			}
			return least
		})
		enter(r, "a", 1)
		time.Sleep(time.Second)
		enter(r, "a", 1)
		enter(r, "slow", 1)
		gone := enter(r, "a", 1)
		free := enter(r, "a", 1)
		never := func() time.Time { return time.Time{} }
		free.since.Store(&never)
		assert.Empty(t, r.Late())
		time.Sleep(2 * least)
		enter(r, "a", 1)
		gone.Leave()
		synctest.Wait()
		assert.Equal(t, []Late{{a("a"), 2, 2*least + time.Second, least}}, r.Late())
		time.Sleep(2 * least)
		assert.Len(t, r.Late(), 2)
	})
}

// What a waiter does with the word is its own: one that takes for ever, since a logger
// blocks, holds up nobody else.
func TestAWaiterThatBlocksHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := opened()
		block := make(chan struct{})
		stuck := &blocking{waiter: waiter{authority: a("a"), began: time.Now()}, block: block}
		r.Enter(&stuck.Entry, stuck, 1, stuck.began)
		time.Sleep(time.Second)
		other := enter(r, "b", 1)
		time.Sleep(least)
		synctest.Wait()
		assert.Len(t, other.told(), 1)
		r.Condemn(1, []core.Authority{a("b")})
		synctest.Wait()
		other.mu.Lock()
		assert.Equal(t, 1, other.condemned)
		other.mu.Unlock()
		close(block)
		stuck.Leave()
		other.Leave()
		time.Sleep(time.Hour)
	})
}

type blocking struct {
	waiter
	block chan struct{}
}

func (b *blocking) Silent() { <-b.block }

// Whoever leaves while it is looked at has no authority any more.
func TestWhoLeavesMeanwhileIsNotLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := opened()
		w := enter(r, "a", 1)
		time.Sleep(least + time.Second)
		require.Len(t, r.Late(), 1)
		w.authority = core.Authority{} // as a vigil's is that is over
		assert.Empty(t, r.Late())
		w.Leave()
	})
}
