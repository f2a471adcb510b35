package core

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// moved: a request waited on a transport that was replaced by plan, until it was sent again
// in service. It waits on behind, too.
func (s *scene) moved() (behind, again *Attempt) {
	s.t.Helper()
	behind = s.asks()
	s.Recreate(s.now, &Order{})
	s.Built(s.now, s.cand.id, true, Draw{})
	s.silent([]*Attempt{behind})
	require.Equal(s.t, []*Call{behind.Call}, s.Todo().Part)
	return behind, s.does(behind.Call, Send)
}

// What no transport has yet is not silent, however long a callback of the user's keeps it.
func TestWhatNoTransportHasYetIsNotSilent(t *testing.T) {
	s := newScene(t)
	step := s.Next(s.now, s.call(Copyable, "GET"))
	s.Silent(s.now, step.Attempt)
	assert.Empty(t, s.suspects)
	s.Handed(s.now, step.Attempt)
	s.Silent(s.now, step.Attempt)
	assert.Len(t, s.suspects, 1)
}

// A deadline that ends a request and its copy speaks against the candidate, too, if the
// copy had at least two thirds of the request's time, or the time of its trials is over. No other
// end of the control does.
func TestADeadlineSpeaksAgainstACandidateThatHadTwoThirdsOfTheTime(t *testing.T) {
	stall := Outcome{Verdict: Stall, Trigger: "stall", Left: true}
	for name, tt := range map[string]struct {
		copied  time.Duration // after 15 s, of a candidate whose trials have 10 s
		o       Outcome
		refused bool
	}{
		"two thirds":             {30 * time.Second, stall, true},
		"less":                   {10*time.Second - 1, stall, false},
		"less, and its time":     {10 * time.Second, stall, true},
		"the caller just leaves": {30 * time.Second, Outcome{Left: true}, false},
		"an error, and it left":  {30 * time.Second, Outcome{Verdict: Failure, Trigger: "connection_reset", Left: true}, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			waiting, copied := s.dark(1)
			s.now = s.now.Add(tt.copied)
			s.Failed(s.now, waiting[0], tt.o)
			assert.Equal(t, tt.refused, s.Candidate() == 0)
			assert.Equal(t, []*Attempt{copied}, s.Todo().Recall)
		})
	}
	t.Run("a planned candidate has another control", func(t *testing.T) {
		s := newScene(t)
		control, _ := s.tried()
		s.now = s.now.Add(5 * time.Second)
		s.Failed(s.now, control, stall)
		assert.False(t, s.inVain())
	})
}

// A copy whose caller has left ends with the request. Where that has ended before, it ends
// by itself.
func TestACopyWhoseCallerHasLeftEnds(t *testing.T) {
	for name, copyFirst := range map[string]bool{"the copy is told first": true, "the control has failed": false} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			waiting, copied := s.dark(1)
			if copyFirst {
				s.Failed(s.now, copied, Outcome{Left: true})
				require.True(t, copied.Call.Flying())
			}
			s.Failed(s.now, waiting[0], lost)
			if !copyFirst {
				s.Failed(s.now, copied, Outcome{Left: true})
			}
			assert.False(t, copied.Call.Flying())
			assert.Zero(t, s.cand.stand(copied.Call.Authority).trials.n)
		})
	}
}

// A copy that does not return speaks against the candidate, and leaves its caller where it
// is.
func TestACopyThatDoesNotReturnIsItsCandidatesFailure(t *testing.T) {
	s := newScene(t)
	waiting, copied := s.dark(1)
	s.Failed(s.now, copied, Outcome{Verdict: Failure, Trigger: "_OTHER", Lost: true, Left: true})
	assert.Zero(t, s.Candidate())
	assert.Same(t, waiting[0], waiting[0].Call.main)
	assert.Nil(t, copied.Call.copy)
}

// A request whose end says nothing ends with its copy: it has no control any more.
func TestACopyIsCalledBackWhenItsControlEndsNeutrally(t *testing.T) {
	s := newScene(t)
	waiting, copied := s.dark(1)
	s.Failed(s.now, waiting[0], Outcome{})
	assert.Equal(t, []*Attempt{copied}, s.Todo().Recall)
	assert.False(t, copied.Call.Flying())
}

// A copy is called back when its control is answered, also while the authority is still
// silent to others.
func TestACopyIsCalledBackWhenItsControlIsAnsweredWhileOthersAreSilent(t *testing.T) {
	s := newScene(t)
	_, copied := s.dark(4)
	s.now = s.now.Add(10 * time.Millisecond)
	s.Answered(s.now, copied.Call.main)
	require.Equal(t, Tripped, s.suspect(copied.Call.Authority).state)
	assert.Equal(t, []*Attempt{copied}, s.Todo().Recall)
}

// What a request has left behind ends with its caller, and not with a copy.
func TestWhatWasLeftBehindEndsWithItsCaller(t *testing.T) {
	t.Run("the caller leaves", func(t *testing.T) {
		s := newScene(t)
		behind, again := s.moved()
		s.Failed(s.now, again, Outcome{Left: true})
		assert.Equal(t, []*Attempt{behind}, s.Todo().Recall)
	})
	t.Run("a copy ends, and says nothing", func(t *testing.T) {
		s := newScene(t)
		behind, again := s.moved()
		s.silent([]*Attempt{again})
		s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
		copies := s.Todo().Copies
		require.Len(t, copies, 1)
		s.Failed(s.now, copies[0], Outcome{})
		assert.Empty(t, s.Todo().Recall)
		assert.Same(t, behind, again.Call.behind)
	})
}

// An answer to what was left behind ends all else of its request: what is under way in
// service, whatever others wait for there, and its own wait.
func TestAnAnswerBehindEndsTheRest(t *testing.T) {
	for name, judged := range map[string]bool{"nothing was answered yet": false, "another's copy waits for its verdict": true} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			behind, again := s.moved()
			other := s.asks()
			s.silent([]*Attempt{again, other})
			s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
			copies := s.Todo().Copies
			require.Len(t, copies, 1)
			require.Same(t, other.Call, copies[0].Call)
			if judged {
				s.now = s.now.Add(10 * time.Millisecond)
				s.Answered(s.now, copies[0])
			}
			assert.True(t, s.Answered(s.now, behind))
			assert.Equal(t, []*Attempt{again}, s.Todo().Recall)
		})
	}
	t.Run("it waits", func(t *testing.T) {
		s := newScene(t)
		behind, again := s.moved()
		s.tripped("a.test", Wait)
		s.refused(again)
		s.does(again.Call, Wait)
		s.Answered(s.now, behind)
		s.Close(s.now)
		assert.NotContains(t, s.Todo().Wake, again.Call)
	})
}

// A silence that is told late, of what is over or of a closed client, is none.
func TestALateSilenceSaysNothing(t *testing.T) {
	s := newScene(t)
	a, b := s.asks(), s.asks()
	s.Answered(s.now, a)
	s.Silent(s.now, a)
	assert.Empty(t, s.Suspects())
	s.Close(s.now)
	s.Silent(s.now, b)
	assert.Empty(t, s.Suspects())
}

// A connection shows that the candidate has what the transport in service gave nobody. Where
// that gives connections, a trial holds back others although it has one.
func TestAConnectionFreesOthersOnlyWhereNobodyHadOne(t *testing.T) {
	refused := Outcome{Verdict: Failure, Trigger: "connection_refused", Unsent: true, Again: true}
	for name, tt := range map[string]struct {
		o    Outcome
		want Do
	}{"nobody had one": {refused, Try}, "they broke": {lost, Wait}} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			first, second := s.call(Copyable, "GET"), s.call(Copyable, "GET")
			fails := func(q *Call) { s.Failed(s.now, s.does(q, Send), tt.o) }
			for range 3 {
				fails(first)
			}
			s.does(first, Wait)
			s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
			fails(first)
			s.Connected(s.now, s.does(first, Try))
			fails(second)
			s.does(second, tt.want)
		})
	}
}

// A copy goes as soon as the trial that held it back has a connection.
func TestACopyGoesWhenTheTrialBeforeItHasAConnection(t *testing.T) {
	s := newScene(t)
	waiting := s.asks()
	s.tripped("a.test", Wait)
	s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
	q := s.call(Copyable, "GET")
	s.refused(s.does(q, Send))
	trial := s.does(q, Try)
	s.Silent(s.now, waiting)
	require.Empty(t, s.Todo().Copies)
	s.Connected(s.now, trial)
	copies := s.Todo().Copies
	require.Len(t, copies, 1)
	assert.Same(t, waiting.Call, copies[0].Call)
}

// What stayed on the candidate when its authority was well again is no trial any more, and
// its connection frees nobody.
func TestAConnectionOfWhatIsNoTrialFreesNobody(t *testing.T) {
	s := newScene(t)
	s.tripped("b.test", Wait) // it wants the candidate all along
	post, get, other := s.call(Once, "POST"), s.call(Copyable, "GET"), s.call(Copyable, "GET")
	for range 3 {
		s.refused(s.does(post, Send))
	}
	s.does(post, Wait)
	s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
	s.refused(s.does(post, Send))
	stays := s.does(post, Try)
	s.Answered(s.now, s.asks())
	require.Nil(t, s.suspect(post.Authority))
	for range 3 {
		s.refused(s.does(get, Send))
	}
	s.does(get, Try)
	s.Connected(s.now, stays)
	s.refused(s.does(other, Send))
	s.does(other, Wait)
}

// When the transport in service ends, a candidate that is ready takes its place, unless it
// has ended, too. One that is still being built is waited for.
func TestACandidateTakesThePlaceOfWhatHasEnded(t *testing.T) {
	for name, tt := range map[string]struct{ built, fit, promoted, over bool }{
		"it is ready":             {built: true, fit: true, promoted: true, over: true},
		"it has ended, too":       {built: true, over: true},
		"it is still being built": {fit: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.tripped("a.test", Wait)
			fresh := s.Candidate()
			if tt.built {
				s.Built(s.now, fresh, false, Draw{Interval: time.Second})
			}
			s.Ended(s.now, 1, tt.fit)
			assert.Equal(t, tt.promoted, s.Current() == fresh)
			assert.Equal(t, tt.over, s.Candidate() != fresh)
		})
	}
}

// An order that waits for its turn has it as soon as the candidate before it is over, however
// that ends.
func TestAnOrderHasItsTurnWhenTheCandidateBeforeItIsOver(t *testing.T) {
	for name, ends := range map[string]func(s *scene){
		"it is in service for what has ended": func(s *scene) { s.Ended(s.now, 1, true) },
		"it has ended itself":                 func(s *scene) { s.Spoiled(s.now, s.Candidate()) },
		"it is in service for what it has answered, and that has not": func(s *scene) {
			s.silent([]*Attempt{s.does(s.call(Once, "POST"), Send)})
			s.Answered(s.now, s.does(s.call(Once, "POST"), Try))
			control := s.does(s.call(Once, "POST"), Send)
			s.Todo()
			s.Failed(s.now, control, Outcome{Verdict: Failure, Trigger: "connection_reset"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			first, second := &Order{}, &Order{}
			s.Recreate(s.now, first)
			s.Built(s.now, s.cand.id, false, Draw{})
			s.Recreate(s.now, second)
			require.Zero(t, second.Candidate())
			s.Todo()
			ends(s)
			assert.NotNil(t, s.Todo().Build)
			assert.Equal(t, s.Candidate(), second.Candidate())
		})
	}
}

// The successor is prepared if there is something to succeed, and nobody has begun it.
func TestPrepareBuildsOnlyASuccessor(t *testing.T) {
	s := newScene(t)
	s.Prepare(s.now)
	assert.Nil(t, s.Todo().Build, "nothing has ended")
	s.Ended(s.now, 1, true)
	s.Prepare(s.now)
	build := s.Todo().Build
	require.NotNil(t, build)
	assert.Equal(t, TransportEnded, build.Trigger)
	s.Prepare(s.now)
	assert.Nil(t, s.Todo().Build, "it is under way")

	s = newScene(t)
	s.Ended(s.now, 1, true)
	s.Close(s.now)
	s.Prepare(s.now)
	assert.Nil(t, s.Todo().Build)
}

// Close ends the outages and all waits, and what comes after it tells nobody anything.
func TestNothingIsToldAfterClose(t *testing.T) {
	s := newScene(t)
	s.tripped("a.test", Wait)
	s.NotBuilt(s.now, s.cand.id, "factory_error", Draw{Interval: time.Hour})
	s.rules.Threshold = 1
	q := s.call(Repeatable, "PUT")
	q.Ready = time.Minute
	s.Failed(s.now, s.does(q, Send), lost)
	s.does(q, Wait) // until the next round
	s.Todo()
	s.Close(s.now)
	todo := s.Todo()
	assert.Equal(t, []*Call{q}, todo.Wake)
	require.Len(t, todo.Reports, 1)
	assert.Equal(t, WasForgotten, todo.Reports[0].What)
	assert.Equal(t, ByClose, todo.Reports[0].Kind)
	assert.Empty(t, s.Suspects())
	s.Ended(s.now, 1, true)
	assert.Equal(t, Todo{}, s.Todo())
	assert.False(t, s.View(s.now, 0).Ended)
}
