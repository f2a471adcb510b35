package test

import (
	"context"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
	"github.com/respawnhttp/respawn/internal/testnet"
)

// A wrapped transport hides its pool, and says what it wraps.
type wrapped struct{ rt http.RoundTripper }

func (w *wrapped) RoundTrip(req *http.Request) (*http.Response, error) { return w.rt.RoundTrip(req) }
func (w *wrapped) WrappedRoundTripper() http.RoundTripper              { return w.rt }

// bothBare runs a test on transports as they are, and again behind wrappers.
func bothBare(t *testing.T, test func(*testing.T, func(*http.Transport) http.RoundTripper)) {
	t.Run("bare", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { test(t, func(tr *http.Transport) http.RoundTripper { return tr }) })
	})
	t.Run("wrapped", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			test(t, func(tr *http.Transport) http.RoundTripper { return &wrapped{&wrapped{tr}} })
		})
	})
}

// Nothing of a pool behind wrappers is left after swaps, CloseIdleConnections and Close.
func TestNoConnectionIsLeftBehindWrappers(t *testing.T) {
	for proto, dial := range overPipes {
		t.Run(proto, func(t *testing.T) {
			overDraws(t, 20, func(t *testing.T, d draw) {
				n := testnet.New(t)
				a := n.Serve("a.test:80", http.HandlerFunc(serveKinds))
				depth := 1 + d.IntN(4)
				fresh := func() http.RoundTripper {
					var rt http.RoundTripper = dial(n)
					for range depth {
						rt = &wrapped{rt}
					}
					return rt
				}
				rt := start(t, fresh(), append(d.options(), respawn.WithFactory(testkit.Builds(fresh).Make))...)
				for range 1 + d.IntN(8) {
					for range 1 + d.IntN(4) {
						_, err := testkit.Do(rt, request(t.Context(), oneOf(d, "GET", "POST"), "http://a.test/", nil))
						require.NoError(t, err)
					}
					time.Sleep(d.between(0, time.Minute))
					require.NoError(t, rt.Recreate(t.Context()))
				}
				sweepsPass()
				assert.Zero(t, a.Open(), "after the swaps")
				_, err := get(t.Context(), rt, "http://a.test/")
				require.NoError(t, err)
				synctest.Wait()
				require.Equal(t, 1, a.Open())
				(&http.Client{Transport: rt}).CloseIdleConnections()
				synctest.Wait()
				assert.Zero(t, a.Open(), "after CloseIdleConnections")
				_, err = get(t.Context(), rt, "http://a.test/")
				require.NoError(t, err)
				require.NoError(t, rt.Close())
				sweepsPass()
				assert.Zero(t, a.Open(), "after Close")
			})
		})
	}
}

// A factory that puts new wrappers around what is in service, or around a part of it, has built
// nothing, whatever it was asked for. It is asked again, and what it builds then is put in service.
func TestAProductThatWrapsWhatIsInServiceIsRefused(t *testing.T) {
	overDraws(t, 40, func(t *testing.T, d draw) {
		pool := &testkit.Stub{}
		layers := []http.RoundTripper{pool}
		for range d.IntN(4) {
			layers = append(layers, &wrapped{layers[len(layers)-1]})
		}
		var products []http.RoundTripper
		for range 1 + d.IntN(4) {
			product := oneOf(d, layers...)
			for range d.IntN(4) {
				product = &wrapped{product}
			}
			products = append(products, product)
		}
		f := testkit.NewFactory(func(_ context.Context, call int64) (http.RoundTripper, error) {
			if int(call) <= len(products) {
				return products[call-1], nil
			}
			return &testkit.Stub{}, nil
		})
		rt := start(t, layers[len(layers)-1], append(d.options(), respawn.WithFactory(f.Make), every(d.between(100*time.Millisecond, 2*time.Second)))...)
		byHand := d.chance(0.5)
		if !byHand {
			pool.Fail(oneOf(d, testkit.Refused(), testkit.ConnReset(), nameless(d)))
		}
		for i := range products {
			for rt.Health().Rejections == i {
				if byHand {
					require.Error(t, rt.Recreate(t.Context()))
				} else {
					_, err := get(t.Context(), rt, "http://a.test/")
					require.Error(t, err)
					time.Sleep(100 * time.Millisecond)
				}
			}
			assert.EqualValues(t, "factory_reused", rt.Health().LastRejection.Reason)
		}
		sweepsPass()
		assert.Zero(t, pool.Closes.Load(), "it is in service")
		if byHand {
			require.NoError(t, rt.Recreate(t.Context()))
		}
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		sweepsPass()
		assert.EqualValues(t, 2, rt.Health().Generation)
		assert.EqualValues(t, 1, pool.Closes.Load())
	})
}

// Bodies that are forgotten keep one generation after the other: one warning says so,
// and Health which and since when.
func TestDrainsWithoutEndAreWarnedOfOnce(t *testing.T) {
	overDraws(t, 25, func(t *testing.T, d draw) {
		p := testkit.NewProbe(t)
		rt := start(t, &testkit.Stub{}, append(append(d.options(), observed(p)...), respawn.WithFactory(stubs().Make))...)
		begin, gap := time.Now(), d.between(10*time.Second, 4*time.Minute)
		var forgotten []io.Closer
		for range 2 + 10*time.Minute/gap {
			for range 1 + d.IntN(3) {
				resp, err := rt.RoundTrip(request(t.Context(), "GET", "http://a.test/", nil))
				require.NoError(t, err)
				forgotten = append(forgotten, resp.Body)
			}
			swapInFlight(t, rt, "http://a.test/")
			time.Sleep(gap)
		}
		warned := p.Logs(func(r testkit.LogRecord) bool { return strings.Contains(r.Message, "drain for minutes") })
		require.Len(t, warned, 1)
		assert.EqualValues(t, 1+5*time.Minute/gap, warned[0].Attrs["respawn.transport.draining"])
		assert.Equal(t, begin, warned[0].Attrs["respawn.draining.since"])
		h := rt.Health()
		assert.EqualValues(t, 2+10*time.Minute/gap, h.Draining)
		assert.Equal(t, begin, h.DrainingGenerations[0].Since)
		for _, f := range forgotten {
			require.NoError(t, f.Close())
		}
		assert.Zero(t, rt.Health().Draining)
	})
}

// A product that panics in its Close, or does not return from it, costs a log record, whatever
// else of it does so.
func TestAProductThatBreaksWhenItIsClosedIsLogged(t *testing.T) {
	overDraws(t, 25, func(t *testing.T, d draw) {
		p := testkit.NewProbe(t)
		b := breaking{end: oneOf(d, func() { panic("secret") }, runtime.Goexit), close: d.chance(0.7), idle: d.chance(0.7), err: d.chance(0.3)}
		make := func() http.RoundTripper { fresh := b; return &fresh }
		rt := start(t, make(), append(append(d.options(), observed(p)...), respawn.WithFactory(testkit.Builds(make).Make))...)
		swaps := 1 + d.IntN(4)
		for range swaps {
			require.NoError(t, rt.Recreate(t.Context()))
			sweepsPass()
			_, err := get(t.Context(), rt, "http://a.test/")
			require.NoError(t, err)
		}
		for method, broke := range map[string]bool{"Close": b.close, "CloseIdleConnections": b.idle} {
			logs := p.Logs(func(r testkit.LogRecord) bool { return strings.HasSuffix(r.Message, "panicked in "+method) })
			assert.Equal(t, broke, len(logs) >= swaps, "%d times %s", len(logs), method)
			assert.True(t, broke || len(logs) == 0)
		}
		assert.EqualValues(t, 1+swaps, rt.Health().Generation)
	})
}

// A breaking transport does something else than return from some of its methods.
type breaking struct {
	end              func()
	close, idle, err bool
}

func (b *breaking) RoundTrip(req *http.Request) (*http.Response, error) { return testkit.Answer(req) }

func (b *breaking) Close() error {
	if b.close {
		b.end()
	}
	return nil
}

func (b *breaking) CloseIdleConnections() {
	if b.idle {
		b.end()
	}
}

func (b *breaking) Err() error {
	if b.err {
		panic("secret") // whoever asks is a caller, whose goroutine is its own
	}
	return nil
}
