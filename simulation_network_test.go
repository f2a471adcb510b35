package respawn

import (
	"context"
	"net/http"
	"runtime"
	"slices"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/respawnhttp/respawn/internal/evidence"
)

// The weather over the authorities, and the factory.

// sky is how the upstream of a try is now. The fallback leads around it.
func (l *simLink) sky(au int) simSky {
	if l == l.w.spare {
		return simWell
	}
	return l.w.sky(au)
}

// sky is how the authority's upstream is now.
func (w *simWorld) sky(au int) simSky {
	now, sky := w.now(), simWell
	for _, s := range w.plan.weather[au] {
		if s.from <= now {
			sky = s.sky
		}
	}
	return sky
}

// blow lets the weather of one authority change as planned.
func (w *simWorld) blow(au int) {
	before := simWell
	for _, s := range w.plan.weather[au] {
		if s.from > w.now() && !w.pause(s.from-w.now()) {
			return
		}
		w.mu.Lock()
		w.noteLocked(simHost(au), "is %v", s.sky)
		// A server that goes down, or comes back up, resets what is open.
		if before == simMute || s.sky == simRefused || s.sky == simReset {
			for _, l := range w.links {
				l.loseTo(au)
			}
		}
		w.mu.Unlock()
		before = s.sky
	}
}

// loseTo loses all connections to an authority; the caller holds w.mu.
func (l *simLink) loseTo(au int) {
	l.pool = slices.DeleteFunc(l.pool, func(c *simConn) bool {
		if c.au == au {
			c.lose()
		}
		return c.au == au
	})
	for _, c := range l.wires {
		if c.au == au {
			c.lose()
		}
	}
}

func simHost(au int) string { return string(rune('a'+au)) + ".sim" }

// build is the factory.
func (w *simWorld) build(ctx context.Context) (http.RoundTripper, error) {
	w.free("the factory")
	w.mu.Lock()
	plan := w.plan.builds[w.calls%len(w.plan.builds)]
	w.calls++
	if w.now() >= w.plan.storm {
		plan.how = simBuilds
	}
	w.noteLocked("factory", "call %d %v", w.calls, plan.how)
	run := w.bySpan[trace.SpanContextFromContext(ctx).SpanID()]
	run.calls++
	w.must(run.calls == 1 && !run.over, "the factory is called twice for one recreation")
	w.must(run.start == w.now(), "the factory is called %v after the recreation began", w.now()-run.start)
	again := w.rt.WrappedRoundTripper
	w.mu.Unlock()

	switch plan.how {
	case simAgain:
		return again(), nil
	case simHangs:
		select {
		case <-ctx.Done():
		case <-w.halt:
		}
		return nil, context.Cause(ctx)
	case simIgnores:
		plan.take += w.plan.patience + time.Second
	}
	w.pause(plan.take)
	switch plan.how {
	case simFails:
		return nil, &kindError{"sim_factory", "no transport to be had"}
	case simPanics:
		panic("a factory that panics")
	case simNil:
		return nil, nil
	case simNilPtr:
		return (*simPoolTransport)(nil), nil
	case simExits:
		runtime.Goexit()
	}
	l := w.newLink()
	w.mu.Lock()
	defer w.mu.Unlock()
	if plan.how == simStillborn && l.kind == simSession {
		l.end()
		l.dropped = true
	} else if run.over {
		l.dropped = true
	} else {
		run.link = l
	}
	w.noteLocked("factory", "returns %v", l)
	return l.self, nil
}

// A simRun is one recreation, as its span tells.
type simRun struct {
	start, end time.Duration
	over       bool
	onEnded    bool // the transport in service had
	trigger    string
	from, to   string // whose it was at its start, and at its end
	promoted   bool
	err        string
	generation int64
	delay      time.Duration
	outage     time.Duration // 0: none

	calls int      // of the factory
	link  *simLink // what that returned in time
}

func (r *simRun) planned() bool {
	return r.trigger == evidence.TriggerManual || r.trigger == evidence.TriggerMaxAge || r.trigger == evidence.TriggerEnded && r.from == ""
}

// calledOff is for an end that says nothing about anybody.
func (r *simRun) calledOff() bool {
	return slices.Contains([]string{"recovered", "superseded", "given_up", "untried", "closed"}, r.err)
}
