package main

import (
	"context"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Allocations are counted, not timed, so their budgets are gates.
func TestAllocationBudgetsOfTheStub(t *testing.T) {
	respawn := peerNamed(newPeers(testObserver(t)), nameRespawn)
	buf := make([]byte, 64)
	for _, c := range stubCases() {
		if c.goroutines > 1 {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			base := stub{c.body}
			rt := respawn.wrap(base, noFresh(t))
			defer closeTransport(rt)
			req := stubRequests(1)[0]
			count := func(rt http.RoundTripper) float64 {
				return testing.AllocsPerRun(1000, func() {
					if err := exchange(rt, req, buf); err != nil {
						t.Error(err)
					}
				})
			}
			require.Zero(t, count(base), "the stub costs nothing itself")
			if c.body == http.NoBody {
				assert.Zero(t, count(rt))
			} else {
				assert.EqualValues(t, 1, count(rt))
			}
		})
	}
}

func TestAllocationBudgetsOnLoopback(t *testing.T) {
	u, err := startUpstream()
	require.NoError(t, err)
	defer u.close()
	peers := newPeers(testObserver(t))
	buf := make([]byte, 2*bodySize)
	for _, proto := range []protocol{u.h1(false), u.h2()} {
		t.Run(proto.name, func(t *testing.T) {
			count := func(name string) float64 {
				base := proto.client()
				defer base.CloseIdleConnections()
				rt := peerNamed(peers, name).wrap(base, noFresh(t))
				defer closeTransport(rt)
				req := get(context.Background(), proto.url)
				return testing.AllocsPerRun(500, func() { require.NoError(t, exchange(rt, req, buf)) })
			}
			more := count(nameRespawn) - count(nameBare)
			if raceEnabled {
				return // the detector makes pools forget, which is allocated again
			}
			assert.LessOrEqual(t, more, 1.0)
		})
	}
}
