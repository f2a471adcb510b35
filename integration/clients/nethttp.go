package clients

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// Hello is the upstream of [Get]'s Calls.
var Hello http.Handler = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
	if req.URL.Path == "/stream" {
		Pieces(w, "a", "b", "c")
		return
	}
	fmt.Fprint(w, "hello")
})

// Get returns the Calls of a library whose client is an http.Client: GETs of [Hello].
func Get(client *http.Client, url string) Calls {
	get := func(ctx context.Context, path string, read func(io.Reader) error) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+path, nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("answered %s", resp.Status)
		}
		return read(resp.Body)
	}
	return Calls{
		Call: func(ctx context.Context) error {
			return get(ctx, "/", func(r io.Reader) error {
				b, err := io.ReadAll(r)
				if err == nil && string(b) != "hello" {
					err = fmt.Errorf("answered %q", b)
				}
				return err
			})
		},
		Stream: func(ctx context.Context, piece func(string)) error {
			return get(ctx, "/stream", func(r io.Reader) error { return ReadPieces(r, piece) })
		},
	}
}

// ReadPieces calls piece with what each Read gives, until r is at its end.
func ReadPieces(r io.Reader, piece func(string)) error {
	for b := make([]byte, 1<<10); ; {
		n, err := r.Read(b)
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
}
