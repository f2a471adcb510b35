package integration

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// An owner is a transport that closes its connections when it is closed, as
// those of tunnels, sessions and http3 do: whoever closes it too early cuts
// the streams on it.
type owner struct {
	*http.Transport
	mu     sync.Mutex
	conns  []net.Conn
	closed bool
}

func newOwner(tr *http.Transport) *owner {
	o := &owner{Transport: tr}
	tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.closed {
			conn.Close() // a dial that was under way
			return nil, net.ErrClosed
		}
		o.conns = append(o.conns, conn)
		return conn, nil
	}
	return o
}

func (o *owner) Close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	for _, conn := range o.conns {
		conn.Close() // most are closed already
	}
	return nil
}

// Streams outlive the transport that they began on: an event stream of 3 s and
// a conversation (an upgraded connection over h1, a full-duplex request over h2
// and h3) during 20 swaps. The old transport is closed, but not before they
// are done.
func TestStreamsDuringSwaps(t *testing.T) {
	const swaps = 20
	for _, protocol := range []string{"h1", "h2", "h3"} {
		t.Run(protocol, func(t *testing.T) {
			r := begin(t, "streams of 3 s during 20 swaps, "+protocol)
			s := newServer(r)
			s.holds = make(chan struct{}) // so that they last, however long the swaps take
			release := sync.OnceFunc(func() { close(s.holds) })
			defer release()
			ca := newAuthority(t)
			w := &world{r: r, server: s, build: func(context.Context) (http.RoundTripper, error) {
				if protocol == "h3" {
					return &http3.Transport{TLSClientConfig: ca.client()}, nil
				}
				tr := &http.Transport{TLSClientConfig: ca.client(), Protocols: new(http.Protocols)}
				protocols[protocol](tr.Protocols)
				return newOwner(tr), nil
			}}
			var url string
			if protocol == "h3" {
				url = "https://" + serveHTTP3(t, s, ca.server(), found).addr.String() + "/"
			} else {
				url = "https://" + s.serveTLS(t, ca.server()) + "/"
			}
			converse := duplex
			if protocol == "h1" {
				converse = upgraded
			}

			// By hand, the obvious way: the fresh transport is there, so close
			// the old one.
			bare := w.first(t)
			began := make(chan struct{}, 2)
			cut := make(chan error, 2)
			go func() { cut <- readEvents(bare, url, began) }()
			go func() { cut <- converse(bare, url, began, s.holds) }()
			<-began
			<-began
			require.NoError(t, bare.(io.Closer).Close())
			for range 2 {
				r.BareSent++
				if <-cut != nil {
					r.BareFailed++
				}
			}
			require.Equal(t, 2, r.BareFailed, "closing the transport did not cut its streams")
			r.BareNote = "both streams cut"

			rt := w.start(t)
			go func() { cut <- readEvents(rt, url, began) }()
			go func() { cut <- converse(rt, url, began, s.holds) }()
			<-began
			<-began
			curable := time.Now()
			l := client{RoundTripper: rt, url: url, deadline: patience}.gets(t, 1) // a fresh transport is proven by requests
			beat := time.NewTicker(tick)
			defer beat.Stop()
			for range swaps {
				<-beat.C
				require.NoError(t, rt.Recreate(t.Context()))
				l.awaitSuccesses(5, time.Now())
			}
			// A copy or a control that nobody waits for may still leave one of the others.
			require.Eventually(t, func() bool { return rt.Health().Draining == 1 }, patience, time.Millisecond, "the first transport has its streams")
			release()
			for range 2 {
				r.Sent++
				if err := <-cut; !assert.NoError(t, err, "a stream was cut") {
					r.Cut++
				}
			}
			r.take(curable, rt, l)
			require.Zero(t, r.Failed+r.Cut)
			require.Equal(t, 1+swaps, r.Built)
			require.Equal(t, swaps, r.Promoted)
			require.Eventually(t, func() bool { return s.open.Load() <= 1 }, patience, 10*time.Millisecond,
				"a retired transport has left connections behind")
		})
	}
}

// readEvents reads the event stream to its end, and reports what is missing.
func readEvents(rt http.RoundTripper, url string, began chan<- struct{}) error {
	req, err := http.NewRequest(http.MethodGet, url+"events", nil)
	if err != nil {
		return err
	}
	resp, err := rt.RoundTrip(req)
	began <- struct{}{}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	want := ""
	for i := range ticks {
		want += fmt.Sprintf("data: %d\n\n", i)
	}
	if want += "data: end\n\n"; string(got) != want {
		return fmt.Errorf("the events are not those that were sent: %q", got)
	}
	return nil
}

// upgraded has a conversation over an upgraded connection.
func upgraded(rt http.RoundTripper, url string, began chan<- struct{}, last <-chan struct{}) error {
	req, err := http.NewRequest(http.MethodGet, url+"upgrade", nil)
	if err != nil {
		return err
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "echo")
	resp, err := rt.RoundTrip(req)
	began <- struct{}{}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	conn, ok := resp.Body.(io.ReadWriteCloser)
	if !ok || resp.StatusCode != http.StatusSwitchingProtocols {
		return fmt.Errorf("status %d with a %T is no upgrade", resp.StatusCode, resp.Body)
	}
	return talk(conn, conn, last)
}

// duplex has a conversation within one request.
func duplex(rt http.RoundTripper, url string, began chan<- struct{}, last <-chan struct{}) error {
	body, out := io.Pipe()
	defer out.Close()
	req, err := http.NewRequest(http.MethodPost, url+"conversation", body)
	if err != nil {
		return err
	}
	resp, err := rt.RoundTrip(req)
	began <- struct{}{}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return talk(out, resp.Body, last)
}

// talk says something every tick and expects to hear it back. Before it says its last line it waits
// until last is closed.
func talk(out io.Writer, in io.Reader, last <-chan struct{}) error {
	beat := time.NewTicker(tick)
	defer beat.Stop()
	heard := bufio.NewReader(in)
	for i := range ticks {
		said := fmt.Sprintf("line %d", i)
		if _, err := fmt.Fprintln(out, said); err != nil {
			return err
		}
		line, err := heard.ReadString('\n')
		if err != nil {
			return err
		}
		if strings.TrimSpace(line) != said {
			return fmt.Errorf("said %q, heard %q", said, line)
		}
		<-beat.C
		if i == ticks-2 {
			<-last
		}
	}
	return nil
}
