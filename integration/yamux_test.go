package integration

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/yamux"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A yamuxTransport dials streams of one yamux session. A clone of it would
// keep the session; only a factory that opens a new one can replace it.
type yamuxTransport struct {
	*http.Transport
	session *yamux.Session
}

func (t *yamuxTransport) Close() error { return t.session.Close() }

func dialYamux(ctx context.Context, addr string) (*yamuxTransport, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	session, err := yamux.Client(conn, yamuxConfig())
	if err != nil {
		conn.Close()
		return nil, err
	}
	dial := func(context.Context, string, string) (net.Conn, error) {
		s, err := session.OpenStream()
		if err != nil {
			return nil, err
		}
		return newStream(s), nil
	}
	return &yamuxTransport{&http.Transport{DialContext: dial}, session}, nil
}

// A yamuxStream ends with its session. After that, a stream of yamux v0.1.2 spins in Read until
// the session has told it of the end, and a thousand spinning streams keep the session from it.
type yamuxStream struct {
	*yamux.Stream
	closed chan struct{}
	once   sync.Once
}

func newStream(s *yamux.Stream) *yamuxStream {
	st := &yamuxStream{Stream: s, closed: make(chan struct{})}
	go func() {
		select {
		case <-s.Session().CloseChan():
			_ = s.SetReadDeadline(time.Unix(1, 0))
		case <-st.closed:
		}
	}()
	return st
}

func (s *yamuxStream) Read(p []byte) (int, error) {
	if s.Session().IsClosed() {
		return 0, io.EOF
	}
	n, err := s.Stream.Read(p)
	if err != nil && s.Session().IsClosed() {
		err = io.EOF
	}
	return n, err
}

func (s *yamuxStream) Close() error {
	s.once.Do(func() { close(s.closed) })
	return s.Stream.Close()
}

// yamuxStreams is a session as a listener.
type yamuxStreams struct{ *yamux.Session }

func (l yamuxStreams) Accept() (net.Conn, error) {
	s, err := l.AcceptStream()
	if err != nil {
		return nil, err
	}
	return newStream(s), nil
}

func yamuxConfig() *yamux.Config {
	config := yamux.DefaultConfig()
	config.LogOutput = io.Discard
	return config
}

// A yamuxServer serves HTTP on the streams of all sessions that come in.
type yamuxServer struct {
	*server
	mu       sync.Mutex
	sessions map[*yamux.Session]bool // whether it is going away
	idle     map[net.Conn]bool       // streams without a request
}

// newYamuxWorld is an upstream that can only be reached by yamux.
func newYamuxWorld(r *report) (*world, *yamuxServer) {
	s := &yamuxServer{server: newServer(r), sessions: map[*yamux.Session]bool{}, idle: map[net.Conn]bool{}}
	s.Handler = s.parting(s.Handler)
	count := s.ConnState
	s.ConnState = func(conn net.Conn, state http.ConnState) {
		count(conn, state)
		s.rests(conn, state == http.StateIdle)
	}
	s.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
		return context.WithValue(ctx, sessionKey{}, conn.(*yamuxStream).Session())
	}
	l := listen(r.t)
	var all sync.WaitGroup
	r.t.Cleanup(func() {
		assert.NoError(r.t, l.Close())
		s.mu.Lock()
		for session := range s.sessions { // that clients have left open
			session.Close()
		}
		s.mu.Unlock()
		all.Wait()
	})
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			session, err := yamux.Server(conn, yamuxConfig())
			if err != nil {
				r.t.Error(err)
				return
			}
			s.mu.Lock()
			s.sessions[session] = false
			s.mu.Unlock()
			all.Go(func() { _ = s.Serve(yamuxStreams{session}) }) // how it ends is up to the test
			all.Go(func() {
				<-session.CloseChan()
				session.Close()
				s.mu.Lock()
				delete(s.sessions, session)
				s.mu.Unlock()
			})
		}
	})
	return &world{
		r: r, server: s.server, url: "http://behind.the.session/",
		build: factory(func(ctx context.Context) (*yamuxTransport, error) {
			return dialYamux(ctx, l.Addr().String())
		}),
	}, s
}

type sessionKey struct{}

// parting lets the streams of a session that goes away end with their next
// answer.
func (s *yamuxServer) parting(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		s.mu.Lock()
		if s.sessions[req.Context().Value(sessionKey{}).(*yamux.Session)] {
			w.Header().Set("Connection", "close")
		}
		s.mu.Unlock()
		next.ServeHTTP(w, req)
	})
}

// rests notes whether a stream is idle. It closes an idle stream of a session that goes away.
func (s *yamuxServer) rests(conn net.Conn, idle bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.idle, conn)
	switch {
	case !idle:
	case s.sessions[conn.(*yamuxStream).Session()]:
		conn.Close()
	default:
		s.idle[conn] = true
	}
}

// goAway makes the sessions that are open now refuse new streams. Requests under way are served
// to their end and idle streams are closed, as by a server that is about to leave. If the server
// still answered on idle streams, such an answer would end the outage. The next failure would begin
// another outage, whose build has to wait for the backoff.
func (s *yamuxServer) goAway(t *testing.T, _ http.RoundTripper) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var leaving []*yamux.Session
	for session, going := range s.sessions {
		if !going && !session.IsClosed() {
			s.sessions[session] = true
			leaving = append(leaving, session)
		}
	}
	for idle := range s.idle {
		if s.sessions[idle.(*yamuxStream).Session()] {
			idle.Close()
		}
	}
	for _, session := range leaving { // last: no stream is idle once one is refused
		require.NoError(t, session.GoAway())
	}
}

// The session under the dialer is closed. net/http dials it for ever, and
// every dial fails.
func TestYamuxSessionClosed(t *testing.T) {
	r := begin(t, "yamux session closed")
	w, _ := newYamuxWorld(r)
	w.undergo(ordeal{fault: closed})
	r.healed()
}

// The server says GOAWAY: the session lives, what is on it is served, and every
// new stream is refused, for ever.
func TestYamuxGoAway(t *testing.T) {
	r := begin(t, "yamux GOAWAY")
	w, s := newYamuxWorld(r)
	w.undergo(ordeal{fault: s.goAway})
	r.healed()
}
