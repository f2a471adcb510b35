package test

import (
	"errors"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// An error that has no type, of an attempt that nobody watched, may be the request's
// own fault: it raises suspicion, so that the next attempt is watched, and trips
// nothing whatever the threshold.
func TestUntypedEvidenceOpensAStreakAndNeverTrips(t *testing.T) {
	f := testkit.Builds(func() http.RoundTripper { return &testkit.Stub{} })
	rt := start(t, testkit.Dead(errors.New("odd")), respawn.WithFactory(f.Make),
		respawn.WithThreshold(1), respawn.WithReplay(respawn.ReplayNever))

	_, err := get(t.Context(), rt, "http://a.test/")
	require.EqualError(t, err, "odd")
	require.Len(t, rt.Health().Streaks, 1)
	assert.Zero(t, rt.Health().Streaks[0].Failures)
	assert.False(t, rt.Health().Streaks[0].Tripped)

	_, err = get(t.Context(), rt, "http://a.test/")
	require.EqualError(t, err, "odd")
	assert.True(t, rt.Health().Streaks[0].Tripped, "the second was watched")
}
