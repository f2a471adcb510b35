package core

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The first transport was needed by nobody whose outage could go on: what fails within a
// minute of a start is news, and the backoff starts over.
func TestAnOutageSoonAfterAStartIsNews(t *testing.T) {
	s := newScene(t)
	s.Client = NewAbsent(s.rules, simStart)
	s.does(s.call(Copyable, "GET"), Wait)
	s.Built(s.now, s.cand.id, true, Draw{Interval: time.Second})
	s.Todo()
	s.now = s.now.Add(10 * time.Second)
	s.tripped("a.test", Wait)
	build := s.Todo().Build
	require.NotNil(t, build)
	require.Zero(t, build.Delay, "no interval comes before it")
}
