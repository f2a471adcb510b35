package integration

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
)

// unixTransport keeps as many connections as a load has workers: when the fault
// comes, all of them lose theirs.
func unixTransport(path string) *http.Transport {
	return &http.Transport{
		MaxIdleConnsPerHost: workers,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
	}
}

// serveUnix serves at path and returns a function that takes the server away,
// but leaves the file at its path, which may be another's by then.
func serveUnix(t *testing.T, s *server, path string) (leave func()) {
	t.Helper()
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	s.serve(t, l)
	return func() {
		require.NoError(t, l.Close())
		s.hangUp()
	}
}

// A unixWorld is a server at a unix socket that can be handed over.
type unixWorld struct {
	*world
	dir   string
	path  atomic.Value // where the socket is now
	leave func()
}

func newUnixWorld(r *report) *unixWorld {
	u := &unixWorld{world: &world{r: r, url: "http://unix/"}, dir: r.t.TempDir()}
	u.path.Store(filepath.Join(u.dir, "s"))
	u.build = factory(func(context.Context) (*http.Transport, error) { return unixTransport(u.path.Load().(string)), nil })
	u.serve()
	return u
}

// serve puts a new server at the path.
func (u *unixWorld) serve() { u.serveAt(u.path.Load().(string)) }

func (u *unixWorld) serveAt(path string) {
	s := newServer(u.r)
	if u.server != nil {
		s.ledger = u.server.ledger
	}
	u.server = s
	u.leave = serveUnix(u.r.t, s, path)
}

// replaced lets a new server take the path over in one step, while the old one
// hangs up on all that it has.
func (u *unixWorld) replaced(t *testing.T, _ http.RoundTripper) {
	path, leave := u.path.Load().(string), u.leave
	u.serveAt(path + ".new")
	require.NoError(t, os.Rename(path+".new", path))
	leave()
}

// moved lets a new server take over at a new path, which only the factory
// knows.
func (u *unixWorld) moved(t *testing.T, _ http.RoundTripper) {
	before, leave := u.path.Load().(string), u.leave
	u.path.Store(before + "+")
	u.serve()
	leave()
	require.NoError(t, os.Remove(before))
}

// A server at a unix socket is replaced by another one at the same path. No
// request need be lost, and net/http can help itself, so there is no reason to
// swap.
func TestUnixSocketReplaced(t *testing.T) {
	r := begin(t, "unix socket replaced")
	u := newUnixWorld(r)
	u.undergo(ordeal{fault: u.replaced, heals: true})
	require.Zero(t, r.Failed+r.Cut, "a GET was lost")
	require.Zero(t, r.Promoted, "a swap, although the transport was fine")
}

// The same with a gap between the two servers: requests fail in the gap, and
// none does after it.
func TestUnixSocketGone(t *testing.T) {
	r := begin(t, "unix socket gone for a while")
	u := newUnixWorld(r)
	rt := u.start(t)
	l := client{RoundTripper: rt, url: u.url, deadline: patience}.gets(t, workers)
	l.awaitSuccesses(50, time.Now())
	u.leave()
	require.NoError(t, os.Remove(u.path.Load().(string)))
	bare := u.first(t)
	r.keepsFailing(client{RoundTripper: bare, url: u.url, deadline: patience}, 300*time.Millisecond)
	awaitRejection(t, rt)
	u.serve()
	curable := time.Now()
	l.awaitSuccesses(200, curable)

	r.take(curable, rt, l)
	require.NotZero(t, r.Failed, "nobody was there")
	require.Zero(t, r.FailedAfter, "a GET was lost after the gap")
	require.Zero(t, r.Promoted, "a swap, although the transport was fine")
}

// awaitRejection waits until a candidate has just been rejected. The backoff allows no other one
// right after that, so requests that succeed then do so on the transport in service.
func awaitRejection(t *testing.T, rt *respawn.RecoveringRoundTripper) {
	t.Helper()
	before := rt.Health().Rejections
	require.Eventually(t, func() bool { return rt.Health().Rejections > before }, patience, time.Millisecond)
}

// The socket moves to a new path, and only the factory knows where that is.
func TestUnixSocketMoved(t *testing.T) {
	r := begin(t, "unix socket moved to another path")
	u := newUnixWorld(r)
	u.undergo(ordeal{fault: u.moved})
	r.healed()
}
