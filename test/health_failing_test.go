package test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
	"github.com/respawnhttp/respawn/respawndebug"
)

// A Recreate that was given up says nothing about the factory.
func TestARecreateGivenUpIsNotFailing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := start(t, allDown(), respawn.WithReplay(respawn.ReplayNever), respawn.WithFactory(func(ctx context.Context) (http.RoundTripper, error) {
			select {
			case <-time.After(time.Second):
				return allDown(), nil
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
		}))
		for range 3 {
			_, err := get(t.Context(), rt, "http://a.test/")
			require.Error(t, err)
		}
		require.Equal(t, respawn.StateRecovering, rt.Health().State)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		require.ErrorIs(t, rt.Recreate(ctx), context.DeadlineExceeded) // the operator changed their mind
		synctest.Wait()
		assert.EqualValues(t, "given_up", rt.Health().LastRejection.Reason)
		assert.Equal(t, respawn.StateRecovering, rt.Health().State)
	})
}

// Readiness must not keep away the traffic that would replace what has ended.
func TestFailingIsNotForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := &testkit.SessionStub{}
		rt := start(t, base, respawn.WithFactory(testkit.Builds(func() http.RoundTripper { return &testkit.SessionStub{} }).Make))
		base.End(errSessionClosed)
		for range 60 { // Kubernetes asks; no traffic comes while we are not ready
			if rt.Check(t.Context()) == nil {
				_, err := get(t.Context(), rt, "http://a.test/")
				assert.NoError(t, err)
				return
			}
			time.Sleep(time.Second)
		}
		t.Error("not ready for a minute, though the next request would have been served")
	})
}

// A rejection from before the transport ended is not why the client fails.
func TestWhyAClientFailsIsNotAnOldRejection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second, calls := &testkit.SessionStub{}, &testkit.SessionStub{}, 0
		rt := start(t, first, every(time.Second), respawn.WithFactory(func(context.Context) (http.RoundTripper, error) {
			calls++
			if calls == 1 {
				return nil, errFactory
			}
			return second, nil
		}))
		require.Error(t, rt.Recreate(t.Context()))
		time.Sleep(time.Hour)
		first.End(errSessionClosed)
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		second.End(errSessionClosed) // within a first interval of the one before
		_, err = get(t.Context(), rt, "http://a.test/")
		require.Error(t, err)
		require.EqualValues(t, "failing", rt.Health().State)
		require.ErrorContains(t, rt.Check(t.Context()), "is failing: transport_ended")
		page := httptest.NewRecorder()
		respawndebug.DebugHandler(rt).ServeHTTP(page, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/?format=json", nil))
		require.Contains(t, page.Body.String(), "No request can be served for now: the transport has ended, and")
	})
}
