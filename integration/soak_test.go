package integration

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/respawnhttp/respawn"
)

var (
	soakFor  = flag.Duration("soak", 20*time.Second, "how long TestSoak lasts")
	soakSeed = flag.Uint64("seed", 0, "repeats a soak's faults; 0 draws a seed")
)

// resources are what a leak would take.
type resources struct {
	goroutines, files int
	conns             int64
	heap              uint64
}

func measure(r *report) resources {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return resources{runtime.NumGoroutine(), len(openFiles(r.t)), r.open(), m.HeapAlloc}
}

// Many transports at once under load, and a random fault each second. At the
// end there is no more of anything than at the start, every recreation has its
// span, and nothing has failed that did not have to.
func TestSoak(t *testing.T) {
	seed := *soakSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("to repeat the faults: -seed %d", seed)
	chance := rand.New(rand.NewPCG(seed, 0))
	const pace = slack * 20 * time.Millisecond // of each sender

	r := begin(t, fmt.Sprintf("soak, %s", *soakFor))
	spans := tracetest.NewInMemoryExporter()
	traces := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
	stages := newStages(r)
	heart := new(pulse)
	for _, s := range stages {
		s.t, s.pulse = t, heart
		s.sent = map[kind]int{plainGet: 0, keyedPost: 0, rewindPost: 0, shotPost: 0}
		s.rt = s.start(t, respawn.WithName(s.name), respawn.WithTracerProvider(traces), respawn.WithBackOff(steady))
	}

	// Resources are measured twice, when all is quiet: after a warm-up, and at the end.
	soak(stages, heart, pace, func() { time.Sleep(50 * pace) })
	var before, after resources
	require.Eventually(t, func() bool {
		quiet(stages)
		previous := before
		before = measure(r)
		return before.goroutines == previous.goroutines && before.conns == previous.conns
	}, patience, 500*time.Millisecond, "it does not settle")

	struck := map[string]int{}
	faults := 0
	start := time.Now()
	soak(stages, heart, pace, func() {
		second := time.NewTicker(time.Second)
		defer second.Stop()
		for time.Since(start) < *soakFor {
			<-second.C
			ready := slices.DeleteFunc(slices.Clone(stages), func(s *stage) bool { return !s.ready() })
			if len(ready) == 0 {
				continue // all rest from the dark
			}
			s := ready[chance.IntN(len(ready))]
			b := s.blows[chance.IntN(len(s.blows))]
			s.strike(b)
			faults++
			struck[s.name+": "+b.name]++
		}
		for _, s := range stages {
			require.Eventually(t, s.ready, 2*patience, 100*time.Millisecond)
		}
	})
	lasted := time.Since(start)
	// After an error on a connection, http3 removes whichever connection is in its
	// pool by then, and does not close it. That one ends after 30 s without traffic.
	if !assert.Eventually(t, func() bool {
		quiet(stages)
		after = measure(r)
		return after.goroutines <= before.goroutines && after.files <= before.files && after.conns <= before.conns
	}, 30*time.Second+patience, 500*time.Millisecond) {
		t.Errorf("not flat: %+v before, %+v after", before, after)
	}

	var promoted, rejected, starved int
	for _, s := range stages {
		health := s.rt.Health()
		promoted, rejected = promoted+health.Promotions, rejected+health.Rejections
		r.Sent += s.requests
		r.Late, r.Unsafe, r.Cut = r.Late+s.late, r.Unsafe+s.unsafe, r.Cut+s.cut
		starved += s.starved
		for _, k := range []kind{rewindPost, shotPost} {
			assert.Empty(t, s.server.ledger.twice(s.name+" "+string(k)), "%s: a %s came twice", s.name, k)
		}
	}
	r.Failed, r.Built, r.Promoted = r.Late+r.Unsafe, len(stages)+promoted+rejected, promoted
	outcomes := map[string]int{}
	for _, span := range spans.GetSpans() {
		for _, a := range span.Attributes {
			if a.Key == "respawn.outcome" {
				outcomes[a.Value.AsString()]++
			}
		}
	}
	assert.Equal(t, promoted, outcomes["promoted"], "a recovery without its span")
	assert.Equal(t, rejected, outcomes["rejected"], "a rejection without its span")

	t.Logf("faults: %v", struck)
	r.Soak = fmt.Sprintf("%d requests, %.0f requests/s; %d faults; %d recreations promoted, %d rejected; failed: %d deadlines in the dark, %d POSTs that nobody may send again, %d answers cut in their bodies, %d while the machine stood still, 0 others; goroutines %d -> %d, files %d -> %d, connections %d -> %d, heap %.1f -> %.1f MB; seed %d",
		r.Sent, float64(r.Sent)/lasted.Seconds(), faults, promoted, rejected, r.Late, r.Unsafe, r.Cut, starved,
		before.goroutines, after.goroutines, before.files, after.files, before.conns, after.conns,
		float64(before.heap)/1e6, float64(after.heap)/1e6, seed)
	t.Logf("figures: soak of %s: %s", lasted.Round(time.Second), r.Soak)
}

// steady is a backoff whose intervals are all as long as the default's first. The default's
// intervals grow from swap to swap if swaps come within a minute, as they do here, and requests fail
// while the client waits for one, as they should.
func steady() backoff.BackOff { return backoff.NewConstantBackOff(500 * time.Millisecond) }

// soak runs the load on all stages while during runs.
func soak(stages []*stage, heart *pulse, pace time.Duration, during func()) {
	quit := make(chan struct{})
	var beating sync.WaitGroup
	beating.Go(func() { heart.run(quit) })
	for _, s := range stages {
		s.serve(pace, quit)
	}
	defer func() {
		close(quit)
		for _, s := range stages {
			s.senders.Wait()
		}
		beating.Wait()
	}()
	during()
}

// quiet closes the connections that are only kept for a next request.
func quiet(stages []*stage) {
	for _, s := range stages {
		s.rt.CloseIdleConnections()
	}
}
