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
	began := m.Gate.Clock()
	s := gen.Enter(req)
	if s == nil {
		return m.Do(req) // the generation was retired in between
	}
	lender := body.NewLender(req, m.Config.Replay)
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
	lender.Settle()
	return s.Track(req, lender.Restore(resp, fl.req)), nil
}

// Resume makes what is left of a request that the healthy path began at an instant
// of the core, and that gen failed.
func (m *Maker) Resume(req *http.Request, gen *generation.Generation, began core.Instant, resp *http.Response, err error) (*http.Response, error) {
	c := m.newCall(req)
	c.lender.Lent()
	return c.resume(&flight{req: req}, gen, began, resp, err)
}
