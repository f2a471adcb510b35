package main

import (
	"fmt"
	"slices"
	"time"
)

func reportFleet(p *page, r fleetResult) {
	p.heading("6. A fleet")
	p.printf(`%s processes with one upstream, which goes away for %s; each sends a request per second. Time is virtual, and only the
network is a model: each process runs respawn itself, with its real backoff and trials. The figures are connections tried at the
upstream, per second, in steps of %s. In the first second each process notices, at its own request. "No jitter" is the default backoff with its
randomization off: the whole fleet tries again in waves, 1, 2, 4, 6, 9, 13, 19, 28, 41 and 61 s after it noticed. An upstream that is back
after 60 s meets the last of them whole, a second later; one that came back after 62 s would have waited for 28 s.`, thousands(r.Processes), duration(fleetUp-fleetDown), duration(fleetBucket))
	p.printf(`The load in the steady state is %s requests per second, on connections that exist: no attempts at all.`, thousands(r.Processes))
	c := chart{title: "A fleet whose upstream goes away for a minute", series: fleetPolicies()}
	for _, scene := range []struct{ name, text string }{
		{sceneSessions, "sessions that the outage ends for good: only a fresh transport helps"},
		{sceneConnections, "pools of connections, which dial again by themselves"},
	} {
		p.printf("**%s**", upperFirst(scene.text))
		var rows [][]string
		field := linePanel{
			title: "connections tried per second; " + scene.text, xLabel: "seconds since the upstream went away",
			tall: 190, xLo: (fleetWarm - fleetDown).Seconds(), xHi: (fleetEnd - fleetDown).Seconds(), yHi: 1,
			shade: [2]float64{0, (fleetUp - fleetDown).Seconds()}, shadeName: "the upstream is away",
		}
		for series, policy := range fleetPolicies() {
			run := r.run(scene.name, policy)
			rows = append(rows, fleetRow(run, r.Processes))
			line := curve{series: series, y: run.between(fleetWarm, fleetEnd)}
			for i := range line.y {
				line.x = append(line.x, (fleetWarm - fleetDown + time.Duration(i)*fleetBucket).Seconds())
				field.yHi = max(field.yHi, 1.1*line.y[i])
			}
			field.lines = append(field.lines, line)
		}
		slices.Reverse(field.lines) // respawn's is drawn last, over the others
		p.table([]string{"", "peak when it goes", "later peak", "mean of the last 30 s", "later peak ÷ mean", "peak when it is back", "half are back after", "all are back after"}, rows)
		c.panels = append(c.panels, field)
	}
	p.picture("fleet", c)
}

func fleetPolicies() []string { return []string{policyJitter, policyLockstep, policyBare} }

func (r fleetResult) run(scene, policy string) fleetRun {
	for _, run := range r.Runs {
		if run.Scene == scene && run.Policy == policy {
			return run
		}
	}
	return fleetRun{}
}

func fleetRow(run fleetRun, processes int) []string {
	later := run.between(fleetDown+5*time.Second, fleetUp)
	steady := mean(run.between(fleetUp-30*time.Second, fleetUp))
	share := "-"
	if steady > 0 {
		share = fmt.Sprintf("%.1f", peak(later)/steady)
	}
	back := func(q float64) string {
		s, ok := run.backAfter(q, processes)
		if !ok {
			return "never"
		}
		return fmt.Sprintf("%.1f s", s)
	}
	per := func(v float64) string { return thousands(int64(v+.5)) + "/s" }
	return []string{
		strong(run.Policy), per(peak(run.between(fleetDown, fleetDown+5*time.Second))), per(peak(later)), per(steady), share,
		per(peak(run.between(fleetUp, fleetEnd))), back(.5), back(1),
	}
}
