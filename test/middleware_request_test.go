package test

import (
	"bytes"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// Handlers get a copy of the inbound request. What they leave in it is for those who have the
// request itself, as without the middleware: net/http's server removes the files of a form
// that was too large for memory, and telemetry names a request by the pattern that a ServeMux
// found. Whoever recovers a panic has them, too.
func TestWhatHandlersLeaveInTheRequestIsHandedBack(t *testing.T) {
	dir := t.TempDir() // where multipart puts its files, by one variable or the other
	t.Setenv("TMPDIR", dir)
	t.Setenv("TMP", dir)
	var form bytes.Buffer
	parts := multipart.NewWriter(&form)
	part, err := parts.CreateFormFile("upload", "large")
	require.NoError(t, err)
	_, err = part.Write(bytes.Repeat([]byte("x"), 1<<20))
	require.NoError(t, err)
	require.NoError(t, parts.Close())

	mux := http.NewServeMux()
	mux.HandleFunc("POST /upload/{how}", func(w http.ResponseWriter, req *http.Request) {
		assert.NoError(t, req.ParseMultipartForm(1))
		files, err := os.ReadDir(dir)
		assert.NoError(t, err)
		assert.Len(t, files, 1, "the form must have a file for this test")
		if req.PathValue("how") == "panics" {
			panic(http.ErrAbortHandler)
		}
	})
	// upload returns the request as it is around h in the end, and how many files the server
	// left.
	upload := func(t *testing.T, proto protocol, path string, h http.Handler) (got http.Request, files int) {
		around := make(chan http.Request, 1)
		srv, transport := proto.serve(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			defer func() { around <- *req }()
			h.ServeHTTP(w, req)
		}))
		req := request(t.Context(), http.MethodPost, srv.URL+path, bytes.NewReader(form.Bytes()))
		req.Header.Set("Content-Type", parts.FormDataContentType())
		resp, err := transport().RoundTrip(req)
		if err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			require.NoError(t, resp.Body.Close())
		}
		got = <-around
		require.NotNil(t, got.MultipartForm)
		srv.Close() // when all that its connections had to do is done
		left, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.NoError(t, got.MultipartForm.RemoveAll())
		return got, len(left)
	}
	for _, proto := range protocols {
		for _, path := range []string{"/upload/answers", "/upload/panics"} {
			t.Run(proto.name+path, func(t *testing.T) {
				noLeaks(t)
				_, leaves := upload(t, proto, path, mux) // Go 1.27 leaves those of HTTP/2
				got, left := upload(t, proto, path, respawn.Middleware(start(t, &testkit.Stub{}, respawn.WithFactory(fresh)))(mux))
				assert.Equal(t, leaves, left)
				assert.Equal(t, "POST /upload/{how}", got.Pattern)
			})
		}
	}
}

// Handlers that only read may share a request, as where a middleware goes on without a slow one.
// The race detector is this test.
func TestHandlersThatOnlyReadMayShareARequest(t *testing.T) {
	rt := start(t, &testkit.Stub{}, respawn.WithFactory(fresh))
	handler := respawn.Middleware(rt)(respawn.Middleware(rt)(http.NotFoundHandler()))
	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() { handler.ServeHTTP(httptest.NewRecorder(), req) })
	}
	wg.Wait()
}
