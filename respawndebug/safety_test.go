package respawndebug

import (
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respawnhttp/respawn"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/html"
)

// The page needs no script and nothing from elsewhere, and its policy lets the
// browser see to that.
func TestNothingButThePage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "llm")
		for _, body := range badNight(t, r) {
			defer body.Close()
		}
		w := ask(t, http.MethodGet, "", r.rt)
		assert.Equal(t, "text/html; charset=utf-8", w.Header().Get("Content-Type"))
		assert.Equal(t, "no-store", w.Header().Get("Cache-Control"))
		assert.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"))
		page := parse(t, w.Body.String())
		styles := page.all("style", "")
		require.Len(t, styles, 1)
		assert.Equal(t, "default-src 'none'; style-src 'sha256-"+digest(styles[0].FirstChild.Data)+"'; img-src data:; "+
			"base-uri 'none'; form-action 'none'; frame-ancestors 'none'", w.Header().Get("Content-Security-Policy"))
		assert.NotContains(t, style, "url(")
		assert.NotContains(t, style, "@import")
		for d := range page.Descendants() {
			if d.Type != html.ElementNode {
				continue
			}
			assert.NotContains(t, []string{"script", "iframe", "object", "embed", "img", "form", "base"}, d.Data)
			for _, a := range d.Attr {
				assert.False(t, strings.HasPrefix(a.Key, "on") || a.Key == "style" || a.Key == "src", "%s %s", d.Data, a.Key)
				if a.Key == "href" {
					assert.Regexp(t, `^(#[a-z-]+[0-9]*|\?(refresh=0|format=(json|text))?|data:image/svg\+xml,.*)$`, a.Val)
				}
			}
		}
		assert.NotRegexp(t, `ZgotmplZ`, w.Body.String(), "html/template has refused a value")
	})
}

// What a request holds besides its host does not get out, nor does the text of
// an error.
func TestNoSecrets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "llm")
		failure := errors.New("Get https://user:secret-text@proxy.test/: secret-text")
		r.fails.Store(&failure)
		r.down.Store(true)
		for range 4 {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet,
				"https://secret-user:secret-password@api.test/secret-path?key=secret-query#secret-fragment", nil)
			require.NoError(t, err)
			req.Header.Set("Authorization", "Bearer secret-token")
			_, err = r.rt.RoundTrip(req)
			require.Error(t, err)
			time.Sleep(time.Second)
		}
		require.NotEmpty(t, r.rt.Recreations())
		for _, query := range []string{"", "?format=json", "?format=text"} {
			body := ask(t, http.MethodGet, query, r.rt).Body.String()
			assert.Contains(t, body, "https://api.test:443")
			assert.NotContains(t, body, "secret")
		}
	})
}

// hostile are names that somebody might give a host to be seen on the page.
var hostile = []string{
	`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `'onmouseover='alert(1)`, `</title></svg></style><b>`,
	`{{.}}`, `<!--`, `]]>`, `&lt;b&gt;`, "javascript:alert(1)", "a\x00b", "\xff\xfe", "\u202egnp.exe", "a\u2028b\u2029", "\ufeff\u200b",
	strings.Repeat("w", 100_000), strings.Repeat("<", 1000), "ünïcode.test", "",
}

// skeleton is the page without its texts: all elements and attributes, with
// the values of those that the layout does not compute.
func skeleton(page node) string {
	var b strings.Builder
	for d := range page.Descendants() {
		if d.Type != html.ElementNode {
			if d.Type == html.CommentNode {
				b.WriteString("<!>")
			}
			continue
		}
		b.WriteString("<" + d.Data)
		for _, a := range d.Attr {
			b.WriteString(" " + a.Key + "=" + a.Val)
		}
		b.WriteString(">\n")
	}
	return b.String()
}

// render makes a page whose every name is name.
func render(t testing.TB, name string) node {
	now := time.Date(2026, 11, 24, 3, 0, 0, 0, time.UTC)
	d := document{Version: respawn.Version, Time: now}
	for range 2 {
		h := respawn.Health{
			Name: name, State: respawn.StateFailing, LastRejection: &respawn.RejectionHealth{Time: now, Authority: name, Reason: respawn.ErrorType(name)},
			Streaks:     []respawn.StreakHealth{{Authority: name, Failures: 3, Tripped: true, Since: now}},
			LastFailure: &respawn.FailureHealth{Time: now, Authority: name, Reason: respawn.Trigger(name)},
			OpenOutages: []respawn.OutageHealth{{Authority: name, Trigger: respawn.Trigger(name), Begin: now.Add(-time.Hour), Duration: time.Hour}},
		}
		d.Clients = append(d.Clients, client{health: health(h), Summary: inWords(h), Recreations: []respawn.RecreationRecord{{
			Time: now.Add(-time.Hour), Duration: time.Second, Outage: time.Minute, Trigger: respawn.Trigger(name), Outcome: respawn.OutcomeRejected,
			ErrorType: respawn.ErrorType(name), Authority: name,
		}}})
	}
	var b strings.Builder
	require.NoError(t, page.Execute(&b, newView(d, 5, "https://jaeger.test/trace/{id}")))
	return parse(t, b.String())
}

var unseen = regexp.MustCompile(`[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\x{200b}-\x{200f}\x{2028}-\x{202e}\x{2066}-\x{2069}\x{feff}]`)

// requireHarmless checks that a name changes the page's texts, and nothing else.
func requireHarmless(t testing.TB, name string) {
	t.Helper()
	page := render(t, name)
	like := "harmless"
	if name == "" {
		like = ""
	}
	require.Equal(t, skeleton(render(t, like)), skeleton(page))
	want := strings.Join(strings.Fields(shown(name)), " ")
	require.Equal(t, want, page.all("h2", "")[0].text())
	row := page.rows("recreations")[0]
	require.Equal(t, want, row[2])
	require.Equal(t, want, row[3])
	require.Equal(t, want, page.rows("streaks")[0][0])
	require.NotRegexp(t, unseen, page.all("body", "")[0].text())
	require.LessOrEqual(t, len(shown(name)), maxShown+20)
}

func TestHostileNames(t *testing.T) {
	for _, name := range hostile {
		requireHarmless(t, name)
	}
}

func FuzzHostileNames(f *testing.F) {
	for _, name := range hostile {
		f.Add(name[:min(len(name), 1000)])
	}
	f.Fuzz(func(t *testing.T, name string) { requireHarmless(t, name) })
}

// The same all the way from a request.
func TestHostileHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const host = `<script>alert(1)</script>"'><b>.test`
		r := newRig(t, host)
		r.down.Store(true)
		for range 4 {
			req := (&http.Request{Method: http.MethodGet, URL: &url.URL{Scheme: "http", Host: host, Path: "/"}}).WithContext(t.Context())
			_, err := r.rt.RoundTrip(req)
			require.Error(t, err)
		}
		page := look(t, r.rt)
		assert.Empty(t, page.all("script", ""))
		assert.Equal(t, "http://"+host+":80", page.rows("recreations")[0][3])
		assert.Equal(t, "http://"+host+":80", page.rows("streaks")[0][0])
		assert.Equal(t, host, page.all("h2", "")[0].text())
		body := ask(t, http.MethodGet, "?format=json", r.rt).Body.String()
		assert.NotContains(t, body, "<", "not even where a browser takes JSON for a page")
	})
}

// A client that New did not make has no start, and is not up since the year 1.
func TestTheZeroValueIsNotUp(t *testing.T) {
	var zero respawn.RecoveringRoundTripper
	for _, query := range []string{"", "?format=text"} {
		assert.NotContains(t, ask(t, http.MethodGet, query, &zero).Body.String(), "106751 d", query)
	}
}
