package call

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptrace"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"

	"github.com/respawnhttp/respawn/internal/core"
	"github.com/respawnhttp/respawn/internal/gate"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// departed returns a flight that is under way.
func departed(t *testing.T, ctx context.Context, method string) *flight {
	m := made(t, &testkit.Stub{})
	req := testkit.Request(ctx, method, "http://a.test/", nil)
	c, gen := m.newCall(req), m.Gate.Current()
	f := gate.Flight{Attempt: c.core.AdoptWaiting(gen.ID, m.Gate.Clock(), gen.Born), Generation: gen, Stripe: gen.Enter(req)}
	fl := c.depart(f, req, false, newLeash(c.req.Context()))
	t.Cleanup(func() { c.arrived(fl); fl.bond.Leave() })
	return fl
}

// getsConnection tells the hooks of fl what net/http would.
func getsConnection(fl *flight) {
	trace := httptrace.ContextClientTrace(fl.req.Context())
	trace.GetConn("a.test:80")
	trace.GotConn(httptrace.GotConnInfo{})
}

// The core decides to call back what has no connection, and the connection may come before
// the call hears of it. What may be sent only once would be lost.
func TestWhatIsOnceOnlyAndGotItsConnectionIsNotCalledBack(t *testing.T) {
	for _, tt := range []struct {
		name, method      string
		connected, pulled bool
	}{
		{"once only, without a connection", http.MethodPost, false, true},
		{"once only, with a connection", http.MethodPost, true, false},
		{"copyable, with a connection", http.MethodGet, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fl := departed(t, t.Context(), tt.method)
				if tt.connected {
					getsConnection(fl)
				}
				fl.call.Recall(fl.Attempt)
				assert.Equal(t, tt.pulled, fl.pulled())
			})
		})
	}
}

// The caller that leaves in the instant in which its request is called back hears of its
// own context, as it would without respawn.
func TestWhoLeavesWhenCalledBackGetsItsOwnError(t *testing.T) {
	cause := errors.New("the caller's own")
	for _, tt := range []struct {
		name   string
		leaves bool
		want   error
	}{
		{"leaves", true, cause},
		{"stays", false, errCalledBack},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, leave := context.WithCancelCause(t.Context())
				defer leave(nil)
				fl := departed(t, ctx, http.MethodPost)
				fl.call.Recall(fl.Attempt)
				getsConnection(fl) // in the same instant
				if tt.leaves {
					leave(cause)
				}
				_, err, done := fl.call.failed(result{flight: fl, err: fl.req.Context().Err()})
				assert.True(t, done)
				assert.Equal(t, tt.want, err)
			})
		})
	}
}

// What the core has called back by the time that it would go to its transport is not sent, is no
// replay, and is not in flight any more.
func TestACopyThatWasCalledBackBeforeItWentIsNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stub := &testkit.Stub{}
		m := made(t, stub)
		req := testkit.Request(t.Context(), http.MethodGet, "http://a.test/", nil)
		c, gen := m.newCall(req), m.Gate.Current()
		a := c.core.AdoptWaiting(gen.ID, m.Gate.Clock(), gen.Born)
		m.Gate.Failed(req.Context(), a, core.Outcome{Left: true}, nil)
		c.Copy(gate.Flight{Attempt: a, Generation: gen, Stripe: gen.Enter(req)}, true)
		synctest.Wait()
		assert.Zero(t, stub.Calls.Load())
		assert.Zero(t, c.sent)
		assert.Zero(t, gen.InFlight())
	})
}
