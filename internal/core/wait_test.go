package core

import "testing"

// Whoever has waited for one candidate does not wait for another that somebody else asked
// for: nobody's wait is doubled.
func TestNobodyWaitsForTwoCandidates(t *testing.T) {
	s := newScene(t)
	q := s.call(Copyable, "GET")
	for range 3 {
		s.refused(s.does(q, Send))
	}
	s.does(q, Wait)
	s.Recreate(s.now, &Order{}) // ends what it waits for, and builds another one
	late := s.call(Copyable, "GET")
	s.refused(s.does(late, Send))
	s.does(late, Wait)
	s.does(q, GiveUp)
}
