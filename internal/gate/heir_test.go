package gate

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn/internal/config"
	"github.com/respawnhttp/respawn/internal/generation"
	"github.com/respawnhttp/respawn/internal/testkit"
)

func (l *listener) Lingers([]Retired)                    {}
func (l *listener) Broke(*generation.Generation, string) {}

// A hearer hears of what becomes of generations that were retired.
type hearer struct {
	listener
	lingering [][]Retired
}

func (h *hearer) Lingers(draining []Retired) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lingering = append(h.lingering, draining)
}

// lingers is what was told of drains.
func (h *hearer) lingers() [][]Retired {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lingering
}

func stubsFactory(context.Context) (http.RoundTripper, error) { return &testkit.Stub{}, nil }

// replace promotes a fresh transport while nothing is in flight, and counts one
// request in on it.
func replace(t *testing.T, g *Gate) (s *generation.Stripe) {
	t.Helper()
	s = g.Current().EnterBy(1)
	fresh := generation.New(&testkit.Stub{}, g.cfg.DrainTimeout)
	g.mu.Lock()
	old := g.last
	fresh.ID, fresh.Number = old.ID, old.Number+1 // the core knows of one transport
	g.last = fresh
	g.current.Store(fresh)
	g.retired[old] = time.Now()
	g.mu.Unlock()
	g.retire(old)
	return s
}

// Generations that drain without end are told of once, whatever their number.
func TestGenerationsThatDrainForMinutesAreToldOfOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &hearer{}
		g, _ := open(t, l, stubsFactory)
		start := time.Now()
		stripes := []*generation.Stripe{replace(t, g)}
		time.Sleep(time.Minute)
		stripes = append(stripes, replace(t, g))
		time.Sleep(lingersAfter - time.Minute - 1)
		synctest.Wait()
		assert.Empty(t, l.lingers())
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		require.Len(t, l.lingers(), 1)
		require.Len(t, l.lingers()[0], 2, "how many")
		assert.Equal(t, start, l.lingers()[0][0].Since, "since when")
		for range 100 {
			stripes = append(stripes, replace(t, g))
			time.Sleep(time.Minute)
		}
		synctest.Wait()
		assert.Len(t, l.lingers(), 1)
		for _, s := range stripes {
			s.Leave()
		}
		time.Sleep(time.Minute)
	})
}

func TestADrainThatEndsInTimeIsNotToldOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &hearer{}
		g, _ := open(t, l, stubsFactory)
		s := replace(t, g)
		time.Sleep(lingersAfter - time.Minute)
		other := replace(t, g)
		s.Leave()
		time.Sleep(lingersAfter - 1)
		assert.Empty(t, l.lingers(), "one has not drained for long enough, and the other has")
		other.Leave()
		time.Sleep(time.Hour)
		assert.Empty(t, l.lingers())
	})
}

// What has drained is closed a little later: until then it is no drain to be told of. Where
// nothing drains any more, the one time that somebody is told is kept for later.
func TestOnlyWhatDrainsIsToldOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &hearer{}
		g, _ := open(t, l, stubsFactory)
		replace(t, g).Leave()
		require.Len(t, g.View().Retired, 1, "it is not closed yet")
		g.linger() // as the timer does that fires while the last request leaves
		assert.Empty(t, l.lingers())
		s := replace(t, g)
		g.linger()
		require.Len(t, l.lingers(), 1)
		assert.Len(t, l.lingers()[0], 1, "the other one has drained")
		s.Leave()
		time.Sleep(time.Minute)
	})
}

// Whatever has a layer in common with what is ours is not fresh.
func TestAProductThatWrapsWhatIsInServiceIsNotFresh(t *testing.T) {
	cfg := config.Default()
	fallback, client := &testkit.Stub{}, &aClient{} // whatever has the client's type is a client
	cfg.Fallback, cfg.Factory = fallback, stubsFactory
	g, pool := &Gate{}, &http.Transport{}
	base := &wrapper{pool}
	g.Open(&cfg, client, base, &listener{})
	defer g.Close()
	for name, product := range map[string]http.RoundTripper{
		"it is what is in service": base, "it wraps that": &wrapper{base}, "it is what that wraps": pool,
		"both wrap the same": &wrapper{pool}, "it wraps the fallback": &wrapper{fallback}, "it wraps the client": &wrapper{&wrapper{client}},
		"it is another client": &aClient{},
	} {
		assert.True(t, g.inService(product), name)
	}
	trial, drains := &testkit.Stub{}, &testkit.Stub{}
	g.mu.Lock()
	g.recreations[2] = &Recreation{generation: generation.New(trial, 0)}
	g.recreations[3] = &Recreation{} // its build goes on
	g.retired[generation.New(drains, 0)] = time.Now()
	g.mu.Unlock()
	for name, product := range map[string]http.RoundTripper{"it is on trial": trial, "it drains": drains} {
		assert.True(t, g.inService(product), name)
	}
	clear(g.recreations)
	clear(g.retired)
	assert.False(t, g.inService(&wrapper{&http.Transport{}}))
	g.transports() // the lock is free
}

type aClient struct{ testkit.Stub }

type wrapper struct{ http.RoundTripper }

func (w *wrapper) WrappedRoundTripper() http.RoundTripper { return w.RoundTripper }

// A hanging transport returns from Close when it may.
type hanging struct {
	testkit.Stub
	hang chan struct{}
}

func (h *hanging) Close() error {
	<-h.hang
	return h.Stub.Close()
}

func TestWaitIsOverWhenAllIsClosedOrWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config.Default()
		cfg.Factory = stubsFactory
		g, base := &Gate{}, &hanging{hang: make(chan struct{})}
		g.Open(&cfg, testkit.RoundTripperFunc(nil), base, &listener{})
		s := g.Current().EnterBy(1)
		require.NotNil(t, g.Close())
		own := errors.New("own")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, own)
		defer cancel()
		assert.Same(t, own, g.Wait(ctx, nil), "it drains")
		s.Leave()
		ctx, cancel = context.WithTimeoutCause(t.Context(), time.Minute, own)
		defer cancel()
		assert.Same(t, own, g.Wait(ctx, nil), "its Close hangs")
		close(base.hang)
		require.NoError(t, g.Wait(t.Context(), nil))
		assert.EqualValues(t, 1, base.Closes.Load())
		assert.NoError(t, g.Wait(ctx, nil), "ctx has ended, and so has all else")
	})
}

// What came too late to be tried is waited for like all else.
func TestWaitWaitsForWhatWasNeverOffered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _ := open(t, &listener{}, stubsFactory)
		late, own := &hanging{hang: make(chan struct{})}, errors.New("own")
		g.discard(late)
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, own)
		defer cancel()
		assert.Same(t, own, g.Wait(ctx, nil), "its Close hangs")
		close(late.hang)
		assert.NoError(t, g.Wait(t.Context(), nil))
	})
}

// What drains is shown in the order in which it was retired, and of one instant in the
// order in which it was built.
func TestWhatDrainsIsShownTheOldestFirst(t *testing.T) {
	g, _ := open(t, &listener{}, stubsFactory)
	now := time.Now()
	g.mu.Lock()
	for _, id := range []uint64{7, 4, 9, 2, 8, 5, 3, 6} {
		gen := generation.New(&testkit.Stub{}, 0)
		gen.ID = id
		g.retired[gen] = now.Add(-time.Duration(id/2) * time.Second)
	}
	g.mu.Unlock()
	var ids []uint64
	for _, r := range g.View().Retired {
		ids = append(ids, r.ID)
	}
	clear(g.retired)
	assert.Equal(t, []uint64{8, 9, 6, 7, 4, 5, 2, 3}, ids)
}

// What has drained need not wait for its sweep if somebody waits for it.
func TestWaitHurriesWhatHasDrained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config.Default()
		cfg.Factory = stubsFactory
		g, base := &Gate{}, &testkit.Stub{}
		g.Open(&cfg, testkit.RoundTripperFunc(nil), base, &listener{})
		s := g.Current().EnterBy(1)
		require.NotNil(t, g.Close())
		s.Leave()
		start := time.Now()
		require.NoError(t, g.Wait(t.Context(), nil))
		assert.Zero(t, time.Since(start))
		assert.EqualValues(t, 1, base.Closes.Load())
		time.Sleep(time.Minute)
	})
}

func TestSettleLeavesAHangingCloseBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config.Default()
		cfg.Factory = stubsFactory
		g, base := &Gate{}, &hanging{hang: make(chan struct{})}
		g.Open(&cfg, testkit.RoundTripperFunc(nil), base, &listener{})
		require.NotNil(t, g.Close())
		start := time.Now()
		g.Settle(nil)
		assert.Equal(t, closeLimit, time.Since(start))
		close(base.hang)
		time.Sleep(time.Minute)
	})
}

// What was replaced at the time of Close may not be retired yet: that takes no lock.
func TestSettleWaitsForARetirementThatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config.Default()
		cfg.Factory = stubsFactory
		g, old := &Gate{}, &testkit.Stub{}
		g.Open(&cfg, testkit.RoundTripperFunc(nil), &testkit.Stub{}, &listener{})
		gen := generation.New(old, 0)
		g.mu.Lock()
		g.retired[gen] = time.Now()
		g.mu.Unlock()
		told := g.Close()
		time.AfterFunc(time.Millisecond, func() { g.retire(gen) })
		g.Settle(told)
		assert.EqualValues(t, 1, old.Closes.Load())
		time.Sleep(time.Minute)
	})
}
