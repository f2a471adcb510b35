package test

import (
	"context"
	"net/http"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// The hook is told of each recreation as Recreations has it, in order, with the
// values of its context, its span's among them.
func TestTheHookHearsOfEachRecreation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type key struct{}
		p := testkit.NewProbe(t)
		var heard []respawn.RecreationRecord
		var spans []trace.SpanID
		f := testkit.NewFactory(func(_ context.Context, call int64) (http.RoundTripper, error) {
			time.Sleep(time.Second)
			if call == 1 {
				return nil, errFactory
			}
			return &testkit.Stub{}, nil
		})
		rt := start(t, testkit.Dead(testkit.Refused()), append(observed(p), every(5*time.Second), respawn.WithFactory(f.Make),
			respawn.WithOnRecreation(func(ctx context.Context, r respawn.RecreationRecord) {
				assert.NoError(t, ctx.Err())
				assert.Equal(t, "the caller's", ctx.Value(key{}))
				spans = append(spans, trace.SpanContextFromContext(ctx).SpanID())
				heard = append(heard, r)
			}))...)
		ctx := context.WithValue(t.Context(), key{}, "the caller's")
		_, err := get(ctx, rt, "http://a.test/")
		require.Error(t, err)
		synctest.Wait()
		require.Len(t, heard, 1)
		assert.True(t, heard[0].OutageOpen)
		time.Sleep(10 * time.Second)
		_, err = get(ctx, rt, "http://a.test/")
		require.NoError(t, err)
		synctest.Wait()
		require.Len(t, heard, 2)
		assert.Equal(t, rt.Recreations()[1], heard[1])
		assert.Equal(t, []respawn.Outcome{"rejected", "promoted"}, []respawn.Outcome{heard[0].Outcome, heard[1].Outcome})
		for i, s := range p.Recreations() {
			assert.Equal(t, s.SpanContext().SpanID(), spans[i])
		}
	})
}

// A hook that blocks, panics or ends its goroutine costs nobody anything, and the
// next recreation is told all the same.
func TestAHookThatMisbehavesCostsNobodyAnything(t *testing.T) {
	release := make(chan struct{})
	for name, misbehave := range map[string]func(){
		"blocks": func() { <-release },
		"panics": func() { panic("hook") },
		"exits":  runtime.Goexit,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				release = make(chan struct{})
				p := testkit.NewProbe(t)
				var heard []uint64
				rt := start(t, &testkit.Stub{}, append(observed(p), respawn.WithFactory(fresh),
					respawn.WithOnRecreation(func(_ context.Context, r respawn.RecreationRecord) {
						heard = append(heard, r.Generation)
						if len(heard) == 1 {
							misbehave()
						}
					}))...)
				begin := time.Now()
				for range 3 {
					require.NoError(t, rt.Recreate(t.Context()))
				}
				_, err := get(t.Context(), rt, "http://a.test/")
				require.NoError(t, err)
				assert.Equal(t, respawn.StateHealthy, rt.Health().State)
				synctest.Wait()
				assert.Len(t, p.Logged("in service"), 3)
				assert.Zero(t, time.Since(begin))
				close(release)
				synctest.Wait()
				assert.Equal(t, []uint64{2, 3, 4}, heard)
			})
		})
	}
}
