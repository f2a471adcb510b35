package respawn

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/respawnhttp/respawn/internal/body"
	"github.com/respawnhttp/respawn/internal/core"
	"github.com/respawnhttp/respawn/internal/evidence"
	"github.com/respawnhttp/respawn/internal/generation"
	"github.com/respawnhttp/respawn/internal/streak"
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
	rt.streaks.Forget(now)
	rt.refreshAlert()
	s, r := rt.streaks.Get(c.authority), rt.running
	if s != nil {
		s.Last = now // asked for
	}
	w := way{watch: s != nil, recreation: r}
	waiting := !c.readyBy.IsZero()
	waits := rt.cfg.WaitForReady > 0 && (!waiting || now.Before(c.readyBy)) && (!first || ended)

	// Threshold + 1 attempts for one request. One that waits for ready may make
	// more, which are spaced whatever the backoff is.
	spent := c.sent > rt.cfg.Threshold
	if spent && waits && (waiting || s != nil && s.Tripped) {
		if w.until = c.sentAt.Add(restFor); now.Before(w.until) {
			return stepWindow, w
		}
		spent = false
	}

	// The authority is well, or is not known to be bad yet.
	if s == nil || !s.Tripped {
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
	w.over, w.limited = s.Over, waiting || c.hadVerdict
	if !spent && (waits || !waiting && !c.hadVerdict) {
		switch {
		case r != nil && w.take():
			return stepTrial, w
		case r == nil && (rt.due(s, now) || ended && !now.Before(rt.pace.NotBefore)): // no upstream holds back what has ended
			w.recreation = rt.newTrial(c.req.Context(), s)
			go rt.build(w.recreation)
			return stepVerdict, w
		case r != nil && (c.mayWait(r, s) || ended && first):
			return stepVerdict, w
		case r != nil && waits && !first:
			w.limited = true
			return stepVerdict, w
		case r == nil && waits:
			s.TurnedAway = now
			if w.until = later(rt.dueAt(s), rt.turnAt(s)); ended {
				w.until = rt.pace.NotBefore
			}
			return stepWindow, w
		}
	}

	// No trial for this one: as if respawn were not there, or the fallback.
	if first && !c.hadVerdict {
		s.TurnedAway = now
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

// closed is the error for a call that Close has overtaken: its own, if it has one.
func (c *call) closed() error {
	if c.err != nil {
		return c.err
	}
	return ErrClosed
}

// mayWait reports whether a request that failed waits for the verdict of r.
// The first trial of an outage is worth waiting for. Later ones only if the
// wait runs beside the attempt and not after it, so that during an outage
// nobody's wait is doubled.
func (c *call) mayWait(r *recreation, s *streak.Streak) bool {
	if !r.planned && r.authority != c.authority && (r.proof == streak.ProofFaster || s.Rejections > 0) {
		return false // another's, which may take long, for what is slow to fail or known to be down
	}
	return c.last != nil && (r.first || c.last.began >= r.clock)
}

// awaitVerdict waits for the candidate or, if another attempt has it, for what
// becomes of it. A call whose wait is limited has failed before, so that an answer
// on the transport in service, which ends the trip, is as good as a promotion.
func (c *call) awaitVerdict(w way) (*generation.Generation, error) {
	var limit <-chan time.Time
	var over <-chan struct{}
	if w.limited {
		timer := time.NewTimer(c.patience())
		defer timer.Stop()
		limit, over = timer.C, w.over
	}
	select {
	case candidate := <-w.recreation.baton:
		return candidate, nil
	case <-w.recreation.done:
		if err := w.recreation.err; err != nil && !calledOff(err) {
			c.hadVerdict = true
		}
	case <-over:
	case <-limit:
	case <-c.req.Context().Done():
		return nil, c.gaveUp()
	case <-evidence.LegacyCancel(c.req):
		return nil, c.gaveUp()
	}
	return nil, nil
}

// restFor is the least time from an attempt to the next of a call that has used up
// those it had and waits for ready: the backoff may have no pause at all, and a
// candidate may be tried in vain without a verdict.
const restFor = time.Second

// awaitWindow waits until the next attempt may be made, or the trip is over.
func (c *call) awaitWindow(w way) error {
	timer := time.NewTimer(min(time.Until(w.until), c.patience()))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-w.over:
	case <-c.req.Context().Done():
		return c.gaveUp()
	case <-evidence.LegacyCancel(c.req):
		return c.gaveUp()
	}
	return nil
}

// patience is what is left of WithWaitForReady, counted from the first wait.
func (c *call) patience() time.Duration {
	if c.readyBy.IsZero() {
		c.readyBy = time.Now().Add(c.rt.cfg.WaitForReady)
	}
	return time.Until(c.readyBy)
}

var errCanceled = errors.New("respawn: request canceled while waiting for a fresh transport")

// gaveUp is the error for a caller that left while the call was waiting.
func (c *call) gaveUp() error {
	if c.err != nil {
		return c.err
	}
	if err := context.Cause(c.req.Context()); err != nil {
		return err
	}
	return errCanceled
}
