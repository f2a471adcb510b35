package call

import (
	"net/http"

	"github.com/respawnhttp/respawn/internal/body"
	"github.com/respawnhttp/respawn/internal/core"
	"github.com/respawnhttp/respawn/internal/generation"
)

// Watched makes a request on the healthy path that has to be looked at from its
// first attempt: else nobody could tell afterwards whether it may be sent again.
func (m *Maker) Watched(req *http.Request, gen *generation.Generation) (*http.Response, error) {
	if m.Gate.Waits.Accompanies(req.Context()) {
		return m.watchedVigil(req, gen)
	}
	began := m.Gate.Clock()
	s := gen.Enter(req)
	if s == nil {
		return m.Do(req) // the generation was retired in between
	}
	lender := body.NewLender(req, m.Config.ReplayOf(req))
	defer lender.Settle()    // also where the transport does not return
	sent, _ := lender.Lend() // the first time it always has a body
	fl := &flight{}
	fl.req = fl.watch.Begin(req.Context(), sent, gen.Transport, nil)
	resp, err := gen.RoundTrip(fl.req, s)
	if err != nil {
		c := m.newCall(req)
		c.lender = lender
		return c.resume(fl, gen, began, resp, err)
	}
	if a := m.Gate.Alert(); a != nil {
		m.Answered(req, gen, began)
	}
	return s.Track(req, lender.Restore(resp, fl.req)), nil
}

// watchedVigil is Watched of a request whose caller has time to spare. What might be
// called back is no matter of the healthy path: where its answer comes before its
// body has gone, its context goes its own ways.
func (m *Maker) watchedVigil(req *http.Request, gen *generation.Generation) (*http.Response, error) {
	if kindOf(req, m.Config.ReplayOf(req)) == core.Repeatable {
		return m.Do(req)
	}
	v := &struct {
		vigil
		fl  flight
		len body.Lender
	}{vigil: vigil{Maker: m, req: req, gen: gen}, len: body.NewLender(req, m.Config.ReplayOf(req))}
	v.lender, v.watched = &v.len, &v.fl
	v.mu.Lock()
	if !v.beginLocked() {
		v.mu.Unlock()
		return v.abandon()
	}
	sent, _ := v.lender.Lend()
	v.sent = v.fl.watch.Begin(req.Context(), sent, gen.Transport, nil)
	v.fl.req = v.sent
	v.mu.Unlock()
	defer v.lender.Settle() // also where the transport does not return
	resp, err, well := v.keep()
	if !well {
		return resp, err
	}
	return v.stripe.Track(req, resp), nil
}

// Accompanied makes a request on the healthy path that nobody has to watch, and whose
// caller has time to spare.
func (m *Maker) Accompanied(req *http.Request, gen *generation.Generation) (*http.Response, error) {
	switch kindOf(req, m.Config.ReplayOf(req)) {
	case core.Repeatable:
		return m.Do(req) // see watchedVigil
	case core.Once:
		return m.plainVigil(req, gen)
	}
	v := &struct {
		vigil
		copy http.Request
		body generation.Held
	}{vigil: vigil{Maker: m, req: req, gen: gen, rope: newRope(req.Context())}}
	v.mu.Lock()
	if !v.beginLocked() {
		v.mu.Unlock()
		return v.abandon()
	}
	if hasPlaces(gen.Transport) {
		v.watched = &flight{}
		v.sent = v.watched.watch.Begin(v.rope.ctx, req, gen.Transport, nil)
		v.watched.req = v.sent
	} else {
		v.copy = *req.WithContext(v.rope.ctx)
		v.sent = &v.copy
	}
	v.mu.Unlock()
	resp, err, well := v.keep()
	if !well {
		return resp, err
	}
	return v.body.Track(v.stripe, req, resp, v.rope.cancel), nil
}

// plainVigil is for what nobody may send again.
func (m *Maker) plainVigil(req *http.Request, gen *generation.Generation) (*http.Response, error) {
	v := &vigil{Maker: m, req: req, sent: req, gen: gen}
	v.mu.Lock()
	ok := v.beginLocked()
	v.mu.Unlock()
	if !ok {
		return v.abandon()
	}
	resp, err, well := v.keep()
	if !well {
		return resp, err
	}
	return v.stripe.Track(req, resp), nil
}

func kindOf(req *http.Request, r body.Replay) core.Kind {
	switch {
	case r.Copyable(req):
		return core.Copyable
	case r.Repeatable(req):
		return core.Repeatable
	}
	return core.Once
}

// hasPlaces reports whether requests may wait for a place in the transport's own
// pool, which is nobody's silence, and nothing but a hook tells.
func hasPlaces(transport http.RoundTripper) bool {
	t, ok := transport.(*http.Transport)
	return ok && t.MaxConnsPerHost > 0
}

// Resume makes what is left of a request that the healthy path began at an instant
// of the core, and that gen failed.
func (m *Maker) Resume(req *http.Request, gen *generation.Generation, began core.Instant, resp *http.Response, err error) (*http.Response, error) {
	c := m.newCall(req)
	c.lender.Lent()
	return c.resume(&flight{req: req}, gen, began, resp, err)
}
