package test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
	"github.com/respawnhttp/respawn/internal/testnet"
)

// Transports that are dead, which only the course of their attempts shows: their errors say
// nothing.

// nameless draws an error that has no type to go by.
func nameless(d draw) error {
	return oneOf(d, errors.New("session shut down"), fmt.Errorf("tunnel: %w", errors.New("gone")), errors.New("smux: invalid protocol"))
}

// replaced sends a mix of requests through rt, whose first transport is dead. It is replaced,
// and those that may be sent again are answered: a GET that trips nothing fails three times, or
// a fourth where the first said nothing. What may have been sent is never sent twice.
func replaced(t *testing.T, d draw, rt *respawn.RecoveringRoundTripper, url string, threshold int, s *seer) {
	t.Helper()
	posts, gap := oneOf(d, 0, 0.5, d.Float64(), 1), d.between(20*time.Millisecond, 3*time.Second)
	lost := map[string]int{}
	for i := range 20 + d.IntN(40) {
		method := http.MethodGet
		if d.chance(posts) {
			method = http.MethodPost
		}
		var body io.Reader
		if method == http.MethodPost {
			body = oneOf[io.Reader](d, nil, strings.NewReader(payload), io.MultiReader(strings.NewReader(payload)))
		}
		req := request(t.Context(), method, url, body)
		req.Header.Set("X-Id", fmt.Sprint(method, i))
		if _, err := testkit.Do(rt, req); err != nil {
			lost[method]++
		}
		time.Sleep(gap)
	}
	assert.LessOrEqual(t, lost[http.MethodGet], (threshold-1)/3, "GETs of a threshold of %d", threshold)
	assert.LessOrEqual(t, lost[http.MethodPost], threshold+2, "POSTs of a threshold of %d", threshold)
	assert.EqualValues(t, 2, rt.Health().Generation)
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, n := range s.seen {
		assert.False(t, n > 1 && strings.HasPrefix(id, http.MethodPost), "%s was processed %d times", id, n)
	}
}

// A stillborn connection of a tunnel that dials at the first use: it is there at once, and
// breaks with an error of the tunnel's own.
type stillborn struct {
	net.Conn
	err    error
	writes bool // it takes what is written
	once   sync.Once
	broken chan struct{}
}

func (c *stillborn) Write(p []byte) (int, error) {
	defer c.once.Do(func() { close(c.broken) })
	if c.writes {
		return len(p), nil
	}
	return 0, c.err
}

func (c *stillborn) Read([]byte) (int, error) {
	<-c.broken
	return 0, c.err
}

func (c *stillborn) Close() error {
	c.once.Do(func() { close(c.broken) })
	return c.Conn.Close()
}

// A connection that is got at once, and fails at its first use, is none.
func TestATunnelThatDialsAtTheFirstUseIsReplaced(t *testing.T) {
	overDraws(t, 50, func(t *testing.T, d draw) {
		var s seer
		n := testnet.New(t)
		n.Serve("a.test:80", http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) { s.see(req) }))
		transport := oneOf(d, n.HTTP1, n.HTTP2)
		base, err, writes := transport(), nameless(d), d.chance(0.5)
		base.DialContext = func(context.Context, string, string) (net.Conn, error) {
			conn, _ := net.Pipe()
			return &stillborn{Conn: conn, err: err, writes: writes, broken: make(chan struct{})}, nil
		}
		threshold := 1 + d.IntN(4)
		rt := start(t, base, append(d.options(), respawn.WithThreshold(threshold),
			respawn.WithFactory(testkit.Builds(func() http.RoundTripper { return transport() }).Make))...)
		replaced(t, d, rt, "http://a.test/", threshold, &s)
		rt.CloseIdleConnections()
	})
}

// A tooLate error is a timeout of a dialer's own.
type tooLate struct{}

func (tooLate) Error() string { return "tunnel: no answer from the far end" }
func (tooLate) Timeout() bool { return true }

// A dialer that gives up by itself may say no more than that it was a timeout. Nobody watches the first
// GETs, and they may all be under way when the first of them fails.
func TestADialerThatOnlySaysTimeoutIsReplaced(t *testing.T) {
	overDraws(t, 40, func(t *testing.T, d draw) {
		n := testnet.New(t)
		n.Serve("a.test:80", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		base, gives := n.HTTP1(), oneOf[error](d, context.DeadlineExceeded, os.ErrDeadlineExceeded, tooLate{}, fmt.Errorf("dial: %w", tooLate{}),
			&net.OpError{Op: "socks connect", Err: os.ErrDeadlineExceeded}, fmt.Errorf("ssh: handshake failed: %w", &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}))
		least := d.between(100*time.Millisecond, 3*time.Second)
		base.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			select {
			case <-time.After(least):
				return nil, gives
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		threshold := 1 + d.IntN(3) // at the fourth, all have failed three times at once
		rt := start(t, base, append(d.options(), respawn.WithThreshold(threshold),
			respawn.WithFactory(testkit.Builds(func() http.RoundTripper { return n.HTTP1() }).Make))...)
		posts, gap := oneOf(d, 0, 0.5, 1), oneOf(d, 0, d.between(0, 100*time.Millisecond))
		var under sync.WaitGroup
		for range 100 {
			method, body := http.MethodGet, io.Reader(nil)
			if d.chance(posts) {
				method, body = http.MethodPost, oneOf[io.Reader](d, nil, strings.NewReader(payload), io.MultiReader(strings.NewReader(payload)))
			}
			under.Go(func() {
				_, err := testkit.Do(rt, request(t.Context(), method, "http://a.test/", body))
				assert.NoError(t, err, "%s, %v after %v, threshold %d, gap %v", method, gives, least, threshold, gap)
			})
			time.Sleep(gap)
		}
		under.Wait()
		for range 3 { // a control that took two seconds proves nothing, since the upstream may have come back
			_, err := testkit.Do(rt, request(t.Context(), http.MethodPost, "http://a.test/", nil))
			assert.NoError(t, err)
		}
		assert.EqualValues(t, 2, rt.Health().Generation)
		rt.CloseIdleConnections()
	})
}

// resetsStreams serves HTTP/2 on c. Once so many requests were answered, it resets every
// stream, as an upstream does whose one process is ill.
func resetsStreams(c net.Conn, well int, code http2.ErrCode, s *seer) {
	_, _ = io.ReadFull(c, make([]byte, len(http2.ClientPreface)))
	f := http2.NewFramer(c, c)
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_ = f.WriteSettings()
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return
		}
		ended := false
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				_ = f.WriteSettingsAck()
			}
		case *http2.MetaHeadersFrame:
			req := &http.Request{Header: http.Header{}}
			for _, field := range frame.RegularFields() {
				req.Header.Set(field.Name, field.Value)
			}
			s.see(req)
			ended = frame.StreamEnded()
		case *http2.DataFrame:
			ended = frame.StreamEnded()
		}
		switch {
		case !ended:
		case well == 0:
			_ = f.WriteRSTStream(frame.Header().StreamID, code)
		default:
			well--
			var block bytes.Buffer
			_ = hpack.NewEncoder(&block).WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
			_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: frame.Header().StreamID, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: true})
		}
	}
}

// The one connection of the pool may be alive, and of no use.
func TestAConnectionThatResetsEveryStreamIsReplaced(t *testing.T) {
	overDraws(t, 40, func(t *testing.T, d draw) {
		var s seer
		n := testnet.New(t)
		well := d.IntN(20)
		code := oneOf(d, http2.ErrCodeInternal, http2.ErrCodeCancel, http2.ErrCodeEnhanceYourCalm, http2.ErrCodeStreamClosed)
		l := n.Listen("a.test:80")
		go func() {
			for left := well; ; left = -1 { // it is the first connection alone
				conn, err := l.Accept()
				if err != nil {
					return
				}
				go resetsStreams(conn, left, code, &s)
			}
		}()
		threshold := 1 + d.IntN(4)
		rt := start(t, n.HTTP2(), append(d.options(), respawn.WithThreshold(threshold),
			respawn.WithFactory(testkit.Builds(func() http.RoundTripper { return n.HTTP2() }).Make))...)
		for range well {
			_, err := get(t.Context(), rt, "http://a.test/")
			require.NoError(t, err)
		}
		replaced(t, d, rt, "http://a.test/", threshold, &s)
		rt.CloseIdleConnections()
		require.NoError(t, l.Close())
	})
}

// A protocol added by RegisterProtocol tells nothing of its connections.
func TestAProtocolWithoutHooksIsReplaced(t *testing.T) {
	overDraws(t, 40, func(t *testing.T, d draw) {
		var s seer
		broken := oneOf(d, nameless(d), nameless(d), io.EOF, testkit.Refused(), testkit.ConnReset(), net.ErrClosed)
		with := func(rt http.RoundTripper) *http.Transport {
			tr := &http.Transport{}
			tr.RegisterProtocol("http+unix", rt)
			return tr
		}
		well := testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
			s.see(req)
			return testkit.Answer(req)
		})
		reads := d.chance(0.5)
		dead := testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
			if reads && req.Body != nil {
				_, _ = io.Copy(io.Discard, req.Body)
				s.see(req)
			}
			testkit.CloseBody(req)
			return nil, broken
		})
		threshold := 1 + d.IntN(4)
		rt := start(t, with(dead), append(d.options(), respawn.WithThreshold(threshold),
			respawn.WithFactory(testkit.Builds(func() http.RoundTripper { return with(well) }).Make))...)
		replaced(t, d, rt, "http+unix://docker/create", threshold, &s)
	})
}

type dialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

// asking returns a dialer that asks others under the context of the dial, as those do that look
// for an address, a token or a tunnel.
func asking(d draw, n *testnet.Network, dial dialFunc) dialFunc {
	inner, times := n.HTTP1(), 1+d.IntN(3)
	inner.DisableKeepAlives = d.chance(0.5)
	inner.IdleConnTimeout = time.Second
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		for range times {
			if _, err := get(ctx, inner, "http://token.test/"); err != nil {
				return nil, err
			}
		}
		return dial(ctx, network, addr)
	}
}

// A dialer whose own requests succeed, and whose dials fail, is dead all the same. What may
// have been sent, since a connection was shown, is lost until it has tripped.
func TestADeadDialerThatAsksOthersIsReplaced(t *testing.T) {
	overDraws(t, 50, func(t *testing.T, d draw) {
		var s seer
		n := testnet.New(t)
		n.Serve("token.test:80", drains)
		n.Serve("a.test:80", http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) { s.see(req) }))
		transport, broken := oneOf(d, n.HTTP1, n.HTTP2), nameless(d)
		base := transport()
		base.DialContext = asking(d, n, func(context.Context, string, string) (net.Conn, error) { return nil, broken })
		threshold := 1 + d.IntN(4)
		rt := start(t, base, append(d.options(), respawn.WithThreshold(threshold),
			respawn.WithFactory(testkit.Builds(func() http.RoundTripper { return transport() }).Make))...)
		replaced(t, d, rt, "http://a.test/", threshold, &s)
		rt.CloseIdleConnections()
		time.Sleep(time.Minute)
	})
}

// While the upstream is down, the connections of a dialer's own requests prove no candidate.
func TestADialersOwnRequestsProveNoCandidate(t *testing.T) {
	overDraws(t, 40, func(t *testing.T, d draw) {
		n := testnet.New(t)
		n.Serve("token.test:80", drains)
		a := n.Serve("a.test:80", drains)
		a.Refuse()
		var bare error
		if d.chance(0.5) {
			bare = nameless(d)
		}
		dial := asking(d, n, func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := n.DialContext(ctx, network, addr)
			if err != nil && bare != nil {
				err = bare
			}
			return c, err
		})
		transport := oneOf(d, n.HTTP1, n.HTTP2)
		asks := func() http.RoundTripper {
			tr := transport()
			tr.DialContext = dial
			return tr
		}
		fallback, diverts := d.mayHaveFallback()
		rt := start(t, asks(), append(append(d.options(), fallback...), respawn.WithFactory(testkit.Builds(asks).Make))...)
		posts, gap := d.Float64(), d.between(100*time.Millisecond, 5*time.Second)
		send := func() error {
			method := http.MethodGet
			if d.chance(posts) {
				method = http.MethodPost
			}
			_, err := testkit.Do(rt, request(t.Context(), method, "http://a.test/", nil))
			return err
		}
		for range 5 * time.Minute / gap {
			require.True(t, send() != nil || diverts)
			time.Sleep(gap)
		}
		assert.EqualValues(t, 1, rt.Health().Generation)
		assert.Positive(t, rt.Health().Rejections)
		a.Heal()
		time.Sleep(time.Minute)
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		assert.EqualValues(t, 1, rt.Health().Generation)
		rt.CloseIdleConnections()
		time.Sleep(time.Minute)
	})
}

// A wrapper beneath respawn may give each attempt a time of its own. Nobody watches the first GETs, so
// a timeout of theirs may be a dialer's: they go again, and count as stalls.
func TestATimeoutOfAWrapperIsAStallAndGoesAgain(t *testing.T) {
	overDraws(t, 40, func(t *testing.T, d draw) {
		gives, takes := oneOf[error](d, context.DeadlineExceeded, os.ErrDeadlineExceeded, tooLate{}), d.between(time.Second, 4*time.Second)
		dark := testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
			ctx, cancel := context.WithTimeoutCause(req.Context(), takes, gives)
			defer cancel()
			return staysSilent(nil).RoundTrip(req.WithContext(ctx))
		})
		rt := start(t, dark, append(d.options(), respawn.WithFactory(stubs().Make))...)
		every := d.between(20*time.Millisecond, 200*time.Millisecond)
		var under sync.WaitGroup
		for begin := time.Now(); time.Since(begin) < 4*takes; time.Sleep(every) {
			under.Go(func() {
				begin := time.Now()
				_, err := get(t.Context(), rt, "http://a.test/")
				assert.NoError(t, err, "%v, every %v", takes, every)
				assert.LessOrEqual(t, time.Since(begin), takes+2*time.Second, "%v, every %v", takes, every)
			})
		}
		under.Wait()
		assert.EqualValues(t, 2, rt.Health().Generation)
	})
}

// What net/http says of its own timeout is enough: the request was sent, and a slow upstream is not asked
// twice.
func TestAResponseHeaderTimeoutIsAskedOnce(t *testing.T) {
	for _, proto := range []string{"HTTP/1", "HTTP/2"} {
		t.Run(proto, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var asked atomic.Int64
				n := testnet.New(t)
				n.Serve("a.test:80", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
					asked.Add(1)
					time.Sleep(time.Minute)
				}))
				tr := n.HTTP1()
				if proto == "HTTP/2" {
					tr = n.HTTP2()
				}
				tr.ResponseHeaderTimeout = time.Second
				rt := start(t, tr)
				begin := time.Now()
				_, err := get(t.Context(), rt, "http://a.test/")
				require.ErrorContains(t, err, "timeout awaiting response headers")
				assert.Equal(t, time.Second, time.Since(begin))
				assert.EqualValues(t, 1, asked.Load())
				rt.CloseIdleConnections()
				time.Sleep(time.Minute)
			})
		})
	}
}
