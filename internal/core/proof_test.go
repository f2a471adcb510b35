package core

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A trial that fails is no verdict while another one may yet be answered, and none that
// says nothing is.
func TestACandidateIsRefusedWhenNobodyCanBeAnsweredByIt(t *testing.T) {
	s := newScene(t)
	tries := func(q *Call) *Attempt {
		s.refused(s.does(q, Send)) // its control
		return s.does(q, Try)
	}
	first, second, third := s.call(Copyable, "GET"), s.call(Copyable, "GET"), s.call(Copyable, "GET")
	for range 3 {
		s.refused(s.does(first, Send))
	}
	s.does(first, Wait)
	s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
	one := tries(first)
	s.now = s.now.Add(time.Second)
	s.Tick(s.now)
	other := tries(second)
	s.refused(one)
	assert.False(t, s.cand.refusedBy(first.Authority), "the other one may be answered")
	s.Failed(s.now, other, Outcome{Left: true})
	assert.False(t, s.cand.refusedBy(first.Authority), "its caller has left: that says nothing")
	s.refused(tries(third))
	assert.Zero(t, s.Candidate(), "nobody is left who wants it")
}

// Nor is it one while the answer to a copy waits for its verdict.
func TestACandidateWhoseAnswerWaitsForItsVerdictIsNotRefused(t *testing.T) {
	s := newScene(t)
	_, copied := s.dark(1)
	fresh := s.cand.id
	s.Connected(s.now, copied)
	s.does(s.call(Repeatable, "PUT"), Send) // asks the transport in service
	trial := s.does(s.call(Repeatable, "PUT"), Try)
	s.Answered(s.now, copied)
	s.refused(trial)
	s.after(answerGap)
	s.after(headStart)
	assert.Equal(t, fresh, s.Current())
}

// Nor because the time of its authority's trials ends meanwhile.
func TestACandidateWhoseAnswerWaitsForItsVerdictHasTheTimeForThat(t *testing.T) {
	s := newScene(t)
	_, copied := s.dark(1)
	fresh := s.cand.id
	s.Connected(s.now, copied)
	s.does(s.call(Repeatable, "PUT"), Send) // asks the transport in service
	s.does(s.call(Repeatable, "PUT"), Try)
	s.after(s.rules.RecreateTimeout - answerGap/2)
	s.Answered(s.now, copied)
	s.after(answerGap)
	require.Equal(t, fresh, s.Candidate())
	s.after(2 * s.rules.RecreateTimeout)
	assert.Equal(t, fresh, s.Current())
}

// A request that has been silent for long says nothing new by being silent once more: it is
// no control of what a candidate answers quickly, though it is of the same kind. One that
// passes its first second meanwhile is.
func TestWhoWasSilentBeforeIsNoControlOfWhatCanBeAskedOnlyOnce(t *testing.T) {
	for _, tt := range []struct {
		waits  time.Duration // of another one that goes to the transport in service beside the trial
		method string        // its
		wants  bool          // once that one has been silent for twice as long as the trial took
	}{{0, "POST", true}, {headStart, "POST", true}, {headStart, "PATCH", false}} {
		s := newScene(t)
		waiting := s.does(s.call(Once, "POST"), Send)
		s.silent([]*Attempt{waiting})
		q := s.call(Once, "POST")
		s.does(q, Wait)
		s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
		fresh := s.cand.id
		trial := s.does(q, Try)
		s.now = s.now.Add(headStart) // others wait no longer for its verdict
		s.Tick(s.now)
		s.does(s.call(Once, tt.method), Send)
		sent := s.now
		s.now = s.now.Add(tt.waits)
		s.Silent(s.now, waiting)
		took := s.now.Sub(trial.start)
		s.Answered(s.now, trial)
		s.now = sent.Add(2*took - 1)
		s.Tick(s.now)
		require.NotEqual(t, fresh, s.Current(), "%+v", tt)
		s.now = sent.Add(2 * took)
		s.Tick(s.now)
		assert.Equal(t, tt.wants, s.Current() == fresh, "%+v", tt)
	}
}

// What a candidate answered before its authority refused it keeps nobody from the next one.
func TestARefusedCandidateIsNotHeldByWhatItAnsweredBefore(t *testing.T) {
	s := newScene(t)
	s.silent([]*Attempt{s.does(s.call(Once, "POST"), Send)})
	s.tripped("b.test", Wait)
	s.tripped("c.test", Wait) // it wants the candidate, and never tries it
	s.now = s.now.Add(calm)
	fresh := s.cand.id
	s.Built(s.now, fresh, false, Draw{Interval: time.Second})

	s.Answered(s.now, s.does(s.call(Once, "POST"), Try)) // which awaits a control like it
	s.refused(s.does(s.call(Repeatable, "PUT"), Try))
	q := s.call(Copyable, "GET")
	q.Authority.Host = "b.test"
	s.refused(s.does(q, Send))
	s.refused(s.does(q, Try))
	require.Equal(t, fresh, s.Candidate())

	s.now = s.now.Add(time.Second)
	next := s.call(Copyable, "GET")
	next.Authority.Host = "b.test"
	s.refused(s.does(next, Send))
	s.does(next, Wait)
	assert.NotEqual(t, fresh, s.Candidate())
}

// A candidate that was refused for silence was no faster, so that its authority gets more
// patience. One that was refused for an error says nothing of that.
func TestARefusalForSilenceTeachesPatience(t *testing.T) {
	for _, tt := range []struct {
		row     row
		kind    string
		doubled bool
	}{{silent, "connection_reset", true}, {broke, TrialTimeout, true}, {broke, "connection_reset", false}} {
		s := newScene(t)
		s.tripped("a.test", Wait)
		s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
		a := s.suspects[0].authority
		s.suspects[0].row = tt.row
		s.refuse(s.now, s.cand, s.cand.standOrNew(a), tt.kind)
		assert.Equal(t, tt.doubled, s.Patience(s.now, s.now, a) > s.rules.Patience, "%+v", tt)
	}
}

// askedOnce: an authority is silent, and the candidate for what can be asked only once is
// there. answers is how many a proof takes.
func (s *scene) askedOnce(answers int) {
	s.t.Helper()
	waits := s.does(s.call(Once, "POST"), Send)
	if answers > 1 {
		s.helpedNot(waits.Call.Authority)
	}
	s.silent([]*Attempt{waits})
	s.does(s.call(Once, "POST"), Wait)
	s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
}

// helpedNot: a promotion for this authority did not help. Its next proof takes four answers.
func (s *scene) helpedNot(a Authority) {
	s.recent.swappedFor(s.now, a)
	s.recent.didNotHelp(s.now, a)
}

// served: the candidate has answered what can be asked only once, and nothing like it has
// failed in service.
func (s *scene) served() {
	s.t.Helper()
	before := s.Current()
	s.Answered(s.now, s.does(s.call(Once, "POST"), Try))
	require.Equal(s.t, before, s.Current())
}

var broken = Outcome{Verdict: Failure, Trigger: "connection_reset"}

// Where a proof takes several answers, every second one takes a control that went first: one
// that has failed since the last, and not one that may yet be answered.
func TestEverySecondAnswerTakesAControlThatWentFirst(t *testing.T) {
	once := func() *Call { return newScene(t).call(Once, "POST") }
	for name, failed := range map[string]bool{"the control has failed": true, "it is under way": false} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.askedOnce(moreAnswers)
			s.served()
			s.Failed(s.now, s.does(once(), Send), broken)
			proofs := &s.suspects[0].proofs
			require.Equal(t, 1, *proofs)
			control := s.does(once(), Send) // first
			if failed {
				s.Failed(s.now, control, broken)
			}
			s.Answered(s.now, s.does(once(), Try))
			assert.Equal(t, failed, *proofs == 2)
		})
	}
}

// Who waits for the verdict of a trial goes on when that is over, whatever it came to.
func TestWhoWaitsForATrialGoesOnWhenItIsOver(t *testing.T) {
	for name, ends := range map[string]func(*scene, *Attempt){
		"its answer is not proof enough": func(s *scene, a *Attempt) { s.Answered(s.now, a) },
		"its caller had no time": func(s *scene, a *Attempt) {
			s.Failed(s.now, a, Outcome{Verdict: Stall, Trigger: "stall"})
		},
		"it says nothing": func(s *scene, a *Attempt) { s.Failed(s.now, a, Outcome{Left: true}) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			q := s.call(Copyable, "GET")
			s.helpedNot(q.Authority)
			s.offered("a.test")
			trial := s.tries(s.call(Copyable, "GET"))
			s.refused(s.does(q, Send))
			s.does(q, Wait)
			s.Todo()
			ends(s, trial)
			require.EqualValues(t, 1, s.Current())
			assert.Equal(t, []*Call{q}, s.Todo().Wake)
		})
	}
	t.Run("its answer awaits a control", func(t *testing.T) {
		s := newScene(t)
		s.askedOnce(1)
		trial, q := s.does(s.call(Once, "POST"), Try), s.call(Once, "POST")
		s.does(q, Wait)
		s.Todo()
		s.Answered(s.now, trial)
		assert.Equal(t, []*Call{q}, s.Todo().Wake)
	})
}

// A stall is a verdict once the authority has tried the candidate for a second, and before
// that its caller had no time.
func TestAStallWithinASecondIsNoVerdict(t *testing.T) {
	for took, refused := range map[time.Duration]bool{headStart - 1: false, headStart: true} {
		s := newScene(t)
		s.offered("a.test")
		trial := s.tries(s.call(Copyable, "GET"))
		s.now = s.now.Add(took)
		s.Failed(s.now, trial, Outcome{Verdict: Stall, Trigger: "stall", Again: true})
		assert.Equal(t, refused, s.Candidate() == 0, took)
	}
}

// A trial that had no connection when its caller's time was over says nothing of the candidate,
// which may be about to have one, until the authority's trials have had their time.
func TestAStallWithoutAConnectionIsNoVerdictInTheTimeOfTrials(t *testing.T) {
	for _, tt := range []struct {
		asked, connected bool
		began            time.Duration // after the first trial
		refused          bool
	}{
		{true, false, 0, false}, {true, true, 0, true}, {false, false, 0, true},
		{true, false, 8*time.Second - 1, false}, {true, false, 10 * time.Second, true},
	} {
		s := newScene(t)
		s.offered("a.test")
		fresh := s.Candidate()
		stalls := func() {
			trial := s.tries(s.call(Copyable, "GET"))
			if tt.asked {
				s.Asks(trial, false)
			}
			if tt.connected {
				s.Connected(s.now, trial)
			}
			s.after(2 * time.Second)
			s.Failed(s.now, trial, Outcome{Verdict: Stall, Trigger: "stall", Again: true})
		}
		stalls()
		if tt.began > 0 {
			require.Equal(t, fresh, s.Candidate())
			s.after(tt.began - 2*time.Second)
			stalls()
		}
		assert.Equal(t, tt.refused, s.Candidate() != fresh, "%+v", tt)
	}
}

// A method is remembered once, however often the candidate answers it, and leaves room for
// others.
func TestAMethodThatIsAnsweredOftenLeavesRoomForOthers(t *testing.T) {
	s := newScene(t)
	s.askedOnce(1)
	s.served()
	s.does(s.call(Once, "POST"), Send) // asks the transport in service
	for range 2 * maxMethods {
		s.served()
	}
	s.Answered(s.now, s.does(s.call(Once, "PATCH"), Try))
	assert.True(t, s.cand.stands[0].hasServed("PATCH"))
}

// What asks the transport in service for its turn, and has an end that says nothing, is no
// proof: neither at once, nor as if it were silent. The next one asks instead.
func TestAControlWithANeutralEndProvesNothing(t *testing.T) {
	s := newScene(t)
	s.askedOnce(1)
	s.served()
	s.Failed(s.now, s.does(s.call(Once, "POST"), Send), Outcome{})
	assert.EqualValues(t, 1, s.Current())
	s.after(headStart)
	assert.EqualValues(t, 1, s.Current())
	s.does(s.call(Once, "POST"), Send)
	s.after(headStart)
	assert.NotEqualValues(t, 1, s.Current(), "this one is silent")
}

// What tries a planned candidate that its own authority has refused meanwhile, for a try in
// vain, neither proves it nor has it refused again.
func TestWhatTriesARefusedPlannedCandidateDecidesNothing(t *testing.T) {
	for name, answered := range map[string]bool{"it is answered": true, "it fails": false} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			control, copied := s.tried()
			s.Connected(s.now, copied)
			for range 3 {
				s.Failed(s.now, s.asks(), lost)
			}
			probe := s.does(s.call(Once, "POST"), Send)
			trial := s.does(s.call(Once, "POST"), Try)
			s.Failed(s.now, copied, lost)
			s.Answered(s.now, control)
			require.True(t, s.inVain())
			if answered {
				s.Answered(s.now, trial)
				s.Failed(s.now, probe, broken)
			} else {
				s.Failed(s.now, trial, broken)
			}
			assert.EqualValues(t, 1, s.Current())
			assert.False(t, s.inVain())
		})
	}
}

// Where a proof takes several answers, trials that fail between them count, and those that say
// nothing do not.
func TestFailedTrialsBetweenTheAnswersOfAProofCount(t *testing.T) {
	for name, tt := range map[string]struct {
		end  Outcome
		want int
	}{"it fails": {lost, 1}, "it says nothing": {Outcome{Left: true}, 0}} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.helpedNot(s.call(Copyable, "GET").Authority)
			s.offered("a.test")
			s.Answered(s.now, s.tries(s.call(Copyable, "GET")))
			require.Equal(t, 1, s.suspects[0].proofs)
			trial := s.tries(s.call(Copyable, "GET"))
			s.after(headStart)
			s.tries(s.call(Copyable, "GET")) // it may be answered yet
			s.Failed(s.now, trial, tt.end)
			assert.Equal(t, 1, s.suspects[0].proofs)
			assert.Equal(t, tt.want, s.suspects[0].missed)
		})
	}
}

// What failed before the first answer of a proof may have met an outage of the upstream.
func TestFailedTrialsBeforeTheFirstAnswerOfAProofDoNotCount(t *testing.T) {
	s := newScene(t)
	s.helpedNot(s.call(Copyable, "GET").Authority)
	s.offered("a.test")
	trial := s.tries(s.call(Copyable, "GET"))
	s.after(headStart)
	s.tries(s.call(Copyable, "GET")) // it may be answered yet
	s.Failed(s.now, trial, lost)
	assert.Zero(t, s.suspects[0].missed)
}

// Many failed trials may have met an outage of the upstream: no more count than four for each answer.
func TestFailedTrialsDoNotCountWithoutEnd(t *testing.T) {
	s := &suspect{proofs: 1}
	for range 3 * mostMissed {
		s.miss()
	}
	assert.Equal(t, 2*mostMissed, s.missed)
}

// The more trials fail, the more answers a proof takes, so that it is as unlikely by chance.
func TestAProofTakesMoreAnswersTheMoreTrialsFail(t *testing.T) {
	for _, tt := range []struct{ inRow, missed, takes int }{
		{1, 0, 1}, {moreAnswers, 0, moreAnswers}, {mostAnswers, 0, mostAnswers},
		{moreAnswers, 1, 6}, {moreAnswers, 4, 8}, {moreAnswers, 10, 11}, {mostAnswers, 1, 10}, {mostAnswers, 4, 14}, {mostAnswers, 20, 24},
	} {
		s := &suspect{missed: tt.missed}
		for s.proofs = 1; s.mayBeChance(tt.inRow); {
			s.proofs++
		}
		assert.Equal(t, tt.takes, s.proofs, "%+v", tt)
	}
}

// A try of a planned candidate costs no attempt of who made it first, and a copy is none.
func TestATryCostsNoAttempt(t *testing.T) {
	s := newScene(t)
	s.halfway()
	q := s.call(Repeatable, "PUT")
	s.Failed(s.now, s.does(q, Try), lost)
	assert.Zero(t, q.attempts)

	s = newScene(t)
	control, copied := s.tried()
	s.Failed(s.now, copied, lost)
	assert.Equal(t, 1, control.Call.attempts)
}

// What an authority tried a planned candidate with while it was tripped proves no need of that
// once the transport in service has answered the authority.
func TestATrialThatOutlastsItsOutageProvesNoNeed(t *testing.T) {
	s := newScene(t)
	s.tried()
	for range 3 {
		s.Failed(s.now, s.asks(), Outcome{Verdict: Stall, Trigger: "stall"})
		s.now = s.now.Add(time.Second)
	}
	waits := s.asks()
	s.after(headStart)
	copies := s.Todo().Copies
	require.Len(t, copies, 1)
	require.Same(t, waits.Call, copies[0].Call)
	s.Answered(s.now, s.asks())
	require.Empty(t, s.suspects)
	s.Answered(s.now, copies[0])
	assert.Zero(t, s.promoted)
}

// What was sent before a trial began, and stays unanswered, may have met an outage of the
// upstream that was over when the trial began. Only what is sent after it is its control.
func TestWhatWasSentBeforeATrialIsNoControlOfIt(t *testing.T) {
	for name, ends := range map[string]func(*scene, *Attempt){
		"it fails":     func(s *scene, a *Attempt) { s.Failed(s.now, a, broken) },
		"it is silent": func(s *scene, _ *Attempt) { s.after(headStart) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.askedOnce(1)
			once := func(want Do) *Attempt { return s.does(s.call(Once, "POST"), want) }
			first := once(Try)
			s.Asks(first, false)
			s.Connected(s.now, first)
			s.after(headStart)   // it holds back nobody any more
			before := once(Send) // the control of the first
			s.Answered(s.now, once(Try))
			ends(s, before)
			require.EqualValues(t, 1, s.Current())
			ends(s, once(Send))
			assert.Equal(t, first.On, s.Current())
		})
	}
}

// One control that fails proves one answer, also if a copy and a request that is asked once
// wait for it.
func TestAFailedControlProvesOneAnswer(t *testing.T) {
	s := newScene(t)
	s.askedOnce(moreAnswers)
	s.Answered(s.now, s.does(s.call(Sealed, "GET"), Try))
	q := s.call(Copyable, "GET")
	q.Deadline = s.now.Add(2 * time.Second)
	control := s.does(q, Send)
	s.after(headStart / 2)
	copies := s.Todo().Copies
	require.Len(t, copies, 1)
	s.Answered(s.now, copies[0])
	s.Failed(s.now, control, lost)
	assert.Equal(t, 1, s.suspects[0].proofs)
	s.after(headStart)
	assert.Equal(t, 1, s.suspects[0].proofs)
}

// A trial that comes after attempts in service that took long to fail has what these left of its
// caller's time. If that was less than two thirds, its stall is no verdict; but not for ever, since
// what can be asked only once goes there meanwhile.
func TestATrialThatHadLittleOfItsCallersTimeIsNoVerdict(t *testing.T) {
	stall := Outcome{Verdict: Stall, Trigger: "stall", Left: true}
	for name, tt := range map[string]struct {
		before, trial time.Duration // the attempts in service, and the trial
		later         bool          // after the time of its authority's trials
		refused       bool
	}{
		"two thirds":               {900 * time.Millisecond, 1800 * time.Millisecond, false, true},
		"less":                     {900 * time.Millisecond, 1800*time.Millisecond - 1, false, false},
		"less, and the second one": {900 * time.Millisecond, 1800*time.Millisecond - 1, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.tripped("b.test", Wait) // wants the candidate, and never tries it
			s.tripped("a.test", Wait)
			s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
			fails := func() {
				q := s.call(Repeatable, "PUT")
				control := s.does(q, Send)
				s.now = s.now.Add(tt.before)
				s.refused(control)
				trial := s.does(q, Try)
				s.Connected(s.now, trial)
				s.after(tt.trial)
				s.Failed(s.now, trial, stall)
			}
			fails()
			if tt.later {
				s.after(s.rules.RecreateTimeout)
				fails()
			}
			assert.Equal(t, tt.refused, s.cand.refusedBy(s.call(Repeatable, "PUT").Authority))
		})
	}
}

// With WithWaitForReady a request's time begins anew with each round: what it rested is not its
// transport's.
func TestATrialsShareIsOfItsRound(t *testing.T) {
	s := newScene(t)
	q := s.call(Repeatable, "PUT")
	q.Ready = time.Minute
	s.tripped("a.test", Wait)
	s.NotBuilt(s.now, s.cand.id, "factory_failed", Draw{Interval: time.Second})
	s.refused(s.does(q, Send))
	s.does(q, Wait) // a round later
	require.Zero(t, q.attempts)
	s.after(time.Second)
	a := s.does(q, Send)
	assert.Equal(t, s.now, q.since)
	assert.Equal(t, s.now, a.start)
}

// The transport in service may be as slow as the candidate: another request is a control only once
// it has been silent for twice as long as the trial took.
func TestWhatIsAskedOnceHasAControlThatWaitsForTwiceAsLong(t *testing.T) {
	const takes = 1500 * time.Millisecond
	for _, answers := range []bool{true, false} {
		s := newScene(t)
		for range 3 {
			s.Failed(s.now, s.does(s.call(Once, "POST"), Send), broken)
			s.ticks(time.Second)
		}
		first := s.call(Once, "POST")
		s.does(first, Wait)
		s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
		trial := s.does(first, Try)
		s.Connected(s.now, trial)
		s.ticks(takes)
		require.True(t, s.Answered(s.now, trial))
		control := s.does(s.call(Once, "POST"), Send)
		s.ticks(2*takes - 1)
		require.EqualValues(t, 1, s.Current())
		if answers {
			s.Answered(s.now, control)
			assert.Empty(t, s.suspects)
		}
		s.ticks(1)
		assert.Equal(t, answers, s.Current() == 1)
	}
}

// What another candidate has answered is sent in service first once the next one is there: the
// upstream was up.
func TestWhatAnotherCandidateHasAnsweredIsSentInServiceFirst(t *testing.T) {
	s := newScene(t)
	s.askedOnce(1)
	s.served()
	s.Spoiled(s.now, s.cand.id)
	require.Zero(t, s.Candidate())
	s.after(time.Minute)
	q := s.call(Once, "POST")
	s.does(q, Wait)
	s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
	s.does(q, Send)
	s.does(s.call(Once, "POST"), Try)
}

// What waits in service already when the trial is answered is its control, though others have been
// sent there since, or might be.
func TestWhatWaitsAlreadyIsTheControl(t *testing.T) {
	s := newScene(t)
	s.askedOnce(1)
	trial := s.does(s.call(Once, "POST"), Try)
	s.Connected(s.now, trial)
	s.ticks(headStart) // others wait no longer for its verdict
	s.does(s.call(Once, "POST"), Send)
	s.ticks(2 * time.Second) // the next would be sent after one
	s.Answered(s.now, trial) // after three
	s.ticks(4*time.Second - 1)
	require.EqualValues(t, 1, s.Current())
	s.ticks(1)
	assert.NotEqualValues(t, 1, s.Current())
}
