package body

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// upload is a request whose body is a file without GetBody, of which a part is read already.
func upload(t *testing.T, url string, content []byte, at int64) (*http.Request, *os.File) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "upload")
	require.NoError(t, os.WriteFile(path, content, 0o600))
	file, err := os.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = file.Close() })
	_, err = file.Seek(at, io.SeekStart)
	require.NoError(t, err)
	req, err := http.NewRequest(http.MethodPost, url, file)
	require.NoError(t, err)
	req.ContentLength = int64(len(content)) - at
	return req, file
}

// net/http closes a file when a dial fails: the next attempt has it all the same, from where the first
// one would have begun.
func TestAFileOutlivesAttemptsThatDidNotReadIt(t *testing.T) {
	for _, at := range []int64{0, 5} {
		req, file := upload(t, "http://a.test/", []byte(payload), at)
		l := NewLender(req, Idempotent)
		for range 3 {
			require.True(t, l.Left())
			sent, err := l.Lend()
			require.NoError(t, err)
			require.True(t, File(sent) == file, "it can be sent straight from its disk")
			require.False(t, Touched(sent))
			require.True(t, IsQuiet(sent), "it does not know its request")
			require.NoError(t, sent.Body.Close())
		}
		sent, err := l.Lend()
		require.NoError(t, err)
		got, err := io.ReadAll(sent.Body)
		require.NoError(t, err)
		assert.Equal(t, payload[at:], string(got))
		assert.True(t, Touched(sent))
		assert.False(t, l.Left())
		require.NoError(t, sent.Body.Close())
		l.Settle()
		_, err = file.Stat()
		assert.ErrorIs(t, err, os.ErrClosed)
	}
}

// A connection sends a file from its disk, and nobody sees how much of it.
func TestAFileWhoseDescriptorWasTakenMayHaveBeenSent(t *testing.T) {
	req, file := upload(t, "http://a.test/", []byte(payload), 0)
	l := NewLender(req, Idempotent)
	sent, err := l.Lend()
	require.NoError(t, err)
	_, err = sent.Body.(syscall.Conn).SyscallConn()
	require.NoError(t, err)
	assert.True(t, Touched(sent))
	assert.False(t, l.Left())
	_, err = l.Lend()
	assert.Error(t, err)
	require.NoError(t, sent.Body.Close())
	_, err = file.Stat()
	assert.ErrorIs(t, err, os.ErrClosed, "nobody can have it any more")
	_, err = sent.Body.(syscall.Conn).SyscallConn()
	assert.Error(t, err)
}

// A connection that reads on from the disk shows in the file's position alone: an upload that moves is
// not silent.
func TestAFileThatIsSentFromItsDiskIsReadWhileItsPositionMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		req, file := upload(t, "http://a.test/", make([]byte, 1000), 100)
		l := NewLender(req, Idempotent)
		sent, err := l.Lend()
		require.NoError(t, err)
		_, err = sent.Body.(syscall.Conn).SyscallConn()
		require.NoError(t, err)
		at, _ := LastRead(sent)
		assert.True(t, at.IsZero(), "it has not moved yet")
		for _, moves := range []bool{true, false, true} {
			before, _ := LastRead(sent)
			time.Sleep(time.Second)
			if moves {
				_, err = file.Seek(10, io.SeekCurrent) // as sendfile does
				require.NoError(t, err)
			}
			at, reading := LastRead(sent)
			assert.False(t, reading)
			assert.Equal(t, moves, at.After(before))
			assert.False(t, Misfits(sent), "what was sent unseen counts")
		}
		_, err = io.Copy(io.Discard, sent.Body) // net/http looks whether there is more
		require.NoError(t, err)
		assert.False(t, Misfits(sent))
	})
}

// A body that was sent as it is was read, whatever is left of it: nobody looked on.
func TestABodyThatWasSentAsItIsIsNotKept(t *testing.T) {
	req, err := http.NewRequest(http.MethodPost, "http://a.test/", strings.NewReader(payload))
	require.NoError(t, err)
	req.GetBody = nil // by a base that has changed the request
	l := NewLender(req, Idempotent)
	l.Lent()
	assert.False(t, l.Left())
	_, err = l.Lend()
	assert.Error(t, err)
}

// An attempt that is over has no way to what the next one reads.
func TestAnAttemptThatIsOverCannotTakeTheDescriptor(t *testing.T) {
	req, _ := upload(t, "http://a.test/", []byte(payload), 0)
	l := NewLender(req, Idempotent)
	late, err := l.Lend()
	require.NoError(t, err)
	next, err := l.Lend()
	require.NoError(t, err)
	_, err = late.Body.(syscall.Conn).SyscallConn()
	assert.Error(t, err)
	assert.False(t, Touched(next))
	assert.True(t, l.Left())
}

// net/http's connection takes the descriptor, and reads no more of the file than is in the same packet as
// the head.
func TestAFileIsSentStraightFromItsDisk(t *testing.T) {
	const size = 1 << 20
	content := make([]byte, size)
	for i := range content {
		content[i] = byte(i >> 10)
	}
	for _, at := range []int64{0, 100} {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			var got []byte
			srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
				got, _ = io.ReadAll(req.Body)
				assert.EqualValues(t, size-at, req.ContentLength)
			}))
			defer srv.Close()
			req, file := upload(t, srv.URL, content, at)
			l := NewLender(req, Idempotent)
			sent, err := l.Lend()
			require.NoError(t, err)
			transport := &http.Transport{}
			defer transport.CloseIdleConnections()
			resp, err := transport.RoundTrip(sent)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			assert.True(t, string(content[at:]) == string(got), "%d bytes", len(got))
			assert.LessOrEqual(t, l.shot.read, int64(4096), "the rest went by sendfile")
			for err == nil { // net/http closes it, soon
				_, err = file.Stat()
			}
			l.Settle()
		})
	}
}
