package main

import (
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

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
	e := effort{slice: 5 * time.Millisecond, rounds: 20} // enough requests for what is allocated once, also on a busy machine
	for _, proto := range []protocol{u.h1(false), u.h2()} {
		t.Run(proto.name, func(t *testing.T) {
			var contenders []contender
			for _, name := range []string{nameBare, nameRespawn} {
				c, err := loopbackContender(e, peerNamed(peers, name), proto, 1, func() *http.Request { return get(hurried{t.Context()}, proto.url) })
				require.NoError(t, err)
				contenders = append(contenders, c)
			}
			samples, err := interleave(rand.New(rand.NewPCG(1, 2)), e.rounds, contenders)
			require.NoError(t, err)
			more := loopbackResult{proto.name, 1, samples}.allocsMore(nameRespawn)
			t.Logf("%+.2f [%+.2f, %+.2f] allocations more than bare", more.Mid, more.Lo, more.Hi)
			assert.Less(t, more.Lo, 1+some)
		})
	}
}
