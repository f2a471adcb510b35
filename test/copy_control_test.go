package test

import (
	"context"
	"io"
	"net/http"
	"sync/atomic"
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
// transport heeds the deadline and the channel of a request, as net/http's dials do. If breaks is
// not zero, it fails its first request after that.
func slowlyReplaced(t *testing.T, breaks time.Duration) *respawn.RecoveringRoundTripper {
	var asked atomic.Bool
	dead := testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
		var late, broken <-chan time.Time
		if at, limited := req.Context().Deadline(); limited {
			late = time.After(time.Until(at))
		}
		if !asked.Swap(true) && breaks > 0 {
			broken = time.After(breaks)
		}
		select {
		case <-broken:
			return nil, errReset
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

// whenItBegins says what becomes of the request in service before its copy is answered, after 9.5 s.
// Where it has failed by then, its control begins at the answer, and 100 ms later where it waits.
var whenItBegins = map[string]time.Duration{"after the answer": 0, "at the answer": 7 * time.Second}

// The control of a copy begins when the copy is answered, or a little later. It needs nothing of its
// caller, who has that answer, and has canceled since, or would be too late.
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
		for when, breaks := range whenItBegins {
			t.Run(when+", "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					rt := slowlyReplaced(t, breaks)
					ctx, cancel := within(t.Context())
					_, err := get(ctx, rt, "http://a.test/")
					require.NoError(t, err)
					if name == "it cancels" {
						cancel()
					}
					time.Sleep(10 * time.Second)
					cancel()
					synctest.Wait()
					assert.EqualValues(t, 2, rt.Health().Generation)
					rested(t, rt)
				})
			})
		}
	}
}

// Nor does it heed the channel by which http.Client.Timeout ends a request.
func TestTheControlOfAnAnsweredCopyDoesNotHeedItsClientsTimeout(t *testing.T) {
	for when, breaks := range whenItBegins {
		t.Run(when, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rt := slowlyReplaced(t, breaks)
				client := &http.Client{Transport: rt, Timeout: 10500 * time.Millisecond}
				resp, err := client.Get("http://a.test/")
				require.NoError(t, err)
				time.Sleep(10 * time.Second) // the timeout passes, since the body is not closed
				require.NoError(t, resp.Body.Close())
				synctest.Wait()
				assert.EqualValues(t, 2, rt.Health().Generation)
				rested(t, rt)
			})
		})
	}
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

// A caller that waits in its transport has to have the answer of its copy in time to read it: a body
// ends with its request's context.
func TestWhoWaitsInItsTransportHasItsCopysAnswerBeforeItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := onePatience(t, staysSilent(nil), respawn.WithFactory(testkit.Builds(func() http.RoundTripper {
			return testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
				resp, err := answersAfter(4950 * time.Millisecond).RoundTrip(req) // 50 ms before the deadline
				if err == nil {
					resp.Body = &heedingBody{req.Context()}
				}
				return resp, err
			})
		}).Make))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		resp, err := rt.RoundTrip(request(ctx, http.MethodGet, "http://a.test/", nil))
		require.NoError(t, err)
		_, err = io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		time.Sleep(10 * time.Second)
		rested(t, rt)
	})
}

// A caller that waits in its transport leaves with that transport's panic, though its copy has been
// answered. Nobody else closes the body of that answer.
func TestAPanicBesideAnAnsweredCopyLeavesNothingInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		panics := testkit.RoundTripperFunc(func(*http.Request) (*http.Response, error) {
			time.Sleep(9550 * time.Millisecond) // its copy is answered 50 ms earlier
			panic("of the transport")
		})
		var closed atomic.Int64
		rt := onePatience(t, panics, respawn.WithFactory(testkit.Builds(func() http.RoundTripper {
			return testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
				resp, err := answersAfter(4500 * time.Millisecond).RoundTrip(req)
				resp.Body = closeCounter{http.NoBody, &closed}
				return resp, err
			})
		}).Make))
		require.PanicsWithValue(t, "of the transport", func() { _, _ = get(t.Context(), rt, "http://a.test/") })
		synctest.Wait()
		assert.EqualValues(t, 1, closed.Load())
		time.Sleep(time.Minute)
		rested(t, rt)
	})
}
