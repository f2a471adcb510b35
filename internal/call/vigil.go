package call

import (
	"net/http"
	"sync"
	"time"

	"github.com/respawnhttp/respawn/internal/body"
	"github.com/respawnhttp/respawn/internal/build"
	"github.com/respawnhttp/respawn/internal/core"
	"github.com/respawnhttp/respawn/internal/evidence"
	"github.com/respawnhttp/respawn/internal/gate"
	"github.com/respawnhttp/respawn/internal/generation"
	"github.com/respawnhttp/respawn/internal/patience"
)

// A vigil is kept over a request on the healthy path whose caller would wait so long that
// a dead transport would go unnoticed. It costs a place in a list and, if the request may
// be called back, a context. The request is made on its caller's goroutine: a goroutine of
// its own, as flights that may be copied have, would charge every request for what only
// one in an outage needs. A call is made of the request, and the core gets to know it,
// only when the request is silent or its transport was replaced. A transport that does
// not heed its request's context keeps its caller waiting, as it does without respawn.
type vigil struct {
	patience.Entry
	*Maker
	req    *http.Request // the caller's
	gen    *generation.Generation
	alert  *gate.Alert // that did not cover it when it began
	stripe *generation.Stripe
	began  core.Instant
	start  time.Time
	rope   rope

	mu      sync.Mutex // guards the below until it is over
	sent    *http.Request
	watched *evidence.Watch // nil: nobody watches
	lender  *body.Lender    // nil: there is nothing to lend
	flight  *flight         // as the core knows it; nil: it does not
	over    bool

	adopting chan struct{} // closed when a call has been made of the request; nil: nobody does
}

// begin makes the request that is sent, and then begins the vigil. Making it looks into a
// context of the user's, which may panic or be slow. So nobody knows of the vigil until
// then, and no lock is held that the timer would wait for. begin returns false if the
// generation was retired in between.
func (v *vigil) begin(prepare func()) (begun bool) {
	lost := true
	defer func() {
		if lost {
			v.rope.drop()
		}
	}()
	v.began, v.start = v.Gate.Clock(), time.Now()
	prepare()
	lost = false
	v.mu.Lock()
	defer v.mu.Unlock()
	v.Gate.Waits.Enter(&v.Entry, v, v.gen.ID, v.start)
	v.stripe = v.gen.Enter(v.req)
	v.over = v.stripe == nil // the timer may have it in hand already
	return !v.over
}

// abandon ends a vigil over nothing: the request is made otherwise.
func (v *vigil) abandon() (*http.Response, error) {
	v.end()
	v.rope.drop()
	return v.Do(v.req)
}

// keep sends the request. If well, it was answered as on the healthy path, and has not
// been counted out yet.
func (v *vigil) keep() (resp *http.Response, err error, well bool) {
	r := v.roundTrip()
	if fl := v.end(); fl != nil {
		r.flight = fl
		resp, err = fl.call.returned(r)
		return resp, err, false
	}
	if r.err != nil {
		v.stripe.Leave()
		defer v.rope.drop()
		resp, err = v.failed(r)
		return resp, err, false
	}
	a, start := v.Gate.Alert(), v.start
	if v.watched != nil {
		start = v.watched.Since() // when it had its place
	}
	switch {
	case v.Gate.Waits.Taught(time.Since(start)), a != nil && covers(a, v.alert, v.req):
		v.answered(v.req, v.gen, v.began, start)
	case a != nil:
		v.Gate.Served(v.began) // another one is suspected
	}
	return body.Restore(v.req, r.resp, v.sent), nil, true
}

// roundTrip sends the request, and ends the vigil where the transport panics or ends
// the goroutine.
func (v *vigil) roundTrip() (r result) {
	r.lost = true
	defer func() {
		if r.lost {
			v.vanish()
		}
	}()
	r.resp, r.err = v.gen.Transport.RoundTrip(v.sent)
	r.lost = false
	return r
}

func (v *vigil) vanish() {
	fl := v.end()
	if fl == nil {
		v.stripe.Leave()
		v.rope.drop()
		return
	}
	fl.call.lost(fl)
}

// failed makes a call of a request that has failed and that the core does not know yet,
// and takes the call to its end.
func (v *vigil) failed(r result) (*http.Response, error) {
	fl := v.seen()
	c := v.newCall(v.req)
	v.handOver(c)
	return c.resume(fl, v.gen, v.began, r.resp, r.err)
}

// handOver gives the request's body to the call that is made of the request.
func (v *vigil) handOver(c *call) {
	if v.lender != nil {
		c.lender = *v.lender
	} else {
		c.lender.Lent()
	}
}

// seen is the flight, as far as it was looked at.
func (v *vigil) seen() *flight {
	w := v.watched
	if w == nil {
		w = new(evidence.Watch)
		w.Note(v.start)
	}
	return &flight{req: v.sent, watch: w}
}

// end ends the vigil. It returns the flight that the core knows of; nil: of none.
func (v *vigil) end() *flight {
	if !v.Leave() {
		return nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for v.adopting != nil { // the request is not its caller's again before that
		adopting := v.adopting
		v.mu.Unlock()
		<-adopting
		v.mu.Lock()
	}
	v.over = true
	return v.flight
}

// adopt makes a call of the request; nil: it is over, or its context or span, which are
// the user's, panicked. They are asked without the lock, and on a goroutine that is
// nobody's: the registry's has others to look after.
func (v *vigil) adopt() *flight {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case v.over:
		return nil
	case v.flight != nil:
		return v.flight
	}
	v.adopting = make(chan struct{})
	v.mu.Unlock()
	var c *call
	build.Safely(func() { c = v.newCall(v.req) })
	v.mu.Lock()
	close(v.adopting)
	v.adopting = nil
	if c == nil {
		return nil
	}
	v.flight = v.flightLocked(c)
	return v.flight
}

// flightLocked is the flight of a request of which a call was made.
func (v *vigil) flightLocked(c *call) *flight {
	c.sent, c.aboard = 1, true
	v.handOver(c)
	fl := v.seen()
	fl.call, fl.leash = c, &v.rope
	fl.Flight = gate.Flight{Attempt: c.core.AdoptWaiting(v.gen.ID, v.began, fl.watch.Since()), Generation: v.gen, Stripe: v.stripe}
	fl.bond = v.stripe.Bind(fl)
	c.flights = append(c.flights, fl)
	return fl
}

// Asks implements [evidence.Listener].
func (v *vigil) Asks(bool) {}

// Placed implements [evidence.Listener]. The core hears of it only where something is suspected. A
// hook may fire when the request is its caller's again.
func (v *vigil) Placed() {
	a := v.Gate.Alert()
	if a == nil {
		return
	}
	if au := v.Authority(); a.Covers(au) {
		v.Gate.Moves(au)
	}
}

// Sends implements [evidence.Listener].
func (v *vigil) Sends() { v.Placed() }

// Authority implements [patience.Waiter].
func (v *vigil) Authority() core.Authority {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.over {
		return core.Authority{} // the request is its caller's again
	}
	return evidence.AuthorityOf(v.req.URL)
}

// Since implements [patience.Waiter].
func (v *vigil) Since() time.Time {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.over {
		return time.Time{}
	}
	switch {
	case v.watched != nil:
		return waitsSince(v.watched, v.sent)
	case v.gen.Pool.HasPlaces():
		return time.Time{} // nobody watches it, so it may be waiting for a place
	}
	return v.start
}

// Silent implements [patience.Waiter].
func (v *vigil) Silent() {
	if fl := v.adopt(); fl != nil {
		fl.Silent()
	}
}

// Condemned implements [patience.Waiter].
func (v *vigil) Condemned() {
	if v.rope.cancel == nil {
		return // it stays where it is
	}
	if fl := v.adopt(); fl != nil {
		fl.Condemned()
	}
}
