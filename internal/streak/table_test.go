package streak

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"

	"github.com/respawnhttp/respawn/internal/core"
	"github.com/respawnhttp/respawn/internal/evidence"
)

func host(i int) core.Authority {
	return core.Authority{Scheme: "http", Host: fmt.Sprint(i), Port: "80"}
}

// A flood of names that fail once pushes out each other, never an outage.
func TestTableIsBounded(t *testing.T) {
	var table Table
	now := time.Unix(0, 0)
	outage := table.Open(host(-1), now)
	outage.Tripped = true
	for i := range 3 * maxStreaks {
		table.Open(host(i), now.Add(time.Duration(i))).Failures = 1
	}
	assert.Len(t, table.m, maxStreaks)
	assert.Same(t, outage, table.Get(host(-1)))
	assert.Nil(t, table.Get(host(0)), "the oldest goes first")
}

func TestTableForgets(t *testing.T) {
	var table Table
	now := time.Unix(1<<30, 0)
	s := table.Open(host(1), now)
	table.Forget(now.Add(forgetAfter - 1))
	assert.False(t, table.Empty())
	table.Forget(now.Add(forgetAfter)) // looked just before
	assert.False(t, table.Empty())
	table.Forget(now.Add(forgetAfter + time.Minute))
	assert.True(t, table.Empty())
	<-s.Over
}

// What had tripped is an outage until its first success, with nothing counted.
func TestTableRestarts(t *testing.T) {
	var table Table
	now := time.Unix(0, 0)
	s, well := table.Open(host(1), now), table.Open(host(2), now)
	s.Tripped, s.Failures = true, 3
	over := s.Over
	table.Restart(context.Background())
	<-over
	<-well.Over
	require.Same(t, s, table.Get(host(1)))
	assert.Nil(t, table.Get(host(2)))
	assert.True(t, s.Outage())
	assert.False(t, s.Tripped)
	assert.Zero(t, s.Failures)
	assert.Equal(t, now, s.Since)
}

// Failures of attempts that ran beside each other are one.
func TestFailuresAreCountedCausally(t *testing.T) {
	var s Streak
	var w evidence.Watch
	assert.True(t, s.Fail(&w, 0, 1))
	assert.False(t, s.Fail(&w, 0, 2), "it began before the one that counted")
	assert.True(t, s.Fail(&w, 1, 2))
	assert.Equal(t, 2, s.Failures)
	assert.True(t, s.Late(1))
	assert.False(t, s.Late(2))
	assert.True(t, s.Unconfirmed())
}

func TestLinksAreBounded(t *testing.T) {
	var s Streak
	for i := range 2 * maxLinks {
		sc := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{byte(i + 1)}})
		s.Link(sc)
		s.Link(sc)
	}
	s.Link(trace.SpanContext{})
	assert.Len(t, s.Links, maxLinks)
}
