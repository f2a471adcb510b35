package integration

import (
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// One of two upstreams is down for 5 s. The transport is fine, so there is
// nothing to swap: the healthy host must not notice, not even by a new
// connection.
func TestUpstreamDownBesideHealthyHost(t *testing.T) {
	r := begin(t, "upstream down 5 s beside a healthy host")
	healthy, failing, back := newServer(r), newServer(r), newServer(r)
	l := listen(t)
	healthy.serve(t, l)
	healthyURL := "http://" + l.Addr().String() + "/"
	l = listen(t)
	failing.serve(t, l)
	addr := l.Addr().String()
	failingURL := "http://" + addr + "/"
	const down = 5 * time.Second

	rt := r.start(t, &http.Transport{})
	atHealthy := client{RoundTripper: rt, url: healthyURL, deadline: patience}.gets(t, 1)
	atFailing := client{RoundTripper: rt, url: failingURL, deadline: patience}.gets(t, 3)
	atHealthy.awaitSuccesses(50, time.Now())
	atFailing.awaitSuccesses(50, time.Now())

	require.NoError(t, l.Close())
	failing.hangUp()
	bare := &http.Transport{}
	r.keepsFailing(client{RoundTripper: bare, url: failingURL, deadline: patience}, down)
	awaitRejection(t, rt)
	l, err := net.Listen("tcp", addr)
	require.NoError(t, err)
	back.serve(t, l)
	curable := time.Now()
	atFailing.awaitSuccesses(200, curable)
	atHealthy.awaitSuccesses(50, curable)

	r.take(curable, rt, atFailing)
	require.NotZero(t, r.Failed, "it was down")
	require.Zero(t, r.FailedAfter, "a request to the upstream failed once it was back")
	require.Zero(t, r.Promoted, "a swap, although the transport was fine")
	require.LessOrEqual(t, r.Built, 1+8, "trials are spaced by the backoff: at 0, then by 0.5 s and half more each time, give or take the half")
	for _, o := range atHealthy.stop() {
		require.NoError(t, o.err, "the healthy host lost a request")
	}
	// net/http gives a connection up if the writing of its request is not reported within 50 ms,
	// as on a busy machine. Each of the transports that were tried would cost one more.
	require.Less(t, healthy.clients(), r.Built, "the healthy host has lost its warm connection")
}
