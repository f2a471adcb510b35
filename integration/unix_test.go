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
)

const unixURL = "http://unix/"

// unixTransport keeps as many connections as a load has workers: when the fault
// comes, all of them lose theirs.
func unixTransport(path string) *http.Transport {
	return &http.Transport{
		MaxIdleConnsPerHost: 4,
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

// A server at a unix socket is replaced by another one at the same path. The
// new one takes the path over in one step, so no request need be lost, although
// the old one hangs up on all that it has; and net/http can help itself, so
// there is no reason to swap. With a gap between the two, requests fail in the
// gap, and none does after it.
func TestUnixSocketReplaced(t *testing.T) {
	t.Run("handed over", func(t *testing.T) {
		r := begin(t)
		dir := t.TempDir()
		path := filepath.Join(dir, "s")
		before, after := newServer(r), newServer(r)
		leave := serveUnix(t, before, path)

		rt := start(t, unixTransport(path))
		l := gets(t, rt, unixURL, workers, patience)
		l.awaitSuccesses(50, time.Now())
		serveUnix(t, after, filepath.Join(dir, "new"))
		require.NoError(t, os.Rename(filepath.Join(dir, "new"), path))
		leave()
		curable := time.Now()
		l.awaitSuccesses(200, curable)

		r.take(l, curable, rt)
		require.Zero(t, r.promoted)
	})
	t.Run("with a gap", func(t *testing.T) {
		r := begin(t)
		path := filepath.Join(t.TempDir(), "s")
		before, after := newServer(r), newServer(r)
		leave := serveUnix(t, before, path)

		rt := start(t, unixTransport(path))
		l := gets(t, rt, unixURL, workers, patience)
		l.awaitSuccesses(50, time.Now())
		leave()
		require.NoError(t, os.Remove(path))
		r.keepsFailing(unixTransport(path), unixURL, 300*time.Millisecond, patience)
		serveUnix(t, after, path)
		curable := time.Now()
		l.awaitSuccesses(200, curable)

		r.take(l, curable, rt)
		require.NotZero(t, r.failed, "nobody was there")
		require.Zero(t, r.failedAfter, "a GET was lost after the gap")
		require.Zero(t, r.promoted, "a swap, although the transport was fine")
	})
}

// The socket moves to a new path, and only the factory knows where that is.
func TestUnixSocketMoved(t *testing.T) {
	r := begin(t)
	dir := t.TempDir()
	var path atomic.Value // where the socket is now
	path.Store(filepath.Join(dir, "old"))
	before, after := newServer(r), newServer(r)
	leave := serveUnix(t, before, path.Load().(string))
	transports := &maker[*http.Transport]{make: func(context.Context) (*http.Transport, error) {
		return unixTransport(path.Load().(string)), nil
	}}

	bare := transports.first(t)
	require.NoError(t, get(bare, unixURL, patience))
	rt := start(t, transports.first(t), withFactory(transports))
	l := gets(t, rt, unixURL, workers, patience)
	l.awaitSuccesses(50, time.Now())
	serveUnix(t, after, filepath.Join(dir, "new"))
	path.Store(filepath.Join(dir, "new"))
	leave()
	require.NoError(t, os.Remove(filepath.Join(dir, "old")))
	curable := time.Now()
	l.awaitSuccesses(200, curable)
	r.keepsFailing(bare, unixURL, 300*time.Millisecond, patience)

	r.take(l, curable, rt)
	require.Zero(t, r.failed, "a GET was lost")
	require.Equal(t, 2, r.built, "one fault, one fresh transport")
}
