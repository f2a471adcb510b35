package main

import (
	"fmt"
	"time"
)

func reportPatience(p *page, r patienceResult) {
	p.heading("7. Patience")
	p.printf(`What it costs to notice silence (%s, default 5 s): what each kind of request adds to a transport that answers at once, in
ns, the difference to bare in the same round. Only a request with at least one and a half patiences left is accompanied (observed
while it waits); any other pays only for the check. An accompanied request has a place in a list, and a GET, which may be called
back, also has a context and a copy of its own. POSTs, which may be sent only once, are watched in any case. The last column is
respawn with patience turned off.`, "`WithPatience`")
	var rows [][]string
	for _, c := range r.cases {
		s := c.samples[nameRespawn]
		rows = append(rows, []string{
			c.method + ", " + c.caller, c.added(nameRespawn).plus(), fmt.Sprintf("%.0f", of(s, bytes).Mid), fmt.Sprintf("%.0f", of(s, allocs).Mid),
			c.added(nameOff).plus(),
		})
	}
	p.table([]string{"", "added", "B/request", "allocs/request", "added, patience off"}, rows)
	p.printf("Looking at %s requests that wait for one authority, once in each patience, takes %s of CPU time a patience, %s for each "+
		"of them, on a timer's goroutine and off the path of every request.",
		thousands(r.waiting), duration(r.sweep), duration(r.sweep/time.Duration(r.waiting)))
}

// added is what a row adds to bare, in ns.
func (c patientResult) added(name string) estimate {
	return over(c.samples[name], c.samples[nameBare], wall)
}
