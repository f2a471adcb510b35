package core

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A candidate that an authority has no use for gives way, unless somebody's trial of it is
// within its time, and older than the trouble of who asks.
func TestACandidateGivesWayUnlessATrialHasTime(t *testing.T) {
	mine, other := named(1), named(2)
	one := func(st *stand) { st.trials.add(&Attempt{}) }
	answered := func(due time.Duration) func(*stand) {
		return func(st *stand) { st.answered, st.late = &Attempt{judgeAt: newScene(t).now.Add(due)}, true }
	}
	for name, tt := range map[string]struct {
		of      Authority
		does    func(*stand)
		tripped Instant // the build began at 10
		young   bool
		planned bool
		want    bool
	}{
		"nobody tries":                          {of: other, does: func(*stand) {}, want: true},
		"planned":                               {of: other, does: func(*stand) {}, planned: true},
		"its own trial":                         {of: mine, does: one, tripped: 11, young: true},
		"its own trial has had its time":        {of: mine, does: func(st *stand) { one(st); st.late = true }, want: true},
		"another's trial":                       {of: other, does: one, tripped: 9},
		"another's trial, tripped since":        {of: other, does: one, tripped: 11, want: true},
		"another's trial, its outage is young":  {of: other, does: one, tripped: 9, young: true, want: true},
		"another's answer without a control":    {of: other, does: func(st *stand) { st.served = []answeredMethod{{method: "POST"}} }, tripped: 9},
		"its own answer waits for a verdict":    {of: mine, does: answered(time.Minute), tripped: 11, young: true},
		"another's answer waits for a verdict":  {of: other, does: answered(time.Minute), tripped: 9},
		"another's answer, tripped since":       {of: other, does: answered(headStart + 1), tripped: 11, want: true},
		"its verdict is due, tripped since":     {of: other, does: answered(headStart), tripped: 11},
		"another's trial has had its time, too": {of: other, does: func(st *stand) { one(st); st.late = true }, tripped: 9, want: true},
	} {
		s, r := newScene(t), &candidate{began: 10, planned: tt.planned, of: map[Authority]*stand{}}
		tt.does(r.standOrNew(tt.of))
		o := &suspect{authority: mine, tripAt: tt.tripped, youngUntil: s.now}
		if tt.young {
			o.youngUntil = s.now.Add(1)
		}
		assert.Equal(t, tt.want, s.givesWay(s.now, r, o), name)
	}
}

// What tries a planned candidate first, and may be sent again, is called back when that
// makes way, also if it has been sent.
func TestATryIsCalledBackWhenItsCandidateIsOver(t *testing.T) {
	s := newScene(t)
	o := &Order{}
	s.Recreate(s.now, o)
	s.Built(s.now, s.cand.id, false, Draw{})
	s.now = s.now.Add(5 * time.Second)
	try := s.does(s.call(Repeatable, "PUT"), Try)
	s.Asks(try, false)
	s.Connected(s.now, try)
	s.Todo()
	s.Abandon(s.now, o)
	assert.Equal(t, []*Attempt{try}, s.Todo().Recall)
}

// What was sent on a candidate that its authority has refused is in service if another
// authority proves that candidate.
func TestWhatWasSentOnARefusedCandidateIsInServiceWhenThatIs(t *testing.T) {
	s := newScene(t)
	s.silent([]*Attempt{s.does(s.call(Once, "POST"), Send)})
	q := s.call(Once, "POST")
	s.does(q, Wait)
	s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
	sent := s.does(q, Try)
	s.Asks(sent, false)
	s.Connected(s.now, sent)
	b := s.call(Copyable, "GET")
	b.Authority.Host = "b.test"
	for range 3 {
		s.refused(s.does(b, Send))
	}
	s.now = s.now.Add(10 * time.Second)
	s.Tick(s.now)
	require.True(t, s.cand.refusedBy(q.Authority))
	b = s.call(Copyable, "GET")
	b.Authority.Host = "b.test"
	s.refused(s.does(b, Send))
	fresh := s.Candidate()
	s.Answered(s.now, s.does(b, Try))
	require.Equal(t, fresh, s.Current())
	assert.False(t, s.Failed(s.now, sent, Outcome{Verdict: Failure, Trigger: "connection_reset"}).Trial)
}

// A candidate is over once nobody is tripped who has not refused it: whoever is suspected
// has no use for it.
func TestWhoIsOnlySuspectedWantsNoCandidate(t *testing.T) {
	s := newScene(t)
	s.offered("a.test")
	s.refused(s.does(s.callTo("b.test", Copyable, "GET"), Send))
	s.Answered(s.now, s.asks())
	assert.Zero(t, s.Candidate())
}

// Whose copies on a candidate ran out of time tries it no more. It asks for the next one, and
// refuses this for that.
func TestACandidateThatLeftItsCopiesUnansweredIsRefusedByWhoAsksForTheNext(t *testing.T) {
	s := newScene(t)
	_, copied := s.dark(1)
	a := copied.Call.Authority
	s.after(10 * time.Second)
	require.Equal(t, copied.On, s.Candidate(), "it is in nobody's way")
	patience := s.Patience(s.now, s.now, a)
	q := s.call(Copyable, "GET")
	s.Failed(s.now, s.does(q, Send), Outcome{Verdict: Stall, Trigger: "stall", Again: true})
	s.Todo()
	s.does(q, GiveUp) // an interval comes before the next build
	assert.Zero(t, s.Candidate())
	reports := s.Todo().Reports
	require.Len(t, reports, 2)
	assert.Equal(t, HasRefused, reports[0].What)
	assert.Equal(t, TrialTimeout, reports[0].Kind)
	assert.Equal(t, a, reports[0].About.Authority)
	assert.Greater(t, s.Patience(s.now, s.now, a), patience)
}

// A candidate that makes way is refused by those alone whose copies have run out of time.
func TestACandidateThatMakesWayIsRefusedByWhoWaitedInVain(t *testing.T) {
	for _, tt := range []struct{ copied, late, want bool }{
		{true, true, true}, {true, false, false}, {false, true, false}, {false, false, false},
	} {
		s := newScene(t)
		s.offered("a.test")
		r, q := s.cand, s.callTo("b.test", Copyable, "GET")
		st := r.standOrNew(q.Authority)
		if tt.copied {
			s.tryOn(s.now, q, asCopy, false)
		}
		st.late = tt.late
		s.makeWay(s.now, r)
		assert.Zero(t, s.Candidate())
		assert.Equal(t, tt.want, st.refused, "%+v", tt)
	}
}

// An answer in service ends the wait for a candidate that is being built. What becomes of
// that is seen when it is there.
func TestAnAnswerInServiceEndsTheWaitForACandidate(t *testing.T) {
	s := newScene(t)
	q := s.call(Copyable, "GET")
	for range 3 {
		s.refused(s.does(q, Send))
	}
	s.does(q, Wait)
	s.Todo()
	id := s.Candidate()
	s.Answered(s.now, s.asks())
	todo := s.Todo()
	assert.Equal(t, []*Call{q}, todo.Wake)
	assert.Zero(t, todo.Cancel)
	require.Equal(t, id, s.Candidate())
	s.Built(s.now, id, false, Draw{Interval: time.Second})
	assert.Zero(t, s.Candidate())
}

// An answer in service, to whatever request of the authority, ends the verdict on a copy that
// was answered, also where another authority keeps the candidate.
func TestAnAnswerInServiceEndsTheVerdict(t *testing.T) {
	s := newScene(t)
	_, copied := s.dark(1)
	control := copied.Call.main
	s.tripped("b.test", Try)
	s.Answered(s.now, copied)
	s.Answered(s.now, s.asks())
	require.Equal(t, copied.On, s.Candidate())
	assert.Contains(t, s.Todo().Recall, control)
	s.after(answerGap)
	assert.EqualValues(t, 1, s.Current())
}

// What a candidate has answered in an outage that is over proves nothing in the next.
func TestAnOutageThatIsOverLeavesNothingWithItsCandidate(t *testing.T) {
	t.Run("answers", func(t *testing.T) {
		s := newScene(t)
		s.askedOnce(1)
		s.tripped("b.test", Try)
		s.served()
		s.Answered(s.now, s.asks())
		s.Failed(s.now, s.does(s.call(Once, "POST"), Send), broken)
		assert.EqualValues(t, 1, s.Current())
	})
	t.Run("a trial that holds back others", func(t *testing.T) {
		s := newScene(t)
		s.offered("a.test")
		s.tripped("b.test", Try)
		s.tries(s.call(Copyable, "GET"))
		s.Answered(s.now, s.asks())
		s.tripped("a.test", Try)
	})
}

// An outage that is forgotten teaches no patience: nobody knows what its answers would have
// taken, nor that its candidate was no faster.
func TestAnOutageThatIsForgottenTeachesNothing(t *testing.T) {
	for name, forgotten := range map[string]bool{"forgotten": true, "answered": false} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			_, copied := s.dark(1)
			o := s.suspects[0]
			s.cand.stands[0].slow = true
			s.now = s.now.Add(headStart)
			s.Todo()
			if forgotten {
				s.forget(s.now, o)
			} else {
				s.acquit(s.now, o)
			}
			assert.Equal(t, forgotten, s.Patience(s.now, s.now, copied.Call.Authority) == s.rules.Patience)
			var kinds []string
			for _, r := range s.Todo().Reports {
				if r.What == WasRejected {
					kinds = append(kinds, r.Kind)
				}
			}
			assert.Equal(t, []string{map[bool]string{true: Untried, false: UpstreamSlow}[forgotten]}, kinds)
		})
	}
}

// What was sent on a candidate goes on there when that is refused or over: what can be asked
// only once may have been processed, and is never sent again.
func TestWhatWasSentOnACandidateThatIsOverGoesOn(t *testing.T) {
	t.Run("it tried a planned one", func(t *testing.T) {
		s := newScene(t)
		s.halfway()
		try := s.does(s.call(Once, "POST"), Try)
		s.Asks(try, false)
		s.Connected(s.now, try)
		s.Abandon(s.now, s.orders[0])
		require.Zero(t, s.Candidate())
		assert.Empty(t, s.Todo().Recall)
		assert.Same(t, try, try.Call.main)
	})
	t.Run("its authority was tripped", func(t *testing.T) {
		s := newScene(t)
		s.offered("a.test")
		trial := s.tries(s.call(Repeatable, "PUT"))
		s.Asks(trial, false)
		s.Connected(s.now, trial)
		s.after(10 * time.Second)
		require.Zero(t, s.Candidate())
		assert.Empty(t, s.Todo().Recall)
	})
}

// What no candidate has got yet is not given to one that is over, though it can be asked only once
// and nobody has told that it looks for a connection.
func TestWhatNoCandidateHasYetIsCalledBackWhenThatIsOver(t *testing.T) {
	for name, over := range map[string]func(s *scene){
		"its authority is served again": func(s *scene) { s.Answered(s.now, s.asks()) },
		"nobody asks for it any more":   func(s *scene) { s.end(s.now, Superseded) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.silent([]*Attempt{s.does(s.call(Once, "POST"), Send)})
			q := s.call(Once, "POST")
			s.does(q, Wait)
			s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
			step := s.Next(s.now, q)
			require.Equal(t, Try, step.Do)
			over(s)
			require.Equal(t, []*Attempt{step.Attempt}, s.Todo().Recall)
			assert.False(t, s.Goes(step.Attempt))
			assert.Zero(t, q.attempts)
		})
	}
}

// An answer in service calls back what was not sent on a candidate, also where the authority
// has tried that by plan before it tripped.
func TestAnAnswerInServiceCallsBackTheTrialsOfAPlannedCandidate(t *testing.T) {
	s := newScene(t)
	s.tried()
	for range 3 {
		s.refused(s.asks())
	}
	trial := s.tries(s.call(Copyable, "GET"))
	s.Todo()
	s.Answered(s.now, s.asks())
	require.Empty(t, s.suspects)
	assert.Contains(t, s.Todo().Recall, trial)
}
