package test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
	"github.com/respawnhttp/respawn/respawndebug"
)

// tells is what each of the places that tell of an outage says of its length, in
// seconds, and of what ended it.
func tells(t *testing.T, p *testkit.Probe, rt *respawn.RecoveringRoundTripper) map[string][]float64 {
	t.Helper()
	synctest.Wait()
	says := map[string][]float64{}
	add := func(place string, d float64) { says[place] = append(says[place], d) }
	for _, r := range rt.Recreations() {
		require.False(t, r.OutageOpen)
		add("records", r.Outage.Seconds())
	}
	for _, s := range p.Recreations() {
		if d, ok := testkit.Attributes(s.Attributes())["respawn.outage.duration"]; ok {
			add("spans", d.(float64))
		}
	}
	if h, ok := p.Metric("respawn.recovery.duration").Data.(metricdata.Histogram[float64]); ok {
		for _, pt := range h.DataPoints {
			require.EqualValues(t, 1, pt.Count)
			add("histogram", pt.Sum)
		}
	}
	for _, r := range p.Logged("recovered") {
		add("log", r.Attrs["respawn.outage.duration"].(float64))
	}
	require.Empty(t, rt.Health().OpenOutages)
	for _, o := range rt.Health().EndedOutages {
		require.Equal(t, o.Duration, o.End.Sub(o.Begin))
		add("health", o.Duration.Seconds())
	}
	return says
}

// pageOf is what the debug page says as text.
func pageOf(t *testing.T, rt *respawn.RecoveringRoundTripper) string {
	t.Helper()
	w := httptest.NewRecorder()
	respawndebug.DebugHandler(rt).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/?format=text", nil))
	require.Equal(t, http.StatusOK, w.Code)
	return w.Body.String()
}

// The length of an outage is the same wherever it is told, whatever ended it: from
// its first failure to its first answer in service.
func TestEveryPlaceTellsTheSameLengthOfAnOutage(t *testing.T) {
	const lasts = 13600 * time.Millisecond
	for _, tt := range []struct {
		name    string
		fresh   func(down func() bool) http.RoundTripper // what the factory builds; nil: it fails
		back    bool                                     // the upstream is, after that time
		endedBy respawn.OutageEnd
		spans   []float64
		records int
	}{
		{"a swap", func(down func() bool) http.RoundTripper {
			return testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
				if down() {
					return unsent(req)
				}
				return testkit.Answer(req)
			})
		}, false, "swap", []float64{13.6}, 3},
		{"the upstream's return", func(down func() bool) http.RoundTripper { return testkit.RoundTripperFunc(unsent) }, true, "upstream_returned", nil, 2},
		{"the transport in service", nil, true, "current_recovered", nil, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				down := func() bool { return time.Since(begin) < lasts }
				base := testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
					if down() || !tt.back {
						return unsent(req)
					}
					return testkit.Answer(req)
				})
				p := testkit.NewProbe(t)
				rt := start(t, base, append(observed(p), every(6800*time.Millisecond), respawn.WithFactory(func(context.Context) (http.RoundTripper, error) {
					if tt.fresh == nil {
						return nil, errors.New("no tunnel")
					}
					return tt.fresh(down), nil
				}))...)
				for time.Since(begin) < lasts {
					_, err := get(t.Context(), rt, "http://a.test/")
					require.Error(t, err)
					h := rt.Health()
					require.Len(t, h.OpenOutages, 1)
					require.Equal(t, time.Since(begin), h.OpenOutages[0].Duration)
					require.Zero(t, h.OpenOutages[0].End)
					if h.OpenOutages[0].Duration == 13400*time.Millisecond {
						require.Contains(t, pageOf(t, rt), "No: down for 13 s.")
						require.Contains(t, pageOf(t, rt), "13.4 s so far")
					}
					for _, r := range rt.Recreations() {
						require.True(t, r.OutageOpen)
						require.Equal(t, time.Since(begin), r.Outage)
					}
					time.Sleep(200 * time.Millisecond)
				}
				_, err := get(t.Context(), rt, "http://a.test/")
				require.NoError(t, err)
				var records []float64
				for range tt.records {
					records = append(records, 13.6)
				}
				want := map[string][]float64{"records": records, "histogram": {13.6}, "log": {13.6}, "health": {13.6}}
				if tt.spans != nil { // those of rejections end before the outage does
					want["spans"] = tt.spans
				}
				assert.Equal(t, want, tells(t, p, rt))
				assert.Contains(t, pageOf(t, rt), "outage of 13.6 s, from 00:00:00 to 00:00:13")
				h := rt.Health()
				assert.Equal(t, respawn.OutageHealth{
					Authority: "http://a.test:80", Trigger: "connection_refused", Begin: begin, End: begin.Add(lasts), Duration: lasts, EndedBy: tt.endedBy,
				}, h.EndedOutages[0])
				assert.EqualValues(t, tt.endedBy, p.Logged("recovered")[0].Attrs["respawn.outage.ended_by"])
				assert.Equal(t, 1, h.Outages)
				time.Sleep(time.Minute)
				assert.Equal(t, lasts, rt.Health().EndedOutages[0].Duration)
				assert.Equal(t, lasts, rt.Recreations()[0].Outage)
			})
		})
	}
}

// A wait is no failure before its patience, or its deadline, is over: the answer may
// only be slow. From then on the outage lasts, for all who tell of it.
func TestAnOutageOfSilenceBeginsWithTheFirstThatIsNoticed(t *testing.T) {
	for _, tt := range []struct {
		name     string
		deadline time.Duration // of each caller
		noticed  time.Duration // how long the first one waits before that
		trigger  string
	}{{"patience", time.Hour, 5 * time.Second, "silence"}, {"deadlines", 2 * time.Second, 2 * time.Second, "stall"}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := testkit.NewProbe(t)
				rt := start(t, staysSilent(nil), append(observed(p), chance(func() float64 { return 0.5 }), respawn.WithFactory(fresh))...)
				begin := time.Now()
				for range 60 {
					go func() {
						ctx, cancel := context.WithTimeout(t.Context(), tt.deadline)
						defer cancel()
						_, _ = get(ctx, rt, "http://a.test/")
					}()
					time.Sleep(500 * time.Millisecond)
				}
				h := rt.Health()
				require.Len(t, h.EndedOutages, 1)
				lasts := h.EndedOutages[0].Duration
				require.Positive(t, lasts)
				assert.Equal(t, begin.Add(tt.noticed), h.EndedOutages[0].Begin)
				assert.EqualValues(t, tt.trigger, h.EndedOutages[0].Trigger)
				says := tells(t, p, rt)
				assert.Equal(t, map[string][]float64{
					"records": {lasts.Seconds()}, "spans": {lasts.Seconds()}, "histogram": {lasts.Seconds()}, "log": {lasts.Seconds()}, "health": {lasts.Seconds()},
				}, says)
			})
		})
	}
}

// A fresh transport that took over, and then fails as the one before did, ended nothing:
// once it is answered again, it was the upstream that returned.
func TestWhatEndsAnOutageThatAPromotionDidNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		dead := testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
			if down.Load() || req.URL.Host == "b.test" {
				return unsent(req)
			}
			return testkit.Answer(req)
		})
		second := testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
			if down.Load() && req.URL.Host == "a.test" {
				return unsent(req)
			}
			return testkit.Answer(req)
		})
		built := 0
		rt := start(t, dead, every(time.Minute), respawn.WithFactory(func(context.Context) (http.RoundTripper, error) {
			if built++; built != 2 {
				return nil, errFactory
			}
			return second, nil
		}))
		down.Store(true)
		begin := time.Now()
		_, err := get(t.Context(), rt, "http://a.test/")
		require.Error(t, err)
		time.Sleep(time.Minute)
		_, err = get(t.Context(), rt, "http://b.test/")
		require.NoError(t, err, "which promotes the second transport")
		for range 3 {
			_, err = get(t.Context(), rt, "http://a.test/")
			require.Error(t, err)
		}
		require.Contains(t, pageOf(t, rt), "No: a fresh transport took over, and fails as well.")
		time.Sleep(time.Second)
		down.Store(false)
		_, err = get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		require.NoError(t, err)
		h := rt.Health()
		require.EqualValues(t, 2, h.Generation)
		require.Len(t, h.EndedOutages, 2)
		assert.Equal(t, respawn.OutageHealth{
			Authority: "http://a.test:80", Trigger: "connection_refused", Begin: begin, End: begin.Add(61 * time.Second), Duration: 61 * time.Second,
			EndedBy: respawn.OutageEndUpstreamReturned,
		}, h.EndedOutages[1])
	})
}

// An outage that goes on across a promotion is one. Its record that was promoted by
// another authority says that it lasts until the authority is answered.
func TestAnOutageGoesOnAcrossPromotions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := &testkit.SessionStub{}
		base.Fail(testkit.Refused())
		f := testkit.NewFactory(func(_ context.Context, call int64) (http.RoundTripper, error) {
			if call == 1 {
				return nil, errFactory
			}
			return &testkit.Stub{}, nil
		})
		rt := start(t, base, respawn.WithFactory(f.Make), every(5*time.Second))
		begin := time.Now()
		_, err := get(t.Context(), rt, "http://a.test/")
		require.Error(t, err)
		time.Sleep(5 * time.Second)
		_, err = get(t.Context(), rt, "http://b.test/")
		require.NoError(t, err, "a fresh transport that b proves")
		open := rt.Health().OpenOutages
		require.Len(t, open, 1)
		assert.Equal(t, "http://a.test:80", open[0].Authority)
		time.Sleep(time.Second)
		_, err = get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		h := rt.Health()
		assert.Empty(t, h.OpenOutages)
		require.Len(t, h.EndedOutages, 2)
		assert.Equal(t, respawn.OutageHealth{
			Authority: "http://a.test:80", Trigger: "connection_refused", Begin: begin, End: begin.Add(6 * time.Second), Duration: 6 * time.Second, EndedBy: "swap",
		}, h.EndedOutages[1])
		assert.Equal(t, respawn.OutageEndSwap, h.EndedOutages[0].EndedBy)
		assert.Equal(t, 2, h.Outages)
		assert.Equal(t, 6*time.Second, rt.Recreations()[0].Outage)
	})
}

// What ends an outage may be that nobody asks any more: it is known to have lasted
// until somebody last did. Or that the client is closed.
func TestOutagesThatNobodySeesTheEndOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testkit.NewProbe(t)
		base := &testkit.SessionStub{}
		base.Fail(testkit.Refused())
		rt := start(t, base, append(observed(p), respawn.WithFactory(fails))...)
		for range 3 {
			_, err := get(t.Context(), rt, "http://a.test/")
			require.Error(t, err)
			time.Sleep(time.Second)
		}
		time.Sleep(time.Hour)
		require.Empty(t, rt.Health().OpenOutages)
		_, err := get(t.Context(), rt, "http://b.test/")
		require.Error(t, err)
		base.End(errSessionClosed)
		_, err = get(t.Context(), rt, "http://b.test/")
		require.Error(t, err)
		time.Sleep(time.Second)
		require.Len(t, rt.Health().OpenOutages, 2, "b's, and the transport's own")
		require.NoError(t, rt.Close())
		var ended []string
		for _, o := range rt.Health().EndedOutages {
			ended = append(ended, fmt.Sprint(o.Authority, " ", o.Trigger, " ", o.Duration, " ", o.EndedBy))
		}
		assert.Equal(t, []string{
			"http://a.test:80 connection_refused 2s forgotten", "http://b.test:80 connection_refused 1s closed", " transport_ended 1s closed",
		}, ended)
		assert.Empty(t, rt.Health().OpenOutages)
		assert.Nil(t, p.Metric("respawn.recovery.duration").Data, "nobody was answered")
		for _, r := range rt.Recreations() {
			assert.False(t, r.OutageOpen)
		}
	})
}

// Who waits without an answer asks all the time: the outage lasts as long, and is one.
func TestAnOutageLastsAsLongAsSomebodyWaits(t *testing.T) {
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		t.Run(method, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rt := start(t, staysSilent(nil), respawn.WithFactory(fails))
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				_, err := testkit.Do(rt, request(ctx, method, "http://a.test/", nil))
				require.Error(t, err)
				require.Len(t, rt.Health().OpenOutages, 1)
				assert.Equal(t, 1, rt.Health().Outages)
				assert.Greater(t, rt.Health().OpenOutages[0].Duration, 59*time.Minute)
				time.Sleep(time.Hour)
				require.Len(t, rt.Health().EndedOutages, 1)
				assert.EqualValues(t, "forgotten", rt.Health().EndedOutages[0].EndedBy)
				assert.InDelta(t, time.Hour, rt.Health().EndedOutages[0].Duration, float64(10*time.Second))
			})
		})
	}
}

// A transport that has ended is an outage of the client's until the swap.
func TestAnEndedTransportIsAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testkit.NewProbe(t)
		base := &testkit.SessionStub{}
		rt := start(t, base, append(observed(p), respawn.WithFactory(func(context.Context) (http.RoundTripper, error) {
			time.Sleep(time.Second)
			return &testkit.Stub{}, nil
		}))...)
		base.End(errSessionClosed)
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		h := rt.Health()
		require.Len(t, h.EndedOutages, 1)
		assert.Equal(t, time.Second, h.EndedOutages[0].Duration)
		assert.Equal(t, respawn.OutageEndSwap, h.EndedOutages[0].EndedBy)
		assert.Equal(t, time.Second, rt.Recreations()[0].Outage)
		synctest.Wait()
		assert.Equal(t, 1.0, testkit.Attributes(p.Recreations()[0].Attributes())["respawn.outage.duration"])
		assert.Empty(t, p.Logged("recovered"), "it was over before anybody was answered")
		assert.Nil(t, p.Metric("respawn.recovery.duration").Data)
	})
}

func TestHealthAsJSON(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := start(t, testkit.Dead(testkit.Refused()), respawn.WithFactory(fails), respawn.WithMaxAge(24*time.Hour), respawn.WithFallback(&testkit.Stub{}), respawn.WithReplay(respawn.ReplayUnsent))
		for range 3 {
			_, _ = get(t.Context(), rt, "http://a.test/")
			time.Sleep(1500 * time.Millisecond)
		}
		got, err := json.Marshal(rt.Health())
		require.NoError(t, err)
		var doc map[string]any
		require.NoError(t, json.Unmarshal(got, &doc))
		assert.Equal(t, 4.5, doc["age_seconds"])
		assert.Equal(t, 4.5, doc["open_outages"].([]any)[0].(map[string]any)["duration_seconds"])
		options := doc["options"].(map[string]any)
		assert.Equal(t, 86400.0, options["max_age_seconds"])
		assert.Equal(t, true, options["fallback"])
		assert.Equal(t, "unsent", options["replay"])
		assert.NotZero(t, doc["failures"])
	})
}
