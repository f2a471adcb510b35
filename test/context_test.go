package test

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// One request's Replay makes the client's stricter, and never laxer; what is no Replay
// is the strictest.
func TestContextWithReplayIsAsADeadlineNeverLaxer(t *testing.T) {
	bodies := map[string]string{http.MethodPost: payload}
	const unsent, never, idempotent = respawn.ReplayUnsent, respawn.ReplayNever, respawn.ReplayIdempotent
	for _, tt := range []struct {
		client respawn.Replay
		own    []respawn.Replay // the outermost first
		want   respawn.Replay
	}{
		{idempotent, nil, idempotent},
		{idempotent, []respawn.Replay{idempotent}, idempotent},
		{idempotent, []respawn.Replay{unsent}, unsent},
		{idempotent, []respawn.Replay{never}, never},
		{unsent, []respawn.Replay{idempotent}, unsent},
		{unsent, []respawn.Replay{never}, never},
		{never, []respawn.Replay{idempotent}, never},
		{never, []respawn.Replay{unsent}, never},
		{idempotent, []respawn.Replay{never, idempotent}, never},
		{idempotent, []respawn.Replay{idempotent, unsent, idempotent}, unsent},
		{idempotent, []respawn.Replay{-1}, never},
		{idempotent, []respawn.Replay{never + 1}, never},
	} {
		for method, may := range map[string]struct{ broken, refused bool }{ // be sent again
			http.MethodGet:  {tt.want == idempotent, tt.want != never},
			http.MethodPost: {false, tt.want != never},
		} {
			for fails, again := range map[error]bool{testkit.ConnReset(): may.broken, testkit.Refused(): may.refused} {
				ctx := t.Context()
				for _, r := range tt.own {
					ctx = respawn.ContextWithReplay(ctx, r)
				}
				base := testkit.Dead(fails)
				rt := start(t, base, respawn.WithReplay(tt.client), respawn.WithFactory(testkit.Fails(errFactory).Make))
				_, err := testkit.Do(rt, request(ctx, method, "http://a.test/", strings.NewReader(bodies[method])))
				require.ErrorIs(t, err, fails)
				assert.Equal(t, again, base.Calls.Load() > 1, "%v, %v: a %s that ends in %v", tt.client, tt.own, method, fails)
			}
		}
	}
}

// A GET that takes something is not copied while it waits, nor sent again after a
// promotion.
func TestAGETThatMustNotBeSentAgainIsNotCopied(t *testing.T) {
	for replay, most := range map[respawn.Replay]int64{respawn.ReplayNever: 1, respawn.ReplayUnsent: 1, respawn.ReplayIdempotent: 2} {
		synctest.Test(t, func(t *testing.T) {
			var taken atomic.Int64
			silent := testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
				if req.URL.Path == "/take" {
					taken.Add(1)
				}
				<-req.Context().Done()
				return nil, req.Context().Err()
			})
			well := testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
				if req.URL.Path == "/take" {
					taken.Add(1)
				}
				return testkit.Answer(req)
			})
			rt := start(t, silent, respawn.WithFactory(testkit.Builds(func() http.RoundTripper { return well }).Make))
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			done := make(chan error, 1)
			go func() {
				_, err := get(respawn.ContextWithReplay(ctx, replay), rt, "http://a.test/take")
				done <- err
			}()
			for range 5 { // of others, who trip and replace the transport
				others, end := context.WithTimeout(t.Context(), time.Second)
				_, _ = get(others, rt, "http://a.test/")
				end()
			}
			for rt.Health().Generation == 1 {
				time.Sleep(time.Second)
			}
			err := <-done
			assert.Equal(t, replay != respawn.ReplayIdempotent, err != nil, "%v: it stays where it is", replay)
			assert.LessOrEqual(t, taken.Load(), most, "%v", replay)
		})
	}
}

// With ReplayNever of its own a POST goes as with the client's: nobody watches it, and
// its body is the caller's own.
func TestAPostThatMustNotBeSentAgainIsNotWatched(t *testing.T) {
	for replay, watched := range map[respawn.Replay]bool{respawn.ReplayNever: false, respawn.ReplayIdempotent: true} {
		var sent *http.Request
		rt := start(t, testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
			sent = req
			return testkit.Answer(req)
		}), respawn.WithFactory(fresh))
		ctx, cancel := context.WithTimeout(respawn.ContextWithReplay(t.Context(), replay), time.Second)
		defer cancel()
		req := request(ctx, http.MethodPost, "http://a.test/", &countedBody{Reader: strings.NewReader(payload)})
		_, err := testkit.Do(rt, req)
		require.NoError(t, err)
		assert.Equal(t, watched, !onHealthyPath(sent))
		assert.Equal(t, !watched, sent == req, "the very request")
	}
}

// One request waits for ready though its client does not, or does not though its
// client does.
func TestContextWithWaitForReadyIsInPlaceOfTheClients(t *testing.T) {
	const long, short = 20 * time.Second, 5 * time.Second
	for _, tt := range []struct {
		client time.Duration
		own    []time.Duration
		want   time.Duration
	}{
		{0, nil, 0},
		{0, []time.Duration{short}, short},
		{long, nil, long},
		{long, []time.Duration{short}, short},
		{short, []time.Duration{long}, long},
		{long, []time.Duration{0}, 0},
		{long, []time.Duration{-1}, 0},
		{0, []time.Duration{long, short}, short},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx := t.Context()
			for _, d := range tt.own {
				ctx = respawn.ContextWithWaitForReady(ctx, d)
			}
			rt := start(t, testkit.Dead(testkit.Refused()), respawn.WithFactory(testkit.Fails(errFactory).Make), respawn.WithWaitForReady(tt.client))
			begin := time.Now()
			_, err := get(ctx, rt, "http://a.test/")
			require.Error(t, err)
			assert.Equal(t, tt.want, time.Since(begin), "%v, %v", tt.client, tt.own)
		})
	}
}
