package respawn

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// connects is a RoundTripper that gets a connection and then does what next does.
func connects(next http.RoundTripper) http.RoundTripper {
	return rtFunc(func(req *http.Request) (*http.Response, error) {
		trace := httptrace.ContextClientTrace(req.Context())
		if trace != nil && trace.GotConn != nil {
			trace.GotConn(httptrace.GotConnInfo{})
		}
		return next.RoundTrip(req)
	})
}

// A caller whose own body cannot be read says nothing about the candidate it
// was to try, wherever the attempt ended: the next one goes on with it.
func TestCallersFaultIsNoRejection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := builds(func() http.RoundTripper { return connects(&stub{}) })
		p := newProbe(t)
		rt := start(t, connects(dead(syscall.ECONNRESET)), append(p.options(), WithFactory(f.make), WithReplay(ReplayUnsent))...)
		for range 3 {
			_, err := get(t.Context(), rt, "http://a.test/")
			require.Error(t, err)
		}
		broken := errors.New("disk failure")
		req := mustRequest(t.Context(), http.MethodPost, "http://a.test/", io.NopCloser(failingReader{broken}))
		_, err := rt.RoundTrip(req)
		require.Same(t, broken, err)
		assert.Zero(t, rt.Health().Rejections)

		_, err = get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		assert.EqualValues(t, 1, f.calls.Load(), "on the same candidate")
		assert.Equal(t, map[string]int{"connection_reset promoted": 1}, p.outcomes())
	})
}
