package test

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// A deadline that passes while everybody waits for the caller's own pipe says nothing.
func TestContractAPipeThatNobodyWritesToIsTheCallers(t *testing.T) {
	srv, transport := h1.serve(t, http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		_, _ = io.Copy(io.Discard, req.Body)
		<-req.Context().Done() // the body ends when its caller's deadline has passed, and there is no answer
	}))
	for name, hide := range map[string]func(*os.File) io.ReadCloser{
		"as it is":  func(f *os.File) io.ReadCloser { return f },
		"NopCloser": func(f *os.File) io.ReadCloser { return io.NopCloser(f) },
	} {
		t.Run(name, func(t *testing.T) {
			rt := start(t, transport(), respawn.WithStallThreshold(2, time.Millisecond))
			for range 3 {
				pipe, end, err := os.Pipe()
				require.NoError(t, err)
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				context.AfterFunc(ctx, func() { _ = end.Close() }) // net/http waits for a Read that is under way
				_, err = testkit.Do(rt, request(ctx, http.MethodPost, srv.URL, hide(pipe)))
				require.ErrorIs(t, err, context.DeadlineExceeded)
				cancel()
				_ = pipe.Close() // the transport has closed it, unless that is hidden
			}
			assert.Empty(t, rt.Health().Streaks)
		})
	}
}

// A file on a disk is sent without anybody looking on. What keeps it from being read is the caller's.
func TestContractAFileThatCannotBeReadIsTheCallers(t *testing.T) {
	const size, short, long = 100_000, "it is shorter than it was", "it is longer than it was"
	longer := filepath.Join(t.TempDir(), "longer")
	require.NoError(t, os.WriteFile(longer, make([]byte, 2*size), 0o600))
	path := filepath.Join(t.TempDir(), "upload")
	require.NoError(t, os.WriteFile(path, make([]byte, size), 0o600))
	for name, open := range map[string]func(t *testing.T) *os.File{
		"it is closed already": func(t *testing.T) *os.File {
			f, err := os.Open(path)
			require.NoError(t, err)
			require.NoError(t, f.Close())
			return f
		},
		"it is open for writing only": func(t *testing.T) *os.File {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			require.NoError(t, err)
			return f
		},
		long: func(t *testing.T) *os.File {
			f, err := os.Open(longer)
			require.NoError(t, err)
			return f
		},
		short: func(t *testing.T) *os.File {
			f, err := os.Open(path)
			require.NoError(t, err)
			_, err = f.Seek(size/2, io.SeekStart)
			require.NoError(t, err)
			return f
		},
	} {
		for _, proto := range protocols {
			for _, hidden := range []bool{false, true} {
				t.Run(fmt.Sprint(proto.name, ", ", name, ", in a NopCloser: ", hidden), func(t *testing.T) {
					noLeaks(t)
					srv, transport := proto.serve(t, http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
						_, _ = io.Copy(io.Discard, req.Body)
					}))
					rt := start(t, transport(), respawn.WithThreshold(1))
					for range 3 {
						f := open(t)
						req := request(t.Context(), http.MethodPost, srv.URL, f)
						if hidden {
							req.Body = io.NopCloser(f)
						}
						req.ContentLength = size
						_, err := testkit.Do(rt, req)
						switch {
						case name == long: // the server may answer before net/http looks for what is beyond the length
						case name == short && proto.name != "h1": // net/http's HTTP/2 goes on without the rest
						default:
							require.Error(t, err)
						}
						_ = f.Close()
					}
					h := rt.Health()
					assert.Empty(t, h.Streaks)
					assert.Zero(t, h.Rejections)
					assert.EqualValues(t, 1, h.Generation)
				})
			}
		}
	}
}

// What a transport needs may be a file, too: a device, a socket, a certificate. Where that is gone, the
// transport is dead, though the body is a file as well.
func TestATransportThatLacksAFileIsReplacedWhereFilesAreSent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "upload")
	require.NoError(t, os.WriteFile(path, []byte("x"), 0o600))
	lacks := &fs.PathError{Op: "open", Path: "/dev/net/tun", Err: syscall.ENODEV}
	for _, method := range []string{http.MethodPost, http.MethodPut} {
		for threshold := 1; threshold <= 4; threshold++ {
			for name, again := range map[string]func() (io.ReadCloser, error){
				"once": nil, "GetBody": func() (io.ReadCloser, error) { return os.Open(path) },
			} {
				t.Run(fmt.Sprint(method, ", ", name, ", threshold ", threshold), func(t *testing.T) {
					srv, transport := h1.serve(t, http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
						_, _ = io.Copy(io.Discard, req.Body)
					}))
					dead := transport()
					dead.DialContext = func(context.Context, string, string) (net.Conn, error) { return nil, lacks }
					rt := start(t, dead, respawn.WithThreshold(threshold), respawn.WithFactory(func(context.Context) (http.RoundTripper, error) {
						return transport(), nil
					}))
					lost := 0
					for range 10 {
						f, err := os.Open(path)
						require.NoError(t, err)
						req := request(t.Context(), method, srv.URL, f)
						req.GetBody, req.ContentLength = again, 1
						if _, err := testkit.Do(rt, req); err != nil {
							require.ErrorIs(t, err, syscall.ENODEV)
							lost++
						}
					}
					assert.LessOrEqual(t, lost, threshold+1)
					assert.EqualValues(t, 2, rt.Health().Generation)
				})
			}
		}
	}
}

// What kind of body a request has is seen before it is sent: of a file that was read less is left than its
// request says. The next attempt has what GetBody gives, and where there is none the file is left to
// the transport that may still read it.
func TestAFileThatWasReadIsNotTakenForAnother(t *testing.T) {
	const size = 1 << 16
	path := filepath.Join(t.TempDir(), "upload")
	require.NoError(t, os.WriteFile(path, make([]byte, size), 0o600))
	for _, tt := range []struct {
		again    bool
		read     int64
		attempts []int64 // what each has sent
	}{
		{true, 100, []int64{100, size}}, {true, size, []int64{size, size}}, {false, 100, []int64{100}},
	} {
		t.Run(fmt.Sprintf("%+v", tt), func(t *testing.T) {
			var attempts []int64
			base := testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
				if len(attempts) == 0 {
					n, _ := io.CopyN(io.Discard, req.Body, tt.read)
					attempts = append(attempts, n)
					return nil, testkit.ConnReset() // a goroutine of its own closes the body some time
				}
				n, _ := io.Copy(io.Discard, req.Body)
				attempts = append(attempts, n)
				return testkit.Answer(req)
			})
			file, err := os.Open(path)
			require.NoError(t, err)
			defer file.Close()
			rt := start(t, base, respawn.WithPatience(0), respawn.WithFactory(fails))
			req := request(t.Context(), http.MethodPut, "http://a.test/", file)
			req.Header.Set("Idempotency-Key", "1")
			req.ContentLength = size
			if tt.again {
				req.Body = io.NopCloser(file)
				req.GetBody = func() (io.ReadCloser, error) {
					_, err := file.Seek(0, io.SeekStart)
					return io.NopCloser(file), err
				}
			}
			_, err = testkit.Do(rt, req)
			assert.Equal(t, tt.again, err == nil)
			assert.Equal(t, tt.attempts, attempts)
			_, err = file.Seek(0, io.SeekStart)
			assert.NoError(t, err, "it is still open")
		})
	}
}
