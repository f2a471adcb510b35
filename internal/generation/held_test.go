package generation

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// held tracks a response in whose attempt's context is ctx.
func held(t *testing.T, resp *http.Response) (g *Generation, ctx context.Context, out *http.Response) {
	t.Helper()
	g = New(nil, 0)
	req := request("GET")
	ctx, cancel := context.WithCancelCause(t.Context())
	return g, ctx, new(Held).Track(g.Enter(req), req, resp, cancel)
}

func TestAHeldContextEndsWithTheBody(t *testing.T) {
	g, ctx, resp := held(t, &http.Response{StatusCode: 200, Body: streaming(nil)})
	require.EqualValues(t, 1, g.InFlight())
	require.NoError(t, ctx.Err())
	_, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	assert.Zero(t, g.InFlight(), "out at the body's end")
	assert.ErrorIs(t, ctx.Err(), context.Canceled, "nobody may ever close it")
}

func TestAHeldContextEndsWithClose(t *testing.T) {
	g, ctx, resp := held(t, &http.Response{StatusCode: 200, Body: streaming(nil)})
	require.NoError(t, resp.Body.Close())
	require.NoError(t, resp.Body.Close())
	assert.ErrorIs(t, ctx.Err(), context.Canceled)
	assert.Zero(t, g.InFlight())
}

func TestAHeldContextEndsWithAnError(t *testing.T) {
	broken := errors.New("broken")
	g, ctx, resp := held(t, &http.Response{StatusCode: 200, Body: streaming(broken)})
	_, err := io.ReadAll(resp.Body)
	require.Same(t, broken, err)
	assert.Zero(t, g.InFlight())
	assert.ErrorIs(t, ctx.Err(), context.Canceled)
}

func TestAHeldContextEndsAtOnceWhereThereIsNoBody(t *testing.T) {
	want := &http.Response{StatusCode: 204, Body: http.NoBody}
	g, ctx, resp := held(t, want)
	assert.Same(t, want, resp)
	assert.Zero(t, g.InFlight())
	assert.ErrorIs(t, ctx.Err(), context.Canceled)
}

func TestAHeldContextEndsWithTheUpgradedConnection(t *testing.T) {
	conn := struct {
		io.ReadCloser
		io.Writer
	}{io.NopCloser(errReader{io.EOF}), io.Discard}
	g, ctx, resp := held(t, &http.Response{StatusCode: 101, Body: conn})
	_, err := resp.Body.Read(make([]byte, 1))
	require.Same(t, io.EOF, err)
	assert.EqualValues(t, 1, g.InFlight())
	assert.NoError(t, ctx.Err())
	assert.Implements(t, (*io.Writer)(nil), resp.Body)
	require.NoError(t, resp.Body.Close())
	assert.Zero(t, g.InFlight())
	assert.ErrorIs(t, ctx.Err(), context.Canceled)
}

func TestAHeldContextEndsWithABodyThatCanWrite(t *testing.T) {
	buffer := struct {
		io.ReadCloser
		io.Writer
	}{io.NopCloser(errReader{io.EOF}), io.Discard}
	g, ctx, resp := held(t, &http.Response{StatusCode: 200, Body: buffer})
	assert.Implements(t, (*io.Writer)(nil), resp.Body)
	_, err := resp.Body.Read(make([]byte, 1))
	require.Same(t, io.EOF, err)
	assert.Zero(t, g.InFlight())
	assert.ErrorIs(t, ctx.Err(), context.Canceled)
	require.NoError(t, resp.Body.Close())
}

type errReader struct{ error }

func (r errReader) Read([]byte) (int, error) { return 0, r.error }

// A closing body notes its Closes, and whether its context had ended at the first.
type closing struct {
	io.Reader
	ctx    context.Context
	closes int
	ended  error
}

var errClosing = errors.New("the Close failed")

func (c *closing) Close() error {
	if c.closes++; c.closes == 1 {
		c.ended = c.ctx.Err()
	}
	return errClosing
}

// tied is a holder that cannot do without its caller's context.
type tied struct{ cancel context.CancelFunc }

func (t *tied) End()        { t.cancel() }
func (t *tied) Untie() bool { return false }
func (t *tied) Gone() bool  { return false }

// A body is closed at its end, and its context ends after that: HTTP/2's Close waits for the end of
// the stream while the context lasts, so that a connection is idle when Close returns. Its reader
// notices nothing: the body is at its end until the reader's own Close, which is no second one.
func TestABodyIsClosedAtItsEndBeforeItsContextEnds(t *testing.T) {
	for name, track := range map[string]func(*Stripe, *http.Request, *http.Response, context.CancelFunc) *http.Response{
		"held": func(s *Stripe, req *http.Request, resp *http.Response, cancel context.CancelFunc) *http.Response {
			return new(Held).Track(s, req, resp, func(error) { cancel() })
		},
		"bound": func(s *Stripe, req *http.Request, resp *http.Response, cancel context.CancelFunc) *http.Response {
			return s.Bind(&tied{cancel}).Track(req, resp)
		},
	} {
		t.Run(name, func(t *testing.T) {
			g, req := New(nil, 0), request("GET")
			ctx, cancel := context.WithCancel(t.Context())
			body := &closing{Reader: strings.NewReader("data"), ctx: ctx}
			resp := track(g.Enter(req), req, &http.Response{StatusCode: 200, Body: body}, cancel)
			_, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			assert.Equal(t, 1, body.closes)
			require.NoError(t, body.ended)
			require.Error(t, ctx.Err())
			body.Reader = errReader{io.ErrClosedPipe}
			_, err = resp.Body.Read(make([]byte, 1))
			assert.Same(t, io.EOF, err)

			require.Same(t, errClosing, resp.Body.Close())
			assert.Equal(t, 1, body.closes)
			_, err = resp.Body.Read(make([]byte, 1))
			require.Same(t, io.ErrClosedPipe, err)
			assert.Zero(t, g.InFlight())
		})
	}
}
