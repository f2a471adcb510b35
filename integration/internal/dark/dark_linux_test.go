package dark

import (
	"context"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAConnectionGoesDarkAndAFreshOneDoesNot(t *testing.T) {
	if missing := Missing(); missing != "" {
		t.Skip(missing)
	}
	n, err := New()
	require.NoError(t, err)
	defer func() { assert.NoError(t, n.Close()) }()
	server, err := n.serve(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	require.NoError(t, err)
	defer server.Close()
	defer server.CloseClientConnections()
	ask := func(transport *http.Transport, limit time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://example.com/", nil)
		require.NoError(t, err)
		resp, err := transport.RoundTrip(req)
		if err == nil {
			assert.Equal(t, 2, resp.ProtoMajor)
			resp.Body.Close()
		}
		return err
	}
	old, fresh := n.transport(server.Certificate()), n.transport(server.Certificate())
	defer old.CloseIdleConnections()
	defer fresh.CloseIdleConnections()
	require.NoError(t, ask(old, time.Minute))
	require.NoError(t, n.GoDark())
	assert.ErrorIs(t, ask(old, time.Second), context.DeadlineExceeded, "nothing says that it is gone")
	assert.NoError(t, ask(fresh, time.Minute))
}
