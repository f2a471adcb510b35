package core

import (
	"testing"
	"time"
)

// The transport in service is well in all of these, and its upstream slow.

// Case A14.
func TestLongPollsBesidePingsReplaceNothing(t *testing.T) {
	overDraws(t, func(d *draw) {
		s := newSim(d, d.touchy())
		lasts := d.between(20*sec, 50*sec)
		s.world = func(v *visit, _ uint64) fate {
			switch {
			case v.name == "poll" && d.chance(0.5): // one event answers all
				return fate{answer: lasts - s.since()%lasts}
			case v.name == "poll":
				return fate{answer: d.between(lasts/2, lasts)}
			}
			return fate{answer: d.between(ms, 500*ms)}
		}
		for range 1 + d.IntN(5) {
			poll := visit{host: "a", method: oneOf(d, "GET", "GET", "POST"), name: "poll", left: oneOf(d, 0, 60*sec)}
			poll.then = func(*visit) {
				if s.since() < time.Hour {
					s.after(10*ms, func() { s.visit(poll) })
				}
			}
			s.at(d.between(0, 10*sec), func() { s.visit(poll) })
		}
		s.traffic(0, d.between(sec, 3*sec), time.Hour, visit{host: "a", method: oneOf(d, "GET", "POST"), left: sec})
		s.run(time.Hour)
		s.noSwap()
		s.lostAtMost("a", 0)
		d.note("copies", float64(s.copies))
	})
}

// Case A17.
func TestADeadlineThatHadPassedBeforeSaysNothing(t *testing.T) {
	overDraws(t, func(d *draw) {
		r := d.touchy()
		r.Fallback = d.chance(0.5)
		s := newSim(d, r)
		s.world = func(*visit, uint64) fate { return fateWell }
		for range r.Threshold + r.Stalls {
			q := &Call{Authority: simAuthority("a"), Method: "GET", Kind: oneOf(d, Once, Copyable), Deadline: s.now.Add(-ms)}
			a := q.Adopt(s.c.Current(), s.c.Clock(), s.now)
			s.c.Failed(s.now, a, Outcome{Left: true, Trigger: "stall"})
		}
		if !s.calm() {
			d.fail("something is suspected")
		}
		s.traffic(0, 100*ms, sec, visit{host: "a", method: "GET"})
		s.run(2 * sec)
		if s.count("a", "answered") != 10 {
			d.fail("%d of 10 answered in service", s.count("a", "answered"))
		}
	})
}

// Case A20.
func TestAnUpstreamOfWideSpreadReplacesLittle(t *testing.T) {
	for _, method := range []string{"GET", "PUT", "POST"} {
		t.Run(method, func(t *testing.T) {
			overDraws(t, func(d *draw) {
				s := newSim(d, d.rules())
				left, mean, period, most := 2*sec, 3*sec, sec, 2
				if d.chance(0.5) { // further away the third is one in 300
					left = d.between(sec, 3*sec)
					mean, period, most = d.between(left, 2*left), d.between(500*ms, 2*sec), 3
				}
				s.world = func(*visit, uint64) fate {
					return fate{answer: time.Duration(d.ExpFloat64() * float64(mean))}
				}
				s.traffic(0, period, 20*time.Minute, visit{host: "a", method: method, left: left})
				s.run(21 * time.Minute)
				s.swapsAtMost(most)
				s.calmBuilds(20 * time.Minute)
				d.note("copies", float64(s.copies))
			})
		})
	}
}

// False alarms of patience: a healthy upstream, no deadlines, 10 minutes. Those that
// came before the first answer taught anything have an early stall each, and each
// candidate gets a copy at once.
func TestSlowFirstBytesAreCopiedSeldomAndReplaceNothing(t *testing.T) {
	overDraws(t, func(d *draw) {
		s := newSim(d, d.rules())
		answer := d.between(20*sec, time.Minute)
		s.world = func(*visit, uint64) fate { return fate{answer: answer + d.between(0, sec)} }
		method, n := oneOf(d, "GET", "PUT", "POST"), 20+d.IntN(80)
		if d.chance(0.5) {
			s.every(0, answer, 10*time.Minute, func() {
				for range n {
					s.visit(visit{host: "a", method: method})
				}
			})
		} else {
			s.traffic(0, answer/time.Duration(n), 10*time.Minute, visit{host: "a", method: method})
		}
		s.run(12 * time.Minute)
		most := 14
		if method != "GET" {
			most = 0
		}
		d.atMost(method+": copies", float64(s.copies), float64(most))
		s.swapsAtMost(0)
		s.lostAtMost("a", 0)
	})
}

// An upstream is silent for some seconds or minutes, every few minutes. What waits since such an outage
// leaves by its deadline, or hears from its connection within a minute of the outage's end: keep-alive
// finds out that it is dead, or TCP sends once more what was lost. (A request that neither ends waits on
// a connection that is dead, and only a promotion helps it.)
func TestSilentOutagesOfAnUpstreamReplaceLittle(t *testing.T) {
	overSome(t, 30, func(d *draw) {
		const long = 200 * time.Minute
		s := newSim(d, d.rules())
		ends := map[time.Duration]time.Duration{} // of the outages, by their beginning
		for from := d.between(time.Minute, 5*time.Minute); from < long; {
			ends[from] = from + d.between(8*sec, 4*time.Minute)
			from = ends[from] + d.between(4*time.Minute, 10*time.Minute)
		}
		heard, ill := d.chance(0.5), oneOf(d, fateDark, fateHangs)
		s.world = func(*visit, uint64) fate {
			for from, end := range ends {
				switch at := s.since(); {
				case at < from || at >= end:
				case heard:
					return fate{answer: end - at + d.between(0, time.Minute), broken: d.chance(0.5)}
				default:
					return ill
				}
			}
			return fateWell
		}
		left := d.between(20*sec, 2*time.Minute)
		if heard {
			left = oneOf(d, left, d.between(2*time.Minute, 10*time.Minute), 0)
		}
		period := oneOf(d, d.between(100*ms, sec), d.between(sec, 5*sec), d.between(5*sec, time.Minute))
		s.traffic(0, period, long, visit{host: "a", method: oneOf(d, "GET", "PUT", "POST"), left: left})
		s.run(long)
		s.swapsAtMost(2)
	})
}
