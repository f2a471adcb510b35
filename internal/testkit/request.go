package testkit

import (
	"context"
	"io"
	"net/http"
)

// Request returns a new request, and panics where http.NewRequest fails.
func Request(ctx context.Context, method, url string, body io.Reader) *http.Request {
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		panic(err)
	}
	return req
}

// Get sends a GET through rt and returns the status. The body is read to its
// end and closed; its error is returned, too.
func Get(ctx context.Context, rt http.RoundTripper, url string) (int, error) {
	return Do(rt, Request(ctx, http.MethodGet, url, nil))
}

// Do sends req through rt and returns the status. The body is read to its end
// and closed; its error is returned, too.
func Do(rt http.RoundTripper, req *http.Request) (int, error) {
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	if cerr := resp.Body.Close(); err == nil {
		err = cerr
	}
	return resp.StatusCode, err
}

// CloseBody closes the request's body, if it has one.
func CloseBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}
