package test

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// probeHealth asks a HealthHandler as a load balancer would.
func probeHealth(t *testing.T, method string, rts ...*respawn.RecoveringRoundTripper) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	respawn.HealthHandler(rts...).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, "/healthz", nil))
	return w
}

// healthPage decodes an answer of HealthHandler, as anybody would see it.
func healthPage(t *testing.T, w *httptest.ResponseRecorder) (doc struct {
	Status  string
	Version string
	Checks  map[string][]map[string]any
}) {
	t.Helper()
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &doc), "%s", w.Body)
	return doc
}

// inState brings a client into each state. The switch lets its factory work.
var inState = []struct {
	state  respawn.State
	status string
	code   int
	make   func(*testing.T, ...respawn.Option) *respawn.RecoveringRoundTripper
}{
	{respawn.StateHealthy, "pass", http.StatusOK, func(t *testing.T, opts ...respawn.Option) *respawn.RecoveringRoundTripper {
		return start(t, &testkit.Stub{}, append(opts, respawn.WithFactory(fresh))...)
	}},
	{respawn.StateRecovering, "warn", http.StatusOK, func(t *testing.T, opts ...respawn.Option) *respawn.RecoveringRoundTripper {
		// The upstream is down: the candidate gets no further.
		rt := start(t, testkit.RoundTripperFunc(unsent), append(opts, respawn.WithThreshold(1), every(time.Hour),
			respawn.WithFactory(func(context.Context) (http.RoundTripper, error) { return testkit.RoundTripperFunc(unsent), nil }))...)
		_, err := get(t.Context(), rt, "http://a.test/secret-path?token=secret-query")
		require.Error(t, err)
		return rt
	}},
	{respawn.StateFailing, "fail", http.StatusServiceUnavailable, func(t *testing.T, opts ...respawn.Option) *respawn.RecoveringRoundTripper {
		// Nothing can be built: not even a trial can be made.
		rt := start(t, testkit.RoundTripperFunc(unsent), append(opts, respawn.WithThreshold(1), every(time.Hour), respawn.WithFactory(fails))...)
		_, err := get(t.Context(), rt, "http://a.test/")
		require.Error(t, err)
		return rt
	}},
	{respawn.StateClosed, "fail", http.StatusServiceUnavailable, func(t *testing.T, opts ...respawn.Option) *respawn.RecoveringRoundTripper {
		rt := start(t, &testkit.Stub{}, append(opts, respawn.WithFactory(fresh))...)
		require.NoError(t, rt.Close())
		return rt
	}},
}

func TestHealthHandlerAnswers(t *testing.T) {
	for _, tc := range inState {
		t.Run(string(tc.state), func(t *testing.T) {
			rt := tc.make(t, respawn.WithName("llm"))
			assert.Equal(t, tc.state, rt.Health().State)

			w := probeHealth(t, http.MethodGet, rt)
			assert.Equal(t, tc.code, w.Code)
			assert.Equal(t, "application/health+json", w.Header().Get("Content-Type"))
			assert.Equal(t, "no-store", w.Header().Get("Cache-Control"), "a cached health answer is a lie")
			doc := healthPage(t, w)
			assert.Equal(t, tc.status, doc.Status)
			assert.Equal(t, respawn.Version, doc.Version)
			require.Len(t, doc.Checks["llm:age"], 1)
			check := doc.Checks["llm:age"][0]
			assert.Equal(t, string(tc.state), check["state"])
			assert.Equal(t, tc.status, check["status"])

			head := httptest.NewRecorder()
			respawn.HealthHandler(rt).ServeHTTP(head, httptest.NewRequestWithContext(t.Context(), http.MethodHead, "/", nil))
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
		"started", "age_seconds", "failures", "replays", "outages", "options",
	}
	well := start(t, &testkit.Stub{}, respawn.WithFactory(fresh))
	check := healthPage(t, probeHealth(t, http.MethodGet, well)).Checks["default:age"][0]
	assert.ElementsMatch(t, always, slices.Collect(maps.Keys(check)), "when all is well there is no more to tell")
	assert.Equal(t, "s", check["observedUnit"])
	assert.EqualValues(t, 1, check["generation"])
	assert.EqualValues(t, 0, check["in_flight"])

	synctest.Test(t, func(t *testing.T) {
		rt := inState[1].make(t)
		time.Sleep(90 * time.Second)
		check := healthPage(t, probeHealth(t, http.MethodGet, rt)).Checks["default:age"][0]
		assert.ElementsMatch(t, append(always, "streaks", "last_failure", "last_rejection", "next_attempt", "open_outages"), slices.Collect(maps.Keys(check)))
		assert.EqualValues(t, 90, check["observedValue"], "the generation's age")
		assert.EqualValues(t, 1, check["rejections"])
		assert.EqualValues(t, 90, check["age_seconds"])
		since := time.Now().Add(-90 * time.Second).Format(time.RFC3339Nano)
		failure := check["last_failure"].(map[string]any)
		assert.Equal(t, map[string]any{"time": since, "authority": "http://a.test:80", "reason": "connection_refused"}, failure)
		assert.Equal(t, failure, check["last_rejection"])
		assert.Equal(t, since, check["started"])
		assert.Equal(t, time.Now().Add(time.Hour-90*time.Second).Format(time.RFC3339Nano), check["next_attempt"])
		assert.Equal(t, []any{map[string]any{
			"authority": "http://a.test:80", "trigger": "connection_refused", "begin": since, "duration_seconds": 90.,
		}}, check["open_outages"])
		assert.Equal(t, map[string]any{
			"threshold": 1., "stall_threshold": 3., "stall_span_seconds": 1., "patience_seconds": 5., "recreate_timeout_seconds": 10., "wait_for_ready_seconds": 0.,
			"max_age_seconds": 0., "drain_timeout_seconds": 0., "replay": "idempotent", "fallback": false,
		}, check["options"])
		assert.Equal(t, []any{map[string]any{ // the one that tripped it, and its control
			"authority": "http://a.test:80", "failures": 2., "stalls": 0., "tripped": true, "since": since,
		}}, check["streaks"])
	})
}

// The worst client is the status; each has its own check, also if two share a
// name.
func TestHealthHandlerOfMany(t *testing.T) {
	healthy, recovering, failing := inState[0].make(t, respawn.WithName("a")), inState[1].make(t, respawn.WithName("b")), inState[2].make(t, respawn.WithName("b"))
	for _, tc := range []struct {
		rts    []*respawn.RecoveringRoundTripper
		status string
		code   int
	}{
		{nil, "pass", http.StatusOK},
		{[]*respawn.RecoveringRoundTripper{healthy}, "pass", http.StatusOK},
		{[]*respawn.RecoveringRoundTripper{recovering, healthy}, "warn", http.StatusOK},
		{[]*respawn.RecoveringRoundTripper{failing, recovering, healthy}, "fail", http.StatusServiceUnavailable},
		{[]*respawn.RecoveringRoundTripper{healthy, recovering, failing}, "fail", http.StatusServiceUnavailable},
	} {
		w := probeHealth(t, http.MethodGet, tc.rts...)
		assert.Equal(t, tc.code, w.Code)
		doc := healthPage(t, w)
		assert.Equal(t, tc.status, doc.Status)
		n := 0
		for _, checks := range doc.Checks {
			n += len(checks)
		}
		assert.Len(t, tc.rts, n, "every client has a check of its own")
	}
}

func TestHealthHandlerMethods(t *testing.T) {
	rt := start(t, &testkit.Stub{}, respawn.WithFactory(fresh))
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions, "BREW"} {
		w := probeHealth(t, method, rt)
		assert.Equal(t, http.StatusMethodNotAllowed, w.Code, method)
		assert.Equal(t, "GET, HEAD", w.Header().Get("Allow"), method)
	}

	// On a real server a HEAD has no body.
	srv := httptest.NewServer(respawn.HealthHandler(rt))
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
	rt := start(t, &testkit.Stub{}, respawn.WithFactory(fresh))
	assert.PanicsWithValue(t, "respawn: HealthHandler: client 2 is nil: pass what New returned", func() { respawn.HealthHandler(rt, nil) })
}

// What a candidate is tried with is in flight, too, from its departure to its end.
func TestWhatIsTriedOnACandidateIsInFlight(t *testing.T) {
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		synctest.Test(t, func(t *testing.T) {
			p := testkit.NewProbe(t)
			rt := start(t, allDown(), append(observed(p), respawn.WithThreshold(1),
				respawn.WithFactory(testkit.Builds(func() http.RoundTripper { return answersAfter(time.Second) }).Make))...)
			answered := make(chan error)
			go func() {
				_, err := testkit.Do(rt, request(t.Context(), method, "http://a.test/", nil))
				answered <- err
			}()
			synctest.Wait()
			assert.True(t, rt.Health().Recreating)
			assert.EqualValues(t, 1, rt.Health().InFlight)
			assert.EqualValues(t, 1, p.Total("respawn.transport.in_flight"))
			require.NoError(t, <-answered)
			assert.Zero(t, rt.Health().InFlight)
		})
	}
}
