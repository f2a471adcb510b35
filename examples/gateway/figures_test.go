package main

import (
	"bytes"
	"errors"
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
	sample().writeTo(&out)
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
