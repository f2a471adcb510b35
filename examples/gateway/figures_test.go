package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const ms = time.Millisecond

var errLost = errors.New("lost")

func TestTicks(t *testing.T) {
	records := []record{
		{sent: 10 * ms, ended: 50 * ms},                   // within the first tick
		{sent: 90 * ms, ended: 250 * ms},                  // over three
		{sent: 150 * ms, ended: 310 * ms, err: errLost},   // fails in the fourth
		{sent: 350 * ms},                                  // and waits for ever
		{sent: 1000 * ms, ended: 1010 * ms, err: errLost}, // after the end
	}
	require.Equal(t, []tick{
		{answered: 1, waiting: 1},
		{waiting: 2},
		{answered: 1, waiting: 1},
		{failed: 1, waiting: 1},
		{waiting: 1},
	}, ticksOf(records, 100*ms, 5, time.Second))
	require.Len(t, ticksOf(records, 100*ms, 5, 250*ms), 2, "of ticks that are over")
}

func TestLookOfATick(t *testing.T) {
	require.Equal(t, lookIdle, tick{}.look())
	require.Equal(t, lookWaiting, tick{waiting: 1}.look())
	require.Equal(t, lookAnswered, tick{answered: 1, waiting: 1}.look())
	require.Equal(t, lookFailed, tick{answered: 5, failed: 1, waiting: 1}.look())
}

func TestSumUp(t *testing.T) {
	f := sumUp([]record{
		{sent: 0, ended: 40 * ms},
		{sent: 95 * ms, ended: 160 * ms}, // answered after the fault, but sent before
		{sent: 100 * ms, ended: 150 * ms, err: errLost},
		{sent: 200 * ms, ended: 700 * ms, err: errLost},
		{sent: 600 * ms, ended: 630 * ms}, // back
		{sent: 700 * ms, ended: 735 * ms},
	}, 100*ms, time.Second)
	require.Equal(t, 6, f.Sent)
	require.Equal(t, 4, f.Answered)
	require.Equal(t, 2, f.Failed)
	require.InDelta(t, 0.470, f.LongestOutage, 1e-9)
	require.InDelta(t, 0.630, *f.RecoveredAt, 1e-9)
	require.InDelta(t, 0.035, f.P50, 1e-9)
	require.InDelta(t, 0.065, f.P99, 1e-9)
}

// A deadline that is longer than the outage: what waited fails when all is over.
func TestRecoveryWhileSomeStillWait(t *testing.T) {
	f := sumUp([]record{
		{sent: 150 * ms, ended: 900 * ms, err: errLost},
		{sent: 300 * ms, ended: 900 * ms, err: errLost},
		{sent: 400 * ms, ended: 430 * ms},
	}, 100*ms, time.Second)
	require.InDelta(t, 0.430, *f.RecoveredAt, 1e-9)
	require.Zero(t, f.LostLater)
}

func TestSumUpOfAClientThatNeverFails(t *testing.T) {
	f := sumUp([]record{{sent: 0, ended: 40 * ms}}, 0, time.Second)
	require.Nil(t, f.RecoveredAt)
	require.InDelta(t, 0.96, f.LongestOutage, 1e-9, "up to the end")
	require.Zero(t, sumUp(nil, 0, 0))
}

func TestPercentile(t *testing.T) {
	require.Zero(t, percentile(nil, 0.5))
	one := []time.Duration{7}
	require.EqualValues(t, 7, percentile(one, 0.01))
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(i + 1)
	}
	require.EqualValues(t, 50, percentile(hundred, 0.50))
	require.EqualValues(t, 99, percentile(hundred, 0.99))
	require.EqualValues(t, 100, percentile(hundred, 1))
}

func TestTable(t *testing.T) {
	var out bytes.Buffer
	sample().writeTo(&out, 0)
	require.Contains(t, out.String(), `
sent                            80            80
failed                          60            30
longest outage              3.01 s        1.55 s
recovered                    never     at 2.54 s
`)
	require.Contains(t, out.String(), `
HTTP transport_recreation
  parent         HTTP POST (client)
  trigger        stall
  outcome        promoted after 0.000 s
  generation     2
  failure count  21
  backoff delay  0.000 s
  outage         1.050 s
  links          8 to earlier failing requests
`)
}

func TestFiguresAreAsWideAsTheTerminal(t *testing.T) {
	for _, width := range []int{60, 80, 120} {
		var out bytes.Buffer
		sample().writeTo(&out, width)
		for line := range strings.Lines(out.String()) {
			require.LessOrEqual(t, len([]rune(line))-1, width, line)
		}
	}
}

func TestVerdict(t *testing.T) {
	outage := func(failed int, recovered float64, later int) figures {
		f := figures{Failed: failed, LostLater: later}
		if recovered > 0 {
			f.RecoveredAt = new(recovered)
		}
		return f
	}
	for says, in := range map[string]*incident{
		"plain never recovered; respawn was back 1.6 s after the fault; 21 lost, all on the dead connection.": {
			Fault: faultBlackhole, Seconds: 12, FaultAt: 3, Plain: outage(180, 0, 0), Respawn: outage(21, 4.6, 0)},
		"plain never recovered; respawn was back 0.1 s after the fault; 3 lost, all on the dead tunnel.": {
			Fault: faultTunnel, Seconds: 12, FaultAt: 3, Plain: outage(180, 0, 0), Respawn: outage(3, 3.1, 0)},
		"plain was back 5.0 s after the fault; respawn was back 1.0 s after the fault; 21 lost, 2 of them later.": {
			Fault: faultBlackhole, Seconds: 12, FaultAt: 3, Plain: outage(90, 8, 0), Respawn: outage(21, 4, 2)},
		"plain never recovered; respawn never failed; it lost nothing.": {
			Fault: faultClosed, Seconds: 12, FaultAt: 3, Plain: outage(180, 0, 0)},
		"plain never recovered; respawn never recovered; 9 lost.": {
			Fault: faultClosed, Seconds: 4, FaultAt: 3, Plain: outage(9, 0, 0), Respawn: outage(9, 0, 0)},
		"plain was back 0.1 s after the upstream; respawn was back 0.2 s after the upstream; " +
			"respawn tried 4 fresh transport(s) and swapped 0, since the old one was not to blame.": {
			Fault: faultDown, Seconds: 12, FaultAt: 3, HealedAt: new(6.0), Rejections: 4,
			Plain: outage(60, 6.1, 0), Respawn: outage(60, 6.2, 0)},
		"The show ended before the fault.": {Fault: faultDown, Seconds: 2, FaultAt: 3},
	} {
		require.Equal(t, says, in.verdict())
	}
}

// Each fault leads to the next, and all of them to the gateway.
func TestEveryShowSaysWhatToTryNext(t *testing.T) {
	said := map[string]bool{}
	for _, f := range faults() {
		said[f.next()] = true
	}
	require.Len(t, said, len(faults()))
	require.Contains(t, said, "-serve :8080")
	var out bytes.Buffer
	sample().writeTo(&out, 0)
	require.True(t, strings.HasSuffix(out.String(), "\nTry next: -fault tunnel\n"), out.String())
}
