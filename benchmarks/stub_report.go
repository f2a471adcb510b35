package main

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
)

func reportStub(p *page, peers []peer, results []stubResult) {
	p.heading("1. A transport that costs nothing")
	p.printf(`What each adds to a transport that answers at once, in ns for each request: the difference to bare in the same
round, the median of all rounds and its 95 %% interval. The columns are goroutines. The time is wall time ÷ requests, as
%s has it: with several goroutines each of the %d cores spends that many times as much on a request. The first row
is bare itself.`, "`go test`'s RunParallel", runtime.GOMAXPROCS(0))
	for _, body := range []string{"NoBody", "body"} {
		what := map[string]string{"NoBody": "Without a body (`http.NoBody`)", "body": "With a body, read to its end and closed"}[body]
		p.printf("**%s**", what)
		var of1 []stubResult
		for _, r := range results {
			if r.name == body {
				of1 = append(of1, r)
			}
		}
		head := []string{""}
		for _, r := range of1 {
			head = append(head, fmt.Sprint(r.goroutines))
		}
		head = append(head, "B/request", "allocs/request")
		var rows [][]string
		for _, peer := range withAA(peers) {
			row := []string{strong(peer.name)}
			for _, r := range of1 {
				cell := r.added(peer.name).plus()
				if peer.name == nameBare {
					cell = fmt.Sprintf("%.1f", of(r.samples[peer.name], wall).Mid)
				}
				row = append(row, cell)
			}
			serial := of1[0].samples[peer.name]
			row = append(row, fmt.Sprintf("%.0f", of(serial, bytes).Mid), fmt.Sprintf("%.0f", of(serial, allocs).Mid))
			rows = append(rows, row)
		}
		p.table(head, rows)
	}
	p.picture("stub", stubChart(peers, results))
}

// added is what a row adds to bare, in ns.
func (r stubResult) added(name string) estimate {
	return over(r.samples[name], r.samples[nameBare], wall)
}

func stubChart(peers []peer, results []stubResult) chart {
	c := chart{
		title:  "What each adds to a request, on a transport that costs nothing",
		series: []string{"1 goroutine", "8 goroutines"},
	}
	top := 100.0
	for _, body := range []string{"NoBody", "body"} {
		panel := dotPanel{
			title: map[string]string{"NoBody": "without a body", "body": "with a body"}[body],
			label: "ns added to bare; what is below 1 is drawn at 1", lo: 1, log: true,
		}
		for _, peer := range withAA(peers)[1:] {
			row := dotRow{name: peer.name}
			for _, r := range results {
				if series := slices.Index([]int{1, 8}, r.goroutines); series >= 0 && r.name == body {
					at := r.added(peer.name)
					top = max(top, at.Hi)
					row.dots = append(row.dots, dot{series: series, at: at})
				}
			}
			panel.rows = append(panel.rows, row)
		}
		c.panels = append(c.panels, panel)
	}
	for i := range c.panels {
		panel := c.panels[i].(dotPanel)
		panel.hi = top * 1.2
		c.panels[i] = panel
	}
	return c
}

// nearest is the peer that adds least, respawn aside.
func nearest(peers []peer, added func(name string) float64) (name string, least float64) {
	for _, p := range peers {
		if strings.HasPrefix(p.name, nameBare) || p.name == nameRespawn || p.name == nameLimit {
			continue
		}
		if a := added(p.name); name == "" || a < least {
			name, least = p.name, a
		}
	}
	return name, least
}
