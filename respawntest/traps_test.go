package respawntest

import (
	"context"
	"net"
	"net/http"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
)

type badFactory struct {
	name string
	make func(w *world) respawn.Factory
	want string
}

// Each bad factory steps into one trap, and is told that one, and what to do.
var badFactories = []badFactory{
	// What it returns.
	{"fails", func(*world) respawn.Factory {
		return func(context.Context) (http.RoundTripper, error) { return nil, errTest }
	}, "the factory failed (as the test wants it)"},
	{"panics", func(*world) respawn.Factory {
		return func(context.Context) (http.RoundTripper, error) { panic("no key") }
	}, "the factory panicked: no key: return an error"},
	{"ends its goroutine", func(*world) respawn.Factory {
		return func(context.Context) (http.RoundTripper, error) { runtime.Goexit(); return nil, nil }
	}, "instead of t.FailNow"},
	{"returns a transport and an error", func(w *world) respawn.Factory {
		return func(context.Context) (http.RoundTripper, error) { return w.transport(), errTest }
	}, "nobody closes that transport"},
	{"returns nil", func(*world) respawn.Factory {
		return func(context.Context) (http.RoundTripper, error) { return nil, nil }
	}, "nil and no error"},
	{"returns a nil pointer", func(*world) respawn.Factory {
		return func(context.Context) (http.RoundTripper, error) { var t *http.Transport; return t, nil }
	}, "a nil *http.Transport in an interface"},
	{"returns a transport that has ended", func(w *world) respawn.Factory {
		return returns(func() http.RoundTripper { return &erring{w.transport(), func() error { return errTest }} })
	}, "has ended already (Err: as the test wants it)"},

	// How it gives up.
	{"gives up with a transport", func(w *world) respawn.Factory {
		return func(ctx context.Context) (http.RoundTripper, error) { return w.transport(), ctx.Err() }
	}, "called under a context that has ended, the factory returned a transport beside an error"},
	{"gives up without an error", givesUp(func(*world) http.RoundTripper { return nil }),
		"called under a context that has ended, the factory returned nil and no error"},
	{"gives up with a panic", givesUp(func(*world) http.RoundTripper { panic("no tunnel") }),
		"called under a context that has ended, the factory panicked: no tunnel"},
	{"gives up with its goroutine", givesUp(func(*world) http.RoundTripper { runtime.Goexit(); return nil }),
		"called under a context that has ended, the factory ended its goroutine"},
	{"falls back on base", givesUp(func(w *world) http.RoundTripper { return w.base }),
		"called under a context that has ended, the factory returned base"},

	// Whose it is.
	{"returns base", func(w *world) respawn.Factory {
		return returns(func() http.RoundTripper { return w.base })
	}, "returned base"},
	{"wraps base", func(w *world) respawn.Factory {
		return returns(func() http.RoundTripper { return showing{hiding{w.base}} })
	}, "returned base"},
	{"wraps base and hides it, as client-go's cache does", func(w *world) respawn.Factory {
		return returns(func() http.RoundTripper { return hiding{w.base} })
	}, "uses a connection of base"},
	{"returns http.DefaultTransport", func(*world) respawn.Factory {
		return returns(func() http.RoundTripper { return http.DefaultTransport })
	}, "belongs to the whole process"},
	{"returns the same transport again", func(w *world) respawn.Factory {
		only := w.transport()
		return returns(func() http.RoundTripper { return only })
	}, "the same transport twice"},
	{"wraps the same transport again, and hides it", func(w *world) respawn.Factory {
		only := w.transport()
		return returns(func() http.RoundTripper { return hiding{only} })
	}, "use the same connection"},

	{"returns respawn itself", func(w *world) respawn.Factory {
		return func(context.Context) (http.RoundTripper, error) {
			rt, err := respawn.New(w.transport())
			return showing{hiding{rt}}, err
		}
	}, "returned a RecoveringRoundTripper"},

	// When it can be called.
	{"works once", func(w *world) respawn.Factory {
		calls := 0
		return func(context.Context) (http.RoundTripper, error) {
			if calls++; calls > 2 { // the first is under a context that has ended
				return nil, errTest
			}
			return w.transport(), nil
		}
	}, "worked once, but not the second time"},
	{"waits for ever", func(w *world) respawn.Factory {
		return func(context.Context) (http.RoundTripper, error) {
			<-w.over
			return w.transport(), nil
		}
	}, "5s after its context had ended: pass the context on"},
	{"looks at its context only before it waits", func(w *world) respawn.Factory {
		return func(ctx context.Context) (http.RoundTripper, error) {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			<-w.over
			return w.transport(), nil
		}
	}, "5s after the end of its context, which lasted for 5s: pass the context on"},
	{"takes too long", func(w *world) respawn.Factory {
		return func(ctx context.Context) (http.RoundTripper, error) {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			time.Sleep(6 * time.Second)
			return w.transport(), nil
		}
	}, "took longer than 5s"},
	{"closes what it built before", func(w *world) respawn.Factory {
		var tunnel *Tunnel
		return returns(func() http.RoundTripper {
			if tunnel != nil {
				tunnel.End(errTest)
			}
			tunnel = w.NewTunnel()
			return w.through(tunnel)
		})
	}, "in service has not answered (GET https://api.test/: as the test wants it) since the factory was called again"},
	{"breaks base", func(w *world) respawn.Factory {
		tunnel := w.NewTunnel()
		w.base = w.through(tunnel)
		return returns(func() http.RoundTripper { tunnel.End(errTest); return w.transport() })
	}, "base has not answered (GET https://api.test/: as the test wants it) since the factory was called again"},

	// How it works.
	{"leads nowhere", func(w *world) respawn.Factory {
		return returns(func() http.RoundTripper {
			t := w.transport()
			t.TLSClientConfig.RootCAs = nil
			return t
		})
	}, "does not answer (GET https://api.test/: tls: failed to verify certificate"},
	{"panics in RoundTrip", func(*world) respawn.Factory {
		return returns(func() http.RoundTripper {
			return answering(func(*http.Request) (*http.Response, error) { panic("no tunnel") })
		})
	}, "does not answer (GET https://api.test/: RoundTrip or the answer's body panicked: no tunnel"},
	{"returns nothing from RoundTrip", func(*world) respawn.Factory {
		return returns(func() http.RoundTripper {
			return answering(func(*http.Request) (*http.Response, error) { return nil, nil })
		})
	}, "does not answer (GET https://api.test/: RoundTrip returned neither an answer nor an error"},
	{"ties the tunnel to its context", func(w *world) respawn.Factory {
		return func(ctx context.Context) (http.RoundTripper, error) {
			tunnel := w.NewTunnel()
			context.AfterFunc(ctx, func() { tunnel.End(context.Cause(ctx)) })
			return w.through(tunnel), nil
		}
	}, "dies with the context"},
	{"dials under its context", func(w *world) respawn.Factory {
		return func(ctx context.Context) (http.RoundTripper, error) {
			t := w.transport()
			t.DialContext = func(_ context.Context, network, addr string) (net.Conn, error) {
				return w.DialContext(ctx, network, addr)
			}
			return t, nil
		}
	}, "dies with the context"},
	{"leaves its deadline on the tunnel", func(w *world) respawn.Factory {
		return func(ctx context.Context) (http.RoundTripper, error) {
			tunnel := w.NewTunnel()
			if deadline, ok := ctx.Deadline(); ok {
				time.AfterFunc(time.Until(deadline), func() { tunnel.End(errTest) })
			}
			return w.through(tunnel), nil
		}
	}, "dies at the deadline"},
	{"dials once", func(w *world) respawn.Factory {
		return returns(func() http.RoundTripper {
			t := w.transport()
			t.DisableKeepAlives = true
			dialed := false
			t.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
				if dialed {
					return nil, errTest
				}
				dialed = true
				return w.DialContext(ctx, network, addr)
			}
			return t
		})
	}, "has answered once and then no more (GET https://api.test/: as the test wants it)"},
	{"loses HTTP/2, which no answer shows", func(w *world) respawn.Factory {
		w.urls = []string{plain}
		return returns(func() http.RoundTripper { return w.http1() })
	}, "HTTP/2 is lost"},
	{"loses HTTP/2, which only the answers show", func(w *world) respawn.Factory {
		return returns(func() http.RoundTripper {
			t := w.http1()
			return struct {
				hiding
				idler
			}{hiding{t}, t}
		})
	}, "HTTP/2 is lost"},
	{"loses the pings", func(w *world) respawn.Factory {
		return returns(func() http.RoundTripper {
			t := w.transport()
			t.HTTP2 = nil
			return t
		})
	}, "HTTP/2 pings are lost"},
	{"loses the pings of unencrypted HTTP/2", func(w *world) respawn.Factory {
		w.urls = []string{plain}
		unencrypted := func() *http.Transport {
			t := w.transport()
			t.Protocols = new(http.Protocols)
			t.Protocols.SetUnencryptedHTTP2(true)
			return t
		}
		w.base = unencrypted()
		return returns(func() http.RoundTripper {
			t := unencrypted()
			t.HTTP2 = nil
			return t
		})
	}, "HTTP/2 pings are lost"},
	{"loses Err", func(w *world) respawn.Factory {
		w.base = &erring{w.transport(), func() error { return nil }}
		return returns(func() http.RoundTripper { return w.transport() })
	}, "Err is lost"},

	// How it ends.
	{"hides CloseIdleConnections", func(w *world) respawn.Factory {
		return returns(func() http.RoundTripper { return hiding{w.transport()} })
	}, "it has no CloseIdleConnections"},
	{"closes without its connections", func(w *world) respawn.Factory {
		return returns(func() http.RoundTripper {
			return struct {
				hiding
				closer
			}{hiding{w.transport()}, func() error { return nil }}
		})
	}, "its Close does not close them all"},
	{"closes one transport of two", func(w *world) respawn.Factory {
		return returns(func() http.RoundTripper { return &pair{w.transport(), w.transport()} })
	}, "does not reach them all"},
	{"leaves a goroutine", func(w *world) respawn.Factory {
		return returns(func() http.RoundTripper { go watch(w); return w.transport() })
	}, "started by github.com/respawnhttp/respawn/respawntest.watch ("},
	{"leaves a goroutine that its Close has started", func(w *world) respawn.Factory {
		return returns(func() http.RoundTripper {
			return &closing{w.transport(), func() error { go watch(w); return nil }}
		})
	}, "started by github.com/respawnhttp/respawn/respawntest.watch ("},
	{"panics in Close", func(w *world) respawn.Factory {
		return returns(func() http.RoundTripper { return &closing{w.transport(), func() error { panic("closed twice") }} })
	}, "Close of the factory's transport panicked"},
	{"hangs in Close", func(w *world) respawn.Factory {
		return returns(func() http.RoundTripper {
			return &closing{w.transport(), func() error { <-w.over; return nil }}
		})
	}, "had not returned after 5s"},
	{"closes what the next one stands on", func(w *world) respawn.Factory {
		tunnel := w.NewTunnel()
		return returns(func() http.RoundTripper {
			return &closing{w.through(tunnel), func() error { tunnel.End(errTest); return nil }}
		})
	}, "in service has not answered (GET https://api.test/: as the test wants it) since another"},
	{"closes what base stands on", func(w *world) respawn.Factory {
		tunnel := w.NewTunnel()
		w.base = w.through(tunnel)
		return returns(func() http.RoundTripper {
			return &closing{w.transport(), func() error { tunnel.End(errTest); return nil }}
		})
	}, "base has not answered (GET https://api.test/: as the test wants it) since another"},
}

// givesUp makes a factory that works, but for what it returns once its context has ended.
func givesUp(with func(w *world) http.RoundTripper) func(w *world) respawn.Factory {
	return func(w *world) respawn.Factory {
		return func(ctx context.Context) (http.RoundTripper, error) {
			if ctx.Err() != nil {
				return with(w), nil
			}
			return w.transport(), nil
		}
	}
}

// An answering transport is a function.
type answering func(*http.Request) (*http.Response, error)

func (a answering) RoundTrip(req *http.Request) (*http.Response, error) { return a(req) }

type idler interface{ CloseIdleConnections() }

type closer func() error

func (c closer) Close() error { return c() }

// A pair sends by two transports in turn, and closes one.
type pair struct{ one, other *http.Transport }

func (p *pair) RoundTrip(req *http.Request) (*http.Response, error) {
	if resp, err := p.one.RoundTrip(req); err != nil {
		return resp, err
	}
	return p.other.RoundTrip(req)
}

func (p *pair) CloseIdleConnections() { p.one.CloseIdleConnections() }

// watch stands for the watcher of a certificate. It ends with the test.
func watch(w *world) { <-w.over }

func TestEachTrapIsFoundAndNamed(t *testing.T) {
	for _, bad := range badFactories {
		t.Run(bad.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				f := bad.make(w)
				traps := findTraps(w.base, f, w.urls)
				require.Len(t, traps, 1)
				assert.ErrorContains(t, traps[0], bad.want)
			})
		})
	}
}
