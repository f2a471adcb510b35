package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
)

func testObserver(t *testing.T) *observer {
	o := newObserver()
	t.Cleanup(func() { require.NoError(t, o.close()) })
	return o
}

// noFresh is the factory of tests in which none may be needed.
func noFresh(t *testing.T) respawn.Factory {
	return func(context.Context) (http.RoundTripper, error) {
		t.Error("a fresh transport was asked for")
		return &http.Transport{}, nil
	}
}

// What is compared must do the same work: one call of the transport for each
// request that succeeds, and its answer handed on.
func TestOneCallForEachSuccess(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("hello")) }))
	defer server.Close()
	for _, p := range withPort(newPeers(testObserver(t))) {
		t.Run(p.name, func(t *testing.T) {
			transport := &http.Transport{}
			defer transport.CloseIdleConnections()
			var calls atomic.Int64
			rt := p.wrap(roundTripperFunc(func(req *http.Request) (*http.Response, error) {
				calls.Add(1)
				return transport.RoundTrip(req)
			}), noFresh(t))
			defer closeTransport(rt)
			for n := range int64(10) {
				require.NoError(t, exchange(rt, get(t.Context(), server.URL), make([]byte, 64)))
				assert.Equal(t, n+1, calls.Load())
			}
		})
	}
}
