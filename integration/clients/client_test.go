package clients

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// netHTTP is a library that adds nothing to net/http.
var netHTTP = Client{
	Upstream: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/stream" {
			Pieces(w, "a", "b", "c")
		}
		fmt.Fprint(w, "hello")
	}),
	Adopt: func(_ testing.TB, rt http.RoundTripper, url string) Calls {
		client := &http.Client{Transport: rt}
		get := func(ctx context.Context, path string) (*http.Response, error) {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+path, nil)
			if err != nil {
				return nil, err
			}
			return client.Do(req)
		}
		return Calls{
			Call: func(ctx context.Context) error {
				resp, err := get(ctx, "/")
				if err != nil {
					return err
				}
				defer resp.Body.Close()
				if b, err := io.ReadAll(resp.Body); err != nil || string(b) != "hello" {
					return fmt.Errorf("%q, %w", b, err)
				}
				return nil
			},
			Stream: func(ctx context.Context, piece func(string)) error {
				resp, err := get(ctx, "/stream")
				if err != nil {
					return err
				}
				defer resp.Body.Close()
				for b := make([]byte, 10); ; {
					n, err := resp.Body.Read(b)
					if n > 0 {
						piece(string(b[:n]))
					}
					if errors.Is(err, io.EOF) {
						return nil
					}
					if err != nil {
						return err
					}
				}
			},
		}
	},
}

func TestNetHTTP(t *testing.T) {
	t.Run("h2", netHTTP.Test)
	plain := netHTTP
	plain.Plain = true
	t.Run("h1", plain.Test)
}
