package config_test

import (
	"net/http"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/body"
	"github.com/respawnhttp/respawn/internal/config"
	"github.com/respawnhttp/respawn/internal/evidence"
)

// The defaults, as the documentation of each option gives them.
func TestDefaults(t *testing.T) {
	cfg := config.Default()
	assert.Equal(t, "default", cfg.Name)
	assert.Equal(t, 3, cfg.Threshold)
	assert.Equal(t, 3, cfg.Stalls)
	assert.Equal(t, time.Second, cfg.StallSpan)
	assert.Equal(t, 10*time.Second, cfg.RecreateTimeout)
	assert.Equal(t, body.Idempotent, cfg.Replay)
	assert.Zero(t, body.Idempotent, "the zero value is the default")
	assert.Nil(t, cfg.Fallback)
	assert.Zero(t, cfg.WaitForReady)
	assert.Zero(t, cfg.MaxAge)
	assert.Zero(t, cfg.DrainTimeout)
	req, err := http.NewRequest(http.MethodGet, "http://a.test", nil)
	require.NoError(t, err)
	assert.Equal(t, evidence.Failure, cfg.Classify(req, syscall.ECONNREFUSED))
	for range 100 {
		c := cfg.Chance()
		assert.True(t, 0 <= c && c < 1)
	}
}

// The backoff goes from 500 ms to 30 s, by half more each time, with ±50 % jitter, for ever.
func TestDefaultBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := config.Default().NewBackOff()
		want := 500 * time.Millisecond
		jittered := map[time.Duration]bool{}
		for range 200 {
			d := b.NextBackOff()
			require.NotEqual(t, backoff.Stop, d, "a policy that gives up would leave the process stuck")
			assert.GreaterOrEqual(t, d, want/2)
			assert.LessOrEqual(t, d, want*3/2)
			jittered[d] = true
			want = min(want*3/2, 30*time.Second)
			time.Sleep(time.Hour)
		}
		assert.Greater(t, len(jittered), 100, "a fleet must not move in lockstep")
	})
}

// What no option sets, a test of another package can: an Option is a function of
// a Config, though users cannot name that.
func TestKnobsWithoutOption(t *testing.T) {
	asked := 0
	chance := func(c *config.Config) error {
		c.Chance = func() float64 { asked++; return 0.5 }
		return nil
	}
	rt, err := respawn.New(nil, respawn.WithMaxAge(time.Hour), respawn.WithPatience(0), respawn.Option(chance))
	require.NoError(t, err)
	require.NoError(t, rt.Close())
	assert.Equal(t, 1, asked)
}
