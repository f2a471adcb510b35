package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/respawnhttp/respawn"
)

// An authoritiesResult is the cost of a request where they go to that many
// hosts by turns.
type authoritiesResult struct {
	authorities int
	samples     map[string][]sample
}

// A failingResult is what that many failing hosts leave behind.
type failingResult struct {
	authorities int
	attempts    int64         // on the dead transport
	heap        int64         // bytes grown
	streaks     int           // in the health snapshot
	trials      int64         // candidates built
	each        time.Duration // that a request took
}

// An inFlightResult is what the request costs that finds the transport dead and
// makes the trial, with that many answers unfinished on the old one.
type inFlightResult struct {
	inFlight int
	took     estimate // ns
}

type growthResult struct {
	authorities []authoritiesResult
	failing     failingResult
	inFlight    []inFlightResult
}

func runGrowth(rnd *rand.Rand, e effort, peers []peer) (g growthResult, err error) {
	for _, n := range e.authorities {
		r, err := growAuthorities(rnd, e, peers, n)
		if err != nil {
			return g, err
		}
		g.authorities = append(g.authorities, r)
	}
	if g.failing, err = growFailing(e.failing); err != nil {
		return g, err
	}
	for _, n := range e.inFlight {
		var took []float64
		for range e.recreations {
			d, err := recreateOver(n)
			if err != nil {
				return g, err
			}
			took = append(took, float64(d))
		}
		g.inFlight = append(g.inFlight, inFlightResult{n, median(took)})
	}
	return g, nil
}

// growAuthorities sends to n hosts by turns. Where they do not fit the CPU's
// caches every row pays for reading the requests; the difference is respawn's.
func growAuthorities(rnd *rand.Rand, e effort, peers []peer, n int) (authoritiesResult, error) {
	reqs := make([]*http.Request, n)
	for i := range reqs {
		reqs[i] = stubRequest(hostURL(i))
	}
	var contenders []contender
	for _, p := range withAA([]peer{peerNamed(peers, nameBare), peerNamed(peers, nameRespawn)}) {
		base := stub{http.NoBody}
		rt := p.wrap(base, stubFactory(base))
		defer closeTransport(rt)
		next, buf := 0, make([]byte, 64)
		do := func(ops int) error {
			for range ops {
				if err := exchange(rt, reqs[next], buf); err != nil {
					return err
				}
				if next++; next == n {
					next = 0
				}
			}
			return nil
		}
		ops, err := fit(e.slice, 1, do)
		if err != nil {
			return authoritiesResult{}, err
		}
		contenders = append(contenders, contender{p.name, func() (sample, error) {
			return take(ops, func() error { return do(ops) })
		}})
	}
	samples, err := interleave(rnd, e.rounds, contenders)
	return authoritiesResult{n, samples}, err
}

func hostURL(i int) string { return fmt.Sprintf("http://host-%d.test/", i) }

func refused() error {
	return &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
}

// growFailing sends a request to each of n hosts, none of which answers.
func growFailing(n int) (failingResult, error) {
	r := failingResult{authorities: n}
	var attempts, trials atomic.Int64
	dead := roundTripperFunc(func(*http.Request) (*http.Response, error) {
		attempts.Add(1)
		return nil, refused()
	})
	rt := newRespawn(dead, func(context.Context) (http.RoundTripper, error) {
		trials.Add(1)
		return dead, nil
	}).(*respawn.RecoveringRoundTripper)
	defer rt.Close()
	buf := make([]byte, 64)
	before := heapInUse()
	start := time.Now()
	for i := range n {
		if err := exchange(rt, get(context.Background(), hostURL(i)), buf); !errors.Is(err, syscall.ECONNREFUSED) {
			return r, fmt.Errorf("a dead host gave %w", err)
		}
	}
	r.each = time.Since(start) / time.Duration(n)
	r.heap = heapInUse() - before
	r.attempts, r.trials, r.streaks = attempts.Load(), trials.Load(), len(rt.Health().Streaks)
	return r, nil
}

func heapInUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what pools kept through the first
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A mortal answers until it is dead.
type mortal struct{ dead atomic.Bool }

func (m *mortal) RoundTrip(req *http.Request) (*http.Response, error) {
	if m.dead.Load() {
		return nil, refused()
	}
	return stub{short}.RoundTrip(req)
}

// recreateOver lets n answers begin, kills the transport, and returns how long
// the next request takes, which meets the dead transport as often as the threshold
// says and once more, as the control, then makes the trial and is answered.
func recreateOver(n int) (time.Duration, error) {
	base := &mortal{}
	rt := newRespawn(base, func(context.Context) (http.RoundTripper, error) { return &mortal{}, nil }).(*respawn.RecoveringRoundTripper)
	defer rt.Close()
	open := make([]*http.Response, n)
	for i, req := range stubRequests(n) {
		var err error
		if open[i], err = rt.RoundTrip(req); err != nil {
			return 0, err
		}
	}
	runtime.GC() // not while the clock runs
	base.dead.Store(true)
	req := stubRequest(hostURL(0)).WithContext(context.Background()) // who is gone sends nothing again
	start := time.Now()
	resp, err := rt.RoundTrip(req)
	took := time.Since(start)
	if err != nil {
		return 0, err
	}
	if got := rt.Health(); got.Generation != 2 || got.InFlight != int64(n)+1 {
		return 0, fmt.Errorf("generation %d with %d in flight after one recreation over %d", got.Generation, got.InFlight, n)
	}
	for _, r := range append(open, resp) {
		_ = r.Body.Close() // a stub's
	}
	return took, nil
}
