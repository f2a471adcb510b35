package test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
	"github.com/respawnhttp/respawn/internal/testnet"
)

// Whoever has a hook for 1xx responses has to bound them, by an error, on which net/http closes
// the connection and says that it broke. That is the caller's doing: it never trips, and what
// was watched is not sent again. Nobody watches a GET's first attempt, so it is asked twice.
func TestAHookThatRefuses1xxResponsesSpeaksAgainstNoTransport(t *testing.T) {
	for proto, fresh := range map[string]func(*testnet.Network) *http.Transport{"h1": (*testnet.Network).HTTP1, "h2": (*testnet.Network).HTTP2} {
		for method, most := range map[string]int64{http.MethodPost: 10, http.MethodGet: 20} {
			t.Run(proto+"/"+method, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					n := testnet.New(t)
					var served atomic.Int64
					n.Serve("a.test:80", http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
						_, _ = io.Copy(io.Discard, req.Body)
						served.Add(1)
						for range 10 {
							w.WriteHeader(http.StatusEarlyHints)
						}
					}))
					f := testkit.Builds(func() http.RoundTripper { return fresh(n) })
					rt := start(t, fresh(n), respawn.WithFactory(f.Make))
					tooMany := errors.New("too many early hints")
					for range 10 {
						hints := 0
						ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(int, textproto.MIMEHeader) error {
							if hints++; hints > 5 {
								return tooMany
							}
							return nil
						}})
						_, err := testkit.Do(rt, request(ctx, method, "http://a.test/", strings.NewReader(map[string]string{http.MethodPost: payload}[method])))
						require.ErrorContains(t, err, tooMany.Error())
						time.Sleep(time.Second)
					}
					assert.LessOrEqual(t, served.Load(), most, "the upstream was asked again")
					h := rt.Health()
					assert.Zero(t, h.Outages)
					assert.Zero(t, f.Calls.Load(), "a fresh transport was built")
					assert.LessOrEqual(t, h.Failures, most-10)
					rt.Close()
					sweepsPass()
				})
			})
		}
	}
}
