package test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
	"github.com/respawnhttp/respawn/internal/testnet"
)

const secret = "hunter2.Secret"

// spellings are the forms in which a secret could get out unnoticed: base64
// hides it in three ways, by what stands before it.
func spellings() []string {
	all := []string{secret, hex.EncodeToString([]byte(secret)), url.QueryEscape(secret), fmt.Sprintf("%q", []byte(secret))}
	for _, before := range []string{"", "x", "xx"} {
		s := base64.RawStdEncoding.EncodeToString([]byte(before + secret))
		all = append(all, s[3:len(s)-2]) // without what its neighbors have a part in
	}
	// As the arguments of a frame in a stack trace, of which it has ten.
	all = append(all, strings.ReplaceAll(strings.TrimSpace(fmt.Sprintf("% #x", secret[:5])), " ", ", "))
	for i, s := range all {
		all[i] = strings.ToLower(s)
	}
	return all
}

// outputs collects all that a client tells anybody but its callers.
type outputs struct {
	*testkit.Probe
	logs bytes.Buffer
}

func newOutputs(t *testing.T) *outputs { return &outputs{Probe: testkit.NewProbe(t)} }

func (o *outputs) options() []respawn.Option {
	verbose := &slog.HandlerOptions{Level: slog.LevelDebug, AddSource: true}
	return append(observed(o.Probe), respawn.WithLogger(slog.New(slog.NewJSONHandler(&o.logs, verbose))))
}

// texts returns them by name: what an exporter would send, whole.
func (o *outputs) texts(t *testing.T, rt *respawn.RecoveringRoundTripper) map[string]string {
	t.Helper()
	encode := func(v any) string {
		b, err := json.Marshal(v)
		require.NoError(t, err)
		return string(b)
	}
	synctest.Wait()
	metrics, health := o.Metrics(), rt.Health()
	texts := map[string]string{
		"spans":   encode(tracetest.SpanStubsFromReadOnlySpans(o.Spans())),
		"metrics": encode(metrics) + fmt.Sprintf("%+v", metrics),
		"logs":    o.logs.String(),
		"health":  encode(health) + fmt.Sprintf("%+v %+v", health, health.LastFailure),
		"records": encode(rt.Recreations()),
		"check":   fmt.Sprint(rt.Check(context.Background())),
	}
	w := probeHealth(t, http.MethodGet, rt)
	texts["health page"] = fmt.Sprint(w.Header(), w.Body)
	return texts
}

// The search finds what is there: a secret in a client's name is in all
// outputs, for there it was put to be seen.
func TestSecretsWouldBeFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutputs(t)
		rt := start(t, testkit.Dead(testkit.Refused()), append(o.options(), respawn.WithName("client "+secret), respawn.WithFactory(fails), every(time.Hour),
			respawn.WithReplay(respawn.ReplayNever))...) // so that time passes from the first failure to the trip
		for range 4 {
			_, err := get(t.Context(), rt, "http://a.test/")
			require.Error(t, err)
			time.Sleep(time.Second)
		}
		for name, text := range o.texts(t, rt) {
			if name != "records" { // which have no name
				assert.Contains(t, text, secret, name)
			}
		}
	})
	found := spellings()
	for _, hidden := range []string{
		base64.StdEncoding.EncodeToString([]byte("user:" + secret)), base64.URLEncoding.EncodeToString([]byte(secret + "!")),
		fmt.Sprintf("%x", "a"+secret), stackWith([len(secret)]byte([]byte(secret))),
	} {
		assert.True(t, mentions(hidden, found), hidden)
	}
}

func mentions(text string, spellings []string) bool {
	text = strings.ToLower(text)
	for _, s := range spellings {
		if strings.Contains(text, s) {
			return true
		}
	}
	return false
}

// laden is a request with a secret in every place that one has, but for the
// host that it is sent to.
func laden(ctx context.Context, scheme string) *http.Request {
	member, _ := baggage.NewMember("token", secret)
	bag, _ := baggage.New(member)
	ctx = baggage.ContextWithBaggage(ctx, bag)
	req := request(ctx, http.MethodGet, scheme+"://a.test/", strings.NewReader(secret))
	req.URL = &url.URL{
		Scheme: scheme, Host: "a.test", User: url.UserPassword(secret, secret),
		Path: "/" + secret, RawPath: "/" + secret, RawQuery: "token=" + secret, Fragment: secret,
	}
	req.Host = secret + ".test"
	req.Header = http.Header{"Authorization": {secret}, "Cookie": {"s=" + secret}, "X-" + secret: {secret}, "Proxy-Authorization": {secret}}
	req.Trailer = http.Header{"X-Trailer": {secret}}
	req.ContentLength = -1 // for the trailer
	return req
}

// A leak is a way for a secret into an error that respawn sees.
type leak struct {
	name    string
	scheme  string // "" is http
	base    func(*testing.T) http.RoundTripper
	factory respawn.Factory // nil: it builds another base
	opts    []respawn.Option
	give    time.Duration // the caller's deadline, with a cause
	unnamed bool          // nothing is told of its host: the fault is the request's own, or the client trips
}

var errSecret = errors.New("the token is " + secret)

// secretError says it in every way an error can, but for ErrorType, with which
// an error names its own kind for the world to see.
type secretError struct{ token string }

func (e *secretError) Error() string    { return e.token }
func (e *secretError) String() string   { return e.token }
func (e *secretError) GoString() string { return e.token }
func (e *secretError) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, e.token)
}
func (e *secretError) MarshalText() ([]byte, error)        { return []byte(e.token), nil }
func (e *secretError) LogValue() slog.Value                { return slog.StringValue(e.token) }
func (e *secretError) Unwrap() error                       { return errSecret }
func (e *secretError) Timeout() bool                       { return false }
func (e *secretError) SpanContext() (sc trace.SpanContext) { return }

func failing(err error) func(*testing.T) http.RoundTripper {
	return func(*testing.T) http.RoundTripper { return testkit.Dead(err) }
}

// undialable is net/http's own transport with a dialer that fails.
func undialable(err error) func(*testing.T) http.RoundTripper {
	return func(*testing.T) http.RoundTripper {
		return &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return nil, err }}
	}
}

// proxied is net/http's own transport behind a proxy that asks for credentials.
func proxied(answer string, change func(*http.Transport)) func(*testing.T) http.RoundTripper {
	return func(t *testing.T) http.RoundTripper {
		tr := &http.Transport{
			Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: "proxy.test:3128", User: url.UserPassword("user", secret)}),
			DialContext: answering(t, "proxy.test:3128", func(proxy net.Conn) {
				_, _ = proxy.Read(make([]byte, 4096))
				_, _ = io.WriteString(proxy, answer)
			}),
		}
		if change != nil {
			change(tr)
		}
		return tr
	}
}

// certified is net/http's own transport to a server whose certificate is full
// of secrets, and wrong.
func certified(t *testing.T) http.RoundTripper {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	name := pkix.Name{CommonName: secret, Organization: []string{secret}}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: name, DNSNames: []string{secret + ".test"},
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	root, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(root) // known, so that the name is what is wrong
	server := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	return &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots},
		DialContext:     answering(t, "a.test:443", func(upstream net.Conn) { _ = tls.Server(upstream, server).Handshake() }),
	}
}

// answering is a dialer that has one host for all addresses, which does that with
// each connection and closes it.
func answering(t *testing.T, addr string, what func(net.Conn)) func(context.Context, string, string) (net.Conn, error) {
	n := testnet.New(t)
	host := n.Listen(addr)
	go func() {
		for {
			conn, err := host.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				what(conn)
			}()
		}
	}()
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		return n.DialContext(ctx, network, addr)
	}
}

func refuses(err error) respawn.Factory {
	return func(context.Context) (http.RoundTripper, error) { return nil, err }
}

var leaks = []leak{
	{name: "dialer", base: undialable(errSecret)},
	{name: "dialer's error of many faces", base: undialable(&secretError{secret})},
	{name: "dialer's address", base: undialable(&net.OpError{Op: "dial", Net: secret, Addr: &net.UnixAddr{Name: secret}, Err: &net.AddrError{Err: secret, Addr: secret}})},
	{name: "resolver", base: undialable(&net.DNSError{Err: secret, Name: secret, Server: secret, IsTemporary: true})},
	{name: "transport", base: failing(&url.Error{Op: secret, URL: "https://user:" + secret + "@a.test", Err: errReset})},
	{name: "joined", base: failing(errors.Join(errSecret, &secretError{secret}, io.EOF))},
	{name: "proxy that closes", base: proxied("", nil)},
	{name: "proxy that closes before CONNECT is answered", scheme: "https", base: proxied("", nil)},
	{name: "proxy that refuses", scheme: "https", base: proxied("HTTP/1.1 407 "+secret+"\r\nProxy-Authenticate: "+secret+"\r\n\r\n", nil)},
	{name: "proxy that answers nonsense", unnamed: true, base: proxied(secret+"\r\n\r\n", nil)},
	{name: "no proxy to be had", unnamed: true, base: proxied("", func(tr *http.Transport) {
		tr.Proxy = func(*http.Request) (*url.URL, error) { return nil, errSecret }
	})},
	{name: "proxy of a secret scheme", base: proxied("", func(tr *http.Transport) {
		tr.Proxy = http.ProxyURL(&url.URL{Scheme: secret, Host: secret, User: url.UserPassword(secret, secret)})
	})},
	{name: "proxy cannot be reached", scheme: "https", base: proxied("", func(tr *http.Transport) {
		tr.DialContext = func(context.Context, string, string) (net.Conn, error) { return nil, errSecret }
	})},
	{name: "GetProxyConnectHeader", scheme: "https", base: proxied("", func(tr *http.Transport) {
		tr.GetProxyConnectHeader = func(context.Context, *url.URL, string) (http.Header, error) { return nil, errSecret }
	})},
	{name: "ProxyConnectHeader", scheme: "https", base: proxied("", func(tr *http.Transport) {
		tr.ProxyConnectHeader = http.Header{"Proxy-Authorization": {secret}}
	})},
	{name: "OnProxyConnectResponse", scheme: "https", base: proxied("HTTP/1.1 200 OK\r\n\r\n", func(tr *http.Transport) {
		tr.OnProxyConnectResponse = func(context.Context, *url.URL, *http.Request, *http.Response) error { return errSecret }
	})},
	{name: "certificate", scheme: "https", base: certified},
	{name: "certificate's own verification", scheme: "https", base: func(t *testing.T) http.RoundTripper {
		tr := certified(t).(*http.Transport)
		tr.TLSClientConfig.InsecureSkipVerify = true
		tr.TLSClientConfig.VerifyConnection = func(tls.ConnectionState) error { return &secretError{secret} }
		return tr
	}},
	{name: "factory", base: failing(testkit.Refused()), factory: refuses(errSecret)},
	{name: "factory's error of many faces", base: failing(testkit.Refused()), factory: refuses(&secretError{secret})},
	{name: "factory's URL", base: failing(testkit.Refused()), factory: refuses(&url.Error{Op: "Get", URL: "https://" + secret, Err: errSecret})},
	{name: "factory panics", base: failing(testkit.Refused()), factory: func(context.Context) (http.RoundTripper, error) { panic(secret) }},
	{name: "factory panics with an error", base: failing(testkit.Refused()), factory: func(context.Context) (http.RoundTripper, error) { panic(&secretError{secret}) }},
	{name: "factory panics with the key in its hands", base: failing(testkit.Refused()), factory: func(context.Context) (http.RoundTripper, error) {
		sign([len(secret)]byte([]byte(secret)), new(int))
		return nil, nil
	}},
	{name: "factory hangs", base: failing(testkit.Refused()), factory: hangs},
	{name: "transport has ended", unnamed: true, base: func(*testing.T) http.RoundTripper {
		s := &testkit.SessionStub{}
		s.End(&secretError{secret})
		return s
	}, factory: refuses(&secretError{secret})},
	{name: "cause of a deadline", give: time.Second, base: func(*testing.T) http.RoundTripper { return &testkit.Stub{Delay: time.Hour} },
		opts: []respawn.Option{respawn.WithStallThreshold(1, 0)}},
	{name: "proxy at the deadline", give: time.Second, base: proxied("", func(tr *http.Transport) {
		tr.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) { <-ctx.Done(); return nil, context.Cause(ctx) }
	}), opts: []respawn.Option{respawn.WithStallThreshold(1, 0)}},
	{name: "fallback", base: failing(testkit.Refused()), factory: refuses(errSecret), opts: []respawn.Option{respawn.WithFallback(testkit.Dead(errSecret))}},
}

// sign panics, as what it is called with stands in its frame.
//
//go:noinline
func sign(key [len(secret)]byte, at *int) {
	*at = int(key[0])
	panic(fmt.Sprintf("%s is no key", key[:]))
}

// stackWith is a stack trace as the runtime writes it.
//
//go:noinline
func stackWith(key [len(secret)]byte) string {
	return string(debug.Stack()) + string(key[:0])
}

// Nothing secret of a request, a transport, a certificate, a proxy, an error
// or a panic reaches a span, a metric, a log, or a health answer.
func TestNoSecretGetsOut(t *testing.T) {
	hidden := spellings()
	for _, l := range leaks {
		t.Run(l.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOutputs(t)
				factory := l.factory
				if factory == nil {
					factory = func(context.Context) (http.RoundTripper, error) { return l.base(t), nil }
				}
				scheme := l.scheme
				if scheme == "" {
					scheme = "http"
				}
				opts := append(o.options(), respawn.WithName("shown"), respawn.WithFactory(factory), every(time.Hour))
				rt := start(t, l.base(t), append(opts, l.opts...)...)
				tracer := o.TracerProvider().Tracer("caller")
				for range 5 {
					ctx, span := tracer.Start(t.Context(), "call", trace.WithSpanKind(trace.SpanKindClient))
					ctx, cancel := context.WithCancelCause(ctx)
					stop := func() bool { return true }
					if l.give > 0 {
						var done context.CancelFunc
						ctx, done = context.WithTimeoutCause(ctx, l.give, errSecret)
						stop = func() bool { done(); return true }
					}
					_, err := testkit.Do(rt, laden(ctx, scheme))
					require.Error(t, err)
					stop()
					cancel(errSecret)
					span.End()
				}
				ctx, cancel := context.WithCancelCause(t.Context())
				time.AfterFunc(time.Minute, func() { cancel(errSecret) })
				_ = rt.Recreate(ctx)
				time.Sleep(10 * time.Second) // the sweeps

				texts := o.texts(t, rt)
				for name, text := range texts {
					if i := strings.Index(strings.ToLower(text), "hunter"); i >= 0 || mentions(text, hidden) {
						assert.Fail(t, "a secret got out", "%s: %s", name, text)
					}
				}
				// What is meant to be told was told, or the search is in vain.
				require.Contains(t, texts["health"], "shown")
				require.Contains(t, texts["spans"], "HTTP transport_recreation")
				require.Contains(t, texts["metrics"], "respawn.transport.recreations")
				if !l.unnamed {
					require.Contains(t, texts["spans"], "a.test")
					require.Contains(t, texts["logs"], "a.test")
				}
			})
		})
	}
}
