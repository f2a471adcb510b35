// Package call carries one request off the healthy path through all its attempts. It
// performs the steps that the core decides, and tells the core their results.
package call

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/respawnhttp/respawn/internal/body"
	"github.com/respawnhttp/respawn/internal/config"
	"github.com/respawnhttp/respawn/internal/core"
	"github.com/respawnhttp/respawn/internal/evidence"
	"github.com/respawnhttp/respawn/internal/gate"
	"github.com/respawnhttp/respawn/internal/generation"
)

// A Maker makes the calls of one client. Its fields are read-only.
type Maker struct {
	Config   *config.Config
	Gate     *gate.Gate
	Listener Listener
}

// Do makes a request that the healthy path did not begin.
func (m *Maker) Do(req *http.Request) (*http.Response, error) {
	return m.newCall(req).run()
}

// Answered reports an answer that the healthy path got while something is suspected. An
// answer of a suspect goes to the core; of any other authority only the time is noted, as
// proof that somebody is served. alert is the one that did not cover the request when it
// began.
func (m *Maker) Answered(req *http.Request, gen *generation.Generation, began core.Instant, alert *gate.Alert) {
	if a := m.Gate.Alert(); a != nil && !covers(a, alert, req) {
		m.Gate.Served(began)
		return
	}
	m.answered(req, gen, began, time.Time{})
}

// answered tells the core of an answer to a request that began at that instant. A zero
// start means that nobody noted the time.
func (m *Maker) answered(req *http.Request, gen *generation.Generation, began core.Instant, start time.Time) {
	q := &core.Call{Authority: evidence.AuthorityOf(req.URL), Method: req.Method}
	m.Gate.Answered(req.Context(), q.Adopt(gen.ID, began, start))
}

// A call is one RoundTrip off the healthy path.
type call struct {
	*Maker
	req    *http.Request   // the caller's, never changed; a clone of it where a flight may outlive the call
	ctx    context.Context // the caller's, for the timer: it may come when the request is the caller's again
	core   core.Call
	replay body.Replay // the client's, or the request's own
	lender body.Lender

	// The caller's, if nothing better comes.
	err  error
	resp *http.Response // that came with err, open

	woken   chan struct{} // holds one wake-up
	results chan result   // of the flights that have a goroutine of their own
	over    chan struct{} // closed when the caller has its answer

	mu       sync.Mutex // guards the below
	sent     int
	resent   int       // of these, how many the listener was told of as sent again
	telling  bool      // somebody is telling the listener
	flights  []*flight // under way
	recalled []*core.Attempt
	aboard   bool      // its caller waits in the transport of its first flight
	deputy   chan word // gets the deputy's result; nil: there is no deputy
	finished bool      // over is closed
}

func (m *Maker) newCall(req *http.Request) *call {
	replay := m.Config.ReplayOf(req)
	c := &call{
		Maker: m, req: req, ctx: req.Context(), replay: replay, lender: body.NewLender(req, replay),
		woken: make(chan struct{}, 1), results: make(chan result), over: make(chan struct{}),
	}
	c.core = core.Call{
		Authority: evidence.AuthorityOf(req.URL), Method: req.Method, Kind: kindOf(req, replay),
		Ready: m.Config.ReadyOf(req), Ticket: c, Witness: witness(req),
	}
	c.core.Deadline, _ = req.Context().Deadline()
	if c.core.Kind == core.Copyable {
		c.req = req.Clone(req.Context()) // the caller's is its own again once it has its answer
	}
	return c
}

// resume takes the failure of the first attempt to the core, and goes on.
func (c *call) resume(fl *flight, gen *generation.Generation, began core.Instant, resp *http.Response, err error) (*http.Response, error) {
	c.sent = 1
	fl.call = c
	since := fl.watch.Since()
	if since.IsZero() {
		since = fl.watch.Started() // what fails waits for no place: its dialer has no hooks
	}
	fl.Attempt, fl.Generation = c.core.Adopt(gen.ID, began, since), gen
	return c.conclude(func() (*http.Response, error) {
		if resp, err, done := c.failed(result{flight: fl, resp: resp, err: err}); done {
			return resp, err
		}
		return c.steps()
	})
}

// run makes the whole call.
func (c *call) run() (*http.Response, error) { return c.conclude(c.steps) }

// conclude takes the call to its end by steps. Where a callback of the user's ends the
// goroutine in between, the call has no caller any more.
func (c *call) conclude(steps func() (*http.Response, error)) (resp *http.Response, err error) {
	lost := true
	defer c.lender.Settle()
	defer func() {
		if lost {
			c.abandon()
		}
		c.finish()
	}()
	resp, err = steps()
	lost = false
	if err == nil {
		c.lender.Answered()
	}
	return resp, err
}

// steps performs the steps that the core decides, until the call is done.
func (c *call) steps() (*http.Response, error) {
	for {
		if resp, err, done := c.step(); done {
			return resp, err
		}
	}
}

// step performs one step. done: resp and err are the caller's.
func (c *call) step() (resp *http.Response, err error, done bool) {
	c.noticeEnd()
	select {
	case <-c.woken: // for a wait that is over
	default:
	}
	step, f := c.Gate.Next(c.req.Context(), &c.core)
	switch step.Do {
	case core.Send, core.Try:
		return c.fly(f, step.Do == core.Try)
	case core.Wait:
		return c.wait(step.Until)
	case core.Divert:
		return c.divert()
	case core.GiveUp:
		return c.end(cmp.Or(c.left(), c.Gate.Absent(), errCalledBack))
	}
	return c.end(gate.ErrClosed)
}

// noticeEnd tells the gate that the transport in service says it has ended.
func (c *call) noticeEnd() {
	if gen := c.Gate.Current(); gen != nil && gen.Ended() {
		c.Gate.Ended(c.req.Context(), gen)
	}
}

// divert serves from the fallback, and that is all.
func (c *call) divert() (*http.Response, error, bool) {
	req, err := c.lender.Lend()
	if err != nil {
		return c.end(err)
	}
	departed := false
	defer func() { // also where whoever is told did not return
		if !departed {
			body.Close(req)
		}
	}()
	c.count()
	c.finish() // flights that were left behind are not awaited any more
	began := c.Gate.Clock()
	departed = true
	resp, err := c.Config.Fallback.RoundTrip(req)
	if err == nil {
		c.Gate.Served(began)
	}
	return c.lender.Restore(resp, req), err, true
}

var errCanceled = errors.New("respawn: request canceled while waiting for a fresh transport")

// wait waits until the call is woken, or until that time if it is not zero. The call is
// done if a flight that it left behind is answered, or if the caller leaves first.
func (c *call) wait(until time.Time) (*http.Response, error, bool) {
	var limit <-chan time.Time
	if !until.IsZero() {
		timer := time.NewTimer(time.Until(until))
		defer timer.Stop()
		limit = timer.C
	}
	select {
	case <-c.woken:
		return nil, nil, false
	case <-limit:
		return nil, nil, false
	case r := <-c.results:
		return c.landed(r)
	case <-c.req.Context().Done():
	case <-evidence.LegacyCancel(c.req):
	}
	c.Gate.Leave(&c.core)
	return c.end(c.gaveUp())
}

// left is the error for a caller that has left; nil: it has not.
func (c *call) left() error {
	if gone, _ := evidence.CallerGone(c.req); !gone {
		return nil
	}
	return c.gaveUp()
}

// gaveUp is the error for a caller that left while the call was waiting.
func (c *call) gaveUp() error {
	if err := context.Cause(c.req.Context()); err != nil {
		return err
	}
	return errCanceled
}

// abandon: the caller's goroutine has ended without an answer. The call's flights are
// called back, as when a caller leaves.
func (c *call) abandon() {
	c.mu.Lock()
	flights := slices.Clone(c.flights)
	c.mu.Unlock()
	for _, fl := range flights {
		fl.leash.pull()
		c.Gate.Failed(c.req.Context(), fl.Attempt, core.Outcome{Left: true}, nil)
	}
}

// finish: the caller has its answer, perhaps from a fallback. Flights that are still under
// way go on without the caller until the core calls them back.
func (c *call) finish() {
	c.letGo()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.finished {
		return
	}
	c.finished = true
	for _, fl := range c.flights {
		fl.leash.loosen()
	}
	close(c.over)
}

// witness returns the span context of req, to which a recreation's span can link. It is a
// pointer, since span contexts cannot be compared.
func witness(req *http.Request) any {
	if sc := trace.SpanContextFromContext(req.Context()); sc.IsValid() {
		return &sc
	}
	return nil
}
