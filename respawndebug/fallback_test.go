package respawndebug

import (
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
)

// While a host is down and a fallback takes its requests, the page says so:
// otherwise whoever is paged would think that callers get no answer.
func TestTheFallbackIsNamedWhereItServes(t *testing.T) {
	failure := errors.New("no tunnel")
	for _, tc := range []struct {
		name, state, summary, over string
		make                       func(r *rig, other *transport)
	}{
		{"well", "healthy", "Serving. Nothing is under suspicion.", "Nothing has been down since the start.", func(*rig, *transport) {}},
		{
			"tripped", "recovering", "Tripped: once the backoff allows, the next request is tried on a fresh transport. Until then requests go to the fallback.",
			"No: down for 4 s. Requests go to the fallback.",
			func(r *rig, _ *transport) {
				r.trip(api)
				r.get(api)
				time.Sleep(4 * time.Second)
				r.get(api) // the control
				require.True(r.t, r.get(api))
			},
		},
		{
			"a fresh transport is being tried", "recovering", "A fresh transport is being tried. Requests go to the fallback.",
			"No: down for 2 s. Requests go to the fallback.",
			func(r *rig, _ *transport) {
				r.trip(api)
				r.build.Store(int64(time.Minute))
				go r.get(api)
				time.Sleep(2 * time.Second)
			},
		},
		{
			"the transport has ended", "recovering", "The transport has ended: once the backoff allows, the next request gets a fresh one. Until then requests go to the fallback.",
			"No: down for 2 s. Requests go to the fallback.",
			func(r *rig, _ *transport) {
				r.fails.Store(&failure)
				r.first.ended.Store(true)
				r.get(api)
				time.Sleep(2 * time.Second)
				require.True(r.t, r.get(api))
			},
		},
		{
			"the fallback is down, too", "failing",
			"No request can be served for now: no fresh transport could be built (factory_error), and the backoff delays the next attempt. The fallback does not answer, either.",
			"No: down for 2 s. The fallback does not answer, either.",
			func(r *rig, other *transport) {
				other.dead.Store(true)
				r.fails.Store(&failure)
				r.trip(api)
				require.False(r.t, r.get(api))
				time.Sleep(2 * time.Second)
				require.False(r.t, r.get(api))
			},
		},
		{"over", "healthy", "Serving. Nothing is under suspicion.", "Yes: it ended 1 min ago.", func(r *rig, _ *transport) {
			r.first.ended.Store(true)
			require.True(r.t, r.get(api))
			time.Sleep(time.Minute)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				other := &transport{down: &newRig(t, "other").down}
				r := newRig(t, "llm", respawn.WithFallback(other))
				tc.make(r, other)
				page := look(t, r.rt)
				assert.Equal(t, tc.state, page.all("span", "state")[0].text())
				assert.Equal(t, tc.summary, page.all("p", "summary")[0].text())
				assert.Equal(t, tc.over, answered(ask(t, http.MethodGet, "?format=text", r.rt).Body.String()).Over)
				time.Sleep(time.Minute) // what is under way ends
			})
		})
	}
}
