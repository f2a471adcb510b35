package core

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// dark: n GETs wait in silence until their authority trips, and the candidate that is
// built for it gets a copy of one of them.
func (s *scene) dark(n int) (waiting []*Attempt, copied *Attempt) {
	s.t.Helper()
	for range n {
		waiting = append(waiting, s.does(s.call(Copyable, "GET"), Send))
	}
	s.silent(waiting)
	require.NotNil(s.t, s.Todo().Build)
	s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
	copies := s.Todo().Copies
	require.Len(s.t, copies, 1)
	return waiting, copies[0]
}

// passedBy: what waits was silent while the transport in service answered others that began later.
func (s *scene) passedBy() {
	s.recent.use(s.now, s.suspects[0].authority).served = s.Clock()
	s.now = s.now.Add(answerGap)
}

// silent: these wait on for three more patiences.
func (s *scene) silent(waiting []*Attempt) {
	for range 3 {
		s.now = s.now.Add(5 * time.Second)
		for _, a := range waiting {
			s.Silent(s.now, a)
		}
	}
}

// Others that wait are not copied to a candidate that had its time with the first: the
// next candidate is to come.
func TestACandidateThatLeftItsCopiesUnansweredIsReplaced(t *testing.T) {
	s := newScene(t)
	waiting, _ := s.dark(2)
	s.now = s.now.Add(time.Minute)
	s.Tick(s.now)
	assert.Zero(t, s.Candidate())
	assert.Empty(t, s.Todo().Copies)
	s.now = s.now.Add(time.Second)
	s.Silent(s.now, waiting[0])
	assert.NotNil(t, s.Todo().Build)
}

// A candidate that another authority still wants is not tried again by one that has
// refused it.
func TestARefusedCandidateGetsNoCopies(t *testing.T) {
	s := newScene(t)
	waiting, copied := s.dark(2)
	s.tripped("b.test", Try)
	s.Failed(s.now, copied, Outcome{Verdict: Failure, Trigger: "connection_reset"})
	require.True(t, s.cand.refusedBy(copied.Call.Authority))
	s.now = s.now.Add(5 * time.Second)
	s.Silent(s.now, waiting[1])
	assert.Empty(t, s.Todo().Copies)
}

// A copy waits while a trial of its authority is young: what comes of it is not known yet.
func TestAYoungTrialHoldsBackTheCopiesOfItsAuthority(t *testing.T) {
	s := newScene(t)
	s.silent([]*Attempt{s.does(s.call(Repeatable, "PUT"), Send)})
	put := s.call(Repeatable, "PUT")
	s.does(put, Wait)
	s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
	s.does(s.call(Copyable, "GET"), Send)
	s.now = s.now.Add(500 * time.Millisecond)
	s.does(put, Try)
	s.now = s.now.Add(500 * time.Millisecond)
	s.Tick(s.now)
	assert.Empty(t, s.Todo().Copies)
	s.now = s.now.Add(500 * time.Millisecond)
	s.Tick(s.now)
	assert.Len(t, s.Todo().Copies, 1)
}

// The row is that of the latest failure that counted: where that was quick, a copy would tell
// nothing that a trial does not.
func TestNothingIsCopiedOnceTheAuthorityFailsQuickly(t *testing.T) {
	s := newScene(t)
	waiting := []*Attempt{s.does(s.call(Copyable, "GET"), Send)}
	s.silent(waiting)
	s.refused(s.does(s.call(Copyable, "GET"), Send))
	s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
	assert.Empty(t, s.Todo().Copies)
	s.Silent(s.now, waiting[0])
	assert.Len(t, s.Todo().Copies, 1)
}

// Once the transport in service has ended, its successor is built for whoever asks next, and
// for no copy of what waits on it.
func TestNoCandidateIsBuiltForCopiesOfWhatHasEnded(t *testing.T) {
	s := newScene(t)
	s.silent([]*Attempt{s.does(s.call(Copyable, "GET"), Send)})
	s.NotBuilt(s.now, s.cand.id, "factory_error", Draw{Interval: time.Second})
	s.Ended(s.now, 1, true)
	s.Todo()
	s.now = s.now.Add(2 * time.Second)
	s.Tick(s.now)
	assert.Nil(t, s.Todo().Build)
	s.does(s.call(Copyable, "GET"), Wait)
	build := s.Todo().Build
	require.NotNil(t, build)
	assert.Equal(t, TransportEnded, build.Trigger)
}

// No further copy goes while one that was answered waits for its verdict.
func TestNoCopyGoesBeforeTheVerdictOnAnother(t *testing.T) {
	s := newScene(t)
	_, copied := s.dark(2)
	fresh := s.Candidate()
	s.now = s.now.Add(950 * time.Millisecond)
	s.Answered(s.now, copied)
	s.now = s.now.Add(50 * time.Millisecond) // the next one would be due
	s.Tick(s.now)
	assert.Empty(t, s.Todo().Copies)
	s.now = s.now.Add(50 * time.Millisecond)
	s.Tick(s.now)
	require.Equal(t, []*Attempt{copied.Call.main}, s.Todo().Copies, "the control")
	s.now = s.Deadline()
	s.Tick(s.now)
	assert.Equal(t, fresh, s.Current())
}

// Of those that have not had their head start, the first to have it is waited for.
func TestTheFirstHeadStartIsWaitedFor(t *testing.T) {
	s := newScene(t)
	s.silent([]*Attempt{s.does(s.call(Repeatable, "PUT"), Send)})
	s.does(s.call(Repeatable, "PUT"), Wait)
	s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
	built := s.now
	ask := func(at time.Duration) *Attempt {
		s.now = built.Add(at)
		return s.does(s.call(Copyable, "GET"), Send)
	}
	leaves, first := ask(0), ask(100*time.Millisecond)
	ask(500 * time.Millisecond)
	s.Failed(s.now, leaves, Outcome{Left: true})
	s.now = built.Add(time.Second)
	s.Tick(s.now)
	require.Equal(t, built.Add(1100*time.Millisecond), s.Deadline())
	s.now = s.Deadline()
	s.Tick(s.now)
	copies := s.Todo().Copies
	require.Len(t, copies, 1)
	assert.Same(t, first.Call, copies[0].Call)
}

// A request is copied if its caller has as much time as its head start took, or more.
func TestACopyNeedsTheTimeOfAnotherHeadStart(t *testing.T) {
	start := simStart
	a := &Attempt{Call: &Call{Deadline: start.Add(time.Second)}, start: start, ripeAt: start.Add(250 * time.Millisecond)}
	assert.True(t, a.hasTime(start.Add(750*time.Millisecond)))
	assert.False(t, a.hasTime(start.Add(750*time.Millisecond+1)))
	a.Call.Deadline = time.Time{}
	assert.True(t, a.hasTime(start.Add(time.Hour)))

	for left, copied := range map[time.Duration]bool{5 * time.Second: true, 5*time.Second - 1: false} {
		s := startSilent(1, 0) // its wait of a patience was its head start
		a := s.wait(Copyable)
		a.Call.Deadline = s.now.Add(5*time.Second + left)
		s.after(5 * time.Second)
		s.Silent(s.now, a)
		assert.Equal(t, copied, s.Todo().Build != nil, left)
	}
}

// Copies become rarer until one is answered, and then begin anew.
func TestAnAnswerMakesCopiesFrequentAgain(t *testing.T) {
	s := newScene(t)
	s.dark(6) // and the first copy
	began := s.now
	next := func(at time.Duration) *Attempt {
		s.now = began.Add(at - 1)
		s.Tick(s.now)
		require.Empty(t, s.Todo().Copies, at)
		s.now = began.Add(at)
		s.Tick(s.now)
		copies := s.Todo().Copies
		require.Len(t, copies, 1, at)
		return copies[0]
	}
	next(time.Second)
	answered := next(3 * time.Second)
	s.Answered(s.now, answered)
	s.now = s.now.Add(answerGap)
	s.Tick(s.now)
	s.Todo()
	s.Failed(s.now, answered.Call.main, Outcome{}) // the control says nothing
	next(4 * time.Second)
	next(5 * time.Second)
	next(7 * time.Second)
}

// The youngest is copied, also where an older one was reported silent after it.
func TestTheYoungestIsCopiedWhicheverWasSilentLast(t *testing.T) {
	s := newScene(t)
	older := s.asks()
	s.Client.now++
	younger := s.asks()
	s.silent([]*Attempt{younger, older})
	s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
	copies := s.Todo().Copies
	require.Len(t, copies, 1)
	assert.Same(t, younger.Call, copies[0].Call)
}

// However rare copies have become, where a proof takes several answers they follow one another
// within seconds, once the candidates answer.
func TestCopiesAreNotRareWhereAProofTakesSeveralAnswers(t *testing.T) {
	s := newScene(t)
	waiting, _ := s.dark(1)
	var latest *Attempt
	next := func(after time.Duration) {
		s.asks()
		s.ticks(after)
		todo := s.Todo()
		if b := todo.Build; b != nil {
			s.Built(s.now, b.ID, false, Draw{Interval: time.Second})
			todo.Copies = append(todo.Copies, s.Todo().Copies...)
		}
		for _, a := range todo.Copies {
			if a.On != s.Current() {
				latest = a
			}
		}
	}
	for range 300 {
		next(time.Second)
		s.Silent(s.now, waiting[0])
	}
	m := s.recent.use(s.now, s.suspects[0].authority)
	m.answers = 4
	began := s.now
	for s.Current() == 1 && s.now.Before(began.Add(10*time.Minute)) {
		m.useless = s.now // stalls go on
		if latest != nil && !latest.over {
			s.Answered(s.now, latest)
		}
		next(200 * time.Millisecond)
	}
	assert.LessOrEqual(t, s.now.Sub(began), 35*time.Second) // the first copy took ten, and its control has twice that
}

// A candidate whose time with an authority is over, but that nobody of it is waiting for any more,
// has had no verdict: the next copy goes there, and has all the time again.
func TestACandidateWithoutAVerdictIsTriedAgainByTheNextCopy(t *testing.T) {
	s := newScene(t)
	waiting, copied := s.dark(1)
	fresh := s.Candidate()
	s.after(5 * time.Second)
	s.Failed(s.now, waiting[0], Outcome{Verdict: Stall, Trigger: "stall", Left: true}) // too early to tell
	require.True(t, copied.over)
	s.after(time.Minute)
	require.Equal(t, fresh, s.Candidate())
	s.asks()
	s.after(headStart)
	copies := s.Todo().Copies
	require.Len(t, copies, 1)
	require.Equal(t, fresh, copies[0].On)
	s.asks() // is copied, too
	s.after(s.rules.RecreateTimeout - 1)
	s.asks()
	assert.Equal(t, fresh, s.Candidate(), "it has its time")
	s.after(headStart)
	assert.NotEqual(t, fresh, s.Candidate())
}

// Who has left is not copied again, though its copy is called back before the transport in service
// has told, too: the copy was the first to tell.
func TestWhoHasLeftIsNotCopiedAgain(t *testing.T) {
	s := newScene(t)
	_, copied := s.dark(1)
	s.Failed(s.now, copied, Outcome{Left: true})
	s.Recreate(s.now, &Order{})
	s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
	require.Nil(t, copied.Call.copy)
	s.ticks(5 * time.Second)
	assert.Empty(t, s.Todo().Copies)
}

// A younger copy is answered while an older one is silent, which raises a doubt, and then the older one is
// answered as well: the younger one's own control decides.
func TestACopyWhoseDoubtIsOverKeepsItsControl(t *testing.T) {
	s := newScene(t)
	waiting := []*Attempt{s.asks(), s.asks(), s.asks(), s.asks()}
	s.ticks(6 * time.Second)
	for range 2 {
		for _, a := range waiting[:3] {
			s.Silent(s.now, a)
		}
		s.ticks(time.Second)
	}
	require.NotNil(t, s.cand)
	s.asks()
	s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
	s.ticks(1100 * time.Millisecond)
	st := s.cand.stand(waiting[0].Call.Authority)
	require.Equal(t, 2, st.trials.n)
	old := st.trials.first
	s.ticks(1500 * time.Millisecond)
	younger := st.trials.last
	main := younger.Call.main
	s.Answered(s.now, younger)
	s.ticks(50 * time.Millisecond)
	s.Answered(s.now, old)
	s.ticks(60 * time.Millisecond)
	assert.Same(t, main, younger.Call.main)
}
