package test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// A GET that net/http does not send is asked once, and counted nowhere, also where
// net/http notices it only when it has a connection.
func TestAGETThatCannotBeSentIsAskedOnce(t *testing.T) {
	for name, tc := range map[string]struct {
		on     protocol
		change func(*http.Request)
	}{
		"a control character in the URL": {h1, func(req *http.Request) { req.URL.RawQuery = "a\x01b" }},
		"a path that is none":            {h2, func(req *http.Request) { req.URL.Opaque = "a\x01b" }},
		"a port that cannot be":          {h1, func(req *http.Request) { req.URL.Host = "127.0.0.1:99999" }},
		"a header of HTTP/1":             {h2, func(req *http.Request) { req.Header.Set("Connection", "x") }},
	} {
		t.Run(name, func(t *testing.T) {
			noLeaks(t)
			srv, transport := tc.on.serve(t, http.NotFoundHandler())
			factory := testkit.Builds(func() http.RoundTripper { return transport() })
			rt := start(t, transport(), respawn.WithFactory(factory.Make))
			for range 10 {
				req := request(t.Context(), http.MethodGet, srv.URL, nil)
				tc.change(req)
				_, err := testkit.Do(rt, req)
				require.Error(t, err)
			}
			h := rt.Health()
			assert.Zero(t, h.Replays)
			assert.Zero(t, h.Failures)
			assert.Nil(t, h.LastFailure)
			assert.Empty(t, h.Streaks)
			assert.Zero(t, factory.Calls.Load())
		})
	}
}
