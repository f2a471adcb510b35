package main

import (
	"encoding/json"
	"math"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The moments of an incident at which a panel has something to say.
const (
	whileDark   = "while a connection is dark, and requests wait on it"
	whileDown   = "while the upstream is down"
	afterwards  = "when both are over"
	whileDrains = "while a stream runs on, on the transport that was replaced"
)

// speaks is when each panel of the dashboard does.
var speaks = map[string]string{
	"Down now":                                   whileDown,
	"Down, by host":                              whileDown,
	"Requests lost":                              whileDown,
	"Error budget burn rate":                     whileDown,
	"Recreations":                                whileDown,
	"Why fresh transports were rejected":         whileDown,
	"What attempts fail with":                    whileDown,
	"From the first failure to the next success": afterwards,
	"From a recreation's start to its verdict":   whileDown,
	"Swaps since the start":                      whileDrains,
	"In flight":                                  whileDark,
	"Replaced transports that drain":             whileDrains,
	"Requests sent again":                        whileDrains,
}

// panelQueries returns the PromQL of the dashboard, by panel, as Grafana sends it
// with all services and clients selected.
func panelQueries(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile("dashboard.json")
	require.NoError(t, err)
	var d struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	require.NoError(t, json.Unmarshal(text, &d))
	filled := strings.NewReplacer("$job", ".*", "$client", ".*", "$__rate_interval", "10s")
	queries := map[string][]string{}
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			require.NotEmpty(t, target.Expr, p.Title)
			queries[p.Title] = append(queries[p.Title], filled.Replace(target.Expr))
		}
	}
	return queries
}

// says reports whether a query says at a time that anything is the matter: no
// sample and 0 do not.
func (p prometheusServer) says(t *testing.T, expr string, at time.Time) bool {
	t.Helper()
	var data struct{ Result []point }
	require.NoError(t, p.ask(t.Context(), "/api/v1/query", url.Values{
		"query": {expr}, "time": {strconv.FormatFloat(float64(at.UnixMilli())/1000, 'f', 3, 64)},
	}, &data))
	for _, one := range data.Result {
		if v := one.value(); v != 0 && !math.IsNaN(v) {
			return true
		}
	}
	return false
}

// Every query of the dashboard is silent before an incident, and says something
// at a named moment of it.
func TestDashboardTellsAnIncident(t *testing.T) {
	t.Parallel()
	queries := panelQueries(t)
	for title := range queries {
		require.Contains(t, speaks, title, "when does this panel speak?")
	}
	require.Len(t, queries, len(speaks))
	_, base, _ := startGateway(t, "-first-byte", "1s")
	gateway := caller{base}
	gateway.until(t, answered)
	p := startPrometheus(t, base)
	p.await(t, `count(respawn_transport_generation) and on() sum(http_client_request_duration_seconds_count) > bool 0`, 1)
	time.Sleep(time.Second) // a few scrapes of nothing
	before := time.Now()
	for title, exprs := range queries {
		for _, expr := range exprs {
			require.False(t, p.says(t, expr, before), "%s: %s", title, expr)
		}
	}

	// at waits until all panels that speak at a moment do, while that goes on.
	at := func(moment string, goesOn func()) {
		t.Helper()
		for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
			goesOn()
			silent := ""
			now := time.Now()
			for title, exprs := range queries {
				for _, expr := range exprs {
					if speaks[title] == moment && !p.says(t, expr, now) {
						silent = title + ": " + expr
					}
				}
			}
			if silent == "" {
				t.Logf("%s: second %.1f", moment, now.Sub(before).Seconds())
				return
			}
			require.True(t, time.Now().Before(deadline), "%s, this says nothing: %s", moment, silent)
		}
	}

	leave := gateway.stream(t)
	gateway.chaos(t, string(faultBlackhole))
	at(whileDark, func() {})
	gateway.until(t, answered)
	at(whileDrains, func() {})
	leave()
	gateway.chaos(t, string(faultDown))
	at(whileDown, func() { require.Equal(t, http.StatusBadGateway, gateway.get(t, "/v1/models").status) })
	gateway.chaos(t, chaosNone)
	gateway.until(t, answered)
	at(afterwards, func() {})
}
