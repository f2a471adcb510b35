package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
)

// An unpooled client is the fallback that the outage ran on: its shared session
// closed, it makes a new one, with a new TLS connection, for each request.
type unpooled struct{ fresh func() *http.Transport }

func (u unpooled) RoundTrip(req *http.Request) (*http.Response, error) {
	t := u.fresh()
	t.DisableKeepAlives = true // the connection goes when the answer has been read
	return t.RoundTrip(req)
}

type unpooledResult struct {
	protocol     string
	pooled, anew []sample
}

// runUnpooled measures what it costs not to recover.
func runUnpooled(rnd *rand.Rand, e effort, u *upstream) ([]unpooledResult, error) {
	const goroutines = 8
	var results []unpooledResult
	for _, proto := range []protocol{u.h1(true), u.h2()} {
		reqs := make([]*http.Request, goroutines)
		for i := range reqs {
			reqs[i] = get(hurried{context.Background()}, proto.url)
		}
		pool := proto.client()
		defer pool.CloseIdleConnections()
		ops, err := fit(4*e.slice, goroutines, func(ops int) error { return drive(pool, reqs, ops) })
		if err != nil {
			return nil, fmt.Errorf("%s: %w", proto.name, err)
		}
		samples, err := interleave(rnd, e.rounds, []contender{
			{"pooled", func() (sample, error) {
				return take(driven(ops, goroutines), func() error { return drive(pool, reqs, ops) })
			}},
			{"anew", func() (sample, error) {
				return take(driven(e.connections, goroutines), func() error { return drive(unpooled{proto.client}, reqs, e.connections) })
			}},
		})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", proto.name, err)
		}
		results = append(results, unpooledResult{proto.name, samples["pooled"], samples["anew"]})
	}
	return results, nil
}
