package protocols

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect"
	connectv2 "connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/integration/clients"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// text is the message of the service, so that no code needs to be generated.
type text = wrapperspb.StringValue

const (
	greet = "/greet.v1.GreetService/Greet"
	spell = "/greet.v1.GreetService/Spell"
	talk  = "/greet.v1.GreetService/Talk"
)

func Example_connectGo() {
	server := httptest.NewServer(greeter)
	defer server.Close()

	rt, err := respawn.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer rt.Close()
	client := connect.NewClient[text, text](&http.Client{Transport: rt}, server.URL+greet)

	greeting, err := client.CallUnary(context.Background(), connect.NewRequest(wrapperspb.String("world")))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(greeting.Msg.GetValue())
	// Output: hello, world
}

// greeter serves connect, gRPC and gRPC-Web alike.
var greeter = func() http.Handler {
	mux := http.NewServeMux()
	mux.Handle(greet, connect.NewUnaryHandler(greet,
		func(_ context.Context, req *connect.Request[text]) (*connect.Response[text], error) {
			return connect.NewResponse(wrapperspb.String("hello, " + req.Msg.GetValue())), nil
		}, connect.WithIdempotency(connect.IdempotencyNoSideEffects)))
	mux.Handle(spell, connect.NewServerStreamHandler(spell,
		func(_ context.Context, req *connect.Request[text], stream *connect.ServerStream[text]) error {
			for i, letter := range req.Msg.GetValue() {
				if i > 0 {
					clients.Pause()
				}
				if err := stream.Send(wrapperspb.String(string(letter))); err != nil {
					return err
				}
			}
			return nil
		}))
	mux.Handle(talk, connect.NewBidiStreamHandler(talk,
		func(_ context.Context, stream *connect.BidiStream[text, text]) error {
			for {
				said, err := stream.Receive()
				if errors.Is(err, io.EOF) {
					return nil
				}
				if err != nil {
					return err
				}
				if err := stream.Send(said); err != nil {
					return err
				}
			}
		}))
	return mux
}()

func TestConnectGo(t *testing.T) {
	for name, opts := range map[string][]connect.ClientOption{
		"connect":          nil,
		"connect with GET": {connect.WithHTTPGet(), connect.WithIdempotency(connect.IdempotencyNoSideEffects)},
		"gRPC":             {connect.WithGRPC()},
		"gRPC-Web":         {connect.WithGRPCWeb()},
	} {
		t.Run(name, func(t *testing.T) {
			clients.Client{
				Upstream: greeter,
				Adopt: func(_ testing.TB, rt http.RoundTripper, url string) clients.Calls {
					return greeting(&http.Client{Transport: rt}, url, opts...)
				},
			}.Test(t)
		})
	}
}

// greeting returns the service's calls.
func greeting(hc *http.Client, url string, opts ...connect.ClientOption) clients.Calls {
	unary := connect.NewClient[text, text](hc, url+greet, opts...)
	stream := connect.NewClient[text, text](hc, url+spell, opts...)
	return clients.Calls{
		Call: func(ctx context.Context) error {
			greeting, err := unary.CallUnary(ctx, connect.NewRequest(wrapperspb.String("world")))
			if err == nil && greeting.Msg.GetValue() != "hello, world" {
				err = fmt.Errorf("answered %v", greeting.Msg)
			}
			return err
		},
		Stream: func(ctx context.Context, piece func(string)) error {
			letters, err := stream.CallServerStream(ctx, connect.NewRequest(wrapperspb.String("abc")))
			if err != nil {
				return err
			}
			defer letters.Close()
			for letters.Receive() {
				piece(letters.Msg().GetValue())
			}
			return letters.Err()
		},
	}
}

// A call that broke after it was sent is sent again only if it is a GET.
func TestConnectGosGETsAreSentAgain(t *testing.T) {
	v1 := func(opts ...connect.ClientOption) func(*http.Client, string) clients.Calls {
		return func(hc *http.Client, url string) clients.Calls { return greeting(hc, url, opts...) }
	}
	v2 := func(opts ...connecthttp.Option) func(*http.Client, string) clients.Calls {
		return func(hc *http.Client, url string) clients.Calls {
			return greetingV2(connectv2.NewClient(connecthttp.NewTransport(hc, url, opts...)))
		}
	}
	for name, c := range map[string]struct {
		method string
		calls  func(*http.Client, string) clients.Calls
	}{
		"v1, POST": {http.MethodPost, v1()},
		"v1, GET":  {http.MethodGet, v1(connect.WithHTTPGet(), connect.WithIdempotency(connect.IdempotencyNoSideEffects))},
		"v2, POST": {http.MethodPost, v2()},
		"v2, GET":  {http.MethodGet, v2(connecthttp.WithHTTPGet())},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var asked atomic.Int32
				w := clients.NewWorld(t, clients.Client{
					Upstream: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
						assert.Equal(t, c.method, req.Method)
						if asked.Add(1) == 1 {
							panic(http.ErrAbortHandler)
						}
						greeter.ServeHTTP(w, req)
					}),
				})
				rt := w.Respawn()
				err := c.calls(&http.Client{Transport: rt}, w.URL).Call(t.Context())
				if c.method == http.MethodGet {
					require.NoError(t, err)
					assert.EqualValues(t, 2, asked.Load())
				} else {
					require.Error(t, err)
					assert.EqualValues(t, 1, asked.Load())
				}
				w.End(rt)
			})
		})
	}
}

// A dialog is a stream in both directions.
type dialog struct {
	say func(word string) (heard string, err error)
	end func() error // of both directions; io.EOF if the other side has ended, too
}

func dialogV1(opts ...connect.ClientOption) func(context.Context, *http.Client, string) (dialog, error) {
	return func(ctx context.Context, hc *http.Client, url string) (dialog, error) {
		stream := connect.NewClient[text, text](hc, url+talk, opts...).CallBidiStream(ctx)
		return dialog{
			say: func(word string) (string, error) {
				if err := stream.Send(wrapperspb.String(word)); err != nil {
					return "", err
				}
				heard, err := stream.Receive()
				return heard.GetValue(), err
			},
			end: func() error {
				if err := stream.CloseRequest(); err != nil {
					return err
				}
				_, err := stream.Receive()
				return errors.Join(err, stream.CloseResponse())
			},
		}, nil
	}
}

// A stream in both directions stays on the transport that it began on.
func TestConnectGosTwoWayStreamsOutliveARecreate(t *testing.T) {
	for name, begin := range map[string]func(context.Context, *http.Client, string) (dialog, error){
		"v1, connect":  dialogV1(),
		"v1, gRPC":     dialogV1(connect.WithGRPC()),
		"v1, gRPC-Web": dialogV1(connect.WithGRPCWeb()),
		"v2, connect":  dialogV2(),
		"v2, gRPC":     dialogV2(connecthttp.WithGRPC()),
		"v2, gRPC-Web": dialogV2(connecthttp.WithGRPCWeb()),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := clients.NewWorld(t, clients.Client{Upstream: greeter})
				rt := w.Respawn()
				d, err := begin(t.Context(), &http.Client{Transport: rt}, w.URL)
				require.NoError(t, err)
				for i := range 3 {
					word := fmt.Sprint("word ", i)
					heard, err := d.say(word)
					require.NoError(t, err)
					require.Equal(t, word, heard)
					require.NoError(t, rt.Recreate(t.Context()))
					time.Sleep(time.Minute)
				}
				assert.Equal(t, 1, rt.Health().Draining)
				require.ErrorIs(t, d.end(), io.EOF)
				w.End(rt)
			})
		})
	}
}
