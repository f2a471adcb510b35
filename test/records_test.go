package test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// streaming answers what asks for a stream, and refuses all else.
func streaming(req *http.Request) (*http.Response, error) {
	if strings.HasPrefix(req.URL.Path, "/stream") {
		return testkit.Answer(req)
	}
	return unsent(req)
}

// openStreams begins n responses and leaves their bodies open.
func openStreams(t *testing.T, rt http.RoundTripper, n int) (bodies []io.Closer) {
	t.Helper()
	for range n {
		resp, err := rt.RoundTrip(request(t.Context(), http.MethodGet, "http://stream.test/stream", nil))
		require.NoError(t, err)
		bodies = append(bodies, resp.Body)
	}
	return bodies
}

// An incident from the first failure to the last request that has left the
// retired transport, to the nanosecond.
func TestRecreationsTellTheStory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := start(t, testkit.RoundTripperFunc(streaming), respawn.WithReplay(respawn.ReplayNever), every(10*time.Second),
			respawn.WithFactory(testkit.Builds(func() http.RoundTripper { time.Sleep(500 * time.Millisecond); return &testkit.Stub{} }).Make))
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
		require.NoError(t, err, "the candidate's answer")
		assert.Empty(t, rt.Recreations(), "which has no control yet")
		_, err = get(t.Context(), rt, "https://api.test/")
		require.Error(t, err, "the control: it may be asked only once")

		want := respawn.RecreationRecord{
			Time: begin.Add(3 * time.Second), Duration: 500 * time.Millisecond,
			Trigger: "connection_refused", Outcome: "promoted", Authority: "https://api.test:443",
			Generation: 2, Failures: 4, Outage: 3500 * time.Millisecond,
			Drained: 3, Draining: true,
		}
		assert.Equal(t, []respawn.RecreationRecord{want}, rt.Recreations())
		retired := begin.Add(3500 * time.Millisecond)
		drains := func(n int64) []respawn.GenerationHealth {
			return []respawn.GenerationHealth{{Generation: 1, InFlight: n, Since: retired}}
		}
		assert.Equal(t, drains(3), rt.Health().DrainingGenerations)

		for i, body := range bodies {
			time.Sleep(time.Second)
			assert.Equal(t, []respawn.RecreationRecord{want}, rt.Recreations(), "%d have left", i)
			assert.Equal(t, drains(int64(3-i)), rt.Health().DrainingGenerations)
			require.NoError(t, body.Close())
		}
		want.Draining, want.DrainTime = false, 3*time.Second
		assert.Equal(t, []respawn.RecreationRecord{want}, rt.Recreations())
		assert.Empty(t, rt.Health().DrainingGenerations)
		time.Sleep(10 * time.Second) // the sweeps
		assert.Equal(t, []respawn.RecreationRecord{want}, rt.Recreations())
	})
}

func TestRecreationsOfRejections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := testkit.NewFactory(func(ctx context.Context, call int64) (http.RoundTripper, error) {
			switch call {
			case 1:
				return hangs(ctx)
			case 2:
				return testkit.Dead(testkit.Refused()), nil
			}
			time.Sleep(250 * time.Millisecond)
			return nil, errFactory
		})
		rt := start(t, testkit.RoundTripperFunc(streaming), respawn.WithThreshold(1), every(time.Second), respawn.WithRecreateTimeout(2*time.Second), respawn.WithFactory(f.Make))
		defer openStreams(t, rt, 1)[0].Close()
		begin := time.Now()
		_, err := get(t.Context(), rt, "http://a.test/")
		require.Error(t, err)
		time.Sleep(3 * time.Second)
		_, err = get(t.Context(), rt, "http://a.test/")
		require.Error(t, err)
		require.Error(t, rt.Recreate(t.Context()))

		assert.Equal(t, []respawn.RecreationRecord{
			{
				Time: begin, Duration: 2 * time.Second, Trigger: "connection_refused", Outcome: "rejected",
				ErrorType: "factory_timeout", Authority: "http://a.test:80", Generation: 1, Failures: 1, Outage: 5250 * time.Millisecond, OutageOpen: true,
			},
			{
				Time: begin.Add(5 * time.Second), Trigger: "connection_refused", Outcome: "rejected",
				ErrorType: "connection_refused", Authority: "http://a.test:80", Generation: 1, Failures: 2, Outage: 5250 * time.Millisecond, OutageOpen: true,
			},
			{
				Time: begin.Add(5 * time.Second), Duration: 250 * time.Millisecond, Trigger: "manual", Outcome: "rejected",
				ErrorType: "factory_error", Generation: 1,
			},
		}, rt.Recreations())
	})
}

// What was sent on a candidate goes on when that is rejected, until its answer is
// read: the candidate drains, and is no generation.
func TestRejectedCandidateDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var answering atomic.Bool
		base := testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
			if answering.Load() {
				return testkit.Answer(req)
			}
			<-req.Context().Done()
			return nil, req.Context().Err()
		})
		rt := start(t, base, respawn.WithFactory(fresh))
		post := func(ctx context.Context) (*http.Response, error) {
			return rt.RoundTrip(request(ctx, http.MethodPost, "http://a.test/", nil))
		}
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, err := post(ctx)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			cancel()
		}
		resp, err := post(t.Context())
		require.NoError(t, err, "what can be asked only once goes to the candidate")
		answering.Store(true)
		control, err := post(t.Context())
		require.NoError(t, err)
		require.NoError(t, control.Body.Close())
		assert.Equal(t, []respawn.GenerationHealth{{Generation: 0, InFlight: 1, Since: time.Now()}}, rt.Health().DrainingGenerations)
		records := rt.Recreations()
		require.Len(t, records, 1)
		assert.Equal(t, respawn.TriggerStall, records[0].Trigger)
		assert.Equal(t, respawn.ErrorTypeCurrentRecovered, records[0].ErrorType)
		assert.Zero(t, records[0].Drained, "nothing was retired from service")
		assert.False(t, records[0].Draining)
		require.NoError(t, resp.Body.Close())
		assert.Empty(t, rt.Health().DrainingGenerations)
	})
}

// promoteUntried swaps under what is in flight, at an instant that is known: nobody
// tries the fresh transport for the second that it has.
func promoteUntried(t *testing.T, rt *respawn.RecoveringRoundTripper) {
	t.Helper()
	before := time.Now()
	require.NoError(t, rt.Recreate(t.Context()))
	require.Equal(t, time.Second, time.Since(before))
}

// Each drain is told of the recreation that began it, the oldest first.
func TestDrainsOfSeveralGenerations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		rt := start(t, &testkit.Stub{}, respawn.WithFactory(fresh), respawn.WithRecreateTimeout(time.Second))
		first := openStreams(t, rt, 2)
		promoteUntried(t, rt)
		second := openStreams(t, rt, 1)
		promoteUntried(t, rt)

		assert.Equal(t, []respawn.GenerationHealth{
			{Generation: 1, InFlight: 2, Since: begin.Add(time.Second)},
			{Generation: 2, InFlight: 1, Since: begin.Add(2 * time.Second)},
		}, rt.Health().DrainingGenerations)
		time.Sleep(time.Second)
		require.NoError(t, second[0].Close())
		time.Sleep(time.Hour)
		for _, body := range first {
			require.NoError(t, body.Close())
		}

		var told []respawn.RecreationRecord
		for _, r := range rt.Recreations() {
			told = append(told, respawn.RecreationRecord{Generation: r.Generation, Drained: r.Drained, DrainTime: r.DrainTime, Draining: r.Draining})
		}
		assert.Equal(t, []respawn.RecreationRecord{
			{Generation: 2, Drained: 2, DrainTime: time.Hour + 2*time.Second},
			{Generation: 3, Drained: 1, DrainTime: time.Second},
		}, told)
	})
}

// The memory of the past is bounded, and a snapshot is the caller's own.
func TestRecreationsKeepsTheLast64(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := start(t, &testkit.Stub{}, respawn.WithFactory(fresh), respawn.WithRecreateTimeout(time.Second))
		last := openStreams(t, rt, 1)[0] // its own record is forgotten before it has drained
		begin := time.Now()
		promoteUntried(t, rt)
		for i := range 200 {
			time.Sleep(time.Second)
			require.NoError(t, rt.Recreate(t.Context()))
			records := rt.Recreations()
			require.Len(t, records, min(i+2, 64))
			for j, r := range records {
				want := uint64(i + 3 - len(records) + 1 + j)
				require.Equal(t, want, r.Generation, "%d of %d", j, len(records))
				started := begin.Add(time.Duration(want-1) * time.Second)
				if want == 2 {
					started = begin
				}
				require.Equal(t, started, r.Time)
			}
			records[0] = respawn.RecreationRecord{}
		}
		require.NoError(t, last.Close())
		for _, r := range rt.Recreations() {
			assert.Zero(t, r.DrainTime, "not theirs")
			assert.Equal(t, respawn.OutcomePromoted, r.Outcome)
		}
		require.Len(t, rt.Recreations(), 64)
		require.NoError(t, rt.Close())
		assert.Len(t, rt.Recreations(), 64, "the past stays")
	})
}

func TestRecreationsNeverBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := start(t, testkit.Dead(testkit.Refused()), respawn.WithThreshold(1), respawn.WithFactory(hangs))
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
		p := testkit.NewProbe(t)
		f := testkit.NewFactory(func(_ context.Context, call int64) (http.RoundTripper, error) {
			time.Sleep(time.Duration(call) * 10 * time.Millisecond)
			switch call % 3 {
			case 0:
				return nil, errFactory
			case 1:
				return testkit.Dead(testkit.Refused()), nil
			}
			return testkit.RoundTripperFunc(streaming), nil
		})
		rt := start(t, testkit.RoundTripperFunc(streaming), append(observed(p), every(300*time.Millisecond), respawn.WithFactory(f.Make))...)
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
		synctest.Wait()
		spans, records := p.Recreations(), rt.Recreations()
		require.NotEmpty(t, records)
		require.Len(t, records, len(spans))
		outcomes := map[string]int{}
		for i, s := range spans {
			a, r := testkit.Attributes(s.Attributes()), records[i]
			outcomes[string(r.Outcome)]++
			assert.Equal(t, s.StartTime(), r.Time)
			assert.Equal(t, s.EndTime().Sub(s.StartTime()), r.Duration)
			assert.EqualValues(t, a["respawn.trigger"], r.Trigger)
			assert.EqualValues(t, a["respawn.outcome"], r.Outcome)
			assert.EqualValues(t, a["respawn.transport.generation"], r.Generation)
			assert.EqualValues(t, a["respawn.failure.count"], r.Failures)
			kind, _ := a["error.type"].(string)
			assert.EqualValues(t, kind, r.ErrorType)
			if outage, over := a["respawn.outage.duration"]; over {
				assert.Equal(t, outage, r.Outage.Seconds())
			} else if r.Outage > 0 {
				assert.True(t, r.Time.Add(r.Duration).Before(r.Time.Add(r.Outage)), "its outage lasted on")
			}
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
	got, err := json.Marshal([]respawn.RecreationRecord{
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
		 "authority": "https://a.test:443", "generation": 2, "failures": 3, "outage_seconds": 2.1, "outage_open": false,
		 "trace_id": "0af7651916cd43dd8448eb211c80319c",
		 "drained": 7, "drain_seconds": 0.25, "draining": false},
		{"time": "2026-11-24T03:00:00Z", "duration_seconds": 0, "trigger": "manual", "outcome": "rejected",
		 "error_type": "factory_nil", "generation": 2, "failures": 0, "outage_seconds": 0, "outage_open": false,
		 "drained": 0, "drain_seconds": 0, "draining": false}
	]`, string(got))
}

// A candidate that was built for one authority is everybody's: whoever proves it is
// whom its promotion is told of, and where nobody does it stays that of whom it was
// built for, with an event of its span for each verdict.
func TestRecordIsOfTheAuthorityThatDecided(t *testing.T) {
	for _, tt := range []struct {
		name    string
		proven  bool
		outcome string
		want    respawn.RecreationRecord
		events  []string
	}{
		{name: "promoted by another", proven: true, outcome: "connection_closed promoted", want: respawn.RecreationRecord{
			Trigger: "connection_closed", Outcome: "promoted", Authority: "http://closed.test:80", Generation: 2,
			Failures: 3, // the last of them began when the candidate was ready: it is the control
			Duration: time.Minute - 50*time.Millisecond,
		}},
		{name: "refused by another", outcome: "connection_refused rejected", want: respawn.RecreationRecord{
			Trigger: "connection_refused", Outcome: "rejected", ErrorType: "untried", Authority: "http://refused.test:80", Generation: 1,
			Failures: 3, Duration: time.Second + 5*time.Minute, Outage: 6*time.Minute - 50*time.Millisecond, OutageOpen: true,
		}, events: []string{"closed.test connection_closed"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				serve := func(proven bool) testkit.RoundTripperFunc {
					return func(req *http.Request) (*http.Response, error) {
						switch {
						case req.URL.Host == "refused.test":
							return nil, testkit.Refused()
						case proven:
							return testkit.Answer(req)
						}
						return nil, io.ErrUnexpectedEOF
					}
				}
				p := testkit.NewProbe(t)
				f := testkit.Builds(func() http.RoundTripper { time.Sleep(time.Second); return serve(tt.proven) })
				rt := start(t, serve(false), append(observed(p), respawn.WithFactory(f.Make))...)
				begin := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
				defer cancel()
				_, err := get(ctx, rt, "http://refused.test/") // trips, asks for a candidate, leaves
				require.Error(t, err)
				time.Sleep(time.Until(begin.Add(time.Minute - 50*time.Millisecond)))
				_, err = get(t.Context(), rt, "http://closed.test/")
				require.Equal(t, tt.proven, err == nil)
				time.Sleep(5 * time.Minute)
				synctest.Wait()

				require.Len(t, rt.Recreations(), 1)
				r := rt.Recreations()[0]
				assert.NotEmpty(t, r.TraceID)
				r.TraceID = ""
				tt.want.Time = begin
				assert.Equal(t, tt.want, r)
				assert.Equal(t, map[string]int{tt.outcome: 1}, p.Outcomes())
				span := p.Recreations()[0]
				a := testkit.Attributes(span.Attributes())
				assert.Equal(t, tt.want.Authority, "http://"+a["server.address"].(string)+":80")
				if tt.proven {
					assert.Equal(t, tt.want.Outage.Seconds(), a["respawn.outage.duration"])
				} else {
					assert.NotContains(t, a, "respawn.outage.duration", "it lasts")
				}
				assert.EqualValues(t, tt.want.Failures, a["respawn.failure.count"])
				var events []string
				for _, e := range span.Events() {
					ea := testkit.Attributes(e.Attributes)
					events = append(events, ea["server.address"].(string)+" "+ea["error.type"].(string))
				}
				assert.Equal(t, tt.events, events)
			})
		})
	}
}

// An authority that has failed once had no outage, so that one is not what a planned
// swap ended which it proved.
func TestPlannedSwapAfterOneFailureEndedNoOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
			if req.Method == http.MethodPost {
				return lost(req)
			}
			if req.URL.Path == "/slow" {
				time.Sleep(2 * time.Second)
			}
			return testkit.Answer(req)
		})
		p := testkit.NewProbe(t)
		rt := start(t, base, append(observed(p), respawn.WithFactory(testkit.Builds(func() http.RoundTripper {
			return &testkit.Stub{Delay: time.Second}
		}).Make))...)
		defer openStreams(t, rt, 1)[0].Close()
		begin := time.Now()
		go func() { assert.NoError(t, rt.Recreate(t.Context())) }()
		synctest.Wait()
		go func() { _, _ = get(t.Context(), rt, "http://a.test/slow") }() // and a copy, which proves the fresh one
		synctest.Wait()
		_, err := testkit.Do(rt, request(t.Context(), http.MethodPost, "http://a.test/", nil))
		require.Error(t, err)
		time.Sleep(5 * time.Second)
		synctest.Wait()

		records := rt.Recreations()
		require.Len(t, records, 1)
		assert.Equal(t, respawn.RecreationRecord{
			Time: begin, Duration: time.Second, Trigger: "manual", Outcome: "promoted", Authority: "http://a.test:80",
			Generation: 2, Failures: 1, TraceID: records[0].TraceID, Drained: 2, Draining: true,
		}, records[0])
		assert.NotContains(t, testkit.Attributes(p.Recreations()[0].Attributes()), "respawn.outage.duration")
	})
}
