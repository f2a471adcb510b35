package evidence

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn/internal/body"
)

// A dialer, or a callback, that makes a request under the context that it is given
// fires the attempt's hooks, too. Who asks for the request's own host where there may be HTTP/2 is taken for
// the attempt.
func TestAConnectionOfANestedRequestIsNotTheAttemptsOwn(t *testing.T) {
	for _, c := range []struct {
		name      string
		transport http.RoundTripper
		hooks     []string // host:port is asked for; an empty one is got
		reached   Phase
	}{
		{"own", &http.Transport{}, []string{"a.test:80", ""}, Connected},
		{"own, and none yet", &http.Transport{}, []string{"a.test:80"}, Dialing},
		{"within the dial", &http.Transport{}, []string{"a.test:80", "token.test:443", ""}, Dialing},
		{"within the dial, to the same host", &http.Transport{DialContext: noDial}, []string{"a.test:80", "a.test:80", ""}, Dialing},
		{"within the dial, to the same host, and then its own", &http.Transport{DialContext: noDial}, []string{"a.test:80", "a.test:80", "", ""}, Connected},
		{"HTTP/2 asks again", &http.Transport{}, []string{"a.test:80", "a.test:80", ""}, Connected},
		{"HTTP/2 asks again, and what its dial asked in vain is over", &http.Transport{}, []string{"a.test:80", "token.test:443", "a.test:80", ""}, Connected},
		{"HTTP/2 asks again for the host, and at first for the proxy", &http.Transport{}, []string{"proxy.test:3128", "a.test:80", ""}, Connected},
		{"within the dial, and then its own", &http.Transport{}, []string{"a.test:80", "token.test:443", "", ""}, Connected},
		{"before the transport is asked", rtFunc(nil), []string{"token.test:443", ""}, Silent},
		{"before the transport is asked, and then its own", rtFunc(nil), []string{"token.test:443", "", "a.test:80", ""}, Connected},
		{"net/http's second try", &http.Transport{}, []string{"a.test:80", "", "a.test:80"}, Dialing},
		{"no place in the pool", &http.Transport{MaxConnsPerHost: 1}, []string{"a.test:80"}, Queued},
		{"a place, since its dial asks", &http.Transport{MaxConnsPerHost: 1}, []string{"a.test:80", "token.test:443"}, Dialing},
		{"a place, since HTTP/2 asks again", &http.Transport{MaxConnsPerHost: 1}, []string{"a.test:80", "a.test:80"}, Dialing},
	} {
		t.Run(c.name, func(t *testing.T) {
			var w Watch
			trace := httptrace.ContextClientTrace(w.Begin(t.Context(), request(t, "http://a.test/").URL, poolOf(c.transport), time.Now()))
			got := false
			for _, host := range c.hooks {
				if host == "" {
					trace.GotConn(httptrace.GotConnInfo{})
					got = true
				} else {
					trace.GetConn(host)
				}
			}
			assert.Equal(t, c.reached, w.Reached())
			assert.Equal(t, got, w.shownAny(), "where it is about safety, any connection is one")
		})
	}
}

// Where the transport is not net/http's own, GetConn's host:port tells whose connection it
// is, so it has to be read as net/http writes it.
func TestATargetIsReadAsNetHTTPWritesIt(t *testing.T) {
	for _, target := range []string{
		"http://a.test/", "https://a.test/", "http://a.test:/", "https://a.test:80/", "http://[::1]:8080/", "https://[fe80::1%25lo]/",
		"http://bücher.a.test/", "https://WWW.Bücher.test:8443/", "http://a。bücher.test/", "http://例え.テスト/",
	} {
		var asked string
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GetConn: func(hostPort string) { asked = hostPort }})
		nobody := &http.Transport{DialContext: noDial}
		req := mustRequest(ctx, http.MethodGet, target, nil)
		_, err := nobody.RoundTrip(req)
		require.Error(t, err)
		var w Watch
		w.Begin(t.Context(), req.URL, Pool{}, time.Now())
		assert.True(t, w.isTarget(asked), "%s: %q", target, asked)
		for _, other := range []string{"b.test:80", "a.test:8080", "[::1]:80", "a.test", "", "xn--bcher-kva.b.test:80", "b.xn--bcher-kva.test:443", "xn--bcher-kva.test:81"} {
			assert.False(t, w.isTarget(other), "%s: %q", target, other)
		}
	}
}

// An upload waits for its own body at times, and nobody's silence is to blame.
func TestAnUploadThatItsOwnBodyKeptWaitingIsNoStall(t *testing.T) {
	for _, c := range []struct {
		name    string
		upload  pausing
		verdict Verdict
	}{
		{"a Read has not returned", pausing{before: time.Hour}, Neutral},
		{"it took most of the time", pausing{before: 900 * time.Millisecond}, Neutral},
		{"it took a little of the time", pausing{before: 100 * time.Millisecond}, Stall},
		{"many Reads took most of the time, each a little", pausing{before: 90 * time.Millisecond, more: 9}, Neutral},
		{"many Reads took a little of the time", pausing{before: 10 * time.Millisecond, more: 9}, Stall},
		{"it was there at once", pausing{}, Stall},
	} {
		for _, getBody := range []bool{false, true} {
			t.Run(c.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					defer cancel()
					upload := c.upload
					upload.closed = make(chan struct{})
					req := mustRequest(ctx, http.MethodPost, "http://a.test/", &upload)
					if getBody {
						req.GetBody = func() (io.ReadCloser, error) { return &upload, nil }
					}
					lender := body.NewLender(req, body.Idempotent)
					var w Watch
					sent := new(http.Request)
					require.NoError(t, lender.LendUnder(w.Begin(ctx, req.URL, poolOf(&http.Transport{}), time.Now()), sent, time.Now()))
					tell(sent, "GetConn", "GotConn")
					go func() { _, _ = io.Copy(io.Discard, sent.Body) }()
					<-ctx.Done()
					synctest.Wait()
					assert.Equal(t, c.verdict, Classify(sent, ctx.Err()))
					close(upload.closed)
				})
			})
		}
	}
}

// pausing is a body each of whose Reads takes a while, or until it is closed.
type pausing struct {
	before time.Duration
	more   int // bytes, each from a Read of its own
	closed chan struct{}
}

func (p *pausing) Read([]byte) (int, error) {
	select {
	case <-time.After(p.before):
	case <-p.closed:
		return 0, io.EOF
	}
	if p.more == 0 {
		return 0, io.EOF
	}
	p.more--
	return 1, nil
}

func (p *pausing) Close() error { return nil }

// A wait for a place ends when somebody dials for the attempt, and silence counts from then.
func TestSilenceCountsFromTheEndOfTheWaitForAPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w Watch
		start := time.Now()
		trace := httptrace.ContextClientTrace(w.Begin(t.Context(), request(t, "http://a.test/").URL, poolOf(&http.Transport{MaxConnsPerHost: 1}), start))
		trace.GetConn("a.test:80")
		time.Sleep(10 * time.Second)
		assert.Zero(t, w.Since(), "it has no place")
		trace.ConnectStart("tcp", "192.0.2.1:80")
		time.Sleep(time.Second)
		assert.Equal(t, start.Add(10*time.Second), w.Since())
		trace.GotConn(httptrace.GotConnInfo{})
		assert.Equal(t, start.Add(10*time.Second), w.Since())
	})
}

// Of those that wait for the first HTTP/2 connection all but one ask twice for it, and over
// unencrypted HTTP/2 every request does. Each has its connection all the same.
func TestAStreamOfHTTP2IsTheAttemptsOwnConnection(t *testing.T) {
	noLeaks(t)
	for _, encrypted := range []bool{true, false} {
		for _, places := range []int{0, 1} {
			hung := make(chan struct{})
			srv := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
				hung <- struct{}{}
				<-req.Context().Done()
			}))
			tr := &http.Transport{MaxConnsPerHost: places, Protocols: new(http.Protocols)}
			if encrypted {
				srv.EnableHTTP2 = true
				srv.StartTLS()
				tr.TLSClientConfig = srv.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
				tr.Protocols.SetHTTP2(true)
			} else {
				srv.Config.Protocols = new(http.Protocols)
				srv.Config.Protocols.SetUnencryptedHTTP2(true)
				srv.Start()
				tr.Protocols.SetUnencryptedHTTP2(true)
			}
			ctx, cancel := context.WithCancel(t.Context())
			var all sync.WaitGroup
			for range 8 {
				all.Go(func() {
					var w Watch
					req := request(t, srv.URL)
					req = req.WithContext(w.Begin(ctx, req.URL, PoolOf(tr), time.Now()))
					_, err := tr.RoundTrip(req)
					assert.ErrorIs(t, err, context.Canceled)
					assert.Equal(t, Connected, w.Reached())
				})
			}
			for range 8 {
				<-hung
			}
			cancel()
			all.Wait()
			tr.CloseIdleConnections()
			srv.Close()
		}
	}
}

func noDial(context.Context, string, string) (net.Conn, error) { return nil, io.EOF }

// net/http has HTTP/2 off where there is a dialer of the user's, unless somebody turns it on.
func TestATransportMayHaveHTTP2(t *testing.T) {
	var h1, h2, h2c http.Protocols
	h1.SetHTTP1(true)
	h2.SetHTTP2(true)
	h2c.SetUnencryptedHTTP2(true)
	next := map[string]func(string, *tls.Conn) http.RoundTripper{"h2": func(string, *tls.Conn) http.RoundTripper { return nil }}
	for i, tt := range []struct {
		*http.Transport
		http1 bool
	}{
		{&http.Transport{}, false},
		{http.DefaultTransport.(*http.Transport), false},
		{&http.Transport{Protocols: &h1}, true}, {&http.Transport{Protocols: &h2}, false}, {&http.Transport{Protocols: &h2c}, false},
		{&http.Transport{DialContext: noDial}, true},
		{&http.Transport{DialTLSContext: noDial}, true},
		{&http.Transport{DialContext: noDial, ForceAttemptHTTP2: true}, false},
		{&http.Transport{DialContext: noDial, Protocols: &h2}, false},
		{&http.Transport{DialContext: noDial, TLSNextProto: next}, false},
	} {
		assert.Equal(t, tt.http1, PoolOf(tt.Transport).http1, "row %d", i)
	}
	assert.False(t, PoolOf(nil).http1, "nobody knows")
}
