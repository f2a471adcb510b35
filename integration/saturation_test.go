package integration

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
)

// scaled returns usual, or full if RESPAWN_FULL is set.
func scaled(usual, full int) int {
	if os.Getenv("RESPAWN_FULL") != "" {
		return full
	}
	return usual
}

// Streams stay open over 50 swaps, some on each generation: none is cut, each
// generation is seen to drain, and nothing is left when they have ended.
func TestStreamsAcrossFiftySwaps(t *testing.T) {
	const swaps = 50
	streams := scaled(1000, 10_000)
	noLeaks(t)

	release := make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("/stream", func(w http.ResponseWriter, req *http.Request) {
		fmt.Fprintln(w, "begin")
		_ = http.NewResponseController(w).Flush()
		select {
		case <-release:
			fmt.Fprintln(w, "end")
		case <-req.Context().Done():
		}
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "well") })
	srv := &http.Server{Handler: mux, Protocols: new(http.Protocols), HTTP2: &http.HTTP2Config{MaxConcurrentStreams: streams}}
	srv.Protocols.SetUnencryptedHTTP2(true)
	var mu sync.Mutex
	conns := 0
	srv.ConnState = counting(&mu, &conns)
	l := listen(t)
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	url := "http://" + l.Addr().String()

	tr := &http.Transport{Protocols: new(http.Protocols)}
	tr.Protocols.SetUnencryptedHTTP2(true)
	rt, err := respawn.New(tr, respawn.WithLogger(slog.New(slog.DiscardHandler)))
	require.NoError(t, err)

	var open, all sync.WaitGroup
	var cut []error
	began := time.Now()
	for swap := range swaps {
		for range streams / swaps {
			open.Add(1)
			all.Go(func() {
				err := stream(rt, url+"/stream", open.Done)
				if err != nil {
					mu.Lock()
					defer mu.Unlock()
					cut = append(cut, err)
				}
			})
		}
		open.Wait()
		// A request has to prove the fresh transport, since others are in flight.
		proved := run(t, 1, func() error { return sip(rt, url+"/", patience) })
		require.NoError(t, rt.Recreate(t.Context()))
		proved.stop()
		for _, o := range proved.outcomes {
			require.NoError(t, o.err, "swap %d", swap+1)
		}
	}
	h := rt.Health()
	assert.EqualValues(t, swaps+1, h.Generation)
	assert.Equal(t, swaps, h.Draining, "each retired generation has its streams")
	assert.Eventually(t, func() bool { return rt.Health().InFlight == int64(streams) }, patience, time.Millisecond, "the streams, and no copy that is still let go")
	mu.Lock()
	atPeak := conns
	mu.Unlock()

	close(release)
	all.Wait()
	assert.Empty(t, cut, "streams were cut")
	assert.Eventually(t, func() bool { h := rt.Health(); return h.InFlight == 0 && h.Draining == 0 }, patience, time.Millisecond)
	require.NoError(t, rt.Close())
	assert.Eventually(t, func() bool { mu.Lock(); defer mu.Unlock(); return conns == 0 }, patience, time.Millisecond, "connections are left")
	t.Logf("%d streams on %d connections over %d swaps in %s: %d cut", streams, atPeak, swaps, time.Since(began).Round(time.Millisecond), len(cut))
}

// counting returns a ConnState hook that keeps the number of open connections in conns.
func counting(mu *sync.Mutex, conns *int) func(net.Conn, http.ConnState) {
	return func(_ net.Conn, state http.ConnState) {
		mu.Lock()
		defer mu.Unlock()
		switch state {
		case http.StateNew:
			*conns++
		case http.StateClosed:
			*conns--
		}
	}
}

// stream reads a stream to its end, and says when it has begun.
func stream(rt http.RoundTripper, url string, begun func()) error {
	begun = sync.OnceFunc(begun)
	defer begun()
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var said []string
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		said = append(said, lines.Text())
		begun()
	}
	if !slices.Equal(said, []string{"begin", "end"}) {
		return fmt.Errorf("the stream said %q: %w", said, lines.Err())
	}
	return lines.Err()
}

// In an outage there may be one core with more work than it can do, and a client of which every
// request fails. Even then the health page takes hardly longer than any other page.
func TestHealthOnASaturatedCore(t *testing.T) {
	const burners, rounds, counted = 4, 12, 9
	noLeaks(t)
	hanging := make(chan struct{})
	rt, err := respawn.New(refusing{}, respawn.WithLogger(slog.New(slog.DiscardHandler)), respawn.WithReplay(respawn.ReplayNever),
		respawn.WithFactory(func(ctx context.Context) (http.RoundTripper, error) { <-hanging; return nil, io.EOF }))
	require.NoError(t, err)
	t.Cleanup(func() { close(hanging); assert.NoError(t, rt.Close()) })
	for i := range 300 { // as many suspects as the table holds
		assert.Error(t, sip(rt, fmt.Sprintf("http://%d.test/", i), time.Second))
	}
	mux := http.NewServeMux()
	mux.Handle("/health", respawn.HealthHandler(rt))
	bare := httptest.NewRecorder() // for a page of the same bytes that asks no client
	respawn.HealthHandler(rt).ServeHTTP(bare, httptest.NewRequest(http.MethodGet, "/", nil))
	page := bare.Body.Bytes()
	mux.HandleFunc("/bare", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(page) })
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	probe := new(http.Transport)
	t.Cleanup(probe.CloseIdleConnections)

	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var quit sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	defer quit.Wait()
	defer cancel()
	for range burners {
		quit.Go(func() {
			for n := 0; ctx.Err() == nil; {
				for range 1_000_000 {
					n++
				}
			}
		})
	}
	quit.Go(func() { // and the client goes on failing
		for ctx.Err() == nil {
			_ = sip(rt, "http://0.test/", time.Second)
			time.Sleep(time.Millisecond)
		}
	})
	took := map[string][]time.Duration{}
	for range rounds {
		for _, path := range []string{"/bare", "/health"} {
			began := time.Now()
			require.NoError(t, sip(probe, srv.URL+path, patience))
			took[path] = append(took[path], time.Since(began))
		}
	}
	// The machine may stand still once or twice: the longest count for neither.
	mean := func(path string) (sum, longest time.Duration) {
		slices.Sort(took[path])
		for _, d := range took[path][:counted] {
			sum += d
		}
		return sum / counted, took[path][rounds-1]
	}
	bareMean, bareLongest := mean("/bare")
	healthMean, healthLongest := mean("/health")
	t.Logf("mean of the shortest %d of %d, longest: bare %s, %s; health %s, %s", counted, rounds, bareMean, bareLongest, healthMean, healthLongest)
	// The scheduler makes the times vary. A factor of two leaves room for that,
	// but not for a wait.
	assert.Less(t, healthMean, 2*bareMean)
}

// refusing is a transport that is dead.
type refusing struct{}

func (refusing) RoundTrip(*http.Request) (*http.Response, error) { return nil, io.ErrClosedPipe }
