package test

import (
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// rewrapped is what a wrapper around respawn may put into resp.Body.
type rewrapped struct{ io.ReadWriteCloser }

// The caller may replace resp.Body while the drain limit cuts what was in it: the
// limit holds on to the body, and leaves the response alone. The race detector is
// half of this test.
func TestTheDrainLimitLeavesTheResponseAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
			pr, pw := io.Pipe()
			return &http.Response{StatusCode: http.StatusSwitchingProtocols, Header: http.Header{}, Request: req, Body: struct {
				io.Reader
				io.Writer
				io.Closer
			}{pr, pw, pr}}, nil
		})
		rt := start(t, base, respawn.WithDrainTimeout(50*time.Millisecond), respawn.WithRecreateTimeout(20*time.Millisecond),
			respawn.WithFactory(wellAfter(0).Make))
		resp, err := rt.RoundTrip(request(t.Context(), http.MethodGet, "http://a.test/", nil))
		require.NoError(t, err)
		go func() { _ = rt.Recreate(t.Context()) }()
		for range 200 { // as otelhttp, http.Client and others do: once is enough for a race
			resp.Body = rewrapped{resp.Body.(io.ReadWriteCloser)}
			time.Sleep(time.Millisecond)
		}
		_, err = resp.Body.Read(make([]byte, 1))
		assert.Error(t, err, "it was cut")
		assert.Zero(t, rt.Health().Draining)
		assert.Zero(t, rt.Health().InFlight)
		resp.Body.Close()
	})
}
