package respawndebug

import (
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
)

// A client without a transport serves nobody, and that is no outage of a host: the page
// says so before, during and after the start.
func TestAStartIsToldInWords(t *testing.T) {
	failure := errors.New("no tunnel")
	for _, tc := range []struct {
		name, state, summary, failing, recreated, transport string
		opts                                                []respawn.Option
		make                                                func(r *rig)
		want                                                answers
	}{
		{
			name: "nobody has asked yet", state: "healthy", summary: "Not started: the first request builds the transport.",
			failing: "Failing none of the hosts", recreated: "Recreations 0 promoted, 0 rejected no transport yet",
			transport: "none yet; 0 promotions, 0 rejections",
			make:      func(*rig) { time.Sleep(time.Minute) },
		},
		{
			name: "the first transport is being built", state: "healthy", summary: "Starting: the first transport is being built. Requests wait for it.",
			failing: "Failing none of the hosts", recreated: "Recreations 0 promoted, 0 rejected no transport yet",
			transport: "none yet; 0 promotions, 0 rejections",
			make: func(r *rig) {
				r.build.Store(int64(5 * time.Second))
				go r.get(api)
				time.Sleep(2 * time.Second)
			},
		},
		{
			name: "the first transport is being built, and there is a fallback", state: "healthy",
			summary: "Starting: the first transport is being built. Requests go to the fallback.",
			failing: "Failing none of the hosts", recreated: "Recreations 0 promoted, 0 rejected no transport yet",
			transport: "none yet; 0 promotions, 0 rejections",
			opts:      []respawn.Option{respawn.WithFallback(&transport{down: new(atomic.Bool)})},
			make: func(r *rig) {
				r.build.Store(int64(5 * time.Second))
				go r.get(api)
				time.Sleep(2 * time.Second)
				require.True(r.t, r.get(api))
			},
		},
		{
			name: "it cannot be built", state: "failing",
			summary:   "No request can be served for now: no transport could be built (factory_error), and the backoff delays the next attempt.",
			failing:   "Failing all hosts since there is no transport yet",
			recreated: "Recreations 0 promoted, 1 rejected no transport yet",
			transport: "none yet; 0 promotions, 1 rejection",
			make: func(r *rig) {
				r.fails.Store(&failure)
				time.Sleep(time.Minute)
				r.get(api)
				time.Sleep(4 * time.Second)
			},
			want: answers{
				Over: "No: the client has no transport yet.", Host: "All hosts", Transport: "Yes: no transport could be built (factory_error).",
				Long: "4.0 s so far, since 00:01:00 UTC.", Next: "Next attempt in 6 s. Look at what the factory needs: a tunnel, a session, certificates.",
			},
		},
		{
			name: "it could not be built, and nobody asks", state: "recovering",
			summary:   "Not started: no transport could be built (factory_error). The next request makes the next attempt.",
			failing:   "Failing all hosts since there is no transport yet",
			recreated: "Recreations 0 promoted, 1 rejected no transport yet",
			transport: "none yet; 0 promotions, 1 rejection",
			make: func(r *rig) {
				r.fails.Store(&failure)
				r.get(api)
				time.Sleep(time.Minute)
			},
			want: answers{
				Over: "No: the client has no transport yet.", Host: "All hosts", Transport: "Yes: no transport could be built (factory_error).",
				Long: "1 min 0 s so far, since 00:00:00 UTC.", Next: "The next request makes the next attempt. Look at what the factory needs: a tunnel, a session, certificates.",
			},
		},
		{
			name: "it is tried again", state: "recovering", summary: "Starting: the first transport is being built. Requests wait for it.",
			failing: "Failing all hosts since there is no transport yet", recreated: "Recreations 0 promoted, 1 rejected no transport yet",
			transport: "none yet; 0 promotions, 1 rejection",
			make: func(r *rig) {
				r.fails.Store(&failure)
				r.get(api)
				time.Sleep(20 * time.Second)
				r.build.Store(int64(5 * time.Second))
				go r.get(api)
				time.Sleep(time.Second)
			},
			want: answers{
				Over: "No: the client has no transport yet.", Host: "All hosts", Transport: "Yes: no transport could be built (factory_error).",
				Long: "21.0 s so far, since 00:00:00 UTC.", Next: "A transport is being built now. Look at what the factory needs: a tunnel, a session, certificates.",
			},
		},
		{
			name: "started at last", state: "healthy", summary: "Serving. Nothing is under suspicion.",
			failing: "Failing none of the hosts", recreated: "Recreations 1 promoted, 1 rejected generation 1 in service for 1 min 0 s",
			transport: "generation 1 for 1 min 0 s; 1 promotion, 1 rejection",
			make: func(r *rig) {
				r.fails.Store(&failure)
				r.get(api)
				time.Sleep(20 * time.Second)
				r.fails.Store(nil)
				r.get(api)
				time.Sleep(time.Minute)
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRigWithoutTransport(t, "llm", tc.opts...)
				tc.make(r)
				page := look(t, r.rt)
				text := ask(t, http.MethodGet, "?format=text", r.rt).Body.String()
				assert.Equal(t, tc.state, page.all("span", "state")[0].text())
				assert.Equal(t, tc.summary, page.all("p", "summary")[0].text())
				assert.Contains(t, facts(page), tc.failing)
				assert.Contains(t, facts(page), tc.recreated)
				assert.Equal(t, tc.transport, said(text, "transport "))
				if tc.want == (answers{}) {
					assert.Empty(t, page.answers())
					assert.Equal(t, "Nothing has been down since the start.", answered(text).Over)
				} else {
					assert.Equal(t, tc.want, answered(text))
					assert.Equal(t, []string{tc.want.Over, tc.want.Host, tc.want.Transport, tc.want.Long, tc.want.Next}, page.answers())
				}
				time.Sleep(time.Minute) // what is under way ends
			})
		})
	}
}

// An outage can begin at the very instant of the start, by a clock as coarse as that. The
// first transport is then the one that fails, and not a fresh one that has failed as well.
func TestTheFirstTransportOfAClientIsNoFreshOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRigWithoutTransport(t, "llm")
		r.trip(api)
		said := answered(ask(t, http.MethodGet, "?format=text", r.rt).Body.String())
		assert.Equal(t, "Not known yet: no fresh transport has been proven or rejected.", said.Transport)
		assert.NotContains(t, said.Next, "a restart of this process does not help")
	})
}
