package sim

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"time"

	"github.com/respawnhttp/respawn/internal/evidence"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// A try is one request on one transport. It is written by the goroutine
// that makes it; others read it after it has returned, under world.mu.
type try struct {
	link   *link
	order  *order
	number int // see order.nextNumber
	req    *http.Request
	trace  *httptrace.ClientTrace
	conn   *conn

	arrived  time.Duration
	returned time.Duration
	over     bool          // it has returned
	answered time.Duration // when its first byte came; 0: never
	trial    bool          // on a candidate
	fetched  bool          // it goes where it was to go before its GetBody took its time
	copy     bool          // beside another try of its order
	service  service       // what was in service when it began
	recalled bool          // the client has called it back
	behind   bool          // goes on on a replaced link while its order is sent elsewhere
	gaveUp   bool          // its caller has gone
	err      error
	fault    fault
}

// decided is when the client decided upon the try.
func (t *try) decided() time.Duration {
	if t.fetched {
		return t.arrived - lingers
	}
	return t.arrived
}

// A fault is what an error says, as the network knows that caused it.
type fault int

const (
	noFault fault = iota
	against       // it speaks against the transport
	stalls        // a deadline without a first byte
	vague         // a timeout of the dialer's that says no more: to whoever did not watch, a stall
	neutral       // it says nothing
)

// A simError is a transport's error whose type tells the client nothing.
type simError string

func (e simError) Error() string     { return string(e) }
func (e simError) ErrorType() string { return "sim: " + string(e) }

// A simTimeout is a dialer's error that says no more than that it is a timeout.
type simTimeout string

func (e simTimeout) Error() string { return string(e) }
func (e simTimeout) Timeout() bool { return true }

// RoundTrip is the RoundTrip of all simulated transports.
func (l *link) RoundTrip(req *http.Request) (*http.Response, error) {
	w := l.w
	t := w.arrive(l, req)
	defer w.vanish(t)
	if l.kind.traces() {
		t.trace = httptrace.ContextClientTrace(req.Context())
	}
	if t.trace != nil { // watched: off the healthy path
		w.mood("RoundTrip", t.order.id, t.number)
	}
	resp, err := t.exchange()
	w.depart(t, resp, err)
	if err != nil {
		return nil, err
	}
	return resp, nil
}

// blame and neutral return err, and note whether it speaks against the transport.
func (t *try) blame(err error) error   { t.fault = against; return err }
func (t *try) neutral(err error) error { t.fault = neutral; return err }

// await returns nil after d or when ready is closed; a negative d never passes. It returns an error
// if the caller leaves, the connection is lost or the transport ends before that. Tries that fail
// by the same event return at moments that the seed draws, so that the scheduler does not decide
// their order.
func (t *try) await(d time.Duration, ready <-chan struct{}) error {
	var timer <-chan time.Time
	if d >= 0 {
		clock := time.NewTimer(d)
		defer clock.Stop()
		timer = clock.C
	}
	var broken chan struct{}
	if t.conn != nil {
		broken = t.conn.broken
	}
	ctx := t.req.Context()
	select {
	case <-timer:
		return nil
	case <-ready:
		return nil
	case <-ctx.Done():
		t.gaveUp = t.link.w.mustNotCut(t)
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			t.fault = stalls
			return ctx.Err()
		}
		return t.neutral(context.Cause(ctx))
	case <-evidence.LegacyCancel(t.req):
		t.gaveUp = true
		return t.neutral(simError("net/http: request canceled"))
	case <-broken:
		t.moment()
		return t.blame(t.lostConn())
	case <-t.link.over:
		t.moment()
		return t.blame(fmt.Errorf("session: %w", net.ErrClosed))
	case <-t.link.w.halt:
		time.Sleep(100 * time.Millisecond) // lets virtual time pass, so that a request that is retried for ever reaches its caller's end
		return errHalted
	}
}

func (t *try) moment() {
	t.link.w.pause(t.link.w.draw(1, 2000, "moment", t.order.id, t.number))
}

// lostConn returns an error that such a transport returns for a lost connection.
func (t *try) lostConn() error {
	switch {
	case t.link.kind == http2:
		return simError("http2: client connection lost")
	case t.order.id%2 == 0:
		return io.EOF
	}
	return testkit.ConnReset()
}

// exchange sends the request and takes the answer. It keeps net/http's
// contract: the request's body is closed whatever happens.
func (t *try) exchange() (*http.Response, error) {
	w := t.link.w
	early := t.order.early
	defer func() {
		if !early {
			testkit.CloseBody(t.req)
		}
	}()
	if t.link.gone() {
		early = false
		return nil, t.blame(fmt.Errorf("session: %w", net.ErrClosed))
	}
	if t.trace != nil && t.trace.GetConn != nil {
		u := t.req.URL
		t.trace.GetConn(net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "80"))) // as net/http names it
	}
	if err := t.connect(); err != nil {
		early = false
		return nil, err
	}
	if t.trace != nil && t.trace.GotConn != nil {
		t.trace.GotConn(httptrace.GotConnInfo{})
	}
	resp, err := t.serve(early)
	if err != nil {
		early = false
		w.mu.Lock()
		t.conn.waiting--
		t.conn.leave(false)
		w.mu.Unlock()
		return nil, err
	}
	w.mu.Lock()
	t.conn.waiting--
	t.answered = w.now()
	if resp.Body == http.NoBody {
		t.conn.leave(true)
	}
	w.mu.Unlock()
	if t.trace != nil && t.trace.GotFirstResponseByte != nil {
		t.trace.GotFirstResponseByte()
	}
	if early && t.req.Body != nil {
		// RoundTrip may return before the body is closed.
		body := t.req.Body
		late := w.draw(time.Microsecond, 5*time.Millisecond, "early", t.order.id, t.number)
		go func() { w.pause(late); body.Close() }()
	}
	return resp, nil
}
