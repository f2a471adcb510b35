package test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// A heeding body is at its end, unless its request's context has ended, which its
// Close looks at, too.
type heedingBody struct{ ctx context.Context }

func (b *heedingBody) Read([]byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	return 0, io.EOF
}

func (b *heedingBody) Close() error { return b.ctx.Err() }

// The context of an accompanied request lasts until its body is at its end or closed, also
// where there is nothing in that body: HTTP/3 has a stream behind every one. A Close that
// heeds it after the end fails for nobody.
func TestTheContextOfAnAccompaniedRequestLastsAsLongAsItsBody(t *testing.T) {
	for _, tt := range []struct {
		name, method string
		status       int
	}{
		{"GET 200", http.MethodGet, http.StatusOK},
		{"GET 204", http.MethodGet, http.StatusNoContent},
		{"GET 304", http.MethodGet, http.StatusNotModified},
		{"HEAD 200", http.MethodHead, http.StatusOK},
	} {
		for name, after := range map[string]time.Duration{"at once": 0, "after a silence": 12 * time.Second} {
			t.Run(tt.name+" "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var sent context.Context
					rt := start(t, testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
						time.Sleep(after)
						sent = req.Context()
						return &http.Response{StatusCode: tt.status, Body: &heedingBody{sent}, Request: req}, nil
					}), patient(5*time.Second), respawn.WithFactory(fails))
					resp, err := rt.RoundTrip(request(t.Context(), tt.method, "http://a.test/", nil))
					require.NoError(t, err)
					require.NoError(t, sent.Err(), "there may be a stream behind the body")
					_, err = io.ReadAll(resp.Body)
					require.NoError(t, err)
					assert.Zero(t, rt.Health().InFlight, "it is out at its body's end")
					require.NoError(t, resp.Body.Close())
					assert.ErrorIs(t, sent.Err(), context.Canceled)
					rested(t, rt)
				})
			})
		}
	}
}

// A caller that has to wait for the verdict on its copy, since it is in its transport
// yet, does not wait until its own deadline: what it gets then is a body that it cannot
// read.
func TestNobodyIsHeldForAVerdictUntilItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := onePatience(t, staysSilent(nil), respawn.WithFactory(testkit.Builds(func() http.RoundTripper {
			return answersAfter(5900 * time.Millisecond)
		}).Make))
		begin := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 11500*time.Millisecond)
		defer cancel()
		resp, err := rt.RoundTrip(request(ctx, http.MethodGet, "http://a.test/", nil))
		require.NoError(t, err)
		assert.Equal(t, 11*time.Second, time.Since(begin))
		require.NoError(t, ctx.Err())
		require.NoError(t, resp.Body.Close())
		time.Sleep(12 * time.Second) // the control has twice as long as the copy took
		rested(t, rt)
	})
}

// Where stalls are turned off, nobody who leaves was stalled.
func TestWithoutStallsNobodyWhoLeavesWasStalled(t *testing.T) {
	for name, off := range map[string]respawn.Option{
		"WithPatience(0)": respawn.WithPatience(0), "WithStallThreshold(0)": respawn.WithStallThreshold(0, 0),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rt := start(t, staysSilent(nil), respawn.WithFactory(fails), off)
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(time.Hour, cancel)
				_, err := testkit.Do(rt, request(ctx, http.MethodPost, "http://a.test/", nil))
				require.ErrorIs(t, err, context.Canceled)
				assert.Empty(t, rt.Health().Streaks)
			})
		})
	}
}

// A transport may return a response beside its error. Where the caller has its answer
// from elsewhere, nobody but respawn closes that response.
func TestAResponseBesideALateErrorIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body := track(strings.NewReader("beside"))
		responses := 0 // of the request, and of the control of its copy
		rt := onePatience(t, testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
			<-req.Context().Done()
			responses++
			return &http.Response{StatusCode: http.StatusBadGateway, Body: body}, context.Cause(req.Context())
		}))
		code, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		assert.Equal(t, http.StatusOK, code)
		rested(t, rt)
		assert.EqualValues(t, responses, body.closes.Load())
		assert.NotZero(t, responses)
	})
}

type panickyBody struct{ io.Reader }

func (panickyBody) Close() error { panic("the body's") }

// A control whose answer nobody wants any more costs nobody anything, even where its
// body panics when it is closed: there is no caller left whose goroutine that would be.
func TestABodyThatPanicsWhenItIsDiscardedCostsNobodyAnything(t *testing.T) {
	for name, opts := range map[string][]respawn.Option{"its caller waits in its transport": nil, "in a goroutine of its own": {respawn.WithDrainTimeout(time.Hour)}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rt := onePatience(t, testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
					time.Sleep(5050 * time.Millisecond)
					return &http.Response{StatusCode: http.StatusBadGateway, Body: panickyBody{strings.NewReader("late")}, Request: req}, nil
				}), opts...)
				code, err := get(t.Context(), rt, "http://a.test/")
				require.NoError(t, err)
				assert.Equal(t, http.StatusOK, code)
				time.Sleep(time.Second)
				rested(t, rt)
			})
		})
	}
}
