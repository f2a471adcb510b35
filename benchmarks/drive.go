package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// drive sends ops requests through rt, from as many goroutines as there are
// requests, and reads each answer to its end. Every goroutine sends its own
// request again and again.
func drive(rt http.RoundTripper, reqs []*http.Request, ops int) error {
	share := max(ops/len(reqs), 1)
	if len(reqs) == 1 {
		return repeat(rt, reqs[0], share)
	}
	errs := make([]error, len(reqs))
	var wg sync.WaitGroup
	for i, req := range reqs {
		wg.Go(func() { errs[i] = repeat(rt, req, share) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// driven is how many requests drive sends when asked for ops.
func driven(ops, goroutines int) int { return max(ops/goroutines, 1) * goroutines }

func repeat(rt http.RoundTripper, req *http.Request, n int) error {
	buf := make([]byte, 2<<10)
	for range n {
		if err := exchange(rt, req, buf); err != nil {
			return err
		}
	}
	return nil
}

// exchange is one request, its answer read to the end and closed.
func exchange(rt http.RoundTripper, req *http.Request, buf []byte) error {
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return err
	}
	for err == nil {
		_, err = resp.Body.Read(buf)
	}
	if cerr := resp.Body.Close(); cerr != nil {
		return cerr
	}
	if err != io.EOF {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the answer was %s", resp.Status)
	}
	return nil
}

// hurried is the context of callers who are soon gone, as those are whose requests
// nobody has to accompany. It only says so: a request that is sent for minutes, over
// and over, cannot have a deadline that is near.
type hurried struct{ context.Context }

func (hurried) Deadline() (time.Time, bool) { return time.Unix(0, 0), true }

func get(ctx context.Context, url string) *http.Request {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		panic(err) // the URLs are ours
	}
	return req
}
