package main

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDebugPage(t *testing.T) {
	r := newEmbeddedRig(t)
	status, body := r.get(t, "/debug/respawn")
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, "Serving. Nothing is under suspicion.")

	require.NoError(t, r.rt.Recreate(t.Context()))
	status, body = r.get(t, "/debug/respawn?format=json")
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, `"name": "upstream"`)
	require.Contains(t, body, `"trigger": "manual"`)
	status, _ = r.do(t, http.MethodPost, "/debug/respawn", "")
	require.Equal(t, http.StatusMethodNotAllowed, status)
}
