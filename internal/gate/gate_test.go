package gate

import (
	"context"
	"errors"
	"io"
	"maps"
	"math"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn/internal/config"
	"github.com/respawnhttp/respawn/internal/core"
	"github.com/respawnhttp/respawn/internal/generation"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// A listener notes what it is told. begin and tell run first.
type listener struct {
	begin func(*Recreation)
	tell  func(Told)

	mu   sync.Mutex
	told []Told
	busy atomic.Int32
}

func (l *listener) Begin(r *Recreation) context.Context {
	if l.begin != nil {
		l.begin(r)
	}
	return r.Ctx
}

func (l *listener) Tell(t Told) {
	if l.busy.Add(1) != 1 {
		panic("told two things at once")
	}
	defer l.busy.Add(-1)
	l.mu.Lock()
	l.told = append(l.told, t)
	l.mu.Unlock()
	if l.tell != nil {
		l.tell(t)
	}
}

func (l *listener) Note(Told) {}

func (l *listener) Drained(*generation.Generation) {}

// events are what was told, in order.
func (l *listener) events() []core.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	var es []core.Event
	for _, t := range l.told {
		es = append(es, t.What)
	}
	return es
}

// A caller is woken, and called back.
type caller struct{ woken, recalled atomic.Int32 }

func (c *caller) Wake()                    { c.woken.Add(1) }
func (c *caller) Recall(*core.Attempt)     { c.recalled.Add(1) }
func (c *caller) Part()                    {}
func (c *caller) Context() context.Context { return context.Background() }
func (c *caller) Copy(Flight, bool)        {}

var (
	au      = core.Authority{Scheme: "http", Host: "a.test", Port: "80"}
	refused = core.Outcome{Verdict: core.Failure, Trigger: "connection_refused", Unsent: true, Again: true}
)

func open(t *testing.T, l Listener, factory func(context.Context) (http.RoundTripper, error)) (*Gate, *testkit.Stub) {
	cfg := config.Default()
	cfg.Factory, cfg.Threshold = factory, 1
	return openWith(t, l, cfg)
}

func openWith(t *testing.T, l Listener, cfg config.Config) (*Gate, *testkit.Stub) {
	g, base := &Gate{}, &testkit.Stub{}
	g.Open(&cfg, testkit.RoundTripperFunc(nil), base, l)
	t.Cleanup(func() { g.Close() })
	return g, base
}

// fails makes a call whose attempts in service fail until it has to wait for a
// build.
func fails(t *testing.T, g *Gate) *core.Call {
	q := &core.Call{Authority: au, Method: "GET", Kind: core.Copyable, Ticket: &caller{}}
	for range 5 {
		step, f := g.Next(t.Context(), q)
		if step.Do != core.Send {
			require.Equal(t, core.Wait, step.Do)
			return q
		}
		g.Failed(t.Context(), f.Attempt, refused, errors.New("refused"))
		f.Stripe.Leave()
	}
	require.Fail(t, "the call never waits")
	return nil
}

// What is called back at the very instant at which it fails has two ends, the first
// of which counts.
func TestAFailureThatDoesNotCountIsNotTheLatest(t *testing.T) {
	g, _ := open(t, &listener{}, func(context.Context) (http.RoundTripper, error) { return &testkit.Stub{}, nil })
	q := &core.Call{Authority: au, Method: "GET", Kind: core.Copyable, Ticket: &caller{}}
	step, f := g.Next(t.Context(), q)
	require.Equal(t, core.Send, step.Do)
	defer f.Stripe.Leave()
	g.Failed(t.Context(), f.Attempt, refused, errors.New("refused"))
	late := refused
	late.Trigger = "_OTHER"
	fate := g.Failed(t.Context(), f.Attempt, late, context.Canceled)
	assert.False(t, fate.Counts)
	assert.Equal(t, "connection_refused", g.View().Failure.Trigger)

	// Nor is one that speaks against nobody.
	_, f = g.Next(t.Context(), &core.Call{Authority: au, Method: "GET", Kind: core.Copyable, Ticket: &caller{}})
	defer f.Stripe.Leave()
	fate = g.Failed(t.Context(), f.Attempt, core.Outcome{Verdict: core.Neutral, Trigger: "_OTHER"}, io.EOF)
	assert.True(t, fate.Counts)
	assert.Equal(t, "connection_refused", g.View().Failure.Trigger)
}

func TestReportsAreToldOneAtATimeAndInOrder(t *testing.T) {
	l := &listener{tell: func(Told) { runtime.Gosched() }}
	g, _ := open(t, l, func(context.Context) (http.RoundTripper, error) { return &testkit.Stub{}, nil })
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 20 {
				_ = g.Recreate(t.Context())
			}
		})
	}
	wg.Wait()
	require.Eventually(t, func() bool { return len(l.events()) > 0 && l.busy.Load() == 0 }, time.Minute, time.Millisecond)
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, told := range l.told {
		assert.EqualValues(t, i+1, told.Seq)
	}
}

func TestAListenerThatPanicsOrExitsCostsItsReportAlone(t *testing.T) {
	for name, fault := range map[string]func(){"panic": func() { panic("oops") }, "Goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := 0
				l := &listener{}
				l.tell = func(Told) {
					if n++; n == 1 {
						fault()
					}
				}
				begun := 0
				l.begin = func(*Recreation) {
					if begun++; begun == 1 {
						fault()
					}
				}
				g, _ := open(t, l, func(context.Context) (http.RoundTripper, error) { return &testkit.Stub{}, nil })
				go func() { fails(t, g) }()
				synctest.Wait()
				assert.Equal(t, core.HasTripped, l.events()[0])
				_ = g.Recreate(t.Context()) // its span may be the one that the fault costs
				require.NoError(t, g.Recreate(t.Context()), "the gate goes on")
				synctest.Wait()
				assert.Contains(t, l.events(), core.WasPromoted)
			})
		})
	}
}

func TestCallbacksAreNeverCalledUnderTheLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g *Gate
		calls := 0
		look := func() { calls++; g.View() } // it would never return
		l := &listener{begin: func(*Recreation) { look() }, tell: func(Told) { look() }}
		cfg := config.Default()
		cfg.Threshold = 1
		cfg.Factory = func(context.Context) (http.RoundTripper, error) { look(); return &testkit.Stub{}, nil }
		cfg.NewBackOff = func() backoff.BackOff { look(); return looking{look} }
		g, _ = openWith(t, l, cfg)
		go func() { fails(t, g) }()
		synctest.Wait()
		assert.GreaterOrEqual(t, calls, 5, "tripped, policy twice, begun, built")
	})
}

type looking struct{ look func() }

func (l looking) NextBackOff() time.Duration { l.look(); return time.Second }
func (l looking) Reset()                     {}

func TestAPolicyIsOverruledThatGivesNoInterval(t *testing.T) {
	for name, next := range map[string]func() time.Duration{
		"stops":  func() time.Duration { return backoff.Stop },
		"panics": func() time.Duration { panic("oops") },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config.Default()
			cfg.NewBackOff = func() backoff.BackOff { return policyFunc(next) }
			g, _ := openWith(t, &listener{}, cfg)
			assert.Equal(t, defaultInterval, g.drawInterval(false, 0))
		})
	}
	t.Run("stops later", func(t *testing.T) {
		cfg := config.Default()
		drawn := []time.Duration{3 * time.Second, backoff.Stop, backoff.Stop}
		cfg.NewBackOff = func() backoff.BackOff {
			return policyFunc(func() time.Duration {
				d := drawn[0]
				drawn = drawn[1:]
				return d
			})
		}
		g, _ := openWith(t, &listener{}, cfg)
		for range 3 {
			assert.Equal(t, 3*time.Second, g.drawInterval(false, 0), "the last interval is used again")
		}
	})
}

// No pause is an answer, not the lack of one.
func TestAPolicyMayGiveNoPause(t *testing.T) {
	cfg := config.Default()
	cfg.NewBackOff = func() backoff.BackOff { return &backoff.ZeroBackOff{} }
	g, _ := openWith(t, &listener{}, cfg)
	assert.Zero(t, g.drawInterval(false, 0))
}

// The longest duration that there is means never, and stays positive whatever chance says.
func TestWhatIsSpreadDoesNotOverflow(t *testing.T) {
	for name, chance := range map[string]float64{"exactly": 0.5, "more": 1} {
		t.Run(name, func(t *testing.T) {
			cfg := config.Default()
			cfg.Chance = func() float64 { return chance }
			g, _ := openWith(t, &listener{}, cfg)
			assert.EqualValues(t, math.MaxInt64, g.spread(math.MaxInt64, 0.1))
		})
	}
}

type policyFunc func() time.Duration

func (p policyFunc) NextBackOff() time.Duration { return p() }
func (p policyFunc) Reset()                     {}

func TestAnotherEpochTakesANewPolicy(t *testing.T) {
	policies := 0
	cfg := config.Default()
	cfg.NewBackOff = func() backoff.BackOff { policies++; return backoff.NewConstantBackOff(time.Second) }
	g, _ := openWith(t, &listener{}, cfg)
	for _, epoch := range []uint64{0, 0, 1, 1, 2} {
		g.drawInterval(false, epoch)
	}
	assert.Equal(t, 3, policies)
	g.drawInterval(true, 2)
	assert.Equal(t, 4, policies, "what was planned has a policy of its own")
}

// A policy is the user's, and need not be safe for concurrent use: whoever draws while it
// does not return has a new one.
func TestNobodyElseDrawsFromAPolicyThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		policies, hangs, hang := 0, false, make(chan struct{})
		cfg := config.Default()
		cfg.NewBackOff = func() backoff.BackOff {
			policies++
			return policyFunc(func() time.Duration {
				if hangs {
					hangs = false
					<-hang
				}
				return time.Second
			})
		}
		g, _ := openWith(t, &listener{}, cfg)
		g.drawInterval(false, 0)
		hangs = true
		go g.drawInterval(false, 0)
		synctest.Wait()
		g.drawInterval(false, 0)
		close(hang)
		assert.Equal(t, 2, policies)
	})
}

func TestAPolicyThatEndsItsGoroutineIsOverruled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config.Default()
		cfg.Factory = func(context.Context) (http.RoundTripper, error) { return &testkit.Stub{}, nil }
		once := sync.OnceFunc(runtime.Goexit)
		cfg.NewBackOff = func() backoff.BackOff {
			return policyFunc(func() time.Duration { once(); return time.Second })
		}
		g, _ := openWith(t, &listener{}, cfg)
		require.NoError(t, g.Recreate(t.Context()))
		require.NoError(t, g.Recreate(t.Context()), "the gate is not held for good")
	})
}

func TestTheProductOfABuildThatWasCalledOffIsRetired(t *testing.T) {
	for name, off := range map[string]func(*Gate, context.CancelFunc){
		"Recreate is called off": func(_ *Gate, cancel context.CancelFunc) { cancel() },
		"Close":                  func(g *Gate, _ context.CancelFunc) { g.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				late := &testkit.Stub{}
				g, _ := open(t, &listener{}, func(context.Context) (http.RoundTripper, error) {
					time.Sleep(time.Second) // and ignores its context
					return late, nil
				})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				done := make(chan error, 1)
				go func() { done <- g.Recreate(ctx) }()
				synctest.Wait()
				off(g, cancel)
				assert.Error(t, <-done)
				time.Sleep(time.Minute)
				assert.EqualValues(t, 1, late.Closes.Load())
				assert.EqualValues(t, 1, g.Last().Number)
			})
		})
	}
}

// A recreation that is over is let go of, whatever it came to.
func TestWhatIsOverIsLetGoOf(t *testing.T) {
	kept := func(g *Gate) map[uint64]*Recreation {
		g.mu.Lock()
		defer g.mu.Unlock()
		return maps.Clone(g.recreations)
	}
	stub := func(context.Context) (http.RoundTripper, error) { return &testkit.Stub{}, nil }
	none := func(context.Context) (http.RoundTripper, error) { return nil, errors.New("none") }
	slow := func(ctx context.Context) (http.RoundTripper, error) { <-ctx.Done(); return nil, ctx.Err() }
	for name, tt := range map[string]struct {
		factory func(context.Context) (http.RoundTripper, error)
		busy    bool // so that what is built is not promoted at once
		fails   bool
	}{
		"promoted": {stub, false, false}, "not built": {none, false, true}, "called off": {slow, false, true}, "not tried": {stub, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g, _ := open(t, &listener{}, tt.factory)
				if tt.busy {
					defer g.Current().EnterBy(1).Leave()
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				assert.Equal(t, tt.fails, g.Recreate(ctx) != nil)
				synctest.Wait()
				assert.Empty(t, kept(g))
			})
		})
	}
}

func TestAlertCoversWhomItConcerns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		g, _ := open(t, &listener{}, func(context.Context) (http.RoundTripper, error) { <-hang; return &testkit.Stub{}, nil })
		assert.Nil(t, g.Alert())
		fails(t, g)
		other := core.Authority{Scheme: "http", Host: "b.test", Port: "80"}
		require.NotNil(t, g.Alert())
		assert.True(t, g.Alert().Covers(au))
		assert.False(t, g.Alert().Covers(other), "one suspect costs the others little")
		before := g.Alert()
		g.Leave(&core.Call{})
		assert.Same(t, before, g.Alert(), "what has not changed is not made again")
		close(hang)
	})
}

func TestNobodyIsForgottenByTheTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _ := open(t, &listener{}, func(context.Context) (http.RoundTripper, error) { return nil, errors.New("no") })
		q := &core.Call{Authority: au, Method: "POST", Ticket: &caller{}}
		_, f := g.Next(t.Context(), q)
		g.Failed(t.Context(), f.Attempt, core.Outcome{Verdict: core.Failure, Untyped: true}, errors.New("odd"))
		f.Stripe.Leave()
		require.NotNil(t, g.Alert())
		time.Sleep(time.Hour)
		synctest.Wait()
		assert.Nil(t, g.Alert(), "suspicion passes by itself")
	})
}

// Answers come in any order, and the one whose attempt began last vouches for the
// transport.
func TestTheLatestAnswerIsNoted(t *testing.T) {
	g, _ := open(t, &listener{}, stubsFactory)
	for _, began := range []core.Instant{2, 5, 5, 3} {
		g.Served(began)
	}
	assert.EqualValues(t, 5, g.served.Load())
}
