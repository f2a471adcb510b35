package test

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
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
