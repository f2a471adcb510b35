package respawn

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// The kinds simNetHTTP1 and simNetHTTP2 are net/http's own transport on
// simulated wires, with net/http's own server at the other end: what the
// simulated transports are modeled on, with all its goroutines. What they do
// between dialer and server is theirs, so fewer invariants can be seen here.

func (k simKind) real() bool { return k == simNetHTTP1 || k == simNetHTTP2 }

// A simWire is the client's end of a connection. Its fields are guarded by
// simWorld.mu.
type simWire struct {
	*wire
	link   *simLink
	au     int
	closed bool
	orders map[*simOrder]bool // being served on it
}

func (c *simWire) Close() error {
	w := c.link.w
	w.mu.Lock()
	c.closed = true
	w.mu.Unlock()
	return c.wire.Close()
}

// harm notes that it is not our fault what happens now to the orders on the
// wire; the caller holds w.mu.
func (c *simWire) harm() {
	for o := range c.orders {
		o.harmed = true
	}
}

func (c *simWire) lose() {
	c.harm()
	c.in.close(simConnReset())
	c.out.close(io.EOF)
}

func (c *simWire) goDark() {
	c.harm()
	c.in.goDark()
	c.out.goDark()
}

// netHTTP is net/http's transport with the link as its dialer.
func (l *simLink) netHTTP() *http.Transport {
	t := &http.Transport{DialContext: l.dialWire, Protocols: new(http.Protocols)}
	t.Protocols.SetHTTP1(l.kind == simNetHTTP1)
	t.Protocols.SetUnencryptedHTTP2(l.kind == simNetHTTP2)
	return t
}

func (l *simLink) dialWire(ctx context.Context, _, addr string) (net.Conn, error) {
	w := l.w
	w.free("a dialer")
	w.mu.Lock()
	l.dialed++
	n := l.dialed
	w.mu.Unlock()
	au := int(addr[0] - 'a')
	if addr[0] < 'a' {
		au = int(addr[0] - 'A')
	}
	done := make(chan error, 1)
	go func() {
		_, err := l.dial(&simOrder{simErrand: simErrand{id: n, au: au}}, l.number)
		done <- err
	}()
	select {
	case err := <-done:
		if err != nil {
			return nil, err
		}
	case <-ctx.Done():
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: ctx.Err()}
	}
	client, server := newWires()
	c := &simWire{wire: client, link: l, au: au, orders: map[*simOrder]bool{}}
	w.mu.Lock()
	l.wires = append(l.wires, c)
	w.mu.Unlock()
	select {
	case w.hosts[au].accept <- &simServerWire{server, c}:
		return c, nil
	case <-w.halt:
		return nil, errSimHalted
	}
}

// simServerWire is the server's end, which knows the client's.
type simServerWire struct {
	*wire
	peer *simWire
}

type simWireKey struct{}

// listen starts the upstream of one authority.
func (w *simWorld) listen(au int) *host {
	h := &host{accept: make(chan net.Conn), open: map[*wire]struct{}{}}
	h.server = &http.Server{
		Handler: http.HandlerFunc(w.upstream), Protocols: new(http.Protocols),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, simWireKey{}, c.(*simServerWire).peer)
		},
	}
	h.server.Protocols.SetHTTP1(true)
	h.server.Protocols.SetUnencryptedHTTP2(true)
	go h.server.Serve(h)
	return h
}

// upstream is what serve is for the simulated transports.
func (w *simWorld) upstream(rw http.ResponseWriter, req *http.Request) {
	c := req.Context().Value(simWireKey{}).(*simWire)
	id, _ := strconv.Atoi(req.Header.Get(simID))
	w.mu.Lock()
	o := w.orders[id]
	c.orders[o] = true
	served := o.served
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(c.orders, o)
	}()
	abort := func() {
		w.mu.Lock()
		c.harm()
		w.mu.Unlock()
		panic(http.ErrAbortHandler)
	}
	payload, err := io.ReadAll(req.Body)
	if err != nil {
		abort()
	}
	trip := w.draw(time.Millisecond, 12*time.Millisecond, "trip", id, served)
	w.pause(trip)
	sky := w.sky(c.au)
	switch sky {
	case simReset, simRefused:
		abort()
	case simMute:
		<-req.Context().Done()
		return
	}
	w.deliver(&simTry{order: o}, payload, false)
	switch sky {
	case simLost:
		abort()
	case simSlow:
		w.pause(w.draw(200*time.Millisecond, 3*time.Second, "slow", id, served))
	}
	rw.Header()[simID] = req.Header[simID]
	chunks := 1
	switch o.answer {
	case simNoBody:
		return
	case simStream:
		chunks = o.chunks
	}
	for n := range chunks {
		if sky == simPartial && n == chunks/2 {
			abort()
		}
		_, _ = io.WriteString(rw, simChunk(id))
		if o.answer == simStream {
			_ = http.NewResponseController(rw).Flush()
			w.pause(o.gap)
		}
	}
}

// mustNotBreak is called when a body of a real transport broke off.
func (w *simWorld) mustNotBreak(o *simOrder, err error) {
	own := errors.Is(err, errSimHalted) || w.now() >= o.leaves || o.harmed || w.plan.drain > 0
	w.must(own, "a body of r%d was cut: %v", o.id, err)
}

// hangUp ends the upstreams.
func (w *simWorld) hangUp() {
	for _, h := range w.hosts {
		_ = h.server.Close()
	}
}
