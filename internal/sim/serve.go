package sim

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"github.com/respawnhttp/respawn"
)

// How a try gets a connection, and what the upstream does with it.

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
		switch o.id % 4 {
		case 0:
			return against, io.EOF // as the channels of some tunnels do
		case 1:
			return against, refuse(net.ErrClosed)
		case 2:
			if !w.pause(take) {
				return neutral, errHalted
			}
			return vague, simTimeout("tunnel timed out")
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
	case sluggish:
		trip += w.draw(3*time.Second, 7*time.Second, "sluggish", t.order.id, t.number)
	}
	if err := t.await(trip, nil); err != nil {
		return nil, err
	}
	if t.swallowed() {
		return nil, t.await(-1, nil)
	}
	return t.answer(sky == partial), nil
}

// callersFault judges an error of the request body's own Read. With ReplayNever the client does not
// watch bodies, so it cannot tell such an error from a failure of the transport.
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
