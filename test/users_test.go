package test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/names"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// A user is whoever wrote what respawn is given: code that misbehaves for a while.
type user struct {
	how   string
	what  string // the one method that misbehaves, of a thing of its; "" for what has only one
	start time.Time
	early bool         // it does not even behave at first
	late  bool         // it never behaves
	acted atomic.Int64 // how often it misbehaved
}

var misdeeds = []string{"returns nonsense", "panics", "calls Goexit", "blocks"}

const (
	dies    = 5 * time.Second  // the transport in service
	behaves = 30 * time.Second // the user, from then on
	ends    = time.Minute
)

// acts does what the user does instead of its work, and reports whether that is to
// return nonsense.
func (u *user) acts() (nonsense bool) {
	if since := time.Since(u.start); since == 0 && !u.early || since >= behaves && !u.late {
		return false // New has its own say about what is wrong with an option
	}
	u.acted.Add(1)
	switch u.how {
	case "panics":
		panic("the user's")
	case "calls Goexit":
		runtime.Goexit()
	case "blocks":
		time.Sleep(7 * time.Second)
	}
	return u.how == "returns nonsense"
}

// does acts if the method is the one that misbehaves.
func (u *user) does(method string) (nonsense bool) { return u != nil && u.what == method && u.acts() }

// A possession is something of the user's, with the option that brings it if one does.
// Options that bring no code are here with a value of theirs.
type possession struct {
	name    string
	option  string
	opts    func(*user) []respawn.Option
	tame    bool   // a value, that does nothing
	method  string // that misbehaves, of a thing that has several
	never   bool   // nobody is to call it
	base    bool   // it is of the transport in service
	product bool   // it is of those that the factory builds
	early   bool   // only New asks it
	late    bool   // it misbehaves to the end
	traces  bool   // its requests bring their own tracer
	request func(*user, *http.Request) *http.Request
	answer  func(*user, *http.Response)
	fails   func(*user) error
}

func of(name string, opt func(*user) respawn.Option) possession {
	option, _, _ := strings.Cut(name, ",")
	return possession{name: name, option: option, opts: func(u *user) []respawn.Option { return []respawn.Option{opt(u)} }}
}

func value(name string, opt respawn.Option) possession {
	p := of(name, func(*user) respawn.Option { return opt })
	p.tame = true
	return p
}

var possessions = []possession{
	{name: "GetBody", request: func(u *user, req *http.Request) *http.Request {
		req.GetBody = func() (io.ReadCloser, error) {
			if u.acts() {
				return nil, nil
			}
			return io.NopCloser(strings.NewReader(payload)), nil
		}
		return req
	}},
	of("WithFactory", func(u *user) respawn.Option {
		return respawn.WithFactory(func(context.Context) (http.RoundTripper, error) {
			if u.acts() {
				return (*http.Transport)(nil), nil
			}
			return &testkit.Stub{}, nil
		})
	}),
	of("WithFactory, an error of respawn's own", func(u *user) respawn.Option {
		return respawn.WithFactory(func(context.Context) (http.RoundTripper, error) {
			if u.acts() {
				return nil, fmt.Errorf("the other client: %w", respawn.ErrClosed)
			}
			return &testkit.Stub{}, nil
		})
	}),
	of("WithBackOff, made", func(u *user) respawn.Option {
		return respawn.WithBackOff(func() backoff.BackOff {
			if u.acts() {
				return nil
			}
			return backoff.NewConstantBackOff(time.Second)
		})
	}),
	of("WithClassifier", func(u *user) respawn.Option {
		return respawn.WithClassifier(func(req *http.Request, err error) respawn.Verdict {
			if u.acts() {
				return respawn.Verdict(-7)
			}
			return respawn.DefaultClassifier(req, err)
		})
	}),
	{name: "WithFallback", option: "WithFallback", opts: func(u *user) []respawn.Option {
		return []respawn.Option{
			respawn.WithFallback(testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
				if u.acts() {
					return nil, nil
				}
				return testkit.Answer(req)
			})),
			respawn.WithFactory(func(context.Context) (http.RoundTripper, error) {
				if time.Since(u.start) < behaves {
					return nil, errFactory // so that it is asked
				}
				return &testkit.Stub{}, nil
			}),
		}
	}},
	of("WithOnRecreation", func(u *user) respawn.Option {
		return respawn.WithOnRecreation(func(context.Context, respawn.RecreationRecord) { u.acts() })
	}),

	value("WithName", respawn.WithName("\xff\x00")),
	value("WithThreshold", respawn.WithThreshold(1)),
	value("WithStallThreshold", respawn.WithStallThreshold(1, 0)),
	value("WithPatience", respawn.WithPatience(time.Second)),
	value("WithRecreateTimeout", respawn.WithRecreateTimeout(time.Second)),
	value("WithReplay", respawn.WithReplay(respawn.ReplayNever)),
	value("WithWaitForReady", respawn.WithWaitForReady(time.Hour)),
	value("WithMaxAge", respawn.WithMaxAge(time.Second)),
	value("WithHostMetrics", respawn.WithHostMetrics()),
	value("WithDrainTimeout", respawn.WithDrainTimeout(time.Second)),
}

// Nothing of the user's can break a client: whatever it does instead of its work costs
// its callers answers at most, and once it behaves all is well.
func TestNothingOfTheUsersBreaksAClient(t *testing.T) {
	for _, p := range slices.Concat(possessions, methodsOfThings(false)) {
		for _, how := range misdeeds {
			if p.never && how != misdeeds[0] {
				continue // it only counts its calls
			}
			t.Run(p.name+" "+how, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { p.misbehaves(t, how) })
			})
		}
	}
}

func (p possession) misbehaves(t *testing.T, how string) {
	u := &user{how: how, what: p.method, late: p.late, start: time.Now()}
	base := &theirs{u: u, acts: p.base, dead: func() bool { return time.Since(u.start) >= dies }, answer: p.answer, fails: p.fails}
	w := newWitness(t)
	opts := append(w.opts(p), respawn.WithFactory(func(context.Context) (http.RoundTripper, error) {
		stillborn := time.Since(u.start) < dies+2*time.Second // so that candidates are refused, too
		return &theirs{u: u, acts: p.product, dead: func() bool { return stillborn }, answer: p.answer, fails: p.fails}, nil
	}), every(time.Second))
	if p.opts != nil {
		opts = append(opts, p.opts(u)...)
	}
	rt := start(t, base, opts...)

	var all sync.WaitGroup
	wellAfterwards := 0
	asks := func(req *http.Request, must bool) {
		all.Go(func() {
			defer func() { _ = recover() }() // it is this caller's, as a bare transport's would be
			ctx, leave := context.WithTimeout(req.Context(), 5*time.Second)
			defer leave()
			req = req.WithContext(ctx)
			if p.request != nil {
				req = p.request(u, req)
			}
			if err := ask(rt, req); err == nil && must {
				wellAfterwards++
			}
		})
	}
	for time.Since(u.start) < ends {
		// The POST is the first to meet the dead transport, so that its GetBody is asked.
		asks(request(t.Context(), http.MethodPost, "http://b.test/", strings.NewReader(payload)), false)
		time.Sleep(125 * time.Millisecond)
		asks(request(t.Context(), http.MethodGet, "http://a.test/", nil), false)
		if time.Since(u.start)%(20*time.Second) == 10*time.Second+125*time.Millisecond {
			all.Go(func() {
				defer func() { _ = recover() }()
				ctx, leave := context.WithTimeout(t.Context(), 5*time.Second)
				defer leave()
				_ = rt.Recreate(ctx)
			})
		}
		time.Sleep(125 * time.Millisecond)
	}
	all.Wait()
	for _, host := range []string{"a", "b"} {
		asks(request(t.Context(), http.MethodGet, "http://"+host+".test/", nil), true)
		all.Wait()
	}
	synctest.Wait()

	health := rt.Health()
	assert.Equal(t, 2, wellAfterwards, "the requests after the user's misdeeds are answered")
	assert.Zero(t, health.InFlight)
	assert.Greater(t, health.Generation, uint64(1), "the dead transport was replaced")
	assert.True(t, health.State == respawn.StateHealthy || p.option == "WithMaxAge", "%v", health.State)
	require.NoError(t, rt.Close())
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	assert.NoError(t, rt.Shutdown(ctx))
	time.Sleep(time.Hour) // what blocked has returned
	w.missedNothing(t, p, rt)
	assert.Equal(t, p.tame || p.never, u.acted.Load() == 0, "it was asked %d times", u.acted.Load())
}

// A witness is told what a client tells, in all ways but that of the user who misbehaves.
type witness struct {
	*testkit.Probe
	hooked atomic.Int64
}

func newWitness(t *testing.T) *witness { return &witness{Probe: testkit.NewProbe(t)} }

func (w *witness) opts(p possession) []respawn.Option {
	opts := []respawn.Option{
		respawn.WithMeterProvider(w.MeterProvider()), respawn.WithLogger(w.Logger()), namesIn(new(names.Registry)),
		respawn.WithOnRecreation(func(context.Context, respawn.RecreationRecord) { w.hooked.Add(1) }),
	}
	if !p.traces {
		opts = append(opts, respawn.WithTracerProvider(w.TracerProvider()))
	}
	return opts
}

// missedNothing: one of the user's that misbehaves does not take along what the others are told.
func (w *witness) missedNothing(t *testing.T, p possession, rt *respawn.RecoveringRoundTripper) {
	recreations, health := len(rt.Recreations()), rt.Health()
	if recreations == 64 {
		return // WithMaxAge: older ones have no record any more
	}
	if p.option != "WithOnRecreation" {
		assert.EqualValues(t, recreations, w.hooked.Load(), "the hook")
	}
	if p.option != "WithLogger" {
		assert.Equal(t, recreations, len(w.Logged("respawn: fresh transport rejected"))+len(w.Logged("respawn: a fresh transport is in service")), "the logger")
	}
	switch p.option { // by these alone nobody's requests are lost, so that there is one outage
	case "WithMeterProvider", "WithTracerProvider", "WithOnRecreation":
		assert.NotEmpty(t, w.Logged("respawn: recovered"))
	}
	if p.option != "WithMeterProvider" {
		assert.EqualValues(t, recreations, w.Total("respawn.transport.recreations"), "the meter")
		assert.Equal(t, health.Failures, w.Total("respawn.transport.failures"), "the meter")
		assert.Equal(t, health.Replays, w.Total("respawn.request.replays"), "the meter")
	}
	if p.option != "WithTracerProvider" && !p.traces {
		assert.Len(t, w.Probe.Recreations(), recreations, "the tracer")
	}
}

// ask sends req and reads what comes back. As careless callers do, it closes the body only if
// reading it has returned, unless the connection was upgraded: that is in flight until then.
func ask(rt http.RoundTripper, req *http.Request) error {
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return err
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		defer resp.Body.Close()
		_, err = resp.Body.(io.Writer).Write([]byte("hello"))
		err = errors.Join(err, resp.Body.(interface{ CloseWrite() error }).CloseWrite())
	}
	_, readErr := io.Copy(io.Discard, resp.Body)
	return errors.Join(err, readErr, resp.Body.Close())
}
