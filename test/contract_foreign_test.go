package test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
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

// RoundTrippers that break the contract are tolerated as far as net/http does.
func TestContractForeignRoundTrippers(t *testing.T) {
	for _, slow := range []bool{false, true} {
		opts := []respawn.Option{respawn.WithFactory(fresh), respawn.WithReplay(respawn.ReplayNever)}
		if slow {
			opts = append(opts, respawn.WithDrainTimeout(time.Hour))
		}
		t.Run(fmt.Sprintf("nil body, slow=%v", slow), func(t *testing.T) {
			rt := start(t, testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: 200, ContentLength: 0}, nil
			}), opts...)
			resp, err := rt.RoundTrip(request(t.Context(), http.MethodGet, "http://a.test/", nil))
			require.NoError(t, err)
			assert.Nil(t, resp.Body)
			assert.Nil(t, resp.Request, "what the transport did not set stays so")
			assert.Zero(t, rt.Health().InFlight)

			resp, err = (&http.Client{Transport: rt}).Get("http://a.test/") // net/http/client.go makes a body for it
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
		})
		t.Run(fmt.Sprintf("nil response and nil error, slow=%v", slow), func(t *testing.T) {
			rt := start(t, testkit.RoundTripperFunc(func(*http.Request) (*http.Response, error) { return nil, nil }), opts...)
			_, err := (&http.Client{Transport: rt}).Get("http://a.test/")
			require.ErrorContains(t, err, "returned a nil *Response with a nil error")
			assert.Zero(t, rt.Health().InFlight)
		})
		t.Run(fmt.Sprintf("another request in the response, slow=%v", slow), func(t *testing.T) {
			other := request(t.Context(), http.MethodGet, "http://b.test/", nil)
			rt := start(t, testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
				resp, err := testkit.Answer(req)
				resp.Request = other
				return resp, err
			}), opts...)
			resp, err := rt.RoundTrip(request(t.Context(), http.MethodGet, "http://a.test/", nil))
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			assert.Same(t, other, resp.Request, "respawn takes back only the request it made itself")
		})
	}
}

// ownError is an error type that no package knows.
type ownError struct{ code int }

func (e *ownError) Error() string { return fmt.Sprint("own error ", e.code) }

// The error is the transport's own value, not something that wraps it: C:270
// and users make bare type assertions.
func TestContractErrorsAreUnwrapped(t *testing.T) {
	kinds := map[string]error{
		"dial":     testkit.Refused(),
		"reset":    errReset,
		"unknown":  &ownError{7},
		"EOF":      io.EOF,
		"closed":   net.ErrClosed,
		"canceled": context.Canceled, // the transport's own word, the caller is still there
	}
	ways := map[string][]respawn.Option{
		"default":         {respawn.WithFactory(fails)},
		"threshold 1":     {respawn.WithThreshold(1), respawn.WithFactory(fails)},
		"never replayed":  {respawn.WithReplay(respawn.ReplayNever), respawn.WithFactory(fails)},
		"drain limit":     {respawn.WithDrainTimeout(time.Hour), respawn.WithFactory(fails)},
		"factory panics":  {respawn.WithThreshold(1), respawn.WithFactory(func(context.Context) (http.RoundTripper, error) { panic("x") })},
		"factory has nil": {respawn.WithThreshold(1), respawn.WithFactory(func(context.Context) (http.RoundTripper, error) { return nil, nil })},
	}
	for kind, want := range kinds {
		for way, opts := range ways {
			t.Run(kind+"/"+way, func(t *testing.T) {
				rt := start(t, testkit.Dead(want), opts...)
				for range 5 { // before, at and after the trip
					_, err := rt.RoundTrip(request(t.Context(), http.MethodGet, "http://a.test/", nil))
					assert.True(t, err == want, "got %#v, want the transport's own %#v", err, want)
				}
				_, err := (&http.Client{Transport: rt}).Get("http://a.test/")
				uerr, ok := err.(*url.Error)
				require.True(t, ok, "%T", err)
				assert.True(t, uerr.Err == want, "url.Error.Err must be the transport's own %#v", want)
			})
		}
	}

	// C:270 tells "server gave HTTP response to HTTPS client" by a bare type
	// assertion to tls.RecordHeaderError.
	t.Run("scheme mismatch", func(t *testing.T) {
		noLeaks(t)
		srv, transport := h1.serve(t, http.NotFoundHandler())
		rt := start(t, transport())
		_, err := (&http.Client{Transport: rt}).Get(strings.Replace(srv.URL, "http:", "https:", 1))
		assert.ErrorIs(t, err, http.ErrSchemeMismatch)
	})
}

// The trial's error, too, is handed on as it is.
func TestContractTrialErrorIsUnwrapped(t *testing.T) {
	want := &ownError{8}
	rt := start(t, testkit.Dead(testkit.Refused()), respawn.WithThreshold(1), respawn.WithReplay(respawn.ReplayUnsent), respawn.WithFactory(
		func(context.Context) (http.RoundTripper, error) { return testkit.Dead(want), nil }))
	_, err := rt.RoundTrip(request(t.Context(), http.MethodGet, "http://a.test/", nil))
	assert.True(t, err == error(want), "got %#v", err)
}

// Kubernetes code unwraps RoundTrippers down to the *http.Transport.
func TestContractWrappedRoundTripper(t *testing.T) {
	base, next := &testkit.Stub{}, &testkit.Stub{}
	rt := start(t, base, respawn.WithFactory(func(context.Context) (http.RoundTripper, error) { return next, nil }))
	var unwrapper interface{ WrappedRoundTripper() http.RoundTripper } = rt
	assert.Same(t, base, unwrapper.WrappedRoundTripper(), "generation 1 is base itself")
	require.NoError(t, rt.Recreate(t.Context()))
	assert.Same(t, next, unwrapper.WrappedRoundTripper())
	require.NoError(t, rt.Close())
	assert.Same(t, next, unwrapper.WrappedRoundTripper(), "the last one after Close")

	var rtr http.RoundTripper = rt
	_, cancels := rtr.(interface{ CancelRequest(*http.Request) })
	assert.False(t, cancels, "http.Client would prefer CancelRequest over contexts")
}

// A parting transport gives a response and an error, as go-retryablehttp's ErrorHandler
// may; what it gave is still open at the end of the test unless respawn closed it.
type parting struct {
	delay  time.Duration
	status int    // 0: 502
	text   string // "": why
	fails  func() error
	gave   []*partingBody
}

// drawParting draws what a transport gives with its errors.
func drawParting(d draw) *parting {
	typed, untyped := d.chance(0.7), nameless(d).Error()
	return &parting{
		delay: d.between(0, 300*time.Millisecond), status: 200 + d.IntN(400), text: strings.Repeat("x", 1+d.IntN(10000)),
		fails: func() error {
			if typed {
				return testkit.Refused()
			}
			return errors.New(untyped)
		},
	}
}

type partingBody struct {
	io.Reader
	err    error
	closes int
}

func (b *partingBody) Close() error { b.closes++; return nil }

func (p *parting) RoundTrip(req *http.Request) (*http.Response, error) {
	time.Sleep(p.delay)
	b := &partingBody{Reader: strings.NewReader(cmp.Or(p.text, "why")), err: testkit.Refused()}
	if p.fails != nil {
		b.err = p.fails()
	}
	p.gave = append(p.gave, b)
	return &http.Response{StatusCode: cmp.Or(p.status, http.StatusBadGateway), Body: b, Request: req}, b.err
}

// Where a transport gives both, the caller gets both, also after other attempts: those
// that belong together, as they are. What it does not get is closed.
func TestContractAResponseWithAnErrorIsTheCallers(t *testing.T) {
	for name, way := range map[string]func(d draw) []respawn.Option{
		"sent again": func(draw) []respawn.Option { return []respawn.Option{respawn.WithFactory(fails)} },
		"tried": func(d draw) []respawn.Option {
			return []respawn.Option{respawn.WithFactory(testkit.Builds(func() http.RoundTripper { return &parting{} }).Make)}
		},
		"never sent again": func(draw) []respawn.Option {
			return []respawn.Option{respawn.WithFactory(fails), respawn.WithReplay(respawn.ReplayNever)}
		},
		"waiting for ready": func(d draw) []respawn.Option {
			return []respawn.Option{respawn.WithFactory(fails), respawn.WithWaitForReady(d.between(time.Second, 10*time.Second))}
		},
	} {
		t.Run(name, func(t *testing.T) {
			overDraws(t, 15, func(t *testing.T, d draw) {
				p := drawParting(d)
				rt := start(t, p, append(d.options(), way(d)...)...)
				for range 1 + d.IntN(4) { // before and after the trip
					before := len(p.gave)
					req := request(t.Context(), oneOf(d, http.MethodGet, http.MethodPost), "http://a.test/", nil)
					resp, err := rt.RoundTrip(req)
					gave := p.gave[before:]
					if len(gave) == 0 && name == "tried" {
						require.Error(t, err) // it can be asked only once, and was asked there
						require.NoError(t, resp.Body.Close())
						continue
					}
					last := gave[len(gave)-1]
					require.True(t, err == last.err, "got %#v", err)
					require.NotNil(t, resp)
					assert.Same(t, req, resp.Request)
					assert.Equal(t, p.status, resp.StatusCode)
					text, _ := io.ReadAll(resp.Body)
					assert.Equal(t, p.text, string(text))
					for _, b := range gave[:len(gave)-1] {
						assert.Equal(t, 1, b.closes, "replaced by a later one")
					}
					assert.Zero(t, last.closes, "the caller's")
					require.NoError(t, resp.Body.Close())
					assert.Equal(t, 1, last.closes)
					assert.Zero(t, rt.Health().InFlight)
				}
			})
		})
	}
}

func TestContractAResponseWithAnErrorIsClosedWhereAnAnswerComes(t *testing.T) {
	overDraws(t, 20, func(t *testing.T, d draw) {
		p := drawParting(d)
		rt := start(t, p, append(d.options(), respawn.WithThreshold(1+d.IntN(3)), respawn.WithFactory(fresh))...)
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		require.NotEmpty(t, p.gave)
		for _, b := range p.gave {
			assert.Equal(t, 1, b.closes)
		}
	})
}

// A copy's, too, which comes when its caller has its answer.
func TestContractAResponseWithAnErrorThatComesLateIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var well atomic.Bool
		base := testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
			if !well.Load() {
				return staysSilent(nil).RoundTrip(req)
			}
			return answersAfter(2 * time.Second).RoundTrip(req)
		})
		candidate := &parting{delay: time.Minute}
		rt := start(t, base, respawn.WithStallThreshold(1, 0),
			respawn.WithFactory(func(context.Context) (http.RoundTripper, error) { return candidate, nil }))
		stallsFor(t, rt, "http://a.test/", time.Second)
		well.Store(true)
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		require.Len(t, candidate.gave, 1)
		assert.Equal(t, 1, candidate.gave[0].closes)
	})
}
