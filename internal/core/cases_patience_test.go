package core

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A streak of silences, by hand.
type silentStreak struct {
	*Client
	now   time.Time
	calls []*Attempt
}

func startSilent(stalls int, span time.Duration) *silentStreak {
	now := time.Unix(1e9, 0)
	return &silentStreak{Client: New(Rules{Threshold: 3, Stalls: stalls, StallSpan: span, Patience: 5 * time.Second, RecreateTimeout: 10 * time.Second}, now, 0), now: now}
}

// wait begins a request on the healthy path.
func (s *silentStreak) wait(k Kind) *Attempt {
	q := &Call{Authority: Authority{"http", "a", "80"}, Method: "GET", Kind: k}
	a := q.AdoptWaiting(s.Current(), s.Clock(), s.now)
	s.calls = append(s.calls, a)
	return a
}

func (s *silentStreak) after(d time.Duration) { s.now = s.now.Add(d) }

func (s *silentStreak) state() string {
	if v := s.View(s.now, 0).Authorities; len(v) > 0 {
		return map[State]string{Suspected: "suspected", Tripped: "tripped", Healing: "healing"}[v[0].State]
	}
	return "well"
}

// What was counted for silent and is answered was slow: with nothing else left that
// counts the authority is well, though all these requests began before the streak.
func TestAnAnswerTakesBackTheSilencesOfItsOwnRequest(t *testing.T) {
	s := startSilent(3, time.Second)
	one, two, dark := s.wait(Once), s.wait(Once), s.wait(Once)
	for range 2 {
		s.after(5 * time.Second)
		s.Silent(s.now, one)
		s.Silent(s.now, two)
	}
	require.Equal(t, "tripped", s.state())
	s.Silent(s.now, dark)
	s.Answered(s.now, one)
	assert.Equal(t, "tripped", s.state(), "three are left")
	s.Answered(s.now, two)
	assert.Equal(t, "well", s.state(), "one alone does not trip")
}

// A slow answer says nothing about those who are silent beside it.
func TestASlowAnswerDoesNotHideSilencesOfOthers(t *testing.T) {
	s := startSilent(3, time.Second)
	slow, dark := s.wait(Once), []*Attempt{s.wait(Once), s.wait(Once), s.wait(Once)}
	s.after(5 * time.Second)
	s.Silent(s.now, slow)
	for _, a := range dark {
		s.Silent(s.now, a)
	}
	s.after(time.Second)
	s.Answered(s.now, slow)
	assert.Equal(t, "suspected", s.state())
	s.after(4 * time.Second)
	s.Silent(s.now, dark[0])
	assert.Equal(t, "tripped", s.state())
}

// A caller that waits in its transport has the answer of its copy soon, unless it has another one in
// its transport until then, so that one event may have answered both. The control begins then,
// and is to be silent for twice as long as the copy took, and for a second.
func TestNobodyWaitsForTheVerdictOnItsOwnCopy(t *testing.T) {
	for took, verdict := range map[time.Duration]time.Duration{
		100 * time.Millisecond: time.Second, time.Second: 2 * time.Second, 3 * time.Second: 6 * time.Second,
	} {
		t.Run(took.String(), func(t *testing.T) {
			s := startSilent(1, 0)
			a := s.wait(Copyable)
			s.after(5 * time.Second)
			s.Silent(s.now, a)
			build := s.Todo().Build
			require.NotNil(t, build)
			s.Built(s.now, build.ID, false, Draw{})
			copies := s.Todo().Copies
			require.Len(t, copies, 1)
			s.after(took)
			assert.True(t, s.Answered(s.now, copies[0]))
			assert.Empty(t, s.Todo().Recall)
			s.after(answerGap)
			s.Tick(s.now)
			todo := s.Todo()
			control := a.Call.main
			assert.Equal(t, []*Attempt{a}, todo.Recall)
			assert.Equal(t, []*Attempt{control}, todo.Copies)
			assert.EqualValues(t, 1, control.On)
			s.Handed(s.now, control)
			assert.Equal(t, s.now.Add(verdict), s.Deadline())
			s.after(verdict)
			s.Tick(s.now)
			todo = s.Todo()
			assert.Equal(t, []*Attempt{control}, todo.Recall)
			assert.Equal(t, build.ID, todo.Promote)
		})
	}
}

// It has the answer soon, too, where what it waits for in its transport began a moment ago, and would
// be the control if there were time.
func TestNobodyWaitsInItsTransportWhoHasTheAnswerOfItsCopy(t *testing.T) {
	s := newScene(t)
	control, copied := s.copiedWithControl()
	control.bound = true
	s.after(2 * time.Second)
	require.True(t, s.Answered(s.now, copied))
	s.after(answerGap)
	assert.Equal(t, []*Attempt{control}, s.Todo().Recall)
	assert.EqualValues(t, 1, s.Current())
}

// Who leaves after a second without an answer, and half of what was learnt, was
// stalled.
func TestLeavingAfterAWhileIsAStall(t *testing.T) {
	for _, tt := range []struct {
		name            string
		learnt, silence time.Duration
		off, stall      bool
	}{
		{name: "a second", silence: time.Second, stall: true},
		{name: "less", silence: 999 * time.Millisecond},
		{name: "half of what was learnt", learnt: 20 * time.Second, silence: 20 * time.Second, stall: true},
		{name: "less than half of it", learnt: 20 * time.Second, silence: 19 * time.Second},
		{name: "without patience", silence: time.Minute, off: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := startSilent(3, time.Second)
			if tt.off {
				s.rules.Patience = 0
			}
			if tt.learnt > 0 {
				a := s.wait(Copyable)
				s.after(tt.learnt)
				s.Answered(s.now, a)
			}
			a := s.wait(Copyable)
			s.after(tt.silence)
			s.Failed(s.now, a, Outcome{Left: true, Silence: tt.silence})
			assert.Equal(t, tt.stall, s.state() == "suspected")
		})
	}
}

// A copy that has had a head start's time on a fresh transport, and is as silent as its
// control while the transport in service answers others, shows how long its answer may
// take. Else a slow request beside quick ones would be a false alarm again and again.
func TestACopyInVainTeachesPatience(t *testing.T) {
	for _, tt := range []struct {
		name         string
		copied, want time.Duration // for how long it has been under way, and what is learned
	}{
		{"for a head start", time.Second, 12 * time.Second},
		{"for less", 999 * time.Millisecond, 5 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := startSilent(1, 0)
			slow := s.wait(Copyable)
			s.after(5 * time.Second)
			s.Silent(s.now, slow)
			s.Built(s.now, s.Todo().Build.ID, false, Draw{})
			require.Len(t, s.Todo().Copies, 1)
			s.after(tt.copied)
			quick := s.wait(Copyable)
			s.Answered(s.now, quick)
			require.Equal(t, "well", s.state())
			assert.Equal(t, tt.want, s.Patience(s.now, s.now, slow.Call.Authority))
			s.after(window)
			assert.Equal(t, 5*time.Second, s.Patience(s.now, s.now, slow.Call.Authority), "it is forgotten")
		})
	}
}

// With a patience of twenty minutes there are ten between a silence and the end of what
// would be forgotten, if nobody waited.
func TestAStreakLastsAsLongAsSomebodyWaits(t *testing.T) {
	s := startSilent(3, time.Second)
	slow := s.wait(Once)
	s.after(10 * time.Minute)
	s.Answered(s.now, slow)
	a := s.wait(Once)
	require.Equal(t, 20*time.Minute, s.Patience(s.now, s.now, a.Call.Authority))
	for range 3 {
		require.NotEqual(t, "tripped", s.state())
		for until := s.now.Add(20 * time.Minute); s.now.Before(until); {
			s.now = first(until, s.Deadline())
			s.Tick(s.now)
		}
		s.Silent(s.now, a)
	}
	require.Equal(t, "tripped", s.state())
	s.Failed(s.now, a, Outcome{Left: true})
	for range 3 {
		s.after(outageFor)
		s.Tick(s.now)
	}
	assert.Equal(t, "well", s.state(), "nobody waits any more")
}

// An answer of a transport that was replaced tells how long answers take.
func TestAnAnswerOfAReplacedTransportTeachesPatience(t *testing.T) {
	s := startSilent(3, time.Second)
	a := s.wait(Copyable)
	s.Recreate(s.now, &Order{})
	s.Built(s.now, s.Todo().Build.ID, true, Draw{})
	require.NotEqual(t, a.On, s.Current())
	s.after(time.Minute)
	assert.True(t, s.Answered(s.now, a))
	assert.Equal(t, 2*time.Minute, s.Patience(s.now, s.now, a.Call.Authority))
}

// Where no answer is known, nobody knows how long a trial may take. An answer that comes on a
// candidate that was refused meanwhile tells it, and the next candidate has that time.
func TestAnAnswerOfARefusedCandidateTeachesPatience(t *testing.T) {
	s := newScene(t)
	s.rules.Patience, s.patience.least = 0, 0
	s.tripped("b.test", Wait) // wants the candidate, and never tries it
	q := s.call(Once, "POST")
	for range 3 {
		s.Failed(s.now, s.does(s.call(Once, "POST"), Send), broken)
	}
	s.does(q, Wait)
	s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
	trial := s.does(q, Try)
	s.Connected(s.now, trial)
	s.after(s.rules.RecreateTimeout)
	require.True(t, s.cand.refusedBy(q.Authority))
	s.after(2 * time.Second)
	assert.True(t, s.Answered(s.now, trial))
	assert.Equal(t, 2*(s.rules.RecreateTimeout+2*time.Second), s.patience.ofTrial(s.now, q.Authority))
}
