package sim

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"time"

	"github.com/respawnhttp/respawn/internal/testnet"
)

// The kinds netHTTP1 and netHTTP2 are net/http's own transport on
// simulated wires, with net/http's own server at the other end. The simulated transports
// are modeled on it. The simulation does not see what happens between dialer and server,
// so it checks fewer invariants here.

func (k kind) real() bool { return k == netHTTP1 || k == netHTTP2 }

// A wire is a connection of a real transport. Its fields are guarded by world.mu.
type wire struct {
	*testnet.Conn // the client's end
	link          *link
	au            int
	closed        bool
	orders        map[*order]bool // being served on it
}

func (c *wire) Close() error {
	w := c.link.w
	w.mu.Lock()
	c.closed = true
	w.mu.Unlock()
	return c.Conn.Close()
}

// harm notes that the network, not the client, is to blame for what happens to the orders on the
// wire from now on. The caller holds w.mu.
func (c *wire) harm() {
	for o := range c.orders {
		o.harmed = true
	}
}

func (c *wire) lose() {
	c.harm()
	c.Link().Reset()
}

func (c *wire) goDark() {
	c.harm()
	c.Link().BlackHole()
}

// netHTTP is net/http's transport with the link as its dialer.
func (l *link) netHTTP() *http.Transport {
	t := &http.Transport{DialContext: l.dialWire, Protocols: new(http.Protocols), MaxConnsPerHost: l.w.plan.places}
	t.Protocols.SetHTTP1(l.kind == netHTTP1)
	t.Protocols.SetUnencryptedHTTP2(l.kind == netHTTP2)
	return t
}

func (l *link) dialWire(ctx context.Context, network, addr string) (net.Conn, error) {
	if trace := httptrace.ContextClientTrace(ctx); trace != nil && trace.ConnectStart != nil {
		trace.ConnectStart(network, addr) // as net.Dialer says that it dials
	}
	w := l.w
	w.free()
	w.mu.Lock()
	l.dialed++
	n := l.dialed
	w.mu.Unlock()
	au := int(addr[0] - 'a')
	done := make(chan error, 1)
	go func() {
		_, err := l.dial(&order{errand: errand{id: n, au: au}}, l.number)
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
	got, err := w.net.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	c := &wire{Conn: got.(*testnet.Conn), link: l, au: au, orders: map[*order]bool{}}
	w.mu.Lock()
	defer w.mu.Unlock()
	l.wires = append(l.wires, c)
	return c, nil
}

// wireOf returns the wire whose connection is this link of the test network.
func (w *world) wireOf(network *testnet.Link) *wire {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range w.links {
		for _, c := range l.wires {
			if c.Link() == network {
				return c
			}
		}
	}
	return nil
}

type wireKey struct{}

// listen starts the upstream of one authority.
func (w *world) listen(au int) {
	s := &http.Server{
		Handler: http.HandlerFunc(w.upstream), Protocols: new(http.Protocols),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, wireKey{}, c.(*testnet.Conn).Link())
		},
	}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	w.servers = append(w.servers, s)
	go s.Serve(w.net.Listen(hostOf(au) + ":80"))
}

// upstream serves the real transports' requests, as try.serve does those of the simulated ones.
func (w *world) upstream(rw http.ResponseWriter, req *http.Request) {
	c := w.wireOf(req.Context().Value(wireKey{}).(*testnet.Link))
	id, _ := strconv.Atoi(req.Header.Get(idHeader))
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
	case reset, refused:
		abort()
	case mute:
		<-req.Context().Done()
		return
	}
	w.deliver(&try{order: o}, payload, false)
	switch sky {
	case lost:
		abort()
	case slow:
		w.pause(w.draw(200*time.Millisecond, 3*time.Second, "slow", id, served))
	}
	rw.Header()[idHeader] = req.Header[idHeader]
	chunks := 1
	switch o.answer {
	case noBody:
		return
	case stream:
		chunks = o.chunks
	}
	for n := range chunks {
		if sky == partial && n == chunks/2 {
			abort()
		}
		_, _ = io.WriteString(rw, chunkOf(id))
		if o.answer == stream {
			_ = http.NewResponseController(rw).Flush()
			w.pause(o.gap)
		}
	}
}

// mustNotBreak is called when a body of a real transport broke off.
func (w *world) mustNotBreak(o *order, err error) {
	own := errors.Is(err, errHalted) || w.now() >= o.leaves || o.harmed || w.plan.drain > 0
	w.must(own, "a body of r%d was cut: %v", o.id, err)
}

// hangUp ends the upstreams.
func (w *world) hangUp() {
	for _, s := range w.servers {
		_ = s.Close()
	}
}
