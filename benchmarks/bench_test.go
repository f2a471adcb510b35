package main

import (
	"fmt"
	"testing"
)

// Every row by itself, for a profile:
//
//	go test -run '^$' -bench Stub/NoBody/goroutines=1/respawn -cpuprofile cpu.out .
func BenchmarkStub(b *testing.B) {
	o := newObserver()
	defer o.close()
	for _, c := range stubCases() {
		for _, p := range newPeers(o) {
			b.Run(fmt.Sprintf("%s/goroutines=%d/%s", c.name, c.goroutines, p.name), func(b *testing.B) {
				base := stub{c.body}
				rt := p.wrap(base, stubFactory(base))
				defer closeTransport(rt)
				reqs := stubRequests(c.goroutines)
				b.ReportAllocs()
				if err := drive(rt, reqs, b.N); err != nil {
					b.Fatal(err)
				}
			})
		}
	}
}
