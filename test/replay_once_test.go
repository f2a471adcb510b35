package test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"testing"

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
