package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/respawnhttp/respawn"
	"github.com/stretchr/testify/require"
)

// A safeBuffer is a bytes.Buffer that tests may read while others write.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// A rig is a gateway on a loopback port, before an upstream of the test's.
type rig struct {
	url  string
	link *link // nil unless the upstream is the embedded one
	rt   *respawn.RecoveringRoundTripper

	contact *contact // which has been made

	logs *safeBuffer
	out  *safeBuffer

	conns atomic.Int64 // that callers have opened
}

func newRig(t *testing.T, target string, pool *sessions, l *link, opts ...respawn.Option) *rig {
	t.Helper()
	r := &rig{link: l, logs: &safeBuffer{}, out: &safeBuffer{}}
	tel, err := newTelemetry(t.Context(), summary{
		spans: &recreationPrinter{w: r.out}, logs: slog.NewTextHandler(r.logs, nil),
	})
	require.NoError(t, err)
	t.Cleanup(func() { flush(tel, io.Discard) })
	r.rt, err = recovering("upstream", pool, tel, opts...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = r.rt.Close() })
	to, err := url.Parse(target)
	require.NoError(t, err)
	r.contact = newContact(to, pool.cfg, tel.logger)
	r.contact.unfit.Store(nil)
	routes := append(publicRoutes(to, r.rt, tel), debugRoutes(r.rt, tel, r.contact)...)
	if l != nil {
		routes = append(routes, chaosRoutes(l, tel.logger)...)
	}
	server := httptest.NewUnstartedServer(mount("rig", routes...))
	server.Config.ErrorLog = slog.NewLogLogger(tel.logger.Handler(), slog.LevelWarn)
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			r.conns.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	// Whatever a test does to it, the gateway never panics.
	t.Cleanup(func() { require.NotContains(t, r.logs.String(), "panic") })
	r.url = server.URL
	return r
}

// newEmbeddedRig has the embedded upstream behind the gateway. What answers does so in time, however
// busy the machine is.
func newEmbeddedRig(t *testing.T) *rig {
	t.Helper()
	return newEmbeddedRigFor(t, patience)
}

// newEmbeddedRigFor gives an answer up that takes so long to begin, for tests of connections that go dark.
func newEmbeddedRigFor(t *testing.T, firstByte time.Duration) *rig {
	t.Helper()
	u, err := newUpstream(time.Millisecond)
	require.NoError(t, err)
	t.Cleanup(u.close)
	l, err := newLink(t.Context(), u, sessionConfig{firstByte: firstByte})
	require.NoError(t, err)
	return newRig(t, l.url(), l.sessions, l)
}

// reports waits for a line of the summary for want of OTEL_*. Nobody's answer
// waits for that.
func (r *rig) reports(t *testing.T, line string) {
	t.Helper()
	require.Eventually(t, func() bool { return strings.Contains(r.out.String(), line) }, patience, 10*time.Millisecond, line)
}

// get returns status and body.
func (r *rig) get(t *testing.T, path string) (int, string) {
	t.Helper()
	return r.do(t, http.MethodGet, path, "")
}

func (r *rig) do(t *testing.T, method, path, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, r.url+path, strings.NewReader(body))
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(text)
}

// The upstream sends its second chunk only when the client has read the first:
// a gateway that holds anything back never gets there.
func TestStreamsArriveChunkByChunk(t *testing.T) {
	const first, last = "data: first\n", "data: last\n"
	for name, header := range map[string]http.Header{
		"events":       {"Content-Type": {"text/event-stream"}},
		"other stream": {"Content-Type": {"application/x-ndjson"}},
		"known length": {"Content-Type": {"text/plain"}, "Content-Length": {strconv.Itoa(len(first + last))}},
	} {
		t.Run(name, func(t *testing.T) {
			hasRead := make(chan struct{})
			upstream := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				maps.Copy(w.Header(), header)
				w.Header().Set("X-Proto", req.Proto)
				_, _ = io.WriteString(w, first)
				_ = http.NewResponseController(w).Flush()
				select {
				case <-hasRead:
					_, _ = io.WriteString(w, last)
				case <-time.After(5 * time.Second):
				}
			}))
			upstream.EnableHTTP2 = true
			upstream.StartTLS()
			defer upstream.Close()
			pool := &sessions{cfg: sessionConfig{roots: upstream.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}}
			r := newRig(t, upstream.URL, pool, nil)

			resp, err := http.Post(r.url+"/v1/chat/completions", "application/json", strings.NewReader("{}"))
			require.NoError(t, err)
			defer resp.Body.Close()
			require.Equal(t, "HTTP/2.0", resp.Header.Get("X-Proto"))
			lines := bufio.NewReader(resp.Body)
			line, err := lines.ReadString('\n')
			require.NoError(t, err, "held back until the upstream gave up waiting")
			require.Equal(t, first, line)
			close(hasRead)
			line, err = lines.ReadString('\n')
			require.NoError(t, err, r.logs)
			require.Equal(t, last, line)
		})
	}
}

func TestEmbeddedUpstreamSpeaksOpenAI(t *testing.T) {
	r := newEmbeddedRig(t)

	status, body := r.do(t, http.MethodPost, "/v1/chat/completions", `{"model":"m","messages":[]}`)
	require.Equal(t, http.StatusOK, status)
	var whole chatResponse
	require.NoError(t, json.Unmarshal([]byte(body), &whole))
	require.Equal(t, "chat.completion", whole.Object)
	require.Equal(t, "m", whole.Model)
	require.Equal(t, "A fresh transport has to earn its place.", whole.Choices[0].Message.Content)
	require.Equal(t, "stop", *whole.Choices[0].FinishReason)

	status, body = r.do(t, http.MethodPost, "/v1/chat/completions", `{"model":"m","stream":true,"max_tokens":3}`)
	require.Equal(t, http.StatusOK, status)
	events := strings.Split(strings.TrimSuffix(body, "\n\n"), "\n\n")
	require.Len(t, events, 4)
	require.Equal(t, "data: [DONE]", events[3])
	var said strings.Builder
	for i, event := range events[:3] {
		var chunk chatResponse
		require.NoError(t, json.Unmarshal([]byte(strings.TrimPrefix(event, "data: ")), &chunk))
		require.Equal(t, "chat.completion.chunk", chunk.Object)
		require.Equal(t, i == 2, chunk.Choices[0].FinishReason != nil)
		said.WriteString(chunk.Choices[0].Delta.Content)
	}
	require.Equal(t, "A fresh transport ", said.String())

	status, body = r.do(t, http.MethodPost, "/v1/chat/completions", `not JSON`)
	require.Equal(t, http.StatusBadRequest, status)
	require.Contains(t, body, "invalid_request_error")

	status, body = r.get(t, "/v1/models")
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, `"id":"embedded"`)

	status, _ = r.get(t, "/v1/nothing")
	require.Equal(t, http.StatusNotFound, status)
}

func TestHealthAndMetrics(t *testing.T) {
	r := newEmbeddedRig(t)
	status, body := r.get(t, "/v1/models")
	require.Equal(t, http.StatusOK, status, body)

	status, body = r.get(t, "/health/liveness")
	require.Equal(t, http.StatusOK, status)
	require.JSONEq(t, `{"status":"pass"}`, body)

	status, body = r.get(t, "/health/readiness")
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, `"name":"upstream"`)

	status, body = r.get(t, "/metrics")
	require.Equal(t, http.StatusOK, status)
	require.Regexp(t, `(?m)^respawn_transport_generation\{.*respawn_name="upstream".*\} 1$`, body)
	require.Contains(t, body, "http_server_request_duration_seconds_count")
	require.Contains(t, body, "http_client_request_duration_seconds_count")

	require.NoError(t, r.rt.Close())
	status, _ = r.get(t, "/health/readiness")
	require.Equal(t, http.StatusServiceUnavailable, status, "not fit to serve")
	status, _ = r.get(t, "/health/liveness")
	require.Equal(t, http.StatusOK, status, "a restart would not help")
}

func TestRecreationsByHandAreReportedToo(t *testing.T) {
	r := newEmbeddedRig(t)
	require.NoError(t, r.rt.Recreate(t.Context())) // no request is there to lead to the tracer
	r.reports(t, "trigger        manual")
	r.reports(t, "parent         none, a root")
}

func TestChaosByHand(t *testing.T) {
	for f, recovers := range map[fault]struct {
		after     time.Duration
		firstByte time.Duration
		promotion int
	}{
		faultClosed:    {0, patience, 1},
		faultTunnel:    {0, patience, 1},
		faultBlackhole: {patience, 500 * time.Millisecond, 1},
	} {
		t.Run(string(f), func(t *testing.T) {
			t.Parallel()
			r := newEmbeddedRigFor(t, recovers.firstByte)
			r.firstAnswer(t)
			status, body := r.do(t, http.MethodPost, "/chaos/"+string(f), "")
			require.Equal(t, http.StatusOK, status)
			require.Contains(t, body, string(f))
			require.Contains(t, r.logs.String(), "chaos: ")

			deadline := time.Now().Add(recovers.after)
			for {
				status, body = r.get(t, "/v1/models")
				if status == http.StatusOK || time.Now().After(deadline) {
					break
				}
				require.Equal(t, http.StatusGatewayTimeout, status, body)
			}
			require.Equal(t, http.StatusOK, status, body)
			require.Equal(t, recovers.promotion, r.rt.Health().Promotions)
			r.reports(t, "outcome        promoted")
			_, body = r.get(t, "/metrics")
			require.Contains(t, body, "respawn_transport_recreations_total")
		})
	}
}

func TestChaosDownAndBack(t *testing.T) {
	t.Parallel()
	r := newEmbeddedRig(t)
	status, _ := r.get(t, "/v1/models")
	require.Equal(t, http.StatusOK, status)
	status, _ = r.do(t, http.MethodPost, "/chaos/down", "")
	require.Equal(t, http.StatusOK, status)
	status, body := r.get(t, "/v1/models")
	require.Equal(t, http.StatusBadGateway, status)
	require.NotContains(t, body, "127.0.0.1", "internal addresses are for the log")
	require.Contains(t, r.logs.String(), "connection refused")

	status, _ = r.do(t, http.MethodPost, "/chaos/none", "")
	require.Equal(t, http.StatusOK, status)
	status, body = r.get(t, "/v1/models")
	require.Equal(t, http.StatusOK, status, body)
	require.Zero(t, r.rt.Health().Promotions)
}

func TestChaosOfNoSuchFault(t *testing.T) {
	r := newEmbeddedRig(t)
	status, body := r.do(t, http.MethodPost, "/chaos/earthquake", "")
	require.Equal(t, http.StatusNotFound, status)
	require.Contains(t, body, "blackhole, closed, tunnel, down, or none")
	status, _ = r.get(t, "/chaos/down")
	require.Equal(t, http.StatusMethodNotAllowed, status)
}

func TestTheIndexLeadsToAllThereIs(t *testing.T) {
	r := newEmbeddedRig(t)
	status, body := r.get(t, "/")
	require.Equal(t, http.StatusOK, status)
	paths := 0
	for line := range strings.Lines(body) {
		fields := strings.Fields(line)
		if len(fields) < 3 || fields[0] != http.MethodGet || fields[1] == "/v1/" {
			continue
		}
		paths++
		status, _ = r.get(t, fields[1])
		require.Equal(t, http.StatusOK, status, line)
	}
	require.Equal(t, 5, paths, body)
	require.Contains(t, body, "/v1/ ")
	require.Contains(t, body, "POST /chaos/{fault}")
	status, _ = r.get(t, "/nothing")
	require.Equal(t, http.StatusNotFound, status)

	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.url+"/", nil)
	require.NoError(t, err)
	req.Header.Set("Accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8")
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, "text/html; charset=utf-8", resp.Header.Get("Content-Type"))
	require.Contains(t, string(page), `<a href="/debug/respawn">/debug/respawn</a>`)
	require.NotContains(t, string(page), `<a href="/v1/">`, "which leads nowhere")
}

func TestChaosSaysWhatItCanDoAndHowToUndoIt(t *testing.T) {
	r := newEmbeddedRig(t)
	status, body := r.get(t, "/chaos/")
	require.Equal(t, http.StatusOK, status)
	for _, f := range faults() {
		require.Regexp(t, `POST /chaos/`+string(f)+` +.*(Undone by|Nothing undoes it)`, body)
	}
	require.Contains(t, body, "POST /chaos/none")
	_, body = r.do(t, http.MethodPost, "/chaos/down", "")
	require.Contains(t, body, `"undo":"Undone by POST /chaos/none."`)
}

func TestNoChaosForARealUpstream(t *testing.T) {
	upstream := httptest.NewServer(http.NotFoundHandler())
	defer upstream.Close()
	r := newRig(t, upstream.URL, &sessions{}, nil)
	status, _ := r.do(t, http.MethodPost, "/chaos/closed", "")
	require.Equal(t, http.StatusNotFound, status)
}
