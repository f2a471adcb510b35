package main

import "fmt"

func reportLoopback(p *page, peers []peer, results []loopbackResult) {
	p.heading("2. Real requests on loopback")
	p.printf(`1 KiB answers from a server in another process, over HTTP/1.1 and over HTTP/2 with TLS, from 1 goroutine and from
8. Wall time and the client process's CPU time as a multiple of bare's in the same round, and what is allocated beyond bare
for each request (8 goroutines).`)
	for _, proto := range []string{"h1", "h2"} {
		var of []loopbackResult
		for _, r := range results {
			if r.protocol == proto {
				of = append(of, r)
			}
		}
		head := []string{proto}
		for _, r := range of {
			head = append(head, fmt.Sprintf("wall × %d", r.goroutines), fmt.Sprintf("CPU × %d", r.goroutines))
		}
		head = append(head, "B more", "allocs more")
		var rows [][]string
		for _, peer := range withAA(peers) {
			if peer.name == nameBare {
				rows = append(rows, bareRow(of))
				continue
			}
			row := []string{strong(peer.name)}
			for _, r := range of {
				row = append(row, r.ratio(peer.name, wall).times(), r.ratio(peer.name, cpu).times())
			}
			last := of[len(of)-1]
			row = append(row,
				fmt.Sprintf("%+.0f", over(last.samples[peer.name], last.samples[nameBare], bytes).Mid),
				fmt.Sprintf("%+.1f", last.allocsMore(peer.name).Mid))
			rows = append(rows, row)
		}
		p.table(head, rows)
	}
	p.picture("loopback", loopbackChart(peers, results))
}

func bareRow(results []loopbackResult) []string {
	row := []string{nameBare}
	for _, r := range results {
		bare := r.samples[nameBare]
		row = append(row, round3(of(bare, wall).Mid/1e3)+" µs", round3(of(bare, cpu).Mid/1e3)+" µs")
	}
	bare := results[len(results)-1].samples[nameBare]
	return append(row, fmt.Sprintf("%.0f", of(bare, bytes).Mid), fmt.Sprintf("%.1f", of(bare, allocs).Mid))
}

func (r loopbackResult) ratio(name string, figure func(sample) float64) estimate {
	return ratio(r.samples[name], r.samples[nameBare], figure)
}

func (r loopbackResult) allocsMore(name string) estimate {
	return over(r.samples[name], r.samples[nameBare], allocs)
}

func loopbackChart(peers []peer, results []loopbackResult) chart {
	c := chart{
		title:  "Real requests on loopback, as a multiple of the bare transport",
		series: []string{"wall time", "client CPU"},
	}
	lo, hi := 0.95, 1.1
	for _, r := range results {
		panel := dotPanel{title: r.protocol + ", " + atOnce(r.goroutines), label: "× bare, with 95 % intervals", ref: 1}
		for _, peer := range withAA(peers)[1:] {
			row := dotRow{name: peer.name}
			for series, figure := range []func(sample) float64{wall, cpu} {
				at := r.ratio(peer.name, figure)
				lo, hi = min(lo, at.Lo), max(hi, at.Hi)
				row.dots = append(row.dots, dot{series: series, at: at})
			}
			panel.rows = append(panel.rows, row)
		}
		c.panels = append(c.panels, panel)
	}
	for i := range c.panels {
		panel := c.panels[i].(dotPanel)
		panel.lo, panel.hi = lo-.01, hi+.01
		c.panels[i] = panel
	}
	return c
}
