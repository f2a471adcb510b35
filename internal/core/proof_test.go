package core

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
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
	s.now = s.now.Add(answerGap)
	s.Tick(s.now)
	assert.Equal(t, fresh, s.Current())
}

// The answer to what can be asked only once proves the candidate at once if one like it was
// silent in service meanwhile.
func TestAnAnswerProvesWhereOneLikeItWasSilentMeanwhile(t *testing.T) {
	for _, method := range []string{"POST", "PATCH"} {
		s := newScene(t)
		waiting := s.does(s.call(Once, method), Send)
		s.silent([]*Attempt{waiting})
		q := s.call(Once, "POST")
		s.does(q, Wait)
		s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
		fresh := s.cand.id
		trial := s.does(q, Try)
		s.Silent(s.now, waiting)
		s.Answered(s.now, trial)
		assert.Equal(t, method == "POST", s.Current() == fresh, method)
	}
}
