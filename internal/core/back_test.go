package core

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// triesLate: q's control takes that long to fail, and q tries the candidate.
func (s *scene) triesLate(took time.Duration, q *Call) *Attempt {
	s.t.Helper()
	control := s.does(q, Send)
	s.after(took)
	s.refused(control)
	return s.does(q, Try)
}

// offeredAgain: a first candidate has failed the authority, and the next one is ready.
func (s *scene) offeredAgain() {
	s.t.Helper()
	s.offered("a.test")
	s.refused(s.tries(s.call(Copyable, "GET")))
	s.after(time.Second)
	q := s.call(Copyable, "GET")
	s.refused(s.does(q, Send))
	s.does(q, Wait)
	s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
}

// backAfter: a candidate failed the authority, the transport in service answered it, and it has
// tripped again after that long.
func backAfter(rest time.Duration) func(*scene) {
	return func(s *scene) {
		s.offeredAgain()
		s.Answered(s.now, s.asks())
		require.Empty(s.t, s.suspects)
		s.after(rest - time.Second)
		s.offered("a.test")
		s.after(time.Second)
	}
}

// A control that failed a while before the trial may have met an outage of the upstream that was
// over when the trial began. The candidate is proven by the next control, which begins later.
func TestAnUpstreamThatMayBeBackProvesNothing(t *testing.T) {
	offered := func(s *scene) { s.offered("a.test") }
	for name, tt := range map[string]struct {
		scene  func(*scene)
		took   time.Duration
		proves bool
	}{
		"the control failed at once":                                {offered, 0, true},
		"it took a while":                                           {offered, longAgo - 1, true},
		"it took two seconds":                                       {offered, longAgo, false},
		"another candidate failed, and it failed at once":           {(*scene).offeredAgain, answerGap - 1, true},
		"another candidate failed, and it took 100 ms":              {(*scene).offeredAgain, answerGap, false},
		"one failed in an outage that ended less than a minute ago": {backAfter(calm - answerGap - 1), answerGap, false},
		"one failed in an outage that ended a minute ago":           {backAfter(calm - answerGap), answerGap, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			tt.scene(s)
			fresh := s.Candidate()
			s.Answered(s.now, s.triesLate(tt.took, s.call(Copyable, "GET")))
			require.Equal(t, tt.proves, s.Current() == fresh)
			if tt.proves {
				return
			}
			s.refused(s.does(s.call(Copyable, "GET"), Send))
			assert.Equal(t, fresh, s.Current(), "this control began after the answer")
		})
	}
}

// An attempt in service that was sent while the trial had no answer may have met the outage, too.
func TestWhatWasSentWhileATrialWaitedIsNoControlOfAnUpstreamThatMayBeBack(t *testing.T) {
	s := newScene(t)
	s.offered("a.test")
	fresh := s.Candidate()
	trial := s.triesLate(longAgo, s.call(Copyable, "GET"))
	s.after(headStart) // others are not held back any more
	early := s.asks()
	s.Answered(s.now, trial)
	s.refused(early)
	require.NotEqual(t, fresh, s.Current())
	s.refused(s.asks())
	assert.Equal(t, fresh, s.Current())
}

// The answer of one candidate tells that the upstream is up, and so controls that begin later
// are good for the next candidate, too.
func TestAnAnswerTellsForTheNextCandidateThatTheUpstreamIsUp(t *testing.T) {
	s := newScene(t)
	s.offeredAgain()
	s.Answered(s.now, s.triesLate(answerGap, s.call(Copyable, "GET")))
	s.Recreate(s.now, &Order{}) // this candidate makes way
	s.NotBuilt(s.now, s.cand.id, "factory_error", Draw{})
	s.after(time.Minute)
	q := s.call(Copyable, "GET")
	s.refused(s.does(q, Send))
	s.does(q, Wait)
	s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
	fresh := s.Candidate()
	s.Answered(s.now, s.triesLate(longAgo, q))
	assert.Equal(t, fresh, s.Current())
}

// So a failure in service since that answer is a control of what can be asked only once, though
// it came before the trial of the next candidate.
func TestAFailureSinceTheAnswerOfAnotherCandidateIsAControl(t *testing.T) {
	s := newScene(t)
	s.askedOnce(1)
	s.served()
	s.Recreate(s.now, &Order{}) // this candidate makes way
	s.NotBuilt(s.now, s.cand.id, "factory_error", Draw{Interval: time.Second})
	s.Failed(s.now, s.does(s.call(Once, "POST"), Send), broken)
	s.after(time.Minute)
	q := s.call(Once, "POST")
	s.does(q, Wait)
	s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
	fresh := s.Candidate()
	s.Answered(s.now, s.does(q, Try))
	assert.Equal(t, fresh, s.Current())
}

// Where the candidate is silent about an older request, too, the upstream may have come back since
// the request began whose copy is answered. Its caller has the answer, and the request is sent in
// service once more, as the control.
func TestWhereAnOlderCopyIsSilentTheControlBeginsAfterTheAnswer(t *testing.T) {
	s := newScene(t)
	_, first := s.dark(1)
	fresh := s.Candidate()
	copied := func() *Attempt {
		control := s.asks()
		s.after(headStart)
		copies := s.Todo().Copies
		require.Len(t, copies, 1)
		require.Equal(t, control.Call, copies[0].Call)
		return copies[0]
	}
	answered := copied()
	beside := answered.Call.main
	require.True(t, s.Answered(s.now, answered))
	s.after(answerGap)
	control := answered.Call.main
	require.Equal(t, []*Attempt{control}, s.Todo().Copies)
	require.True(t, beside.over)
	require.False(t, first.over)
	s.after(headStart - 1)
	require.NotEqual(t, fresh, s.Current())
	s.after(1)
	assert.Equal(t, fresh, s.Current())
}

// Silent means for a second, also about what is no copy: an older trial that was sent less than a
// second ago may yet be answered, and is no reason to doubt.
func TestAnOlderTrialIsSilentOnceItHasWaitedForASecond(t *testing.T) {
	for waits, proves := range map[time.Duration]bool{headStart - 1: true, headStart: false} {
		s := newScene(t)
		s.offered("a.test")
		fresh := s.Candidate()
		s.Connected(s.now, s.tries(s.call(Copyable, "GET"))) // it holds back nobody
		trial := s.triesLate(answerGap, s.call(Copyable, "GET"))
		s.after(waits - answerGap)
		s.Answered(s.now, trial)
		assert.Equal(t, proves, s.Current() == fresh, waits)
	}
}

// A candidate that was silent for as long as the control took to fail may owe its answer to the
// upstream.
func TestACopyThatIsAnsweredLongAfterItsControlFailedProvesNothing(t *testing.T) {
	s := newScene(t)
	control, copied := s.copiedWithControl()
	s.after(longAgo)
	s.Failed(s.now, control, lost)
	require.True(t, s.Answered(s.now, copied))
	assert.NotEqual(t, copied.On, s.Current())
}

// Where somebody was served meanwhile, the next answer is believed, if nobody was served after that.
func TestALaterAnswerIsBelievedThoughTheFirstIsNot(t *testing.T) {
	s := newScene(t)
	s.offered("a.test")
	fresh := s.Candidate()
	s.Answered(s.now, s.triesLate(longAgo, s.call(Copyable, "GET")))
	s.Served(s.Clock())
	s.after(time.Second)
	s.Answered(s.now, s.does(s.call(Sealed, "HEAD"), Try))
	s.after(doubtFor - 1)
	require.NotEqual(t, fresh, s.Current())
	s.after(1)
	assert.Equal(t, fresh, s.Current())
}

// An answer that is no proof by itself waits for its control. If nobody asks for four minutes, and
// nobody is served otherwise, the candidate is promoted, before its time is over.
func TestAnAnswerWhoseControlNeverComesIsBelieved(t *testing.T) {
	for name, tt := range map[string]struct {
		meanwhile func(*scene)
		believed  bool
	}{
		"nobody asks":                        {func(*scene) {}, true},
		"another authority is answered":      {func(s *scene) { s.Answered(s.now, s.does(s.callTo("c.test", Copyable, "GET"), Send)) }, false},
		"the healthy path has an answer":     {func(s *scene) { s.Served(s.Clock()) }, false},
		"the answer is to what began before": {func(s *scene) { s.Served(s.Clock() - 1) }, true},
		"its authority is answered":          {func(s *scene) { s.Answered(s.now, s.asks()) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.offered("a.test")
			fresh := s.Candidate()
			s.Answered(s.now, s.triesLate(longAgo, s.call(Copyable, "GET")))
			s.after(time.Minute)
			tt.meanwhile(s)
			s.after(doubtFor - time.Minute - 1)
			require.NotEqual(t, fresh, s.Current())
			s.after(1)
			assert.Equal(t, tt.believed, s.Current() == fresh)
		})
	}
}

// A trial that its transport does not have yet is not silent.
func TestWhatIsNotHandedIsNoSilentTrial(t *testing.T) {
	s := newScene(t)
	s.offered("a.test")
	q := s.call(Repeatable, "PUT")
	s.refused(s.does(q, Send))
	require.Equal(t, Try, s.Next(s.now, q).Do) // its GetBody takes its time
	s.ticks(1100 * time.Millisecond)
	p := s.call(Repeatable, "PUT")
	control := s.does(p, Send)
	s.ticks(200 * time.Millisecond)
	s.refused(control)
	s.Answered(s.now, s.does(p, Try))
	assert.NotZero(t, s.todo.Promote)
}
