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
		"another's answer without a control":    {of: other, does: func(st *stand) { st.served = []string{"POST"} }, tripped: 9},
		"another's answer waits for a verdict":  {of: other, does: func(st *stand) { st.answered, st.late = &Attempt{}, true }, tripped: 9},
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
	s.Asks(try)
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
	s.Asks(sent)
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
