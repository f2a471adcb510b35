package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// Whatever clients and hosts are called, the health answer is one JSON document
// of bounded size and plain text to a browser, in which every name is where it
// belongs.
func FuzzHealthHandler(f *testing.F) {
	f.Add("default", "http", "a.test", "/health")
	f.Add(`"},"x":{"`, "http", `a.test","state":"healthy`, "/")
	f.Add("</script><script>alert(1)</script>", "https", "<img src=x onerror=alert(1)>", "/\"><b>")
	f.Add("line\r\nbreak\x00\x1b[31m", "h\nttp", "a\r\n.test:80", "/\r\nX-Header: 1")
	f.Add("\xff\xfe\u2028\u202e", "\xff", "\xff.test:\xff", "\xff")
	f.Add(strings.Repeat("n", 5000), strings.Repeat("s", 5000), "user:pass@"+strings.Repeat("h", 5000)+":123456789", strings.Repeat("p", 5000))
	f.Add(" ", "", "[::1%25en0]:443", "")
	f.Fuzz(func(t *testing.T, name, scheme, host, path string) {
		if name == "" {
			t.Skip("New refuses it")
		}
		synctest.Test(t, func(t *testing.T) {
			rt := start(t, testkit.Dead(testkit.Refused()), respawn.WithName(name), respawn.WithFactory(testkit.Fails(errors.New("no tunnel")).Make))
			req := request(t.Context(), http.MethodGet, "http://a.test/", nil)
			req.URL = &url.URL{Scheme: scheme, Host: host, Path: path}
			_, err := rt.RoundTrip(req)
			require.Error(t, err)

			w := httptest.NewRecorder()
			respawn.HealthHandler(rt, start(t, &testkit.Stub{}, respawn.WithFactory(stubs().Make))).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))

			assert.Equal(t, "application/health+json", w.Header().Get("Content-Type"), "no browser takes it for a page")
			body := w.Body.String()
			assert.True(t, utf8.ValidString(body))
			assert.NotContains(t, body, "<")
			assert.Less(t, len(body), 4096+8*3*len(name), "its size is not up to the host")
			for _, r := range strings.TrimSuffix(body, "\n") {
				if r < ' ' || r == '\u2028' || r == '\u2029' {
					t.Errorf("%q is in %q", r, body)
				}
			}
			var doc struct {
				Status string
				Checks map[string][]struct {
					Name    string
					State   respawn.State
					Streaks []respawn.StreakHealth
				}
			}
			decoder := json.NewDecoder(w.Body)
			require.NoError(t, decoder.Decode(&doc))
			assert.False(t, decoder.More())
			known := rt.Health().Name
			checks := doc.Checks[known+":age"]
			require.NotEmpty(t, checks, "%q", body)
			assert.Equal(t, known, checks[0].Name)
			require.Len(t, checks[0].Streaks, 1)
			assert.Equal(t, rt.Health().Streaks[0].Authority, checks[0].Streaks[0].Authority)
			assert.Len(t, doc.Checks, len(map[string]bool{known: true, "default": true}), fmt.Sprint(doc.Checks))
		})
	})
}
