package respawndebug

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/config"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/html"
)

// A transport answers streams, and all else unless its upstream is down or it is
// dead itself.
type transport struct {
	down   *atomic.Bool
	dead   atomic.Bool
	ended  atomic.Bool
	silent atomic.Bool
}

func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if (t.down.Load() || t.dead.Load()) && req.URL.Path != "/stream" {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	for t.silent.Load() {
		time.Sleep(time.Second)
	}
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{},
		Body: io.NopCloser(strings.NewReader("hello")), Request: req,
	}, nil
}

func (t *transport) Err() error {
	if t.ended.Load() {
		return net.ErrClosed
	}
	return nil
}

// A rig is a client whose faults the test decides on.
type rig struct {
	t     *testing.T
	rt    *respawn.RecoveringRoundTripper
	first *transport
	down  atomic.Bool  // the upstream, for all transports
	build atomic.Int64 // how long that takes
	fails atomic.Pointer[error]
}

func newRig(t *testing.T, name string, opts ...respawn.Option) *rig {
	t.Helper()
	r := &rig{t: t}
	r.first = &transport{down: &r.down}
	return r.over(r.first, name, opts...)
}

// newRigWithoutTransport is a rig whose client has yet to build its first transport.
func newRigWithoutTransport(t *testing.T, name string, opts ...respawn.Option) *rig {
	t.Helper()
	return (&rig{t: t}).over(nil, name, opts...)
}

func (r *rig) over(base http.RoundTripper, name string, opts ...respawn.Option) *rig {
	t := r.t
	t.Helper()
	rt, err := respawn.New(base, append([]respawn.Option{
		respawn.WithName(name),
		respawn.WithLogger(slog.New(slog.DiscardHandler)),
		respawn.WithReplay(respawn.ReplayNever),
		respawn.WithBackOff(func() backoff.BackOff { return backoff.NewConstantBackOff(10 * time.Second) }),
		respawn.WithFactory(func(context.Context) (http.RoundTripper, error) {
			time.Sleep(time.Duration(r.build.Load()))
			if err := r.fails.Load(); err != nil {
				return nil, *err
			}
			return &transport{down: &r.down}, nil
		}),
	}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = rt.Close() })
	r.rt = rt
	return r
}

// patienceOf5s takes chance from how long requests are waited for.
func patienceOf5s(c *config.Config) error {
	c.Chance = func() float64 { return 0.5 }
	return nil
}

// get asks for url and reports whether there was an answer.
func (r *rig) get(url string) bool {
	r.t.Helper()
	body := r.open(url)
	if body == nil {
		return false
	}
	require.NoError(r.t, body.Close())
	return true
}

// open is get with the answer's body left open; nil if there was none.
func (r *rig) open(url string) io.Closer {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, url, nil)
	require.NoError(r.t, err)
	resp, err := r.rt.RoundTrip(req)
	if err != nil {
		return nil
	}
	return resp.Body
}

// trip makes the upstream of url refuse so often that it is tripped.
func (r *rig) trip(url string) {
	r.t.Helper()
	r.down.Store(true)
	for range 3 {
		require.False(r.t, r.get(url))
	}
}

// recover makes the first transport the dead one, and lets a fresh one be proven: a
// request that can be sent only once is answered by it, and the next one like it is
// the control.
func (r *rig) recover(url string) {
	r.t.Helper()
	r.down.Store(false)
	r.first.dead.Store(true)
	require.True(r.t, r.get(url))
	require.False(r.t, r.get(url))
}

// ask sends a request to the page.
func ask(t *testing.T, method, query string, rts ...*respawn.RecoveringRoundTripper) *httptest.ResponseRecorder {
	t.Helper()
	return serve(t, DebugHandler(rts...), method, query)
}

func serve(t *testing.T, h http.Handler, method, query string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, "/debug/respawn"+query, nil))
	return w
}

// look parses the page as a browser does.
func look(t *testing.T, rts ...*respawn.RecoveringRoundTripper) node {
	t.Helper()
	w := ask(t, http.MethodGet, "", rts...)
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	return parse(t, w.Body.String())
}

func parse(t testing.TB, text string) node {
	t.Helper()
	root, err := html.Parse(strings.NewReader(text))
	require.NoError(t, err)
	return node{root}
}

// A node is a part of the page.
type node struct{ *html.Node }

// all returns what has the tag, and the class unless that is "".
func (n node) all(tag, class string) (found []node) {
	for d := range n.Descendants() {
		if d.Type == html.ElementNode && d.Data == tag && (class == "" || node{d}.has(class)) {
			found = append(found, node{d})
		}
	}
	return found
}

func (n node) attr(key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

func (n node) has(class string) bool {
	for _, c := range strings.Fields(n.attr("class")) {
		if c == class {
			return true
		}
	}
	return false
}

// text is what is written in it, with single spaces.
func (n node) text() string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data)
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// rows are the cells' texts of a table of that class, without its head.
func (n node) rows(class string) (rows [][]string) {
	for _, table := range n.all("table", class) {
		for _, tr := range table.all("tbody", "")[0].all("tr", "") {
			var cells []string
			for _, td := range tr.all("td", "") {
				cells = append(cells, td.text())
			}
			rows = append(rows, cells)
		}
	}
	return rows
}

// titles are the tooltips of the marks and bars of an SVG class.
func (n node) titles(tag, class string) (titles []string) {
	for _, e := range n.all(tag, class) {
		for _, title := range e.all("title", "") {
			titles = append(titles, title.text())
		}
	}
	return titles
}
