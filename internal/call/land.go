package call

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/respawnhttp/respawn/internal/core"
	"github.com/respawnhttp/respawn/internal/evidence"
	"github.com/respawnhttp/respawn/internal/generation"
)

// landed takes the end of a flight to the core. done: resp and err are the caller's.
func (c *call) landed(r result) (*http.Response, error, bool) {
	c.arrived(r.flight)
	r.err = r.named()
	switch {
	case r.lost:
		if r.vanish(); r.fate.Copy {
			return nil, nil, false
		}
		r.raise()
	case r.err != nil:
		r.bond.Out() // first, so that a transport which this failure replaces need not wait for it
		defer r.bond.Leave()
		return c.failed(r)
	case !c.tellAnswer(r) && c.core.Kind >= core.Repeatable:
		r.discard() // it was called back. A request that is sent only once keeps its answer: it gets no other
		return nil, nil, false
	}
	resp := c.lender.Restore(r.resp, r.req)
	return r.bond.Track(c.req, resp), nil, true
}

// tellAnswer takes the answer of a flight to the core. It reports whether it counts.
func (c *call) tellAnswer(r result) bool {
	if r.resp != nil {
		r.Generation.Spoke(r.resp)
	}
	return c.Gate.Answered(c.req.Context(), r.Attempt)
}

// named returns the error of a flight, or ErrDrained if that cut it.
func (r result) named() error {
	if r.err != nil && r.bond.Tells() {
		return generation.ErrDrained
	}
	return r.err
}

// failed reads the error of a flight, and takes it to the core.
func (c *call) failed(r result) (*http.Response, error, bool) {
	if r.pulled() {
		return c.calledBack(r, r.said().Unsent)
	}
	serving := c.Gate.Last() == r.Generation // now: what r tells may replace it
	o, fate := c.judge(r)
	if !fate.Counts {
		return c.calledBack(r, o.Unsent)
	}
	if fate.Copy {
		r.close()
		return nil, nil, false
	}
	if serving && o.IsFailure() {
		c.tell(func(l Listener) { l.Failed(c.req.Context(), c.core.Authority, o.Trigger) })
	}
	switch {
	case !o.Again:
		return c.lender.Restore(r.resp, r.req), r.err, true
	case !fate.Trial || c.err == nil:
		c.keep(r)
	default:
		r.close()
	}
	return nil, nil, false
}

// keep makes a failure the caller's, if nothing better comes. A transport may give both a
// response and an error: then the caller gets both.
func (c *call) keep(r result) {
	c.letGo()
	c.err, c.resp = r.err, c.lender.Restore(r.resp, r.req)
}

// end ends a call that got no answer, with the error that its flights left or, if there is
// none, with the given one.
func (c *call) end(otherwise error) (*http.Response, error, bool) {
	if c.err == nil {
		return nil, otherwise, true
	}
	resp := c.resp
	c.resp = nil // the caller's
	return resp, c.err, true
}

// letGo closes the response that is not the caller's after all.
func (c *call) letGo() {
	result{resp: c.resp}.close()
	c.resp = nil
}

// pulled reports whether the flight was called back before it ended.
func (fl *flight) pulled() bool { return fl.leash != nil && fl.leash.pulled() }

// calledBack: the error of a flight that was called back says nothing. But a request that
// can be sent only once may have got its connection in that very instant. If so, the call
// ends here.
func (c *call) calledBack(r result, unsent bool) (*http.Response, error, bool) {
	switch {
	case unsent || c.core.Kind >= core.Repeatable:
		r.close()
		return nil, nil, false
	case r.pulled() && errors.Is(r.err, context.Canceled): // by us
		r.close()
		return nil, cmp.Or(c.left(), errCalledBack), true
	}
	return r.resp, r.err, true
}

// judge reads an error and takes it to the core, which also hears of a flight whose
// classifier ended the goroutine.
func (c *call) judge(r result) (o core.Outcome, fate core.Fate) {
	o.Left = true
	defer func() { fate = c.Gate.Failed(c.req.Context(), r.Attempt, o, r.err) }()
	o = c.outcome(r)
	return o, fate
}

// late: the flight went on for the core alone.
func (c *call) late(r result) {
	c.arrived(r.flight)
	switch {
	case r.lost:
		r.vanish()
	case r.err == nil:
		c.tellAnswer(r)
		r.discard()
	default:
		defer r.discard()
		r.bond.Out()
		if !r.pulled() {
			c.judge(r)
		}
	}
}

// discard lets go of a response that nobody wants.
func (r result) discard() {
	defer r.bond.Leave()
	r.close()
}

// close closes the body of a response that nobody has seen: where that panics, there is
// nobody to tell, and perhaps no goroutine but respawn's own.
func (r result) close() {
	defer func() { _ = recover() }()
	if r.resp != nil && r.resp.Body != nil {
		_ = r.resp.Body.Close()
	}
}

// outcome reads the error of a flight, on the caller's context as long as the caller waits
// for the flight: the flight's own context ends for other reasons, too.
func (c *call) outcome(r result) core.Outcome {
	caller := c.req
	if r.leash != nil && r.leash.loose() {
		caller = r.req
	}
	gone, late := evidence.CallerGone(caller)
	o := r.said()
	o.Left, o.Queued = gone, r.watch.Queued()
	if r.bond.Severed() {
		return o // it speaks against nobody
	}
	if since := r.Since(); gone && !late && !since.IsZero() {
		o.Silence = time.Since(since)
	}
	switch c.classify(r.watch.Judged(caller, r.req), r.err) {
	case evidence.Failure:
		o.Verdict = core.Failure
		if r.Generation.Ended() {
			o.Trigger = evidence.TriggerEnded // its own word, whatever its errors are called
		}
	case evidence.Stall:
		o.Verdict, o.Trigger = core.Stall, evidence.TriggerStall
		o.Untyped = !r.watch.Watched() && r.Generation.Pool.HasPlaces() // it may have waited for a place
		o.Unseen = !gone && evidence.Unseen(r.watch, r.err)
	case evidence.Ended:
		o.Verdict, o.Trigger, o.Untyped = core.Failure, evidence.TriggerEnded, false
		c.Gate.Ended(c.req.Context(), r.Generation)
	}
	o.Again = !gone && c.mayGoAgain(r, o)
	return o
}

// mayGoAgain reports whether the request may be sent again after flight r (see
// body/replay.go): if the end of r speaks against its transport, sending again is safe, and
// the body can still be had. A trial that was never sent may go again whatever its error says.
func (c *call) mayGoAgain(r result, o core.Outcome) bool {
	worth := o.Verdict != core.Neutral || r.trial && o.Unsent
	return worth && c.replay.Allows(c.req, o.Unsent) && c.lender.Left()
}

// said returns what the error and the hooks say by themselves. An error that panics when it is
// looked at, as a nil pointer does, says nothing.
func (r result) said() (o core.Outcome) {
	defer func() {
		if recover() != nil {
			o = core.Outcome{Trigger: evidence.TriggerOther, Untyped: true}
		}
	}()
	return core.Outcome{
		Trigger: r.watch.Trigger(r.err), Unsent: r.watch.Unsent(r.req, r.err), Apart: r.watch.Apart(),
		Untyped: evidence.Untyped(r.watch, r.err),
	}
}

// classify asks the user's classifier. If that panics, the default decides. If the default
// panics, too, the error cannot be inspected, and counts as a failure like an unknown one.
func (c *call) classify(req *http.Request, err error) evidence.Verdict {
	for _, classify := range []func(*http.Request, error) evidence.Verdict{c.Config.Classify, evidence.Classify} {
		if v, ok := classified(classify, req, err); ok {
			return v
		}
	}
	return evidence.Failure
}

// classified returns the verdict of classify; false if classify panics.
func classified(classify func(*http.Request, error) evidence.Verdict, req *http.Request, err error) (v evidence.Verdict, ok bool) {
	defer func() { _ = recover() }()
	return classify(req, err), true
}

// arrived takes a flight off the list of those under way.
func (c *call) arrived(fl *flight) {
	if fl.wait != nil {
		fl.wait.Leave()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flights = slices.DeleteFunc(c.flights, func(o *flight) bool { return o == fl })
}
