package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// shortScript is fullScript with less before the fault. The times that matter, of the
// stall rule, the deadline and the backoff, are the same. After the fault a busy machine
// has some seconds more than an idle one needs.
func shortScript(f fault) script {
	s := fullScript(f)
	s.faultAt = 500 * time.Millisecond
	switch f {
	case faultBlackhole:
		s.length = 12 * time.Second
	case faultDown:
		// Between the trials at 0.5 s, 1 s, 1.75 s and 2.9 s, and clear of them.
		s.length, s.healAt = 5*time.Second, 2300*time.Millisecond
	default:
		s.length = 4 * time.Second
	}
	return s
}

// playShort plays a short show, and checks it. A show goes by the clock: if it fails, and the process stood
// still for a request or more, it shows nothing, and is played again.
func playShort(t *testing.T, s script, check func(require.TestingT, *incident)) {
	t.Helper()
	for again := 5; ; again-- {
		stood := standstill()
		in, err := show(t.Context(), s, muteScreen{}, io.Discard)
		longest := stood()
		require.NoError(t, err)
		if again == 0 || longest < s.every {
			checkAll(t, s, in)
			check(t, in)
			return
		}
		c, checked := new(complaint), make(chan struct{})
		go func() { // which ends where a check fails
			defer close(checked)
			checkAll(c, s, in)
			check(c, in)
		}()
		<-checked
		if *c == "" {
			return
		}
		t.Logf("%s is played again: the process stood still for %v, and then: %s", s.fault, longest, *c)
	}
}

// A complaint is what a check fails with.
type complaint string

func (c *complaint) Errorf(format string, args ...any) { *c += complaint(fmt.Sprintf(format, args...)) }
func (*complaint) FailNow()                            { runtime.Goexit() }

// checkAll asserts what holds of every show.
func checkAll(t require.TestingT, s script, in *incident) {
	require.Equal(t, s.fault, in.Fault)
	for _, f := range []figures{in.Plain, in.Respawn} {
		require.Equal(t, int(s.length/s.every), f.Sent, "the load is the same whatever happens")
		require.Equal(t, f.Sent, f.Answered+f.Failed)
		require.NotZero(t, f.Answered)
		require.Len(t, f.ticks, s.ticks())
	}
}

// requests is how many of them a client sends in a time.
func (s script) requests(d time.Duration) int { return int(d / s.every) }

// requireDead asserts that a client was well up to the fault and never after.
func requireDead(t require.TestingT, s script, f figures) {
	require.Nil(t, f.RecoveredAt)
	require.GreaterOrEqual(t, f.Failed, s.requests(s.length-s.faultAt))
	require.Greater(t, f.LongestOutage, (s.length - s.faultAt - 200*time.Millisecond).Seconds())
	require.EqualValues(t, 1, f.Connections)
	for i, tick := range f.ticks[s.faultAt/s.tick+1:] {
		require.Zero(t, tick.answered, "tick %d after the fault", i+1)
	}
}

// requireRecovered asserts that a client was back before the end, and lost less than the
// one beside it, which never was. How soon it is back depends on how busy the machine is.
func requireRecovered(t require.TestingT, in *incident) {
	f := in.Respawn
	if f.RecoveredAt == nil {
		require.Zero(t, f.Failed)
	}
	require.Less(t, f.Failed, in.Plain.Failed)
	require.True(t, f.answersInTheEnd())
}

// answersInTheEnd reports whether there was an answer in the last second.
func (f figures) answersInTheEnd() bool {
	return slices.ContainsFunc(f.ticks[max(0, len(f.ticks)-10):], func(k tick) bool { return k.answered > 0 })
}

func requirePromotedOnce(t require.TestingT, in *incident, triggers ...string) {
	require.Equal(t, 1, in.Promotions)
	require.Zero(t, in.Rejections)
	require.Equal(t, 2, in.Respawn.Transports)
	require.Len(t, in.Recreations, 1)
	r := in.Recreations[0]
	require.Equal(t, recreationSpan, r.Name)
	require.Equal(t, "HTTP POST (client)", r.Parent, "a child of the request that made the trial")
	require.Contains(t, triggers, r.Trigger)
	require.Equal(t, "promoted", r.Outcome)
	require.Empty(t, r.Error)
	require.EqualValues(t, 2, r.Generation)
	require.Zero(t, r.BackoffDelay, "the first one is at once")
	require.Len(t, r.TraceID, 32)
}

func TestShowBlackhole(t *testing.T) {
	t.Parallel()
	s := shortScript(faultBlackhole)
	playShort(t, s, func(t require.TestingT, in *incident) {
		requireDead(t, s, in.Plain)
		requireRecovered(t, in)
		requirePromotedOnce(t, in, "silence")
		require.GreaterOrEqual(t, in.Recreations[0].Failures, int64(3))
		require.NotZero(t, in.Recreations[0].Links)
		require.GreaterOrEqual(t, in.Recreations[0].Outage, 1.0)
		require.Nil(t, in.HealedAt)

		waited := in.Plain.ticks[s.faultAt/s.tick+1]
		require.Equal(t, lookWaiting, waited.look(), "before the first deadline passes")
	})
}

func TestShowClosed(t *testing.T) {
	t.Parallel()
	s := shortScript(faultClosed)
	playShort(t, s, func(t require.TestingT, in *incident) {
		requireDead(t, s, in.Plain)
		requireRecovered(t, in)
		requirePromotedOnce(t, in, "transport_ended")
		require.Zero(t, in.Recreations[0].Failures, "replaced before a request is lost on it")
	})
}

func TestShowTunnel(t *testing.T) {
	t.Parallel()
	s := shortScript(faultTunnel)
	playShort(t, s, func(t require.TestingT, in *incident) {
		requireDead(t, s, in.Plain)
		requireRecovered(t, in)
		requirePromotedOnce(t, in, "dial_error", "connection_closed") // session shutdown has no kind
		require.GreaterOrEqual(t, in.Recreations[0].Failures, int64(4), "the threshold and the control, and who came between them")
	})
}

func TestShowDown(t *testing.T) {
	t.Parallel()
	s := shortScript(faultDown)
	playShort(t, s, func(t require.TestingT, in *incident) {
		require.Zero(t, in.Promotions, "the transport was fine")
		require.NotZero(t, in.Rejections, "but that had to be found out")
		require.Len(t, in.Recreations, in.Rejections)
		for _, r := range in.Recreations {
			require.Equal(t, "rejected", r.Outcome)
			require.NotEmpty(t, r.Error)
			require.EqualValues(t, 1, r.Generation)
		}
		require.Equal(t, s.healAt.Seconds(), *in.HealedAt)
		for _, f := range []figures{in.Plain, in.Respawn} {
			require.NotNil(t, f.RecoveredAt, "both recover with the upstream")
			require.Greater(t, *f.RecoveredAt, s.healAt.Seconds())
			require.GreaterOrEqual(t, f.Failed, s.requests(s.healAt-s.faultAt))
			require.True(t, f.answersInTheEnd())
		}
	})
}

func TestAnInterruptedShowHasItsFiguresSoFar(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	in, err := show(ctx, fullScript(faultDown), interrupter{leave: cancel}, io.Discard)
	require.ErrorIs(t, err, errInterrupted)
	require.NotNil(t, in)
	require.Positive(t, in.Seconds)
	require.Less(t, in.Seconds, 5.0)
	require.Len(t, in.Plain.ticks, int(math.Round(in.Seconds*10)))
	for _, f := range []figures{in.Plain, in.Respawn} {
		require.NotZero(t, f.Answered)
		require.Zero(t, f.Failed, "what was in flight has not failed")
	}
	require.Contains(t, in.verdict(), "ended before the fault")
}

// An interrupter leaves once both clients have had an answer.
type interrupter struct {
	muteScreen
	leave func()
}

func (i interrupter) draw(_ time.Duration, plain, respawn []tick) {
	answered := func(t tick) bool { return t.look() == lookAnswered }
	if slices.ContainsFunc(plain, answered) && slices.ContainsFunc(respawn, answered) {
		i.leave()
	}
}

// Whoever leaves before the show begins is told so, and not what did not get ready for it.
func TestCtrlCBeforeTheShowBeginsIsNoFaultOfTheUpstream(t *testing.T) {
	t.Parallel()
	ctx, leave := context.WithCancel(t.Context())
	leave()
	var stdout, stderr bytes.Buffer
	require.Equal(t, statusFailed, run(ctx, nil, &stdout, &stderr))
	require.Equal(t, "gateway: interrupted\n", stderr.String())
	require.NotContains(t, stdout.String(), "longest outage")
}

// A watched buffer leaves once the show has written of its first second.
type watched struct {
	bytes.Buffer
	leave func()
}

func (w *watched) Write(p []byte) (int, error) {
	if bytes.HasPrefix(p, []byte("     1.0  ")) {
		w.leave()
	}
	return w.Buffer.Write(p)
}

func TestCtrlCPrintsWhatThereIs(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stdout, stderr := &watched{leave: cancel}, bytes.Buffer{}
	require.Equal(t, statusFailed, run(ctx, nil, stdout, &stderr))
	require.Equal(t, "gateway: interrupted\n", stderr.String())
	require.Contains(t, stdout.String(), "longest outage")
	require.Contains(t, stdout.String(), "The show ended before the fault.")
}

// sample is an incident as a show of four seconds might leave it.
func sample() *incident {
	s := fullScript(faultBlackhole)
	s.length, s.faultAt = 4*time.Second, time.Second
	in := &incident{
		Fault: s.fault, Seconds: s.length.Seconds(), FaultAt: s.faultAt.Seconds(), Promotions: 1,
		Recreations: []recreation{{
			Name: recreationSpan, TraceID: "0af7651916cd43dd8448eb211c80319c", Parent: "HTTP POST (client)",
			Trigger: "stall", Outcome: "promoted", Generation: 2, Failures: 21, Outage: 1.05, Links: 8,
		}},
	}
	for _, lane := range []struct {
		f    *figures
		back time.Duration
	}{{&in.Plain, s.length}, {&in.Respawn, 2500 * time.Millisecond}} {
		var records []record
		for at := time.Duration(0); at < s.length; at += s.every {
			r := record{sent: at, ended: at + 40*time.Millisecond}
			if at >= s.faultAt && at < lane.back {
				r.ended, r.err = at+s.deadline, context.DeadlineExceeded
			}
			records = append(records, r)
		}
		*lane.f = sumUp(records, s.faultAt, s.length)
		lane.f.ticks = ticksOf(records, s.tick, s.ticks(), s.length)
		lane.f.Connections, lane.f.Transports = 1, 1
	}
	return in
}

func TestJSONHasTheDocumentedFields(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, sample().writeJSONTo(&out))
	var doc map[string]any
	require.NoError(t, json.Unmarshal(out.Bytes(), &doc))

	require.ElementsMatch(t, keys(doc), []string{
		"fault", "seconds", "fault_at_seconds", "plain", "respawn", "promotions", "rejections", "recreations"})
	for _, lane := range []string{"plain", "respawn"} {
		require.ElementsMatch(t, keys(doc[lane].(map[string]any)), []string{
			"sent", "answered", "failed", "longest_outage_seconds", "recovered_at_seconds", "failed_after_recovery",
			"p50_seconds", "p99_seconds", "connections_opened", "transports_built"})
	}
	require.ElementsMatch(t, keys(doc["recreations"].([]any)[0].(map[string]any)), []string{
		"name", "trace_id", "parent", "trigger", "outcome", "generation", "failure_count",
		"backoff_delay_seconds", "outage_seconds", "duration_seconds", "links"})
	require.Nil(t, doc["plain"].(map[string]any)["recovered_at_seconds"])
	require.InDelta(t, 2.54, doc["respawn"].(map[string]any)["recovered_at_seconds"], 0.001)
}

func keys(m map[string]any) []string {
	all := make([]string, 0, len(m))
	for k := range m {
		all = append(all, k)
	}
	return all
}
