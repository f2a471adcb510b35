package integration

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/respawnhttp/respawn"
)

// patience is how long a condition is awaited that is sure to come. It bounds
// a broken test, not a slow machine.
const patience = 20 * time.Second

// A report is what a test has to show for itself. Begin it first: it is closed
// last, when all that the test has started should be gone.
type report struct {
	t *testing.T

	bareSent, bareFailed int
	bareWindow           time.Duration

	sent, failed int
	cut          int           // answers that the fault ended in their bodies: too late for a replay
	failedAfter  int           // of those that began once the fault was curable
	recovery     time.Duration // from there to the first success of one that began later
	built        int           // transports, the first one included
	promoted     int

	// When all clients are closed:
	connsLeft      int64 // by the servers' own count
	goroutinesLeft error // goleak's
}

func begin(t *testing.T) *report {
	r := &report{t: t}
	atStart := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		assert.Eventually(t, func() bool {
			r.goroutinesLeft = goleak.Find(atStart)
			return r.goroutinesLeft == nil
		}, patience, 10*time.Millisecond, "goroutines are left over")
		r.print()
		assert.NoError(t, r.goroutinesLeft)
	})
	return r
}

// print writes the figures, in one form for all tests.
func (r *report) print() {
	goroutines := "0"
	if r.goroutinesLeft != nil {
		goroutines = "some"
	}
	r.t.Logf("figures: bare=%d/%d failed in %s | sent=%d cut=%d failed=%d failed_when_curable=%d recovery=%s built=%d promoted=%d conns_left=%d goroutines_left=%s",
		r.bareFailed, r.bareSent, r.bareWindow.Round(time.Millisecond), r.sent, r.cut, r.failed, r.failedAfter,
		r.recovery.Round(100*time.Microsecond), r.built, r.promoted, r.connsLeft, goroutines)
}

// keepsFailing shows that the fault is real: for the whole window not one GET
// gets through bare. Each has the deadline, and the next comes 10 ms later.
func (r *report) keepsFailing(bare http.RoundTripper, url string, window, deadline time.Duration) {
	r.t.Helper()
	start := time.Now()
	pause := time.NewTicker(10 * time.Millisecond)
	defer pause.Stop()
	for time.Since(start) < window {
		if get(bare, url, deadline) != nil {
			r.bareFailed++
		}
		r.bareSent++
		<-pause.C
	}
	r.bareWindow = time.Since(start)
	require.Equal(r.t, r.bareSent, r.bareFailed, "the bare transport recovers by itself: the fault is not real")
}

// take fills in what the load met and what respawn did about it.
func (r *report) take(l *load, curable time.Time, rt *respawn.RecoveringRoundTripper) {
	r.t.Helper()
	l.stop()
	health := rt.Health()
	r.built, r.promoted = 1+health.Promotions+health.Rejections, health.Promotions
	for _, o := range l.outcomes {
		r.sent++
		switch {
		case o.err == nil:
			if since := o.ended.Sub(curable); !o.began.Before(curable) && (r.recovery == 0 || since < r.recovery) {
				r.recovery = since
			}
			continue
		case errors.As(o.err, new(cutError)):
			r.cut++
			continue
		case !o.began.Before(curable):
			r.failedAfter++
		}
		if r.failed++; r.failed <= 3 {
			r.t.Logf("a request failed %s after the fault was curable: %v", o.ended.Sub(curable), o.err)
		}
	}
	require.NotZero(r.t, r.recovery, "no request that began after the fault was curable has succeeded")
}

// start puts respawn on base. Its logs go to the test's, if it fails.
func start(t *testing.T, base http.RoundTripper, opts ...respawn.Option) *respawn.RecoveringRoundTripper {
	t.Helper()
	logger := slog.New(slog.NewTextHandler(t.Output(), nil))
	rt, err := respawn.New(base, append([]respawn.Option{respawn.WithLogger(logger)}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, rt.Close()) })
	return rt
}

// A load is steady traffic: some workers, each with one request at a time.
type load struct {
	t    *testing.T
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

// run starts a load of send, which is called by each worker every 2 ms, or as
// soon as its last call has ended.
func run(t *testing.T, n int, send func() error) *load {
	l := &load{t: t, quit: make(chan struct{}), ended: make(chan struct{}, 1)}
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
	t.Cleanup(l.stop)
	return l
}

// workers is how many requests are under way at a time when a transport dies.
const workers = 4

// gets is a load of GETs, each with the deadline.
func gets(t *testing.T, rt http.RoundTripper, url string, n int, deadline time.Duration) *load {
	return run(t, n, func() error { return get(rt, url, deadline) })
}

func (l *load) stop() {
	l.once.Do(func() { close(l.quit) })
	l.all.Wait()
}

// awaitSuccesses waits until n requests that began after since have succeeded.
func (l *load) awaitSuccesses(n int, since time.Time) {
	l.t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		succeeded, seen := 0, 0
		l.mu.Lock()
		for _, o := range l.outcomes {
			seen++
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

// get sends a GET and reads the answer to its end.
func get(rt http.RoundTripper, url string, deadline time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	return do(rt, req)
}

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

// A maker is a factory that remembers what it made last, so that a test can
// break the one that is in service.
type maker[T http.RoundTripper] struct {
	make func(context.Context) (T, error)
	last atomic.Pointer[T]
	made atomic.Int32
}

// first makes what respawn starts from; the factory makes what follows.
func (m *maker[T]) first(t *testing.T) T {
	t.Helper()
	product, err := m.factory(t.Context())
	require.NoError(t, err)
	return product.(T)
}

func (m *maker[T]) factory(ctx context.Context) (http.RoundTripper, error) {
	product, err := m.make(ctx)
	if err != nil {
		return nil, err
	}
	m.made.Add(1)
	m.last.Store(&product)
	return product, nil
}

// withFactory is respawn's option for a maker.
func withFactory[T http.RoundTripper](m *maker[T]) respawn.Option {
	return respawn.WithFactory(m.factory)
}

// withinStallRule asserts that an outage of stalls ended by respawn's default
// rule: three of them over at least a second. Workers whose requests end at
// their deadline stall first after one deadline and trip it with the first that
// ends a second later, which is at most another deadline on. The trial comes
// right then.
func (r *report) withinStallRule(senders int, deadline time.Duration) {
	r.t.Helper()
	rule := time.Second + 2*deadline
	require.Less(r.t, r.recovery, rule+slack*deadline)
	require.LessOrEqual(r.t, r.failed, senders*(1+int(rule/deadline)), "each worker loses what it sends within the rule")
	require.GreaterOrEqual(r.t, r.failed, 3, "fewer stalls than the rule asks for")
}
