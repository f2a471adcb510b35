package test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
	"github.com/respawnhttp/respawn/internal/testnet"
)

// exhausted draws a way in which this machine says that it is out of files, ports, buffers
// or memory.
func exhausted(d draw) error {
	call := oneOf(d,
		&net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("socket", oneOf(d, syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM))},
		&net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", oneOf(d, syscall.EADDRNOTAVAIL, syscall.EADDRINUSE, syscall.ENOBUFS))},
		&net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("bind", syscall.EADDRINUSE)},
		&net.OpError{Op: "dial", Net: oneOf(d, "unix", "udp"), Err: os.NewSyscallError("connect", syscall.EAGAIN)},
	)
	if d.chance(0.4) { // a resolver keeps the text alone
		text := fmt.Sprintf("dial %s 192.0.2.53:53: %v", call.Net, call.Err)
		call = &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: text, Name: "a.test", IsTemporary: d.chance(0.5)}}
	}
	switch d.IntN(4) {
	case 0:
		return fmt.Errorf("tunnel: %w", call)
	case 1:
		return errors.Join(testkit.Refused(), call) // of two addresses
	case 2:
		return &url.Error{Op: "Get", URL: "http://proxy.test/", Err: call}
	}
	return call
}

// What this machine has too little of, no fresh transport would have more of, and nobody
// else is told that the upstream has failed.
func TestWhatAMachineIsOutOfReplacesNothing(t *testing.T) {
	overDraws(t, 60, func(t *testing.T, d draw) {
		var out atomic.Pointer[error]
		n := testnet.New(t)
		n.Serve("a.test:80", drains)
		transport := oneOf(d, n.HTTP1, n.HTTP2)
		base := transport()
		base.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if err := out.Load(); err != nil {
				return nil, *err
			}
			return n.DialContext(ctx, network, addr)
		}
		f := testkit.Builds(func() http.RoundTripper { return transport() })
		fallback, _ := d.mayHaveFallback()
		rt := start(t, base, append(append(d.options(), fallback...), respawn.WithFactory(f.Make))...)
		same := d.chance(0.5)
		for range 1 + d.IntN(30) {
			if err := exhausted(d); out.Load() == nil || !same {
				out.Store(&err)
			}
			method := oneOf(d, http.MethodGet, http.MethodPost)
			_, err := testkit.Do(rt, request(t.Context(), method, "http://a.test/", strings.NewReader(oneOf(d, "", "x"))))
			require.Error(t, err)
			time.Sleep(d.between(0, 2*time.Second))
		}
		nothingBuilt(t, rt, f)
		out.Store(nil)
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		nothingBuilt(t, rt, f)
		rt.CloseIdleConnections()
	})
}

// A process that is out of files can neither resolve a name nor dial, and a fresh
// transport would need more of them. The process is a child, whose limit is lowered for
// real: what net makes of it, and in which words, is part of what is tested.
func TestAProcessOutOfFilesReplacesNothing(t *testing.T) {
	const child = "RESPAWN_OUT_OF_FILES"
	if os.Getenv(child) != "" {
		withoutFiles(t, os.Getenv(child))
		return
	}
	for _, resolver := range []string{"go", "cgo"} {
		t.Run(resolver, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+strings.Split(t.Name(), "/")[0]+"$")
			cmd.Env = append(os.Environ(), child+"="+resolver, "GODEBUG=netdns="+resolver)
			out, err := cmd.CombinedOutput()
			assert.NoError(t, err, string(out))
		})
	}
}

// withoutFiles fails to dial and to resolve a name. Go's own resolver, which stands in for
// the C library's where a program was built without cgo, names the call that failed.
func withoutFiles(t *testing.T, resolver string) {
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(srv.Close)
	f := stubs()
	rt := start(t, &http.Transport{}, respawn.WithFactory(f.Make), respawn.WithThreshold(1))
	// The C library reads its configuration once, and says that there is no such host
	// where it cannot.
	_, _ = net.DefaultResolver.LookupHost(t.Context(), "localhost")

	lift := noMoreFiles(t)
	for name, url := range map[string]string{"at the dial": srv.URL, "in the resolver": "http://somewhere.test./"} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			for range 5 {
				resp, err := rt.RoundTrip(request(t.Context(), method, url, strings.NewReader("once")))
				require.Error(t, err, name)
				assert.Nil(t, resp)
				if dns := (*net.DNSError)(nil); errors.As(err, &dns) {
					assert.Equal(t, "in the resolver", name)
					assert.Regexp(t, "(^|: socket: )too many open files$", dns.Err, "the text is all there is")
					assert.False(t, errors.Is(err, syscall.EMFILE), "if there is more, read that instead")
				} else {
					assert.Equal(t, "at the dial", name)
					assert.ErrorIs(t, err, syscall.EMFILE)
				}
			}
		}
	}
	assert.Zero(t, f.Calls.Load(), "no candidate is built")
	assert.Empty(t, rt.Health().Streaks)

	lift()
	status, err := get(t.Context(), rt, srv.URL)
	require.NoError(t, err)
	assert.Equal(t, http.StatusOK, status)
	assert.EqualValues(t, 1, rt.Health().Generation)
}

// noMoreFiles lowers the process's limit to what it has open, until lift is called.
func noMoreFiles(t *testing.T) (lift func()) {
	t.Helper()
	var limit syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	next, err := syscall.Open(os.DevNull, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	require.NoError(t, err)
	require.NoError(t, syscall.Close(next))
	none := limit
	none.Cur = uint64(next)
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none))
	return func() { require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)) }
}
