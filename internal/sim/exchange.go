package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"syscall"
	"time"

	"github.com/respawnhttp/respawn"
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
	copy     bool          // beside another try of its order
	service  service       // that was when it began
	recalled bool          // the client has called it back
	gaveUp   bool          // its caller has gone
	err      error
	fault    fault
}

// A fault is what an error says, as the network knows that caused it.
type fault int

const (
	noFault fault = iota
	against       // it speaks against the transport
	stalls        // a deadline without a first byte
	neutral       // it says nothing
)

// A simError is an error of a transport that has no type of its own to go by.
type simError string

func (e simError) Error() string     { return string(e) }
func (e simError) ErrorType() string { return "sim: " + string(e) }

// RoundTrip is the transport's.
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

// blame and neutral return err, and note what it says.
func (t *try) blame(err error) error   { t.fault = against; return err }
func (t *try) neutral(err error) error { t.fault = neutral; return err }

// await waits d, for ever if that is negative, or until ready; or until the
// caller leaves, the connection is lost or the transport ends. Of many who
// hear of the same event each takes a moment of its own to say so.
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
		time.Sleep(100 * time.Millisecond) // until its caller leaves: whoever tries for ever does so in virtual time
		return errHalted
	}
}

func (t *try) moment() {
	t.link.w.pause(t.link.w.draw(1, 2000, "moment", t.order.id, t.number))
}

// lostConn is what the transports say of a connection that was lost.
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
		t.trace.GetConn(t.req.URL.Host)
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

func (l *link) gone() bool {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	return l.ended
}

// connect takes a connection from the pool, or dials. As with net/http, a dial
// goes on when its caller has left, and its connection is pooled.
func (t *try) connect() error {
	w, l := t.link.w, t.link
	w.mu.Lock()
	for _, c := range l.pool {
		if c.au == t.order.au && !c.lost && (c.streams == 0 || l.kind.shares()) {
			t.take(c)
			t.conn = c
			w.mu.Unlock()
			return nil
		}
	}
	w.mu.Unlock()

	done := make(chan struct{})
	left := false // guarded by w.mu
	var (
		got   *conn // likewise
		err   error
		fault fault
	)
	go func() {
		defer close(done)
		says, dialed := l.dial(t.order, t.number)
		w.mu.Lock()
		defer w.mu.Unlock()
		if dialed == nil && l.ended {
			dialed, says = fmt.Errorf("session: %w", net.ErrClosed), against
		}
		if err, fault = dialed, says; err != nil {
			return
		}
		c := &conn{link: l, au: t.order.au, broken: make(chan struct{})}
		l.pool = append(l.pool, c)
		if !left {
			t.take(c)
			got = c
		}
	}()
	gone := t.await(-1, done)
	w.mu.Lock()
	defer w.mu.Unlock()
	if gone == nil {
		if t.conn = got; err != nil {
			t.fault = fault
		}
		return err
	}
	left = true
	if got != nil { // it came in the same instant
		got.waiting--
		got.leave(true)
	}
	return gone
}

// take puts the try on the connection; the caller holds w.mu.
func (t *try) take(c *conn) {
	c.streams++
	c.waiting++
	t.link.dialed++
	t.order.sent++
	t.link.w.mustSendOnce(t)
}

// dial takes its time and says why there is no connection, or nil.
func (l *link) dial(o *order, try int) (fault, error) {
	w := l.w
	take := w.draw(time.Millisecond, 15*time.Millisecond, "dial", o.id, try)
	if !w.pause(take) {
		return neutral, errHalted
	}
	refuse := func(err error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }
	if l.sick(noDials, deadTunnel) {
		switch o.id % 3 {
		case 0:
			return against, io.EOF // as the channels of some tunnels do
		case 1:
			return against, refuse(net.ErrClosed)
		}
		return against, simError("tunnel is down")
	}
	switch sky := l.sky(o.au); sky {
	case refused:
		return against, refuse(os.NewSyscallError("connect", syscall.ECONNREFUSED))
	case unreachable:
		if !w.pause(3*time.Second + take) {
			return neutral, errHalted
		}
		return against, refuse(os.ErrDeadlineExceeded)
	case slow:
		w.pause(w.draw(50*time.Millisecond, 4*time.Second, "slow dial", o.id, try))
	case badTLS:
		return against, simError("net/http: TLS handshake timeout")
	case noName:
		return against, refuse(&net.DNSError{Err: "server misbehaving", Name: "sim", IsTemporary: true})
	case wrongName:
		return neutral, refuse(&net.DNSError{Err: "no such host", Name: "sim", IsNotFound: true})
	}
	return noFault, nil
}

// serve is the upstream's side of it.
func (t *try) serve(early bool) (*http.Response, error) {
	w := t.link.w
	var payload []byte
	if t.req.Body != nil && !early {
		var err error
		if payload, err = io.ReadAll(t.req.Body); err != nil {
			return nil, t.callersFault(err)
		}
	}
	trip := w.draw(time.Millisecond, 12*time.Millisecond, "trip", t.order.id, t.number)
	if err := t.await(trip, nil); err != nil {
		return nil, err
	}
	if t.swallowed() {
		return nil, t.await(-1, nil)
	}
	sky := t.link.sky(t.order.au)
	switch sky {
	case reset, refused:
		w.mu.Lock()
		t.conn.lose()
		w.mu.Unlock()
		return nil, t.await(-1, nil)
	case mute:
		return nil, t.await(-1, nil)
	case goAway:
		return nil, t.neutral(simError("http2: server sent GOAWAY and closed the connection; LastStreamID=1, ErrCode=NO_ERROR, debug=\"\""))
	}
	w.deliver(t, payload, early)
	switch sky {
	case lost:
		w.mu.Lock()
		t.conn.lose()
		w.mu.Unlock()
		return nil, t.await(-1, nil)
	case slow:
		trip += w.draw(200*time.Millisecond, 3*time.Second, "slow", t.order.id, t.number)
	}
	if err := t.await(trip, nil); err != nil {
		return nil, err
	}
	if t.swallowed() {
		return nil, t.await(-1, nil)
	}
	return t.answer(sky == partial), nil
}

// callersFault judges an error of the request body's own Read. With ReplayNever
// nobody can tell that from a transport that fails.
func (t *try) callersFault(err error) error {
	if t.link.w.plan.replay == respawn.ReplayNever {
		return t.blame(err)
	}
	return t.neutral(err)
}

func (t *try) swallowed() bool {
	t.link.w.mu.Lock()
	defer t.link.w.mu.Unlock()
	return t.conn.black
}
