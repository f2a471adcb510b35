package evidence

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/respawnhttp/respawn/internal/body"
)

// What fires, or is read, next in a fuzzed attempt.
const (
	asksOwn    = iota // GetConn for the host of the request
	asksOther         // for another
	gets              // GotConn
	resolves          // DNSStart
	connects          // ConnectStart
	shakes            // TLSHandshakeStart
	readsByte         // of the body
	readsEmpty        // a Read of the body that gets nothing
	hookKinds
)

// seen is what the hooks say, written down a second time: who waits for a connection,
// the outermost first.
type seen struct {
	own            bool // net/http's transport: the first that asks is the attempt
	places         bool // its pool may have no place
	http1          bool // and has nothing else
	queued         bool // the attempt waits for one
	waiting        bool // the attempt
	nested         int  // what was asked for others, and is not there yet
	connected      bool // the attempt
	shown, touched bool
	asked          int
}

func (s *seen) note(op byte) {
	switch op {
	case asksOwn, asksOther:
		if s.waiting && op == asksOwn && !s.http1 { // for the connection that it has waited for
			s.nested, s.queued = 0, false
			return
		}
		if s.waiting || op == asksOther && !s.own {
			s.nested++
			s.queued = false
			return
		}
		s.waiting, s.connected, s.queued = true, false, s.places
		s.asked++
	case gets:
		s.shown = true
		if s.nested > 0 {
			s.nested--
			return
		}
		s.waiting, s.connected, s.queued = false, true, false
	case resolves, connects, shakes:
		s.queued = s.queued && s.nested > 0
	case readsByte:
		s.touched = true
	}
}

// An ear is the Listener of a fuzzed attempt.
type ear struct {
	asked, sent atomic.Int64
	queued      atomic.Bool // as far as it was told
}

func (e *ear) Asks(queued bool) { e.asked.Add(1); e.queued.Store(queued) }
func (e *ear) Placed()          { e.queued.Store(false) }
func (e *ear) Sends()           { e.sent.Add(1); e.queued.Store(false) }

// fire fires a hook as net/http, or what a dialer asks under its context, does.
func fire(trace *httptrace.ClientTrace, sent *http.Request, op byte) {
	switch op {
	case asksOwn:
		trace.GetConn("a.test:80")
	case asksOther:
		trace.GetConn("token.test:443")
	case gets:
		trace.GotConn(httptrace.GotConnInfo{})
	case resolves:
		if trace.DNSStart != nil {
			trace.DNSStart(httptrace.DNSStartInfo{})
		}
	case connects:
		if trace.ConnectStart != nil {
			trace.ConnectStart("tcp", "192.0.2.1:80")
		}
	case shakes:
		if trace.TLSHandshakeStart != nil {
			trace.TLSHandshakeStart()
		}
	case readsByte:
		_, _ = sent.Body.Read(make([]byte, 1))
	case readsEmpty:
		_, _ = sent.Body.Read(nil)
	}
}

// Hooks in any order and nesting: what may have been sent is never taken for unsent, and
// a connection is the attempt's own only where nothing else waits for one.
func FuzzHooks(f *testing.F) {
	for _, seed := range []string{
		"", "\x00", "\x00\x02", "\x00\x01\x02", "\x00\x01\x02\x02", "\x01\x02\x00", "\x01\x02\x00\x02",
		"\x00\x02\x00", "\x00\x03\x04\x05\x02", "\x00\x01\x03\x02", "\x02", "\x06", "\x07", "\x00\x06\x02", "\x00\x00\x02\x00",
		"\x00\x03", "\x00\x04", "\x00\x05", "\x00\x01",
	} {
		for mode := range byte(16) {
			f.Add([]byte(seed), mode)
		}
	}
	transports := []http.RoundTripper{&http.Transport{}, rtFunc(nil), &http.Transport{MaxConnsPerHost: 1}, &http.Transport{DialContext: noDial}}
	errs := []error{
		errors.New("an error of a dialer's own"), refused(), &net.DNSError{Err: "server misbehaving"}, io.EOF,
		&net.OpError{Op: "read", Err: syscall.ECONNRESET}, tls.AlertError(40),
	}
	f.Fuzz(func(t *testing.T, ops []byte, mode byte) {
		transport := transports[mode%4]
		callersTrace, atOnce := mode&4 != 0, mode&8 != 0
		_, own := transport.(*http.Transport)
		model := seen{own: own}
		model.places, model.http1 = poolOf(transport).HasPlaces(), mode%4 == 3
		var heard ear
		var told atomic.Int64
		w := Watch{Listener: &heard}

		req := mustRequest(t.Context(), http.MethodPost, "http://a.test/", io.MultiReader(strings.NewReader(strings.Repeat("x", 64))))
		if callersTrace {
			req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { told.Add(1) }}))
		}
		lender := body.NewLender(req, body.Idempotent)
		sent := new(http.Request)
		_ = lender.LendUnder(w.Begin(req.Context(), req.URL, poolOf(transport), time.Now()), sent, time.Now())
		trace := httptrace.ContextClientTrace(sent.Context())

		ops = ops[:min(len(ops), 48)]
		gotConns := int64(0)
		var all sync.WaitGroup
		for _, op := range ops {
			op %= hookKinds
			if op == gets {
				gotConns++
			}
			if atOnce && op <= gets { // hooks fire concurrently, and late: what is absolute must hold all the same
				model.shown = model.shown || op == gets
				callersTrace = false
				all.Go(func() { fire(trace, sent, op) })
				continue
			}
			model.note(op)
			fire(trace, sent, op)
		}
		all.Wait()

		for _, err := range errs {
			if (model.shown || model.touched) && w.Unsent(sent, err) {
				t.Errorf("%T: a connection was shown: %t, a byte was read: %t, and it is taken for unsent", err, model.shown, model.touched)
			}
		}
		unsent := false
		w.IfUnsent(sent, func() { unsent = true })
		if sure := !model.shown && !model.touched; unsent != sure {
			t.Errorf("it may be called back as unsent: %t, want %t", unsent, sure)
		}
		if n := heard.sent.Load(); model.shown != (n == 1) || n > 1 {
			t.Errorf("%d connections were shown, and %d times it was told", gotConns, n)
		}
		if atOnce {
			return
		}
		if connected := w.Reached() == Connected; connected != model.connected {
			t.Errorf("had a connection of its own: %t, want %t", connected, model.connected)
		}
		if apart := w.Apart(); apart != model.waiting {
			t.Errorf("it looks for a connection: %t, want %t", apart, model.waiting)
		}
		if queued := w.Reached() == Queued; queued != model.queued || heard.queued.Load() != queued {
			t.Errorf("it waits for a place: %t, and it was told so: %t, want %t", queued, heard.queued.Load(), model.queued)
		}
		if n := heard.asked.Load(); n != int64(model.asked) {
			t.Errorf("it was told %d times that the attempt looks for a connection, want %d", n, model.asked)
		}
		if n := told.Load(); callersTrace && n != gotConns {
			t.Errorf("the caller's own hook fired %d times, want %d", n, gotConns)
		}
	})
}
