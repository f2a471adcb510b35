package integration

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var deaths = flag.Int("deaths", 3, "how many sessions die under a thousand requests each")

// An upload is a kind of POST body, and how it is made.
type upload struct {
	name string
	body func(t *testing.T, content string) (body io.Reader, again func() (io.ReadCloser, error))
}

var uploads = []upload{
	{name: "none", body: func(*testing.T, string) (io.Reader, func() (io.ReadCloser, error)) { return nil, nil }},
	{name: "NoBody", body: func(*testing.T, string) (io.Reader, func() (io.ReadCloser, error)) { return http.NoBody, nil }},
	{name: "in memory, GetBody", body: func(_ *testing.T, content string) (io.Reader, func() (io.ReadCloser, error)) {
		return strings.NewReader(content), reader(content)
	}},
	{name: "in memory, once", body: func(_ *testing.T, content string) (io.Reader, func() (io.ReadCloser, error)) {
		return io.NopCloser(strings.NewReader(content)), nil
	}},
	{name: "a reader, GetBody", body: func(_ *testing.T, content string) (io.Reader, func() (io.ReadCloser, error)) {
		return struct{ io.Reader }{strings.NewReader(content)}, reader(content)
	}},
	{name: "a reader, once", body: func(_ *testing.T, content string) (io.Reader, func() (io.ReadCloser, error)) {
		return struct{ io.Reader }{strings.NewReader(content)}, nil
	}},
	{name: "a file, GetBody", body: func(t *testing.T, content string) (io.Reader, func() (io.ReadCloser, error)) {
		name := file(t, content)
		open := func() (io.ReadCloser, error) { return os.Open(name) }
		first, err := open()
		assert.NoError(t, err)
		return first, open
	}},
	{name: "a file", body: func(t *testing.T, content string) (io.Reader, func() (io.ReadCloser, error)) {
		first, err := os.Open(file(t, content))
		assert.NoError(t, err)
		return first, nil
	}},
}

func reader(content string) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil }
}

// file returns the name of a new file with that content.
func file(t *testing.T, content string) string {
	name := filepath.Join(t.TempDir(), "upload")
	assert.NoError(t, os.WriteFile(name, []byte(content), 0o600))
	return name
}

// A thousand requests are on their way through one session when it dies, half of them
// POSTs. What was not sent is sent on the next one, and nothing that may have been sent
// is sent twice.
func TestAThousandInFlightWhenTheirSessionDies(t *testing.T) {
	for n := range *deaths {
		for name, how := range map[string]func(*yamuxServer, http.RoundTripper) error{
			"closed": func(_ *yamuxServer, inService http.RoundTripper) error { return inService.(io.Closer).Close() },
			"cut":    func(s *yamuxServer, _ http.RoundTripper) error { s.cut(); return nil },
		} {
			t.Run(fmt.Sprint(name, " ", n), func(t *testing.T) {
				r := begin(t, "a thousand in flight, session "+name)
				inFlight(r, 1+rand.IntN(900), how)
			})
		}
	}
}

// inFlight lets the session die when as many requests as at says have come.
func inFlight(r *report, at int, how func(*yamuxServer, http.RoundTripper) error) {
	t := r.t
	w, s := newYamuxWorld(r)
	var came atomic.Int64
	seen := &arrivals{times: map[string]int{}}
	dies, dead := make(chan struct{}), make(chan struct{})
	var died time.Time
	s.Handler = s.parting(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if came.Add(1) == int64(at) {
			close(dies)
		}
		seen.note(req.Header.Get("X-Message"))
		_, _ = io.Copy(w, req.Body)
	}))
	rt := w.start(t)
	first := rt.WrappedRoundTripper()
	go func() {
		defer close(dead)
		<-dies
		died = time.Now()
		assert.NoError(t, how(s, first))
	}()

	requests := make([]*tracked, 1000)
	for i := range requests {
		requests[i] = track(t, w.url, i)
	}
	var all sync.WaitGroup
	for _, q := range requests {
		all.Go(func() { q.err, q.ended = do(rt, q.req), time.Now() })
	}
	all.Wait()
	<-dead
	again, err := http.NewRequest(http.MethodGet, w.url, nil)
	require.NoError(t, err)
	require.NoError(t, do(rt, again), "whoever comes next, if the session died under the last of them")

	for _, q := range requests {
		times := seen.times[q.message]
		r.Sent++
		switch {
		case q.upload != nil && times > 1:
			t.Errorf("%s came twice", q.message)
		case q.err == nil:
			assert.Positive(t, times, q.message)
		case q.cut():
			r.Cut++
		case q.upload != nil && q.shown.Load():
			r.Unsafe++
		case q.ended.Sub(died) >= time.Second:
			r.Late++ // a request that takes so long to fail counts as silent
		default:
			t.Errorf("%s was not sent, and is lost: %v", q.message, q.err)
		}
	}
	r.Failed = r.Late + r.Unsafe
	health := rt.Health()
	r.Built, r.Promoted = 1+health.Promotions+health.Rejections, health.Promotions
	require.Equal(t, 1, health.Promotions)
	assert.Zero(t, health.InFlight)
}

// A tracked request knows whether any of its attempts was shown a connection.
type tracked struct {
	req     *http.Request
	message string
	upload  *upload // nil: a GET
	shown   atomic.Bool
	err     error
	ended   time.Time
}

// cut reports whether q's answer had begun. If an answer ends within its first lines, net/http calls
// it malformed.
func (q *tracked) cut() bool {
	return errors.As(q.err, new(cutError)) || strings.Contains(q.err.Error(), "malformed")
}

func track(t *testing.T, url string, i int) *tracked {
	q := &tracked{message: fmt.Sprint("GET ", i)}
	if i%2 == 0 {
		q.req, q.err = http.NewRequest(http.MethodGet, url, nil)
		require.NoError(t, q.err)
		q.req.Header.Set("X-Message", q.message)
		return q
	}
	q.upload = &uploads[i/2%len(uploads)]
	q.message = fmt.Sprintf("POST %d, body: %s", i, q.upload.name)
	body, again := q.upload.body(t, q.message)
	ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { q.shown.Store(true) }})
	q.req, q.err = http.NewRequestWithContext(ctx, http.MethodPost, url, body)
	require.NoError(t, q.err)
	q.req.GetBody = again
	q.req.Header.Set("X-Message", q.message)
	return q
}

// arrivals counts how often each message came.
type arrivals struct {
	mu    sync.Mutex
	times map[string]int
}

func (a *arrivals) note(message string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.times[message]++
}

// cut closes the server's end of all sessions that are open now.
func (s *yamuxServer) cut() {
	s.mu.Lock()
	sessions := slices.Collect(maps.Keys(s.sessions))
	s.mu.Unlock()
	for _, session := range sessions {
		session.Close()
	}
}
