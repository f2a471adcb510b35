package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// systemBinary is a program that the test needs from the system's packages.
func systemBinary(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is missing: make deps installs it", name)
		}
		t.Skipf("%s is missing: make deps installs it", name)
	}
	return path
}

// TestAlertRules has Prometheus' own tool read the rules and play their test.
func TestAlertRules(t *testing.T) {
	promtool := systemBinary(t, "promtool")
	for _, args := range [][]string{{"check", "rules", "alerts.yml"}, {"test", "rules", "alerts_test.yml"}} {
		out, err := exec.CommandContext(t.Context(), promtool, args...).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
}

// TestSeenByPrometheus lets the gateway meet a dead connection with a stream on
// it, and then an upstream that is down, and asks the Prometheus that scrapes
// it what was to be seen.
func TestSeenByPrometheus(t *testing.T) {
	t.Parallel()
	systemBinary(t, "prometheus") // before anything is started
	_, base, _ := startGateway(t, "-first-byte", "1s")
	gateway := caller{base}
	p := startPrometheus(t, base)
	p.await(t, `up{job="gateway"}`, 1)
	p.await(t, `respawn_transport_generation{respawn_name="upstream"}`, 1)

	leave := gateway.stream(t)
	p.await(t, `respawn_transport_in_flight{respawn_name="upstream"}`, 1)
	p.await(t, `respawn_transport_draining{respawn_name="upstream"}`, 0)
	stalled := gateway.blackhole(t)
	p.await(t, `respawn_transport_generation{respawn_name="upstream"}`, 2)
	p.await(t, `respawn_transport_draining{respawn_name="upstream"}`, 1) // the stream is not cut
	p.await(t, `respawn_transport_in_flight{respawn_name="upstream"}`, 1)
	leave()
	p.await(t, `respawn_transport_draining{respawn_name="upstream"}`, 0)
	p.await(t, `respawn_transport_in_flight{respawn_name="upstream"}`, 0)

	host := `server_address="127.0.0.1"`
	for _, expr := range []string{
		`respawn_transport_recreations_total{respawn_name="upstream", respawn_outcome="promoted", ` + host + `}`,
		`respawn_transport_recreation_duration_seconds_count{respawn_name="upstream", respawn_trigger="stall", respawn_outcome="promoted"}`,
		`respawn_recovery_duration_seconds_count{respawn_name="upstream", respawn_trigger="stall"}`,
		`respawn_recovery_duration_seconds_bucket{respawn_name="upstream", respawn_trigger="stall", le="300.0"}`, // OpenMetrics' way to write it
	} {
		labels := p.await(t, expr, 1)
		require.Equal(t, "respawn-gateway", p.await(t, "target_info{instance="+strconv.Quote(labels["instance"])+"}", 1)["service_name"])
		require.Contains(t, labels, "server_address", "the gateway asks for hosts")
	}
	p.await(t, `sum(respawn_request_replays_total{respawn_name="upstream"})`, 2) // the control and the trial
	// The control's deadline and its head start are over at the same time: it may be called off before it fails.
	p.await(t, `sum(respawn_transport_failures_total{respawn_name="upstream", respawn_trigger="stall"}) >= bool 3`, 1)
	p.await(t, `increase(respawn_transport_recreations_total{respawn_outcome="promoted", `+host+`}[5m]) > bool 0`, 1) // the first, too
	p.await(t, `respawn_authority_tripped{`+host+`}`, 0)
	p.await(t, `respawn_recovery_duration_seconds_sum{respawn_trigger="stall"} > bool 1`, 1)

	trial := stalled[len(stalled)-1]
	require.Equal(t, []string{trial.traceID}, p.exemplars(t, `respawn_recovery_duration_seconds_bucket{respawn_trigger="stall"}`))
	require.Equal(t, []string{trial.traceID}, p.exemplars(t, `respawn_transport_recreation_duration_seconds_bucket{respawn_outcome="promoted"}`))

	failed := gateway.outage(t)
	rejected := p.await(t, `count by (error_type) (respawn_transport_recreation_duration_seconds_count{respawn_outcome="rejected"}) > bool 0`, 1)
	require.Equal(t, map[string]string{"error_type": "connection_refused"}, rejected)
	for _, id := range p.exemplars(t, `respawn_transport_recreations_total{respawn_outcome="rejected"}`) {
		require.True(t, slices.ContainsFunc(failed, func(r tracedRequest) bool { return r.traceID == id }), id)
	}
	p.rules(t)
	for _, expr := range documentedQueries(t) {
		p.answers(t, expr)
	}
}

// stream has an endless answer sent to it until it leaves.
func (c caller) stream(t *testing.T) (leave func()) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.base+"/v1/chat/completions",
		strings.NewReader(`{"stream":true,"max_tokens":4096}`))
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	leave = func() { _ = resp.Body.Close() }
	t.Cleanup(leave)
	_, err = io.ReadFull(resp.Body, make([]byte, 1))
	require.NoError(t, err)
	return leave
}

// documentedQueries returns the PromQL of docs/observability.md.
func documentedQueries(t *testing.T) (exprs []string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/observability.md")
	require.NoError(t, err)
	for _, block := range regexp.MustCompile("(?s)```promql\n(.*?)```").FindAllSubmatch(text, -1) {
		exprs = append(exprs, string(block[1]))
	}
	require.GreaterOrEqual(t, len(exprs), 10)
	return exprs
}

// answers asserts that a query has an answer after the incident, all of it in
// numbers.
func (p prometheusServer) answers(t *testing.T, expr string) {
	t.Helper()
	points := p.query(t, expr)
	for deadline := time.Now().Add(patience); len(points) == 0; points = p.query(t, expr) {
		require.True(t, time.Now().Before(deadline), "no answer: %s", expr)
		time.Sleep(50 * time.Millisecond) // rules come a little after what they are about
	}
	for _, one := range points {
		require.False(t, math.IsNaN(one.value()), "%s is %v", expr, points)
		t.Logf("%v %v: %s", one.value(), one.Metric, strings.TrimSpace(expr))
	}
}

// rules asserts that Prometheus can evaluate the shipped rules, that they see
// the incident, and that a short one is no reason to wake anybody.
func (p prometheusServer) rules(t *testing.T) {
	t.Helper()
	for _, window := range []string{"5m", "30m", "1h", "6h"} {
		p.await(t, `respawn:lost_requests:ratio_rate`+window+`{job="gateway"} > bool 0`, 1)
	}
	var data struct {
		Groups []struct {
			Rules []struct{ Name, Health, LastError, State string }
		}
	}
	require.NoError(t, p.ask(t.Context(), "/api/v1/rules", nil, &data))
	rules := 0
	for _, group := range data.Groups {
		for _, rule := range group.Rules {
			rules++
			require.Equal(t, "ok", rule.Health, rule.LastError)
			// Here the history of all windows is the incident.
			require.True(t, rule.State != "firing" || rule.Name == "RespawnRequestsLost", rule.Name)
		}
	}
	require.Equal(t, 8, rules)
}

// A prometheusServer is the real one, in a process of its own.
type prometheusServer struct {
	url string
}

// startPrometheus runs a Prometheus that scrapes the gateway at base four
// times a second and keeps exemplars.
func startPrometheus(t *testing.T, base string) prometheusServer {
	t.Helper()
	binary := systemBinary(t, "prometheus")
	rules, err := filepath.Abs("alerts.yml")
	require.NoError(t, err)
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, `
global: {scrape_interval: 250ms, scrape_timeout: 250ms, evaluation_interval: 250ms}
rule_files: [%q]
scrape_configs:
  - job_name: gateway
    static_configs: [{targets: [%q]}]
`, rules, strings.TrimPrefix(base, "http://")), 0o600))

	address := freePort(t)
	stderr := &safeBuffer{}
	cmd := exec.Command(binary,
		"--config.file="+config,
		"--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+address,
		"--enable-feature=exemplar-storage")
	cmd.Stderr = stderr
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(stderr)
		}
	})
	p := prometheusServer{"http://" + address}
	require.Eventually(t, func() bool {
		resp, err := http.Get(p.url + "/-/ready")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	}, patience, 50*time.Millisecond, "%s", stderr)
	return p
}

// ask gets data of Prometheus' HTTP API.
func (p prometheusServer) ask(ctx context.Context, path string, query url.Values, data any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+path+"?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	answer := struct {
		Status string
		Data   any
	}{Data: data}
	if err := json.Unmarshal(text, &answer); err != nil || answer.Status != "success" {
		return fmt.Errorf("%v: %s", query, text)
	}
	return nil
}

// A point is one sample of an instant vector.
type point struct {
	Metric map[string]string
	Value  [2]any // time and value
}

func (p point) value() float64 {
	text, _ := p.Value[1].(string)
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		panic("Prometheus writes numbers: " + err.Error())
	}
	return v
}

// query returns the instant vector that a PromQL expression is now.
func (p prometheusServer) query(t *testing.T, expr string) []point {
	t.Helper()
	var data struct{ Result []point }
	require.NoError(t, p.ask(t.Context(), "/api/v1/query", url.Values{"query": {expr}}, &data))
	return data.Result
}

// await waits until the expression is one sample with the value, and returns
// its labels.
func (p prometheusServer) await(t *testing.T, expr string, value float64) map[string]string {
	t.Helper()
	var last []point
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		last = p.query(t, expr)
		if len(last) == 1 && last[0].value() == value {
			return last[0].Metric
		}
		require.True(t, time.Now().Before(deadline), "%s is %v, not %v", expr, last, value)
	}
}

// exemplars returns the trace ids that the exemplars of the selector's series
// carry, each once. It waits for the first.
func (p prometheusServer) exemplars(t *testing.T, selector string) []string {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		var data []struct {
			Exemplars []struct{ Labels map[string]string }
		}
		now := time.Now()
		require.NoError(t, p.ask(t.Context(), "/api/v1/query_exemplars", url.Values{
			"query": {selector},
			"start": {now.Add(-time.Hour).Format(time.RFC3339)},
			"end":   {now.Add(time.Minute).Format(time.RFC3339)},
		}, &data))
		var ids []string
		for _, series := range data {
			for _, e := range series.Exemplars {
				ids = append(ids, e.Labels["trace_id"])
			}
		}
		slices.Sort(ids)
		if ids = slices.Compact(ids); len(ids) > 0 {
			return ids
		}
		require.True(t, time.Now().Before(deadline), "no exemplar of %s", selector)
	}
}

// The first failure of a host begins a series, which no increase shows: the documented
// query counts it all the same, and nothing twice once the series is older.
func TestTheFirstFailureOfAHostIsSeen(t *testing.T) {
	promtool := systemBinary(t, "promtool")
	queries := documentedQueries(t)
	i := slices.IndexFunc(queries, func(q string) bool { return strings.Contains(q, "failures_total unless") })
	require.GreaterOrEqual(t, i, 0)
	series := func(host, trigger string) string {
		return fmt.Sprintf(`respawn_transport_failures_total{respawn_name="llm", server_address=%q, respawn_trigger=%q, instance="a"}`, host, trigger)
	}
	seen := func(host, trigger string) string {
		return fmt.Sprintf(`{respawn_name="llm", server_address=%q, respawn_trigger=%q}`, host, trigger)
	}
	type sample struct {
		Labels string  `json:"labels"`
		Value  float64 `json:"value"`
	}
	type check struct {
		Expr    string   `json:"expr"`
		Time    string   `json:"eval_time"`
		Samples []sample `json:"exp_samples"`
	}
	refused, stalled := sample{seen("new.test", "connection_refused"), 1}, sample{seen("new.test", "stall"), 2}
	file, err := json.Marshal(map[string]any{"evaluation_interval": "1m", "tests": []any{map[string]any{
		"interval": "1m",
		"input_series": []map[string]string{
			{"series": series("new.test", "connection_refused"), "values": "_x15 1x60"},
			{"series": series("new.test", "stall"), "values": "_x15 0x20 2x40"}, // begins with the host
			{"series": series("old.test", "connection_refused"), "values": "7x75"},
		},
		"promql_expr_test": []check{ // YAML takes JSON
			{queries[i], "14m", nil},
			{queries[i], "15m", []sample{refused}},
			{queries[i], "20m", []sample{refused}},
			{queries[i], "30m", nil},
			{"round(" + queries[i] + ")", "40m", []sample{stalled}},
			{queries[i], "60m", nil},
			{`increase(respawn_transport_failures_total{server_address="new.test"}[10m]) > 0`, "20m", nil},
		},
	}}})
	require.NoError(t, err)
	name := filepath.Join(t.TempDir(), "first.yml")
	require.NoError(t, os.WriteFile(name, file, 0o600))
	out, err := exec.CommandContext(t.Context(), promtool, "test", "rules", name).CombinedOutput()
	require.NoError(t, err, "%s", out)
}
