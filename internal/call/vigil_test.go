package call

import (
	"context"
	"net/http"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn/internal/config"
	"github.com/respawnhttp/respawn/internal/core"
	"github.com/respawnhttp/respawn/internal/gate"
	"github.com/respawnhttp/respawn/internal/generation"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// A deaf listener hears nothing.
type deaf struct{}

func (deaf) Begin(r *gate.Recreation) context.Context       { return r.Ctx }
func (deaf) Note(gate.Told)                                 {}
func (deaf) Tell(gate.Told)                                 {}
func (deaf) Drained(*generation.Generation)                 {}
func (deaf) Lingers([]gate.Retired)                         {}
func (deaf) Broke(*generation.Generation, string)           {}
func (deaf) Failed(context.Context, core.Authority, string) {}
func (deaf) Resent(context.Context, core.Authority, int)    {}

// made returns the Maker of a client that serves from base.
func made(t *testing.T, base http.RoundTripper) *Maker {
	t.Helper()
	cfg := &config.Config{Threshold: 3, Stalls: 3, StallSpan: time.Second, Patience: 5 * time.Second, Chance: func() float64 { return 0.5 }}
	m := &Maker{Config: cfg, Gate: new(gate.Gate), Listener: deaf{}}
	m.Gate.Open(cfg, testkit.RoundTripperFunc(nil), base, deaf{})
	t.Cleanup(func() { m.Gate.Close() })
	return m
}

// A vigil over nothing, since its transport was retired in between, may be told so in
// the instant before it has left.
func TestAVigilThatCameTooLateIsToldNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := made(t, &testkit.Stub{})
		gen := m.Gate.Current()
		require.NotNil(t, m.Gate.Close())
		req := testkit.Request(t.Context(), http.MethodGet, "http://a.test/", nil)
		v := &vigil{Maker: m, req: req, gen: gen, rope: newRope(req.Context())}
		require.False(t, v.begin(func() {}))
		v.Condemned()
		v.Silent()
		assert.Zero(t, v.Authority())
		_, err := v.abandon()
		require.ErrorIs(t, err, gate.ErrClosed)
		assert.Zero(t, gen.InFlight())
	})
}

// A hook may fire when the request is over and its caller has changed it, as when a dial goes on
// that was begun for it.
func TestALateHookReadsNoRequestThatIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := made(t, testkit.Dead(testkit.Refused()))
		req := testkit.Request(t.Context(), http.MethodGet, "http://a.test/", nil)
		_, err := m.Do(req)
		require.Error(t, err)
		require.NotNil(t, m.Gate.Alert(), "something is suspected")
		v := &vigil{Maker: m, req: req, over: true}
		req.URL = nil
		assert.Zero(t, v.Authority())
		v.Placed()
		go func() { req.URL = &url.URL{} }() // -race would see it read
		v.Placed()
		v.Sends()
		synctest.Wait()
	})
}

// The timer may tell a request that it is silent when its caller has its answer, and
// has made another request of it.
func TestACallersRequestIsNotReadOnceItHasItsAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := made(t, testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
			time.Sleep(6 * time.Second)
			return testkit.Answer(req)
		}))
		req := testkit.Request(t.Context(), http.MethodPost, "http://a.test/", nil)
		fl := make(chan *flight)
		v := &vigil{Maker: m, req: req, sent: req, gen: m.Gate.Current()}
		require.True(t, v.begin(func() {}))
		go func() { f := v.adopt(); fl <- f }()
		f := <-fl
		told := make(chan struct{})
		go func() { // the timer, which has adopted it
			defer close(told)
			time.Sleep(7 * time.Second)
			f.Silent()
			f.Condemned()
		}()
		_, err, well := v.keep()
		require.NoError(t, err)
		require.False(t, well)
		*req = *testkit.Request(t.Context(), http.MethodGet, "http://b.test/", nil)
		<-told
	})
}

// A context that takes its time keeps its own request waiting, and not the timer, which has
// others to look after.
func TestNoLockIsHeldOverACallersContext(t *testing.T) {
	m := made(t, &testkit.Stub{})
	req := testkit.Request(t.Context(), http.MethodPost, "http://a.test/", nil)
	v := &vigil{Maker: m, req: req, sent: req, gen: m.Gate.Current()}
	require.True(t, v.begin(func() {
		if assert.True(t, v.mu.TryLock(), "the timer would wait") {
			v.mu.Unlock()
		}
	}))
	_, err, _ := v.keep()
	require.NoError(t, err)
	v.stripe.Leave()
}
