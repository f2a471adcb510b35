package test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// Recreate swaps at once where nothing is in flight, and retires the old one.
func TestRecreateSwapsAtOnceWhereNothingIsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testkit.NewProbe(t)
		base := &testkit.Stub{}
		rt := start(t, base, append(observed(p), respawn.WithFactory(stubs().Make))...)
		begin := time.Now()
		require.NoError(t, rt.Recreate(t.Context()))
		assert.Zero(t, time.Since(begin))
		assert.EqualValues(t, 2, rt.Health().Generation)
		synctest.Wait()
		assert.Equal(t, map[string]int{"manual promoted": 1}, p.Outcomes())
		sweepsPass()
		assert.NotZero(t, base.IdleCloses.Load())
		assert.EqualValues(t, 1, base.Closes.Load())
	})
}

func TestRecreateEndsWithItsContextWhileTheFactoryHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testkit.NewProbe(t)
		base := &testkit.Stub{}
		late := &testkit.Stub{}
		rt := start(t, base, append(observed(p), respawn.WithFactory(func(context.Context) (http.RoundTripper, error) {
			time.Sleep(5 * time.Second) // deaf to its context
			return late, nil
		}))...)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		begin := time.Now()
		require.ErrorIs(t, rt.Recreate(ctx), context.DeadlineExceeded)
		assert.Equal(t, 50*time.Millisecond, time.Since(begin))
		sweepsPass()
		assert.Same(t, base, rt.WrappedRoundTripper(), "the current transport stays")
		assert.Zero(t, base.Closes.Load())
		assert.EqualValues(t, 1, late.Closes.Load(), "what came too late is closed")
		assert.Equal(t, map[string]int{"manual rejected": 1}, p.Outcomes())
		assert.Equal(t, "given_up", testkit.Attributes(p.Recreations()[0].Attributes())["error.type"])
	})
}

func TestRecreateTwentyTimesAtOnceMakesOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := testkit.Builds(func() http.RoundTripper { time.Sleep(10 * time.Millisecond); return &testkit.Stub{} })
		rt := start(t, &testkit.Stub{}, respawn.WithFactory(f.Make))
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() { assert.NoError(t, rt.Recreate(t.Context())) })
		}
		wg.Wait()
		assert.EqualValues(t, 1, f.Calls.Load())
		assert.EqualValues(t, 2, rt.Health().Generation)
	})
}

// The one who ordered first is not the owner: a build goes on for whoever joined it.
func TestRecreateThatJoinedGoesOnWhenTheFirstGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := testkit.NewFactory(func(ctx context.Context, _ int64) (http.RoundTripper, error) {
			select {
			case <-time.After(time.Second):
				return &testkit.Stub{}, nil
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
		})
		rt := start(t, &testkit.Stub{}, respawn.WithFactory(f.Make))
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		begin := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() { assert.ErrorIs(t, rt.Recreate(ctx), context.DeadlineExceeded) })
		synctest.Wait()
		wg.Go(func() { assert.NoError(t, rt.Recreate(t.Context())) })
		wg.Wait()
		assert.Equal(t, time.Second, time.Since(begin))
		assert.EqualValues(t, 1, f.Calls.Load())
		assert.EqualValues(t, 2, rt.Health().Generation)
	})
}

// A fresh transport that fails what the one in service answers was tried in vain:
// it is rejected when nobody has proved it by the end of WithRecreateTimeout, and
// the one who tried it has its answer long before.
func TestRecreateIsRejectedWhereSomebodyTriedInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testkit.NewProbe(t)
		base := &testkit.Stub{Delay: time.Second}
		f := testkit.Builds(func() http.RoundTripper { return testkit.Dead(testkit.Refused()) })
		rt := start(t, base, append(observed(p), respawn.WithFactory(f.Make))...)
		begin := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() { _, err := get(t.Context(), rt, "http://a.test/"); assert.NoError(t, err) })
		synctest.Wait()
		wg.Go(func() {
			assert.ErrorIs(t, rt.Recreate(t.Context()), syscall.ECONNREFUSED)
			assert.Equal(t, 10*time.Second, time.Since(begin))
		})
		synctest.Wait()
		status, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		assert.Equal(t, 200, status)
		assert.Equal(t, time.Second, time.Since(begin))
		wg.Wait()
		synctest.Wait()
		assert.EqualValues(t, 1, rt.Health().Generation)
		assert.Equal(t, map[string]int{"manual rejected": 1}, p.Outcomes())
	})
}

func TestRecreateIsPromotedUntriedWhenNoRequestComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := &testkit.Stub{Delay: time.Minute}
		rt := start(t, base, respawn.WithFactory(stubs().Make))
		var wg sync.WaitGroup
		wg.Go(func() { _, err := get(t.Context(), rt, "http://a.test/"); assert.NoError(t, err) })
		synctest.Wait()
		begin := time.Now()
		require.NoError(t, rt.Recreate(t.Context()))
		assert.Equal(t, 10*time.Second, time.Since(begin))
		assert.EqualValues(t, 2, rt.Health().Generation)
		wg.Wait()
	})
}

// Recreate ends a candidate that was built before it: with the old credentials, say.
func TestRecreateEndsACandidateThatWasBuiltBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testkit.NewProbe(t)
		var built []*testkit.Stub
		f := testkit.Builds(func() http.RoundTripper {
			time.Sleep(100 * time.Millisecond)
			built = append(built, &testkit.Stub{})
			return built[len(built)-1]
		})
		rt := start(t, testkit.Dead(testkit.Refused()), append(observed(p), respawn.WithFactory(f.Make))...)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err := get(ctx, rt, "http://a.test/")
		require.Error(t, err)
		time.Sleep(time.Second) // built, and waiting
		require.NoError(t, rt.Recreate(t.Context()))
		require.Len(t, built, 2)
		assert.Same(t, built[1], rt.WrappedRoundTripper())
		sweepsPass()
		assert.EqualValues(t, 1, built[0].Closes.Load())
		assert.Equal(t, map[string]int{"connection_refused rejected": 1, "manual promoted": 1}, p.Outcomes())
		assert.Equal(t, "superseded", testkit.Attributes(p.Recreations()[0].Attributes())["error.type"])
	})
}

func TestRecreateReportsTheFactorysError(t *testing.T) {
	own := errors.New("no certificate")
	rt := start(t, &testkit.Stub{}, respawn.WithFactory(testkit.Fails(own).Make))
	require.ErrorIs(t, rt.Recreate(t.Context()), own)
}

func TestRecreateIsErrClosedAfterClose(t *testing.T) {
	rt := start(t, &testkit.Stub{}, respawn.WithFactory(stubs().Make))
	require.NoError(t, rt.Close())
	require.ErrorIs(t, rt.Recreate(t.Context()), respawn.ErrClosed)
}
