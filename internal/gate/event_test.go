package gate

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn/internal/config"
	"github.com/respawnhttp/respawn/internal/core"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// asks has g decide what q does next, which is what is wanted.
func asks(t *testing.T, g *Gate, q *core.Call, want core.Do) Flight {
	t.Helper()
	step, f := g.Next(t.Context(), q)
	require.Equal(t, want, step.Do)
	if f.Stripe != nil {
		t.Cleanup(f.Stripe.Leave)
	}
	return f
}

func newCall() *core.Call {
	return &core.Call{Authority: au, Method: "GET", Kind: core.Copyable, Ticket: &caller{}}
}

// tries: the authority is refused in service, and q tries the candidate.
func tries(t *testing.T, g *Gate, q *core.Call) Flight {
	t.Helper()
	g.Failed(t.Context(), asks(t, g, q, core.Send).Attempt, refused, errors.New("refused"))
	return asks(t, g, q, core.Try)
}

func woken(q *core.Call) int32 { return q.Ticket.(*caller).woken.Load() }

// Where nobody gets a connection, a trial that has one holds back nobody any more.
func TestWhoWaitsForATrialIsWokenWhenThatHasAConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _ := open(t, &listener{}, stubsFactory)
		q := fails(t, g)
		synctest.Wait() // the candidate is built
		f := tries(t, g, q)
		other := newCall()
		g.Failed(t.Context(), asks(t, g, other, core.Send).Attempt, refused, errors.New("refused"))
		asks(t, g, other, core.Wait)
		require.Zero(t, woken(other))
		g.Connected(f.Attempt)
		assert.EqualValues(t, 1, woken(other))
	})
}

// Whoever has left is not woken.
func TestWhoHasLeftIsNotWoken(t *testing.T) {
	for name, leaves := range map[string]bool{"it waits": false, "it has left": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hang := make(chan struct{})
				g, _ := open(t, &listener{}, func(context.Context) (http.RoundTripper, error) { <-hang; return &testkit.Stub{}, nil })
				q := fails(t, g)
				if leaves {
					g.Leave(q)
				}
				close(hang)
				synctest.Wait()
				assert.Equal(t, leaves, woken(q) == 0)
			})
		})
	}
}

// A candidate that says that it has ended just when another request has proved it was not
// sent what was about to try it: that goes again.
func TestWhatWasNotSentGoesAgainAlsoWhenItsCandidateWasPromoted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _ := open(t, &listener{}, stubsFactory)
		q := fails(t, g)
		synctest.Wait()
		first := tries(t, g, q)
		g.Connected(first.Attempt)
		other := newCall()
		late := tries(t, g, other)
		require.True(t, g.Answered(t.Context(), first.Attempt))
		require.Same(t, late.Generation, g.Current())
		g.Spoiled(t.Context(), late)
		assert.EqualValues(t, 1, other.Ticket.(*caller).recalled.Load())
		assert.False(t, g.Flying(other))
	})
}

// What was drawn for a build holds also if that is called off: whoever calls off all builds
// does not get around the backoff.
func TestABuildThatWasCalledOffCostsItsInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config.Default()
		cfg.Threshold = 1
		cfg.Factory = func(ctx context.Context) (http.RoundTripper, error) { <-ctx.Done(); return nil, ctx.Err() }
		cfg.NewBackOff = func() backoff.BackOff { return backoff.NewConstantBackOff(time.Hour) }
		g, _ := openWith(t, &listener{}, cfg)
		fails(t, g)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		start := time.Now()
		require.Error(t, g.Recreate(ctx)) // takes the place of the build for need
		assert.Equal(t, start.Add(time.Hour), g.View().NextBuild)
	})
}

// Nobody hears of a recreation's end before hearing of its begin.
func TestTheEndOfARecreationIsToldAfterItsBegin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		l := &listener{begin: func(*Recreation) { <-hang }}
		g, _ := open(t, l, stubsFactory)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		go func() { _ = g.Recreate(ctx) }()
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Empty(t, l.events())
		close(hang)
		synctest.Wait()
		assert.Equal(t, []core.Event{core.WasRejected}, l.events())
	})
}
