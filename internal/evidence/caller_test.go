package evidence

import (
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// While a file is sent, its own errors are the caller's, and those of the connection are not.
func TestAnErrorOfTheFileThatIsSentIsTheCallers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "upload")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	file, err := os.Open(path)
	require.NoError(t, err)
	defer file.Close()
	within := func(op string, err error) error { return &net.OpError{Op: op, Net: "tcp", Err: err} }
	ofFile := &fs.PathError{Op: "read", Path: path, Err: syscall.EIO}
	for _, tt := range []struct {
		name string
		body io.Reader
		err  error
		want Verdict
	}{
		{"it cannot be read", file, within("readfrom", ofFile), Neutral},
		{"it cannot be read, over HTTP/2", file, ofFile, Neutral},
		{"it is hidden", io.NopCloser(file), ofFile, Neutral},
		{"sendfile cannot read it", file, within("readfrom", os.NewSyscallError("sendfile", syscall.EIO)), Neutral},
		{"sendfile's connection is broken", file, within("readfrom", os.NewSyscallError("sendfile", syscall.EPIPE)), Failure},
		{"sendfile's connection is reset", file, within("readfrom", os.NewSyscallError("sendfile", syscall.ECONNRESET)), Failure},
		{"a write fails", file, within("write", os.NewSyscallError("write", syscall.EIO)), Failure},
		{"a dialer's file cannot be read", file, &fs.PathError{Op: "open", Path: "/dev/net/tun", Err: syscall.EIO}, Failure},
		{"a file is read that is not the body", strings.NewReader("x"), ofFile, Failure},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req := mustRequest(t.Context(), http.MethodPost, "http://a.test/", tt.body)
			assert.Equal(t, tt.want, Classify(req, tt.err))
		})
	}
}
