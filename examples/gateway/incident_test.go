package main

import (
	"encoding/hex"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/respawnhttp/respawn"
	"github.com/stretchr/testify/require"
)

// A caller is a client of a gateway that runs in a process of its own, and
// takes part in traces: every request of it has a trace of its own.
type caller struct {
	base string // the gateway's URL
}

// A traced request is one whose trace a test can look for.
type tracedRequest struct {
	traceID, spanID string // of the caller's own span, in hex
	status          int
}

// get sends a GET that the gateway will replay where it must.
func (c caller) get(t *testing.T, path string) tracedRequest {
	t.Helper()
	r := tracedRequest{traceID: randomHex(16), spanID: randomHex(8)}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.base+path, nil)
	require.NoError(t, err)
	req.Header.Set("Traceparent", "00-"+r.traceID+"-"+r.spanID+"-01")
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	require.NoError(t, err)
	r.status = resp.StatusCode
	return r
}

func randomHex(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(1 + rand.IntN(255)) // never all zero, which is no id
	}
	return hex.EncodeToString(b)
}

// chaos injects a fault, or undoes it.
func (c caller) chaos(t *testing.T, fault string) {
	t.Helper()
	resp, err := http.Post(c.base+"/chaos/"+fault, "", nil)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusOK, resp.StatusCode)
}

// health is what the gateway says of its one client.
func (c caller) health(t *testing.T) respawn.Health {
	t.Helper()
	resp, err := http.Get(c.base + "/health/readiness")
	require.NoError(t, err)
	defer resp.Body.Close()
	var document struct {
		Checks map[string][]respawn.Health `json:"checks"`
	}
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&document))
	for _, checks := range document.Checks {
		return checks[0]
	}
	require.FailNow(t, "no client")
	return respawn.Health{}
}

// patience bounds what is sure to come; it fails a broken test, not a slow
// machine.
const patience = 30 * time.Second

// until sends GETs until one brings about what is asked for, and returns all
// of them, that one last.
func (c caller) until(t *testing.T, done func(tracedRequest) bool) []tracedRequest {
	t.Helper()
	var requests []tracedRequest
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		requests = append(requests, c.get(t, "/v1/models"))
		if done(requests[len(requests)-1]) {
			return requests
		}
		require.True(t, time.Now().Before(deadline), "did not come about: %+v", requests)
	}
}

// blackhole lets the upstream's connection go dark, and returns the requests
// that met it: those that stalled, and the one that made the trial, last.
func (c caller) blackhole(t *testing.T) []tracedRequest {
	t.Helper()
	promotions := c.health(t).Promotions
	c.until(t, answered) // there is a connection to lose
	c.chaos(t, string(faultBlackhole))
	requests := c.until(t, answered)
	require.Equal(t, promotions+1, c.health(t).Promotions)
	return requests
}

// outage takes the upstream down until a trial was rejected, and brings it
// back. It returns the requests that failed meanwhile, and the first that was
// answered again, last.
func (c caller) outage(t *testing.T) []tracedRequest {
	t.Helper()
	rejections := c.health(t).Rejections
	c.chaos(t, string(faultDown))
	failed := c.until(t, func(tracedRequest) bool { return c.health(t).Rejections > rejections })
	for _, r := range failed {
		require.Equal(t, http.StatusBadGateway, r.status)
	}
	c.chaos(t, chaosNone)
	return append(failed, c.until(t, answered)...)
}

func answered(r tracedRequest) bool { return r.status == http.StatusOK }
