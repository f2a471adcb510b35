package generation

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn/internal/testkit"
)

const limit = time.Minute

// bound is an attempt in flight on a generation that is retired, with a drain limit.
func bound(t *testing.T) (*Generation, *testkit.Stub, *Bond, *holder) {
	t.Helper()
	stub, h := &testkit.Stub{}, &holder{}
	g := New(stub, limit)
	return g, stub, g.EnterBy(1).Bind(h), h
}

func TestWhatIsInFlightIsCutAtTheDrainLimitWhateverItsReaderDoes(t *testing.T) {
	for name, read := range map[string]func(io.ReadCloser){
		"nobody reads or closes it": func(io.ReadCloser) {},
		"it is read by halves":      func(b io.ReadCloser) { _, _ = io.ReadFull(b, make([]byte, 2)) },
		"somebody waits in Read":    func(b io.ReadCloser) { go func() { _, _ = io.ReadAll(b) }() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g, stub, b, h := bound(t)
				body := newHanging()
				resp := b.Track(request("GET"), &http.Response{StatusCode: 200, Body: body})
				read(resp.Body)
				g.Retire(limit, &heirs{})
				time.Sleep(limit - 1)
				assert.False(t, h.ended.Load())
				assert.EqualValues(t, 1, g.InFlight())
				time.Sleep(time.Nanosecond)
				synctest.Wait()
				assert.True(t, h.ended.Load(), "its context")
				assert.Zero(t, g.InFlight())
				time.Sleep(sweeps[0] + severedRead)
				synctest.Wait()
				assert.EqualValues(t, 1, stub.Closes.Load())
				assert.ErrorIs(t, body.ctx.Err(), context.Canceled, "it was closed")
				for range 2 {
					_, err := resp.Body.Read(make([]byte, 1))
					assert.Same(t, ErrDrained, err)
				}
				_ = resp.Body.Close()
				assert.Zero(t, g.InFlight())
			})
		})
	}
}

// A hanging body gives four bytes, and then waits for its Close.
type hanging struct {
	io.Reader
	ctx    context.Context
	cancel context.CancelFunc
}

func newHanging() *hanging {
	h := &hanging{Reader: strings.NewReader("data")}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	return h
}

func (h *hanging) Read(p []byte) (int, error) {
	if n, err := h.Reader.Read(p); err == nil {
		return n, nil
	}
	<-h.ctx.Done()
	return 0, errBroken
}

func (h *hanging) Close() error { h.cancel(); return nil }

// A body that nobody is used to being closed while it is read is closed when its
// reader is back.
func TestACutBodyIsNotClosedWhileItIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _, b, _ := bound(t)
		reading, body := make(chan struct{}), streaming(nil)
		body.Reader = readerFunc(func([]byte) (int, error) { <-reading; return 0, errBroken })
		resp := b.Track(request("GET"), &http.Response{StatusCode: 200, Body: body})
		read := make(chan error)
		go func() {
			_, err := resp.Body.Read(make([]byte, 1))
			read <- err
		}()
		g.Retire(limit, &heirs{})
		time.Sleep(limit + severedRead/2)
		assert.Zero(t, g.InFlight(), "that waits for nobody")
		assert.Zero(t, body.closed.Load())
		close(reading)
		assert.Same(t, ErrDrained, <-read)
		synctest.Wait()
		assert.EqualValues(t, 1, body.closed.Load())
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestACutConnectionIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _, b, _ := bound(t)
		body := newHanging()
		conn := struct {
			io.ReadCloser
			io.Writer
		}{body, writerFunc(func([]byte) (int, error) { <-body.ctx.Done(); return 0, errBroken })}
		resp := b.Track(request("GET"), &http.Response{StatusCode: 101, Body: conn})
		errs := make(chan error)
		go func() { _, err := io.ReadAll(resp.Body); errs <- err }()
		go func() { _, err := resp.Body.(io.Writer).Write(nil); errs <- err }()
		g.Retire(limit, &heirs{})
		start := time.Now()
		for range 2 {
			assert.Same(t, ErrDrained, <-errs)
		}
		assert.Equal(t, limit, time.Since(start))
		assert.Zero(t, g.InFlight())
		time.Sleep(time.Minute)
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// Of two reasons the caller's own is the one that it is told.
func TestWhoHasGivenUpGetsItsOwnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _, b, h := bound(t)
		body := streaming(errBroken)
		resp := b.Track(request("GET"), &http.Response{StatusCode: 200, Body: body})
		g.Retire(limit, &heirs{})
		time.Sleep(time.Hour)
		h.gone.Store(true)
		_, err := io.ReadAll(resp.Body)
		assert.Same(t, errBroken, err)
		assert.False(t, b.Tells())
		assert.True(t, b.Severed())
	})
}

// An answer that comes when its attempt was cut is no answer any more.
func TestAnAnswerThatComesAfterTheCutIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _, b, _ := bound(t)
		g.Retire(limit, &heirs{})
		time.Sleep(time.Hour)
		require.Zero(t, g.InFlight(), "also while its RoundTrip goes on")
		assert.True(t, b.Tells())
		body := streaming(nil)
		resp := b.Track(request("GET"), &http.Response{StatusCode: 200, Body: body})
		_, err := io.ReadAll(resp.Body)
		assert.Same(t, ErrDrained, err)
		assert.EqualValues(t, 1, body.closed.Load())
		assert.Zero(t, g.InFlight())
	})
}

// A cut takes nothing from what is at its end.
func TestWhatIsOverIsNotCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _, b, h := bound(t)
		resp := b.Track(request("GET"), &http.Response{StatusCode: 200, Body: streaming(nil)})
		_, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		assert.True(t, h.untied.Load(), "nothing is held past the end")
		assert.False(t, h.ended.Load(), "HTTP/2 looks at the context when the body is closed")
		g.Retire(limit, &heirs{})
		time.Sleep(time.Hour)
		assert.False(t, b.Severed())
		_, err = resp.Body.Read(make([]byte, 1))
		assert.Same(t, io.EOF, err)
		require.NoError(t, resp.Body.Close())
		assert.True(t, h.ended.Load())
	})
}

func TestErrDrainedNamesItsKind(t *testing.T) {
	var kind interface{ ErrorType() string }
	require.True(t, errors.As(ErrDrained, &kind))
	assert.Equal(t, "drained", kind.ErrorType())
}
