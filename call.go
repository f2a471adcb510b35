package respawn

import (
	"fmt"
	"net/http"
	"time"

	"github.com/respawnhttp/respawn/internal/body"
	"github.com/respawnhttp/respawn/internal/core"
	"github.com/respawnhttp/respawn/internal/evidence"
	"github.com/respawnhttp/respawn/internal/generation"
)

// A call is one RoundTrip off the healthy path, over all its attempts.
type call struct {
	rt        *RecoveringRoundTripper
	req       *http.Request // the caller's, never changed
	authority core.Authority

	body body.Lender

	sent    int              // attempts, trials among them
	sentAt  time.Time        // when the latest was
	last    *attempt         // the latest that failed on the transport in service
	verdict evidence.Verdict // of last
	err     error            // the caller's, if nothing better comes

	hadVerdict bool      // has seen a recreation through that was rejected
	readyBy    time.Time // WithWaitForReady: until when; zero before the first wait
}

func (rt *RecoveringRoundTripper) newCall(req *http.Request) *call {
	return &call{rt: rt, req: req, authority: evidence.AuthorityOf(req.URL), body: body.NewLender(req, rt.cfg.Replay)}
}

// A step is what a call does next.
type step int

const (
	stepSend     step = iota // on the transport in service
	stepTrial                // on the candidate
	stepVerdict              // wait for the running recreation
	stepWindow               // wait out the backoff, or a rest
	stepFallback             // on the fallback, and be done
	stepGiveUp               // return c.err
	stepClosed
)

// run takes the call through its attempts.
func (c *call) run() (*http.Response, error) {
	defer c.body.Settle()
	for {
		var resp *http.Response
		var err error
		switch step, w := c.next(); step {
		case stepSend:
			resp, err = c.sendOn(w)
		case stepTrial:
			resp, err = c.try(w.recreation, w.candidate)
		case stepVerdict:
			w.candidate, err = c.awaitVerdict(w)
			if w.candidate != nil {
				resp, err = c.try(w.recreation, w.candidate)
			}
		case stepWindow:
			err = c.awaitWindow(w)
		case stepFallback:
			return c.sendFallback()
		case stepGiveUp:
			return nil, c.err
		case stepClosed:
			return nil, c.closed()
		}
		if resp != nil || err != nil {
			return resp, err
		}
	}
}

// A way is what the next step needs to know.
type way struct {
	watch      bool // the authority is under suspicion
	recreation *recreation
	candidate  *generation.Generation
	limited    bool          // wait only as long as WithWaitForReady says
	until      time.Time     // the end of the wait
	over       chan struct{} // closed when the trip ends
}

// next decides the next step. It is where the rules are: who is the trial, who
// waits, who is left alone.
func (c *call) next() (step, way) {
	rt := c.rt
	first := c.last == nil // nothing failed on the transport in service
	g := rt.current.Load()
	if g == nil {
		return stepClosed, way{}
	}
	ended := g.Ended()
	if ended {
		rt.tripEnded(c, g)
	}
	if first && !rt.alert.Load() {
		return stepSend, way{}
	}

	now := time.Now()
	rt.mu.Lock()
	defer rt.mu.Unlock()
	if rt.closed {
		return stepClosed, way{}
	}
	rt.streaks.forget(now)
	rt.refreshAlert()
	s, r := rt.streaks.get(c.authority), rt.running
	if s != nil {
		s.last = now // asked for
	}
	w := way{watch: s != nil, recreation: r}
	waiting := !c.readyBy.IsZero()
	waits := rt.cfg.WaitForReady > 0 && (!waiting || now.Before(c.readyBy)) && (!first || ended)

	// Threshold + 1 attempts for one request. One that waits for ready may make
	// more, which are spaced whatever the backoff is.
	spent := c.sent > rt.cfg.Threshold
	if spent && waits && (waiting || s != nil && s.tripped) {
		if w.until = c.sentAt.Add(restFor); now.Before(w.until) {
			return stepWindow, w
		}
		spent = false
	}

	// The authority is well, or is not known to be bad yet.
	if s == nil || !s.tripped {
		switch {
		case spent:
			return stepGiveUp, w
		case r != nil && r.planned && !c.hadVerdict && w.take():
			return stepTrial, w // on its way anyway: it proves the planned candidate
		case first, waiting, c.last.gen != rt.current.Load(), c.verdict != evidence.Stall:
			return stepSend, w
		}
		return stepGiveUp, w // a slow upstream is not asked twice as often
	}

	// It is tripped. One attempt makes the trial, when it is time. Once a call
	// waits for ready, all its waiting counts.
	w.over, w.limited = s.over, waiting || c.hadVerdict
	if !spent && (waits || !waiting && !c.hadVerdict) {
		switch {
		case r != nil && w.take():
			return stepTrial, w
		case r == nil && (rt.due(s, now) || ended && !now.Before(rt.pace.notBefore)): // no upstream holds back what has ended
			w.recreation = rt.newTrial(c.req.Context(), s)
			go rt.build(w.recreation)
			return stepVerdict, w
		case r != nil && (c.mayWait(r, s) || ended && first):
			return stepVerdict, w
		case r != nil && waits && !first:
			w.limited = true
			return stepVerdict, w
		case r == nil && waits:
			s.turnedAway = now
			if w.until = later(rt.dueAt(s), rt.turnAt(s)); ended {
				w.until = rt.pace.notBefore
			}
			return stepWindow, w
		}
	}

	// No trial for this one: as if respawn were not there, or the fallback.
	if first && !c.hadVerdict {
		s.turnedAway = now
	}
	switch {
	case rt.cfg.Fallback != nil:
		return stepFallback, w
	case first && !spent:
		return stepSend, w
	}
	return stepGiveUp, w
}

// take takes the baton if the candidate lies ready.
func (w *way) take() bool {
	select {
	case w.candidate = <-w.recreation.baton:
		return true
	default:
		return false
	}
}

// sendOn makes an attempt on the transport in service.
func (c *call) sendOn(w way) (*http.Response, error) {
	g, s := c.rt.enter(c.req)
	if s == nil {
		return nil, c.closed()
	}
	a := &attempt{gen: g, began: c.rt.clock.Load()}
	resp, err := c.send(a, s, w.watch, nil)
	if err != nil {
		return nil, err
	}
	if a.err != nil {
		return nil, c.served(a)
	}
	if c.rt.alert.Load() {
		c.rt.succeeded(c.req.Context(), g, c.authority, a.began)
	}
	return resp, nil
}

// served judges a failed attempt on the transport in service. It returns the
// error that the caller gets, or nil if the call may go on.
func (c *call) served(a *attempt) error {
	defer a.finish()
	c.last, c.err = a, a.err
	c.verdict = c.rt.cfg.Classify(a.req, a.err)
	if c.verdict == evidence.Neutral {
		if gone, _ := evidence.CallerGone(c.req); a.Watched() && !gone {
			c.rt.cleared(c, a)
		}
		return a.err
	}
	c.rt.failed(c, a, c.verdict)
	if !c.mayGoOn(a) {
		return a.err
	}
	return nil
}

// mayGoOn reports whether the caller is still there and sending again is safe.
func (c *call) mayGoOn(a *attempt) bool {
	if gone, _ := evidence.CallerGone(c.req); gone {
		return false
	}
	return c.rt.cfg.Replay.Allows(c.req, a.unsent()) && c.body.Left()
}

// closed is the error for a call that Close has overtaken: its own, if it has one.
func (c *call) closed() error {
	if c.err != nil {
		return c.err
	}
	return ErrClosed
}

// sendFallback makes the last attempt, off the books.
func (c *call) sendFallback() (*http.Response, error) {
	req, ok := c.body.Lend()
	if !ok {
		return nil, c.err
	}
	c.resent()
	resp, err := c.rt.cfg.Fallback.RoundTrip(req)
	return c.body.Restore(resp, req), err
}

// send makes attempt a with a request of its own. The transport's error is in
// a.err; an error returned means that nothing could be sent.
func (c *call) send(a *attempt, s *generation.Stripe, watch bool, proved func(evidence.Phase)) (*http.Response, error) {
	req, ok := c.body.Lend()
	if !ok {
		s.Leave()
		return nil, c.err
	}
	req, after := a.gen.Severable(req)
	if watch {
		req = a.Begin(req, a.gen.Transport, proved)
	}
	a.req = req
	c.resent()
	c.sent++
	c.sentAt = time.Now()
	panicked := true
	defer func() {
		if panicked {
			s.Leave()
			if after != nil {
				after()
			}
		}
	}()
	resp, err := a.gen.Transport.RoundTrip(req)
	panicked = false
	if resp == nil && err == nil {
		err = fmt.Errorf("respawn: %T returned a nil *Response with a nil error", a.gen.Transport)
	}
	if err != nil {
		a.err, a.after = err, after
		s.Leave()
		return nil, nil
	}
	return s.Track(c.body.Restore(resp, req), after), nil
}

// resent counts an attempt that is not the request's first.
func (c *call) resent() {
	if c.sent > 0 {
		c.rt.telemetry.resent(c.req.Context(), c.sent)
	}
}
