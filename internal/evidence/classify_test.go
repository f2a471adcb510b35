package evidence

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"

	"github.com/respawnhttp/respawn/internal/body"
)

// A trouble is one row of what can go wrong. Its error comes from the real
// net/http, crypto/tls and net wherever loopback can make it.
type trouble struct {
	name string
	make func(*testing.T) (http.RoundTripper, *http.Request)

	verdict Verdict  // of a watched attempt
	blind   *Verdict // of an unwatched one, where that is less precise
	trigger string
	dialers string // watched, since the error is a dialer's own
	unsent  bool   // watched: proves that nothing was sent
	// Unwatched, only the error's type can prove it.
	unsentBlind bool
	says        text
	virtual     bool // in virtual time
}

func verdict(v Verdict) *Verdict { return &v }

var troubles = []trouble{
	// Dialing: against the transport, and nothing was sent.
	{name: "connection refused", make: func(t *testing.T) (http.RoundTripper, *http.Request) {
		return &http.Transport{}, request(t, "http://"+refusingAddr(t))
	}, verdict: Failure, trigger: TriggerRefused, unsent: true, unsentBlind: true},
	{name: "missing unix socket", make: func(t *testing.T) (http.RoundTripper, *http.Request) {
		return dialing(func(ctx context.Context) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", t.TempDir()+"/none")
		}), request(t, "http://a.test")
	}, verdict: Failure, trigger: TriggerDialError, unsent: true, unsentBlind: true},
	{name: "net.Dialer.Timeout", make: func(t *testing.T) (http.RoundTripper, *http.Request) {
		return &http.Transport{DialContext: (&net.Dialer{Timeout: 1}).DialContext}, request(t, "http://"+refusingAddr(t))
	}, verdict: Failure, trigger: TriggerDialTimeout, unsent: true, unsentBlind: true},
	{name: "net.Dialer under a context of the dialer's own", make: func(t *testing.T) (http.RoundTripper, *http.Request) {
		addr := refusingAddr(t)
		return dialing(func(ctx context.Context) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, 1) // the caller has all the time in the world
			defer cancel()
			<-ctx.Done()
			return new(net.Dialer).DialContext(ctx, "tcp", addr)
		}), request(t, "http://a.test")
	}, verdict: Failure, trigger: TriggerDialTimeout, unsent: true, unsentBlind: true},
	{name: "custom dialer: bare deadline of its own context", make: func(t *testing.T) (http.RoundTripper, *http.Request) {
		return dialing(func(ctx context.Context) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, 1)
			defer cancel()
			<-ctx.Done()
			return nil, ctx.Err()
		}), request(t, "http://a.test")
	}, verdict: Failure, blind: verdict(Stall), trigger: TriggerOther, unsent: true, dialers: TriggerDialTimeout},
	{name: "custom dialer: a handshake's deadline", make: func(t *testing.T) (http.RoundTripper, *http.Request) {
		return dialing(func(context.Context) (net.Conn, error) {
			return nil, &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}
		}), request(t, "http://a.test")
	}, verdict: Failure, blind: verdict(Stall), trigger: TriggerOther, unsent: true, dialers: TriggerDialTimeout},
	{name: "custom dialer: io.EOF", make: func(t *testing.T) (http.RoundTripper, *http.Request) {
		return dialing(func(context.Context) (net.Conn, error) { return nil, io.EOF }), request(t, "http://a.test")
	}, verdict: Failure, trigger: TriggerClosed, unsent: true},
	{name: "custom dialer: an error of its own", make: func(t *testing.T) (http.RoundTripper, *http.Request) {
		return dialing(func(context.Context) (net.Conn, error) { return nil, errors.New("session shutdown") }), request(t, "http://a.test")
	}, verdict: Failure, trigger: TriggerOther, unsent: true, dialers: TriggerDialError},
	{name: "custom dialer: netstack's connect without errno", make: func(t *testing.T) (http.RoundTripper, *http.Request) {
		return dialing(func(context.Context) (net.Conn, error) {
			return nil, &net.OpError{Op: "connect", Net: "tcp", Err: errors.New("no route to host")}
		}), request(t, "http://a.test")
	}, verdict: Failure, trigger: TriggerOther, unsent: true, dialers: TriggerDialError},
	{name: "proxy refuses", make: func(t *testing.T) (http.RoundTripper, *http.Request) {
		return &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: refusingAddr(t)})}, request(t, "http://a.test")
	}, verdict: Failure, trigger: TriggerRefused, unsent: true, unsentBlind: true},
	{name: "local address is gone (bind)", make: func(t *testing.T) (http.RoundTripper, *http.Request) {
		gone := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)} // TEST-NET-1: nobody has it
		return &http.Transport{DialContext: (&net.Dialer{LocalAddr: gone}).DialContext}, request(t, "http://"+refusingAddr(t))
	}, verdict: Failure, trigger: TriggerDialError, unsent: true, unsentBlind: true},

	// Names.
	{name: "resolver is broken", make: func(t *testing.T) (http.RoundTripper, *http.Request) {
		return resolving(2 /* SERVFAIL */), request(t, "http://nowhere.test.")
	}, verdict: Failure, trigger: TriggerName, unsent: true, unsentBlind: true},
	{name: "no such host", make: func(t *testing.T) (http.RoundTripper, *http.Request) {
		return resolving(3 /* NXDOMAIN */), request(t, "http://nowhere.test.")
	}, verdict: Neutral, trigger: TriggerName, unsent: true, unsentBlind: true},

	// TLS.
	{name: "TLS handshake timeout", make: func(t *testing.T) (http.RoundTripper, *http.Request) {
		addr := listen(t, func(net.Conn) {})
		return &http.Transport{TLSHandshakeTimeout: 10 * time.Millisecond}, request(t, "https://"+addr)
	}, verdict: Failure, trigger: TriggerTLS, unsent: true, unsentBlind: true, says: textHandshakeTimeout},
	{name: "certificate of an unknown authority", make: func(t *testing.T) (http.RoundTripper, *http.Request) {
		srv, _ := h2.serve(t, http.NotFoundHandler())
		return &http.Transport{}, request(t, srv.URL)
	}, verdict: Failure, trigger: TriggerTLS, unsent: true},
	{name: "certificate for another host", make: func(t *testing.T) (http.RoundTripper, *http.Request) {
		srv, transport := h2.serve(t, http.NotFoundHandler())
		tr := transport()
		tr.TLSClientConfig.ServerName = "other.test"
		return tr, request(t, srv.URL)
	}, verdict: Failure, trigger: TriggerTLS, unsent: true},
	{name: "a server without TLS", make: func(t *testing.T) (http.RoundTripper, *http.Request) {
		srv, _ := h1.serve(t, http.NotFoundHandler())
		return &http.Transport{}, request(t, strings.Replace(srv.URL, "http", "https", 1))
	}, verdict: Failure, trigger: TriggerTLS, unsent: true},
	// Over TLS 1.3 the server's alert arrives when the client's handshake is
	// done, after GotConn.
	{name: "client certificate required", make: func(t *testing.T) (http.RoundTripper, *http.Request) {
		srv := httptest.NewUnstartedServer(nil)
		srv.StartTLS()
		t.Cleanup(srv.Close)
		config := &tls.Config{Certificates: srv.TLS.Certificates, ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS13}
		addr := listen(t, func(c net.Conn) {
			_ = tls.Server(c, config).Handshake() // and keep it open: a reset would overtake the alert
		})
		roots := x509.NewCertPool()
		roots.AddCert(srv.Certificate())
		return &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "example.com"}}, request(t, "https://"+addr)
	}, verdict: Failure, trigger: TriggerTLS},

	// A connection that broke: against the transport, but it may have been sent.
	{name: "reset by the server", make: func(t *testing.T) (http.RoundTripper, *http.Request) {
		addr := listen(t, func(c net.Conn) {
			_, _ = http.ReadRequest(bufio.NewReader(c))
			_ = c.(*net.TCPConn).SetLinger(0)
			c.Close()
		})
		return &http.Transport{}, request(t, "http://"+addr)
	}, verdict: Failure, trigger: TriggerReset},
	{name: "EOF before the headers", make: func(t *testing.T) (http.RoundTripper, *http.Request) {
		addr := listen(t, func(c net.Conn) {
			_, _ = http.ReadRequest(bufio.NewReader(c))
			c.Close()
		})
		return &http.Transport{}, request(t, "http://"+addr)
	}, verdict: Failure, trigger: TriggerClosed},
	{name: "EOF within the headers", make: func(t *testing.T) (http.RoundTripper, *http.Request) {
		addr := listen(t, func(c net.Conn) {
			_, _ = http.ReadRequest(bufio.NewReader(c))
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nX-Half: 1\r\n")
			c.Close()
		})
		return &http.Transport{}, request(t, "http://"+addr)
	}, verdict: Failure, trigger: TriggerClosed},
	{name: "connection closed under the request", make: func(t *testing.T) (http.RoundTripper, *http.Request) {
		return constructed(&net.OpError{Op: "write", Net: "tcp", Err: net.ErrClosed}, "GetConn", "GotConn"), request(t, "http://a.test")
	}, verdict: Failure, trigger: TriggerClosed},
	{name: "broken pipe", make: func(t *testing.T) (http.RoundTripper, *http.Request) {
		return constructed(&net.OpError{Op: "write", Net: "tcp", Err: os.NewSyscallError("write", syscall.EPIPE)}, "GetConn", "GotConn"), request(t, "http://a.test")
	}, verdict: Failure, trigger: TriggerReset},
	{name: "keep-alive gave up (ETIMEDOUT on read)", make: func(t *testing.T) (http.RoundTripper, *http.Request) {
		return constructed(&net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.ETIMEDOUT)}, "GetConn", "GotConn"), request(t, "http://a.test")
	}, verdict: Failure, trigger: TriggerClosed},

	// The server's word on this request.
	{name: "GOAWAY", make: func(t *testing.T) (http.RoundTripper, *http.Request) {
		addr := listen(t, func(c net.Conn) {
			f := http2Server(c)
			for {
				frame, err := f.ReadFrame()
				if err != nil {
					return
				}
				if h, ok := frame.(*http2.HeadersFrame); ok {
					_ = f.WriteGoAway(h.StreamID, http2.ErrCodeEnhanceYourCalm, nil)
					c.(*net.TCPConn).CloseWrite()
				}
			}
		})
		return unencryptedHTTP2(), request(t, "http://"+addr)
	}, verdict: Neutral, trigger: TriggerOther, says: textClosing},
	{name: "GOAWAY, the stream above its last", make: func(t *testing.T) (http.RoundTripper, *http.Request) {
		addr := listen(t, func(c net.Conn) {
			f := http2Server(c)
			for {
				frame, err := f.ReadFrame()
				if err != nil {
					return
				}
				if _, ok := frame.(*http2.HeadersFrame); ok {
					_ = f.WriteGoAway(0, http2.ErrCodeNo, nil)
				}
			}
		})
		// An http.Transport would send it again by itself.
		conn, err := unencryptedHTTP2().NewClientConn(t.Context(), "http", addr)
		require.NoError(t, err)
		t.Cleanup(func() { conn.Close() })
		return conn, request(t, "http://"+addr)
	}, verdict: Failure, trigger: TriggerOther, unsent: true, unsentBlind: true, says: textGoAway},
	{name: "GOAWAY with an error, the first stream above its last", make: func(t *testing.T) (http.RoundTripper, *http.Request) {
		addr := listen(t, func(c net.Conn) {
			f := http2Server(c)
			for {
				frame, err := f.ReadFrame()
				if err != nil {
					return
				}
				if _, ok := frame.(*http2.HeadersFrame); ok {
					_ = f.WriteGoAway(0, http2.ErrCodeEnhanceYourCalm, nil)
				}
			}
		})
		return unencryptedHTTP2(), request(t, "http://"+addr)
	}, verdict: Failure, trigger: TriggerOther, unsent: true, unsentBlind: true, says: textGoAway},
	{name: "HTTP/2 stream error", make: func(t *testing.T) (http.RoundTripper, *http.Request) {
		srv, transport := h2.serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
		return transport(), request(t, srv.URL)
	}, verdict: Failure, trigger: TriggerReset, says: textStream},
	{name: "malformed response", make: func(t *testing.T) (http.RoundTripper, *http.Request) {
		addr := listen(t, func(c net.Conn) {
			_, _ = http.ReadRequest(bufio.NewReader(c))
			_, _ = io.WriteString(c, "nonsense\r\n\r\n")
		})
		return &http.Transport{}, request(t, "http://"+addr)
	}, verdict: Neutral, trigger: TriggerOther, says: textResponse},

	// The request's own fault.
	{name: "bad scheme", make: func(t *testing.T) (http.RoundTripper, *http.Request) {
		return &http.Transport{}, request(t, "gopher://a.test")
	}, verdict: Neutral, trigger: TriggerOther, says: textRequest},
	{name: "a port that cannot be", make: func(t *testing.T) (http.RoundTripper, *http.Request) {
		return &http.Transport{}, request(t, "http://127.0.0.1:99999")
	}, verdict: Neutral, trigger: TriggerDialError, unsent: true, unsentBlind: true},
	{name: "a dialer's own port that cannot be", make: func(t *testing.T) (http.RoundTripper, *http.Request) {
		return dialing(func(ctx context.Context) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", "127.0.0.1:99999")
		}), request(t, "http://127.0.0.1:8080")
	}, verdict: Failure, trigger: TriggerDialError, unsent: true, unsentBlind: true},
	{name: "a local address of another family", make: func(t *testing.T) (http.RoundTripper, *http.Request) {
		return &http.Transport{DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv6loopback}}).DialContext}, request(t, "http://127.0.0.1:8080")
	}, verdict: Failure, trigger: TriggerDialError, unsent: true, unsentBlind: true},
	{name: "bad header", make: func(t *testing.T) (http.RoundTripper, *http.Request) {
		req := request(t, "http://a.test")
		req.Header["bad header"] = []string{"1"}
		return &http.Transport{}, req
	}, verdict: Neutral, trigger: TriggerOther, says: textRequest},
	{name: "the caller's own reader failed", make: func(t *testing.T) (http.RoundTripper, *http.Request) {
		srv, transport := h1.serve(t, http.HandlerFunc(hang))
		req := request(t, srv.URL)
		req.Method = http.MethodPost
		req.Body = io.NopCloser(failingReader{syscall.ECONNRESET}) // as a proxied upload that broke
		shield := body.NewLender(req, body.Idempotent)
		req, _ = shield.Lend()
		return transport(), req
	}, verdict: Neutral, trigger: TriggerReset},

	// This machine is out of something.
	{name: "EMFILE", make: exhausted("socket", syscall.EMFILE), verdict: Neutral, trigger: TriggerDialError, unsent: true, unsentBlind: true},
	{name: "ENFILE", make: exhausted("socket", syscall.ENFILE), verdict: Neutral, trigger: TriggerDialError, unsent: true, unsentBlind: true},
	{name: "out of ports (connect)", make: exhausted("connect", syscall.EADDRNOTAVAIL), verdict: Neutral, trigger: TriggerDialError, unsent: true, unsentBlind: true},
	{name: "the resolver is out of files", make: func(t *testing.T) (http.RoundTripper, *http.Request) {
		return dialing(func(context.Context) (net.Conn, error) {
			text := os.NewSyscallError("socket", syscall.EMFILE).Error() // it keeps no more of it
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "dial udp 192.0.2.53:53: " + text, Name: "a.test"}}
		}), request(t, "http://a.test")
	}, verdict: Neutral, trigger: TriggerName, unsent: true, unsentBlind: true},

	// Nobody answered in time.
	{name: "ResponseHeaderTimeout h1", make: func(t *testing.T) (http.RoundTripper, *http.Request) {
		srv, transport := h1.serve(t, http.HandlerFunc(hang))
		tr := transport()
		tr.ResponseHeaderTimeout = 10 * time.Millisecond
		return tr, request(t, srv.URL)
	}, verdict: Stall, trigger: TriggerOther, says: textHeaderTimeout},
	{name: "ResponseHeaderTimeout h2", make: func(t *testing.T) (http.RoundTripper, *http.Request) {
		srv, transport := h2.serve(t, http.HandlerFunc(hang))
		tr := transport()
		tr.ResponseHeaderTimeout = 10 * time.Millisecond
		return tr, request(t, srv.URL)
	}, verdict: Stall, trigger: TriggerOther, says: textHeaderTimeout},
	{name: "the caller's deadline", virtual: true, make: func(t *testing.T) (http.RoundTripper, *http.Request) {
		return dialing(answering("")), expiring(t)
	}, verdict: Stall, trigger: TriggerOther},
	{name: "the caller's deadline, within a dial", virtual: true, make: func(t *testing.T) (http.RoundTripper, *http.Request) {
		return dialing(func(ctx context.Context) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }), expiring(t)
	}, verdict: Stall, trigger: TriggerOther, unsent: true, dialers: TriggerDialTimeout},
	// The clock is past the deadline and the context's timer has not fired: a
	// custom dialer with a deadline of its own saw that in 341 of 600 tries.
	{name: "the caller's deadline, told by its dialer before its context", make: func(t *testing.T) (http.RoundTripper, *http.Request) {
		return dialing(func(context.Context) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.ErrDeadlineExceeded}
		}), request(t, "http://a.test").WithContext(lateContext{t.Context()})
	}, verdict: Stall, trigger: TriggerDialTimeout, unsent: true, unsentBlind: true},
	{name: "the caller's deadline after the first byte", virtual: true, make: func(t *testing.T) (http.RoundTripper, *http.Request) {
		return dialing(answering("HTTP/1.1 200 OK\r\nX-Half: 1\r\n")), expiring(t)
	}, verdict: Stall, trigger: TriggerOther},

	// The caller gave up.
	{name: "canceled", make: givingUp(h1, func(cancel context.CancelCauseFunc) { cancel(nil) }), verdict: Neutral, trigger: TriggerOther},
	{name: "canceled h2", make: givingUp(h2, func(cancel context.CancelCauseFunc) { cancel(nil) }), verdict: Neutral, trigger: TriggerOther},
	// The cause surfaces as the error itself, whatever it looks like.
	{name: "canceled with a cause", make: givingUp(h1, func(cancel context.CancelCauseFunc) { cancel(syscall.ECONNREFUSED) }),
		verdict: Neutral, trigger: TriggerRefused},
	{name: "Request.Cancel", make: func(t *testing.T) (http.RoundTripper, *http.Request) {
		gone := make(chan struct{})
		srv, transport := h1.serve(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			close(gone)
			hang(w, req)
		}))
		req := request(t, srv.URL)
		setCancel(req, gone)
		return transport(), req
	}, verdict: Neutral, trigger: TriggerOther},

	// RoundTrippers that are not net/http's: an SDK's dead session and a
	// request it refuses look the same, and a false alarm is cheap.
	{name: "foreign error", make: func(t *testing.T) (http.RoundTripper, *http.Request) {
		return constructed(errors.New("session is closed")), request(t, "http://a.test")
	}, verdict: Failure, trigger: TriggerOther},
	{name: "foreign timeout while the caller has time", make: func(t *testing.T) (http.RoundTripper, *http.Request) {
		return constructed(context.DeadlineExceeded, "GetConn", "GotConn"), request(t, "http://a.test")
	}, verdict: Stall, trigger: TriggerOther},
	{name: "timeout of a connection", make: func(t *testing.T) (http.RoundTripper, *http.Request) {
		return constructed(&net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, "GetConn", "GotConn"), request(t, "http://a.test")
	}, verdict: Stall, trigger: TriggerOther},
}

func dialing(dial func(context.Context) (net.Conn, error)) *http.Transport {
	return &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) }}
}

// constructed fails with err after firing the hooks.
func constructed(err error, hooks ...string) http.RoundTripper {
	return rtFunc(func(req *http.Request) (*http.Response, error) {
		tell(req, hooks...)
		return nil, err
	})
}

func exhausted(call string, errno syscall.Errno) func(t *testing.T) (http.RoundTripper, *http.Request) {
	return func(t *testing.T) (http.RoundTripper, *http.Request) {
		return dialing(func(context.Context) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError(call, errno)}
		}), request(t, "http://a.test")
	}
}

// resolving dials with a resolver whose server answers everything with rcode.
func resolving(rcode byte) *http.Transport {
	resolver := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			defer server.Close()
			for {
				var size [2]byte
				if _, err := io.ReadFull(server, size[:]); err != nil {
					return
				}
				msg := make([]byte, binary.BigEndian.Uint16(size[:]))
				if _, err := io.ReadFull(server, msg); err != nil {
					return
				}
				msg[2] |= 0x80 // a response
				msg[3] = msg[3]&0xf0 | 0x80 | rcode
				_, _ = server.Write(append(size[:], msg...))
			}
		}()
		return client, nil
	}}
	return &http.Transport{DialContext: (&net.Dialer{Resolver: resolver}).DialContext}
}

// listen serves raw connections until the test ends.
func listen(t *testing.T, serve func(net.Conn)) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { c.Close() })
			go serve(c)
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

// http2Server starts the server's side of an HTTP/2 connection.
func http2Server(c net.Conn) *http2.Framer {
	_, _ = io.ReadFull(c, make([]byte, len(http2.ClientPreface)))
	f := http2.NewFramer(c, c)
	_ = f.WriteSettings()
	return f
}

// answerOverHTTP2 answers every request and ping until it is dark, and swallows
// everything from then on. It writes beside its reading: a pipe has no buffer.
func answerOverHTTP2(c net.Conn, dark *atomic.Bool) {
	_, _ = io.ReadFull(c, make([]byte, len(http2.ClientPreface)))
	f := http2.NewFramer(c, c)
	writes := make(chan func() error, 16)
	defer close(writes)
	go func() {
		for write := range writes {
			_ = write()
		}
	}()
	writes <- func() error { return f.WriteSettings() }
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return
		}
		if dark.Load() {
			continue
		}
		switch frame := frame.(type) {
		case *http2.HeadersFrame:
			id := frame.StreamID
			writes <- func() error {
				ok := []byte{0x88} // :status 200
				return f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: ok, EndHeaders: true, EndStream: true})
			}
		case *http2.PingFrame:
			data := frame.Data
			writes <- func() error { return f.WritePing(true, data) }
		}
	}
}

func unencryptedHTTP2() *http.Transport {
	tr := &http.Transport{Protocols: new(http.Protocols)}
	tr.Protocols.SetUnencryptedHTTP2(true)
	return tr
}

// expiring is a request whose deadline passes while it is under way. It wants virtual
// time: else a busy machine may begin when the deadline has passed.
func expiring(t *testing.T) *http.Request {
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	t.Cleanup(cancel)
	return request(t, "http://a.test").WithContext(ctx)
}

// answering is a dialer whose connections answer a request with that, and then are
// silent.
func answering(with string) func(context.Context) (net.Conn, error) {
	return func(context.Context) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go func() {
			defer theirs.Close()
			r := bufio.NewReader(theirs)
			_, _ = http.ReadRequest(r)
			_, _ = io.WriteString(theirs, with)
			_, _ = r.ReadByte() // until it is closed
		}()
		return ours, nil
	}
}

// lateContext is past its deadline and does not know it yet.
type lateContext struct{ context.Context }

func (lateContext) Deadline() (time.Time, bool) { return time.Now().Add(-time.Nanosecond), true }

func givingUp(proto protocol, give func(context.CancelCauseFunc)) func(t *testing.T) (http.RoundTripper, *http.Request) {
	return func(t *testing.T) (http.RoundTripper, *http.Request) {
		ctx, cancel := context.WithCancelCause(t.Context())
		srv, transport := proto.serve(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			give(cancel)
			hang(w, req)
		}))
		return transport(), request(t, srv.URL).WithContext(ctx)
	}
}

// judge makes one attempt and judges its error.
func judge(t *testing.T, tr http.RoundTripper, req *http.Request, watched bool) (Verdict, *attempt) {
	t.Helper()
	a := &attempt{sent: req}
	if watched {
		req = req.WithContext(a.Begin(req.Context(), req.URL, poolOf(tr), time.Now()))
	}
	resp, err := tr.RoundTrip(req)
	if err == nil {
		resp.Body.Close()
	}
	require.Error(t, err)
	if c, ok := tr.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
	a.err = err
	return Classify(req, err), a
}

// An attempt is a Watch and how it ended.
type attempt struct {
	Watch
	sent *http.Request
	err  error
}

func (a *attempt) unsent() bool { return a.Unsent(a.sent, a.err) }

// TestClassify goes through the table of FACTS, "Telling errors apart".
func TestClassify(t *testing.T) {
	for _, tr := range troubles {
		for _, watched := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/watched=%v", tr.name, watched), func(t *testing.T) {
				if tr.virtual {
					synctest.Test(t, func(t *testing.T) { tr.test(t, watched) })
					return
				}
				noLeaks(t)
				tr.test(t, watched)
			})
		}
	}
}

func (tr trouble) test(t *testing.T, watched bool) {
	base, req := tr.make(t)
	got, a := judge(t, base, req, watched)
	want, unsent := tr.verdict, tr.unsent
	if !watched {
		unsent = tr.unsentBlind
		if tr.blind != nil {
			want = *tr.blind
		}
	}
	assert.Equal(t, want, got, "%v of %#v", got, a.err)
	assert.Equal(t, tr.trigger, TriggerOf(a.err), "%#v", a.err)
	trigger := tr.trigger
	if watched && tr.dialers != "" {
		trigger = tr.dialers
	}
	assert.Equal(t, trigger, a.Trigger(a.err), "%#v", a.err)
	assert.Equal(t, unsent, a.unsent(), "unsent: %#v", a.err)
	assert.Equal(t, tr.says, saysText(a.err), "text: %v", a.err)
}

// CONNECT has a timeout of a minute in net/http (T:1890), which comes back as
// a bare context.DeadlineExceeded while the caller's context lives.
func TestClassifyConnectTimeout(t *testing.T) {
	for _, watched := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			tr := dialing(func(context.Context) (net.Conn, error) {
				client, proxy := net.Pipe()
				go func() { _, _ = io.Copy(io.Discard, proxy); proxy.Close() }()
				return client, nil
			})
			tr.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: "proxy.test"})
			began := time.Now()
			got, a := judge(t, tr, request(t, "https://a.test"), watched)
			require.True(t, a.err == context.DeadlineExceeded, "%#v", a.err)
			require.Equal(t, time.Minute, time.Since(began))
			if watched {
				assert.Equal(t, Failure, got)
				assert.True(t, a.unsent())
			} else {
				assert.Equal(t, Stall, got, "who looks closer learns that it was the dial")
				assert.True(t, Unseen(&a.Watch, a.err))
				assert.False(t, a.unsent())
			}
		})
	}
}

// A black-holed HTTP/2 connection that net/http's pings find: known by its
// text only, and not sent again unless it is idempotent.
func TestClassifyConnectionLost(t *testing.T) {
	for _, watched := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			client, server := net.Pipe()
			defer server.Close()
			var dark atomic.Bool
			go answerOverHTTP2(server, &dark)
			tr := unencryptedHTTP2()
			tr.DialContext = func(context.Context, string, string) (net.Conn, error) { return client, nil }
			tr.HTTP2 = &http.HTTP2Config{SendPingTimeout: time.Second, PingTimeout: time.Second}
			resp, err := tr.RoundTrip(request(t, "http://a.test/"))
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			synctest.Wait() // net/http pools the connection beside its first request: until then a second one dials
			dark.Store(true)
			got, a := judge(t, tr, request(t, "http://a.test/"), watched)
			assert.Equal(t, Failure, got, "%v", a.err)
			assert.Equal(t, textConnectionLost, saysText(a.err), "%v", a.err)
			assert.Equal(t, TriggerClosed, TriggerOf(a.err))
			assert.False(t, a.unsent())
		})
	}
}

// The texts are found inside wrappers, and not in the middle of other texts.
func TestSaysText(t *testing.T) {
	lost := errors.New("http2: client connection lost")
	assert.Equal(t, textConnectionLost, saysText(fmt.Errorf("via proxy: %w", lost)))
	assert.Equal(t, textNone, saysText(errors.New("the log says http2: client connection lost")))
	assert.Equal(t, textNone, saysText(nil))
	assert.Equal(t, textNone, saysText(io.EOF))
}

func TestClassifyNil(t *testing.T) {
	assert.Equal(t, Neutral, Classify(request(t, "http://a.test"), nil))
}

// An ownWord is an error with a word of its own for what it is.
type ownWord struct{ word, text string }

func (e *ownWord) Error() string     { return e.text }
func (e *ownWord) ErrorType() string { return e.word }

// ownError is an error type that no package knows.
type ownError struct{ code int }

func (e *ownError) Error() string { return fmt.Sprint("own error ", e.code) }

// The kinds of errors are a closed set: no text of any error gets out, which could
// hold credentials.
func TestErrorsKeepTheirSecrets(t *testing.T) {
	const secret = "hunter2"
	closed := []string{
		TriggerRefused, TriggerReset, TriggerClosed, TriggerDialTimeout, TriggerDialError, TriggerName, TriggerTLS,
		TriggerStall, TriggerEnded, TriggerOther,
	}
	text := errors.New(secret)
	for _, err := range []error{
		text,
		fmt.Errorf("wrapped %s: %w", secret, text),
		errors.Join(text, text),
		&url.Error{Op: "Get", URL: "https://user:" + secret + "@a.test", Err: text},
		&net.OpError{Op: "dial", Net: secret, Err: text},
		&net.OpError{Op: "remote error", Err: text},
		&net.OpError{Op: "dial", Err: &net.DNSError{Err: secret, Name: secret}},
		&net.DNSError{Err: secret, Name: secret, Server: secret, IsNotFound: true},
		&net.AddrError{Err: secret, Addr: secret},
		&os.PathError{Op: "open", Path: secret, Err: syscall.ENOENT},
		&tls.CertificateVerificationError{Err: text},
		x509.HostnameError{Certificate: &x509.Certificate{}, Host: secret},
		tls.AlertError(42),
		tls.RecordHeaderError{Msg: secret},
		&ownWord{"factory_timeout", secret},
		fmt.Errorf("%s: %w", secret, &ownWord{"factory_timeout", secret}),
		syscall.ECONNREFUSED, syscall.ECONNABORTED, io.EOF, context.Canceled, context.DeadlineExceeded,
		&ownError{1},
	} {
		assert.Contains(t, closed, TriggerOf(err), "%T", err)
	}
	assert.Equal(t, TriggerOther, TriggerOf(&ownWord{"factory_timeout", secret}), "what an error calls itself is text, too")
}

// An endedConn was closed by its peer, and can still be written to.
type endedConn struct{ net.Conn }

func (endedConn) Read([]byte) (int, error)    { return 0, io.EOF }
func (endedConn) Write(p []byte) (int, error) { return len(p), nil }

// The first stream of an HTTP/2 connection that was closed before it could
// begin, as by a TLS 1.3 alert: nothing was sent. It is a race in net/http, so
// it may take some tries.
func TestClassifyNotEstablished(t *testing.T) {
	noLeaks(t)
	for range 2000 {
		base := &http.Transport{Protocols: new(http.Protocols)}
		base.Protocols.SetUnencryptedHTTP2(true)
		base.DialContext = func(context.Context, string, string) (net.Conn, error) {
			client, _ := net.Pipe()
			return endedConn{client}, nil
		}
		req := mustRequest(t.Context(), http.MethodPost, "http://a.test/", strings.NewReader("once"))
		verdict, a := judge(t, base, req, true)
		if saysText(a.err) != textNotEstablished {
			continue
		}
		assert.Equal(t, Failure, verdict)
		assert.True(t, a.unsent(), "%v", a.err)
		assert.Equal(t, TriggerClosed, TriggerOf(a.err))
		return
	}
	t.Error("net/http says it in other words now")
}
