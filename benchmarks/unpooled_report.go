package main

import "fmt"

func reportUnpooled(p *page, results []unpooledResult) {
	p.heading("3. What it costs not to recover")
	p.printf(`The outage that respawn comes from did not stop the proxy: it fell back to a new session, with a new TLS connection,
for every request. The same 1 KiB answers over a pool and in that way, 8 at once. On loopback a connection costs its CPU time
only; a network adds two round trips.`)
	var rows [][]string
	c := chart{title: "Client CPU for each request: a pool, and a new TLS connection each time", series: []string{"pooled", "a new connection each"}}
	field := dotPanel{label: "µs of client CPU for each request", lo: 10, hi: 100, log: true}
	for _, r := range results {
		for _, mode := range []struct {
			name    string
			samples []sample
		}{{"pooled", r.pooled}, {"a new connection each", r.anew}} {
			rows = append(rows, []string{r.protocol, mode.name, thousands(int64(1e9 / of(mode.samples, wall).Mid)), round3(of(mode.samples, cpu).Mid/1e3) + " µs", fmt.Sprintf("%.0f", of(mode.samples, allocs).Mid)})
		}
		rows = append(rows, []string{r.protocol, "ratio", "÷ " + round3(ratio(r.anew, r.pooled, wall).Mid), "× " + round3(ratio(r.anew, r.pooled, cpu).Mid), "× " + round3(ratio(r.anew, r.pooled, allocs).Mid)})
		pooled, anew := of(r.pooled, cpu).in(1e3), of(r.anew, cpu).in(1e3)
		field.rows = append(field.rows,
			dotRow{r.protocol, []dot{{series: 0, at: pooled, text: round3(pooled.Mid)}}},
			dotRow{"", []dot{{series: 1, at: anew, text: fmt.Sprintf("%s, × %s", round3(anew.Mid), round3(ratio(r.anew, r.pooled, cpu).Mid))}}})
		field.hi = max(field.hi, anew.Hi*1.5)
	}
	p.table([]string{"", "", "requests/s", "client CPU/request", "allocs/request"}, rows)
	c.panels = []panel{field}
	p.picture("unpooled", c)
}
