package call

import (
	"context"
	"runtime"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"

	"github.com/respawnhttp/respawn/internal/core"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// resends hears how often a request was sent again. While it hears of the first time, it calls
// meanwhile.
type resends struct {
	meanwhile func()
	heard     []int
}

func (r *resends) Failed(context.Context, core.Authority, string) {}

func (r *resends) Resent(_ context.Context, _ core.Authority, n int) {
	if n == 1 {
		r.meanwhile()
	}
	r.heard = append(r.heard, n)
}

// A copy may be sent while the listener hears of the attempt before it. The request's span
// keeps the last number that it is told, so that the copy's must not come first.
func TestTheListenerHearsTheNumbersInTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := made(t, &testkit.Stub{})
		c := m.newCall(testkit.Request(t.Context(), "GET", "http://a.test/", nil))
		r := &resends{meanwhile: func() {
			go c.count() // the copy's
			synctest.Wait()
		}}
		m.Listener = r
		c.count()
		c.count()
		synctest.Wait()
		assert.Equal(t, []int{1, 2}, r.heard)
	})
}

// What ends the goroutine that tells the listener loses one report. The next is told.
func TestWhoNeverComesBackFromTheListenerHoldsBackNoNumber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := made(t, &testkit.Stub{})
		c := m.newCall(testkit.Request(t.Context(), "GET", "http://a.test/", nil))
		r := &resends{meanwhile: runtime.Goexit}
		m.Listener = r
		c.count()
		go c.count()
		synctest.Wait()
		c.count()
		assert.Equal(t, []int{2}, r.heard)
	})
}
