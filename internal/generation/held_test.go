package generation

import (
	"context"
	"errors"
	"io"
	"net/http"
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

type errReader struct{ error }

func (r errReader) Read([]byte) (int, error) { return 0, r.error }
