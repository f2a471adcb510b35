package call

import (
	"net/http"
	"time"

	"github.com/respawnhttp/respawn/internal/body"
	"github.com/respawnhttp/respawn/internal/core"
	"github.com/respawnhttp/respawn/internal/evidence"
	"github.com/respawnhttp/respawn/internal/gate"
	"github.com/respawnhttp/respawn/internal/generation"
)

// Watched makes a request on the healthy path that has to be looked at from its
// first attempt: else nobody could tell afterwards whether it may be sent again. alert is
// the one that does not cover it, and replay says how it may be sent again.
func (m *Maker) Watched(req *http.Request, replay body.Replay, gen *generation.Generation, alert *gate.Alert) (*http.Response, error) {
	if m.Gate.Waits.Accompanies(req.Context()) {
		return m.watchedVigil(req, replay, gen, alert)
	}
	began := m.Gate.Clock()
	lender := body.NewLender(req, replay)
	defer lender.Settle() // also where the context panics, or the transport does not return
	fl := new(struct {
		watch evidence.Watch
		req   http.Request
	})
	now := time.Now()
	ctx := fl.watch.Begin(req.Context(), req.URL, gen.Pool, now)
	_ = lender.LendUnder(ctx, &fl.req, now) // the first time it always has a body
	s := gen.Enter(req)                     // after the look into the caller's context, which may panic
	if s == nil {
		return m.Do(req) // the generation was retired in between
	}
	resp, err := gen.RoundTrip(&fl.req, s)
	if err != nil {
		c := m.newCall(req)
		c.lender = lender
		return c.resume(&flight{watch: &fl.watch, req: &fl.req}, gen, began, resp, err)
	}
	lender.Answered()
	if a := m.Gate.Alert(); a != nil {
		m.Answered(req, gen, began, alert)
	}
	return s.Track(req, lender.Restore(resp, &fl.req)), nil
}

// watchedVigil is Watched for a request whose caller has time to spare. A repeatable
// request, which might be called back, leaves the healthy path: if its answer came before
// its body was sent, its context would have to outlive the answer.
func (m *Maker) watchedVigil(req *http.Request, replay body.Replay, gen *generation.Generation, alert *gate.Alert) (*http.Response, error) {
	if kindOf(req, replay) == core.Repeatable {
		return m.Do(req)
	}
	v := new(struct {
		vigil
		watch evidence.Watch
		len   body.Lender
		copy  http.Request
	})
	v.Maker, v.req, v.gen, v.alert, v.len = m, req, gen, alert, body.NewLender(req, replay)
	v.lender, v.watched, v.sent = &v.len, &v.watch, &v.copy
	if gen.Pool.HasPlaces() {
		v.watch.Listener = v
	}
	begun := v.begin(func() {
		ctx := v.watch.Begin(req.Context(), req.URL, gen.Pool, v.start)
		_ = v.lender.LendUnder(ctx, v.sent, v.start) // the first time it always has a body
	})
	if !begun {
		return v.abandon()
	}
	defer v.lender.Settle() // also where the transport does not return
	resp, err, well := v.keep()
	if !well {
		return resp, err
	}
	v.lender.Answered()
	return v.stripe.Track(req, resp), nil
}

// Accompanied makes a request on the healthy path that nobody has to watch, and whose
// caller has time to spare.
func (m *Maker) Accompanied(req *http.Request, gen *generation.Generation, alert *gate.Alert) (*http.Response, error) {
	switch kindOf(req, m.Config.ReplayOf(req)) {
	case core.Repeatable:
		return m.Do(req) // see watchedVigil
	case core.Sealed:
		return m.plainVigil(req, gen, alert)
	}
	v := &struct {
		vigil
		copy http.Request
		body generation.Held
	}{vigil: vigil{Maker: m, req: req, gen: gen, alert: alert, rope: newRope(req.Context())}}
	begun := v.begin(func() {
		if gen.Pool.HasPlaces() {
			v.watched = &evidence.Watch{Listener: v}
			v.sent = req.WithContext(v.watched.Begin(v.rope.ctx, req.URL, gen.Pool, v.start))
		} else {
			v.copy = *req.WithContext(v.rope.ctx)
			v.sent = &v.copy
		}
	})
	if !begun {
		return v.abandon()
	}
	resp, err, well := v.keep()
	if !well {
		return resp, err
	}
	return v.body.Track(v.stripe, req, resp, v.rope.cancel), nil
}

// plainVigil makes a request that must not be sent again.
func (m *Maker) plainVigil(req *http.Request, gen *generation.Generation, alert *gate.Alert) (*http.Response, error) {
	v := &vigil{Maker: m, req: req, sent: req, gen: gen, alert: alert}
	if !v.begin(func() {}) {
		return v.abandon()
	}
	resp, err, well := v.keep()
	if !well {
		return resp, err
	}
	return v.stripe.Track(req, resp), nil
}

// covers reports whether alert a covers req. The alert in not is known not to cover req.
// Mostly the two are the same alert, and the authority of req need not be looked up again.
func covers(a, not *gate.Alert, req *http.Request) bool {
	return a != not && a.Covers(evidence.AuthorityOf(req.URL))
}

func kindOf(req *http.Request, r body.Replay) core.Kind {
	switch {
	case r.Copyable(req):
		return core.Copyable
	case r.Repeatable(req):
		return core.Repeatable
	case r == body.Never:
		return core.Sealed
	}
	return core.Once
}

// Resume takes over a request that the healthy path began at an instant of the core, and
// that gen failed.
func (m *Maker) Resume(req *http.Request, gen *generation.Generation, began core.Instant, resp *http.Response, err error) (*http.Response, error) {
	c := m.newCall(req)
	c.lender.Lent()
	return c.resume(&flight{req: req, watch: new(evidence.Watch)}, gen, began, resp, err)
}
