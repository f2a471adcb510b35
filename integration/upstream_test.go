package integration

import (
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// One of two upstreams is down for 2 s. The transport is fine, so there is
// nothing to swap: the healthy host must not notice, not even by a new
// connection.
func TestUpstreamDownBesideHealthyHost(t *testing.T) {
	r := begin(t)
	healthy, failing, back := newServer(r), newServer(r), newServer(r)
	l := listen(t)
	healthy.serve(t, l)
	healthyURL := "http://" + l.Addr().String() + "/"
	l = listen(t)
	failing.serve(t, l)
	addr := l.Addr().String()
	failingURL := "http://" + addr + "/"
	const down = 2 * time.Second

	rt := start(t, &http.Transport{})
	atHealthy := gets(t, rt, healthyURL, 1, patience)
	atFailing := gets(t, rt, failingURL, 3, patience)
	atHealthy.awaitSuccesses(50, time.Now())
	atFailing.awaitSuccesses(50, time.Now())

	require.NoError(t, l.Close())
	failing.hangUp()
	bare := &http.Transport{}
	r.keepsFailing(bare, failingURL, down, patience)
	l, err := net.Listen("tcp", addr)
	require.NoError(t, err)
	back.serve(t, l)
	curable := time.Now()
	atFailing.awaitSuccesses(200, curable)
	atHealthy.awaitSuccesses(50, curable)

	r.take(atFailing, curable, rt)
	require.NotZero(t, r.failed, "it was down")
	require.Zero(t, r.failedAfter, "a request to the upstream failed once it was back")
	require.Zero(t, r.promoted, "a swap, although the transport was fine")
	require.LessOrEqual(t, r.built, 1+4, "trials are spaced by the backoff, from 1 s on")
	atHealthy.stop()
	for _, o := range atHealthy.outcomes {
		require.NoError(t, o.err, "the healthy host lost a request")
	}
	require.Equal(t, 1, healthy.clients(), "the healthy host has lost its warm connection")
}
