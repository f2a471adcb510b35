package core

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Only who leaves of itself, and whose leaving says nothing otherwise, was stalled by its
// wait.
func TestOnlyLeavingIsReadAsSilence(t *testing.T) {
	long := 10 * time.Second
	for _, tt := range []struct {
		o    Outcome
		want bool
	}{
		{Outcome{Left: true, Silence: long}, true},
		{Outcome{Silence: long}, false},
		{Outcome{Left: true, Verdict: Failure, Silence: long}, false},
		{Outcome{Left: true, Verdict: Stall, Untyped: true, Silence: long}, false},
		{Outcome{Left: true, Silence: leaving - 1}, false},
		{Outcome{Left: true, Silence: leaving}, true},
	} {
		s := newScene(t)
		a := s.does(s.call(Copyable, "GET"), Send)
		assert.Equal(t, tt.want, s.verdictOf(s.now, a, tt.o).Trigger == Silence, "%+v", tt.o)
		s.rules.Patience = 0
		assert.NotEqual(t, Silence, s.verdictOf(s.now, a, tt.o).Trigger, "stalls are turned off: %+v", tt.o)
	}
}

// A stall is no repetition of the failure before it, whenever its attempt began.
func TestAStallAfterAFailureIsTheLatestEvidence(t *testing.T) {
	s := newScene(t)
	a, b := s.does(s.call(Copyable, "GET"), Send), s.does(s.call(Copyable, "GET"), Send)
	s.refused(a)
	s.Failed(s.now, b, Outcome{Verdict: Stall, Trigger: "stall"})
	assert.Equal(t, silent, s.suspect(a.Call.Authority).row)
}

// A neutral end drops a suspicion in which nothing has counted yet, and nothing else.
func TestANeutralEndDropsOnlyWhatHasNotCounted(t *testing.T) {
	neutral, untyped := Outcome{}, Outcome{Verdict: Failure, Untyped: true}
	failure, stall := Outcome{Verdict: Failure, Trigger: "connection_reset"}, Outcome{Verdict: Stall, Trigger: "stall"}
	for i, tt := range []struct {
		before []Outcome
		last   Outcome
		drops  bool
	}{
		{[]Outcome{untyped}, neutral, true},
		{[]Outcome{untyped}, Outcome{Left: true}, false},
		{[]Outcome{untyped}, Outcome{Verdict: Failure, Lost: true, Left: true}, false},
		{[]Outcome{failure}, neutral, false},
		{[]Outcome{failure, stall}, neutral, false},
	} {
		s := newScene(t)
		for _, o := range append(tt.before, tt.last) {
			s.Failed(s.now, s.does(s.call(Once, "POST"), Send), o)
		}
		assert.Equal(t, tt.drops, len(s.suspects) == 0, i)
	}
	s := newScene(t)
	s.tripped("a.test", Wait)
	s.cand.planned = true
	s.Built(s.now, s.cand.id, true, Draw{}) // nothing is in flight: a promotion without a proof
	a := s.does(s.call(Once, "POST"), Send)
	require.Equal(t, Healing, s.suspects[0].state)
	s.Failed(s.now, a, neutral)
	assert.Len(t, s.suspects, 1, "an outage ends with an answer")
}

// An answer takes back its own request's stalls: what is left may still be an outage.
func TestWhatIsLeftWhenStallsAreTakenBack(t *testing.T) {
	for _, tt := range []struct {
		state            State
		failures, stalls int // with the one that is taken back
		over             bool
	}{
		{Tripped, 2, 3, true}, {Tripped, 3, 3, false}, {Tripped, 2, 4, false},
		{Suspected, 0, 1, true}, {Suspected, 1, 1, false}, {Suspected, 1, 2, false}, {Suspected, 0, 2, false},
	} {
		s := newScene(t)
		o := &suspect{state: tt.state, failures: tt.failures, stalls: tt.stalls}
		a := &Attempt{silent: silences{in: o, n: 1}}
		assert.Equal(t, tt.over, s.takeBack(o, a), "%+v", tt)
	}
}

// A request that fails again and again leaves room for the others that led to the outage.
func TestARequestThatFailsAgainIsOneWitness(t *testing.T) {
	s := newScene(t)
	q, other := s.call(Copyable, "GET"), s.call(Copyable, "GET")
	q.Witness, other.Witness = new("its trace"), new("its trace")
	s.refused(s.does(q, Send))
	s.refused(s.does(q, Send))
	s.refused(s.does(other, Send))
	assert.Equal(t, []any{q.Witness, other.Witness}, s.suspect(q.Authority).witnesses)
}

// Witnesses, and hostile methods, take no more than some room.
func TestABoundedNumberOfMethodsIsRemembered(t *testing.T) {
	o := &suspect{}
	o.see(nil)
	for i := range 2 * maxWitnesses {
		o.see(i)
	}
	assert.Len(t, o.witnesses, maxWitnesses)
	assert.Equal(t, 0, o.witnesses[0], "the first ones stay")
	failed := func(method string, began Instant) { o.failedLike(&Attempt{Call: &Call{Method: method}, began: began}) }
	for i := range 2 * maxMethods {
		failed(fmt.Sprint(i), 1)
	}
	assert.Len(t, o.methods, maxMethods)
	failed("0", 99)
	assert.True(t, o.hasFailedSince("0", 98))

	s := newScene(t)
	s.silent([]*Attempt{s.does(s.call(Once, "POST"), Send)})
	q := s.call(Once, "POST")
	s.does(q, Wait)
	s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
	st := s.cand.standOrNew(q.Authority)
	for i := range 2 * maxMethods {
		c := s.call(Once, fmt.Sprint(i/2)) // each twice
		s.trialAnswered(s.now, st, &Attempt{Call: c, role: onTrial, began: s.Clock(), start: s.now})
	}
	assert.Len(t, st.served, maxMethods)
	s.trialAnswered(s.now, st, &Attempt{Call: s.call(Once, "new"), role: onTrial, began: s.Clock(), start: s.now})
	assert.Len(t, st.served, maxMethods)
}

// An attempt whose end says nothing has not failed, if it began under suspicion and lasted as
// long as failures do.
func TestANeutralEndCountsAsTriedOnceFailuresWouldHaveShown(t *testing.T) {
	o, took := &suspect{state: Tripped}, time.Second
	for _, tt := range []struct {
		under  *suspect
		waited time.Duration
		want   int
	}{{o, took, 1}, {o, took - 1, 0}, {nil, took, 0}} {
		s := newScene(t)
		o.took, o.ended = took, 0
		s.cleared(s.now, o, &Attempt{under: tt.under, start: s.now.Add(-tt.waited)}, Outcome{})
		assert.Equal(t, tt.want, o.ended, "%+v", tt)
	}
}

// A suspicion lasts from the latest failure, and tells what that was.
func TestEachFailureRenewsASuspicion(t *testing.T) {
	s := newScene(t)
	s.refused(s.asks())
	s.now = s.now.Add(suspectFor - 1)
	s.Failed(s.now, s.asks(), lost)
	s.now = s.now.Add(suspectFor - 1)
	s.Tick(s.now)
	require.Len(t, s.suspects, 1)
	assert.Equal(t, "connection_reset", s.suspects[0].about().Trigger)
	s.now = s.now.Add(1)
	s.Tick(s.now)
	assert.Empty(t, s.suspects)
}

// Who is silent again and again, and fails then, is one witness.
func TestARequestIsOneWitness(t *testing.T) {
	s := newScene(t)
	q, other := s.call(Copyable, "GET"), s.call(Copyable, "GET")
	q.Witness, other.Witness = "q", "other"
	a := s.does(q, Send)
	s.silent([]*Attempt{a})
	s.Failed(s.now, a, lost)
	s.Failed(s.now, s.does(other, Send), lost)
	assert.Equal(t, []any{"q", "other"}, s.suspects[0].about().Witnesses)
}

// Of the share of failures are all attempts that began under suspicion, once each: when they
// end.
func TestAnAttemptUnderSuspicionIsCountedOnceItEnds(t *testing.T) {
	s := newScene(t)
	s.Failed(s.now, s.asks(), lost)
	o := s.suspects[0]
	assert.Equal(t, [2]int{0, 0}, [2]int{o.ended, o.lost}, "it began before")
	a := s.asks()
	s.now = s.now.Add(5 * time.Second)
	s.Silent(s.now, a)
	assert.Equal(t, [2]int{0, 0}, [2]int{o.ended, o.lost}, "it goes on")
	s.Failed(s.now, a, lost)
	assert.Equal(t, [2]int{1, 1}, [2]int{o.ended, o.lost})
	s.Failed(s.now, s.asks(), Outcome{Verdict: Stall, Trigger: "stall"})
	assert.Equal(t, [2]int{2, 1}, [2]int{o.ended, o.lost})
}

// So are those that go on for longer than failures take, unless their transport does not have
// them yet, or they wait for a connection: they may yet be refused as the others.
func TestWhatLastsLongerThanFailuresIsNotFailed(t *testing.T) {
	o := &suspect{}
	const longer = slack*time.Second + 1
	for name, tt := range map[string]struct {
		took, waited time.Duration
		a            Attempt
		want         bool
	}{
		"longer, and nobody knows of a connection": {time.Second, longer, Attempt{under: o}, false},
		"as long, and nobody knows":                {time.Second, longer - 1, Attempt{under: o}, true},
		"longer, and its transport has it not":     {time.Second, time.Hour, Attempt{under: o, held: true}, true},
		"longer, on a connection":                  {time.Second, longer, Attempt{under: o, asked: true, connected: true}, false},
		"soon longer, on a connection":             {1, slack + 1, Attempt{under: o, asked: true, connected: true}, false},
		"longer, and waits for a connection":       {time.Second, time.Hour, Attempt{under: o, asked: true}, true},
		"as long":                                  {time.Second, longer - 1, Attempt{under: o, asked: true, connected: true}, true},
		"it began before":                          {time.Second, time.Hour, Attempt{asked: true, connected: true}, true},
	} {
		*o = suspect{took: tt.took, ended: 1, lost: 1}
		for range 2 {
			a := tt.a
			a.start = simStart.Add(-tt.waited)
			o.flying.add(&a)
		}
		assert.Equal(t, tt.want, o.mostFailed(simStart), name)
	}
}

// Answers to what began before the streak do not hide what fails in it.
func TestEarlyAnswersDoNotHideFailures(t *testing.T) {
	s := newScene(t)
	var early []*Attempt
	for range 10 {
		early = append(early, s.asks())
	}
	s.Failed(s.now, s.asks(), lost)
	for _, a := range early {
		s.Answered(s.now, a)
	}
	s.Failed(s.now, s.asks(), lost)
	s.Failed(s.now, s.asks(), lost)
	assert.Equal(t, Tripped, s.suspects[0].state)
}

// Where stalls are turned off they trip nothing, and one failure trips no more than else.
func TestStallsThatAreTurnedOffTripNothing(t *testing.T) {
	s := newScene(t)
	s.rules.Stalls = 0
	s.refused(s.asks())
	assert.Equal(t, Suspected, s.suspects[0].state)
	for range 10 {
		s.now = s.now.Add(time.Second)
		s.Failed(s.now, s.asks(), Outcome{Verdict: Stall, Trigger: "stall"})
	}
	assert.Equal(t, Suspected, s.suspects[0].state)
}

// A silence that trips nothing has nothing built, and no request copied.
func TestASuspicionOfSilenceCopiesNothing(t *testing.T) {
	s := newScene(t)
	a := s.asks()
	s.now = s.now.Add(5 * time.Second)
	s.Silent(s.now, a)
	s.now = s.now.Add(time.Second)
	s.Tick(s.now)
	require.Equal(t, Suspected, s.suspects[0].state)
	assert.Equal(t, Todo{}, s.Todo())
}

// A promotion did not help if a failure of its authority counts within a minute, though that
// is short of a trip.
func TestAFailureSoonAfterAPromotionSaysThatItDidNotHelp(t *testing.T) {
	for after, want := range map[time.Duration]int{calm - 1: moreAnswers, calm: 1} {
		s := newScene(t)
		s.tripped("a.test", Wait)
		s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
		q := s.call(Copyable, "GET")
		s.refused(s.does(q, Send))
		s.Answered(s.now, s.does(q, Try))
		s.now = s.now.Add(after)
		s.refused(s.asks())
		require.Equal(t, Suspected, s.suspects[0].state)
		assert.Equal(t, want, s.recent.answers(s.now, q.Authority), after)
	}
}

// An outage is young for a minute, unless its authority had one in the minute before: then
// another's trial keeps a candidate that was built since it tripped.
func TestAnOutageIsYoungUnlessThereWasOneJustBefore(t *testing.T) {
	s := newScene(t)
	tried := func(began Instant) *candidate {
		r := &candidate{began: began, of: map[Authority]*stand{}}
		r.standOrNew(named(1)).trials.add(&Attempt{})
		return r
	}
	gives := func(r *candidate) bool { return s.givesWay(s.now, r, s.suspects[0]) }
	before := tried(s.Clock())
	s.tripped("a.test", Wait)
	assert.True(t, gives(tried(s.Clock())), "the outage is young")
	s.now = s.now.Add(calm)
	assert.False(t, gives(tried(s.Clock())))
	assert.True(t, gives(before), "it tripped since the build began")
	s.Answered(s.now, s.asks())
	before = tried(s.Clock())
	s.tripped("a.test", Wait)
	assert.False(t, gives(tried(s.Clock())))
	assert.True(t, gives(before))
}

// What an answer in service says of the outage that it ends: that it was the upstream, if a
// transport that was promoted had failed as well.
func TestWhatAnAnswerSaysOfAnOutage(t *testing.T) {
	recovered := func(s *scene) string {
		s.Todo()
		s.Answered(s.now, s.asks())
		for _, r := range s.Todo().Reports {
			if r.What == HasRecovered {
				return r.Kind
			}
		}
		return ""
	}
	s := newScene(t)
	s.tripped("a.test", Wait)
	assert.Equal(t, ByCurrent, recovered(s))

	for again, want := range map[bool]string{true: ByUpstream, false: BySwap} {
		s = newScene(t)
		s.tripped("a.test", Wait)
		s.tripped("b.test", Wait)
		s.Built(s.now, s.cand.id, false, Draw{Interval: time.Hour})
		q := s.call(Copyable, "GET")
		q.Authority.Host = "b.test"
		s.refused(s.does(q, Send))
		s.Answered(s.now, s.does(q, Try))
		require.Equal(t, Healing, s.suspects[0].state)
		if again {
			s.tripped("a.test", GiveUp)
		}
		assert.Equal(t, want, recovered(s))
	}
}

// Silences of a streak that is over are not taken back from the next.
func TestOnlySilencesOfThisStreakAreTakenBack(t *testing.T) {
	s := newScene(t)
	o, before := &suspect{stalls: 1}, &suspect{}
	assert.False(t, s.takeBack(o, &Attempt{silent: silences{in: before, n: 1}}))
	assert.Equal(t, 1, o.stalls)
}

// What took as long to fail as a request waits before it is copied was silent.
func TestAFailureThatTakesAHeadStartIsSilence(t *testing.T) {
	for took, want := range map[time.Duration]row{headStart - 1: broke, headStart: silent} {
		s := newScene(t)
		a := s.asks()
		s.after(took)
		s.Failed(s.now, a, lost)
		assert.Equal(t, want, s.suspect(a.Call.Authority).row, took)
	}
}

// Answers to what began no later than the first failure do not end the streak, but they count when
// it is asked whether most attempts have failed.
func TestAnswersThatEndNoStreakCountAgainstATrip(t *testing.T) {
	for answers, trips := range map[int]bool{3: true, 4: false} {
		s := newScene(t)
		s.tripped("a.test", Wait)
		s.Recreate(s.now, &Order{})
		s.Built(s.now, s.cand.id, true, Draw{})
		healing := s.suspects[0]
		require.Equal(t, Healing, healing.state)
		var flying []*Attempt
		for range answers {
			flying = append(flying, s.asks())
		}
		s.Failed(s.now, s.asks(), lost)
		for _, a := range flying {
			s.Answered(s.now, a)
		}
		s.Failed(s.now, s.asks(), lost)
		s.Failed(s.now, s.asks(), lost)
		assert.Equal(t, trips, healing.state == Tripped, answers)
	}
}
