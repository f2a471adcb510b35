package test

import (
	"context"
	"encoding/json"
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

// Health answers while a factory hangs: not even a nanosecond of a bubble's
// clock passes, so it waits for nothing and nobody.
func TestHealthAnswersWhileAFactoryHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		entered := make(chan struct{})
		rt := start(t, testkit.RoundTripperFunc(unsent), respawn.WithThreshold(1), respawn.WithRecreateTimeout(time.Hour),
			respawn.WithFactory(func(ctx context.Context) (http.RoundTripper, error) {
				close(entered)
				return hangs(ctx)
			}))
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = get(t.Context(), rt, "http://a.test/")
		}()
		<-entered
		synctest.Wait()
		began := time.Now()
		h := rt.Health()
		w := probeHealth(t, http.MethodGet, rt)
		err := rt.Check(t.Context())
		assert.Zero(t, time.Since(began))
		assert.Equal(t, respawn.StateRecovering, h.State)
		assert.True(t, h.Recreating)
		assert.Equal(t, http.StatusOK, w.Code)
		assert.NoError(t, err)
		require.NoError(t, rt.Close())
		<-done
	})
}

// The same for Recreate and for an ended transport, where nothing is tripped.
func TestHealthWhileReplacing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := &testkit.SessionStub{}
		rt := start(t, base, respawn.WithFactory(hangs), respawn.WithRecreateTimeout(time.Hour))
		go func() { _ = rt.Recreate(context.Background()) }()
		synctest.Wait()
		h := rt.Health()
		assert.Equal(t, respawn.StateHealthy, h.State, "a planned replacement is no trouble")
		assert.True(t, h.Recreating)
		base.End(net.ErrClosed)
		assert.Equal(t, respawn.StateRecovering, rt.Health().State, "it has ended, and a fresh one is on its way")
	})
}

// What a client goes through, as Health tells it. Nothing may be sent again here,
// so that each request is one step.
func TestHealthTransitions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := &testkit.Stub{}
		var product http.RoundTripper
		var errProduct error
		f := testkit.NewFactory(func(context.Context, int64) (http.RoundTripper, error) { return product, errProduct })
		rt := start(t, base, respawn.WithThreshold(2), respawn.WithReplay(respawn.ReplayNever), respawn.WithFactory(f.Make), every(time.Second))
		send := func() error {
			_, err := get(t.Context(), rt, "http://a.test/")
			return err
		}

		require.NoError(t, send())
		assert.Equal(t, respawn.StateHealthy, rt.Health().State)
		assert.Nil(t, rt.Health().LastFailure)

		base.Fail(testkit.Refused())
		require.Error(t, send())
		h := rt.Health()
		assert.Equal(t, respawn.StateHealthy, h.State, "one failure is not an outage")
		require.Len(t, h.Streaks, 1)
		assert.Equal(t, 1, h.Streaks[0].Failures)
		assert.False(t, h.Streaks[0].Tripped)

		product = testkit.Dead(testkit.Refused())
		require.Error(t, send())
		h = rt.Health()
		assert.Equal(t, respawn.StateRecovering, h.State)
		assert.True(t, h.Streaks[0].Tripped)
		assert.Zero(t, h.Rejections)
		require.Error(t, send()) // the trial
		h = rt.Health()
		assert.Equal(t, respawn.StateRecovering, h.State)
		assert.Equal(t, 1, h.Rejections)
		assert.EqualValues(t, "connection_refused", h.LastRejection.Reason)
		assert.NoError(t, rt.Check(t.Context()))

		product, errProduct = nil, errFactory
		time.Sleep(time.Second)
		require.Error(t, send(), "a refusal has spent the evidence: this one finds new")
		assert.EqualValues(t, 1, f.Calls.Load())
		require.Error(t, send())
		h = rt.Health()
		assert.Equal(t, respawn.StateFailing, h.State)
		assert.Equal(t, 2, h.Rejections)
		assert.EqualValues(t, "factory_error", h.LastRejection.Reason)
		err := rt.Check(t.Context())
		require.ErrorContains(t, err, "default is failing: factory_error")
		assert.NotContains(t, err.Error(), errFactory.Error(), "the kind of an error, not its text")

		product, errProduct = &testkit.Stub{}, nil
		time.Sleep(time.Second)
		assert.Equal(t, respawn.StateRecovering, rt.Health().State, "the next request would start a recreation")
		require.NoError(t, send(), "the candidate answers")
		assert.Equal(t, respawn.StateRecovering, rt.Health().State)
		require.Error(t, send(), "the control of what it answered")
		h = rt.Health()
		assert.Equal(t, respawn.StateHealthy, h.State)
		assert.EqualValues(t, 2, h.Generation)
		assert.Equal(t, 1, h.Promotions)
		assert.Empty(t, h.Streaks)
		assert.NotNil(t, h.LastFailure, "what was is still told")
		assert.NoError(t, rt.Check(t.Context()))
		assert.Zero(t, h.Age)
		time.Sleep(time.Minute)
		assert.Equal(t, time.Minute, rt.Health().Age)

		require.NoError(t, rt.Close())
		h = rt.Health()
		assert.Equal(t, respawn.StateClosed, h.State)
		assert.EqualValues(t, 2, h.Generation)
		assert.ErrorIs(t, rt.Check(t.Context()), respawn.ErrClosed)
	})
}

// Where a clock is so coarse that the first failure and the rejection of what was
// built for it are at the same instant, nobody can be served all the same.
func TestHealthFailsAtTheInstantOfTheFirstFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		rt := start(t, testkit.RoundTripperFunc(unsent), respawn.WithFactory(fails), every(time.Minute))
		_, err := get(t.Context(), rt, "http://a.test/")
		require.Error(t, err)
		h := rt.Health()
		require.Equal(t, begin, h.Streaks[0].Since)
		require.Equal(t, begin, h.LastFailure.Time)
		require.Equal(t, begin, time.Now())
		assert.Equal(t, respawn.StateFailing, h.State)
	})
}

// A fresh transport that is on its way, whoever asked for it, may serve: that is
// recovering, whatever the pace of others says.
func TestHealthRecoversWhileOneIsBuiltByHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := testkit.NewFactory(func(ctx context.Context, call int64) (http.RoundTripper, error) {
			if call == 1 {
				return nil, errFactory
			}
			return hangs(ctx)
		})
		rt := start(t, testkit.RoundTripperFunc(unsent), respawn.WithFactory(f.Make), every(time.Hour))
		_, err := get(t.Context(), rt, "http://a.test/")
		require.Error(t, err)
		require.Equal(t, respawn.StateFailing, rt.Health().State)
		go func() { _ = rt.Recreate(context.Background()) }()
		synctest.Wait()
		h := rt.Health()
		assert.True(t, h.Recreating)
		assert.Equal(t, respawn.StateRecovering, h.State)
	})
}

// An old transport that has ended and cannot be replaced is left to its callers, at
// the pace of the backoff.
func TestHealthOfEndedTransportThatCannotBeReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := errors.New("connection closed")
		base := &testkit.SessionStub{}
		base.End(gone)
		f := testkit.NewFactory(func(_ context.Context, call int64) (http.RoundTripper, error) {
			if call > 1 {
				return &testkit.SessionStub{}, nil
			}
			return nil, errors.New("no route")
		})
		rt := start(t, base, respawn.WithFactory(f.Make), every(time.Second))
		for range 10 {
			_, err := get(t.Context(), rt, "http://a.test/")
			require.Same(t, gone, err, "callers go on without it, to their own error")
		}
		assert.EqualValues(t, 1, f.Calls.Load(), "one build per interval")
		assert.Equal(t, respawn.StateFailing, rt.Health().State)
		time.Sleep(time.Second)
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		assert.Equal(t, respawn.StateHealthy, rt.Health().State)
	})
}

// The zero value behaves as a closed client does, and says so.
func TestTheZeroValueIsClosed(t *testing.T) {
	rt := new(respawn.RecoveringRoundTripper)
	assert.Equal(t, respawn.Health{State: respawn.StateClosed}, rt.Health())
	assert.ErrorIs(t, rt.Check(t.Context()), respawn.ErrClosed)
	assert.Equal(t, http.StatusServiceUnavailable, probeHealth(t, http.MethodGet, rt).Code)
	assert.Empty(t, rt.Recreations())
	assert.ErrorIs(t, rt.Recreate(t.Context()), respawn.ErrClosed)
	_, err := get(t.Context(), rt, "http://a.test/")
	assert.ErrorIs(t, err, respawn.ErrClosed)
	rt.CloseIdleConnections()
	assert.Nil(t, rt.WrappedRoundTripper())
	serveOnce(t, respawn.Middleware(rt)(http.NotFoundHandler()))
	assert.NoError(t, rt.Close())
}

// A closed client makes no attempt any more, whatever its backoff says.
func TestHealthOfAClosedClientHasNoNextAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &testkit.SessionStub{}
		rt := start(t, s, respawn.WithFactory(fails))
		s.End(io.EOF)
		_, err := get(t.Context(), rt, "http://a.test/")
		require.Error(t, err)
		require.NotZero(t, rt.Health().NextAttempt)
		require.NoError(t, rt.Close())
		assert.Zero(t, rt.Health().NextAttempt)
	})
}

// The current transport may recover by itself, with no swap.
func TestHealthAfterRecoveryWithoutSwap(t *testing.T) {
	rt := start(t, script(unsent, testkit.Answer), respawn.WithThreshold(1), respawn.WithFactory(fails), every(time.Hour))
	_, err := get(t.Context(), rt, "http://a.test/")
	require.Error(t, err)
	require.Equal(t, respawn.StateFailing, rt.Health().State)
	_, err = get(t.Context(), rt, "http://a.test/")
	require.NoError(t, err)
	h := rt.Health()
	assert.Equal(t, respawn.StateHealthy, h.State)
	assert.EqualValues(t, 1, h.Generation)
	assert.Empty(t, h.Streaks)
}

// An ended transport that the next request would replace is recovering: a
// readiness that failed would keep that request away. It fails while the
// backoff forbids to replace it.
func TestHealthOfEndedTransport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := &testkit.SessionStub{}
		rt := start(t, base, respawn.WithFactory(fails), every(time.Minute))
		require.NoError(t, rt.Check(t.Context()))
		base.End(net.ErrClosed)
		assert.Equal(t, respawn.StateRecovering, rt.Health().State)
		_, err := get(t.Context(), rt, "http://a.test/")
		require.ErrorIs(t, err, net.ErrClosed)
		assert.Equal(t, respawn.StateFailing, rt.Health().State)
		assert.Error(t, rt.Check(t.Context()))
		time.Sleep(time.Minute)
		assert.Equal(t, respawn.StateRecovering, rt.Health().State)
	})
}

// In flight is until the body's end, and a retired generation drains until
// then.
func TestHealthCountsOpenBodies(t *testing.T) {
	noLeaks(t)
	end := make(chan struct{})
	srv, transport := h1.serve(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		_, _ = io.WriteString(w, "begun")
		_ = http.NewResponseController(w).Flush()
		if req.URL.Path == "/long" {
			<-end
		}
	}))
	rt := start(t, transport())
	long, err := rt.RoundTrip(request(t.Context(), http.MethodGet, srv.URL+"/long", nil))
	require.NoError(t, err)
	other, err := rt.RoundTrip(request(t.Context(), http.MethodGet, srv.URL, nil))
	require.NoError(t, err)
	count := func() [2]int64 { h := rt.Health(); return [2]int64{h.InFlight, int64(h.Draining)} }
	assert.Equal(t, [2]int64{2, 0}, count())
	require.NoError(t, other.Body.Close())
	assert.Equal(t, [2]int64{1, 0}, count(), "closed without reading")

	// A request in flight means that a copy of the next one proves the fresh transport.
	recreated := make(chan error)
	go func() { recreated <- rt.Recreate(t.Context()) }()
	for rt.Health().Generation == 1 {
		_, err = get(t.Context(), rt, srv.URL)
		require.NoError(t, err)
	}
	require.NoError(t, <-recreated)
	// The copy that proved it is in flight until its answer has been thrown away.
	require.Eventually(t, func() bool { return count() == [2]int64{1, 1} }, 10*time.Second, time.Millisecond, "the old generation drains")
	fresh, err := rt.RoundTrip(request(t.Context(), http.MethodGet, srv.URL, nil))
	require.NoError(t, err)
	assert.Equal(t, [2]int64{2, 1}, count())
	require.NoError(t, fresh.Body.Close())

	close(end)
	got, err := io.ReadAll(long.Body)
	require.NoError(t, err)
	assert.Equal(t, "begun", string(got), "a body that is being read must not be cut")
	assert.Equal(t, [2]int64{0, 0}, count(), "read to its end")
	require.NoError(t, long.Body.Close())
	assert.Equal(t, [2]int64{0, 0}, count(), "and not counted out twice")
}

// Names and hosts come from configuration and from requests: whatever is in
// them, the answer is JSON that no browser takes for markup.
func TestHealthEscapesHostileNames(t *testing.T) {
	for _, hostile := range []string{
		`"},"x":{"`, "</script><script>alert(1)</script>", "line\nbreak", "\x00\x1b[31m", "\xff\xfe", "a\u2028b", "Ünïcödé", strings.Repeat("x", 4096),
	} {
		rt := start(t, testkit.RoundTripperFunc(unsent), respawn.WithName(hostile), respawn.WithThreshold(1), respawn.WithFactory(fails))
		req := request(t.Context(), http.MethodGet, "http://a.test/", nil)
		req.URL.Host = hostile
		_, err := rt.RoundTrip(req)
		require.Error(t, err)
		w := probeHealth(t, http.MethodGet, rt)
		require.True(t, json.Valid(w.Body.Bytes()), "%q", w.Body)
		body := w.Body.String()
		assert.NotContains(t, body, "<script>")
		assert.NotContains(t, body, "\x1b")
		doc := healthPage(t, w)
		require.Len(t, doc.Checks, 1, "%q", body)
		for _, checks := range doc.Checks {
			assert.Equal(t, "failing", checks[0]["state"])
			assert.Equal(t, strings.ToValidUTF8(hostile, "\ufffd"), strings.ReplaceAll(checks[0]["name"].(string), "\ufffd\ufffd", "\ufffd"))
		}
	}
}

// Nothing of a request but its authority, and nothing of an error but its
// kind, is told.
func TestHealthKeepsSecrets(t *testing.T) {
	const secret = "hunter2"
	leaky := &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("user:" + secret + "@proxy")}
	rt := start(t, testkit.Dead(leaky), respawn.WithThreshold(1), every(time.Hour), respawn.WithFactory(
		func(context.Context) (http.RoundTripper, error) { return nil, errors.New("vault token " + secret) }))
	req := request(t.Context(), http.MethodGet, "http://a.test/", nil)
	req.URL = &url.URL{
		Scheme: "http", Host: "a.test", Path: "/" + secret, RawQuery: "token=" + secret, Fragment: secret,
		User: url.UserPassword(secret, secret),
	}
	req.Header.Set("Authorization", secret)
	req.Host = secret + ".test"
	_, err := rt.RoundTrip(req)
	require.Error(t, err)

	h := rt.Health()
	require.Equal(t, respawn.StateFailing, h.State)
	w := probeHealth(t, http.MethodGet, rt)
	assert.Contains(t, w.Body.String(), "http://a.test:80")
	assert.NotContains(t, w.Body.String(), secret)
	assert.NotContains(t, rt.Check(t.Context()).Error(), secret)
	everything, err := json.Marshal(h)
	require.NoError(t, err)
	assert.NotContains(t, string(everything), secret)
}

// A flood of hosts is bounded and sorted.
func TestHealthStreaksAreSorted(t *testing.T) {
	rt := start(t, testkit.RoundTripperFunc(unsent), respawn.WithReplay(respawn.ReplayNever), respawn.WithFactory(fails))
	for _, host := range []string{"c.test", "a.test", "[2001:db8::1]:8080", "b.test:81"} {
		_, err := get(t.Context(), rt, "http://"+host)
		require.Error(t, err)
	}
	var names []string
	for _, s := range rt.Health().Streaks {
		names = append(names, s.Authority)
	}
	assert.Equal(t, []string{"http://[2001:db8::1]:8080", "http://a.test:80", "http://b.test:81", "http://c.test:80"}, names)
}
