package main

import (
	"fmt"
	"time"
)

func reportRecovery(p *page, r recoveryResult) {
	p.heading("4. Recovery")
	p.printf(`Under every row is a transport that is dead for good, while a fresh one would work. The rows that retry do so %d times, %s
apart; their default delays are longer. A fresh session takes %s to build, as a tunnel does. "Left" are connections that
are still open 2 s after all that the row offers to close was closed.`, retries, duration(retryDelay), duration(tunnelTime))

	p.printf("**A dead dialer**, as under a dead SSH or yamux tunnel: every dial fails, with an error of no known type. %d GETs, one after the other, %s apart.", r.deadDialer[0].sent, duration(deadPause))
	recoveryTable(p, r.deadDialer)
	p.printf("**The same, met by %s goroutines at once**", thousands(r.storms))
	recoveryTable(p, r.storm)
	p.printf("**The same with a session that says that it is closed** when it is asked. The port of LiteLLM's fix does nothing but ask:")
	recoveryTable(p, r.toldStorm)
	p.printf("**A dead HTTP/2 connection**: what is sent vanishes, as behind a NAT that has forgotten it. A GET each %s with a deadline of %s, for %s.",
		duration(r.blackHolers.every), duration(r.blackHolers.deadline), duration(r.blackHole[0].watched.Round(time.Second)))
	recoveryTable(p, r.blackHole)
	p.picture("recovery", recoveryChart(r))
}

func recoveryTable(p *page, rows []recovery) {
	var cells [][]string
	for _, r := range rows {
		first, lost := "never", thousands(r.firstFails)
		if r.recovered() {
			first = duration(r.first)
		}
		cells = append(cells, []string{
			strong(r.peer), first, lost, fmt.Sprintf("%s of %s", thousands(r.answered), thousands(r.sent)),
			thousands(r.deadDials), thousands(r.dials - r.deadDials), thousands(r.built), thousands(r.left),
		})
	}
	p.table([]string{"", "first success after", "failed before it", "answered", "dead dials", "other dials", "transports built", "left"}, cells)
}

func recoveryChart(r recoveryResult) chart {
	c := chart{title: "From the fault to the first success"}
	for _, fault := range []struct {
		name string
		rows []recovery
	}{{"a dead dialer", r.deadDialer}, {"a dead HTTP/2 connection", r.blackHole}} {
		field := dotPanel{title: fault.name, label: "seconds", lo: .001, hi: 100, log: true}
		for _, row := range fault.rows {
			d := dot{none: true, text: fmt.Sprintf("never, in %d requests over %s", row.sent, duration(row.watched))}
			if row.recovered() {
				s := row.first.Seconds()
				d = dot{at: estimate{s, s, s}, text: fmt.Sprintf("%s, %d requests lost", duration(row.first), row.sent-row.answered)}
			}
			field.rows = append(field.rows, dotRow{row.peer, []dot{d}})
		}
		c.panels = append(c.panels, field)
	}
	return c
}
