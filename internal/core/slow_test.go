package core

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// copiedWithControl: an authority that is silent has a candidate, and a request that began
// after it was ready has a copy there.
func (s *scene) copiedWithControl() (control, copied *Attempt) {
	s.t.Helper()
	waiting, _ := s.dark(1)
	s.Failed(s.now, waiting[0], Outcome{Left: true}) // and its copy ends with it
	control = s.does(s.call(Copyable, "GET"), Send)
	for copied == nil && s.now.Before(simStart.Add(time.Hour)) {
		s.now = s.now.Add(time.Second)
		s.Tick(s.now)
		for _, a := range s.Todo().Copies {
			if a.Call == control.Call {
				copied = a
			}
		}
	}
	require.NotNil(s.t, copied)
	return control, copied
}

// A control that fails after the candidate was ready is as good as one that is silent:
// whichever of the two comes first, the copy's answer proves the candidate.
func TestACopyProvesWhereItsControlHasFailed(t *testing.T) {
	for name, copyFirst := range map[string]bool{"the copy is answered first": true, "the control fails first": false} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			control, copied := s.copiedWithControl()
			fresh := s.Candidate()
			fails := func() { s.Failed(s.now, control, lost) }
			if !copyFirst {
				fails()
			}
			assert.True(t, s.Answered(s.now, copied))
			if copyFirst {
				assert.EqualValues(t, 1, s.Current(), "the control is silent, and no verdict yet")
				fails()
			}
			assert.Equal(t, fresh, s.Current())
		})
	}
}

// A control may be the first that begins once the candidate is ready.
func TestTheFirstThatBeginsBesideTheCandidateIsAControl(t *testing.T) {
	for name, copyFirst := range map[string]bool{"the copy is answered first": true, "the control fails first": false} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			waiting := s.asks()
			s.silent([]*Attempt{waiting})
			s.Failed(s.now, waiting, Outcome{Left: true}) // nobody waits who could be copied
			s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
			fresh := s.Candidate()
			control := s.asks()
			s.after(headStart)
			copies := s.Todo().Copies
			require.Len(t, copies, 1)
			if !copyFirst {
				s.Failed(s.now, control, lost)
			}
			s.Answered(s.now, copies[0])
			if copyFirst {
				s.Failed(s.now, control, lost)
			}
			assert.Equal(t, fresh, s.Current())
		})
	}
}

// controlled: a copy was answered, and its control has begun since.
func (s *scene) controlled() (control, copied *Attempt) {
	s.t.Helper()
	_, copied = s.dark(1)
	s.Answered(s.now, copied)
	s.after(answerGap)
	require.Equal(s.t, []*Attempt{copied.Call.main}, s.Todo().Copies)
	return copied.Call.main, copied
}

// A control that begins after the copy's answer proves by failing, too, and at once. If it is
// answered, the upstream was down, and not slow: nobody's patience grows.
func TestAControlThatBeginsAfterTheAnswerDecides(t *testing.T) {
	t.Run("it fails", func(t *testing.T) {
		s := newScene(t)
		control, copied := s.controlled()
		s.Failed(s.now, control, lost)
		assert.Equal(t, copied.On, s.Current())
	})
	t.Run("it is answered", func(t *testing.T) {
		s := newScene(t)
		control, copied := s.controlled()
		s.Answered(s.now, control)
		assert.EqualValues(t, 1, s.Current())
		assert.Zero(t, s.Candidate())
		assert.Equal(t, s.rules.Patience, s.Patience(s.now, s.now, copied.Call.Authority))
	})
	t.Run("it is ended from outside", func(t *testing.T) {
		s := newScene(t)
		control, _ := s.controlled()
		s.Failed(s.now, control, Outcome{Verdict: Stall, Trigger: "stall", Left: true})
		assert.EqualValues(t, 1, s.Current())
		s.after(headStart)
		assert.EqualValues(t, 1, s.Current())
	})
}

// Until its transport has it, a control is not silent, and its time begins with that. A callback of the
// user's that holds it for as long as that time proves nothing, and holds back nobody.
func TestAControlThatBeginsAfterTheAnswerHasItsTimeFromItsTransportOn(t *testing.T) {
	for name, held := range map[string]time.Duration{"in time": headStart - 1, "too late": headStart} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			_, copied := s.dark(1)
			s.Answered(s.now, copied)
			s.now = s.now.Add(answerGap)
			s.Tick(s.now)
			control := copied.Call.main
			require.True(t, control.held)
			s.now = s.now.Add(held)
			s.Tick(s.now)
			s.Handed(s.now, control)
			s.now = s.now.Add(headStart - 1)
			s.Tick(s.now)
			assert.EqualValues(t, 1, s.Current())
			s.now = s.now.Add(1)
			s.Tick(s.now)
			if held < headStart {
				assert.Equal(t, copied.On, s.Current())
				return
			}
			assert.EqualValues(t, 1, s.Current())
			assert.True(t, control.over)
			s.asks()
			s.after(headStart)
			assert.Len(t, s.Todo().Copies, 1, "the next copy goes there")
		})
	}
}

// Where the control's error says nothing about the transport, or the control began before
// the candidate was ready, its end proves nothing: another control begins.
func TestACopyDoesNotProveWhereItsControlSaysNothing(t *testing.T) {
	t.Run("neutral", func(t *testing.T) {
		s := newScene(t)
		control, copied := s.copiedWithControl()
		s.Answered(s.now, copied)
		s.Failed(s.now, control, Outcome{Verdict: Neutral})
		assert.EqualValues(t, 1, s.Current())
		assert.Equal(t, []*Attempt{copied.Call.main}, s.Todo().Copies)
	})
	t.Run("it began before, and failed first", func(t *testing.T) {
		s := newScene(t)
		waiting, copied := s.dark(1)
		s.passedBy()
		s.Failed(s.now, waiting[0], lost)
		s.now = s.now.Add(100 * time.Millisecond)
		s.Answered(s.now, copied)
		assert.EqualValues(t, 1, s.Current())
	})
	t.Run("it began before", func(t *testing.T) {
		s := newScene(t)
		waiting, copied := s.dark(1)
		s.passedBy()
		s.now = s.now.Add(100 * time.Millisecond)
		s.Answered(s.now, copied)
		s.Failed(s.now, waiting[0], lost)
		assert.EqualValues(t, 1, s.Current())
		assert.Equal(t, []*Attempt{copied.Call.main}, s.Todo().Copies)
	})
}

// tried: a request that began in service has tried a planned candidate, by a copy.
func (s *scene) tried() (control, copied *Attempt) {
	s.t.Helper()
	s.Recreate(s.now, &Order{})
	s.Built(s.now, s.cand.id, false, Draw{})
	control = s.does(s.call(Copyable, "GET"), Send)
	copies := s.Todo().Copies
	require.Len(s.t, copies, 1)
	return control, copies[0]
}

// asks: another request is sent in service.
func (s *scene) asks() *Attempt { return s.does(s.call(Copyable, "GET"), Send) }

// inVain reports whether a try was told to be, and forgets what else there was to do.
func (s *scene) inVain() bool {
	return slices.ContainsFunc(s.Todo().Reports, func(r Report) bool { return r.What == HasRefused })
}

var lost = Outcome{Verdict: Failure, Trigger: "connection_reset", Again: true}

// Where the candidate and the transport in service have both failed a request, that says
// nothing of the candidate, and the next request tries it.
func TestATryWhoseControlFailsTooSaysNothing(t *testing.T) {
	s := newScene(t)
	control, copied := s.tried()
	s.Failed(s.now, copied, lost)
	s.now = s.now.Add(time.Second)
	later := s.asks()
	s.Answered(s.now, later)
	assert.False(t, s.inVain(), "it is another request that was answered")
	s.Failed(s.now, control, lost)
	assert.False(t, s.inVain())
	s.Answered(s.now, s.asks()) // the authority is well again
	s.asks()
	assert.Len(t, s.Todo().Copies, 1)
}

// Which of the two fails first is chance.
func TestATryWhoseControlFailedBeforeSaysNothing(t *testing.T) {
	s := newScene(t)
	control, copied := s.tried()
	s.Failed(s.now, control, lost)
	s.Failed(s.now, copied, lost)
	assert.False(t, s.inVain())
	s.Answered(s.now, s.asks()) // the authority is well again
	s.asks()
	assert.Len(t, s.Todo().Copies, 1)
}

// A try goes on when its control has failed, and one authority makes one try at a time.
func TestATryOutlastsItsControl(t *testing.T) {
	s := newScene(t)
	control, copied := s.tried()
	s.Failed(s.now, control, lost)
	s.Answered(s.now, s.asks())
	s.asks()
	assert.Empty(t, s.Todo().Copies)
	s.Answered(s.now, copied)
	assert.Equal(t, copied.On, s.Current())
}

// What becomes of other requests leaves a try, and what its control says, alone.
func TestAnotherRequestsFailureEndsNoTry(t *testing.T) {
	s := newScene(t)
	control, copied := s.tried()
	s.Failed(s.now, copied, lost)
	s.Failed(s.now, s.asks(), lost)
	s.Answered(s.now, control)
	assert.True(t, s.inVain())
}

// A control that is answered is no proof, however silent the authority still is to others.
func TestAnAnsweredControlEndsTheVerdictWhileOthersAreStillSilent(t *testing.T) {
	s := newScene(t)
	_, copied := s.dark(4)
	s.passedBy()
	s.Answered(s.now, copied)
	s.now = s.now.Add(10 * time.Millisecond)
	s.Answered(s.now, copied.Call.main)
	require.Equal(t, Tripped, s.suspect(copied.Call.Authority).state)
	s.now = s.now.Add(500 * time.Millisecond)
	s.Tick(s.now)
	assert.EqualValues(t, 1, s.Current())
}

// waitsForCopies: a PUT, which was the control of what the copies of its authority find out,
// has stalled and waits for that.
func (s *scene) waitsForCopies() *Call {
	s.t.Helper()
	q := s.call(Repeatable, "PUT")
	s.Failed(s.now, s.does(q, Send), Outcome{Verdict: Stall, Trigger: "stall", Again: true})
	s.does(q, Wait)
	s.Todo()
	return q
}

// Who waits for what a copy finds out goes on when there will be no verdict on it.
func TestWhoWaitsForAVerdictIsWokenWhenThereIsNone(t *testing.T) {
	t.Run("the control says nothing", func(t *testing.T) {
		s := newScene(t)
		_, copied := s.dark(1)
		q := s.waitsForCopies()
		s.Answered(s.now, copied)
		s.after(answerGap)
		assert.Empty(t, s.Todo().Wake)
		s.Failed(s.now, copied.Call.main, Outcome{})
		assert.Equal(t, []*Call{q}, s.Todo().Wake)
	})
	t.Run("the control is answered, and others are silent", func(t *testing.T) {
		s := newScene(t)
		_, copied := s.dark(4)
		s.passedBy()
		q := s.waitsForCopies()
		s.Answered(s.now, copied)
		assert.Empty(t, s.Todo().Wake)
		s.Answered(s.now, copied.Call.main)
		require.Equal(t, Tripped, s.suspect(q.Authority).state)
		assert.Equal(t, []*Call{q}, s.Todo().Wake)
	})
}

// One verdict at a time: what another copy's answer finds meanwhile does not put it off.
func TestASecondAnsweredCopyDoesNotPutOffTheVerdict(t *testing.T) {
	s := newScene(t)
	_, first := s.dark(2)
	s.now = s.now.Add(time.Second)
	s.Tick(s.now)
	second := s.Todo().Copies
	require.Len(t, second, 1)
	s.Answered(s.now, first)
	s.after(answerGap)
	s.Todo()
	verdict := s.Deadline()
	s.now = s.now.Add(answerGap / 2)
	control := second[0].Call.main
	s.Answered(s.now, second[0])
	assert.Equal(t, []*Attempt{control}, s.Todo().Recall)
	s.now = verdict
	s.Tick(s.now)
	assert.Equal(t, first.On, s.Current())
}

// What comes of other requests in service neither ends the wait for a verdict, nor is one,
// unless it ends the outage.
func TestAnotherRequestsEndIsNoVerdict(t *testing.T) {
	for name, end := range map[string]func(*scene, *Attempt){
		"an early one is answered": func(s *scene, early *Attempt) { s.Answered(s.now, early) },
		"an early one fails":       func(s *scene, early *Attempt) { s.Failed(s.now, early, lost) },
		"a later one fails":        func(s *scene, _ *Attempt) { s.Failed(s.now, s.does(s.call(Copyable, "GET"), Send), lost) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			early := s.asks()
			_, copied := s.dark(1)
			s.Answered(s.now, copied)
			s.after(answerGap)
			s.now = s.now.Add(headStart / 2)
			end(s, early)
			assert.EqualValues(t, 1, s.Current())
			s.now = s.now.Add(headStart / 2)
			s.Tick(s.now)
			assert.Equal(t, copied.On, s.Current())
		})
	}
}

// A control that is answered after its copy shows that the candidate was no faster, and that
// the authority needs more patience, though its answer did not take long.
func TestAnAnsweredControlTeachesPatience(t *testing.T) {
	s := newScene(t)
	waiting, _ := s.dark(1)
	s.Failed(s.now, waiting[0], Outcome{Left: true})
	control := s.does(s.call(Copyable, "GET"), Send)
	s.now = s.now.Add(time.Second)
	s.Tick(s.now)
	copies := s.Todo().Copies
	require.Len(t, copies, 1)
	s.Answered(s.now, copies[0])
	s.Answered(s.now, control)
	assert.Equal(t, 10*time.Second, s.Patience(s.now, s.now, control.Call.Authority))
}

// A trial is no control: how long it has been silent says nothing of how long the transport
// in service may take.
func TestASilentTrialTeachesNoPatience(t *testing.T) {
	s := newScene(t)
	s.tripped("a.test", Wait)
	s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
	q := s.call(Repeatable, "PUT")
	s.refused(s.does(q, Send))
	s.does(q, Try)
	s.now = s.now.Add(4 * time.Second)
	s.Tick(s.now)
	s.Answered(s.now, s.asks())
	require.Nil(t, s.suspect(q.Authority))
	assert.Equal(t, s.rules.Patience, s.Patience(s.now, s.now, q.Authority))
}

// A candidate that has answered a copy stays until there is a verdict on that, though its five
// minutes are over meanwhile.
func TestACandidateThatAnsweredACopyIsNotUntried(t *testing.T) {
	s := newScene(t)
	_, copied := s.dark(1)
	fresh := s.Candidate()
	s.ticks(153 * time.Second)
	require.True(t, s.Answered(s.now, copied))
	s.ticks(2 * 153 * time.Second)
	require.Equal(t, fresh, s.Candidate())
	s.ticks(answerGap) // the control began that much after the answer
	assert.Equal(t, fresh, s.Current())
}
