package core

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A try that has ended is not called back a second after it began, nor was it in vain.
func TestATryThatHasEndedIsNotCalledBack(t *testing.T) {
	s := newScene(t)
	s.halfway()
	s.Failed(s.now, s.does(s.call(Repeatable, "PUT"), Try), lost)
	s.now = s.now.Add(time.Second)
	s.Tick(s.now)
	todo := s.Todo()
	assert.Empty(t, todo.Recall)
	assert.Empty(t, todo.Reports)
}

// What is never sent again tries no planned candidate, since it could not go on in service.
func TestWhatIsSealedTriesNoPlannedCandidate(t *testing.T) {
	s := newScene(t)
	s.halfway()
	s.does(s.call(Sealed, "TRIES"), Send)
	s.does(s.call(Once, "TRIES"), Try)
}

// Where the transport in service gives nobody a connection, what is never sent again goes to
// the candidate first: as its own control it would be lost.
func TestWhatIsSealedIsNotItsOwnControl(t *testing.T) {
	for kind, want := range map[Kind]Do{Sealed: Try, Once: Send} {
		s := newScene(t)
		q := s.call(Once, "POST")
		for range s.rules.Threshold {
			s.refused(s.does(q, Send))
		}
		s.does(q, Wait)
		s.Built(s.now, s.cand.id, false, Draw{})
		s.does(s.call(kind, "POST"), want)
	}
}

// A try has a second for its answer. Then it is called back, unless it can be asked only once
// and may have been processed.
func TestATryIsCalledBackAfterASecondWhereThatIsSafe(t *testing.T) {
	for _, tt := range []struct {
		kind            Kind
		connected, back bool
	}{{Repeatable, false, true}, {Repeatable, true, true}, {Once, false, true}, {Once, true, false}} {
		s := newScene(t)
		s.halfway()
		try := s.does(s.call(tt.kind, "TRIES"), Try)
		s.Asks(try, false)
		if tt.connected {
			s.Connected(s.now, try)
		}
		s.now = s.now.Add(time.Second - 1)
		s.Tick(s.now)
		assert.Empty(t, s.Todo().Recall, "%+v", tt)
		s.now = s.now.Add(1)
		s.Tick(s.now)
		assert.Equal(t, tt.back, len(s.Todo().Recall) == 1, "%+v", tt)
	}
}

// A trial of the same authority, which has tripped meanwhile, leaves a try's second alone.
func TestATryIsCalledBackWhateverElseHasAConnection(t *testing.T) {
	s := newScene(t)
	s.halfway()
	try := s.does(s.call(Repeatable, "PUT"), Try)
	post := s.call(Once, "POST")
	for range 3 {
		s.refused(s.does(post, Send))
	}
	trial := s.does(post, Try)
	s.Asks(trial, false)
	s.Connected(s.now, trial)
	s.Todo()
	s.now = s.now.Add(time.Second)
	s.Tick(s.now)
	assert.Equal(t, []*Attempt{try}, s.Todo().Recall)
}

// Whose try ended without a word goes on in service, and does not try again itself.
func TestWhoseTryHadANeutralEndGoesOnInService(t *testing.T) {
	s := newScene(t)
	s.halfway()
	q := s.call(Repeatable, "PUT")
	s.Failed(s.now, s.does(q, Try), Outcome{Unsent: true, Again: true})
	s.does(q, Send)
}

// A candidate that was tried in vain is not tried again, though the caller of that try leaves.
func TestATryInVainIsNotUndoneByItsCaller(t *testing.T) {
	s := newScene(t)
	s.halfway()
	try := s.does(s.call(Once, "POST"), Try)
	s.now = s.now.Add(time.Millisecond)
	s.Answered(s.now, s.does(s.call(Once, "POST"), Send)) // its control
	require.False(t, s.inVain())
	s.Failed(s.now, try, Outcome{Verdict: Stall, Trigger: "stall", Left: true})
	require.True(t, s.inVain())
	s.does(s.call(Once, "POST"), Send)
}

// A try is the next one's only if its own caller leaves.
func TestATryIsUndoneOnlyByItsOwnCaller(t *testing.T) {
	s := newScene(t)
	s.tried()
	s.Failed(s.now, s.asks(), Outcome{Left: true})
	s.asks()
	assert.Empty(t, s.Todo().Copies)
}

// A copy that was told first that its caller has left tries nothing, also where its control was
// answered in time after all: the next request makes the try.
func TestATryWhoseCallerLeftIsMadeAgainThoughItsControlIsAnswered(t *testing.T) {
	s := newScene(t)
	control, copied := s.tried()
	s.Failed(s.now, copied, Outcome{Left: true})
	s.Answered(s.now, control)
	assert.False(t, copied.Call.Flying())
	s.Todo()
	s.asks()
	assert.Len(t, s.Todo().Copies, 1)
}

// A try in vain is not undone by what becomes of its request in service.
func TestATryInVainIsNotUndoneInService(t *testing.T) {
	for _, o := range []Outcome{{Left: true}, lost} {
		s := newScene(t)
		s.halfway()
		q := s.call(Repeatable, "PUT")
		s.does(q, Try)
		s.now = s.now.Add(time.Second)
		s.Tick(s.now) // no connection: in vain
		s.Failed(s.now, s.does(q, Send), o)
		s.Answered(s.now, s.asks()) // the authority is well
		s.does(s.call(Repeatable, "PUT"), Send)
	}
}

// triedAndTripped: the authority of a try under way has tripped, and makes a trial of the same candidate.
func (s *scene) triedAndTripped() (control, copied, trial *Attempt) {
	s.t.Helper()
	control, copied = s.tried()
	for range 3 {
		s.refused(s.asks())
	}
	return control, copied, s.tries(s.call(Copyable, "GET"))
}

// A verdict calls back what was not sent on the candidate, also where a try in vain gave it.
func TestATryInVainCallsBackTheTrialsOfItsAuthority(t *testing.T) {
	s := newScene(t)
	control, copied, trial := s.triedAndTripped()
	s.Todo()
	s.Failed(s.now, copied, lost)
	s.Answered(s.now, control)
	require.True(t, s.cand.refusedBy(control.Call.Authority))
	require.NotEmpty(t, s.suspects)
	assert.Contains(t, s.Todo().Recall, trial)
}

// A try whose end says nothing is none: what the transport in service answered beside it is
// not the control of the next try.
func TestATryThatSaidNothingLeavesNoControl(t *testing.T) {
	s := newScene(t)
	control, copied := s.tried()
	s.Answered(s.now, control)
	s.Failed(s.now, copied, Outcome{})
	s.asks()
	copies := s.Todo().Copies
	require.Len(t, copies, 1)
	next := copies[0].Call.main
	s.Failed(s.now, copies[0], lost)
	assert.False(t, s.inVain(), "its own control is silent")
	s.Failed(s.now, next, lost)
	assert.False(t, s.inVain(), "both failed: it says nothing")
}

// Nor is a request's try its own second time: what failed it before is not its end.
func TestATryThatSaidNothingLeavesNoFailure(t *testing.T) {
	s := newScene(t)
	control, copied := s.tried()
	s.Failed(s.now, control, lost)
	s.Failed(s.now, copied, lost)
	s.Failed(s.now, s.asks(), lost)
	s.Failed(s.now, s.asks(), lost)
	s.Failed(s.now, s.does(control.Call, Try), Outcome{Again: true})
	s.Answered(s.now, s.asks()) // well again
	s.Todo()
	again := s.asks()
	require.Len(t, s.Todo().Copies, 1)
	s.Answered(s.now, again)
	assert.False(t, s.inVain(), "its own copy is silent")
}

// Where callers have little time, tries add up: four quarters of a second are a verdict.
func TestTriesOfAMomentAddUpToAVerdict(t *testing.T) {
	for name, connects := range map[string]bool{"without a connection": false, "without an answer": true} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.halfway()
			for range 4 {
				require.False(t, s.cand.refusedBy(s.call(Repeatable, "PUT").Authority))
				q := s.call(Repeatable, "PUT")
				q.Deadline = s.now.Add(time.Second)
				try := s.does(q, Try)
				if connects {
					s.Asks(try, false)
					s.Connected(s.now, try)
				}
				s.after(headStart / 4)
				s.Answered(s.now, s.does(q, Send)) // its control
			}
			assert.True(t, s.cand.refusedBy(s.call(Repeatable, "PUT").Authority))
			s.does(s.call(Repeatable, "PUT"), Send)
		})
	}
}

// A try that was given up says nothing once its control has failed, too, or had an end that says
// nothing: what is answered later is the control of another try.
func TestATryThatWasGivenUpSaysNothingWhereItsControlIsNotAnswered(t *testing.T) {
	for name, o := range map[string]Outcome{
		"it failed":                 {Verdict: Failure, Trigger: "connection_reset"},
		"its caller's time is over": {Verdict: Stall, Trigger: "stall", Left: true},
		"its end says nothing":      {},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.halfway()
			q := s.call(Repeatable, "PUT")
			try := s.does(q, Try)
			s.Asks(try, false)
			s.Connected(s.now, try)
			s.after(headStart)
			s.Failed(s.now, s.does(q, Send), o)
			s.after(1)
			if len(s.suspects) > 0 {
				s.Answered(s.now, s.asks()) // well again, and sooner than the try was given up
			}
			assert.False(t, s.inVain())
			s.does(s.call(Repeatable, "PUT"), Try)
		})
	}
}

// A planned candidate that an authority refuses after it has tripped is as any other to it: what
// failed before the refusal cannot justify the next trial.
func TestARefusalOfWhatIsPlannedSpendsTheEvidence(t *testing.T) {
	s := newScene(t)
	s.halfway()
	s.does(s.call(Repeatable, "PUT"), Try)
	for range 3 {
		s.Failed(s.now, s.does(s.call(Once, "POST"), Send), lost)
	}
	au := s.call(Once, "POST").Authority
	require.Equal(t, Tripped, s.suspect(au).state)
	s.after(headStart)
	require.True(t, s.cand.refusedBy(au))
	assert.Equal(t, 1, s.suspect(au).refusals, "a candidate failed it in this outage")
	s.after(s.rules.RecreateTimeout)
	require.Nil(t, s.cand)
	q := s.call(Once, "POST")
	s.Failed(s.now, s.does(q, Send), lost)
	s.does(s.call(Once, "POST"), Wait) // that failure is newer
}

// Of an authority that is well, a refusal is no part of the next outage.
func TestATryInVainIsNoPartOfALaterOutage(t *testing.T) {
	s := newScene(t)
	control, copied := s.tried()
	s.refused(s.asks())
	s.Failed(s.now, copied, lost)
	s.Answered(s.now, control)
	require.True(t, s.cand.refusedBy(control.Call.Authority))
	au := s.call(Once, "POST").Authority
	for range 3 {
		s.Failed(s.now, s.does(s.call(Once, "POST"), Send), lost)
	}
	require.Equal(t, Tripped, s.suspect(au).state)
	assert.Zero(t, s.suspect(au).refusals)
}

// A candidate is refused once: by a trial, or by the try that the authority made before it tripped.
func TestATryIsNoSecondRefusal(t *testing.T) {
	s := newScene(t)
	control, copied, trial := s.triedAndTripped()
	s.Failed(s.now, copied, lost)
	s.Failed(s.now, trial, lost)
	require.True(t, s.cand.refusedBy(control.Call.Authority))
	s.Todo()
	s.Answered(s.now, control)
	require.True(t, s.cand.stands[0].inVain)
	assert.False(t, s.inVain(), "that was told")
}

// Whoever waits for a try, since the authority has tripped meanwhile, is woken at its end.
func TestWhoWaitsForATryIsWokenAtItsEnd(t *testing.T) {
	for name, o := range map[string]Outcome{"it fails": lost, "it ends neutrally": {}, "its caller leaves": {Verdict: Stall, Trigger: "stall", Left: true}} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			waits := s.call(Once, "POST")
			slow := s.does(waits, Send)
			s.halfway()
			try := s.does(s.call(Repeatable, "PUT"), Try)
			for range 3 {
				s.refused(s.does(s.call(Once, "POST"), Send))
			}
			s.refused(slow)
			s.does(waits, Wait)
			s.Todo()
			s.Failed(s.now, try, o)
			assert.Contains(t, s.Todo().Wake, waits)
		})
	}
}

// A call that tried a planned candidate makes a trial like any other once its authority has
// tripped: the answer has to have a control.
func TestATrialOfWhoseTryIsOverNeedsAControl(t *testing.T) {
	s := newScene(t)
	s.halfway()
	q := s.call(Once, "POST")
	q.Deadline = s.now.Add(2 * time.Second)
	try := s.does(q, Try)
	s.Asks(try, false)
	s.after(headStart / 2) // half of what is a verdict
	require.True(t, try.over)
	for range 3 {
		s.Failed(s.now, s.does(s.call(Sealed, "POST"), Send), lost)
	}
	was := s.Current()
	s.Answered(s.now, s.does(q, Try))
	assert.Equal(t, was, s.Current())
}

// A copy that was not sent, since its transport's Err did not return, is nothing that the candidate missed.
func TestWhatWasNotSentIsNotMissed(t *testing.T) {
	s := newScene(t)
	control, copied := s.tried()
	fresh := s.cand.id
	s.Failed(s.now, copied, Outcome{Left: true, Lost: true})
	s.Answered(s.now, control)
	s.after(s.rules.RecreateTimeout)
	assert.Equal(t, fresh, s.Current(), "nobody else has tried it")
}

// leftOnATrial: a PUT has tried a planned candidate, and was called back. Its authority has tripped since,
// and the PUT makes a trial on the same candidate. Then the transport in service is well again.
func (s *scene) leftOnATrial() (trial *Attempt, o *Order) {
	var silent []*Attempt
	for range 3 {
		silent = append(silent, s.does(s.call(Once, "POST"), Send))
	}
	o = &Order{}
	s.Recreate(s.now, o)
	s.Built(s.now, s.cand.id, false, Draw{})
	s.after(5 * time.Second)
	put := s.call(Repeatable, "PUT")
	try := s.does(put, Try)
	s.Asks(try, false)
	s.Connected(s.now, try)
	s.Silent(s.now, silent[0])
	s.Silent(s.now, silent[1])
	s.after(headStart)
	require.True(s.t, try.over)
	s.Silent(s.now, silent[2])
	require.Equal(s.t, Tripped, s.suspect(put.Authority).state)
	trial = s.does(put, Try)
	s.Asks(trial, false)
	s.Connected(s.now, trial)
	s.after(headStart)
	s.Answered(s.now, s.does(s.call(Once, "POST"), Send))
	require.Empty(s.t, s.suspects)
	return trial, o
}

// A trial is called back when its authority is well, also if its call had made a try before.
func TestATrialOfWhoseTryIsOverIsNotKept(t *testing.T) {
	s := newScene(t)
	trial, o := s.leftOnATrial()
	assert.True(t, trial.over)
	was := s.Current()
	s.Abandon(s.now, o)
	s.ticks(time.Hour)
	assert.Equal(t, was, s.Current())
}

// That a planned candidate fails what the transport in service answers says nothing of the upstream: it
// raises no doubt of the next proof.
func TestATryInVainIsNoDoubtOfTheUpstream(t *testing.T) {
	s := newScene(t)
	control, copied := s.tried()
	s.Failed(s.now, copied, lost)
	for range 3 {
		s.Failed(s.now, s.does(s.call(Once, "POST"), Send), lost)
	}
	s.Answered(s.now, control) // it was slow, on a connection that is alive, and the outage goes on
	require.True(t, s.inVain())
	s.ticks(s.rules.RecreateTimeout)
	require.Nil(t, s.cand)
	s.Failed(s.now, s.does(s.call(Once, "POST"), Send), Outcome{}) // the evidence is spent all the same
	q := s.call(Copyable, "GET")
	s.Failed(s.now, s.does(q, Send), lost)
	s.does(q, Wait)
	s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
	fresh := s.cand.id
	s.Answered(s.now, s.triesLate(answerGap, q))
	assert.Equal(t, fresh, s.Current())
}

// Nor does it in the minute after the outage.
func TestATryInVainIsNoDoubtOfTheNextOutage(t *testing.T) {
	s := newScene(t)
	s.halfway()
	put := s.call(Repeatable, "PUT")
	try := s.does(put, Try)
	s.Asks(try, false)
	s.Connected(s.now, try)
	for range 3 {
		s.Failed(s.now, s.does(s.call(Once, "POST"), Send), lost)
	}
	s.after(headStart)
	s.Answered(s.now, s.does(put, Send))
	require.Empty(t, s.suspects)
	s.ticks(s.rules.RecreateTimeout)
	s.offered("a.test")
	fresh := s.cand.id
	s.Answered(s.now, s.triesLate(answerGap, s.call(Copyable, "GET")))
	assert.Equal(t, fresh, s.Current())
}

// Where a copy said nothing, and no other one comes, the next request tries the candidate first.
func TestAfterACopyThatSaidNothingTheNextRequestTriesFirst(t *testing.T) {
	s := newScene(t)
	control, copied := s.tried()
	s.Failed(s.now, control, lost)
	s.Failed(s.now, copied, lost)
	s.Answered(s.now, s.does(control.Call, Send))
	s.after(5 * time.Second)
	s.does(s.call(Repeatable, "PUT"), Try)
}

// A try that its transport never had, or does not have yet, says nothing of the candidate.
func TestATryThatWasNotSentSaysNothing(t *testing.T) {
	for name, ends := range map[string]func(*scene, *Attempt){
		"its goroutine has ended": func(s *scene, try *Attempt) { s.Failed(s.now, try, Outcome{Left: true, Lost: true}) },
		"it is still held":        func(s *scene, try *Attempt) { s.after(headStart); require.True(s.t, try.over) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.halfway()
			fresh := s.cand.id
			try := s.Next(s.now, s.call(Once, "POST")).Attempt
			s.now = s.now.Add(time.Millisecond)
			ends(s, try)
			s.after(s.rules.RecreateTimeout)
			assert.Equal(t, fresh, s.Current())
		})
	}
}

// A try of what is once only that goes to its transport just now is not called back: that may be deaf to
// its context, and the request would be sent twice.
func TestATryThatIsAboutToGoIsNotCalledBack(t *testing.T) {
	for kind, back := range map[Kind]bool{Once: false, Repeatable: true} {
		s := newScene(t)
		s.halfway()
		try := s.Next(s.now, s.call(kind, "POST")).Attempt
		require.True(t, s.Goes(try))
		s.now = s.now.Add(headStart)
		s.Tick(s.now)
		assert.Equal(t, back, try.over, kind)
	}
}
