package cloud

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/integration/clients"
)

// minioBase is what minio-go would use by itself. It has no HTTP/2.
func minioBase(wire *clients.Wire) (*http.Transport, error) {
	t, err := minio.DefaultTransport(true)
	if err == nil {
		wire.Prepare(t)
	}
	return t, err
}

func newMinio(t testing.TB, rt http.RoundTripper, url string) *minio.Client {
	scheme, host, _ := strings.Cut(url, "://")
	client, err := minio.New(host, &minio.Options{
		Creds:     credentials.NewStaticV4("id", "secret", ""),
		Secure:    scheme == "https",
		Region:    "eu-central-1",
		Transport: rt,
	})
	require.NoError(t, err)
	return client
}

func TestMinio(t *testing.T) {
	clients.Client{
		Upstream: store,
		Plain:    true,
		Base:     minioBase,
		Attempts: minio.MaxRetry,
		Adopt: func(t testing.TB, rt http.RoundTripper, url string) clients.Calls {
			client := newMinio(t, rt, url)
			get := func(ctx context.Context, key string, read func(io.Reader) error) error {
				// Core's GetObject is the one without a goroutine and a seekable body.
				body, _, _, err := minio.Core{Client: client}.GetObject(ctx, "bucket", key, minio.GetObjectOptions{})
				if err != nil {
					return err
				}
				defer body.Close()
				return read(body)
			}
			return clients.Calls{
				Call: func(ctx context.Context) error { return get(ctx, "item", wantHello) },
				Stream: func(ctx context.Context, piece func(string)) error {
					return get(ctx, "stream", func(r io.Reader) error { return clients.ReadPieces(r, piece) })
				},
			}
		},
	}.Test(t)
}

// minio-go's transport leaves an object that is stored compressed as it is. That of New
// with no base, and net/http's own, decompress it.
func TestMinioObjectsStayCompressedOnItsOwnTransport(t *testing.T) {
	var stored bytes.Buffer
	zip := gzip.NewWriter(&stored)
	_, _ = io.WriteString(zip, "hello")
	require.NoError(t, zip.Close())
	for name, base := range map[string]func(*clients.Wire) (*http.Transport, error){"minio's": minioBase, "New's": func(wire *clients.Wire) (*http.Transport, error) {
		t := respawn.NewTransport()
		wire.Prepare(t)
		return t, nil
	}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := clients.NewWorld(t, clients.Client{Base: base, Upstream: http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
					rw.Header().Set("Last-Modified", "Fri, 31 Dec 1999 23:59:59 GMT")
					rw.Header().Set("Content-Encoding", "gzip")
					_, _ = rw.Write(stored.Bytes())
				})})
				rt := w.Respawn()
				object, err := newMinio(t, rt, w.URL).GetObject(t.Context(), "bucket", "item.gz", minio.GetObjectOptions{})
				require.NoError(t, err)
				got, err := io.ReadAll(object)
				require.NoError(t, err)
				if name == "minio's" {
					assert.Equal(t, stored.Bytes(), got)
				} else {
					assert.Equal(t, "hello", string(got))
				}
				require.NoError(t, object.Close())
				w.End(rt)
			})
		})
	}
}

// An object holds its transport until somebody closes it, and so it holds up the drain
// after a swap.
func TestMinioObjectHoldsItsTransportUntilItIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := clients.NewWorld(t, clients.Client{Base: minioBase, Plain: true, Upstream: store})
		rt := w.Respawn()
		object, err := newMinio(t, rt, w.URL).GetObject(t.Context(), "bucket", "stream", minio.GetObjectOptions{})
		require.NoError(t, err)
		_, err = io.ReadFull(object, make([]byte, 1))
		require.NoError(t, err)
		require.NoError(t, rt.Recreate(t.Context()))
		assert.Equal(t, 1, rt.Health().Draining)
		require.NoError(t, object.Close())
		w.End(rt)
		assert.Zero(t, rt.Health().Draining)
	})
}
