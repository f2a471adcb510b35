package test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// An observation is all that a caller can see of one exchange.
type observation struct {
	Status           string
	Proto            string
	Header, Trailer  http.Header
	ContentLength    int64
	TransferEncoding []string
	Uncompressed     bool
	Close            bool
	HasTLS           bool
	OwnRequest       bool // not so for bare HTTP/2 with a body: net/http's setupRewindBody
	OwnContext       bool
	NoBody           bool
	Body             string
	Err              string
	Events           []string // of the caller's own httptrace
}

// ordinary is what servers and callers do when nothing is wrong.
var ordinary = []struct {
	name string
	do   func(t *testing.T, rt http.RoundTripper, url string) observation
}{
	{"GET", func(t *testing.T, rt http.RoundTripper, url string) observation {
		return observe(t, rt, http.MethodGet, url+"/echo", nil)
	}},
	{"empty method", func(t *testing.T, rt http.RoundTripper, url string) observation {
		return observe(t, rt, "", url+"/echo", nil)
	}},
	{"HEAD", func(t *testing.T, rt http.RoundTripper, url string) observation {
		return observe(t, rt, http.MethodHead, url+"/gzip", nil)
	}},
	{"204", func(t *testing.T, rt http.RoundTripper, url string) observation {
		return observe(t, rt, http.MethodGet, url+"/204", nil)
	}},
	{"500 is an answer", func(t *testing.T, rt http.RoundTripper, url string) observation {
		return observe(t, rt, http.MethodGet, url+"/500", nil)
	}},
	{"304", func(t *testing.T, rt http.RoundTripper, url string) observation {
		return observe(t, rt, http.MethodGet, url+"/304", nil)
	}},
	{"Connection: close", func(t *testing.T, rt http.RoundTripper, url string) observation {
		return observe(t, rt, http.MethodGet, url+"/close", nil)
	}},
	{"gzip undone by net/http", func(t *testing.T, rt http.RoundTripper, url string) observation {
		return observe(t, rt, http.MethodGet, url+"/gzip", nil)
	}},
	{"gzip asked for by the caller", func(t *testing.T, rt http.RoundTripper, url string) observation {
		return observe(t, rt, http.MethodGet, url+"/gzip", func(req *http.Request) { req.Header.Set("Accept-Encoding", "gzip") })
	}},
	{"POST", func(t *testing.T, rt http.RoundTripper, url string) observation {
		return observe(t, rt, http.MethodPost, url+"/echo", func(req *http.Request) {
			setBody(req, strings.NewReader(payload))
			req.ContentLength = int64(len(payload))
		})
	}},
	{"POST of unknown length", func(t *testing.T, rt http.RoundTripper, url string) observation {
		return observe(t, rt, http.MethodPost, url+"/echo", func(req *http.Request) { setBody(req, strings.NewReader(payload)) })
	}},
	{"POST shorter than announced", func(t *testing.T, rt http.RoundTripper, url string) observation {
		o := observe(t, rt, http.MethodPost, url+"/echo", func(req *http.Request) {
			setBody(req, strings.NewReader(payload))
			req.ContentLength = int64(len(payload)) + 1
		})
		if o.Err != "" {
			o.Err = "one of two: net/http's reader and writer race to it over h1"
		}
		return o
	}},
	{"PUT with GetBody", func(t *testing.T, rt http.RoundTripper, url string) observation {
		return observe(t, rt, http.MethodPut, url+"/echo", func(req *http.Request) {
			again := request(t.Context(), http.MethodPut, "http://a.test", strings.NewReader(payload))
			req.Body, req.GetBody, req.ContentLength = again.Body, again.GetBody, again.ContentLength
		})
	}},
	{"Expect: 100-continue", func(t *testing.T, rt http.RoundTripper, url string) observation {
		return observe(t, rt, http.MethodPost, url+"/echo", func(req *http.Request) {
			setBody(req, strings.NewReader(payload))
			req.ContentLength = int64(len(payload))
			req.Header.Set("Expect", "100-continue")
		})
	}},
	{"Expect: 100-continue denied", func(t *testing.T, rt http.RoundTripper, url string) observation {
		return observe(t, rt, http.MethodPost, url+"/500", func(req *http.Request) {
			setBody(req, strings.NewReader(payload))
			req.ContentLength = int64(len(payload))
			req.Header.Set("Expect", "100-continue")
		})
	}},
	{"early hints", func(t *testing.T, rt http.RoundTripper, url string) observation {
		return observe(t, rt, http.MethodGet, url+"/103", nil)
	}},
	{"trailers both ways", func(t *testing.T, rt http.RoundTripper, url string) observation {
		return observe(t, rt, http.MethodPost, url+"/trailers", func(req *http.Request) {
			req.Trailer = http.Header{"X-Sum": nil}
			setBody(req, io.MultiReader(strings.NewReader(payload), readerFunc(func([]byte) (int, error) {
				req.Trailer.Set("X-Sum", "42") // as net/http lets callers do, until EOF
				return 0, io.EOF
			})))
		})
	}},
	{"canceled before it is sent", func(t *testing.T, rt http.RoundTripper, url string) observation {
		return observe(t, rt, http.MethodGet, url+"/echo", func(req *http.Request) {
			ctx, cancel := context.WithCancel(req.Context())
			cancel()
			*req = *req.WithContext(ctx)
		})
	}},
	{"body cut short by the server", func(t *testing.T, rt http.RoundTripper, url string) observation {
		return observe(t, rt, http.MethodGet, url+"/short", nil)
	}},
	{"large headers and values", func(t *testing.T, rt http.RoundTripper, url string) observation {
		return observe(t, rt, http.MethodGet, url+"/echo", func(req *http.Request) {
			req.Header["X-Many"] = []string{"1", "2", strings.Repeat("3", 8<<10)}
			req.Host = "other.test"
		})
	}},
}

// setBody sets a one-shot body that net/http does not take for an in-memory
// one: a shielded one is not either, and the headers of those are sent with
// the body and not ahead of it.
func setBody(req *http.Request, r io.Reader) { req.Body = io.NopCloser(struct{ io.Reader }{r}) }

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

var streamID = regexp.MustCompile(`stream ID \d+`)

func observe(t *testing.T, rt http.RoundTripper, method, url string, change func(*http.Request)) observation {
	t.Helper()
	var o observation
	var mu sync.Mutex
	event := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		o.Events = append(o.Events, fmt.Sprintf(format, args...))
	}
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		Got100Continue: func() { event("Got100Continue") },
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			event("Got1xxResponse %d %s", code, h.Get("Link"))
			return nil
		},
	})
	req := request(ctx, method, url, nil)
	req.Method = method
	if change != nil {
		change(req)
	}
	resp, err := rt.RoundTrip(req)
	if err != nil {
		o.Err = err.Error()
		o.Events = nil // how far it got when it failed is a race
		return o
	}
	o.NoBody = resp.Body == http.NoBody
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		o.Err = streamID.ReplaceAllString(err.Error(), "stream ID n")
	}
	require.NoError(t, resp.Body.Close())
	resp.Header.Del("Date")
	mu.Lock()
	defer mu.Unlock()
	o.Status, o.Proto, o.Header, o.Trailer = resp.Status, resp.Proto, resp.Header, resp.Trailer
	o.ContentLength, o.TransferEncoding = resp.ContentLength, resp.TransferEncoding
	o.Uncompressed, o.Close, o.HasTLS = resp.Uncompressed, resp.Close, resp.TLS != nil
	o.OwnRequest, o.OwnContext, o.Body = resp.Request == req, resp.Request.Context() == req.Context(), string(body)
	slices.Sort(o.Events) // they come from several goroutines
	return o
}

func ordinaryServer(w http.ResponseWriter, req *http.Request) {
	switch req.URL.Path {
	case "/echo":
		b, _ := io.ReadAll(req.Body)
		w.Header()["X-Many"] = req.Header["X-Many"]
		w.Header().Set("X-Host", strings.Split(req.Host, ":")[0])
		fmt.Fprintf(w, "%s %s %d %v %s", req.Method, req.Header.Get("Accept-Encoding"), req.ContentLength, req.TransferEncoding, b)
	case "/gzip":
		if req.Header.Get("Accept-Encoding") == "gzip" {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(gzipped)
		}
	case "/204":
		w.WriteHeader(http.StatusNoContent)
	case "/304":
		w.WriteHeader(http.StatusNotModified)
	case "/500":
		http.Error(w, "sorry", http.StatusInternalServerError)
	case "/close":
		w.Header().Set("Connection", "close")
		fmt.Fprint(w, "bye")
	case "/103":
		w.Header().Set("Link", "</style.css>")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		fmt.Fprint(w, "late")
	case "/trailers":
		b, _ := io.ReadAll(req.Body)
		w.Header().Set("Trailer", "X-Echo")
		fmt.Fprintf(w, "%s", b)
		http.NewResponseController(w).Flush()
		w.Header().Set("X-Echo", req.Trailer.Get("X-Sum"))
		w.Header().Set(http.TrailerPrefix+"X-Late", "1")
	case "/short":
		w.Header().Set("Content-Length", "10")
		fmt.Fprint(w, "five.")
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	case "/fail":
		panic(http.ErrAbortHandler)
	}
}

// "hello" as gzip -n makes it.
var gzipped = []byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xcb\x48\xcd\xc9\xc9\x07\x00\x86\xa6\x10\x36\x05\x00\x00\x00")

// blameFail takes what becomes of /fail for a failure of the transport, over HTTP/2,
// too, where the end of one stream says nothing.
func blameFail(req *http.Request, err error) respawn.Verdict {
	if req.URL.Path == "/fail" {
		return respawn.Failure
	}
	return respawn.DefaultClassifier(req, err)
}

// TestContractOrdinary does the same with the bare transport and with respawn,
// on its healthy path and on the others, and expects the same.
func TestContractOrdinary(t *testing.T) {
	variants := []struct {
		name      string
		suspected bool // the authority is under suspicion, so attempts are watched
		opts      []respawn.Option
	}{
		{"healthy", false, nil},
		{"never replayed", false, []respawn.Option{respawn.WithReplay(respawn.ReplayNever)}},
		{"suspected", true, []respawn.Option{respawn.WithThreshold(1 << 20), respawn.WithClassifier(blameFail)}},
		{"drain limit", false, []respawn.Option{respawn.WithDrainTimeout(time.Hour)}},
	}
	for _, proto := range protocols {
		noLeaks(t)
		srv, transport := proto.serve(t, http.HandlerFunc(ordinaryServer))
		for _, v := range variants {
			rt := start(t, transport(), v.opts...)
			bare := transport()
			for _, tc := range ordinary {
				t.Run(strings.Join([]string{proto.name, v.name, tc.name}, "/"), func(t *testing.T) {
					if v.suspected {
						_, err := testkit.Do(rt, request(t.Context(), http.MethodPost, srv.URL+"/fail", nil))
						require.Error(t, err)
						require.NotEmpty(t, rt.Health().Streaks)
					}
					want := tc.do(t, bare, srv.URL)
					got := tc.do(t, rt, srv.URL)
					want.OwnRequest = want.OwnRequest || got.OwnRequest // better than bare is good
					assert.Equal(t, want, got)
					if want.Err == "" {
						assert.True(t, want.OwnContext)
						assert.Empty(t, rt.Health().Streaks)
					}
					assert.EqualValues(t, 1, rt.Health().Generation)
					assert.Zero(t, rt.Health().InFlight)
				})
			}
		}
	}
}
