package test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// A request whose context has ended before it is sent is the transport's to refuse,
// off the healthy path, too: it finds the context as it is.
func TestContractCanceledBeforeItIsSent(t *testing.T) {
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		t.Run(method, func(t *testing.T) {
			var found error
			rt := start(t, script(lost, func(req *http.Request) (*http.Response, error) {
				found = req.Context().Err()
				return testkit.Answer(req)
			}), respawn.WithFactory(fresh))
			_, err := testkit.Do(rt, request(t.Context(), http.MethodPost, "http://a.test/", nil))
			require.Error(t, err)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			_, err = testkit.Do(rt, request(ctx, method, "http://a.test/", nil))
			require.NoError(t, err)
			assert.Equal(t, context.Canceled, found)
		})
	}
}

// Request.Cancel is deprecated and in use.
func TestContractLegacyCancel(t *testing.T) {
	for _, proto := range protocols {
		t.Run(proto.name+" while sending", func(t *testing.T) {
			noLeaks(t)
			arrived := make(chan struct{}, 8)
			srv, transport := proto.serve(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				arrived <- struct{}{}
				hang(w, req)
			}))
			rt := start(t, transport())
			for range 4 {
				var sent bodies
				req := request(t.Context(), http.MethodPost, srv.URL, nil)
				req.Body = sent.next(strings.NewReader(payload)) // one-shot, so a copy is sent
				cancel := make(chan struct{})
				setCancel(req, cancel)
				go func() { <-arrived; close(cancel) }()
				_, err := rt.RoundTrip(req)
				require.ErrorContains(t, err, "request canceled")
			}
			assert.Empty(t, rt.Health().Streaks, "giving up is no failure")
			assert.EqualValues(t, 1, rt.Health().Generation)
		})
	}
	t.Run("while waiting for a verdict", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var sent bodies
			rt := start(t, testkit.RoundTripperFunc(unsent), respawn.WithThreshold(1), respawn.WithFactory(hangs), respawn.WithRecreateTimeout(time.Hour))
			req := request(t.Context(), http.MethodPost, "http://a.test/", nil)
			req.Body = sent.next(strings.NewReader(payload))
			cancel := make(chan struct{})
			setCancel(req, cancel)
			time.AfterFunc(time.Second, func() { close(cancel) })
			began := time.Now()
			_, err := rt.RoundTrip(req)
			require.Error(t, err)
			assert.Equal(t, time.Second, time.Since(began), "the wait must end with Cancel")
			sent.assertClosedOnce(t)
		})
	})
	t.Run("while waiting out the backoff", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			rt := start(t, testkit.RoundTripperFunc(unsent), respawn.WithThreshold(1), respawn.WithFactory(fails), every(time.Hour), respawn.WithWaitForReady(2*time.Hour))
			req := request(t.Context(), http.MethodGet, "http://a.test/", nil)
			cancel := make(chan struct{})
			setCancel(req, cancel)
			time.AfterFunc(time.Second, func() { close(cancel) })
			began := time.Now()
			_, err := rt.RoundTrip(req)
			require.Error(t, err)
			assert.Equal(t, time.Second, time.Since(began), "the wait must end with Cancel")
		})
	})
	t.Run("ended transport, nothing failed yet", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			base := &testkit.SessionStub{}
			base.End(net.ErrClosed)
			rt := start(t, base, respawn.WithFactory(hangs), respawn.WithRecreateTimeout(time.Hour))
			cause := errors.New("the user closed the tab")
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(time.Second, func() { cancel(cause) })
			_, err := rt.RoundTrip(request(ctx, http.MethodGet, "http://a.test/", nil))
			assert.Equal(t, cause, err, "as net/http reports a cause")

			req := request(t.Context(), http.MethodGet, "http://a.test/", nil)
			gone := make(chan struct{})
			setCancel(req, gone)
			time.AfterFunc(time.Second, func() { close(gone) })
			_, err = rt.RoundTrip(req)
			assert.ErrorContains(t, err, "request canceled")
			assert.Zero(t, base.Calls.Load(), "no request may be lost on an ended transport while a fresh one is on its way")
		})
	})
}

// http.Client.Timeout takes its legacy branch through any RoundTripper that is
// not *http.Transport (C:325): a context deadline and Request.Cancel, racing.
// The error is a timeout to the caller, and no failure to respawn.
func TestContractClientTimeout(t *testing.T) {
	for _, proto := range protocols {
		t.Run(proto.name, func(t *testing.T) {
			noLeaks(t)
			srv, transport := proto.serve(t, http.HandlerFunc(hang))
			p := testkit.NewProbe(t)
			rt := start(t, transport(), append(observed(p), respawn.WithThreshold(1), respawn.WithStallThreshold(0, 0))...)
			client := &http.Client{Transport: rt, Timeout: 5 * time.Millisecond}
			for i := range 40 {
				method, body := http.MethodGet, io.Reader(nil)
				if i%2 == 1 { // a one-shot body takes the other path
					method, body = http.MethodPost, io.MultiReader(strings.NewReader(payload))
				}
				_, err := client.Do(request(t.Context(), method, srv.URL, body))
				uerr, ok := errors.AsType[*url.Error](err)
				require.True(t, ok, "%T", err)
				require.True(t, uerr.Timeout(), "%v", err)
			}
			h := rt.Health()
			assert.EqualValues(t, 1, h.Generation)
			assert.Zero(t, h.Rejections)
			for _, s := range h.Streaks {
				assert.Zero(t, s.Failures, "a caller's timeout must not count as a failure")
				assert.False(t, s.Tripped)
			}
			assert.Zero(t, p.Total("respawn.request.replays"), "a caller that gave up is not served twice")
		})
	}
}

// Over h1 a context's cause comes back as it is and hides context.Canceled
// (FACTS): the same through respawn, on both its paths.
func TestContractContextCause(t *testing.T) {
	cause := errors.New("the user closed the tab")
	for _, proto := range protocols {
		t.Run(proto.name, func(t *testing.T) {
			noLeaks(t)
			arrived := make(chan struct{})
			srv, transport := proto.serve(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				arrived <- struct{}{}
				hang(w, req)
			}))
			abandon := func(rt http.RoundTripper, body io.Reader) error {
				ctx, cancel := context.WithCancelCause(t.Context())
				go func() { <-arrived; cancel(cause) }()
				_, err := testkit.Do(rt, request(ctx, http.MethodPost, srv.URL, body))
				return err
			}
			bare := abandon(transport(), nil)
			require.Error(t, bare)
			rt := start(t, transport(), respawn.WithThreshold(1))
			assert.Equal(t, bare, abandon(rt, nil))
			assert.Equal(t, bare, abandon(rt, io.MultiReader(strings.NewReader(payload))))
			limited := start(t, transport(), respawn.WithDrainTimeout(time.Hour))
			assert.Equal(t, bare, abandon(limited, nil))
			assert.Empty(t, rt.Health().Streaks)
		})
	}
}
