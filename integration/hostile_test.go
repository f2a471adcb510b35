package integration

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/respawnhttp/respawn"
)

// A hostile upstream attacks each connection that it accepts.
type hostile struct {
	name   string
	http2  bool // unencrypted, with prior knowledge
	feeds  bool // may keep a connection going that net/http has given up
	attack func(net.Conn)
}

// say sends part again and again, until the connection fails.
func say(conn net.Conn, part string) {
	for {
		if _, err := io.WriteString(conn, part); err != nil {
			return
		}
	}
}

// answering reads a request's head before it attacks.
func answering(attack func(net.Conn)) func(net.Conn) {
	return func(conn net.Conn) {
		if _, err := conn.Read(make([]byte, 4096)); err == nil {
			attack(conn)
		}
	}
}

// speaking makes a connection HTTP/2 and attacks at the beginning of each
// stream.
func speaking(attack func(f *http2.Framer, stream uint32)) func(net.Conn) {
	return func(conn net.Conn) {
		if _, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface))); err != nil {
			return
		}
		f := http2.NewFramer(conn, conn)
		if f.WriteSettings() != nil {
			return
		}
		for {
			frame, err := f.ReadFrame()
			if err != nil {
				return
			}
			switch frame := frame.(type) {
			case *http2.SettingsFrame:
				if !frame.IsAck() {
					_ = f.WriteSettingsAck()
				}
			case *http2.HeadersFrame:
				attack(f, frame.StreamID)
			}
		}
	}
}

// again calls write until it fails.
func again(write func() error) {
	for write() == nil {
	}
}

func status200() []byte {
	var block strings.Builder
	_ = hpack.NewEncoder(&block).WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
	return []byte(block.String())
}

// answer is a whole answer on a stream, in three frames.
func answer(f *http2.Framer, stream uint32) {
	_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: status200(), EndHeaders: true})
	_ = f.WriteData(stream, false, []byte("not so "))
	_ = f.WriteData(stream, true, []byte("well"))
}

// cutAfter is a connection that is reset when n bytes have been sent.
type cutAfter struct {
	net.Conn
	left int
}

func (c *cutAfter) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p[:min(c.left, len(p))])
	if c.left -= n; c.left == 0 {
		_ = c.Conn.(*net.TCPConn).SetLinger(0)
		_ = c.Conn.Close()
	}
	return n, err
}

// atEveryByte resets the first connection after one byte, the next after two, and so on up to most
// bytes, and then starts over.
func atEveryByte(most int, serve func(net.Conn)) func(net.Conn) {
	var n atomic.Int64
	return func(conn net.Conn) { serve(&cutAfter{conn, 1 + int(n.Add(1)-1)%most}) }
}

const whole = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nwell\n"

var hostiles = []hostile{
	{name: "accepts and resets", attack: func(conn net.Conn) { _ = conn.(*net.TCPConn).SetLinger(0) }},
	{name: "accepts and is silent", attack: func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }},
	{name: "reset at every byte", attack: atEveryByte(len(whole), answering(func(conn net.Conn) { _, _ = io.WriteString(conn, whole) }))},
	{name: "endless headers", attack: answering(func(conn net.Conn) {
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n")
		say(conn, "X-Endless: "+strings.Repeat("x", 1000)+"\r\n")
	})},
	{name: "one endless header", attack: answering(func(conn net.Conn) {
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nX-Endless: ")
		say(conn, strings.Repeat("x", 1000))
	})},
	{name: "endless 1xx", attack: answering(func(conn net.Conn) { say(conn, "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n") })},
	{name: "endless body", attack: answering(func(conn net.Conn) {
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		say(conn, "400\r\n"+strings.Repeat("x", 0x400)+"\r\n")
	})},
	{name: "body cut short", attack: answering(func(conn net.Conn) {
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nx")
	})},
	{name: "more than was asked for", attack: answering(func(conn net.Conn) { _, _ = io.WriteString(conn, whole+whole) })},
	{name: "nonsense", attack: answering(func(conn net.Conn) { say(conn, "\x00\xff\r\n") })},

	{name: "h2: reset at every byte", http2: true, attack: atEveryByte(100, speaking(answer))},
	{name: "h2: GOAWAY storm", http2: true, feeds: true, attack: speaking(func(f *http2.Framer, _ uint32) {
		again(func() error { return f.WriteGoAway(0, http2.ErrCodeNo, nil) })
	})},
	{name: "h2: GOAWAY to every connection", http2: true, attack: func(conn net.Conn) {
		speaking(func(f *http2.Framer, _ uint32) {
			_ = f.WriteGoAway(0, http2.ErrCodeEnhanceYourCalm, []byte("calm down"))
			_ = conn.Close()
		})(conn)
	}},
	{name: "h2: every stream refused", http2: true, attack: speaking(func(f *http2.Framer, stream uint32) {
		_ = f.WriteRSTStream(stream, http2.ErrCodeRefusedStream)
	})},
	{name: "h2: every stream reset", http2: true, attack: speaking(func(f *http2.Framer, stream uint32) {
		_ = f.WriteRSTStream(stream, http2.ErrCodeInternal)
	})},
	{name: "h2: SETTINGS flood", http2: true, feeds: true, attack: speaking(func(f *http2.Framer, _ uint32) {
		n := uint32(0)
		again(func() error {
			n++
			return f.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: n % 7})
		})
	})},
	{name: "h2: PING flood", http2: true, feeds: true, attack: speaking(func(f *http2.Framer, _ uint32) {
		again(func() error { return f.WritePing(false, [8]byte{}) })
	})},
	{name: "h2: CONTINUATION flood", http2: true, attack: speaking(func(f *http2.Framer, stream uint32) {
		_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: status200()})
		again(func() error { return f.WriteContinuation(stream, false, make([]byte, 1000)) })
	})},
	{name: "h2: endless body beyond the window", http2: true, attack: speaking(func(f *http2.Framer, stream uint32) {
		_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: status200(), EndHeaders: true})
		again(func() error { return f.WriteData(stream, false, make([]byte, 16<<10)) })
	})},
	{name: "h2: window overflow", http2: true, attack: speaking(func(f *http2.Framer, _ uint32) {
		again(func() error { return f.WriteWindowUpdate(0, 1<<31-1) })
	})},
	{name: "h2: answers in HTTP/1", http2: true, attack: func(conn net.Conn) { say(conn, whole) }},
}

// serve accepts connections until the test is over. It returns the upstream's address, and a
// function that counts the open connections.
func (h *hostile) serve(t *testing.T) (addr string, open func() int) {
	l := listen(t)
	var serving sync.WaitGroup
	var mu sync.Mutex
	conns := map[net.Conn]struct{}{}
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns[conn] = struct{}{}
			mu.Unlock()
			serving.Go(func() {
				h.attack(conn)
				mu.Lock()
				defer mu.Unlock()
				delete(conns, conn)
				_ = conn.Close()
			})
		}
	})
	t.Cleanup(func() {
		assert.NoError(t, l.Close())
		mu.Lock()
		for conn := range conns {
			_ = conn.Close()
		}
		mu.Unlock()
		serving.Wait()
	})
	return l.Addr().String(), func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(conns)
	}
}

// An upstream that does its worst cannot make respawn build transports faster
// than the backoff allows, grow its memory, leave anything behind, or disturb
// the requests to another host.
func TestHostileUpstream(t *testing.T) {
	const interval, deadline, span = 100 * time.Millisecond, 150 * time.Millisecond, 400 * time.Millisecond
	for _, h := range hostiles {
		t.Run(h.name, func(t *testing.T) {
			noLeaks(t)
			addr, open := h.serve(t)
			good := new(http.Server)
			good.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "well") })
			good.Protocols = new(http.Protocols)
			good.Protocols.SetHTTP1(true)
			good.Protocols.SetUnencryptedHTTP2(true)
			l := listen(t)
			go func() { _ = good.Serve(l) }()
			t.Cleanup(func() { _ = good.Close() })

			transport := func() *http.Transport {
				tr := &http.Transport{Protocols: new(http.Protocols), MaxResponseHeaderBytes: 1 << 16}
				tr.Protocols.SetHTTP1(!h.http2)
				tr.Protocols.SetUnencryptedHTTP2(h.http2)
				return tr
			}
			var mu sync.Mutex
			var built []time.Time
			rt, err := respawn.New(transport(),
				respawn.WithLogger(slog.New(slog.DiscardHandler)),
				respawn.WithBackOff(func() backoff.BackOff { return backoff.NewConstantBackOff(interval) }),
				respawn.WithStallThreshold(3, deadline),
				respawn.WithFactory(func(context.Context) (http.RoundTripper, error) {
					mu.Lock()
					defer mu.Unlock()
					built = append(built, time.Now())
					return transport(), nil
				}))
			require.NoError(t, err)

			before := heap()
			bad := run(t, workers, func() error { return sip(rt, "http://"+addr+"/", deadline) })
			well := run(t, 1, func() error { return sip(rt, "http://"+l.Addr().String()+"/", patience) })
			time.Sleep(span)
			bad.stop()
			well.stop()
			grown := heap() - before

			health := rt.Health()
			require.NoError(t, rt.Close())
			if !h.feeds {
				assert.Eventually(t, func() bool { return open() == 0 }, patience, 10*time.Millisecond, "connections to the upstream are left")
			}
			for _, o := range well.outcomes {
				require.NoError(t, o.err, "a request to another host failed")
			}
			mu.Lock()
			defer mu.Unlock()
			for i := 1; i < len(built); i++ {
				assert.GreaterOrEqual(t, built[i].Sub(built[i-1]), interval, "transport %d came before the backoff allowed it", i+1)
			}
			assert.LessOrEqual(t, len(health.Streaks), 1)
			// On a busy machine some of the flood waits to be read: 10 MB were seen. All of it is far more.
			assert.Less(t, grown, int64(32<<20), "bytes more on the heap")
			t.Logf("%d requests, %d transports built, %d promoted, %d KiB more on the heap; %d requests to another host",
				len(bad.outcomes), len(built), health.Promotions, grown>>10, len(well.outcomes))
		})
	}
}

// sip sends a GET and reads the beginning of what comes.
func sip(rt http.RoundTripper, url string, deadline time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<16))
	return err
}

// heap is what is in use after a collection.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
