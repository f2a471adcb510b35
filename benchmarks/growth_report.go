package main

import "fmt"

func reportGrowth(p *page, g growthResult) {
	p.heading("5. Growth")
	p.printf(`**Cost against the number of authorities**, all of them well, on the stub without a body, in ns. Requests that no longer
fit the CPU's caches cost every row the same.`)
	var rows [][]string
	hosts := curve{dots: true}
	for _, r := range g.authorities {
		bare := r.samples[nameBare]
		added := over(r.samples[nameRespawn], bare, wall)
		rows = append(rows, []string{thousands(r.authorities), fmt.Sprintf("%.1f", of(bare, wall).Mid),
			over(r.samples[nameAA], bare, wall).plus(), added.plus()})
		hosts.x, hosts.y = append(hosts.x, float64(r.authorities)), append(hosts.y, max(added.Mid, 0))
	}
	p.table([]string{"authorities", nameBare, nameAA, "**respawn**"}, rows)

	f := g.failing
	p.printf(`**%s authorities that all fail**, as when names come from outside: the heap grew by %s KiB, the health snapshot lists
%d streaks, and %s transports were built in %s requests (%s attempts); a failing request took %s.`,
		thousands(f.authorities), thousands(f.heap>>10), f.streaks, thousands(f.trials), thousands(f.authorities), thousands(f.attempts), duration(f.each))

	p.printf("**A recreation against what is in flight**: the request that meets the dead transport, makes the trial and is answered, in µs.")
	rows = nil
	flight := curve{dots: true}
	for _, r := range g.inFlight {
		took := r.took.in(1e3)
		rows = append(rows, []string{thousands(r.inFlight), fmt.Sprintf("%.1f [%.1f, %.1f]", took.Mid, took.Lo, took.Hi)})
		flight.x, flight.y = append(flight.x, float64(r.inFlight)), append(flight.y, took.Mid)
	}
	p.table([]string{"in flight on the old one", "µs"}, rows)
	p.picture("growth", chart{title: "Growth", panels: []panel{
		growthPanel("ns added to a request", "authorities", hosts),
		growthPanel("µs for the request that recreates", "answers in flight on the dead transport", flight),
	}})
}

func growthPanel(title, label string, c curve) panel {
	top := 10.0
	for _, y := range c.y {
		top = max(top, 1.25*y)
	}
	return linePanel{title: title, xLabel: label, tall: 130, xLo: 1, xHi: c.x[len(c.x)-1], yHi: top, xLog: true, lines: []curve{c}}
}
