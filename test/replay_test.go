package test

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
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// tell fires the hooks of whoever watches as net/http does.
func tell(req *http.Request, hooks ...string) {
	trace := httptrace.ContextClientTrace(req.Context())
	for _, hook := range hooks {
		switch {
		case trace == nil:
		case hook == "GetConn":
			trace.GetConn("a.test:80")
		case hook == "GetConn of another":
			trace.GetConn("discovery.test:80")
		case hook == "GotConn":
			trace.GotConn(httptrace.GotConnInfo{})
		}
	}
}

// Rule 8, in full: what is sent again after a first attempt that failed, as
// the transport sees it.
func TestReplayRules(t *testing.T) {
	modes := map[string]respawn.Replay{"idempotent": respawn.ReplayIdempotent, "unsent": respawn.ReplayUnsent, "never": respawn.ReplayNever}
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
		seen  bool // that it was read is seen, and means that something may have been sent
		make  func(*testing.T) (io.ReadCloser, func() (io.ReadCloser, error))
	}{
		{"none", false, true, false, func(*testing.T) (io.ReadCloser, func() (io.ReadCloser, error)) { return nil, nil }},
		{"NoBody", false, true, false, func(*testing.T) (io.ReadCloser, func() (io.ReadCloser, error)) { return http.NoBody, nil }},
		{"GetBody", false, true, false, withGetBody},
		{"GetBody, read", true, true, true, withGetBody},
		{"GetBody, of which Read gave nothing", false, true, false, withEmptyReads},
		{"in memory, with GetBody", false, true, false, withGetBodyInMemory},
		{"in memory, with GetBody, read", true, true, false, withGetBodyInMemory},
		{"one-shot, of which Read gave nothing", false, true, false, oneShotWithEmptyReads},
		{"one-shot", false, true, false, oneShotBody},
		{"one-shot, read", true, false, true, oneShotBody},
		{"file", false, true, false, func(t *testing.T) (io.ReadCloser, func() (io.ReadCloser, error)) {
			f, err := os.Open(file)
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
		{"dial refused", false, nil, testkit.Refused(), true},
		{"reset", false, nil, errReset, false},
		{"EOF, from a dialer or a server", false, nil, io.EOF, false},
		{"unknown", false, nil, errors.New("session shut down"), false},
		{"a custom dialer's EOF", false, []string{"GetConn"}, io.EOF, true},
		{"a custom dialer's own error", false, []string{"GetConn"}, errors.New("session shut down"), true},
		{"a custom dialer's own error, after a request of its own", false, []string{"GetConn", "GetConn of another", "GotConn"},
			errors.New("session shut down"), false},
		{"connected, then an error of its own", false, []string{"GetConn", "GotConn"}, errors.New("session shut down"), false},
		{"watched: dial refused", true, []string{"GetConn"}, testkit.Refused(), true},
		{"watched: a custom dialer's EOF", true, []string{"GetConn"}, io.EOF, true},
		{"watched: a custom dialer's own error", true, []string{"GetConn"}, errors.New("session shut down"), true},
		{"watched: connected, then reset", true, []string{"GetConn", "GotConn"}, errReset, false},
		{"watched: connected, then refused further on", true, []string{"GetConn", "GotConn"}, testkit.Refused(), false},
		{"watched: a foreign base tried another connection by itself", true, []string{"GetConn", "GotConn", "GetConn"}, testkit.Refused(), false},
		{"watched: no hooks", true, nil, errors.New("session shut down"), false},
		{"watched: no hooks, refused", true, nil, testkit.Refused(), true},
	}
	for modeName, mode := range modes {
		for _, r := range requests {
			for _, b := range bodies {
				for _, ph := range phases {
					name := fmt.Sprintf("%s/%s/%s/%s", modeName, r.name, b.name, ph.name)
					again := mode == respawn.ReplayIdempotent && r.idempotent
					want := mode != respawn.ReplayNever && b.again && (ph.unsent && !b.seen || again)
					t.Run(name, func(t *testing.T) {
						var attempts int
						var got []byte
						steps := []testkit.RoundTripperFunc{
							func(req *http.Request) (*http.Response, error) {
								attempts++
								tell(req, ph.hooks...)
								if b.read {
									_, err := req.Body.Read(make([]byte, 4))
									require.NoError(t, err)
								} else if req.Body != nil && strings.Contains(b.name, "Read gave nothing") {
									n, err := req.Body.Read(make([]byte, 4))
									require.NoError(t, err)
									require.Zero(t, n)
								}
								testkit.CloseBody(req)
								return nil, ph.err
							},
							func(req *http.Request) (*http.Response, error) {
								attempts++
								if req.Body != nil {
									got, _ = io.ReadAll(req.Body)
								}
								return testkit.Answer(req)
							},
						}
						if ph.watched {
							steps = append([]testkit.RoundTripperFunc{lost}, steps...)
						}
						rt := start(t, script(steps...), respawn.WithReplay(mode), respawn.WithFactory(fails))
						if ph.watched {
							_, err := testkit.Do(rt, request(t.Context(), http.MethodPost, "http://a.test/", nil))
							require.Error(t, err)
						}
						req := request(t.Context(), http.MethodGet, "http://a.test/", nil)
						req.Method, req.Header = r.method, r.header
						req.Body, req.GetBody = b.make(t)

						_, err := testkit.Do(rt, req)

						if !want {
							assert.Equal(t, 1, attempts, "it must not be sent again")
							assert.True(t, err == ph.err, "got %v", err)
							return
						}
						require.NoError(t, err)
						assert.Equal(t, 2, attempts)
						if req.Body != nil && req.Body != http.NoBody {
							assert.Equal(t, payload, string(got), "the second attempt must send the whole body")
						}
					})
				}
			}
		}
	}
}

// withGetBody returns a body that can be had again, whose reads are its own.
func withGetBody(*testing.T) (io.ReadCloser, func() (io.ReadCloser, error)) {
	get := func() (io.ReadCloser, error) { return track(strings.NewReader(payload)), nil }
	body, _ := get()
	return body, get
}

func withGetBodyInMemory(*testing.T) (io.ReadCloser, func() (io.ReadCloser, error)) {
	get := func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(payload)), nil }
	body, _ := get()
	return body, get
}

func oneShotBody(*testing.T) (io.ReadCloser, func() (io.ReadCloser, error)) {
	return track(strings.NewReader(payload)), nil
}

// reluctant gives nothing at the first Read, which is no end.
type reluctant struct {
	io.Reader
	asked bool
}

func (r *reluctant) Read(p []byte) (int, error) {
	if !r.asked {
		r.asked = true
		return 0, nil
	}
	return r.Reader.Read(p)
}

func withEmptyReads(*testing.T) (io.ReadCloser, func() (io.ReadCloser, error)) {
	get := func() (io.ReadCloser, error) { return track(&reluctant{Reader: strings.NewReader(payload)}), nil }
	body, _ := get()
	return body, get
}

func oneShotWithEmptyReads(*testing.T) (io.ReadCloser, func() (io.ReadCloser, error)) {
	return track(&reluctant{Reader: strings.NewReader(payload)}), nil
}

// A POST that may have been processed is never sent twice: a real server reads
// it and hangs up, and counts.
func TestReplayProcessedPostIsSentOnce(t *testing.T) {
	for _, proto := range protocols {
		for _, mode := range []respawn.Replay{respawn.ReplayIdempotent, respawn.ReplayUnsent, respawn.ReplayNever} {
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
						rt := start(t, transport(), respawn.WithReplay(mode), respawn.WithThreshold(threshold))
						const posts = 5 // under suspicion and when tripped as well
						for range posts {
							req := request(t.Context(), http.MethodPost, srv.URL, nil)
							switch kind {
							case "GetBody":
								req.Body, req.GetBody = withGetBody(t)
							case "one-shot":
								req.Body, _ = oneShotBody(t)
							}
							_, err := testkit.Do(rt, req)
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
	req := request(t.Context(), http.MethodPost, srv.URL, strings.NewReader(payload))
	req.Header.Set("Idempotency-Key", "1")
	resp, err := rt.RoundTrip(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	assert.Equal(t, payload, string(got))
	assert.EqualValues(t, 2, hits.Load())
}

// One request makes at most min(threshold, 3) + 2 attempts, the control and the
// trial among them, and those two only once its authority has tripped; in the
// steady state of an outage it makes exactly one.
func TestReplayAttemptsAreBounded(t *testing.T) {
	for threshold, want := range map[int][]int64{
		1:  {1 + 2, 1, 1, 1},
		2:  {2 + 2, 1, 1, 1},
		3:  {3 + 2, 1, 1, 1},
		4:  {3, 1 + 2, 1, 1}, // the second request trips with its first attempt
		50: {3, 3, 3, 3},
	} {
		t.Run(fmt.Sprint(threshold), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var attempts atomic.Int64
				broken := testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
					attempts.Add(1)
					return unsent(req)
				})
				f := testkit.Builds(func() http.RoundTripper { return broken })
				rt := start(t, broken, respawn.WithThreshold(threshold), respawn.WithFactory(f.Make))
				for i, want := range want {
					_, err := get(t.Context(), rt, "http://a.test/")
					require.Error(t, err)
					assert.Equal(t, want, attempts.Swap(0), "request %d", i+1)
				}
			})
		})
	}
}
