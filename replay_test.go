package respawn

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn/internal/body"
)

// tell fires the caller's httptrace hooks as net/http does.
func tell(req *http.Request, hooks ...string) {
	trace := httptrace.ContextClientTrace(req.Context())
	for _, hook := range hooks {
		switch {
		case trace == nil:
		case hook == "GetConn":
			trace.GetConn("a.test:80")
		case hook == "GotConn":
			trace.GotConn(httptrace.GotConnInfo{})
		case hook == "GotFirstResponseByte":
			trace.GotFirstResponseByte()
		}
	}
}

// Rule 6, in full: what is sent again after a first attempt that failed, as
// the transport sees it.
func TestReplayRules(t *testing.T) {
	modes := map[string]Replay{"idempotent": ReplayIdempotent, "unsent": ReplayUnsent, "never": ReplayNever}
	requests := []struct {
		name       string
		method     string
		header     http.Header
		idempotent bool // as net/http/request.go, isReplayable, has it
	}{
		{"GET", http.MethodGet, nil, true},
		{"empty method is GET", "", nil, true},
		{"HEAD", http.MethodHead, nil, true},
		{"OPTIONS", http.MethodOptions, nil, true},
		{"TRACE", http.MethodTrace, nil, true},
		{"POST", http.MethodPost, nil, false},
		{"PATCH", http.MethodPatch, nil, false},
		{"PUT, idempotent by RFC 9110 but not to net/http", http.MethodPut, nil, false},
		{"DELETE, likewise", http.MethodDelete, nil, false},
		{"CONNECT", http.MethodConnect, nil, false},
		{"get in lower case is another method", "get", nil, false},
		{"POST with Idempotency-Key", http.MethodPost, http.Header{"Idempotency-Key": {"1"}}, true},
		{"POST with X-Idempotency-Key", http.MethodPost, http.Header{"X-Idempotency-Key": {"1"}}, true},
		{"POST with an empty key", http.MethodPost, http.Header{"Idempotency-Key": {""}}, true},
		{"POST with a key of no values", http.MethodPost, http.Header{"X-Idempotency-Key": {}}, true},
		{"POST with another key", http.MethodPost, http.Header{"Idempotency-Keys": {"1"}}, false},
	}
	file := filepath.Join(t.TempDir(), "body")
	require.NoError(t, os.WriteFile(file, []byte(payload), 0o600))
	bodies := []struct {
		name  string
		read  bool // the failing attempt has read of it
		again bool // it can be had again
		make  func(*testing.T) (io.ReadCloser, func() (io.ReadCloser, error))
	}{
		{"none", false, true, func(*testing.T) (io.ReadCloser, func() (io.ReadCloser, error)) { return nil, nil }},
		{"NoBody", false, true, func(*testing.T) (io.ReadCloser, func() (io.ReadCloser, error)) { return http.NoBody, nil }},
		{"GetBody", false, true, withGetBody},
		{"GetBody, read", true, true, withGetBody},
		{"one-shot", false, true, oneShotBody},
		{"one-shot, read", true, false, oneShotBody},
		{"file", false, false, func(t *testing.T) (io.ReadCloser, func() (io.ReadCloser, error)) {
			f, err := os.Open(file) // net/http closes it when the dial fails, and a shield would lose sendfile
			require.NoError(t, err)
			return f, nil
		}},
	}
	phases := []struct {
		name    string
		watched bool // the authority was under suspicion
		hooks   []string
		err     error
		unsent  bool // nothing can have reached the server
	}{
		{"dial refused", false, nil, refused(), true},
		{"reset", false, nil, errReset, false},
		{"EOF, from a dialer or a server", false, nil, io.EOF, false},
		{"unknown", false, nil, errors.New("session shut down"), false},
		{"watched: dial refused", true, []string{"GetConn"}, refused(), true},
		{"watched: a custom dialer's EOF", true, []string{"GetConn"}, io.EOF, true},
		{"watched: a custom dialer's own error", true, []string{"GetConn"}, errors.New("session shut down"), true},
		{"watched: connected, then reset", true, []string{"GetConn", "GotConn"}, errReset, false},
		{"watched: connected, then refused further on", true, []string{"GetConn", "GotConn"}, refused(), false},
		{"watched: answered, then reset", true, []string{"GetConn", "GotConn", "GotFirstResponseByte"}, errReset, false},
		{"watched: a foreign base tried another connection by itself", true, []string{"GetConn", "GotConn", "GetConn"}, refused(), false},
		{"watched: no hooks", true, nil, errors.New("session shut down"), false},
		{"watched: no hooks, refused", true, nil, refused(), true},
	}
	for modeName, mode := range modes {
		for _, r := range requests {
			for _, b := range bodies {
				for _, ph := range phases {
					name := fmt.Sprintf("%s/%s/%s/%s", modeName, r.name, b.name, ph.name)
					want := mode != ReplayNever && b.again && (ph.unsent || mode == ReplayIdempotent && r.idempotent)
					t.Run(name, func(t *testing.T) {
						var attempts int
						var got []byte
						steps := []rtFunc{
							func(req *http.Request) (*http.Response, error) {
								attempts++
								tell(req, ph.hooks...)
								if b.read {
									_, err := req.Body.Read(make([]byte, 4))
									require.NoError(t, err)
								}
								closeBody(req)
								return nil, ph.err
							},
							func(req *http.Request) (*http.Response, error) {
								attempts++
								if req.Body != nil {
									got, _ = io.ReadAll(req.Body)
								}
								return answer(req)
							},
						}
						if ph.watched {
							steps = append([]rtFunc{lost}, steps...)
						}
						rt := start(t, script(steps...), WithReplay(mode), WithFactory(fails))
						if ph.watched {
							_, err := do(rt, mustRequest(t.Context(), http.MethodPost, "http://a.test/", nil))
							require.Error(t, err)
						}
						req := mustRequest(t.Context(), http.MethodGet, "http://a.test/", nil)
						req.Method, req.Header = r.method, r.header
						req.Body, req.GetBody = b.make(t)

						_, err := do(rt, req)

						if !want {
							assert.Equal(t, 1, attempts, "it must not be sent again")
							assert.True(t, err == ph.err, "got %v", err)
							return
						}
						require.NoError(t, err)
						assert.Equal(t, 2, attempts)
						if body.Has(req) {
							assert.Equal(t, payload, string(got), "the second attempt must send the whole body")
						}
					})
				}
			}
		}
	}
}

func withGetBody(*testing.T) (io.ReadCloser, func() (io.ReadCloser, error)) {
	get := func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(payload)), nil }
	body, _ := get()
	return body, get
}

func oneShotBody(*testing.T) (io.ReadCloser, func() (io.ReadCloser, error)) {
	return io.NopCloser(strings.NewReader(payload)), nil
}

// A POST that may have been processed is never sent twice: a real server reads
// it and hangs up, and counts.
func TestReplayProcessedPostIsSentOnce(t *testing.T) {
	for _, proto := range protocols {
		for _, mode := range []Replay{ReplayIdempotent, ReplayUnsent, ReplayNever} {
			for _, threshold := range []int{1, 3} {
				for _, kind := range []string{"none", "GetBody", "one-shot"} {
					t.Run(fmt.Sprintf("%s/%d/%d/%s", proto.name, mode, threshold, kind), func(t *testing.T) {
						noLeaks(t)
						var hits atomic.Int64
						srv, transport := proto.serve(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
							_, _ = io.Copy(io.Discard, req.Body)
							hits.Add(1)
							panic(http.ErrAbortHandler) // h1: the connection is closed; h2: the stream is reset
						}))
						rt := start(t, transport(), WithReplay(mode), WithThreshold(threshold))
						const posts = 5 // under suspicion and when tripped as well
						for range posts {
							req := mustRequest(t.Context(), http.MethodPost, srv.URL, nil)
							switch kind {
							case "GetBody":
								req.Body, req.GetBody = withGetBody(t)
							case "one-shot":
								req.Body, _ = oneShotBody(t)
							}
							_, err := do(rt, req)
							require.Error(t, err)
						}
						assert.EqualValues(t, posts, hits.Load(), "every POST must arrive once, no more and no less")
					})
				}
			}
		}
	}
}

// The caller who says that it may be sent twice is taken at its word.
func TestReplayWithIdempotencyKeyIsSentAgain(t *testing.T) {
	noLeaks(t)
	var hits atomic.Int64
	srv, transport := h1.serve(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		got, _ := io.ReadAll(req.Body)
		if hits.Add(1) == 1 {
			panic(http.ErrAbortHandler)
		}
		_, _ = w.Write(got)
	}))
	rt := start(t, transport())
	req := mustRequest(t.Context(), http.MethodPost, srv.URL, strings.NewReader(payload))
	req.Header.Set("Idempotency-Key", "1")
	resp, err := rt.RoundTrip(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	assert.Equal(t, payload, string(got))
	assert.EqualValues(t, 2, hits.Load())
}

// One request makes at most threshold + 1 attempts, the trial among them, and
// in the steady state of an outage exactly one.
func TestReplayAttemptsAreBounded(t *testing.T) {
	for _, threshold := range []int{1, 2, 5} {
		var attempts atomic.Int64
		broken := func(req *http.Request) (*http.Response, error) {
			attempts.Add(1)
			return unsent(req)
		}
		rt := start(t, rtFunc(broken), WithThreshold(threshold), WithFactory(builds(func() http.RoundTripper { return rtFunc(broken) }).make))
		_, err := get(t.Context(), rt, "http://a.test/")
		require.Error(t, err)
		assert.EqualValues(t, threshold+1, attempts.Swap(0), "threshold %d", threshold)
		for range 3 {
			_, err = get(t.Context(), rt, "http://a.test/")
			require.Error(t, err)
			assert.EqualValues(t, 1, attempts.Swap(0), "threshold %d, steady state", threshold)
		}
	}
}
