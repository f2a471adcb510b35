package evidence

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/respawnhttp/respawn/internal/body"
)

// What is wrong with a request is found in four places of net/http, some of them on one
// protocol only. Wherever that is, it says nothing about the transport.
func TestWhatIsWrongWithARequestIsFoundInManyPlaces(t *testing.T) {
	header := func(name, value string) func(*http.Request) {
		return func(req *http.Request) { req.Header.Set(name, value) }
	}
	upload := func(change func(*http.Request)) func(*http.Request) {
		return func(req *http.Request) {
			req.Method = http.MethodPost
			req.Body = io.NopCloser(strings.NewReader("payload"))
			change(req)
		}
	}
	both, only1, only2 := []protocol{h1, h2}, []protocol{h1}, []protocol{h2}
	for _, tc := range []struct {
		name   string
		on     []protocol
		change func(*http.Request)
	}{
		{"a scheme that nobody knows", both, func(req *http.Request) { req.URL.Scheme = "gopher" }},
		{"a method that is none", only1, func(req *http.Request) { req.Method = "G T" }},
		{"no host", both, func(req *http.Request) { req.URL.Host = "" }},
		{"a header that is none", both, header("X", "a\nb")},
		{"a Host that is none", only2, func(req *http.Request) { req.Host = "a b\x01" }},
		{"a path that is none", only2, func(req *http.Request) { req.URL.Opaque = "a\x01b" }},
		{"a header of HTTP/1: Connection", only2, header("Connection", "x")},
		{"a header of HTTP/1: Upgrade", only2, header("Upgrade", "x")},
		{"a header of HTTP/1: Transfer-Encoding", only2, header("Transfer-Encoding", "gzip")},
		{"more headers than the server takes", only2, header("X", strings.Repeat("x", 2*http.DefaultMaxHeaderBytes))},
		{"a body that is too long", only2, upload(func(req *http.Request) { req.ContentLength = 5 })},
		{"a trailer that is none", only2, upload(func(req *http.Request) {
			req.ContentLength, req.Trailer = -1, http.Header{"Content-Length": nil}
		})},
	} {
		for _, proto := range tc.on {
			for _, watched := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s/%s/watched=%v", tc.name, proto.name, watched), func(t *testing.T) {
					noLeaks(t)
					srv, transport := proto.serve(t, http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
						_, _ = io.Copy(io.Discard, req.Body)
					}))
					tr := transport()
					resp, err := tr.RoundTrip(request(t, srv.URL)) // on HTTP/2 it brings the server's settings
					require.NoError(t, err)
					require.NoError(t, resp.Body.Close())
					req := request(t, srv.URL)
					tc.change(req)
					got, a := judge(t, tr, req, watched)
					assert.Equal(t, Neutral, got, "%v", a.err)
					assert.Equal(t, textRequest, saysText(a.err), "%v", a.err)
				})
			}
		}
	}
}

// On HTTP/1 some of it is only found while the request is written. The error comes with the
// end of the connection, and it is chance which of the two net/http returns. Here are both:
// the first from where net/http has it, the second after a transport has tried to write.
func TestWhatIsFoundWhileARequestIsWrittenIsItsFault(t *testing.T) {
	connectionEnded := &net.OpError{Op: "read", Net: "tcp", Err: net.ErrClosed}
	for name, change := range map[string]func(*http.Request){
		"a control character in the URL": func(req *http.Request) { req.URL.RawQuery = "a\x01b" },
		"a body that is too short":       func(req *http.Request) { req.ContentLength = 8 },
		"a body that is too long":        func(req *http.Request) { req.ContentLength = 5 },
		"a body that is not there":       func(req *http.Request) { req.ContentLength, req.Body = 5, nil },
		"a trailer that is none": func(req *http.Request) {
			req.ContentLength, req.Trailer = -1, http.Header{"Content-Length": nil}
		},
	} {
		upload := func(change func(*http.Request)) *http.Request {
			req := request(t, "http://example.com")
			req.Method, req.Body, req.ContentLength = http.MethodPost, io.NopCloser(strings.NewReader("payload")), 7
			change(req)
			lender := body.NewLender(req, body.Idempotent)
			sent, err := lender.Lend()
			require.NoError(t, err)
			return sent
		}
		t.Run(name+"/said", func(t *testing.T) {
			err := upload(change).Write(io.Discard)
			require.Error(t, err)
			assert.Equal(t, textRequest, saysText(err), "%v", err)
		})
		for _, watched := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/found/watched=%v", name, watched), func(t *testing.T) {
				broken := rtFunc(func(req *http.Request) (*http.Response, error) {
					_ = req.Write(io.Discard)
					return nil, connectionEnded
				})
				got, _ := judge(t, broken, upload(change), watched)
				assert.Equal(t, Neutral, got)
				got, _ = judge(t, broken, upload(func(*http.Request) {}), watched)
				assert.Equal(t, Failure, got, "a request that is well formed")
			})
		}
	}
}

// A file does not know its request, so that a trailer that is none is its caller's fault, whoever looks on.
func TestAFilesRequestIsLookedAtWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "upload")
	require.NoError(t, os.WriteFile(path, []byte("payload"), 0o600))
	for _, replay := range []body.Replay{body.Idempotent, body.Never} {
		for _, hide := range []bool{false, true} {
			file, err := os.Open(path)
			require.NoError(t, err)
			defer file.Close()
			req := request(t, "http://example.com")
			req.Method, req.Body, req.ContentLength, req.Trailer = http.MethodPost, file, -1, http.Header{"Content-Length": nil}
			if hide {
				req.Body = io.NopCloser(file)
			}
			lender := body.NewLender(req, replay)
			sent, err := lender.Lend()
			require.NoError(t, err)
			broken := rtFunc(func(req *http.Request) (*http.Response, error) {
				_ = req.Body.Close()
				return nil, net.ErrClosed
			})
			got, _ := judge(t, broken, sent, true)
			assert.Equal(t, Neutral, got, "%v, hidden: %v", replay, hide)
		}
	}
}

// A body may set its request's Trailer while it is read, and net/http may be in that Read still when
// RoundTrip has returned. What is wrong with a trailer was found before that.
func TestATrailerIsNotLookedAtWhileItsBodyIsRead(t *testing.T) {
	req := request(t, "http://example.com")
	ours, theirs := io.Pipe()
	req.Method, req.Body, req.ContentLength, req.Trailer = http.MethodPost, ours, -1, http.Header{"Content-Length": nil}
	lender := body.NewLender(req, body.Idempotent)
	sent, err := lender.Lend()
	require.NoError(t, err)
	reads := make(chan struct{})
	broken := rtFunc(func(req *http.Request) (*http.Response, error) {
		go func() { _, _ = io.Copy(io.Discard, req.Body); close(reads) }()
		_, err := theirs.Write([]byte("x")) // somebody reads it
		require.NoError(t, err)
		return nil, net.ErrClosed
	})
	got, _ := judge(t, broken, sent, true)
	assert.Equal(t, Failure, got)
	require.NoError(t, theirs.Close())
	<-reads
}

// A Host that can be none is only refused on the way to a proxy. Elsewhere net/http sends
// the request without it.
func TestAHostThatIsNoneIsTheRequestsFaultWhereItIsRefused(t *testing.T) {
	req := request(t, "http://example.com")
	req.Host = "a\x01b"
	err := req.WriteProxy(io.Discard)
	require.Error(t, err)
	assert.Equal(t, textRequest, saysText(err), "%v", err)
	got, _ := judge(t, rtFunc(func(*http.Request) (*http.Response, error) { return nil, net.ErrClosed }), req, true)
	assert.Equal(t, Failure, got)
}

// An answer that cannot be read ends its connection on HTTP/1, and its stream on HTTP/2,
// where it is told from a reset by the server only by the end of its text.
func TestAnAnswerThatCannotBeReadIsNoReset(t *testing.T) {
	over1 := func(answer string) func(net.Conn) {
		return func(c net.Conn) {
			_, _ = http.ReadRequest(bufio.NewReader(c))
			_, _ = io.WriteString(c, answer)
		}
	}
	over2 := func(fields ...string) func(net.Conn) {
		return func(c net.Conn) {
			f := http2Server(c)
			for {
				frame, err := f.ReadFrame()
				if err != nil {
					return
				}
				if _, ok := frame.(*http2.HeadersFrame); !ok {
					continue
				}
				var block bytes.Buffer
				enc := hpack.NewEncoder(&block)
				for i := 0; i < len(fields); i += 2 {
					_ = enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
				}
				_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: true})
			}
		}
	}
	raw2 := func(answer string) func(net.Conn) { // where the request is there: sooner, no connection could be made
		return func(c net.Conn) {
			f := http2Server(c)
			for {
				frame, err := f.ReadFrame()
				if err != nil {
					return
				}
				if _, ok := frame.(*http2.HeadersFrame); ok {
					_, _ = io.WriteString(c, answer)
				}
			}
		}
	}
	for name, serve := range map[string]func(net.Conn){
		"h1/no status line":            over1("nonsense\r\n\r\n"),
		"h1/a status that is none":     over1("HTTP/1.1 abc OK\r\n\r\n"),
		"h1/a header that is none":     over1("HTTP/1.1 200 OK\r\nnonsense\r\n\r\n"),
		"h1/a length that is none":     over1("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"),
		"h1/an empty length":           over1("HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n"),
		"h1/two lengths":               over1("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"),
		"h1/an unknown encoding":       over1("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n"),
		"h1/two encodings":             over1("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
		"h1/a trailer that is none":    over1("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Content-Length\r\n\r\n0\r\n\r\n"),
		"h2/no status":                 over2("x", "y"),
		"h2/a status that is none":     over2(":status", "abc"),
		"h2/a header that is none":     over2(":status", "200", "X", "y"),
		"h2/a value that is none":      over2(":status", "200", "x", "a\x00b"),
		"h2/nothing follows a 103":     over2(":status", "103"),
		"h2/an answer in HTTP/1":       raw2("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
		"h2/a frame that is too large": raw2("\xff\xff\xff\x00\x00\x00\x00\x00\x01"),
	} {
		t.Run(name, func(t *testing.T) {
			noLeaks(t)
			tr, addr := &http.Transport{}, listen(t, serve)
			if strings.HasPrefix(name, "h2") {
				tr = unencryptedHTTP2()
			}
			got, a := judge(t, tr, request(t, "http://"+addr), true)
			assert.Equal(t, Neutral, got, "%v", a.err)
			assert.Equal(t, textResponse, saysText(a.err), "%v", a.err)
			assert.Equal(t, TriggerOther, TriggerOf(a.err), "%v", a.err)
			assert.False(t, a.unsent())
		})
	}
}
