package protocols

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/integration/clients"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func Example_coderWebsocket() {
	server := httptest.NewServer(http.HandlerFunc(echo))
	defer server.Close()

	rt, err := respawn.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer rt.Close()
	ctx := context.Background()
	conn, _, err := websocket.Dial(ctx, server.URL, &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: rt},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer conn.CloseNow()

	if err := conn.Write(ctx, websocket.MessageText, []byte("hello")); err != nil {
		log.Fatal(err)
	}
	_, message, err := conn.Read(ctx)
	fmt.Printf("%s %v\n", message, err)
	// Output: hello <nil>
}

// echo sends each message back.
func echo(w http.ResponseWriter, req *http.Request) {
	conn, err := websocket.Accept(w, req, nil)
	if err != nil {
		return
	}
	defer conn.CloseNow()
	for {
		kind, message, err := conn.Read(req.Context())
		if err != nil || conn.Write(req.Context(), kind, message) != nil {
			return
		}
	}
}

// Each call dials a WebSocket of its own.
var webSocket = clients.Client{
	Upstream: http.HandlerFunc(echo),
	OneShot:  true,
	Adopt: func(_ testing.TB, rt http.RoundTripper, url string) clients.Calls {
		dial := func(ctx context.Context) (*websocket.Conn, error) {
			conn, _, err := websocket.Dial(ctx, url, &websocket.DialOptions{HTTPClient: &http.Client{Transport: rt}})
			return conn, err
		}
		say := func(ctx context.Context, conn *websocket.Conn, word string) (string, error) {
			if err := conn.Write(ctx, websocket.MessageText, []byte(word)); err != nil {
				return "", err
			}
			_, message, err := conn.Read(ctx)
			return string(message), err
		}
		return clients.Calls{
			Call: func(ctx context.Context) error {
				conn, err := dial(ctx)
				if err != nil {
					return err
				}
				defer conn.CloseNow()
				if message, err := say(ctx, conn, "hello"); err != nil || message != "hello" {
					return fmt.Errorf("answered %q, %w", message, err)
				}
				return conn.Close(websocket.StatusNormalClosure, "")
			},
			Stream: func(ctx context.Context, piece func(string)) error {
				conn, err := dial(ctx)
				if err != nil {
					return err
				}
				defer conn.CloseNow()
				for _, word := range []string{"hel", "lo"} {
					message, err := say(ctx, conn, word)
					if err != nil {
						return err
					}
					piece(message)
				}
				return conn.Close(websocket.StatusNormalClosure, "")
			},
		}
	},
}

func TestCoderWebsocket(t *testing.T) { webSocket.Test(t) }

// A WebSocket that has gone silent is the caller's to notice, who pings it and dials
// again: respawn sees no wait for an answer, and its transport is well.
func TestASilentWebsocketIsNoticedByPings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := clients.NewWorld(t, webSocket)
		rt := w.Respawn()
		client := &http.Client{Transport: rt}
		conn, _, err := websocket.Dial(t.Context(), w.URL, &websocket.DialOptions{HTTPClient: client})
		require.NoError(t, err)
		reader := conn.CloseRead(t.Context()) // pongs are read by someone
		require.NoError(t, conn.Ping(t.Context()))

		w.Host.BlackHoleConnections()
		time.Sleep(time.Minute)
		require.NoError(t, reader.Err(), "nobody has noticed")
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		require.ErrorIs(t, conn.Ping(ctx), context.DeadlineExceeded)
		require.NoError(t, conn.CloseNow())

		require.NoError(t, w.Adopt(rt).Call(t.Context()), "a new WebSocket")
		assert.EqualValues(t, 1, rt.Health().Generation)
		w.End(rt)
	})
}

// A handshake that broke before its answer is sent again, as any GET is.
func TestAHandshakeThatBrokeIsSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		client := webSocket
		client.Upstream = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if asked.Add(1) == 1 {
				panic(http.ErrAbortHandler)
			}
			echo(w, req)
		})
		w := clients.NewWorld(t, client)
		rt := w.Respawn()
		require.NoError(t, w.Adopt(rt).Call(t.Context()))
		assert.EqualValues(t, 2, asked.Load())
		w.End(rt)
	})
}

// A handshake that nobody answers is asked once: unlike another GET it is never copied,
// since two WebSockets are not one.
func TestAHandshakeIsNotCopied(t *testing.T) {
	for _, upgrade := range []bool{true, false} {
		t.Run(fmt.Sprint("upgrade:", upgrade), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var asked atomic.Int32
				client := webSocket
				client.Upstream = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
					asked.Add(1)
					time.Sleep(time.Minute)
					if upgrade {
						echo(w, req)
					} else {
						clients.Hello.ServeHTTP(w, req)
					}
				})
				w := clients.NewWorld(t, client)
				rt := w.Respawn()
				calls := w.Adopt(rt)
				if !upgrade {
					calls = clients.Get(&http.Client{Transport: rt}, w.URL)
				}
				require.NoError(t, calls.Call(t.Context()))
				if upgrade {
					assert.EqualValues(t, 1, asked.Load())
				} else {
					assert.Greater(t, asked.Load(), int32(1), "a GET is not copied, either")
				}
				time.Sleep(time.Minute)
				w.End(rt)
			})
		})
	}
}
