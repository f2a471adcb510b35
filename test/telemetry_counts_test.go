package test

import (
	"fmt"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// points are an instrument's values by their attributes, but the client's name.
func points(p *testkit.Probe, metric string) map[string]int64 {
	all := map[string]int64{}
	data, _ := p.Metric(metric).Data.(metricdata.Sum[int64])
	for _, pt := range data.DataPoints {
		key := ""
		for _, kv := range pt.Attributes.ToSlice() {
			if kv.Key != "respawn.name" {
				key += fmt.Sprint(" ", kv.Value.AsInterface())
			}
		}
		all[key] += pt.Value
	}
	return all
}

// Counts begin at 0 with the client, so that who asks for an increase sees the first
// event, too: recreations by their outcome alone.
func TestCountsBeginAtZero(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testkit.NewProbe(t)
		rt := start(t, testkit.Dead(testkit.Refused()), append(observed(p), respawn.WithFactory(fresh))...)
		assert.Equal(t, map[string]int64{" promoted": 0, " rejected": 0}, points(p, "respawn.transport.recreations"))
		assert.Equal(t, map[string]int64{"": 0}, points(p, "respawn.request.replays"))
		assert.Equal(t, map[string]int64{"": 0}, points(p, "respawn.authority.tripped"))
		before := points(p, "respawn.transport.failures")
		for trigger, n := range before {
			assert.Zero(t, n, trigger)
		}
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		synctest.Wait()
		assert.Equal(t, map[string]int64{" promoted": 1, " rejected": 0}, points(p, "respawn.transport.recreations"))
		after := points(p, "respawn.transport.failures")
		assert.Len(t, after, len(before), "no series that was not there")
		assert.EqualValues(t, 4, after[" connection_refused"])
	})
}

// Case E4: what clients of one name have in flight adds up.
func TestClientsOfOneNameAddUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testkit.NewProbe(t)
		for _, n := range []int{1, 4} {
			rt := start(t, testkit.RoundTripperFunc(streaming), append(observed(p), respawn.WithFactory(fresh), respawn.WithRecreateTimeout(time.Second))...)
			for _, body := range openStreams(t, rt, n) {
				defer body.Close()
			}
			promoteUntried(t, rt)
		}
		assert.Equal(t, map[string]int64{"": 5}, points(p, "respawn.transport.in_flight"))
		assert.Equal(t, map[string]int64{"": 2}, points(p, "respawn.transport.draining"))
	})
}

// What is down now needs no inference: how many authorities are, and whether the
// transport itself has ended.
func TestTrippedTellsWhatIsDownNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testkit.NewProbe(t)
		base := &testkit.SessionStub{}
		base.Fail(testkit.Refused())
		rt := start(t, base, append(observed(p), respawn.WithFactory(fails))...)
		tripped := func() int64 { return points(p, "respawn.authority.tripped")[""] }
		for i, host := range []string{"a.test", "b.test"} {
			_, err := get(t.Context(), rt, "http://"+host)
			require.Error(t, err)
			assert.EqualValues(t, i+1, tripped())
		}
		base.Fail(nil)
		_, err := get(t.Context(), rt, "http://a.test")
		require.NoError(t, err)
		assert.EqualValues(t, 1, tripped())
		base.End(errSessionClosed)
		_, err = get(t.Context(), rt, "http://c.test")
		require.Error(t, err)
		assert.EqualValues(t, 2, tripped(), "b, and the transport")
	})
}

// With WithHostMetrics the metrics name the host, for so many hosts and no more.
func TestHostMetricsNameTheHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testkit.NewProbe(t)
		rt := start(t, testkit.RoundTripperFunc(oneDead), append(observed(p), respawn.WithFactory(fails), respawn.WithHostMetrics())...)
		assert.Equal(t, map[string]int64{" promoted": 0, " rejected": 0}, points(p, "respawn.transport.recreations"))
		_, err := get(t.Context(), rt, "http://well.test/")
		require.NoError(t, err)
		_, err = get(t.Context(), rt, "http://dead.test/")
		require.Error(t, err)
		synctest.Wait()
		assert.Equal(t, map[string]int64{"": 0, " dead.test 80": 1}, points(p, "respawn.authority.tripped"))
		assert.Equal(t, map[string]int64{
			" promoted": 0, " rejected": 0, " promoted dead.test 80": 0, " rejected dead.test 80": 1,
		}, points(p, "respawn.transport.recreations"))
		assert.EqualValues(t, 3, points(p, "respawn.transport.failures")[" connection_refused dead.test 80"])
		assert.EqualValues(t, 2, points(p, "respawn.request.replays")[" dead.test 80"])
		for _, metric := range []string{"respawn.transport.recreation.duration"} {
			pts := p.Metric(metric).Data.(metricdata.Histogram[float64]).DataPoints
			require.Len(t, pts, 1)
			address, _ := pts[0].Attributes.Value("server.address")
			assert.Equal(t, "dead.test", address.AsString())
		}
	})
}

func TestHostMetricsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testkit.NewProbe(t)
		base := testkit.RoundTripperFunc(func(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF })
		rt := start(t, base, append(observed(p), respawn.WithThreshold(1), respawn.WithReplay(respawn.ReplayNever), respawn.WithFactory(fails), respawn.WithHostMetrics())...)
		for i := range 100 {
			_, err := get(t.Context(), rt, fmt.Sprintf("http://h%d.test/", i))
			require.Error(t, err)
		}
		tripped := points(p, "respawn.authority.tripped")
		assert.Len(t, tripped, 32+2, "the first hosts, the others together, and none")
		assert.EqualValues(t, 1, tripped[" h31.test 80"])
		assert.EqualValues(t, 68, tripped[" _OTHER"])
		assert.EqualValues(t, 68, points(p, "respawn.transport.failures")[" connection_closed _OTHER"])
	})
}

// A recreation of several authorities is one span, with an event for each verdict and
// the attributes of the one that decided; one count, and one log line.
func TestOneRecreationOfSeveralAuthoritiesIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testkit.NewProbe(t)
		serve := func(well string) testkit.RoundTripperFunc {
			return func(req *http.Request) (*http.Response, error) {
				if req.URL.Host == well {
					time.Sleep(500 * time.Millisecond)
					return testkit.Answer(req)
				}
				return unsent(req)
			}
		}
		rt := start(t, serve(""), append(observed(p), respawn.WithFactory(testkit.Builds(func() http.RoundTripper {
			time.Sleep(time.Second)
			return serve("c.test")
		}).Make))...)
		done := make(chan error, 3)
		for _, host := range []string{"a.test", "b.test", "c.test"} {
			go func() {
				_, err := get(t.Context(), rt, "http://"+host)
				done <- err
			}()
			time.Sleep(time.Millisecond)
		}
		served := 0
		for range 3 {
			if <-done == nil {
				served++
			}
		}
		assert.Equal(t, 1, served)
		synctest.Wait()
		require.Len(t, p.Recreations(), 1)
		span := p.Recreations()[0]
		a := testkit.Attributes(span.Attributes())
		assert.Equal(t, "c.test", a["server.address"])
		assert.Equal(t, "promoted", a["respawn.outcome"])
		assert.EqualValues(t, 4, a["respawn.failure.count"])
		refused := map[string]int{}
		for _, e := range span.Events() {
			refused[fmt.Sprint(e.Name, " ", testkit.Attributes(e.Attributes)["server.address"])]++
		}
		assert.Equal(t, map[string]int{"respawn.refusal a.test": 1, "respawn.refusal b.test": 1}, refused)
		assert.Equal(t, map[string]int64{" promoted": 1, " rejected": 0}, points(p, "respawn.transport.recreations"))
		require.Len(t, p.Logged("in service"), 1)
		assert.Equal(t, "c.test", p.Logged("in service")[0].Attrs["server.address"])
		require.Len(t, rt.Recreations(), 1)
		assert.Equal(t, "http://c.test:80", rt.Recreations()[0].Authority)
	})
}

// A transport that was replaced by plan serves what is in flight on it to its end. If that
// fails, it says nothing of the transport in service, and Health and metrics agree on that.
func TestWhatFailsOnAReplacedTransportIsNoFailureInService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testkit.NewProbe(t)
		base := testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
			time.Sleep(30 * time.Second)
			return lost(req)
		})
		rt := start(t, base, append(observed(p), respawn.WithFactory(fresh))...)
		go func() {
			_, err := testkit.Do(rt, request(t.Context(), http.MethodPost, "http://a.test/", nil))
			assert.Error(t, err)
		}()
		time.Sleep(time.Second)
		require.NoError(t, rt.Recreate(t.Context()))
		time.Sleep(time.Minute)
		assert.Nil(t, rt.Health().LastFailure)
		assert.Zero(t, rt.Health().Failures)
		assert.Zero(t, p.Total("respawn.transport.failures"))
	})
}
