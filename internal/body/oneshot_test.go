package body

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const payload = "a payload worth sending once"

// A trackedBody knows how often it was read and closed.
type trackedBody struct {
	io.Reader
	reads, closes atomic.Int64
}

func (b *trackedBody) Read(p []byte) (int, error) { b.reads.Add(1); return b.Reader.Read(p) }
func (b *trackedBody) Close() error               { b.closes.Add(1); return nil }

var errReader = errors.New("the caller's disk is broken")

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, errReader }

// shielded is a oneShot over a tracked body.
func shielded(content string) (*oneShot, *trackedBody) {
	body := &trackedBody{Reader: strings.NewReader(content)}
	return &oneShot{body: body}, body
}

func TestOneShotOutlivesAttemptsThatDidNotReadIt(t *testing.T) {
	shot, body := shielded(payload)
	for range 3 {
		b, ok := shot.lend(time.Now())
		require.True(t, ok)
		require.NoError(t, b.Close())
		assert.Zero(t, body.closes.Load(), "net/http's Close after a failed dial must not reach the caller's body")
		assert.True(t, shot.unread())
	}
	b, ok := shot.lend(time.Now())
	require.True(t, ok)
	got, err := io.ReadAll(b)
	require.NoError(t, err)
	assert.Equal(t, payload, string(got))
	assert.False(t, shot.unread())
	require.NoError(t, b.Close())
	shot.release(false)
	assert.EqualValues(t, 1, body.closes.Load())
	_, ok = shot.lend(time.Now())
	assert.False(t, ok, "what was read cannot be sent again")
}

// A transport that reads on after its RoundTrip has returned takes nothing of what the next attempt
// reads, though GetBody gives the same reader again, rewound.
func TestALateReaderTakesNothingOfTheNextBody(t *testing.T) {
	var given []*trackedBody
	source := strings.NewReader(payload)
	give := func() *trackedBody {
		_, err := source.Seek(0, io.SeekStart)
		require.NoError(t, err)
		given = append(given, &trackedBody{Reader: source})
		return given[len(given)-1]
	}
	req, err := http.NewRequest(http.MethodPut, "http://a.test/", give())
	require.NoError(t, err)
	req.GetBody = func() (io.ReadCloser, error) { return give(), nil }
	l := NewLender(req, Idempotent)
	late, err := l.Lend()
	require.NoError(t, err)
	n, err := late.Body.Read(make([]byte, 3))
	require.NoError(t, err)
	require.Equal(t, 3, n)

	next, err := l.Lend()
	require.NoError(t, err)
	_, err = late.Body.Read(make([]byte, 3))
	require.ErrorIs(t, err, errDetached)
	got, err := io.ReadAll(next.Body)
	require.NoError(t, err)
	assert.Equal(t, payload, string(got))
	require.NoError(t, late.Body.Close())
	require.NoError(t, next.Body.Close())
	l.Settle()
	for _, b := range given {
		assert.EqualValues(t, 1, b.closes.Load())
	}
}

// net/http closes a body at its end, before it has the answer, and callers count on that. A body without
// a byte goes again all the same. The Close of a body that nobody has read may block: nobody waits for it.
func TestAnEmptyBodyIsClosedAtItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shot, body := shielded("")
		for range 3 {
			b, ok := shot.lend(time.Now())
			require.True(t, ok)
			got, err := io.ReadAll(b)
			require.NoError(t, err)
			require.Empty(t, got)
			require.NoError(t, b.Close())
			assert.EqualValues(t, 1, body.closes.Load())
			assert.EqualValues(t, 1, body.reads.Load(), "a closed body is not read")
		}
		shot.release(true)
		assert.EqualValues(t, 1, body.closes.Load())

		shot, body = shielded("")
		b, _ := shot.lend(time.Now())
		require.NoError(t, b.Close())
		require.Zero(t, body.closes.Load(), "it may be sent again")
		shot.body = closeBlocks{body}
		shot.release(true)
		synctest.Wait()
		assert.EqualValues(t, 1, body.closes.Load())
		time.Sleep(time.Minute)
	})
}

// closeBlocks is a body whose Close takes a minute.
type closeBlocks struct{ *trackedBody }

func (b closeBlocks) Close() error {
	defer time.Sleep(time.Minute)
	return b.trackedBody.Close()
}

func TestOneShotDetachedHolder(t *testing.T) {
	shot, body := shielded(payload)
	late, _ := shot.lend(time.Now())
	next, _ := shot.lend(time.Now())
	_, err := late.Read(make([]byte, 8))
	require.ErrorIs(t, err, errDetached, "net/http may read late, when the body is another attempt's already")
	assert.Zero(t, body.reads.Load(), "a late Read must not eat the next attempt's bytes")
	assert.True(t, shot.unread())
	require.NoError(t, late.Close())
	shot.release(false)
	assert.Zero(t, body.closes.Load(), "the holder has not closed it yet")
	got, err := io.ReadAll(next)
	require.NoError(t, err)
	assert.Equal(t, payload, string(got))
	require.NoError(t, next.Close())
	require.NoError(t, next.Close())
	require.NoError(t, late.Close())
	assert.EqualValues(t, 1, body.closes.Load())
	_, err = next.Read(make([]byte, 8))
	assert.ErrorIs(t, err, errDetached, "read after close")
}

// closeError is a body whose Close fails.
type closeError struct {
	io.Reader
	err error
}

func (c closeError) Close() error { return c.err }

func TestOneShotHandsOnErrors(t *testing.T) {
	errClose := errors.New("cannot close")
	shot := &oneShot{body: closeError{failingReader{}, errClose}}
	b, _ := shot.lend(time.Now())
	sent := &http.Request{Body: b}
	assert.False(t, Broke(sent), "nothing was read yet")
	assert.False(t, MayBe(sent, errReader))
	_, err := b.Read(nil)
	assert.True(t, err == errReader)
	assert.True(t, Broke(sent))
	assert.True(t, MayBe(sent, io.ErrUnexpectedEOF), "what wraps the transport may have hidden the body's own error")
	assert.True(t, b.Close() == errClose, "the caller's own error")

	whole := &oneShot{body: io.NopCloser(bytes.NewReader(nil))}
	b, _ = whole.lend(time.Now())
	_, err = b.Read(make([]byte, 1))
	assert.True(t, err == io.EOF)
	assert.False(t, Broke(&http.Request{Body: b}), "the end of a body is no failure of it")
	assert.False(t, MayBe(&http.Request{Body: b}, io.EOF))
}

// A transport whose connection has broken closes the body, and the Read that it is in fails
// for that. Where it is about what was sent, the very error still proves nothing.
func TestABodyThatItsTransportHasClosedHasNotBroken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := io.Pipe()
		shot := &oneShot{body: ours}
		b, _ := shot.lend(time.Now())
		sent := &http.Request{Body: b}
		read := make(chan error)
		go func() { _, err := io.ReadAll(b); read <- err }()
		_, err := theirs.Write([]byte(payload))
		require.NoError(t, err)
		synctest.Wait()
		require.NoError(t, b.Close())
		require.ErrorIs(t, <-read, io.ErrClosedPipe)
		assert.False(t, Broke(sent))
		assert.True(t, MayBe(sent, fmt.Errorf("tunnel: %w", io.ErrClosedPipe)))
		assert.False(t, MayBe(sent, io.ErrUnexpectedEOF))
	})
}

// What has been read of a body says whether its request gave the right length for it. The end
// of a body that its transport has closed says nothing.
func TestABodyMisfitsIfItIsShorterOrLongerThanItsRequestSays(t *testing.T) {
	const n = len(payload)
	for _, tc := range []struct {
		length, read int
		close        bool
		misfits      bool
		why          string
	}{
		{n + 1, n + 1, false, true, "it is too short"},
		{n + 1, n - 1, false, false, "it may go on"},
		{n + 1, n + 1, true, false, "nobody reads it any more"},
		{n, n + 1, false, false, "it fits"},
		{n - 1, n, false, true, "it is too long"},
		{n - 1, n - 1, false, false, "it may end here"},
		{0, n + 1, false, false, "its length is unknown"},
		{-1, n + 1, false, false, "its length is unknown"},
	} {
		t.Run(fmt.Sprintf("%d of %d, closed=%v", tc.read, tc.length, tc.close), func(t *testing.T) {
			shot := &oneShot{body: io.NopCloser(iotest.DataErrReader(strings.NewReader(payload)))}
			b, _ := shot.lend(time.Now())
			if tc.close {
				shot.body = closedWhileRead{shot.body, b}
			}
			_, _ = io.ReadFull(b, make([]byte, tc.read))
			sent := &http.Request{Body: b, ContentLength: int64(tc.length)}
			assert.Equal(t, tc.misfits, Misfits(sent), tc.why)
		})
	}
	assert.False(t, Misfits(&http.Request{Body: http.NoBody, ContentLength: 1}), "nobody looks")
}

// A body is quiet once its transport has closed it unread. What is in memory always is.
func TestABodyIsQuietOnceItIsClosedUnread(t *testing.T) {
	shot := &oneShot{body: io.NopCloser(strings.NewReader(payload))}
	b, _ := shot.lend(time.Now())
	sent := &http.Request{Body: b}
	assert.False(t, IsQuiet(sent), "it may be read yet")
	require.NoError(t, b.Close())
	assert.True(t, IsQuiet(sent))

	b, _ = shot.lend(time.Now())
	_, err := b.Read(make([]byte, 1))
	require.NoError(t, err)
	require.NoError(t, b.Close())
	assert.False(t, IsQuiet(&http.Request{Body: b}), "it was read")

	synctest.Test(t, func(t *testing.T) {
		ours, theirs := io.Pipe()
		shot := &oneShot{body: ours}
		b, _ := shot.lend(time.Now())
		go func() { _, _ = b.Read(make([]byte, 1)) }()
		synctest.Wait()
		require.NoError(t, b.Close())
		assert.False(t, IsQuiet(&http.Request{Body: b}), "it is read")
		require.NoError(t, theirs.Close())
	})

	assert.True(t, IsQuiet(&http.Request{}))
	assert.True(t, IsQuiet(&http.Request{Body: io.NopCloser(strings.NewReader(payload))}))
	assert.False(t, IsQuiet(&http.Request{Body: closedWhileRead{}}), "nobody knows it")
}

// closedWhileRead is closed by its transport during each of its Reads.
type closedWhileRead struct {
	io.ReadCloser
	by *sendBody
}

func (c closedWhileRead) Read(p []byte) (int, error) {
	_ = c.by.Close()
	return c.ReadCloser.Read(p)
}

// An attempt may fail while its transport is within a Read, which then takes the
// first bytes away from the next attempt.
func TestOneShotIsNotLentWhileSomebodyReadsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := io.Pipe()
		shot := &oneShot{body: ours}
		first, _ := shot.lend(time.Now())
		read := make(chan error)
		go func() { _, err := io.ReadAll(first); read <- err }()
		synctest.Wait()
		assert.False(t, shot.unread())
		_, ok := shot.lend(time.Now())
		assert.False(t, ok)
		require.NoError(t, theirs.Close())
		require.NoError(t, <-read)
		_, ok = shot.lend(time.Now())
		assert.True(t, ok, "that Read gave nothing")
	})
}

// A body that was never lent is closed by release: nobody else will.
func TestOneShotNeverLent(t *testing.T) {
	shot, body := shielded(payload)
	shot.release(false)
	assert.EqualValues(t, 1, body.closes.Load())
	_, ok := shot.lend(time.Now())
	assert.False(t, ok)
}

// Attempts that read and close late, the next attempt and the end of the call
// may all meet. Whatever the order, the body is closed once and read by one.
// The race detector is half of this test.
func TestOneShotConcurrently(t *testing.T) {
	for range 200 {
		shot, body := shielded(payload)
		var wg sync.WaitGroup
		var whole atomic.Int64
		for range 4 {
			b, ok := shot.lend(time.Now())
			if !ok {
				break // an earlier attempt has read it
			}
			wg.Go(func() {
				if got, err := io.ReadAll(b); err == nil && string(got) == payload {
					whole.Add(1)
				}
			})
			wg.Go(func() { _ = b.Close() })
		}
		wg.Go(func() { shot.release(false) })
		wg.Wait()
		assert.EqualValues(t, 1, body.closes.Load())
		assert.LessOrEqual(t, whole.Load(), int64(1))
	}
}
