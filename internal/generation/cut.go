package generation

import (
	"context"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/respawnhttp/respawn/internal/build"
)

// ErrDrained is the error of requests and bodies that are cut at the drain limit.
var ErrDrained = build.NewKindError("drained", "respawn: cut off: the transport was retired, and WithDrainTimeout has passed since")

// A Holder owns an attempt in flight.
type Holder interface {
	// End lets go of the attempt's context, which ends. It may be called twice.
	End()
	// Untie lets go of the caller's context alone: the caller has its whole answer, and
	// the transport may go on with the attempt. It returns false, and lets go of nothing,
	// if the attempt cannot do without the caller's context.
	Untie() bool
	// Gone reports whether the caller has given up.
	Gone() bool
}

// A Bond is an attempt in flight that not only its body keeps track of, and that the
// drain limit can cut. It is counted out once, by whoever does so first. A nil Bond
// stands for an attempt that was counted out before.
type Bond struct {
	stripe  *Stripe
	holder  Holder
	limited bool // by WithDrainTimeout

	mu   sync.Mutex // guards the below
	stop func() bool
	out  bool
	cut  bool
	body *boundBody
	conn io.Closer // of an upgraded connection
}

// Bind returns the bond of an attempt that was counted in by s.
func (s *Stripe) Bind(h Holder) *Bond {
	b := &Bond{stripe: s, holder: h}
	if limit := s.gen.cut; limit != nil {
		b.limited = true
		b.mu.Lock()
		defer b.mu.Unlock()
		b.stop = context.AfterFunc(limit, b.sever)
	}
	return b
}

// Leave counts the attempt out, if it is not yet, and lets go of what it holds. It may
// be called twice.
func (b *Bond) Leave() {
	if b != nil {
		b.Out()
		b.holder.End()
	}
}

// Out counts the attempt out, and reports whether it was in.
func (b *Bond) Out() bool {
	if b == nil {
		return false
	}
	b.mu.Lock()
	was, stop := !b.out, b.stop
	b.out = true
	b.mu.Unlock()
	if !was {
		return false
	}
	if stop != nil {
		stop()
	}
	b.stripe.Leave()
	return true
}

// sever cuts the attempt, whatever its transport and its reader do.
func (b *Bond) sever() {
	b.mu.Lock()
	b.cut = true
	body, conn := b.body, b.conn
	b.mu.Unlock()
	b.holder.End() // first: the transport may end the attempt by itself, before its body is closed
	b.Out()
	closeSevered(body, conn)
}

// Severed reports whether the attempt was cut.
func (b *Bond) Severed() bool {
	if b == nil || !b.limited {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.cut
}

// Tells reports whether the caller is to be told of the cut: not if it has given up.
func (b *Bond) Tells() bool { return b.Severed() && !b.holder.Gone() }

// named returns the error that a reader of the body gets in place of err.
func (b *Bond) named(err error) error {
	if err == nil || err == io.EOF || !b.Tells() {
		return err
	}
	return ErrDrained
}

func (b *Bond) leave() { b.Leave() }

// letGo lets go of the caller's context, and of an attempt that cannot do without. What else is
// under way of the attempt goes on: its request's own body may be.
func (b *Bond) letGo() {
	if !b.holder.Untie() {
		b.holder.End()
	}
}

// Track is [Stripe.Track] for a bond.
func (b *Bond) Track(req *http.Request, resp *http.Response) *http.Response {
	if bodiless(req, resp) {
		if b.Out() {
			b.holdOn(resp)
		}
		return resp
	}
	if isUpgraded(req, resp) {
		b.attach(nil, resp.Body)
		resp.Body = upgraded(resp.Body, b)
		return resp
	}
	body := &boundBody{ReadCloser: resp.Body, bond: b}
	if b.limited {
		body.turn = make(chan struct{}, 1)
		b.attach(body, nil)
	}
	resp.Body = duplex(body, resp.Body, b)
	return resp
}

// holdOn keeps the contexts of an attempt that is out until Close, the caller's, too, for
// the stream that may be behind the body of resp.
func (b *Bond) holdOn(resp *http.Response) {
	if isEmpty(resp) {
		b.letGo()
		return
	}
	resp.Body = &hollowBody{resp.Body, b}
}

// A hollowBody is a body without content that has a stream behind it. The request's own body
// may be on its way yet when it is closed, and is not cut.
type hollowBody struct {
	io.ReadCloser
	bond *Bond
}

func (h *hollowBody) Read(p []byte) (int, error) {
	n, err := h.ReadCloser.Read(p)
	if err != nil {
		h.bond.holder.Untie()
	}
	return n, err
}

func (h *hollowBody) Close() error {
	defer h.bond.letGo()
	return h.ReadCloser.Close()
}

// attach tells the bond which connection to close when it is cut, which may have happened
// already.
func (b *Bond) attach(body *boundBody, conn io.Closer) {
	b.mu.Lock()
	b.body, b.conn = body, conn
	cut := b.cut
	b.mu.Unlock()
	if cut {
		closeSevered(body, conn)
	}
}

// closeSevered closes what is read by nobody any more. It is the transport's own:
// where that panics, nobody is left to tell.
func closeSevered(body *boundBody, conn io.Closer) {
	defer func() { _ = recover() }()
	switch {
	case conn != nil:
		_ = conn.Close() // nothing else would end its reads and writes
	case body != nil:
		body.shut()
	}
}

// A boundBody is the body of an attempt with a bond.
type boundBody struct {
	io.ReadCloser
	finished
	bond *Bond
	turn chan struct{} // holds one while somebody reads; nil if nothing can cut the body
}

func (b *boundBody) Read(p []byte) (int, error) {
	if b.turn == nil {
		return b.read(p)
	}
	b.turn <- struct{}{}
	defer func() { <-b.turn }()
	if b.bond.Tells() {
		return 0, ErrDrained // a body that does not heed its context would go on
	}
	return b.read(p)
}

func (b *boundBody) read(p []byte) (int, error) {
	if b.closed.Load() {
		return 0, io.EOF
	}
	returned := false
	defer func() {
		if !returned { // as countedBody
			b.bond.Leave()
		}
	}()
	n, err := b.ReadCloser.Read(p)
	returned = true
	switch err {
	case nil:
	case io.EOF:
		b.ends()
	default:
		err = b.bond.named(err) // before the bond lets go
		b.bond.Leave()
	}
	return n, err
}

// ends lets go of the caller's context at the body's end, as Held does.
func (b *boundBody) ends() {
	b.bond.Out()
	if !b.bond.holder.Untie() {
		defer b.bond.holder.End()
		b.finish(b.ReadCloser)
	}
}

func (b *boundBody) Close() error {
	if b.closed.Swap(false) {
		return b.fault
	}
	defer b.bond.Leave()
	return b.ReadCloser.Close()
}

// severedRead is how long a Read has to return of itself when its context has ended.
const severedRead = time.Second

// shut closes the body once nobody reads it, since not every body bears a Close during a
// Read. After severedRead it closes the body all the same: nothing else ends a Read that
// ignores its context.
func (b *boundBody) shut() {
	limit := time.NewTimer(severedRead)
	defer limit.Stop()
	select {
	case b.turn <- struct{}{}:
		defer func() { <-b.turn }()
	case <-limit.C:
	}
	_ = b.ReadCloser.Close()
}
