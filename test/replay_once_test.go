package test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// postsOnce sends POSTs that all fail, each of which may be processed once.
func postsOnce(t *testing.T, rt http.RoundTripper, url string, processed *atomic.Int64) {
	t.Helper()
	for i := range 10 {
		before := processed.Load()
		_, err := testkit.Do(rt, request(t.Context(), http.MethodPost, url, strings.NewReader("x")))
		require.Error(t, err)
		assert.LessOrEqual(t, processed.Load()-before, int64(1), "POST %d", i)
	}
	assert.GreaterOrEqual(t, processed.Load(), int64(3), "those up to the trip")
}

// A protocol added by RegisterProtocol fires no hooks and sends all the same.
func TestAPostThatAnotherProtocolSentIsSentOnce(t *testing.T) {
	var processed atomic.Int64
	base := &http.Transport{}
	base.RegisterProtocol("http+unix", testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
		_, _ = io.ReadAll(req.Body)
		processed.Add(1)
		testkit.CloseBody(req)
		return nil, io.ErrUnexpectedEOF // the answer was lost
	}))
	postsOnce(t, start(t, base), "http+unix://docker/create", &processed)
}

// A base that fails over by itself may have sent before it looked for another
// connection.
func TestAPostThatABaseFailedOverIsSentOnce(t *testing.T) {
	for name, lost := range map[string]error{"untyped": errors.New("no more servers"), "refused": testkit.Refused()} {
		t.Run(name, func(t *testing.T) {
			var processed atomic.Int64
			base := testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
				tr := httptrace.ContextClientTrace(req.Context())
				if tr == nil {
					tr = &httptrace.ClientTrace{GetConn: func(string) {}, GotConn: func(httptrace.GotConnInfo) {}}
				}
				tr.GetConn("one.test:80")
				tr.GotConn(httptrace.GotConnInfo{})
				_, _ = io.ReadAll(req.Body)
				processed.Add(1) // and the answer was lost
				tr.GetConn("two.test:80")
				testkit.CloseBody(req)
				return nil, lost
			})
			rt := start(t, base, respawn.WithFactory(testkit.Builds(func() http.RoundTripper { return base }).Make))
			postsOnce(t, rt, "http://a.test/", &processed)
		})
	}
}

// Where a base has no hooks, only the body tells that it failed over: net/http's own readers
// know how much of them is left. It is the same if what it fails over to has hooks, as where
// HTTP/3 comes first and then TCP, and never gets a connection.
func TestAPostThatABaseWithoutHooksFailedOverIsSentOnce(t *testing.T) {
	for name, payload := range map[string]func() io.Reader{
		"bytes.Reader":   func() io.Reader { return bytes.NewReader([]byte("x")) },
		"bytes.Buffer":   func() io.Reader { return bytes.NewBufferString("x") },
		"strings.Reader": func() io.Reader { return strings.NewReader("x") },
		"a file":         func() io.Reader { return aFile(t) },
		"a hidden file":  func() io.Reader { return io.NopCloser(aFile(t)) },
	} {
		for i := range 8 {
			read, hooks, again := i&1 != 0, i&2 != 0, i&4 != 0
			t.Run(fmt.Sprintf("%s, read=%v, hooks=%v, GetBody=%v", name, read, hooks, again), func(t *testing.T) {
				var asked, processed atomic.Int64
				base := testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
					if asked.Add(1); read {
						_, _ = io.ReadAll(req.Body)
						processed.Add(1)
					}
					if trace := httptrace.ContextClientTrace(req.Context()); hooks && trace != nil {
						trace.GetConn("a.test:80")
					}
					testkit.CloseBody(req)
					return nil, testkit.Refused()
				})
				rt := start(t, base, respawn.WithFactory(testkit.Builds(func() http.RoundTripper { return base }).Make))
				req := request(t.Context(), http.MethodPost, "http://a.test/", payload())
				req.GetBody = nil
				if again {
					req.GetBody = func() (io.ReadCloser, error) {
						return request(t.Context(), http.MethodPost, "http://a.test/", payload()).Body, nil
					}
				}
				_, err := testkit.Do(rt, req)
				require.Error(t, err)
				if read {
					assert.EqualValues(t, 1, processed.Load())
				} else {
					assert.Greater(t, asked.Load(), int64(1), "what was not sent goes again")
				}
			})
		}
	}
}

// A transport may read a body after RoundTrip has returned an error ([http.RoundTripper]), as
// HTTP/3 does. A reader in memory has no lock, so nobody else may look at it: only -race tells.
func TestABodyThatIsStillReadAfterAnErrorIsNotLookedAt(t *testing.T) {
	for _, header := range []http.Header{{}, {"Idempotency-Key": {"1"}}} {
		t.Run(fmt.Sprint(header), func(t *testing.T) {
			var readers sync.WaitGroup
			base := testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
				readers.Go(func() {
					_, _ = io.ReadAll(req.Body)
					testkit.CloseBody(req)
				})
				return nil, testkit.ConnReset()
			})
			rt := start(t, base, respawn.WithFactory(testkit.Builds(func() http.RoundTripper { return base }).Make))
			req := request(t.Context(), http.MethodPost, "http://a.test/", strings.NewReader("x"))
			req.Header = header
			_, err := testkit.Do(rt, req)
			require.ErrorIs(t, err, syscall.ECONNRESET)
			readers.Wait()
		})
	}
}

// An upload that is the answer of another server fails with that connection's errors. What
// they say of a request is not said of the upload, which its own server may have seen.
func TestAnUploadWhoseSourceWasRefusedIsSentOnce(t *testing.T) {
	for _, text := range []string{"http2: client conn not usable", "http2: Transport received Server's graceful shutdown GOAWAY"} {
		for name, part := range map[string]string{"in the middle": "some", "at the start": ""} {
			t.Run(text+"/"+name, func(t *testing.T) {
				var seen atomic.Int64
				base := testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
					seen.Add(1)
					return testkit.Answer(req)
				})
				every := func(*http.Request, error) respawn.Verdict { return respawn.Failure }
				rt := start(t, base, respawn.WithClassifier(every), respawn.WithFactory(testkit.Builds(func() http.RoundTripper { return base }).Make))
				source := func() (io.ReadCloser, error) {
					return io.NopCloser(io.MultiReader(strings.NewReader(part), failingReader{errors.New(text)})), nil
				}
				req := request(t.Context(), http.MethodPost, "http://a.test/", nil)
				req.Body, _ = source()
				req.GetBody = source
				_, err := testkit.Do(rt, req)
				require.EqualError(t, err, text)
				assert.EqualValues(t, 1, seen.Load())
			})
		}
	}
}

// triedFirst orders a candidate, and comes back when a POST would try it first.
func triedFirst(t *testing.T, base, candidate http.RoundTripper) *respawn.RecoveringRoundTripper {
	t.Helper()
	rt := start(t, testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
		if req.URL.Host == "busy.test" {
			return staysSilent(nil).RoundTrip(req)
		}
		return base.RoundTrip(req)
	}), respawn.WithFactory(testkit.Builds(func() http.RoundTripper { return candidate }).Make))
	go func() { _, _ = get(t.Context(), rt, "http://busy.test/") }()
	synctest.Wait()
	go func() { _ = rt.Recreate(t.Context()) }()
	time.Sleep(6 * time.Second)
	return rt
}

// A trial that is called back unsent may get its connection in that very instant, as
// net/http takes either where both are there. Then the POST goes no further: its
// answer is the caller's, and so is its error.
func TestAPostThatGetsItsConnectionAsItIsCalledBackIsSentOnce(t *testing.T) {
	for name, answers := range map[string]bool{"answered": true, "lost": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var tried atomic.Int64
				base := &testkit.Stub{}
				rt := triedFirst(t, base, testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
					tr := httptrace.ContextClientTrace(req.Context())
					tr.GetConn("a.test:80")
					<-req.Context().Done()
					tr.GotConn(httptrace.GotConnInfo{})
					tried.Add(1)
					if answers {
						return testkit.Answer(req)
					}
					testkit.CloseBody(req)
					return nil, req.Context().Err()
				}))
				sent := track(strings.NewReader("x"))
				_, err := testkit.Do(rt, request(t.Context(), http.MethodPost, "http://a.test/", sent))
				assert.Equal(t, answers, err == nil)
				assert.NotErrorIs(t, err, context.Canceled, "the caller canceled nothing")
				assert.EqualValues(t, 1, tried.Load())
				assert.Zero(t, base.Calls.Load())
				<-sent.closed
				assert.EqualValues(t, 1, rt.Health().InFlight, "the busy one")
			})
		})
	}
}

// Another protocol's trial fires no hooks, whoever's transport it is registered with:
// as long as nobody knows whether it was sent, it is not called back.
func TestAPostThatAnotherProtocolTriesIsNotCalledBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base, other := &testkit.Stub{}, &testkit.Stub{Delay: 5 * time.Second}
		candidate := &http.Transport{}
		candidate.RegisterProtocol("http+unix", other)
		rt := triedFirst(t, base, candidate)
		_, err := testkit.Do(rt, request(t.Context(), http.MethodPost, "http+unix://docker/create", nil))
		require.NoError(t, err)
		assert.EqualValues(t, 1, other.Calls.Load())
		assert.Zero(t, base.Calls.Load())
	})
}

// aFile is a body that net/http sends with sendfile, and closes unread when a dial fails.
func aFile(t *testing.T) *os.File {
	t.Helper()
	name := filepath.Join(t.TempDir(), "body")
	require.NoError(t, os.WriteFile(name, []byte(payload), 0o600))
	f, err := os.Open(name)
	require.NoError(t, err)
	return f
}

// A file is uploaded though the dialer is dead: net/http's Close does not reach it before it was read.
func TestAFileIsUploadedThoughTheDialerIsDead(t *testing.T) {
	for _, method := range []string{http.MethodPost, http.MethodPut} {
		for threshold := 1; threshold <= 3; threshold++ {
			for _, proto := range protocols {
				t.Run(fmt.Sprint(method, ", threshold ", threshold, ", ", proto.name), func(t *testing.T) {
					noLeaks(t)
					var got atomic.Int64
					srv, transport := proto.serve(t, http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
						b, _ := io.ReadAll(req.Body)
						assert.Equal(t, payload, string(b))
						got.Add(1)
					}))
					dead := transport()
					dead.DialContext = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("session shutdown") }
					rt := start(t, dead, respawn.WithThreshold(threshold), respawn.WithFactory(func(context.Context) (http.RoundTripper, error) {
						return transport(), nil
					}))
					for range 5 {
						f := aFile(t)
						req := request(t.Context(), method, srv.URL, f)
						req.ContentLength = int64(len(payload))
						status, err := testkit.Do(rt, req)
						require.NoError(t, err)
						assert.Equal(t, http.StatusOK, status)
						for err == nil { // net/http closes it, soon
							_, err = f.Stat()
						}
						assert.ErrorIs(t, err, os.ErrClosed)
					}
					assert.EqualValues(t, 5, got.Load())
					assert.EqualValues(t, 2, rt.Health().Generation)
				})
			}
		}
	}
}

// A file can be called back as any body can that nobody has read.
func TestAFileIsTriedOnWhatMayCallItBack(t *testing.T) {
	for _, hide := range []bool{false, true} {
		f := aFile(t)
		synctest.Test(t, func(t *testing.T) {
			var got []byte
			base := testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
				got, _ = io.ReadAll(req.Body)
				return testkit.Answer(req)
			})
			rt := triedFirst(t, base, silentDials())
			require.NoError(t, os.Remove(f.Name()))
			req := request(t.Context(), http.MethodPost, "http://a.test/", f)
			if hide {
				req.Body = io.NopCloser(f)
			}
			_, err := testkit.Do(rt, req)
			require.NoError(t, err)
			assert.Equal(t, payload, string(got))
		})
	}
}
