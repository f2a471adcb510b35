package respawn

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// probeHealth asks a HealthHandler as a load balancer would.
func probeHealth(t *testing.T, method string, rts ...*RecoveringRoundTripper) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	HealthHandler(rts...).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, "/healthz", nil))
	return w
}

// document decodes an answer of HealthHandler, as anybody would see it.
func document(t *testing.T, w *httptest.ResponseRecorder) (doc struct {
	Status  string
	Version string
	Checks  map[string][]map[string]any
}) {
	t.Helper()
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &doc), "%s", w.Body)
	return doc
}

func keys(m map[string]any) (names []string) {
	for name := range m {
		names = append(names, name)
	}
	return names
}

// inState brings a client into each state. The switch lets its factory work.
var inState = []struct {
	state  State
	status string
	code   int
	make   func(*testing.T, ...Option) *RecoveringRoundTripper
}{
	{StateHealthy, "pass", http.StatusOK, func(t *testing.T, opts ...Option) *RecoveringRoundTripper {
		return start(t, &stub{}, append(opts, WithFactory(fresh))...)
	}},
	{StateRecovering, "warn", http.StatusOK, func(t *testing.T, opts ...Option) *RecoveringRoundTripper {
		// The upstream is down: the candidate gets no further.
		rt := start(t, rtFunc(unsent), append(opts, WithThreshold(1), every(time.Hour),
			WithFactory(func(context.Context) (http.RoundTripper, error) { return rtFunc(unsent), nil }))...)
		_, err := get(t.Context(), rt, "http://a.test/secret-path?token=secret-query")
		require.Error(t, err)
		return rt
	}},
	{StateFailing, "fail", http.StatusServiceUnavailable, func(t *testing.T, opts ...Option) *RecoveringRoundTripper {
		// Nothing can be built: not even a trial can be made.
		rt := start(t, rtFunc(unsent), append(opts, WithThreshold(1), every(time.Hour), WithFactory(fails))...)
		_, err := get(t.Context(), rt, "http://a.test/")
		require.Error(t, err)
		return rt
	}},
	{StateClosed, "fail", http.StatusServiceUnavailable, func(t *testing.T, opts ...Option) *RecoveringRoundTripper {
		rt := start(t, &stub{}, append(opts, WithFactory(fresh))...)
		require.NoError(t, rt.Close())
		return rt
	}},
}

func TestHealthHandlerAnswers(t *testing.T) {
	for _, tc := range inState {
		t.Run(string(tc.state), func(t *testing.T) {
			rt := tc.make(t, WithName("llm"))
			assert.Equal(t, tc.state, rt.Health().State)

			w := probeHealth(t, http.MethodGet, rt)
			assert.Equal(t, tc.code, w.Code)
			assert.Equal(t, "application/health+json", w.Header().Get("Content-Type"))
			assert.Equal(t, "no-store", w.Header().Get("Cache-Control"), "a cached health answer is a lie")
			doc := document(t, w)
			assert.Equal(t, tc.status, doc.Status)
			assert.Equal(t, Version, doc.Version)
			require.Len(t, doc.Checks["llm:age"], 1)
			check := doc.Checks["llm:age"][0]
			assert.Equal(t, string(tc.state), check["state"])
			assert.Equal(t, tc.status, check["status"])

			head := httptest.NewRecorder()
			HealthHandler(rt).ServeHTTP(head, httptest.NewRequestWithContext(t.Context(), http.MethodHead, "/", nil))
			assert.Equal(t, tc.code, head.Code)
			assert.Equal(t, w.Header(), head.Header())

			if err := rt.Check(t.Context()); tc.code == http.StatusOK {
				assert.NoError(t, err, "fit to serve")
			} else {
				assert.Error(t, err)
			}
		})
	}
}

func TestHealthHandlerShape(t *testing.T) {
	always := []string{
		"componentType", "status", "time", "observedValue", "observedUnit",
		"name", "state", "generation", "in_flight", "draining", "recreating", "promotions", "rejections",
	}
	well := start(t, &stub{}, WithFactory(fresh))
	check := document(t, probeHealth(t, http.MethodGet, well)).Checks["default:age"][0]
	assert.ElementsMatch(t, always, keys(check), "when all is well there is no more to tell")
	assert.Equal(t, "s", check["observedUnit"])
	assert.EqualValues(t, 1, check["generation"])
	assert.EqualValues(t, 0, check["in_flight"])

	synctest.Test(t, func(t *testing.T) {
		rt := inState[1].make(t)
		time.Sleep(90 * time.Second)
		check := document(t, probeHealth(t, http.MethodGet, rt)).Checks["default:age"][0]
		assert.ElementsMatch(t, append(always, "streaks", "last_failure", "last_rejection"), keys(check))
		assert.EqualValues(t, 90, check["observedValue"], "the generation's age")
		assert.EqualValues(t, 1, check["rejections"])
		assert.Equal(t, "connection_refused", check["last_rejection"])
		since := time.Now().Add(-90 * time.Second).Format(time.RFC3339Nano)
		failure := check["last_failure"].(map[string]any)
		assert.Equal(t, map[string]any{"time": since, "authority": "http://a.test:80", "reason": "connection_refused"}, failure)
		assert.Equal(t, []any{map[string]any{
			"authority": "http://a.test:80", "failures": 1., "stalls": 0., "tripped": true, "since": since,
		}}, check["streaks"])
	})
}

// The worst client is the status; each has its own check, also if two share a
// name.
func TestHealthHandlerOfMany(t *testing.T) {
	healthy, recovering, failing := inState[0].make(t, WithName("a")), inState[1].make(t, WithName("b")), inState[2].make(t, WithName("b"))
	for _, tc := range []struct {
		rts    []*RecoveringRoundTripper
		status string
		code   int
	}{
		{nil, "pass", http.StatusOK},
		{[]*RecoveringRoundTripper{healthy}, "pass", http.StatusOK},
		{[]*RecoveringRoundTripper{recovering, healthy}, "warn", http.StatusOK},
		{[]*RecoveringRoundTripper{failing, recovering, healthy}, "fail", http.StatusServiceUnavailable},
		{[]*RecoveringRoundTripper{healthy, recovering, failing}, "fail", http.StatusServiceUnavailable},
	} {
		w := probeHealth(t, http.MethodGet, tc.rts...)
		assert.Equal(t, tc.code, w.Code)
		doc := document(t, w)
		assert.Equal(t, tc.status, doc.Status)
		n := 0
		for _, checks := range doc.Checks {
			n += len(checks)
		}
		assert.Len(t, tc.rts, n, "every client has a check of its own")
	}
}

func TestHealthHandlerMethods(t *testing.T) {
	rt := start(t, &stub{}, WithFactory(fresh))
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions, "BREW"} {
		w := probeHealth(t, method, rt)
		assert.Equal(t, http.StatusMethodNotAllowed, w.Code, method)
		assert.Equal(t, "GET, HEAD", w.Header().Get("Allow"), method)
	}

	// On a real server a HEAD has no body.
	srv := httptest.NewServer(HealthHandler(rt))
	defer srv.Close()
	resp, err := srv.Client().Head(srv.URL)
	require.NoError(t, err)
	defer resp.Body.Close()
	assert.Equal(t, http.StatusOK, resp.StatusCode)
	got, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	assert.Empty(t, got)
}

func TestHealthHandlerPanicsOnNil(t *testing.T) {
	rt := start(t, &stub{}, WithFactory(fresh))
	assert.PanicsWithValue(t, "respawn: HealthHandler: client 2 is nil: pass what New returned", func() { HealthHandler(rt, nil) })
}

// Health answers while a factory hangs: not even a nanosecond of a bubble's
// clock passes, so it waits for nothing and nobody.
func TestHealthAnswersWhileAFactoryHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		entered := make(chan struct{})
		rt := start(t, rtFunc(unsent), WithThreshold(1), WithRecreateTimeout(time.Hour),
			WithFactory(func(ctx context.Context) (http.RoundTripper, error) {
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
		assert.Equal(t, StateRecovering, h.State)
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
		base := &sessionStub{}
		rt := start(t, base, WithFactory(hangs), WithRecreateTimeout(time.Hour))
		go func() { _ = rt.Recreate(context.Background()) }()
		synctest.Wait()
		h := rt.Health()
		assert.Equal(t, StateHealthy, h.State, "a planned replacement is no trouble")
		assert.True(t, h.Recreating)
		base.end(net.ErrClosed)
		assert.Equal(t, StateRecovering, rt.Health().State, "it has ended, and a fresh one is on its way")
	})
}

// What a client goes through, as Health tells it.
func TestHealthTransitions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base, next := &stub{}, &stub{}
		var product http.RoundTripper
		var errProduct error
		f := &factory{build: func(int64, context.Context) (http.RoundTripper, error) { return product, errProduct }}
		rt := start(t, base, WithThreshold(2), WithReplay(ReplayNever), WithFactory(f.make), every(time.Second))
		request := func() { _, _ = get(t.Context(), rt, "http://a.test/") }

		request()
		assert.Equal(t, StateHealthy, rt.Health().State)
		assert.Nil(t, rt.Health().LastFailure)

		down := error(refused())
		base.err.Store(&down)
		request()
		h := rt.Health()
		assert.Equal(t, StateHealthy, h.State, "one failure is not an outage")
		require.Len(t, h.Streaks, 1)
		assert.Equal(t, 1, h.Streaks[0].Failures)
		assert.False(t, h.Streaks[0].Tripped)

		product = dead(refused())
		request()
		request() // the trial
		h = rt.Health()
		assert.Equal(t, StateRecovering, h.State)
		assert.Equal(t, 1, h.Rejections)
		assert.Equal(t, "connection_refused", h.LastRejection)
		assert.NoError(t, rt.Check(t.Context()))

		product, errProduct = nil, errFactory
		time.Sleep(time.Second)
		request()
		h = rt.Health()
		assert.Equal(t, StateFailing, h.State)
		assert.Equal(t, 2, h.Rejections)
		err := rt.Check(t.Context())
		require.ErrorContains(t, err, "default is failing")
		assert.NotContains(t, err.Error(), errFactory.Error(), "the kind of an error, not its text")

		product, errProduct = next, nil
		time.Sleep(time.Second)
		request()
		h = rt.Health()
		assert.Equal(t, StateHealthy, h.State)
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
		assert.Equal(t, StateClosed, h.State)
		assert.EqualValues(t, 2, h.Generation)
		assert.ErrorIs(t, rt.Check(t.Context()), ErrClosed)
	})
}

// The current transport may recover by itself, with no swap.
func TestHealthAfterRecoveryWithoutSwap(t *testing.T) {
	rt := start(t, script(unsent, answer), WithThreshold(1), WithFactory(fails), every(time.Hour))
	_, err := get(t.Context(), rt, "http://a.test/")
	require.Error(t, err)
	require.Equal(t, StateFailing, rt.Health().State)
	_, err = get(t.Context(), rt, "http://a.test/")
	require.NoError(t, err)
	h := rt.Health()
	assert.Equal(t, StateHealthy, h.State)
	assert.EqualValues(t, 1, h.Generation)
	assert.Empty(t, h.Streaks)
}

// An ended transport that the next request would replace is recovering: a
// readiness that failed would keep that request away. It fails while the
// backoff forbids to replace it.
func TestHealthOfEndedTransport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := &sessionStub{}
		rt := start(t, base, WithFactory(fails), every(time.Minute))
		require.NoError(t, rt.Check(t.Context()))
		base.end(net.ErrClosed)
		assert.Equal(t, StateRecovering, rt.Health().State)
		_, err := get(t.Context(), rt, "http://a.test/")
		require.ErrorIs(t, err, net.ErrClosed)
		assert.Equal(t, StateFailing, rt.Health().State)
		assert.Error(t, rt.Check(t.Context()))
		time.Sleep(time.Minute)
		assert.Equal(t, StateRecovering, rt.Health().State)
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
	long, err := rt.RoundTrip(request(t, srv.URL+"/long"))
	require.NoError(t, err)
	other, err := rt.RoundTrip(request(t, srv.URL))
	require.NoError(t, err)
	count := func() [2]int64 { h := rt.Health(); return [2]int64{h.InFlight, int64(h.Draining)} }
	assert.Equal(t, [2]int64{2, 0}, count())
	require.NoError(t, other.Body.Close())
	assert.Equal(t, [2]int64{1, 0}, count(), "closed without reading")

	// A request in flight means that the next one proves the fresh transport.
	recreated := make(chan error)
	go func() { recreated <- rt.Recreate(t.Context()) }()
	for rt.Health().Generation == 1 {
		_, err = get(t.Context(), rt, srv.URL)
		require.NoError(t, err)
	}
	require.NoError(t, <-recreated)
	assert.Equal(t, [2]int64{1, 1}, count(), "the old generation drains")
	fresh, err := rt.RoundTrip(request(t, srv.URL))
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
		rt := start(t, rtFunc(unsent), WithName(hostile), WithThreshold(1), WithFactory(fails))
		req := request(t, "http://a.test/")
		req.URL.Host = hostile
		_, err := rt.RoundTrip(req)
		require.Error(t, err)
		w := probeHealth(t, http.MethodGet, rt)
		require.True(t, json.Valid(w.Body.Bytes()), "%q", w.Body)
		body := w.Body.String()
		assert.NotContains(t, body, "<script>")
		assert.NotContains(t, body, "\x1b")
		doc := document(t, w)
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
	rt := start(t, dead(leaky), WithThreshold(1), every(time.Hour), WithFactory(
		func(context.Context) (http.RoundTripper, error) { return nil, errors.New("vault token " + secret) }))
	req := request(t, "http://a.test/")
	req.URL = &url.URL{
		Scheme: "http", Host: "a.test", Path: "/" + secret, RawQuery: "token=" + secret, Fragment: secret,
		User: url.UserPassword(secret, secret),
	}
	req.Header.Set("Authorization", secret)
	req.Host = secret + ".test"
	_, err := rt.RoundTrip(req)
	require.Error(t, err)

	h := rt.Health()
	require.Equal(t, StateFailing, h.State)
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
	rt := start(t, rtFunc(unsent), WithReplay(ReplayNever), WithFactory(fails))
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
