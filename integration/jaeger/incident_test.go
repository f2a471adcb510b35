package jaeger

import (
	"errors"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

const (
	service    = "respawn-gateway"
	recreation = "HTTP transport_recreation"
)

// TestSeenInJaeger lets the gateway's transport die in three ways and then its
// upstream go down, and looks for that in Jaeger as somebody who comes from an
// alert does.
func TestSeenInJaeger(t *testing.T) {
	if os.Getenv("JAEGER") == "" && os.Getenv("CI") != "true" {
		t.Skip("needs a Jaeger, which is built in minutes: make jaeger")
	}
	b := startJaeger(t)
	gateway := startGateway(t, b.otlp)

	gateway.untilAnswered(t)
	incidents := map[string][]request{} // by trigger; the last request made the trial
	gateway.breakWith(t, "blackhole")
	incidents["stall"] = gateway.untilAnswered(t)

	// Another one, which remembers no swap: within a minute of one against stalls a
	// proof takes several answers.
	gateway = startGateway(t, b.otlp)
	gateway.untilAnswered(t)
	for _, incident := range []struct{ fault, trigger string }{
		{"closed", "transport_ended"},
		{"tunnel", "dial_error"}, // a dialer that fails for reasons of its own
	} {
		gateway.breakWith(t, incident.fault)
		incidents[incident.trigger] = gateway.untilAnswered(t)
	}
	gateway.breakWith(t, "down")
	var refused []request
	var rejected trace
	await(t, func() error {
		refused = append(refused, gateway.get(t))
		found, err := b.search(linkOf(t, "RespawnUpstreamDown"))
		if err == nil && len(found) == 0 {
			err = errors.New("no rejection")
		}
		if err == nil {
			rejected = found[len(found)-1]
			if len(rejected.Spans) < 3 { // its request's end later, and may come with the next batch
				err = errors.New("not all of the rejection's trace")
			}
		}
		return err
	})
	gateway.breakWith(t, "none")
	gateway.untilAnswered(t)

	t.Run("service and operation", func(t *testing.T) {
		services, err := b.services()
		require.NoError(t, err)
		assert.Equal(t, []string{service}, services)
		operations, err := b.operations(service)
		require.NoError(t, err)
		assert.Contains(t, operations, operation{recreation, "internal"})
	})

	t.Run("one trace per incident", func(t *testing.T) {
		query := linkOf(t, "RespawnRecreatesOften")
		query.Set("tags", `{"respawn.outcome":"promoted"}`)
		found, err := b.search(query)
		require.NoError(t, err)
		var got, want []string
		for _, trace := range found {
			got = append(got, trace.TraceID)
		}
		for _, requests := range incidents {
			want = append(want, requests[len(requests)-1].traceID)
		}
		assert.ElementsMatch(t, want, got, "the traces that the callers began")
	})

	t.Run("documented searches", func(t *testing.T) {
		for _, query := range documentedSearches(t) {
			found, err := b.search(query)
			require.NoError(t, err)
			assert.NotEmpty(t, found, query.Encode())
			assert.Less(t, len(found), 20, "%s finds all there is", query.Encode())
		}
	})

	for trigger, requests := range incidents {
		t.Run(trigger, func(t *testing.T) {
			found, err := b.trace(requests[len(requests)-1].traceID)
			require.NoError(t, err)
			t.Log("\n" + found.text())
			s, client := parts(t, found)
			tags := s.tags()
			assert.Equal(t, "string "+trigger, tags["respawn.trigger"])
			assert.Equal(t, "string promoted", tags["respawn.outcome"])
			assert.NotContains(t, tags, "error")
			assert.NotContains(t, tags, "error.type")
			assert.Equal(t, "int64 200", client.tags()["http.response.status_code"])
			common(t, tags)
			if trigger == "transport_ended" {
				assert.NotContains(t, tags, "server.address", "it concerns all of them")
			} else {
				upstream(t, tags)
			}

			if trigger != "stall" {
				return
			}
			assert.Equal(t, "int64 4", tags["respawn.failure.count"], "three stalls and the control's")
			assert.Equal(t, "int64 2", client.tags()["http.request.resend_count"], "the control and the trial")
			var stalled []string
			for _, r := range requests[:len(requests)-1] {
				stalled = append(stalled, r.traceID)
				linked, err := b.trace(r.traceID)
				require.NoError(t, err, "links lead somewhere")
				assert.Empty(t, linked.named(recreation))
			}
			assert.Equal(t, stalled, s.links())
		})
	}

	t.Run("rejection", func(t *testing.T) {
		t.Log("\n" + rejected.text())
		assert.True(t, slices.ContainsFunc(refused, func(r request) bool { return r.traceID == rejected.TraceID }))
		s, client := parts(t, rejected)
		tags := s.tags()
		assert.Equal(t, "string connection_refused", tags["error.type"])
		assert.Equal(t, "bool true", tags["error"], "red in the UI")
		assert.Equal(t, "string ERROR", tags["otel.status_code"])
		assert.NotContains(t, tags, "otel.status_description")
		assert.Equal(t, "bool true", client.tags()["error"])
		common(t, tags)
		upstream(t, tags)
	})
}

// parts returns the one recreation of a trace, and the request that made its
// trial: the gateway's, as the child of what the gateway was asked.
func parts(t *testing.T, found trace) (s, client span) {
	t.Helper()
	require.Len(t, found.named(recreation), 1)
	s = found.named(recreation)[0]
	client, ok := found.span(s.parent())
	require.True(t, ok, "the parent is in the trace")
	assert.Equal(t, "HTTP GET", client.OperationName)
	assert.Equal(t, "string client", client.tags()["span.kind"])
	server, ok := found.span(client.parent())
	require.True(t, ok)
	assert.Equal(t, "GET /v1/", server.OperationName)
	assert.Equal(t, "string server", server.tags()["span.kind"])
	assert.Len(t, found.Spans, 3)
	return s, client
}

// common asserts what all recreations of the test say.
func common(t *testing.T, tags map[string]string) {
	t.Helper()
	assert.Equal(t, "string upstream", tags["respawn.name"])
	assert.Equal(t, "string internal", tags["span.kind"])
	assert.Equal(t, "string github.com/respawnhttp/respawn", tags["otel.scope.name"])
	assert.NotEmpty(t, tags["otel.scope.version"])
	for key, kind := range map[string]string{
		"respawn.failure.count":        "int64",
		"respawn.transport.generation": "int64",
		"respawn.backoff.delay":        "float64",
	} {
		assert.True(t, strings.HasPrefix(tags[key], kind+" "), "%s is %q", key, tags[key])
	}
}

// upstream asserts what a recreation says of the authority that was its reason.
func upstream(t *testing.T, tags map[string]string) {
	t.Helper()
	assert.Equal(t, "string 127.0.0.1", tags["server.address"])
	assert.Equal(t, "string https", tags["url.scheme"])
	assert.True(t, strings.HasPrefix(tags["server.port"], "int64 "), "server.port is %q", tags["server.port"])
}

// documentedSearches returns the queries of the searches in
// docs/observability.md.
func documentedSearches(t *testing.T) (queries []url.Values) {
	t.Helper()
	text, err := os.ReadFile("../../docs/observability.md")
	require.NoError(t, err)
	for _, link := range regexp.MustCompile("`(/search\\?[^`]*)`").FindAllSubmatch(text, -1) {
		u, err := url.Parse(string(link[1]))
		require.NoError(t, err)
		queries = append(queries, u.Query())
	}
	require.GreaterOrEqual(t, len(queries), 6)
	return queries
}

// linkOf returns the query behind the link to the traces that an alert of the
// gateway carries, as Prometheus would fill it in.
func linkOf(t *testing.T, alert string) url.Values {
	t.Helper()
	text, err := os.ReadFile("../../examples/gateway/alerts.yml")
	require.NoError(t, err)
	var file struct {
		Groups []struct {
			Rules []struct {
				Alert       string
				Annotations map[string]string
			}
		}
	}
	require.NoError(t, yaml.Unmarshal(text, &file))
	for _, group := range file.Groups {
		for _, rule := range group.Rules {
			if rule.Alert != alert {
				continue
			}
			link := strings.ReplaceAll(rule.Annotations["traces"], "{{ $labels.respawn_name | urlquery }}", "upstream")
			require.NotContains(t, link, "{{")
			u, err := url.Parse(link)
			require.NoError(t, err)
			require.Equal(t, "/search", u.Path)
			return u.Query()
		}
	}
	require.FailNow(t, "no such alert", alert)
	return nil
}
