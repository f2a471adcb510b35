package build

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A session can say that it has ended.
type session struct {
	http.Transport
	err error
}

func (s *session) Err() error { return s.err }

// What a factory does wrong has a word, and costs nothing but the call.
func TestBuildRefuses(t *testing.T) {
	inService := &http.Transport{}
	ended := &session{err: errors.New("closed")}
	for kind, factory := range map[string]func(context.Context) (http.RoundTripper, error){
		"factory_nil":    func(context.Context) (http.RoundTripper, error) { return (*http.Transport)(nil), nil },
		"factory_shared": func(context.Context) (http.RoundTripper, error) { return http.DefaultTransport, nil },
		"factory_reused": func(context.Context) (http.RoundTripper, error) { return inService, nil },
		"factory_ended":  func(context.Context) (http.RoundTripper, error) { return ended, nil },
		"its own word": func(context.Context) (http.RoundTripper, error) {
			return ended, NewKindError("its own word", "no tunnel")
		},
		"factory_panic":   func(context.Context) (http.RoundTripper, error) { panic("no") },
		"factory_timeout": func(ctx context.Context) (http.RoundTripper, error) { time.Sleep(time.Hour); return nil, nil },
	} {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var discarded []http.RoundTripper
				b := &Builder{
					Factory: factory, Limit: time.Second,
					InService: func(product http.RoundTripper) bool { return SameInstance(product, inService) },
					Discard:   func(product http.RoundTripper) { discarded = append(discarded, product) },
				}
				product, err := b.Build(t.Context())
				require.Error(t, err)
				assert.Nil(t, product)
				var word interface{ ErrorType() string }
				require.ErrorAs(t, err, &word)
				assert.Equal(t, kind, word.ErrorType())
				if kind == "factory_ended" {
					assert.Equal(t, []http.RoundTripper{ended}, discarded)
				} else {
					assert.Empty(t, discarded, "it is not ours")
				}
				time.Sleep(time.Hour)
				synctest.Wait()
				assert.Zero(t, b.calls.Load())
			})
		})
	}
}

// What comes too late is ended, and calls that never return are bounded.
func TestBuildTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var late atomic.Int32
		b := &Builder{
			Factory: func(context.Context) (http.RoundTripper, error) {
				time.Sleep(time.Minute)
				return &http.Transport{}, nil
			},
			Limit:     time.Second,
			InService: func(http.RoundTripper) bool { return false },
			Discard:   func(http.RoundTripper) { late.Add(1) },
		}
		for range maxStuck {
			_, err := b.Build(t.Context())
			require.Equal(t, errTimeout, err)
		}
		_, err := b.Build(t.Context())
		require.Equal(t, errStuck, err)
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.EqualValues(t, maxStuck, late.Load())
		assert.Zero(t, b.calls.Load())
	})
}
