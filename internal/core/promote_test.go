package core

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A copy that tries a planned candidate when another authority's answer promotes that goes
// on only if its request has nothing else.
func TestACopyOfAPlannedCandidateGoesOnOnlyForWhoNeedsIt(t *testing.T) {
	for name, tt := range map[string]struct {
		control func(*scene, *Attempt)
		goesOn  bool
	}{
		"its control is under way": {func(*scene, *Attempt) {}, false},
		"its control was answered": {func(s *scene, a *Attempt) { s.Answered(s.now, a) }, false},
		"its control has failed":   {func(s *scene, a *Attempt) { s.Failed(s.now, a, lost) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			control, copied := s.tried()
			tt.control(s, control)
			other := s.call(Copyable, "GET")
			other.Authority.Host = "b.test"
			s.does(other, Send)
			copies := s.Todo().Copies
			require.Len(t, copies, 1)
			fresh := s.Candidate()
			s.Answered(s.now, copies[0])
			require.Equal(t, fresh, s.Current())
			if tt.goesOn {
				assert.NotContains(t, s.Todo().Recall, copied)
				assert.Same(t, copied, copied.Call.main)
				assert.False(t, copied.Copy())
			} else {
				assert.Contains(t, s.Todo().Recall, copied)
			}
		})
	}
}

// What waits on a transport that was replaced is moved only if it may be sent again.
func TestWhatIsSealedStaysWhereItWaits(t *testing.T) {
	for name, kind := range map[string]Kind{"it may go again": Copyable, "it is never sent again": Sealed} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			q := s.call(kind, "GET")
			waits := s.does(q, Send)
			s.silent([]*Attempt{waits})
			other := s.call(Copyable, "GET")
			s.does(other, Send)
			for s.Current() == 1 && s.now.Before(simStart.Add(time.Hour)) {
				if copies := s.Todo().Copies; len(copies) > 0 && copies[0].Call == other && copies[0].On != 1 {
					s.Answered(s.now, copies[0])
				} else if s.cand != nil && s.cand.stage == Building {
					s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
				}
				s.now = s.now.Add(time.Second)
				s.Tick(s.now)
			}
			require.NotEqualValues(t, 1, s.Current())
			assert.Equal(t, kind == Sealed, q.main == waits)
		})
	}
}

// After a promotion by plan, silences on what was replaced condemn it as they would trip an
// authority: so many, over so long.
func TestSilencesBehindCountAsThoseInService(t *testing.T) {
	for span, moves := range map[time.Duration]bool{time.Second: true, 2 * time.Second: true, time.Second - 1: false} {
		s := newScene(t)
		waits := s.does(s.call(Copyable, "GET"), Send)
		s.Recreate(s.now, &Order{})
		s.Built(s.now, s.cand.id, true, Draw{}) // nothing else is in flight
		require.NotEqualValues(t, 1, s.Current())
		for i := range 3 {
			assert.Empty(t, s.Todo().Part)
			s.Silent(simStart.Add(time.Hour+span*time.Duration(i)/2), waits)
		}
		assert.Equal(t, moves, len(s.Todo().Part) == 1, span)
	}
}

// Nobody moves from where it is well, or once all is closed.
func TestOnlyWhatWasReplacedIsCondemned(t *testing.T) {
	s := newScene(t)
	a := s.does(s.call(Copyable, "GET"), Send)
	s.now = s.now.Add(time.Minute)
	s.Condemned(s.now, a)
	todo := s.Todo()
	assert.Empty(t, todo.Part)
	assert.Empty(t, todo.Recall)
	s.Recreate(s.now, &Order{})
	s.Built(s.now, s.cand.id, true, Draw{})
	s.Close(s.now)
	s.Condemned(s.now, a)
	assert.Empty(t, s.Todo().Part)
}

// Whatever tried a candidate is an attempt in service once that is, and began before it was.
func TestWhatTriedTheCandidateIsInServiceWithIt(t *testing.T) {
	both := func() (*scene, *Attempt) {
		s := newScene(t)
		s.offered("a.test")
		first := s.tries(s.call(Copyable, "GET"))
		s.after(time.Second)
		other := s.tries(s.call(Repeatable, "PUT"))
		s.Answered(s.now, first)
		require.Equal(t, other.On, s.Current())
		return s, other
	}
	s, other := both()
	assert.Equal(t, Fate{Counts: true}, s.Failed(s.now, other, lost))

	s, other = both()
	s.refused(s.does(s.call(Once, "POST"), Send))
	s.Answered(s.now, other)
	assert.NotNil(t, s.suspect(other.Call.Authority), "it began before what has failed")
}

// Whoever ordered a transport hears that it is in service, and who proved it is told.
func TestAnOrderIsDoneWithItsPromotion(t *testing.T) {
	s := newScene(t)
	o := &Order{}
	s.Recreate(s.now, o)
	s.Built(s.now, s.cand.id, false, Draw{})
	q := s.call(Copyable, "GET")
	s.does(q, Send)
	s.Answered(s.now, s.Todo().Copies[0])
	todo := s.Todo()
	assert.Equal(t, []*Order{o}, todo.Done)
	kind, done := o.Done()
	assert.True(t, done)
	assert.Empty(t, kind)
	require.Len(t, todo.Reports, 1)
	assert.Equal(t, WasPromoted, todo.Reports[0].What)
	assert.Equal(t, q.Authority, todo.Reports[0].About.Authority)
}

// The pace of what is planned starts over when something planned is in service that nobody
// needed, and with no other promotion.
func TestThePaceOfPlansStartsOverWithAPlannedPromotion(t *testing.T) {
	d := Draw{Interval: time.Minute}
	for name, tt := range map[string]struct {
		absent  bool
		promote func(*scene)
		delay   time.Duration
	}{
		"planned": {promote: func(s *scene) {
			s.Recreate(s.now, &Order{})
			s.Built(s.now, s.cand.id, true, d)
		}},
		"planned, and the transport in service has ended": {promote: func(s *scene) {
			s.Recreate(s.now, &Order{})
			s.Built(s.now, s.cand.id, false, d)
			s.Ended(s.now, 1, true)
		}, delay: time.Minute},
		"needed": {promote: func(s *scene) {
			s.offered("a.test")
			s.Answered(s.now, s.tries(s.call(Copyable, "GET")))
		}, delay: time.Minute},
		"the first": {absent: true, promote: func(s *scene) {
			s.does(s.call(Copyable, "GET"), Wait)
			s.Built(s.now, s.cand.id, true, d)
		}, delay: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			if tt.absent {
				s.Client = NewAbsent(s.rules, simStart)
			}
			s.Recreate(s.now, &Order{})
			s.NotBuilt(s.now, s.cand.id, "factory_error", d)
			before := s.Current()
			tt.promote(s)
			require.NotEqual(t, before, s.Current())
			assert.Equal(t, tt.delay, s.planPace.interval)
		})
	}
}

// When another's answer promotes a planned candidate, a copy there takes the place of its
// control, which waits on beside it; but if the copy was answered, its control is of no use.
func TestAControlThatAPromotionLeavesBehind(t *testing.T) {
	for name, answered := range map[string]bool{"its copy waits, too": false, "its copy was answered": true} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			control := s.asks()
			q := control.Call
			s.silent([]*Attempt{control})
			s.Recreate(s.now, &Order{})
			s.Built(s.now, s.cand.id, false, Draw{})
			copied := s.Todo().Copies[0]
			require.Same(t, q, copied.Call)
			s.now = s.now.Add(10 * time.Millisecond)
			if answered {
				s.Answered(s.now, copied)
			}
			s.does(s.callTo("b.test", Copyable, "GET"), Send)
			s.Answered(s.now, s.Todo().Copies[0])
			require.Equal(t, copied.On, s.Current())
			todo := s.Todo()
			assert.Empty(t, todo.Part, "no call asks what to do next")
			if answered {
				assert.Contains(t, todo.Recall, control)
				return
			}
			assert.NotContains(t, todo.Recall, control)
			assert.Same(t, copied, q.main)
			assert.Same(t, control, q.behind)
		})
	}
}

// What tried a candidate that another authority proved waits in service like all else there:
// it moves on if its own authority has that replaced in turn.
func TestWhatTriedTheCandidateMovesOnWithItsAuthority(t *testing.T) {
	s := newScene(t)
	s.offered("a.test")
	q := s.callTo("b.test", Copyable, "GET")
	for range 3 {
		s.refused(s.does(q, Send))
	}
	waits := s.does(q, Try)
	s.Answered(s.now, s.tries(s.call(Copyable, "GET")))
	require.Equal(t, waits.On, s.Current())
	s.after(2 * time.Second)
	s.offered("b.test")
	s.Todo()
	s.Answered(s.now, s.tries(s.callTo("b.test", Copyable, "GET")))
	require.NotEqual(t, waits.On, s.Current())
	assert.Equal(t, []*Attempt{waits}, s.Todo().Recall)
}

// A request that began on the healthy path has its head start before it moves, too.
func TestWhatBeganOnTheHealthyPathMovesAfterItsHeadStart(t *testing.T) {
	s := newScene(t)
	s.offered("a.test")
	waits := s.call(Repeatable, "PUT").AdoptWaiting(1, s.Clock(), s.now)
	s.Answered(s.now, s.tries(s.call(Copyable, "GET")))
	s.Todo()
	s.Condemned(s.now, waits)
	assert.Empty(t, s.Todo().Recall)
	s.after(headStart - 1)
	assert.Empty(t, s.Todo().Recall)
	s.after(1)
	assert.Equal(t, []*Attempt{waits}, s.Todo().Recall)
}

// What was sent on a candidate that was refused waits there until somebody is known to
// answer: the next candidate, or the transport in service.
func TestWhatWasSentOnARefusedCandidateGoesWhereSomebodyAnswers(t *testing.T) {
	for name, answered := range map[string]func(*scene){
		"the next candidate": func(s *scene) {
			s.after(time.Second)
			q := s.call(Copyable, "GET")
			s.refused(s.does(q, Send))
			s.does(q, Wait)
			s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
			s.Answered(s.now, s.tries(q))
			require.NotEqualValues(s.t, 1, s.Current())
		},
		"the transport in service": func(s *scene) { s.Answered(s.now, s.asks()) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.offered("a.test")
			sent := s.tries(s.call(Repeatable, "PUT"))
			s.Asks(sent, false)
			s.Connected(s.now, sent)
			s.after(10 * time.Second)
			require.Zero(t, s.Candidate())
			assert.Empty(t, s.Todo().Recall, "it may be answered yet")
			answered(s)
			assert.Equal(t, []*Attempt{sent}, s.Todo().Recall)
		})
	}
}

// Where stalls are turned off, no silence moves anything.
func TestWhereStallsAreTurnedOffNothingMovesForSilence(t *testing.T) {
	s := newScene(t)
	s.rules.Stalls = 0
	waits := s.asks()
	s.Recreate(s.now, &Order{})
	s.Built(s.now, s.cand.id, true, Draw{})
	for range 5 {
		s.now = s.now.Add(time.Minute)
		s.Silent(s.now, waits)
	}
	assert.Empty(t, s.Todo().Part)
}

// A silence on a candidate is none in service: what it was a trial of is a witness of the
// first failure that counts there.
func TestASilenceOnACandidateHidesNoWitness(t *testing.T) {
	s := newScene(t)
	s.offered("a.test")
	first := s.tries(s.call(Copyable, "GET"))
	s.after(time.Second)
	other := s.tries(s.call(Repeatable, "PUT"))
	other.Call.Witness = "its trace"
	s.Silent(s.now, other)
	s.Answered(s.now, first)
	s.Failed(s.now, other, lost)
	assert.Equal(t, []any{"its trace"}, s.suspect(other.Call.Authority).witnesses)
}

// A first transport recovers nothing, and is one like all others from then on.
func TestOnlyATransportThatEndedRecovers(t *testing.T) {
	s := newScene(t)
	s.Client = NewAbsent(s.rules, simStart)
	recovers := func() (kinds []string) {
		s.does(s.call(Copyable, "GET"), Wait)
		s.Built(s.now, s.cand.id, true, Draw{Interval: time.Second})
		for _, r := range s.Todo().Reports {
			if r.What == HasRecovered {
				kinds = append(kinds, r.Kind)
			}
		}
		return kinds
	}
	assert.Empty(t, recovers())
	assert.False(t, s.View(s.now, 0).Absent)
	s.now = s.now.Add(time.Minute)
	s.Ended(s.now, s.Current(), false)
	assert.Equal(t, []string{BySwap}, recovers())
}

// What has no attempt left stays on the transport that was replaced, and nothing is due for
// it.
func TestWhatHasNoAttemptLeftStaysWhereItWaits(t *testing.T) {
	s := newScene(t)
	s.offered("a.test")
	q := s.call(Repeatable, "PUT")
	for range s.rules.Threshold + 1 {
		s.NotSent(s.now, s.does(q, Send))
	}
	s.does(q, Send)
	s.Answered(s.now, s.tries(s.call(Copyable, "GET")))
	s.Todo()
	s.after(headStart)
	assert.Empty(t, s.Todo().Recall)
	assert.Zero(t, s.Deadline())
}

// What moves has not failed yet on what is in service: it is sent once even where that has
// ended, and no other can be built.
func TestWhatMovesIsAsNew(t *testing.T) {
	s := newScene(t)
	q := s.call(Copyable, "GET")
	s.refused(s.does(q, Send))
	waits := s.does(q, Send)
	s.Recreate(s.now, &Order{})
	s.Built(s.now, s.cand.id, true, Draw{})
	for range 3 {
		s.now = s.now.Add(time.Minute)
		s.Silent(s.now, waits)
	}
	require.Equal(t, []*Call{q}, s.Todo().Part)
	s.Ended(s.now, s.Current(), false)
	s.does(s.call(Copyable, "GET"), Wait)
	s.NotBuilt(s.now, s.cand.id, "factory_error", Draw{Interval: time.Hour})
	s.does(q, Send)
}

// A copy that has ended, since its caller has gone, is over with a promotion, too: nobody
// calls it back when the end of its control is told.
func TestACopyThatHasEndedIsOverWithAPromotion(t *testing.T) {
	s := newScene(t)
	control, copied := s.tried()
	s.Failed(s.now, copied, Outcome{Left: true})
	s.does(s.callTo("b.test", Copyable, "GET"), Send)
	copies := s.Todo().Copies
	require.Len(t, copies, 1)
	s.Answered(s.now, copies[0])
	require.Equal(t, copied.On, s.Current())
	s.Todo()
	s.Failed(s.now, control, Outcome{Left: true})
	assert.Empty(t, s.Todo().Recall)
	assert.False(t, control.Call.Flying())
}

// A promotion is told to be about the request that proved the candidate; where nobody had to
// try it, about the end of the transport in service; and about nobody if that is well, too.
func TestAPromotionIsAboutWhatItWasFor(t *testing.T) {
	for name, tt := range map[string]struct {
		promotes func(*scene)
		host     string
		trigger  string
	}{
		"ordered, and nobody asks": {func(s *scene) {
			s.Recreate(s.now, &Order{})
			s.Built(s.now, s.cand.id, true, Draw{})
		}, "", ""},
		"in service has ended, and nobody asks": {func(s *scene) {
			s.Ended(s.now, 1, true)
			s.does(s.call(Copyable, "GET"), Wait)
			s.Built(s.now, s.cand.id, true, Draw{})
		}, "", TransportEnded},
		"tried by who had tripped": {func(s *scene) {
			s.tripped("a.test", Wait)
			s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
			q := s.call(Copyable, "GET")
			s.refused(s.does(q, Send))
			s.Answered(s.now, s.does(q, Try))
		}, "a.test", "connection_refused"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.Todo()
			tt.promotes(s)
			reports := s.Todo().Reports
			i := slices.IndexFunc(reports, func(r Report) bool { return r.What == WasPromoted })
			require.NotEqual(t, -1, i)
			assert.Equal(t, tt.host, reports[i].About.Authority.Host)
			assert.Equal(t, tt.trigger, reports[i].About.Trigger)
		})
	}
}

// All that tries a candidate is in service once that is, whatever tried it before: a copy whose
// caller has left, or one that is not needed any more.
func TestAllTrialsAreInServiceWithTheirCandidate(t *testing.T) {
	for name, tries := range map[string]func(*scene) *Attempt{
		"beside a copy whose caller has left": func(s *scene) *Attempt {
			_, copied := s.dark(1)
			s.Connected(s.now, copied)
			s.does(s.call(Repeatable, "PUT"), Send) // asks the transport in service
			trial := s.does(s.call(Repeatable, "PUT"), Try)
			s.Failed(s.now, copied, Outcome{Left: true})
			return trial
		},
		"beside the copy of what is served": func(s *scene) *Attempt {
			s.tried()
			for range 3 {
				s.refused(s.asks())
			}
			return s.tries(s.call(Copyable, "GET"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			trial := tries(s)
			s.Ended(s.now, 1, true)
			require.Equal(t, trial.On, s.Current())
			assert.Equal(t, inService, trial.role)
		})
	}
}

// What does not go to its transport yet when that is replaced is as if it had not been made, also for
// what is sent only once. What goes there already, and may have been told so, stays.
func TestWhatNoTransportHasYetLeavesTheOneThatWasReplaced(t *testing.T) {
	for name, tt := range map[string]struct {
		kind         Kind
		goes, leaves bool
	}{
		"PUT":              {Repeatable, false, true},
		"POST":             {Once, false, true},
		"a POST that goes": {Once, true, false},
		"sealed":           {Sealed, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.refused(s.asks())
			q := s.call(tt.kind, "ANY")
			step := s.Next(s.now, q)
			require.Equal(t, Send, step.Do)
			held := step.Attempt
			if tt.goes {
				require.True(t, s.Goes(held))
			}
			other := s.call(Copyable, "GET")
			s.refused(s.does(other, Send))
			s.replaced(other)
			if !tt.leaves {
				assert.Empty(t, s.Todo().Recall)
				return
			}
			require.Equal(t, []*Attempt{held}, s.Todo().Recall)
			require.False(t, s.Goes(held))
			assert.Zero(t, q.attempts)
			assert.Equal(t, s.Current(), s.does(q, Send).On)
		})
	}
}
