package call

import (
	"errors"
	"net/http"
	"runtime"
	"slices"
	"time"

	"github.com/respawnhttp/respawn/internal/body"
	"github.com/respawnhttp/respawn/internal/core"
	"github.com/respawnhttp/respawn/internal/evidence"
	"github.com/respawnhttp/respawn/internal/gate"
	"github.com/respawnhttp/respawn/internal/generation"
	"github.com/respawnhttp/respawn/internal/patience"
)

// A flight is an attempt under way.
type flight struct {
	gate.Flight
	call  *call
	watch *evidence.Watch  // never nil
	req   *http.Request    // as it is sent
	leash tether           // nil on the healthy path
	bond  *generation.Bond // the same
	wait  *patience.Entry  // nil: nobody accompanies it, or a vigil does
	trial bool             // when it departed
	fate  core.Fate        // set if the transport did not return
}

// A result is how a flight ended.
type result struct {
	*flight
	resp     *http.Response
	err      error
	panicked any  // the value that its RoundTrip panicked with
	lost     bool // its RoundTrip did not return
}

// fly sends the request. A request that can be copied is sent on a goroutine of its own,
// since a copy may be answered first.
func (c *call) fly(f gate.Flight, trial bool) (*http.Response, error, bool) {
	var (
		req *http.Request
		fl  *flight
		err error
	)
	airborne := false
	defer func() { // also if Err, GetBody, a context or the listener did not return
		if !airborne {
			c.unsent(fl, f)
			body.Close(req) // no transport has it
		}
	}()
	if trial && f.Generation.Ended() {
		c.Gate.Spoiled(c.req.Context(), f)
		return nil, nil, false
	}
	req, err = c.lender.Lend()
	if err != nil {
		return c.end(err)
	}
	if c.core.Kind == core.Copyable {
		req = c.req // not the caller's own
	}
	fl = c.depart(f, req, trial, newLeash(c.req.Context()))
	if !c.Gate.Goes(f.Attempt) {
		return nil, nil, false
	}
	c.count()
	airborne = true
	if c.core.Kind != core.Copyable {
		return c.landed(fl.roundTrip())
	}
	go fl.alone()
	return c.await()
}

// await waits for the call's flights, until one of them has the caller's answer, or
// nothing is under way any more.
func (c *call) await() (*http.Response, error, bool) {
	for {
		select {
		case r := <-c.results:
			if resp, err, done := c.landed(r); done {
				return resp, err, true
			}
		case <-c.woken: // a copy was not sent
		}
		if !c.Gate.Flying(&c.core) {
			return nil, nil, false
		}
	}
}

// depart makes the flight of an attempt: on leash ctx, and watched. The caller's context may
// panic, so it is looked into before anybody knows of the flight.
func (c *call) depart(f gate.Flight, req *http.Request, trial bool, ctx *leash) *flight {
	fl := &flight{Flight: f, call: c, trial: trial, watch: new(evidence.Watch)}
	fl.watch.Listener = fl
	fl.leash, fl.req = ctx, req.WithContext(fl.watch.Begin(ctx, req.URL, f.Generation.Pool, time.Now()))
	if ctx.alone {
		evidence.DropLegacyCancel(fl.req)
	}
	waits := &c.Gate.Waits
	accompanied := waits.Accompanies(ctx)
	fl.bond = f.Stripe.Bind(fl)
	if accompanied {
		fl.wait = new(patience.Entry)
		waits.Enter(fl.wait, fl, f.On, fl.watch.Started())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flights = append(c.flights, fl)
	if slices.Contains(c.recalled, f.Attempt) {
		fl.recall()
	}
	return fl
}

// recall calls the flight back, unless it is once only and got its connection before the
// core could hear of it: it could go nowhere else, so it goes on where it is.
func (fl *flight) recall() {
	if fl.call.core.Kind >= core.Repeatable {
		fl.leash.pull()
		return
	}
	fl.watch.IfUnsent(fl.req, fl.leash.pull)
}

// roundTrip sends the request on its caller's goroutine. If the transport panics or ends
// the goroutine, the core is told first.
func (fl *flight) roundTrip() (r result) {
	r.flight, r.lost = fl, true
	defer func() {
		if r.lost {
			fl.vanish()
		}
	}()
	fl.hand()
	r.resp, r.err = fl.Generation.Transport.RoundTrip(fl.req)
	r.lost = false
	return r
}

// hand tells the core that the transport gets the request.
func (fl *flight) hand() { fl.call.Gate.Handed(fl.Attempt) }

// errCalledBack is for a request that was called back and is not sent again.
var errCalledBack = errors.New("respawn: the request was called back from a transport that was to be replaced")

var errLost = errors.New("respawn: the transport did not return from RoundTrip")

// vanish: there is no response and no error.
func (fl *flight) vanish() {
	fl.call.arrived(fl)
	fl.bond.Leave()
	o := core.Outcome{Verdict: core.Failure, Trigger: evidence.TriggerOther, Lost: true, Left: true}
	fl.fate = fl.call.Gate.Failed(fl.call.req.Context(), fl.Attempt, o, errLost)
}

// alone sends the request in a goroutine of its own. It hands on the result, or the news
// that RoundTrip did not return: to the caller, or to the core if the caller has its answer
// already. Whoever gets the result tells the core. alone must not do that first: the caller
// would see nothing under way, and leave before the result arrives.
func (fl *flight) alone() {
	r := result{flight: fl, lost: true}
	defer func() {
		if r.lost {
			r.panicked = recover()
		}
		fl.call.handIn(r)
	}()
	fl.hand()
	r.resp, r.err = fl.Generation.Transport.RoundTrip(fl.req)
	r.lost = false
}

// raise ends the caller's goroutine as the flight's was ended.
func (r result) raise() {
	if r.panicked != nil {
		panic(r.panicked)
	}
	runtime.Goexit()
}

// Asks implements [evidence.Listener].
func (fl *flight) Asks(queued bool) { fl.call.Gate.Asks(fl.Attempt, queued) }

// Placed implements [evidence.Listener].
func (fl *flight) Placed() { fl.call.Gate.Placed(fl.Attempt) }

// Sends implements [evidence.Listener].
func (fl *flight) Sends() { fl.call.Gate.Connected(fl.Attempt) }

// End implements [generation.Holder].
func (fl *flight) End() { fl.leash.drop() }

// Untie implements [generation.Holder].
func (fl *flight) Untie() bool { return fl.leash.untie() }

// Gone implements [generation.Holder].
func (fl *flight) Gone() bool {
	gone, _ := evidence.CallerGone(fl.call.req)
	return gone
}

// Authority implements [patience.Waiter].
func (fl *flight) Authority() core.Authority { return fl.call.core.Authority }

// Since implements [patience.Waiter]. A flight that nobody looked at gives zero.
func (fl *flight) Since() time.Time {
	if !fl.watch.Watched() && fl.Generation.Pool.HasPlaces() {
		return time.Time{} // it may have waited for a place
	}
	return waitsSince(fl.watch, fl.req)
}

// waitsSince is the time since when only the transport has kept an attempt waiting. w is the watch of
// the attempt, and sent the request as it was sent. It is zero if something else keeps the attempt
// waiting, or if nobody looked.
func waitsSince(w *evidence.Watch, sent *http.Request) time.Time {
	since := w.Since()
	read, reading := body.LastRead(sent)
	switch {
	case since.IsZero() || reading:
		return time.Time{}
	case read.After(since):
		return read // its caller's body kept it waiting until then
	}
	return since
}

// Silent implements [patience.Waiter].
func (fl *flight) Silent() { fl.call.Gate.Silent(fl.call.ctx, fl.Attempt) }

// Condemned implements [patience.Waiter].
func (fl *flight) Condemned() { fl.call.Gate.Condemned(fl.call.ctx, fl.Attempt) }
