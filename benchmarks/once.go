package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
)

// namePatient is respawn whose callers have time to spare, so that requests are accompanied.
const namePatient = "**respawn**, no deadline"

// runOnce measures requests that may be sent only once, and are watched for that, beside
// the bare transport.
func runOnce(rnd *rand.Rand, e effort, peers []peer, u *upstream) ([]loopbackResult, error) {
	var results []loopbackResult
	for _, proto := range []protocol{u.h1(false), u.h2()} {
		for _, goroutines := range loopbackGoroutines() {
			var contenders []contender
			for _, row := range []struct {
				name, peer string
				ctx        context.Context
			}{
				{nameBare, nameBare, hurried{context.Background()}}, {nameAA, nameBare, hurried{context.Background()}},
				{nameRespawn, nameRespawn, hurried{context.Background()}}, {namePatient, nameRespawn, context.Background()},
			} {
				p := peerNamed(peers, row.peer)
				p.name = row.name
				c, err := loopbackContender(e, p, proto, goroutines, func() *http.Request { return post(row.ctx, proto.url) })
				if err != nil {
					return nil, fmt.Errorf("%s: %s: %w", proto.name, row.name, err)
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

func post(ctx context.Context, url string) *http.Request {
	req := get(ctx, url)
	req.Method = http.MethodPost
	return req
}

func reportOnce(p *page, results []loopbackResult) {
	p.printf(`POSTs over the same, which are watched from their first attempt, since each may be sent only once.`)
	head, rows := []string{"POST"}, [][]string{{nameAA}, {strong(nameRespawn)}, {namePatient}}
	for _, r := range results {
		head = append(head, fmt.Sprintf("%s, wall × %d", r.protocol, r.goroutines), fmt.Sprintf("CPU × %d", r.goroutines), "allocs more")
		for i, name := range []string{nameAA, nameRespawn, namePatient} {
			rows[i] = append(rows[i], r.ratio(name, wall).times(), r.ratio(name, cpu).times(), fmt.Sprintf("%+.1f", r.allocsMore(name).Mid))
		}
	}
	p.table(head, rows)
}
