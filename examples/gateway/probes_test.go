package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/respawnhttp/respawn"
	"github.com/stretchr/testify/require"
)

// A probing polls as a kubelet does: on time, each time on a new connection.
type probing struct {
	t      *testing.T
	client *http.Client
	stop   chan struct{}
	polls  sync.WaitGroup

	mu      sync.Mutex
	probes  map[string][]probed // by path
	control time.Duration       // the slowest answer of a handler that does nothing

	stood func() time.Duration
}

type probed struct {
	at     time.Time
	took   time.Duration
	status int
	state  respawn.State // of readiness
}

const (
	probeEvery = 100 * time.Millisecond
	probeLimit = 50 * time.Millisecond
)

// probeGateway polls readiness and liveness until the function that it returns
// is called, and beside them a handler that does nothing, which tells what the
// machine itself takes.
func probeGateway(t *testing.T, base string) *probing {
	idle := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(idle.Close)
	p := &probing{
		t:      t,
		client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second},
		stop:   make(chan struct{}),
		probes: map[string][]probed{},
		stood:  standstill(),
	}
	p.poll(base, "/health/readiness")
	p.poll(base, "/health/liveness")
	p.poll(idle.URL, "/")
	return p
}

func (p *probing) poll(base, path string) {
	p.polls.Go(func() {
		for tick := time.Tick(probeEvery); ; {
			select {
			case <-tick:
				// The next one is on time, even if this one is not.
				p.polls.Go(func() { p.probe(base, path) })
			case <-p.stop:
				return
			}
		}
	})
}

func (p *probing) probe(base, path string) {
	req, err := http.NewRequest(http.MethodGet, base+path, nil)
	if err != nil {
		panic(err)
	}
	req.Header.Set("User-Agent", "kube-probe/1.34")
	got := probed{at: time.Now()}
	if resp, err := p.client.Do(req); err == nil {
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err == nil {
			got.status = resp.StatusCode
			got.state = stateIn(body)
		}
	}
	got.took = time.Since(got.at)
	p.mu.Lock()
	defer p.mu.Unlock()
	if path == "/" {
		p.control = max(p.control, got.took)
		return
	}
	p.probes[path] = append(p.probes[path], got)
}

// stateIn is the state that an answer of readiness tells.
func stateIn(body []byte) respawn.State {
	var doc struct {
		Checks map[string][]respawn.Health
	}
	if json.Unmarshal(body, &doc) != nil || len(doc.Checks["upstream:age"]) != 1 {
		return ""
	}
	return doc.Checks["upstream:age"][0].State
}

// end stops the polls, checks what holds of all of them, and returns the
// readiness that was seen.
func (p *probing) end(what string) []probed {
	t := p.t
	t.Helper()
	close(p.stop)
	p.polls.Wait()
	stood := p.stood()
	var slowest time.Duration
	n, late := 0, 0
	for _, probes := range p.probes {
		for _, probe := range probes {
			n++
			slowest = max(slowest, probe.took)
			if probe.took > probeLimit {
				late++
			}
		}
	}
	t.Logf("figures: %s: %d probes, the slowest %v, %d over %v; of a handler that does nothing the slowest %v; the process stood still for %v",
		what, n, slowest.Round(10*time.Microsecond), late, probeLimit, p.control.Round(10*time.Microsecond), stood.Round(10*time.Microsecond))
	// A probe that waits for anything of the incident waits a second. A busy
	// machine may add a fourth of one, and what is measured beside it.
	require.Less(t, slowest, probeLimit+250*time.Millisecond+5*p.control+stood)
	for _, probe := range p.probes["/health/liveness"] {
		require.Equal(t, http.StatusOK, probe.status, "a restart would not help")
	}
	for _, probe := range p.probes["/health/readiness"] {
		want := http.StatusOK
		if probe.state == respawn.StateFailing || probe.state == respawn.StateClosed {
			want = http.StatusServiceUnavailable
		}
		require.Equal(t, want, probe.status, "%s", probe.state)
	}
	readiness := p.probes["/health/readiness"]
	slices.SortFunc(readiness, func(a, b probed) int { return a.at.Compare(b.at) })
	return readiness
}

// standstill measures, until the function that it returns is called, for how long at most this process
// did not get a processor.
func standstill() (end func() time.Duration) {
	const beat = 5 * time.Millisecond
	quit, longest := make(chan struct{}), make(chan time.Duration)
	go func() {
		ticks := time.NewTicker(beat)
		defer ticks.Stop()
		var most time.Duration
		for last := time.Now(); ; last = time.Now() {
			select {
			case <-ticks.C:
				most = max(most, time.Since(last)-beat)
			case <-quit:
				longest <- most
				return
			}
		}
	}()
	return func() time.Duration {
		close(quit)
		return <-longest
	}
}

// load sends requests until the function that it returns is called.
func (r *rig) load() (stop func()) {
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				case <-time.After(20 * time.Millisecond):
				}
				if resp, err := http.Get(r.url + "/v1/models"); err == nil {
					_, _ = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
				}
			}
		})
	}
	return func() { close(done); wg.Wait() }
}

func (r *rig) inject(t *testing.T, fault string) {
	t.Helper()
	status, body := r.do(t, http.MethodPost, "/chaos/"+fault, "")
	require.Equal(t, http.StatusOK, status, body)
}

// await waits for what is sure to come.
func (r *rig) await(t *testing.T, what string, is func(respawn.Health) bool) {
	t.Helper()
	require.Eventually(t, func() bool { return is(r.rt.Health()) }, 30*time.Second, 10*time.Millisecond, what)
}

// firstAnswer waits for one. There is a connection to lose then.
func (r *rig) firstAnswer(t *testing.T) {
	t.Helper()
	r.await(t, "the first answer", func(respawn.Health) bool { status, _ := r.get(t, "/v1/models"); return status == http.StatusOK })
}

// Through each of the show's incidents, under load, both probes answer at
// once, and neither fails: while respawn recovers the gateway is ready.
func TestProbesThroughIncidents(t *testing.T) {
	for _, f := range faults() {
		t.Run(string(f), func(t *testing.T) {
			r := newEmbeddedRigFor(t, 500*time.Millisecond)
			r.firstAnswer(t)
			p := probeGateway(t, r.url)
			stop := r.load()
			time.Sleep(3 * probeEvery)
			r.inject(t, string(f))
			if f.passes() {
				r.await(t, "a trial of a dead upstream", func(h respawn.Health) bool { return h.Rejections >= 2 })
				r.inject(t, chaosNone)
			} else {
				r.await(t, "a fresh transport", func(h respawn.Health) bool { return h.Promotions == 1 })
			}
			r.await(t, "the end of it", func(h respawn.Health) bool { return h.State == respawn.StateHealthy })
			time.Sleep(3 * probeEvery)
			stop()
			readiness := p.end(string(f))
			seen := map[respawn.State]int{}
			for _, probe := range readiness {
				seen[probe.state]++
			}
			require.Zero(t, seen[respawn.StateFailing])
			require.NotZero(t, seen[respawn.StateHealthy])
			if f.passes() {
				require.NotZero(t, seen[respawn.StateRecovering], "warn, and ready all the same")
			}
		})
	}
}

// Readiness fails where nothing can be served and nothing be tried, and only
// as long: the session has ended, no other can be built, and the backoff
// forbids the next attempt.
func TestReadinessFailsOnlyAsDocumented(t *testing.T) {
	const interval = time.Second
	u, err := newUpstream(time.Millisecond)
	require.NoError(t, err)
	t.Cleanup(u.close)
	l, err := newLink(t.Context(), u, sessionConfig{firstByte: 500 * time.Millisecond})
	require.NoError(t, err)
	var broken sync.Mutex // held while no session can be built
	refuse := errors.New("no more sessions")
	build := func(ctx context.Context) (http.RoundTripper, error) {
		if !broken.TryLock() {
			time.Sleep(time.Second) // nor is that known at once
			return nil, refuse
		}
		defer broken.Unlock()
		return l.sessions.build(ctx)
	}
	r := newRig(t, l.url(), l.sessions, l, respawn.WithFactory(build),
		respawn.WithBackOff(func() backoff.BackOff { return backoff.NewConstantBackOff(interval) }))
	r.firstAnswer(t)

	p := probeGateway(t, r.url)
	stop := r.load()
	broken.Lock()
	begin := time.Now()
	r.inject(t, string(faultClosed))
	r.await(t, "three attempts that failed", func(h respawn.Health) bool { return h.Rejections >= 3 })
	broken.Unlock()
	r.await(t, "a fresh session", func(h respawn.Health) bool { return h.Promotions == 1 && h.State == respawn.StateHealthy })
	end := time.Now()
	time.Sleep(3 * probeEvery)
	stop()

	readiness := p.end("nothing can be built")
	failed, runs := 0, 0
	for i, probe := range readiness {
		if probe.state != respawn.StateFailing {
			continue
		}
		failed++
		if i == 0 || readiness[i-1].state != respawn.StateFailing {
			runs++
		}
		require.True(t, probe.at.Add(probe.took).After(begin) && probe.at.Before(end), "not ready at %v of %v", probe.at.Sub(begin), end.Sub(begin))
	}
	t.Logf("figures: not ready at %d of %d probes, %d times", failed, len(readiness), runs)
	require.NotZero(t, failed)
	require.Equal(t, respawn.StateHealthy, readiness[len(readiness)-1].state)
}
