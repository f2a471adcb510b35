package sim

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/respawnhttp/respawn"
)

// The weather over the authorities, and the factory.

// sky returns how the upstream is now, seen through the link. The fallback avoids all weather.
func (l *link) sky(au int) sky {
	if l == l.w.spare {
		return well
	}
	return l.w.sky(au)
}

// sky is how the authority's upstream is now.
func (w *world) sky(au int) sky {
	now, sky := w.now(), well
	for _, s := range w.plan.weather[w.plan.upstream(au)] {
		if s.from <= now {
			sky = s.sky
		}
	}
	return sky
}

// blow lets the weather of one authority change as planned.
func (w *world) blow(au int) {
	before := well
	for _, s := range w.plan.weather[au] {
		if s.from > w.now() && !w.pause(s.from-w.now()) {
			return
		}
		w.mu.Lock()
		w.noteLocked(hostOf(au), "is %v", s.sky)
		// A server that goes down, or comes back up, resets what is open.
		if before == mute || s.sky == refused || s.sky == reset {
			for _, l := range w.links {
				l.loseTo(au)
			}
		}
		w.mu.Unlock()
		before = s.sky
	}
}

// loseTo loses all connections to an upstream; the caller holds w.mu.
func (l *link) loseTo(up int) {
	l.pool = slices.DeleteFunc(l.pool, func(c *conn) bool {
		lost := l.w.plan.upstream(c.au) == up
		if lost {
			c.lose()
		}
		return lost
	})
	for _, c := range l.wires {
		if l.w.plan.upstream(c.au) == up {
			c.lose()
		}
	}
}

// hostOf names an authority: a.sim to z.sim, a1.sim, and so on.
func hostOf(au int) string {
	name := string(rune('a' + au%letters))
	if au >= letters {
		name += strconv.Itoa(au / letters)
	}
	return name + ".sim"
}

const letters = 26

// upstream is whose weather an authority has.
func (p *plan) upstream(au int) int { return au % len(p.weather) }

// build is the factory.
func (w *world) build(ctx context.Context) (http.RoundTripper, error) {
	w.free()
	w.mu.Lock()
	b := w.plan.builds[w.calls%len(w.plan.builds)]
	w.calls++
	if w.now() >= w.plan.storm {
		b.how = builds
	}
	w.noteLocked("factory", "call %d %v", w.calls, b.how)
	r := w.bySpan[trace.SpanContextFromContext(ctx).SpanID()]
	r.calls++
	w.must(r.calls == 1, "the factory is called twice for one recreation")
	w.must(r.start == w.now(), "the factory is called %v after the recreation began", w.now()-r.start)
	w.mu.Unlock()

	switch b.how {
	case returnsServing:
		return w.rt.WrappedRoundTripper(), nil
	case hangs:
		select {
		case <-ctx.Done():
		case <-w.halt:
		}
		return nil, context.Cause(ctx)
	case ignores:
		b.take += w.plan.recreate + time.Second
	}
	w.pause(b.take)
	if err := b.how.err(); err != nil {
		w.mu.Lock()
		r.failed, r.failedAt = true, w.now()
		w.mu.Unlock()
		return nil, err
	}
	switch b.how {
	case panics:
		panic("a factory that panics")
	case returnsNil:
		return nil, nil
	case returnsNilPtr:
		return (*poolTransport)(nil), nil
	case exits:
		runtime.Goexit()
	}
	l := w.newLink()
	w.mu.Lock()
	defer w.mu.Unlock()
	l.made = w.now()
	if b.how == stillborn && l.kind == session {
		l.end()
	}
	if r.over || r.late(w.now(), w.plan) {
		l.dropped = true
	} else {
		r.link, l.run = l, r
	}
	w.noteLocked("factory", "returns %v", l)
	return l.self, nil
}

// err is the error of a factory that returns one: its own, or any that respawn exports, which means
// nothing here.
func (h how) err() error {
	switch h {
	case fails:
		return simError("no transport to be had")
	case saysClosed:
		return respawn.ErrClosed
	case wrapsClosed:
		return fmt.Errorf("no transport to be had: %w", respawn.ErrClosed)
	case saysDrained:
		return respawn.ErrDrained
	case wrapsDrained:
		return fmt.Errorf("no transport to be had: %w", respawn.ErrDrained)
	}
	return nil
}

// late reports whether the time that a factory has is over.
func (r *run) late(now time.Duration, p *plan) bool { return now >= r.start+p.recreate }

// A run is one recreation, as its span tells.
type run struct {
	number     int // from 1
	start, end time.Duration
	over       bool
	trigger    string
	from, to   string // the authority that it was for, at its start and at its end
	promoted   bool
	kind       string        // why it was rejected
	drawn      time.Duration // the backoff interval after it

	calls    int   // of the factory
	link     *link // what that returned in time
	failed   bool  // it returned an error
	failedAt time.Duration
}

// planned reports whether it was asked for by hand, or by age.
func (r *run) planned() bool { return r.trigger == "manual" || r.trigger == "max_age" }
