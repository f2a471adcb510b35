package respawntest

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"go.uber.org/goleak"
	"golang.org/x/net/http2"

	"github.com/respawnhttp/respawn"
)

var goodFactories = map[string]func(w *world) respawn.Factory{
	"a clone of base": func(w *world) respawn.Factory {
		return returns(func() http.RoundTripper { return w.base.(*http.Transport).Clone() })
	},
	"HTTP/1, as base": func(w *world) respawn.Factory {
		w.base = w.http1()
		return returns(func() http.RoundTripper { return w.http1() })
	},
	"a tunnel of its own": func(w *world) respawn.Factory {
		return func(ctx context.Context) (http.RoundTripper, error) {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			tunnel := w.NewTunnel()
			return &closing{w.through(tunnel), tunnel.Close}, nil
		}
	},
	"a tunnel with a goroutine, which its Close ends": func(w *world) respawn.Factory {
		return returns(func() http.RoundTripper {
			tunnel, over := w.NewTunnel(), make(chan struct{})
			go func() { <-over }()
			return &closing{w.through(tunnel), func() error { close(over); return tunnel.Close() }}
		})
	},
	"pings that x/net sends": func(w *world) respawn.Factory {
		return returns(func() http.RoundTripper {
			t := w.http1()
			//lint:ignore SA1019 many still use it, client-go among them
			h2, err := http2.ConfigureTransports(t)
			if err != nil {
				panic(err)
			}
			h2.ReadIdleTimeout = 30 * time.Second //lint:ignore SA1019 as above
			return t
		})
	},
	"a Close that goes on in the background": func(w *world) respawn.Factory {
		return returns(func() http.RoundTripper {
			return &closing{w.transport(), func() error { go time.Sleep(5 * time.Second); return nil }}
		})
	},
	"a goroutine that ends with the context of the build": func(w *world) respawn.Factory {
		return func(ctx context.Context) (http.RoundTripper, error) {
			go func() { <-ctx.Done() }()
			return w.transport(), nil
		}
	},
	"a goroutine that the process has once": func(w *world) respawn.Factory {
		calls := 0
		return returns(func() http.RoundTripper {
			if calls++; calls == 2 { // the first whose product serves
				go watch(w)
			}
			return w.transport()
		})
	},
	"a wrapper that shows what it wraps": func(w *world) respawn.Factory {
		return returns(func() http.RoundTripper { return showing{hiding{w.transport()}} })
	},
	"one connection, which says when it has ended": func(w *world) respawn.Factory {
		f := func(ctx context.Context) (http.RoundTripper, error) {
			conn, err := w.transport().NewClientConn(ctx, "https", "api.test:443")
			if err != nil {
				return nil, err // a nil pointer in an interface is not nil
			}
			return conn, nil
		}
		w.base, _ = f(context.Background())
		return f
	},
	"nothing to close": func(w *world) respawn.Factory {
		w.base = nil
		return returns(func() http.RoundTripper { return &unpooled{w} })
	},
	"an answer without a body, which http.Client takes for empty": func(w *world) respawn.Factory {
		w.base = nil
		return returns(func() http.RoundTripper {
			return answering(func(*http.Request) (*http.Response, error) { return &http.Response{StatusCode: 200}, nil })
		})
	},
}

// An unpooled transport answers by itself, as a stub does.
type unpooled struct{ w *world }

func (*unpooled) RoundTrip(req *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, ProtoMajor: 1, Body: http.NoBody, Request: req}, nil
}

func TestGoodFactoriesPass(t *testing.T) {
	for name, make := range goodFactories {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				TestFactory(t, w.base, make(w), site)
			})
		})
	}
}

// Half a second is what a test may take; who looks at the deadline may keep it.
func TestFactoryWaitsOnlyForADeadlineThatMatters(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		start := time.Now()
		TestFactory(t, w.base, returns(func() http.RoundTripper { return w.transport() }), site)
		assert.Less(t, time.Since(start), time.Second)

		start = time.Now()
		TestFactory(t, w.base, func(ctx context.Context) (http.RoundTripper, error) {
			_, _ = ctx.Deadline()
			return w.transport(), nil
		}, site)
		assert.Greater(t, time.Since(start), buildLimit)
	})
}

// What is asked where nothing is said is a server on the loopback, and nothing of the
// test is left behind.
func TestFactoryOnTheLoopback(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	base := &http.Transport{}
	TestFactory(t, base, returns(func() http.RoundTripper { return &http.Transport{} }))
	base.CloseIdleConnections()

	said := &reporter{TB: t}
	TestFactory(said, base, returns(func() http.RoundTripper { return showing{hiding{base}} }))
	assert.Len(t, said.errors, 1)
	assert.Contains(t, said.errors[0], "respawntest: the factory returned base")
	base.CloseIdleConnections()
}

// Nobody can be compared with a base that does not answer.
func TestFactoryNeedsAnAnswerOfBase(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.api.Refuse()
		w.api.Reset()
		traps := findTraps(w.base, returns(func() http.RoundTripper { return w.transport() }), []string{site})
		if assert.Len(t, traps, 1) {
			assert.ErrorContains(t, traps[0], "base does not answer")
		}
	})
}

func TestNothingToTest(t *testing.T) {
	for want, test := range map[string]func(t testing.TB){
		"respawntest: the factory is nil": func(t testing.TB) { TestFactory(t, nil, nil) },
		"respawntest: base is a nil *http.Transport: pass a transport, or a plain nil for none": func(t testing.TB) {
			TestFactory(t, (*http.Transport)(nil), returns(func() http.RoundTripper { return &http.Transport{} }))
		},
	} {
		said := &reporter{TB: t}
		assert.PanicsWithValue(t, said, func() { test(said) }, "a real test would have ended")
		assert.Equal(t, []string{want}, said.errors)
	}
}

// A reporter keeps what a test is told to fail with.
type reporter struct {
	testing.TB
	errors []string
}

func (*reporter) Helper() {}
func (r *reporter) Errorf(format string, args ...any) {
	r.errors = append(r.errors, fmt.Sprintf(format, args...))
}
func (r *reporter) Fatal(args ...any) { r.Fatalf("%s", fmt.Sprint(args...)) }
func (r *reporter) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	panic(r)
}
