package respawn

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn/internal/evidence"
)

// streaming answers what asks for a stream, and refuses all else.
func streaming(req *http.Request) (*http.Response, error) {
	if strings.HasPrefix(req.URL.Path, "/stream") {
		return answer(req)
	}
	return unsent(req)
}

// openStreams begins n responses and leaves their bodies open.
func openStreams(t *testing.T, rt http.RoundTripper, n int) (bodies []io.Closer) {
	t.Helper()
	for range n {
		resp, err := rt.RoundTrip(mustRequest(t.Context(), http.MethodGet, "http://stream.test/stream", nil))
		require.NoError(t, err)
		bodies = append(bodies, resp.Body)
	}
	return bodies
}

// An incident from the first failure to the last request that has left the
// retired transport, to the nanosecond.
func TestRecreationsTellTheStory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := start(t, rtFunc(streaming), WithReplay(ReplayNever), every(10*time.Second),
			WithFactory(builds(func() http.RoundTripper { time.Sleep(500 * time.Millisecond); return &stub{} }).make))
		assert.Empty(t, rt.Recreations(), "none since New")
		assert.NotNil(t, rt.Recreations(), "[] in JSON")

		bodies := openStreams(t, rt, 3)
		begin := time.Now()
		for range 3 {
			_, err := get(t.Context(), rt, "https://user:secret@API.test/secret?key=secret")
			require.Error(t, err)
			time.Sleep(time.Second)
		}
		assert.Empty(t, rt.Recreations(), "tripped, but nothing has ended")
		_, err := get(t.Context(), rt, "https://api.test/")
		require.NoError(t, err)

		want := RecreationRecord{
			Time: begin.Add(3 * time.Second), Duration: 500 * time.Millisecond,
			Trigger: "connection_refused", Outcome: "promoted", Authority: "https://api.test:443",
			Generation: 2, Failures: 3, Outage: 3500 * time.Millisecond,
			Drained: 3, Draining: true,
		}
		assert.Equal(t, []RecreationRecord{want}, rt.Recreations())
		retired := begin.Add(3500 * time.Millisecond)
		assert.Equal(t, []GenerationHealth{{1, 3, retired}}, rt.Health().DrainingGenerations)

		for i, body := range bodies {
			time.Sleep(time.Second)
			assert.Equal(t, []RecreationRecord{want}, rt.Recreations(), "%d have left", i)
			assert.Equal(t, []GenerationHealth{{1, int64(3 - i), retired}}, rt.Health().DrainingGenerations)
			require.NoError(t, body.Close())
		}
		want.Draining, want.DrainTime = false, 3*time.Second
		assert.Equal(t, []RecreationRecord{want}, rt.Recreations())
		assert.Empty(t, rt.Health().DrainingGenerations)
		settle() // the sweeps
		assert.Equal(t, []RecreationRecord{want}, rt.Recreations())
	})
}

func TestRecreationsOfRejections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &factory{build: func(n int64, ctx context.Context) (http.RoundTripper, error) {
			switch n {
			case 1:
				return hangs(ctx)
			case 2:
				return dead(refused()), nil
			}
			time.Sleep(250 * time.Millisecond)
			return nil, errFactory
		}}
		rt := start(t, rtFunc(streaming), WithThreshold(1), every(time.Second), WithRecreateTimeout(2*time.Second), WithFactory(f.make))
		defer openStreams(t, rt, 1)[0].Close()
		begin := time.Now()
		_, err := get(t.Context(), rt, "http://a.test/")
		require.Error(t, err)
		time.Sleep(3 * time.Second)
		_, err = get(t.Context(), rt, "http://a.test/")
		require.Error(t, err)
		require.Error(t, rt.Recreate(t.Context()))

		assert.Equal(t, []RecreationRecord{
			{
				Time: begin, Duration: 2 * time.Second, Trigger: "connection_refused", Outcome: "rejected",
				ErrorType: "factory_timeout", Authority: "http://a.test:80", Generation: 1, Failures: 1, Outage: 2 * time.Second,
			},
			{
				Time: begin.Add(5 * time.Second), Trigger: "connection_refused", Outcome: "rejected",
				ErrorType: "connection_refused", Authority: "http://a.test:80", Generation: 1, Failures: 1, Outage: 5 * time.Second,
			},
			{
				Time: begin.Add(5 * time.Second), Duration: 250 * time.Millisecond, Trigger: "manual", Outcome: "rejected",
				ErrorType: evidence.ErrorType(errFactory), Generation: 1,
			},
		}, rt.Recreations())
	})
}

// A candidate that was no faster is rejected, and its answer is still read.
func TestDrainingCandidate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := rtFunc(func(req *http.Request) (*http.Response, error) {
			select {
			case <-time.After(3 * time.Second):
				return answer(req)
			case <-req.Context().Done():
				return nil, req.Context().Err()
			}
		})
		rt := start(t, slow, WithFactory(func(context.Context) (http.RoundTripper, error) { return slow, nil }))
		for range 3 {
			stallOnce(t, rt, "http://a.test/", time.Second)
		}
		resp, err := rt.RoundTrip(mustRequest(t.Context(), http.MethodGet, "http://a.test/", nil))
		require.NoError(t, err)
		assert.Equal(t, []GenerationHealth{{0, 1, time.Now()}}, rt.Health().DrainingGenerations)
		records := rt.Recreations()
		require.Len(t, records, 1)
		assert.Equal(t, "stall", records[0].Trigger)
		assert.Equal(t, "upstream_slow", records[0].ErrorType)
		assert.Zero(t, records[0].Drained, "nothing was retired from service")
		assert.False(t, records[0].Draining)
		require.NoError(t, resp.Body.Close())
		assert.Empty(t, rt.Health().DrainingGenerations)
	})
}

// Each drain is told of the recreation that began it, the oldest first.
func TestDrainsOfSeveralGenerations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		rt := start(t, &stub{}, WithFactory(fresh), WithDrainTimeout(time.Minute))
		first := openStreams(t, rt, 2)
		time.Sleep(time.Second)
		swap(t, rt, "http://a.test/")
		second := openStreams(t, rt, 1)
		time.Sleep(time.Second)
		swap(t, rt, "http://a.test/")

		assert.Equal(t, []GenerationHealth{{1, 2, begin.Add(time.Second)}, {2, 1, begin.Add(2 * time.Second)}},
			rt.Health().DrainingGenerations)
		time.Sleep(time.Second)
		require.NoError(t, second[0].Close())
		time.Sleep(time.Hour) // whatever is cut has still to be closed by its caller
		for _, body := range first {
			require.NoError(t, body.Close())
		}

		var told []RecreationRecord
		for _, r := range rt.Recreations() {
			told = append(told, RecreationRecord{Generation: r.Generation, Drained: r.Drained, DrainTime: r.DrainTime, Draining: r.Draining})
		}
		assert.Equal(t, []RecreationRecord{
			{Generation: 2, Drained: 2, DrainTime: time.Hour + 2*time.Second},
			{Generation: 3, Drained: 1, DrainTime: time.Second},
		}, told)
	})
}

// The memory of the past is bounded, and a snapshot is the caller's own.
func TestRecreationsKeepsTheLast64(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		rt := start(t, &stub{}, WithFactory(fresh))
		last := openStreams(t, rt, 1)[0] // its own record is forgotten before it has drained
		swap(t, rt, "http://a.test/")
		for i := range 200 {
			time.Sleep(time.Second)
			require.NoError(t, rt.Recreate(t.Context()))
			records := rt.Recreations()
			require.Len(t, records, min(i+2, 64))
			for j, r := range records {
				want := uint64(i + 3 - len(records) + 1 + j)
				require.Equal(t, want, r.Generation, "%d of %d", j, len(records))
				require.Equal(t, begin.Add(time.Duration(want-2)*time.Second), r.Time)
			}
			records[0] = RecreationRecord{}
		}
		require.NoError(t, last.Close())
		for _, r := range rt.Recreations() {
			assert.Zero(t, r.DrainTime, "not theirs")
			assert.Equal(t, "promoted", r.Outcome)
		}
		require.Len(t, rt.Recreations(), 64)
		require.NoError(t, rt.Close())
		assert.Len(t, rt.Recreations(), 64, "the past stays")
	})
}

func TestRecreationsNeverBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := start(t, dead(refused()), WithThreshold(1), WithFactory(hangs))
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = get(t.Context(), rt, "http://a.test/") })
		synctest.Wait()
		require.True(t, rt.Health().Recreating)
		begin := time.Now()
		assert.Empty(t, rt.Recreations())
		assert.Zero(t, time.Since(begin))
		wg.Wait()
		require.NoError(t, rt.Close())
		assert.Len(t, rt.Recreations(), 1)
	})
}

// Every ended span has its record, and says the same.
func TestRecreationsAgreeWithSpans(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProbe(t)
		f := &factory{build: func(n int64, _ context.Context) (http.RoundTripper, error) {
			time.Sleep(time.Duration(n) * 10 * time.Millisecond)
			switch n % 3 {
			case 0:
				return nil, errFactory
			case 1:
				return dead(refused()), nil
			}
			return rtFunc(streaming), nil
		}}
		rt := start(t, rtFunc(streaming), append(p.options(), every(300*time.Millisecond), WithFactory(f.make))...)
		var wg sync.WaitGroup
		for _, url := range []string{"http://a.test/", "https://b.test:8443/", "http://c.test/stream"} {
			for range 4 {
				wg.Go(func() {
					for range 40 {
						_, _ = get(t.Context(), rt, url)
						rt.Recreations()
						time.Sleep(100 * time.Millisecond)
					}
				})
			}
		}
		wg.Go(func() {
			for range 20 {
				time.Sleep(200 * time.Millisecond)
				_ = rt.Recreate(t.Context())
			}
		})
		wg.Wait()
		for range 3 { // nothing is in flight: two are promoted, and the factory fails once
			_ = rt.Recreate(t.Context())
		}
		require.NoError(t, rt.Close())
		spans, records := p.recreations(), rt.Recreations()
		require.NotEmpty(t, records)
		require.Len(t, records, len(spans))
		outcomes := map[string]int{}
		for i, s := range spans {
			a, r := attributesOf(s.Attributes()), records[i]
			outcomes[r.Outcome]++
			assert.Equal(t, s.StartTime(), r.Time)
			assert.Equal(t, s.EndTime().Sub(s.StartTime()), r.Duration)
			assert.Equal(t, a["respawn.trigger"], r.Trigger)
			assert.Equal(t, a["respawn.outcome"], r.Outcome)
			assert.EqualValues(t, a["respawn.transport.generation"], r.Generation)
			assert.EqualValues(t, a["respawn.failure.count"], r.Failures)
			kind, _ := a["error.type"].(string)
			assert.Equal(t, kind, r.ErrorType)
			outage, _ := a["respawn.outage.duration"].(float64)
			assert.Equal(t, outage, r.Outage.Seconds())
			host, _ := a["server.address"].(string)
			assert.Contains(t, r.Authority, host)
			assert.Equal(t, s.SpanContext().TraceID().String(), r.TraceID)
		}
		assert.NotZero(t, outcomes["promoted"])
		assert.NotZero(t, outcomes["rejected"])
	})
}

func TestRecreationRecordAsJSON(t *testing.T) {
	at := time.Date(2026, 11, 24, 3, 0, 0, 0, time.UTC)
	got, err := json.Marshal([]RecreationRecord{
		{
			Time: at, Duration: 1500 * time.Millisecond, Trigger: "stall", Outcome: "promoted",
			Authority: "https://a.test:443", Generation: 2, Failures: 3, Outage: 2100 * time.Millisecond,
			TraceID: "0af7651916cd43dd8448eb211c80319c", Drained: 7, DrainTime: 250 * time.Millisecond,
		},
		{Time: at, Trigger: "manual", Outcome: "rejected", ErrorType: "factory_nil", Generation: 2},
	})
	require.NoError(t, err)
	assert.JSONEq(t, `[
		{"time": "2026-11-24T03:00:00Z", "duration_seconds": 1.5, "trigger": "stall", "outcome": "promoted",
		 "authority": "https://a.test:443", "generation": 2, "failures": 3, "outage_seconds": 2.1,
		 "trace_id": "0af7651916cd43dd8448eb211c80319c",
		 "drained": 7, "drain_seconds": 0.25, "draining": false},
		{"time": "2026-11-24T03:00:00Z", "duration_seconds": 0, "trigger": "manual", "outcome": "rejected",
		 "error_type": "factory_nil", "generation": 2, "failures": 0, "outage_seconds": 0,
		 "drained": 0, "drain_seconds": 0, "draining": false}
	]`, string(got))
}

// A trial that another authority's request makes is told as that one's.
func TestRecordOfATrialTakenOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		serve := rtFunc(func(req *http.Request) (*http.Response, error) {
			if req.URL.Host == "closed.test" {
				return nil, io.ErrUnexpectedEOF
			}
			return nil, refused()
		})
		p := newProbe(t)
		rt := start(t, serve, append(p.options(), WithFactory(builds(func() http.RoundTripper { time.Sleep(time.Second); return rtFunc(serve) }).make))...)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err := get(ctx, rt, "http://refused.test/") // trips, asks for a candidate, leaves
		require.Error(t, err)
		time.Sleep(time.Minute)
		_, err = get(t.Context(), rt, "http://closed.test/")
		require.Error(t, err)

		require.Len(t, rt.Recreations(), 1)
		r := rt.Recreations()[0]
		assert.Equal(t, "http://closed.test:80", r.Authority)
		assert.Equal(t, evidence.TriggerClosed, r.Trigger)
		assert.Zero(t, r.Outage)
		span := attributesOf(p.recreations()[0].Attributes())
		assert.Equal(t, "closed.test", span["server.address"])
		assert.Equal(t, evidence.TriggerClosed, span["respawn.trigger"])
		assert.Equal(t, 0.0, span["respawn.outage.duration"])
		assert.Equal(t, map[string]int{"connection_closed rejected": 1}, p.outcomes())
	})
}
