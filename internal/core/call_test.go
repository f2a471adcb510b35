package core

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// A request asks what to do next only once nothing is under way for its caller: neither a
// trial, nor the copy of an attempt that has failed.
func TestWhoHasSomethingUnderWayDoesNotAsk(t *testing.T) {
	s := newScene(t)
	control, copied := s.copiedWithControl()
	s.Failed(s.now, control, lost)
	assert.True(t, control.Call.Flying(), "its copy may be answered")
	s.Failed(s.now, copied, lost)
	assert.False(t, control.Call.Flying())

	s = newScene(t)
	s.tripped("a.test", Wait)
	s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
	q := s.call(Copyable, "GET")
	s.refused(s.does(q, Send))
	s.does(q, Try)
	assert.True(t, q.Flying())
}
