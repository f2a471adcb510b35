package call

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

type key struct{}

func TestALeashEndsAsItsCallersContextDoes(t *testing.T) {
	cause := errors.New("the caller's own")
	for name, tt := range map[string]struct {
		caller func() (context.Context, func())
		err    error
		cause  error
	}{
		"canceled": {func() (context.Context, func()) {
			ctx, cancel := context.WithCancelCause(context.Background())
			return ctx, func() { cancel(cause) }
		}, context.Canceled, cause},
		"deadline": {func() (context.Context, func()) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			return ctx, func() { time.Sleep(2 * time.Second); cancel() }
		}, context.DeadlineExceeded, context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				caller, end := tt.caller()
				l := newLeash(context.WithValue(caller, key{}, "value"))
				assert.NoError(t, l.Err())
				assert.Equal(t, "value", l.Value(key{}))
				want, ok := caller.Deadline()
				got, has := l.Deadline()
				assert.Equal(t, want, got)
				assert.Equal(t, ok, has)
				end()
				<-l.Done()
				assert.Equal(t, tt.err, l.Err())
				assert.Equal(t, tt.cause, context.Cause(l))
				assert.False(t, l.pulled(), "the caller was first")
				l.pull()
				assert.False(t, l.pulled(), "the caller was first")
			})
		})
	}
}

func TestALooseLeashOutlivesItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		caller, cancel := context.WithCancel(t.Context())
		l := newLeash(caller)
		l.loosen()
		cancel()
		synctest.Wait()
		assert.NoError(t, l.Err())
		assert.True(t, l.loose())
		l.pull()
		<-l.Done()
		assert.Equal(t, context.Canceled, l.Err())
		assert.True(t, l.pulled())
		l.drop()
	})
}

func TestALeashOfACallerThatHasGoneIsNotLoosened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		caller, cancel := context.WithCancel(t.Context())
		l := newLeash(caller)
		cancel()
		l.loosen()
		<-l.Done()
		assert.False(t, l.loose())
	})
}

// Whether a flight was called back is asked as soon as its transport has seen its context
// end.
func TestALeashThatIsPulledIsSeenToEndThen(t *testing.T) {
	for range 10_000 {
		l := newLeash(t.Context())
		go l.pull()
		<-l.Done()
		if !l.pulled() {
			t.Fatal("it has ended, and nobody has pulled it")
		}
	}
}
