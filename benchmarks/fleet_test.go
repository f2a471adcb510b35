package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metricnoop "go.opentelemetry.io/otel/metric/noop"

	"github.com/respawnhttp/respawn"
)

// A distantUpstream is the one that all processes use. It goes away for a
// while and counts who knocks.
type distantUpstream struct {
	start    time.Time
	attempts []atomic.Int64 // by bucket
}

func newDistantUpstream() *distantUpstream {
	return &distantUpstream{start: time.Now(), attempts: make([]atomic.Int64, fleetEnd/fleetBucket+1)}
}

func (u *distantUpstream) since() time.Duration { return time.Since(u.start) }

func (u *distantUpstream) down() bool { return u.since() >= fleetDown && u.since() < fleetUp }

// connect is an attempt that reaches the upstream. What it returns holds
// unless the upstream goes away.
func (u *distantUpstream) connect() (link, error) {
	u.attempts[u.since()/fleetBucket].Add(1)
	if u.down() {
		return link{}, refused()
	}
	return link{u, u.since(), true}, nil
}

// A link is a connection or a session with the upstream.
type link struct {
	upstream *distantUpstream
	made     time.Duration
	ok       bool
}

func (l link) holds() bool { return l.ok && !(l.made < fleetDown && l.upstream.since() >= fleetDown) }

// A linkedTransport is one process's transport, which one goroutine uses at a
// time: a process sends one request after the other.
type linkedTransport struct {
	upstream *distantUpstream
	link     link
	redials  bool
}

func (t *linkedTransport) RoundTrip(*http.Request) (*http.Response, error) {
	if !t.link.holds() {
		if !t.redials {
			return nil, errSessionShutdown
		}
		var err error
		if t.link, err = t.upstream.connect(); err != nil {
			return nil, err
		}
	}
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
}

// newProcess returns the client of one process.
func newProcess(t *testing.T, u *distantUpstream, scene, policy string) http.RoundTripper {
	build := func(context.Context) (http.RoundTripper, error) {
		if scene == sceneConnections {
			return &linkedTransport{upstream: u, redials: true}, nil // dials when it is used
		}
		l, err := u.connect() // as building a tunnel does
		if err != nil {
			return nil, err
		}
		return &linkedTransport{upstream: u, link: l}, nil
	}
	base, err := build(t.Context())
	require.NoError(t, err)
	if policy == policyBare {
		return base
	}
	opts := []respawn.Option{
		respawn.WithFactory(build),
		respawn.WithLogger(slog.New(slog.DiscardHandler)), respawn.WithMeterProvider(metricnoop.NewMeterProvider()),
	}
	if policy == policyLockstep { // the default, but for its jitter
		opts = append(opts, respawn.WithBackOff(func() backoff.BackOff {
			return backoff.NewExponentialBackOff(
				backoff.WithInitialInterval(500*time.Millisecond), backoff.WithMultiplier(1.5), backoff.WithRandomizationFactor(0),
				backoff.WithMaxInterval(30*time.Second), backoff.WithMaxElapsedTime(0))
		}))
	}
	rt, err := respawn.New(base, opts...)
	require.NoError(t, err)
	return rt
}

// live is one process: a request each fleetEvery, from a moment of its own on.
// It returns how long after the upstream the process was back.
func live(t *testing.T, u *distantUpstream, rt http.RoundTripper, phase time.Duration) (back time.Duration, ok bool) {
	req := get(t.Context(), "http://upstream.test/")
	time.Sleep(phase)
	for u.since() < fleetEnd {
		resp, err := rt.RoundTrip(req)
		if err == nil {
			resp.Body.Close()
			if !ok && u.since() >= fleetUp {
				back, ok = u.since()-fleetUp, true
			}
		}
		time.Sleep(fleetEvery)
	}
	return back, ok
}

func simulate(t *testing.T, processes int, run *fleetRun) {
	synctest.Test(t, func(t *testing.T) {
		u := newDistantUpstream()
		rnd := rand.New(rand.NewPCG(1, 2))
		backs := make(chan time.Duration, processes)
		var wg sync.WaitGroup
		for range processes {
			rt, phase := newProcess(t, u, run.Scene, run.Policy), time.Duration(rnd.Int64N(int64(fleetEvery)))
			wg.Go(func() {
				if back, ok := live(t, u, rt, phase); ok {
					backs <- back
				}
				closeTransport(rt)
			})
		}
		wg.Wait()
		close(backs)
		for b := range backs {
			run.Back = append(run.Back, b.Seconds())
		}
		for i := range fleetEnd / fleetBucket {
			run.Attempts = append(run.Attempts, int(u.attempts[i].Load()))
		}
	})
}

// The simulation that the page's fleet is drawn from, small unless it is asked
// for more.
func TestFleet(t *testing.T) {
	t.Parallel()
	result := fleetResult{Processes: quick().processes}
	if n := os.Getenv(fleetProcessesEnv); n != "" {
		var err error
		result.Processes, err = strconv.Atoi(n)
		require.NoError(t, err)
	}
	runs := map[[2]string]*fleetRun{}
	t.Run("runs", func(t *testing.T) { // each in a bubble of its own
		for _, scene := range []string{sceneSessions, sceneConnections} {
			for _, policy := range []string{policyBare, policyLockstep, policyJitter} {
				run := &fleetRun{Scene: scene, Policy: policy}
				runs[[2]string{scene, policy}] = run
				t.Run(scene+"/"+policy, func(t *testing.T) {
					t.Parallel()
					simulate(t, result.Processes, run)
					t.Logf("%d of %d back", len(run.Back), result.Processes)
				})
			}
		}
	})
	late := func(scene, policy string) []float64 {
		return runs[[2]string{scene, policy}].between(fleetDown+10*time.Second, fleetUp)
	}
	for key, run := range runs {
		result.Runs = append(result.Runs, *run)
		if key == [2]string{sceneSessions, policyBare} {
			assert.Empty(t, run.Back, "a session does not come back by itself")
			continue
		}
		assert.Len(t, run.Back, result.Processes, "all are back")
		last, _ := run.backAfter(1, result.Processes)
		assert.Less(t, last, 46.0, "within the longest interval and a request")
	}
	// Nobody seeds the jitter. Of a hundred processes the peak is 2.8 times as high without it, give or take 0.4.
	assert.Less(t, 1.5*peak(late(sceneSessions, policyJitter)), peak(late(sceneSessions, policyLockstep)),
		"jitter spreads the fleet")
	assert.Less(t, mean(late(sceneConnections, policyJitter)), 1.2*mean(late(sceneConnections, policyBare)),
		"trials and their controls add little to what callers try anyway")
	if file := os.Getenv(fleetEnv); file != "" {
		data, err := json.Marshal(result)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(file, data, 0o644))
	}
}
