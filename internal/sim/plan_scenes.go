package sim

import (
	"net/http"
	"time"

	"github.com/respawnhttp/respawn"
)

// Scenes are what chance would hardly ever bring about. They are drawn apart from all else, so that a
// seed that plays none has the plan that it would have without them.

// play makes the plan one of these scenes, for a few seeds in a hundred.
func (d dice) play(p *plan) {
	if d.in(3) {
		p.shutdown = d.between(time.Millisecond, 5*time.Second)
	}
	switch n := d.IntN(200); {
	case n < 2:
		d.doubt(p)
	case n < 8:
		d.crawl(p)
	case n < 12:
		p.absent = true
	case n == 12 && d.in(2):
		d.flood(p)
	}
}

// stage empties the plan: nothing befalls anybody but what the scene says.
func (d dice) stage(p *plan, kinds ...kind) {
	p.kind, p.places = pick(d, kinds...), 0
	p.replay, p.fallback, p.moody, p.wait, p.maxAge = respawn.ReplayIdempotent, false, false, 0, 0
	p.weather, p.hands, p.callers = [][]spell{{{0, well}}}, nil, nil
	for i := range p.ills {
		p.ills[i], p.builds[i] = illness{what: hale}, build{take: d.between(time.Microsecond, 20*time.Millisecond)}
	}
}

// doubt: requests that can be sent only once find a black hole, and a candidate that answers the last of
// them. Nobody comes for minutes who could be its control.
func (d dice) doubt(p *plan) {
	d.stage(p, http2, quic, session)
	p.ills[0] = illness{what: blackHole, at: 500 * time.Millisecond}
	p.stalls = 1 + d.IntN(3)
	list := []errand{{pause: d.between(50*time.Millisecond, 200*time.Millisecond), method: http.MethodGet, in: time.Second, answer: short}}
	add := func(pause, in time.Duration) {
		list = append(list, errand{id: len(list), pause: pause, method: http.MethodPost, body: oneShot, in: in, answer: short})
	}
	for range p.stalls {
		add(d.between(700*time.Millisecond, time.Second), d.between(1100*time.Millisecond, 1500*time.Millisecond))
	}
	add(d.between(time.Millisecond, 100*time.Millisecond), 5*time.Second)
	if d.in(4) {
		add(d.between(time.Minute, 3*time.Minute), 5*time.Second)
	}
	add(d.between(5*time.Minute, 8*time.Minute), 5*time.Second)
	p.callers = [][]errand{list}
}

// crawl: every answer takes seconds, on whatever transport. Most callers leave before that. One does
// not, and is copied.
func (d dice) crawl(p *plan) {
	d.stage(p, http1, http2, quic, silent)
	p.storm = d.between(25*time.Second, 40*time.Second)
	p.stalls, p.patience = 1+d.IntN(3), pick(d, 2*time.Second, 5*time.Second)
	p.weather = [][]spell{{{0, well}, {d.between(0, 300*time.Millisecond), sluggish}, {p.storm, well}}}
	id := 0
	for n := range 4 {
		var list []errand
		for range 6 {
			e := errand{id: id, pause: d.between(200*time.Millisecond, 3*time.Second), method: http.MethodGet, in: d.between(10*time.Second, 30*time.Second), answer: short}
			if n < 3 {
				e.in = d.between(time.Second, 2*time.Second)
			}
			list = append(list, e)
			id++
		}
		p.callers = append(p.callers, list)
	}
}

// flood: hundreds of authorities, all behind one upstream, which goes down.
func (d dice) flood(p *plan) {
	d.stage(p, http1, http2, quic, silent)
	p.storm, p.crowded = d.between(5*time.Second, 8*time.Second), true
	p.weather = [][]spell{{{0, well}, {d.between(0, 100*time.Millisecond), pick(d, refused, reset)}, {p.storm, well}}}
	id := 0
	for range 6 {
		var list []errand
		for range 45 {
			list = append(list, errand{id: id, au: id, pause: d.between(time.Millisecond, 30*time.Millisecond), method: http.MethodGet, in: d.between(50*time.Millisecond, 500*time.Millisecond), answer: noBody})
			id++
		}
		p.callers = append(p.callers, list)
	}
}
