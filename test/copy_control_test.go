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
	"github.com/respawnhttp/respawn/internal/evidence"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// slowlyReplaced makes a client of a dead transport, whose successors take 4.5 s to answer. The
// transport heeds the deadline and the channel of a request, as net/http's dials do.
func slowlyReplaced(t *testing.T) *respawn.RecoveringRoundTripper {
	dead := testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
		var late <-chan time.Time
		if at, limited := req.Context().Deadline(); limited {
			late = time.After(time.Until(at))
		}
		select {
		case <-req.Context().Done():
			return nil, req.Context().Err()
		case <-late:
			return nil, context.DeadlineExceeded
		case <-evidence.LegacyCancel(req):
			return nil, context.Canceled
		}
	})
	return onePatience(t, dead, respawn.WithFactory(testkit.Builds(func() http.RoundTripper {
		return answersAfter(4500 * time.Millisecond)
	}).Make))
}

// The control of a copy begins when the copy is answered. It needs nothing of its caller, who has
// that answer, and has canceled since, or would be too late.
func TestTheControlOfAnAnsweredCopyGoesOnWithoutItsCaller(t *testing.T) {
	for name, within := range map[string]func(context.Context) (context.Context, context.CancelFunc){
		"it cancels": context.WithCancel,
		"its deadline passes": func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 10500*time.Millisecond)
		},
		"its deadline is far": func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, time.Hour)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rt := slowlyReplaced(t)
				ctx, cancel := within(t.Context())
				_, err := get(ctx, rt, "http://a.test/")
				require.NoError(t, err)
				if name == "it cancels" {
					cancel()
				}
				time.Sleep(6 * time.Second)
				cancel()
				synctest.Wait()
				assert.EqualValues(t, 2, rt.Health().Generation)
				rested(t, rt)
			})
		})
	}
}

// Nor does it heed the channel by which http.Client.Timeout ends a request.
func TestTheControlOfAnAnsweredCopyDoesNotHeedItsClientsTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := slowlyReplaced(t)
		client := &http.Client{Transport: rt, Timeout: 10500 * time.Millisecond}
		resp, err := client.Get("http://a.test/")
		require.NoError(t, err)
		time.Sleep(6 * time.Second) // the timeout passes, since the body is not closed
		require.NoError(t, resp.Body.Close())
		synctest.Wait()
		assert.EqualValues(t, 2, rt.Health().Generation)
		rested(t, rt)
	})
}

// If the transport in service answers the control, it stays: the upstream was down, and is back.
func TestATransportThatAnswersTheControlOfACopyStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testkit.NewProbe(t)
		rt := onePatience(t, script(staysSilent(nil).RoundTrip, answersAfter(time.Millisecond).RoundTrip), observed(p)...)
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		assert.EqualValues(t, 1, rt.Health().Generation)
		assert.Equal(t, map[string]int{"silence rejected": 1}, p.Outcomes())
		rested(t, rt)
	})
}
