package core

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Whoever has waited for one candidate does not wait for another that somebody else asked
// for: nobody's wait is doubled.
func TestNobodyWaitsForTwoCandidates(t *testing.T) {
	s := newScene(t)
	q := s.call(Copyable, "GET")
	for range 3 {
		s.refused(s.does(q, Send))
	}
	s.does(q, Wait)
	s.Recreate(s.now, &Order{}) // ends what it waits for, and builds another one
	late := s.call(Copyable, "GET")
	s.refused(s.does(late, Send))
	s.does(late, Wait)
	s.does(q, GiveUp)
}

// Also where it only found the build under way.
func TestWhoFoundABuildWaitsForNoOther(t *testing.T) {
	s := newScene(t)
	s.tripped("a.test", Wait)
	q := s.call(Copyable, "GET")
	s.refused(s.does(q, Send))
	s.does(q, Wait)
	s.Recreate(s.now, &Order{})
	s.does(q, GiveUp)
}

// A candidate that an authority has refused stays while another's trial of it has time, and
// in any case until the next may be built.
func TestARefusedCandidateIsNotDroppedTooSoon(t *testing.T) {
	for name, tt := range map[string]struct {
		tried    bool // by the other authority
		interval time.Duration
	}{"another tries it": {true, time.Second}, "the next is not due": {false, time.Hour}} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			q, other := s.call(Copyable, "GET"), s.call(Copyable, "GET")
			other.Authority.Host = "b.test"
			s.tripped("a.test", Wait)
			s.tripped("b.test", Wait)
			s.now = s.now.Add(calm) // the outages are not young
			fresh := s.Candidate()
			s.Built(s.now, fresh, false, Draw{Interval: tt.interval})
			if tt.tried {
				s.refused(s.does(other, Send))
				s.does(other, Try)
			}
			s.refused(s.does(q, Send))
			s.refused(s.does(q, Try))
			s.now = s.now.Add(2 * time.Second)
			s.Tick(s.now)
			q = s.call(Copyable, "GET")
			s.refused(s.does(q, Send))
			s.does(q, GiveUp)
			assert.Equal(t, fresh, s.Candidate())
		})
	}
}

// Who was kept waiting for long by the transport in service, while the candidate was there,
// waits for what others are about to find out, but only if they are.
func TestWhoWasSilentForLongWaitsForWhatOthersFindOut(t *testing.T) {
	for name, tt := range map[string]struct {
		others func(*scene, *Attempt)
		want   Do
	}{
		"a copy is under way":        {func(*scene, *Attempt) {}, Wait},
		"it has a connection":        {func(s *scene, copied *Attempt) { s.Connected(s.now, copied) }, Wait},
		"it was answered":            {func(s *scene, copied *Attempt) { s.Answered(s.now, copied) }, Wait},
		"it has said nothing":        {func(s *scene, copied *Attempt) { s.Failed(s.now, copied, Outcome{}) }, Try},
		"its time for that has gone": {nil, GiveUp},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			_, copied := s.dark(1)
			q := s.call(Repeatable, "PUT")
			a := s.does(q, Send) // the control of what the candidate is silent about
			if tt.others == nil {
				q.readyBy = s.now
			} else {
				tt.others(s, copied)
			}
			s.Failed(s.now, a, Outcome{Verdict: Stall, Trigger: "stall", Again: true})
			s.does(q, tt.want)
		})
	}
}

// Who failed before the candidate was there has waited for it, and asks the transport in
// service again, whatever others try.
func TestWhoWaitedForACandidateHasItsControl(t *testing.T) {
	s := newScene(t)
	q := s.call(Repeatable, "PUT")
	a := s.does(q, Send)
	s.silent([]*Attempt{s.asks()})
	s.Failed(s.now, a, Outcome{Verdict: Stall, Trigger: "stall", Again: true})
	s.does(q, Wait)
	s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
	require.Len(t, s.Todo().Copies, 1)
	s.does(q, Send)
}

// Who has waited before, and then was silent beside the candidate, has had its wait. It waits once
// more only if the candidate that it waited for has answered, and the verdict on that is due.
func TestWhoHasWaitedWaitsOnlyForTheVerdictOnAnAnswerOfThatCandidate(t *testing.T) {
	for name, tt := range map[string]struct {
		answered, other bool // by the candidate; which is not the one that it waited for
		want            Do
	}{
		"it is silent":         {false, false, GiveUp},
		"it has answered":      {true, false, Wait},
		"another has answered": {true, true, GiveUp},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			stall := Outcome{Verdict: Stall, Trigger: "stall", Again: true}
			q := s.call(Repeatable, "PUT")
			a := s.does(q, Send)
			s.silent([]*Attempt{s.asks()})
			s.Failed(s.now, a, stall)
			s.does(q, Wait)
			if tt.other {
				s.NotBuilt(s.now, s.cand.id, "factory_error", Draw{Interval: time.Second})
				s.after(time.Second)
			}
			s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
			copies := s.Todo().Copies
			require.Len(t, copies, 1)
			control := s.does(q, Send)
			if tt.answered {
				s.Answered(s.now, copies[0])
			}
			s.Failed(s.now, control, stall)
			s.does(q, tt.want)
		})
	}
}

// Who has met no outage does not wait for ready.
func TestWithoutAnOutageNobodyWaitsForReady(t *testing.T) {
	for threshold, want := range map[int]Do{3: Wait, 4: GiveUp} {
		s := newScene(t)
		s.rules.Threshold = threshold
		q := s.call(Repeatable, "PUT")
		q.Ready = time.Minute
		for range mostAttempts {
			s.refused(s.does(q, Send))
		}
		s.does(q, want)
	}
}

// Who has left is not woken, and the others are.
func TestOnlyWhoWaitsIsWoken(t *testing.T) {
	s := newScene(t)
	s.tripped("a.test", Wait)
	var waiting []*Call
	for range 3 {
		q := s.call(Copyable, "GET")
		s.refused(s.does(q, Send))
		s.does(q, Wait)
		waiting = append(waiting, q)
	}
	s.Leave(s.waiters[0]) // who tripped it
	s.Leave(waiting[1])
	s.Todo()
	s.Close(s.now)
	assert.Equal(t, []*Call{waiting[0], waiting[2]}, s.Todo().Wake)
}

// A verdict wakes those of its own authority.
func TestAVerdictWakesNobodyElse(t *testing.T) {
	s := newScene(t)
	s.tripped("a.test", Wait)
	s.tripped("b.test", Wait)
	s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
	waits := map[string]*Call{}
	var trial *Attempt
	for _, host := range []string{"b.test", "a.test"} {
		q, other := s.call(Copyable, "GET"), s.call(Copyable, "GET")
		q.Authority.Host, other.Authority.Host = host, host
		s.refused(s.does(q, Send))
		trial = s.does(q, Try)
		s.refused(s.does(other, Send))
		s.does(other, Wait)
		waits[host] = other
	}
	s.Todo()
	s.refused(trial)
	assert.Equal(t, []*Call{waits["a.test"]}, s.Todo().Wake)
}

// Who is asked once, and may have to leave before a build must have ended, asks the transport
// in service instead of waiting, one at a time, once the build has taken a second.
func TestWhoMayNotSeeTheEndOfABuildAsksTheTransportInService(t *testing.T) {
	s := newScene(t)
	s.silent([]*Attempt{s.does(s.call(Once, "POST"), Send)})
	s.does(s.call(Once, "POST"), Wait)
	in := func(d time.Duration) *Call {
		q := s.call(Once, "POST")
		q.Deadline = s.now.Add(d)
		return q
	}
	s.after(time.Second - 1)
	s.does(in(3*time.Second), Wait)
	s.after(1)
	s.does(s.call(Once, "POST"), Wait)
	s.does(in(s.rules.RecreateTimeout-time.Second), Wait)
	probe := s.does(in(s.rules.RecreateTimeout-time.Second-1), Send)
	s.does(in(3*time.Second), Wait)
	s.after(time.Second)
	s.does(in(3*time.Second), Send)
	s.Answered(s.now, probe)
	s.does(in(3*time.Second), Send)
	assert.Empty(t, s.Suspects())
}

// Only after a build that gave nothing does one that is asked once, and waits for the build already,
// look up before it has to leave: otherwise the next one does.
func TestWhoWaitsForABuildLooksUpOnlyAfterOneInVain(t *testing.T) {
	s := newScene(t)
	waits := func() time.Time {
		q := s.call(Once, "POST")
		q.Deadline = s.now.Add(2 * time.Second)
		step := s.Next(s.now, q)
		require.Equal(t, Wait, step.Do)
		return step.Until
	}
	s.silent([]*Attempt{s.does(s.call(Once, "POST"), Send)})
	assert.Zero(t, waits())
	s.NotBuilt(s.now, s.cand.id, "factory_error", Draw{Interval: time.Second})
	s.after(time.Second)
	assert.Equal(t, s.now.Add(time.Second/2), waits())

	s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
	s.promote(s.now, nil, true) // a build has given something since
	s.after(calm)
	s.silent([]*Attempt{s.does(s.call(Once, "POST"), Send)})
	assert.Zero(t, waits())
}

// Where there is a fallback, of those that are asked once, and may not see the end of a build,
// one in four intervals asks the transport in service. The others wait for half of their time,
// and go to the fallback then.
func TestWhoMayNotSeeTheEndOfABuildKeepsHalfOfItsTimeForTheFallback(t *testing.T) {
	s := newScene(t)
	s.rules.Fallback = true
	s.silent([]*Attempt{s.does(s.call(Once, "POST"), Send)})
	s.does(s.call(Once, "POST"), Wait)
	in := func(d time.Duration) *Call {
		q := s.call(Once, "POST")
		q.Deadline = s.now.Add(d)
		return q
	}
	s.after(time.Second)
	s.does(in(3*time.Second), Send)
	s.after(time.Second) // it is silent, and no control any more
	q := in(3 * time.Second)
	step := s.Next(s.now, q)
	require.Equal(t, Wait, step.Do)
	assert.Equal(t, s.now.Add(1500*time.Millisecond), step.Until)
	s.after(1500 * time.Millisecond)
	s.does(q, Divert)
	s.after(1500 * time.Millisecond)
	s.does(in(3*time.Second), Send)
}

// Who took long to fail beside a candidate waits for what others find out there, unless it has
// answered one like it already.
func TestWhoFailedSlowlyDoesNotWaitForWhatIsKnown(t *testing.T) {
	q := &Call{Authority: named(1), Method: "PUT", failure: failure{slow: true, at: 6}}
	r := &candidate{ready: 5, of: map[Authority]*stand{}}
	st := r.standOrNew(q.Authority)
	st.trials.add(&Attempt{})
	require.True(t, r.hadItsChance(q))
	st.served = []answeredMethod{{method: "POST"}}
	require.True(t, r.hadItsChance(q))
	st.served = []answeredMethod{{method: "PUT"}}
	assert.False(t, r.hadItsChance(q))
}

// undecided: q has failed as often as it may. Its authority has failed often enough, and has not tripped for
// the others that are under way.
func (s *scene) undecided(q *Call) (others []*Attempt) {
	s.t.Helper()
	s.Failed(s.now, s.does(q, Send), lost)
	for range 5 {
		others = append(others, s.asks())
	}
	s.now = s.now.Add(time.Millisecond)
	for range 2 {
		s.Failed(s.now, s.does(q, Send), lost)
	}
	require.Equal(s.t, Suspected, s.suspects[0].state)
	return others
}

// Where most of what is under way may yet be answered, an authority does not trip. Who has no attempt
// left by then waits for what becomes of that, but no longer than its head start.
func TestWhoHasNoAttemptLeftWaitsForThoseUnderWay(t *testing.T) {
	undecided := func(t *testing.T) (s *scene, q *Call, others []*Attempt) {
		s = newScene(t)
		q = s.call(Copyable, "GET")
		return s, q, s.undecided(q)
	}
	t.Run("they fail", func(t *testing.T) {
		s, q, others := undecided(t)
		step := s.Next(s.now, q)
		require.Equal(t, Wait, step.Do)
		assert.Equal(t, s.now.Add(headStart), step.Until)
		for _, a := range others {
			require.Empty(t, s.Todo().Wake)
			if s.Failed(s.now, a, lost); s.suspects[0].state == Tripped {
				break
			}
		}
		require.Equal(t, []*Call{q}, s.Todo().Wake)
		s.does(q, Wait)
		assert.NotZero(t, s.Candidate(), "it has one built")
	})
	t.Run("one is answered", func(t *testing.T) {
		s, q, others := undecided(t)
		s.does(q, Wait)
		s.Answered(s.now, others[0])
		require.Equal(t, []*Call{q}, s.Todo().Wake)
		s.does(q, GiveUp)
	})
	t.Run("they are silent", func(t *testing.T) {
		s, q, _ := undecided(t)
		s.does(q, Wait)
		s.now = s.now.Add(headStart - 1)
		assert.Equal(t, s.now.Add(1), s.Next(s.now, q).Until)
		s.now = s.now.Add(1)
		s.does(q, GiveUp)
	})
	t.Run("their transport ends", func(t *testing.T) {
		s, q, _ := undecided(t)
		s.does(q, Wait)
		s.Ended(s.now, s.Current(), true)
		require.Equal(t, []*Call{q}, s.Todo().Wake)
		s.does(q, Wait)
		assert.NotZero(t, s.Candidate(), "it has one built")
	})
	t.Run("too few have failed", func(t *testing.T) {
		s := newScene(t)
		s.rules.Threshold = 4
		q := s.call(Copyable, "GET")
		for range 3 {
			s.Failed(s.now, s.does(q, Send), lost)
		}
		s.does(q, GiveUp)
	})
}

// Nobody waits for a trip that cannot come: what is over keeps the authority from it, whatever becomes of
// those that are under way.
func TestNobodyWaitsForATripThatCannotCome(t *testing.T) {
	for name, tt := range map[string]struct {
		left, underWay int
		want           Do
	}{
		"nobody is under way":     {9, 0, GiveUp},
		"too few are under way":   {9, 6, GiveUp},
		"enough of them may fail": {9, 7, Wait},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			q := s.call(Copyable, "GET")
			s.Failed(s.now, s.does(q, Send), lost)
			var leave []*Attempt
			for range tt.left {
				leave = append(leave, s.asks())
			}
			for range tt.underWay {
				s.asks()
			}
			s.now = s.now.Add(time.Millisecond)
			for _, a := range leave {
				s.Failed(s.now, a, Outcome{Left: true})
			}
			for range 2 {
				s.Failed(s.now, s.does(q, Send), lost)
			}
			require.Equal(t, Suspected, s.suspects[0].state)
			s.does(q, tt.want)
		})
	}
}

// Who met an outage has had the attempts that a trip would give it. Only a fallback may serve it then, and
// it does not wait for that for longer than it waits for ready.
func TestWhoHasHadItsLastAttemptsWaitsForAFallbackAlone(t *testing.T) {
	for _, fallback := range []bool{true, false} {
		t.Run(fmt.Sprintf("fallback=%v", fallback), func(t *testing.T) {
			s := newScene(t)
			s.rules.Fallback = fallback
			q := s.call(Copyable, "GET")
			q.tripped, q.attempts, q.readyBy = true, 2, s.now.Add(headStart/2)
			others := s.undecided(q)
			if !fallback {
				s.does(q, GiveUp)
				return
			}
			step := s.Next(s.now, q)
			require.Equal(t, Wait, step.Do)
			assert.Equal(t, q.readyBy, step.Until)
			for _, a := range others {
				s.Failed(s.now, a, lost)
			}
			require.Equal(t, []*Call{q}, s.Todo().Wake)
			s.does(q, Divert)
		})
	}
}
