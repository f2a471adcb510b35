package integration

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A server is an upstream that keeps its own count of connections, of the
// addresses they come from, and of the bodies it was sent.
type server struct {
	http.Server
	overTLS bool         // serve with TLSConfig, h1 and h2
	open    atomic.Int64 // connections
	serving sync.WaitGroup
	holds   chan struct{} // event streams do not end before it is closed; nil: they end in time
	closers []io.Closer   // of what serves beside the http.Server
	ledger  *ledger

	mu      sync.Mutex
	conns   map[net.Conn]struct{}
	remotes map[string]int // requests by client address
	last    time.Time      // when the last request came
}

// newServer returns a server that answers GET with a short text and POST with the
// body it was sent. The report looks at its count of connections in the end. Where a
// respawntest.Network serves its Handler, the network counts: see report.connectionsTo.
func newServer(r *report) *server {
	s := &server{conns: map[net.Conn]struct{}{}, remotes: map[string]int{}, ledger: &ledger{times: map[string][]uint8{}}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", func(w http.ResponseWriter, req *http.Request) {
		s.note(req, "")
		fmt.Fprintln(w, "well")
	})
	mux.HandleFunc("POST /", func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		s.note(req, string(body))
		time.Sleep(2 * time.Millisecond) // it is done, and the client does not know yet
		_, _ = w.Write(body)
	})
	mux.HandleFunc("GET /last", func(w http.ResponseWriter, req *http.Request) {
		// The server closes the connection after this answer: h2 by a GOAWAY.
		w.Header().Set("Connection", "close")
	})
	mux.HandleFunc("GET /events", s.events)
	mux.HandleFunc("GET /upgrade", s.upgrade)
	mux.HandleFunc("POST /conversation", converse)
	s.Handler = mux
	s.ErrorLog = log.New(io.Discard, "", 0) // refused handshakes are part of the play
	s.ConnState = func(conn net.Conn, state http.ConnState) {
		s.mu.Lock()
		defer s.mu.Unlock()
		switch state {
		case http.StateNew:
			s.open.Add(1)
			s.conns[conn] = struct{}{}
		case http.StateClosed:
			s.open.Add(-1)
			delete(s.conns, conn)
		case http.StateHijacked:
			delete(s.conns, conn) // still open, but out of the server's hands
		}
	}
	r.counts = append(r.counts, s.open.Load)
	r.t.Cleanup(func() {
		for _, c := range append(s.closers, &s.Server) {
			assert.NoError(r.t, c.Close())
		}
		s.serving.Wait()
	})
	return s
}

// serve takes connections from l.
func (s *server) serve(t *testing.T, l net.Listener) {
	s.serving.Go(func() {
		var err error
		if s.overTLS { // net/http fills in TLSConfig in any case
			err = s.ServeTLS(l, "", "")
		} else {
			err = s.Serve(l)
		}
		if !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) && !errors.Is(err, io.EOF) {
			t.Errorf("the server ended: %v", err)
		}
	})
}

func (s *server) note(req *http.Request, body string) {
	s.mu.Lock()
	s.remotes[req.RemoteAddr]++
	s.last = time.Now()
	s.mu.Unlock()
	if body != "" {
		s.ledger.note(body)
	}
}

// A ledger counts how often each message has come. A server that takes over
// from another takes its ledger over, too.
type ledger struct {
	mu    sync.Mutex
	times map[string][]uint8 // by sender, who numbers its messages
}

func (l *ledger) note(message string) {
	sender, number, _ := strings.Cut(message, "#")
	n, err := strconv.Atoi(number)
	if err != nil {
		panic(fmt.Sprintf("a message without a number: %q", message))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.times[sender]) <= n {
		l.times[sender] = append(l.times[sender], 0)
	}
	l.times[sender][n]++
}

// messages returns how many have come.
func (l *ledger) messages() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, times := range l.times {
		for _, k := range times {
			n += min(1, int(k))
		}
	}
	return n
}

// twice returns the numbers of the sender's messages that came more than once.
func (l *ledger) twice(sender string) (again []int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for n, times := range l.times[sender] {
		if times > 1 {
			again = append(again, n)
		}
	}
	return again
}

// converse is what an upgraded connection is over h2 and h3: it sends every
// line back while the request is still being sent.
func converse(w http.ResponseWriter, req *http.Request) {
	out := http.NewResponseController(w)
	if out.Flush() != nil {
		return
	}
	lines := bufio.NewScanner(req.Body)
	for lines.Scan() {
		if _, err := fmt.Fprintln(w, lines.Text()); err != nil || out.Flush() != nil {
			return
		}
	}
}

// hangUp closes the server's end of all connections.
func (s *server) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.conns {
		conn.Close()
	}
}

// lastRequest returns when the last request came.
func (s *server) lastRequest() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// clients returns how many addresses requests have come from.
func (s *server) clients() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.remotes)
}

// Streams of both kinds say one thing every tick, so that a swap has many
// chances to cut them.
const (
	ticks = 60
	tick  = 50 * time.Millisecond
)

// events serves server-sent events for 3 s and then, if s.holds is set, waits until that is closed.
func (s *server) events(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	beat := time.NewTicker(tick)
	defer beat.Stop()
	for i := range ticks {
		fmt.Fprintf(w, "data: %d\n\n", i)
		if http.NewResponseController(w).Flush() != nil {
			return
		}
		select {
		case <-beat.C:
		case <-req.Context().Done():
			return
		}
	}
	if s.holds != nil {
		select {
		case <-s.holds:
		case <-req.Context().Done():
			return
		}
	}
	fmt.Fprint(w, "data: end\n\n")
}

// upgrade answers 101 and then sends every line back, until the client is
// done.
func (s *server) upgrade(w http.ResponseWriter, req *http.Request) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusUpgradeRequired)
		return
	}
	// A hijacked connection is out of the http.Server's hands, but not out of
	// the count.
	defer s.open.Add(-1)
	defer conn.Close()
	fmt.Fprint(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	if rw.Flush() != nil {
		return
	}
	lines := bufio.NewScanner(rw)
	for lines.Scan() {
		if _, err := fmt.Fprintln(conn, lines.Text()); err != nil {
			return
		}
	}
}

// serveTLS serves h1 and h2 over TLS on loopback, and returns the address.
func (s *server) serveTLS(t *testing.T, config *tls.Config) (addr string) {
	s.TLSConfig, s.overTLS = config, true
	l := listen(t)
	s.serve(t, l)
	return l.Addr().String()
}

// listen opens a listener on loopback.
func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return l
}

// An authority issues certificates for both ends.
type authority struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pool *x509.CertPool
	next int64
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, pool: x509.NewCertPool(), next: 1}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(a.next), Subject: pkix.Name{CommonName: "authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	a.key = key
	a.cert, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	a.pool.AddCert(a.cert)
	return a
}

// issue makes a certificate for 127.0.0.1 and api.test that either end can show.
func (a *authority) issue(name string) tls.Certificate {
	a.t.Helper()
	a.next++
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(a.t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(a.next), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		DNSNames:    []string{"api.test"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	require.NoError(a.t, err)
	leaf, err := x509.ParseCertificate(der)
	require.NoError(a.t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// server returns a configuration for the server's end, client one for the
// client's.
func (a *authority) server() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{a.issue("server")}}
}

func (a *authority) client() *tls.Config { return &tls.Config{RootCAs: a.pool} }
