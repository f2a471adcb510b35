package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"time"

	"github.com/respawnhttp/respawn"
)

const (
	tunnelTime = 20 * time.Millisecond // to build a fresh session
	deadPause  = 20 * time.Millisecond // between requests to a dead dialer
)

// A recovery is how one row came through one fault.
type recovery struct {
	peer       string
	sent       int
	answered   int
	firstFails int           // requests that failed before the first success
	first      time.Duration // from the fault's first request to the first success; 0: never
	watched    time.Duration
	dials      int64
	deadDials  int64
	built      int64 // transports, the first one included
	recreated  int   // by respawn's own count
	left       int   // connections, some time after all was closed that offers it
}

func (r recovery) recovered() bool { return r.answered > 0 }

// A recoveryResult is how all rows came through all faults.
type recoveryResult struct {
	deadDialer  []recovery // one request after the other
	storm       []recovery // the same, met by many goroutines at once
	toldStorm   []recovery // and by a session that says that it is closed
	blackHole   []recovery
	storms      int
	blackHolers blackHoleLoad
}

// runRecovery breaks a transport for good under every row.
func runRecovery(e effort, peers []peer) (recoveryResult, error) {
	peers = withPort(peers)
	result := recoveryResult{storms: e.storm, blackHolers: blackHoleLoad{100 * time.Millisecond, time.Second}}
	for _, run := range []struct {
		into  *[]recovery
		as    func(*session) http.RoundTripper
		storm int
	}{{&result.deadDialer, silent, 0}, {&result.storm, silent, e.storm}, {&result.toldStorm, told, e.storm}} {
		for _, p := range peers {
			r, err := sessionDies(p, run.as, e.deadGets, run.storm)
			if err != nil {
				return result, fmt.Errorf("%s: %w", p.name, err)
			}
			*run.into = append(*run.into, r)
		}
	}
	// All at the same time: they do little but wait.
	result.blackHole = make([]recovery, len(peers))
	errs := make([]error, len(peers))
	var wg sync.WaitGroup
	for i, p := range peers {
		wg.Go(func() { result.blackHole[i], errs[i] = connectionGoesDark(p, e.darkness, result.blackHolers) })
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			return result, fmt.Errorf("%s: %w", peers[i].name, err)
		}
	}
	return result, nil
}

func silent(s *session) http.RoundTripper { return s }
func told(s *session) http.RoundTripper   { return tellingSession{s} }

// sessionDies kills the session under a client, which then has storm GETs to
// make at once or, if that is 0, gets of them in a row.
func sessionDies(p peer, as func(*session) http.RoundTripper, gets, storm int) (recovery, error) {
	server := httptest.NewServer(http.HandlerFunc(answer))
	defer server.Close()
	w := newWire()
	base := newSession(w)
	rt := p.wrap(as(base), func(ctx context.Context) (http.RoundTripper, error) {
		select {
		case <-time.After(tunnelTime):
			return as(newSession(w)), nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	})
	if err := one(rt, server.URL, 10*time.Second); err != nil {
		return recovery{}, fmt.Errorf("when all was well: %w", err)
	}
	warm := w.dials.Load()
	base.die()

	t := startTally(p.name)
	if storm > 0 {
		var wg sync.WaitGroup
		begin := make(chan struct{})
		for range storm {
			wg.Go(func() {
				<-begin
				t.count(one(rt, server.URL, 10*time.Second))
			})
		}
		t.start = time.Now()
		close(begin)
		wg.Wait()
	} else {
		for range gets {
			t.count(one(rt, server.URL, 10*time.Second))
			time.Sleep(deadPause)
		}
	}
	r := t.end()
	r.dials, r.deadDials, r.built = w.dials.Load()-warm, w.deadDials.Load(), w.built.Load()
	r.recreated = promotions(rt)
	closeTransport(rt)
	closeTransport(base)
	r.left = leftOver(w)
	return r, nil
}

// A blackHoleLoad is the load on a connection that has gone dark.
type blackHoleLoad struct{ every, deadline time.Duration }

// connectionGoesDark makes the one HTTP/2 connection of a client swallow
// everything, as a NAT does that has forgotten it. New ones would work.
func connectionGoesDark(p peer, watch time.Duration, load blackHoleLoad) (recovery, error) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(answer))
	server.EnableHTTP2 = true
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	w := newWire()
	fresh := func() *http.Transport {
		w.built.Add(1)
		t := server.Client().Transport.(*http.Transport).Clone()
		t.DialContext = w.dial
		return t
	}
	base := fresh()
	rt := p.wrap(base, func(context.Context) (http.RoundTripper, error) { return fresh(), nil })
	if err := one(rt, server.URL, 10*time.Second); err != nil {
		return recovery{}, fmt.Errorf("when all was well: %w", err)
	}
	warm := w.dials.Load()
	w.goDark()

	t := startTally(p.name)
	var wg sync.WaitGroup
	ticks := time.NewTicker(load.every)
	for range int(watch / load.every) {
		wg.Go(func() { t.count(one(rt, server.URL, load.deadline)) })
		<-ticks.C
	}
	ticks.Stop()
	wg.Wait()
	r := t.end()
	r.dials, r.built = w.dials.Load()-warm, w.built.Load()
	r.recreated = promotions(rt)
	closeTransport(rt)
	closeTransport(base)
	r.left = leftOver(w)
	return r, nil
}

// one is a GET with a deadline.
func one(rt http.RoundTripper, url string, deadline time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	return exchange(rt, get(ctx, url), make([]byte, bodySize))
}

func promotions(rt http.RoundTripper) int {
	if r, ok := rt.(*respawn.RecoveringRoundTripper); ok {
		return r.Health().Promotions
	}
	return 0
}

// leftOver waits for connections to be closed and returns how many are not.
func leftOver(w *wire) int {
	for end := time.Now().Add(2 * time.Second); w.openConns() > 0 && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	return w.openConns()
}

// A tally counts the requests after a fault.
type tally struct {
	start              time.Time
	peer               string
	sent, failed, fine atomic.Int64
	first, firstFails  atomic.Int64
}

func startTally(peer string) *tally { return &tally{start: time.Now(), peer: peer} }

func (t *tally) count(err error) {
	t.sent.Add(1)
	if err != nil {
		t.failed.Add(1)
		return
	}
	t.fine.Add(1)
	if t.first.CompareAndSwap(0, int64(time.Since(t.start))) {
		t.firstFails.Store(t.failed.Load())
	}
}

func (t *tally) end() recovery {
	r := recovery{
		peer: t.peer, sent: int(t.sent.Load()), answered: int(t.fine.Load()),
		firstFails: int(t.firstFails.Load()), first: time.Duration(t.first.Load()), watched: time.Since(t.start),
	}
	if !r.recovered() {
		r.firstFails = r.sent
	}
	return r
}
