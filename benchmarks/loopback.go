package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
)

// A loopbackResult is one protocol at one concurrency.
type loopbackResult struct {
	protocol   string
	goroutines int
	samples    map[string][]sample
}

func (r loopbackResult) String() string {
	return "loopback, " + r.protocol + ", " + atOnce(r.goroutines)
}

// loopbackGoroutines are how many goroutines send at once: one, which waits for
// the server most of the time, and enough to keep two cores busy.
func loopbackGoroutines() []int { return []int{1, 8} }

// runLoopback measures real requests to a server in another process. Every
// sample has a transport and connections of its own, so that the luck of one
// does not stay with its row.
func runLoopback(rnd *rand.Rand, e effort, peers []peer, u *upstream) ([]loopbackResult, error) {
	var results []loopbackResult
	for _, proto := range []protocol{u.h1(false), u.h2()} {
		for _, goroutines := range loopbackGoroutines() {
			var contenders []contender
			for _, p := range withAA(peers) {
				c, err := loopbackContender(e, p, proto, goroutines, func() *http.Request { return get(hurried{context.Background()}, proto.url) })
				if err != nil {
					return nil, fmt.Errorf("%s: %s: %w", proto.name, p.name, err)
				}
				contenders = append(contenders, c)
			}
			samples, err := interleave(rnd, e.rounds, contenders)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", proto.name, err)
			}
			results = append(results, loopbackResult{proto.name, goroutines, samples})
		}
	}
	return results, nil
}

func loopbackContender(e effort, p peer, proto protocol, goroutines int, request func() *http.Request) (contender, error) {
	reqs := make([]*http.Request, goroutines)
	for i := range reqs {
		reqs[i] = request()
	}
	with := func(use func(rt http.RoundTripper) error) error {
		base := proto.client()
		defer base.CloseIdleConnections()
		rt := p.wrap(base, func(context.Context) (http.RoundTripper, error) { return proto.client(), nil })
		defer closeTransport(rt)
		return use(rt)
	}
	var ops int
	err := with(func(rt http.RoundTripper) (err error) {
		ops, err = fit(4*e.slice, goroutines, func(ops int) error { return drive(rt, reqs, ops) })
		return err
	})
	return contender{p.name, func() (s sample, err error) {
		err = with(func(rt http.RoundTripper) error {
			if err := drive(rt, reqs, ops/4); err != nil { // connects and warms up
				return err
			}
			s, err = take(driven(ops, goroutines), func() error { return drive(rt, reqs, ops) })
			return err
		})
		return s, err
	}}, err
}
