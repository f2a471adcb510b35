package test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// A heldContext is a caller's, as long-lived as a program. It counts what it would tell of its
// end: each is memory that only that end, or a release, gives back.
type heldContext struct {
	context.Context
	held atomic.Int64
}

func (c *heldContext) Done() <-chan struct{} { return make(chan struct{}) }
func (c *heldContext) Value(any) any         { return nil } // so that package context asks AfterFunc

func (c *heldContext) AfterFunc(func()) (stop func() bool) {
	c.held.Add(1)
	var stopped atomic.Bool
	return func() bool {
		if stopped.Swap(true) {
			return false
		}
		c.held.Add(-1)
		return true
	}
}

// Where a body is read to its end and not closed, net/http keeps nothing of the request. So
// does respawn, whichever way the request took: a caller's context that lasts as long as the
// program would gather what each of its requests left.
func TestABodyReadToItsEndHoldsNothingOfItsCallersContext(t *testing.T) {
	answer := func(delay time.Duration) testkit.RoundTripperFunc {
		return func(req *http.Request) (*http.Response, error) {
			time.Sleep(delay)
			return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader("x")), Request: req}, nil
		}
	}
	suspected := func(t *testing.T, rt http.RoundTripper) {
		_, err := testkit.Do(rt, request(t.Context(), http.MethodPost, "http://a.test/", nil))
		require.ErrorIs(t, err, errReset)
	}
	for name, tt := range map[string]struct {
		base  testkit.RoundTripperFunc
		first func(*testing.T, http.RoundTripper)
		opts  []respawn.Option
	}{
		"accompanied":                     {base: answer(0)},
		"silent for more than a patience": {base: answer(10 * time.Second)},
		"under suspicion":                 {base: answer(0), first: suspected},
		"with a drain limit":              {base: answer(0), opts: []respawn.Option{respawn.WithDrainTimeout(time.Hour)}},
		"without patience":                {base: answer(0), opts: []respawn.Option{respawn.WithPatience(0)}},
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut} {
			t.Run(name+"/"+method, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					base := tt.base
					if tt.first != nil {
						base = script(lost, base)
					}
					rt := start(t, base, append(tt.opts, respawn.WithFactory(fresh))...)
					if tt.first != nil {
						tt.first(t, rt)
					}
					ctx := &heldContext{Context: t.Context()}
					req := request(ctx, method, "http://a.test/", nil)
					if method == http.MethodPut { // may be sent again
						req = request(ctx, method, "http://a.test/", strings.NewReader(payload))
						req.Header.Set("Idempotency-Key", "1")
					}
					resp, err := rt.RoundTrip(req)
					require.NoError(t, err)
					_, err = io.ReadAll(resp.Body)
					require.NoError(t, err)
					assert.Zero(t, ctx.held.Load(), "it is held until the program ends")
					assert.Zero(t, rt.Health().InFlight)
				})
			})
		}
	}
}

// HTTP/3 has a stream behind each body, also where there is nothing in it, and many do not close
// those. A caller's end then reaches the transport, as it does without respawn; after a Close
// nothing is held.
func TestWhatIsBehindABodyWithoutContentHeedsItsCaller(t *testing.T) {
	for name, tt := range map[string]struct {
		method string
		status int
	}{"HEAD": {http.MethodHead, http.StatusOK}, "204": {http.MethodGet, http.StatusNoContent}, "POST 204": {http.MethodPost, http.StatusNoContent}} {
		for path, opts := range map[string][]respawn.Option{
			"accompanied":        nil,
			"with a drain limit": {respawn.WithDrainTimeout(time.Hour)},
			"without patience":   {respawn.WithPatience(0)},
		} {
			t.Run(name+"/"+path, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var sent context.Context
					rt := start(t, testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
						sent = req.Context()
						return &http.Response{StatusCode: tt.status, Body: io.NopCloser(strings.NewReader("")), Request: req}, nil
					}), append(opts, respawn.WithFactory(fresh))...)

					ctx, cancel := context.WithCancel(t.Context())
					_, err := rt.RoundTrip(request(ctx, tt.method, "http://a.test/", nil))
					require.NoError(t, err)
					assert.Zero(t, rt.Health().InFlight)
					require.NoError(t, sent.Err())
					cancel()
					synctest.Wait()
					assert.ErrorIs(t, sent.Err(), context.Canceled, "the stream would stay for good")

					held := &heldContext{Context: t.Context()}
					resp, err := rt.RoundTrip(request(held, tt.method, "http://a.test/", nil))
					require.NoError(t, err)
					require.NoError(t, resp.Body.Close())
					assert.Zero(t, held.held.Load())
				})
			})
		}
	}
}
