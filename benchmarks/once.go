package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"

	"github.com/respawnhttp/respawn"
)

const (
	// namePatient is respawn whose callers have time to spare, so that requests are accompanied.
	namePatient = "**respawn**, no deadline"
	// nameWatch is what it takes to tell whether a request had a connection.
	nameWatch = "a copy and two hooks"
)

// runOnce measures requests that may be sent only once, and are watched for that, beside
// the bare transport.
func runOnce(rnd *rand.Rand, e effort, peers []peer, u *upstream) ([]loopbackResult, error) {
	var results []loopbackResult
	for _, proto := range []protocol{u.h1(false), u.h2()} {
		for _, goroutines := range loopbackGoroutines() {
			var contenders []contender
			for _, row := range onceRows(peers) {
				c, err := loopbackContender(e, row.peer, proto, goroutines, func() *http.Request { return post(row.ctx, proto.url) })
				if err != nil {
					return nil, fmt.Errorf("%s: %s: %w", proto.name, row.peer.name, err)
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

// A onceRow is what sends, under the context that its callers have.
type onceRow struct {
	peer peer
	ctx  context.Context
}

func onceRows(peers []peer) []onceRow {
	near, never := hurried{context.Background()}, context.Background()
	bare, watch, ours := peerNamed(peers, nameBare), peerNamed(peers, nameBare), peerNamed(peers, nameRespawn)
	again, patient := bare, ours
	again.name, patient.name = nameAA, namePatient
	watch.name, watch.wrap = nameWatch, func(base http.RoundTripper, _ respawn.Factory) http.RoundTripper { return newPlainWatch(base) }
	return []onceRow{{bare, near}, {again, near}, {watch, near}, {ours, near}, {patient, never}}
}

func post(ctx context.Context, url string) *http.Request {
	req := get(ctx, url)
	req.Method = http.MethodPost
	return req
}

func reportOnce(p *page, results []loopbackResult) {
	p.printf(`POSTs over the same, which are watched from their first attempt, since each may be sent only once. "A copy and two hooks" is
what it takes to tell afterwards whether a request had a connection, the plain way: a copy of the request under a context with two
httptrace hooks, and nothing else.`)
	names := []string{nameAA, nameWatch, nameRespawn, namePatient}
	head, rows := []string{"POST"}, [][]string{{nameAA}, {nameWatch}, {strong(nameRespawn)}, {namePatient}}
	for _, r := range results {
		head = append(head, fmt.Sprintf("%s, wall × %d", r.protocol, r.goroutines), fmt.Sprintf("CPU × %d", r.goroutines), "allocs more")
		for i, name := range names {
			rows[i] = append(rows[i], r.ratio(name, wall).times(), r.ratio(name, cpu).times(), fmt.Sprintf("%+.1f", r.allocsMore(name).Mid))
		}
	}
	p.table(head, rows)
}
