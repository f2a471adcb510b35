package core

import (
	"fmt"
	"testing"
	"time"
)

// The two promises, over all that can be drawn.

// An illness is drawn for a host, or for a transport.
func (d *draw) illness() (string, fate) {
	switch d.IntN(7) {
	case 0:
		return "refused", fate{dial: d.between(0, 20*ms), refused: true}
	case 1:
		return "refused, untyped", fate{dial: d.between(0, 20*ms), refused: true, untyped: true}
	case 2:
		return "refused late", fate{dial: d.between(sec, 4*sec), refused: true}
	case 3:
		return "reset", fate{dial: ms, answer: d.between(0, 100*ms), broken: true}
	case 4:
		return "reset, untyped", fate{dial: ms, answer: d.between(0, 100*ms), broken: true, untyped: true}
	case 5:
		return "silent", fateDark
	}
	return "hangs in the dial", fateHangs
}

// beside makes traffic to hosts that are dead for every transport.
func (s *sim) beside(n int, until time.Duration) map[string]fate {
	dead := map[string]fate{}
	for i := range n {
		host := fmt.Sprint("dead", i)
		_, dead[host] = s.d.illness()
		s.traffic(s.d.between(0, sec), s.d.between(100*ms, 10*sec), until, visit{
			host: host, method: oneOf(s.d, "GET", "PUT", "POST"), left: oneOf(s.d, 0, sec, 5*sec, 30*sec), ready: oneOf(s.d, 0, 0, 10*sec),
		})
	}
	return dead
}

func TestADeadTransportIsReplacedWhateverElseIsDeadBesideIt(t *testing.T) {
	for _, method := range []string{"GET", "PUT", "POST"} {
		t.Run(method, func(t *testing.T) {
			overDraws(t, func(d *draw) {
				s := newSim(d, d.rules())
				takes, useless := d.between(0, sec), d.IntN(3) // the first candidates are dead, too
				s.factory = func(int) (time.Duration, string) { return takes, "" }
				const dies = 2 * time.Minute
				name, ill := d.illness()
				dead := s.beside(d.IntN(4), 6*time.Minute)
				built := 0
				s.world = func(v *visit, on uint64) fate {
					if how, ok := dead[v.host]; ok {
						return how
					}
					if s.since() < dies {
						return fate{answer: d.between(ms, 50*ms)}
					}
					for i, b := range s.builds {
						if b.at.Sub(simStart) < dies {
							built = i + 1
						}
					}
					if on == 1 || s.builtAt(on).Sub(simStart) < dies || len(s.builds) >= built+1 && useless > 0 && on <= s.builds[min(len(s.builds), built+useless)-1].ID {
						return ill
					}
					return fate{answer: d.between(ms, 50*ms)}
				}
				left, period := oneOf(d, 0, 5*sec, 30*sec), d.between(50*ms, 2*sec)
				first := s.firstAnswer("good", dies)
				s.traffic(d.between(0, sec), period, 6*time.Minute, visit{host: "good", method: method, left: left})
				s.run(7 * time.Minute)
				if f := first(); f >= 0 {
					d.note(fmt.Sprintf("%s, %d useless: first answer, s", name, useless), f.Seconds())
				}
				d.answeredWithin(first(), time.Minute)
			})
		})
	}
}

func TestATransportThatIsWellIsNotReplacedWhateverIsDead(t *testing.T) {
	overDraws(t, func(d *draw) {
		s := newSim(d, d.touchy())
		takes := oneOf(d, 0, 100*ms, 2*sec)
		s.factory = func(int) (time.Duration, string) { return takes, "" }
		dead := s.beside(1+d.IntN(5), 20*time.Minute)
		slow := d.between(ms, 3*sec)
		s.world = func(v *visit, _ uint64) fate {
			if how, ok := dead[v.host]; ok {
				return how
			}
			return fate{answer: slow}
		}
		s.traffic(0, d.between(100*ms, 5*sec), 20*time.Minute, visit{host: "good", method: oneOf(d, "GET", "PUT", "POST")})
		s.run(20 * time.Minute)
		s.noSwap()
		s.lostAtMost("good", 0)
		s.calmBuilds(20 * time.Minute)
	})
}

func TestARequestThatWaitsForReadyIsAnsweredOnceItCanBe(t *testing.T) {
	overDraws(t, func(d *draw) {
		r := d.rules()
		r.Threshold = min(r.Threshold, mostAttempts)
		s := newSim(d, r)
		ill := oneOf(d, fateRefused, fate{dial: ms, refused: true, untyped: true})
		ends := d.chance(0.3)
		s.ended = func(on uint64) bool { return ends && on == 1 }
		back := d.between(2*sec, 25*sec) // until then nothing works
		upstream := d.chance(0.5)        // it is the upstream that is back
		s.factory = func(int) (time.Duration, string) {
			if !upstream && s.since() < back {
				return d.between(0, 50*ms), "factory_failed"
			}
			return 0, ""
		}
		s.world = func(_ *visit, on uint64) fate {
			if s.since() < back || !upstream && on == 1 {
				return ill
			}
			return fateWell
		}
		late := time.Duration(0)
		n := 1 + d.IntN(20)
		for range n {
			s.at(d.between(0, sec), func() {
				s.visit(visit{host: "a", method: oneOf(d, "GET", "PUT", "POST"), ready: 2 * time.Minute, then: func(v *visit) { late = max(late, s.since()) }})
			})
		}
		s.run(3 * time.Minute)
		if got := s.count("a", "answered"); got != n {
			d.fail("%d of %d answered", got, n)
		}
		d.note(fmt.Sprintf("answered after, s (upstream: %v, ended: %v)", upstream, ends), (late - back).Seconds())
	})
}
