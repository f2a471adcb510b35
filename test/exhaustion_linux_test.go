package test

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
)

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
