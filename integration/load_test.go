package integration

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A kind of request is defined by when such a request may be sent again after a failure.
type kind string

const (
	plainGet   kind = "GET"
	keyedPost  kind = "POST with Idempotency-Key" // and GetBody
	rewindPost kind = "POST with GetBody"
	shotPost   kind = "one-shot POST"
)

// idempotent reports whether net/http takes such a request to be idempotent.
func (k kind) idempotent() bool { return k == plainGet || k == keyedPost }

// request makes a request of the kind. It carries message, unless it is a GET.
func (k kind) request(ctx context.Context, url, message string) (*http.Request, error) {
	if k == plainGet {
		return http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	}
	var body io.Reader = strings.NewReader(message)
	if k == shotPost {
		body = io.NopCloser(struct{ io.Reader }{body})
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-Message", message)
	if k == keyedPost {
		req.Header.Set("Idempotency-Key", message)
	}
	return req, nil
}

// A client sends requests to one place, and waits for each as long as its
// deadline allows.
type client struct {
	http.RoundTripper
	url      string
	deadline time.Duration
	name     string // begins the messages that it sends
}

// get sends a GET and reads the answer to its end.
func (c client) get() error { return c.send(plainGet, "") }

func (c client) send(k kind, message string) error {
	ctx, cancel := context.WithTimeout(context.Background(), c.deadline)
	defer cancel()
	req, err := k.request(ctx, c.url, message)
	if err != nil {
		return err
	}
	err = do(c, req)
	// This asks the clock, not ctx.Err, since QUIC can be a little ahead of the context.
	if deadline, _ := ctx.Deadline(); err != nil && !time.Now().Before(deadline) {
		return lateError{err}
	}
	return err
}

// A lateError is what a caller gets whose deadline has passed.
type lateError struct{ error }

// A cutError is the error of a body whose headers had come: nobody may send the
// request again then.
type cutError struct{ error }

func do(rt http.RoundTripper, req *http.Request) error {
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return cutError{err}
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	return nil
}

// A load is steady traffic of one kind: some workers, each with one request at
// a time.
type load struct {
	t    *testing.T
	kind kind
	quit chan struct{}
	all  sync.WaitGroup
	once sync.Once

	mu       sync.Mutex
	outcomes []outcome
	ended    chan struct{} // a request has ended
}

type outcome struct {
	began, ended time.Time
	err          error
}

// workers is how many requests are under way at a time when a transport dies.
const workers = 4

// run starts a load of send, which is called by each worker every 2 ms, or as
// soon as its last call has ended.
func run(t *testing.T, n int, send func() error) *load {
	l := &load{t: t, kind: plainGet, quit: make(chan struct{}), ended: make(chan struct{}, 1)}
	for range n {
		l.all.Go(func() {
			pace := time.NewTicker(2 * time.Millisecond)
			defer pace.Stop()
			for {
				o := outcome{began: time.Now()}
				o.err = send()
				o.ended = time.Now()
				l.mu.Lock()
				l.outcomes = append(l.outcomes, o)
				l.mu.Unlock()
				select {
				case l.ended <- struct{}{}:
				default:
				}
				select {
				case <-l.quit:
					return
				case <-pace.C:
				}
			}
		})
	}
	t.Cleanup(func() { l.stop() })
	return l
}

// gets is a load of GETs.
func (c client) gets(t *testing.T, n int) *load { return run(t, n, c.get) }

// posts is a load of POSTs of one kind, each with a message of its own.
func (c client) posts(t *testing.T, k kind, n int) *load {
	var sent atomic.Int64
	l := run(t, n, func() error { return c.send(k, fmt.Sprintf("%s%s#%d", c.name, k, sent.Add(1))) })
	l.kind = k
	return l
}

// stop ends the load and returns the outcomes of its requests.
func (l *load) stop() []outcome {
	l.once.Do(func() { close(l.quit) })
	l.all.Wait()
	return l.outcomes
}

// awaitSuccesses waits until n requests that began after since have succeeded.
func (l *load) awaitSuccesses(n int, since time.Time) {
	l.t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		l.mu.Lock()
		seen, succeeded := len(l.outcomes), 0
		for _, o := range slices.Backward(l.outcomes) {
			// They are in the order of their ends.
			if o.ended.Before(since) || succeeded == n {
				break
			}
			if o.err == nil && !o.began.Before(since) {
				succeeded++
			}
		}
		l.mu.Unlock()
		if succeeded >= n {
			return
		}
		select {
		case <-l.ended:
		case <-limit.C:
			require.FailNow(l.t, "the load does not recover", "%d of %d successes after %s; %d requests in all", succeeded, n, patience, seen)
		}
	}
}
