package build

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// How a field of http.Transport must come out of CloneTransport.
type carried int

const (
	equal  carried = iota + 1 // the value
	same                      // the same function, or nil as before
	copied                    // the value, in memory of its own
	trap                      // TLSNextProto and ForceAttemptHTTP2: see wantHTTP2
)

// transportFields names every exported field of http.Transport. A Go release
// that adds one fails TestEveryTransportFieldIsNamed until somebody has decided
// what a clone does with it.
var transportFields = map[string]carried{
	"Proxy": same, "OnProxyConnectResponse": same, "DialContext": same, "Dial": same, "DialTLSContext": same, "DialTLS": same,
	"GetProxyConnectHeader": same,
	"TLSClientConfig":       copied, "ProxyConnectHeader": copied, "HTTP2": copied, "Protocols": copied,
	"TLSHandshakeTimeout": equal, "DisableKeepAlives": equal, "DisableCompression": equal, "MaxIdleConns": equal,
	"MaxIdleConnsPerHost": equal, "MaxConnsPerHost": equal, "IdleConnTimeout": equal, "ResponseHeaderTimeout": equal,
	"ExpectContinueTimeout": equal, "MaxResponseHeaderBytes": equal, "WriteBufferSize": equal, "ReadBufferSize": equal,
	"TLSNextProto": trap, "ForceAttemptHTTP2": trap,
}

func TestEveryTransportFieldIsNamed(t *testing.T) {
	typ := reflect.TypeFor[http.Transport]()
	found := map[string]bool{}
	for i := range typ.NumField() {
		if f := typ.Field(i); f.IsExported() {
			found[f.Name] = true
			assert.Contains(t, transportFields, f.Name, "new in this Go: is it carried by CloneTransport, and how?")
		}
	}
	for name := range transportFields {
		assert.True(t, found[name], "http.Transport has no %s any more", name)
	}
}

// someTransport sets about half of the fields to something, by chance.
func someTransport(t *testing.T, chance *rand.Rand) *http.Transport {
	errNo := errors.New("no")
	functions := map[string]any{
		"Proxy":                  func(*http.Request) (*url.URL, error) { return nil, errNo },
		"OnProxyConnectResponse": func(context.Context, *url.URL, *http.Request, *http.Response) error { return errNo },
		"DialContext":            func(context.Context, string, string) (net.Conn, error) { return nil, errNo },
		"Dial":                   func(string, string) (net.Conn, error) { return nil, errNo },
		"DialTLSContext":         func(context.Context, string, string) (net.Conn, error) { return nil, errNo },
		"DialTLS":                func(string, string) (net.Conn, error) { return nil, errNo },
		"GetProxyConnectHeader":  func(context.Context, *url.URL, string) (http.Header, error) { return nil, errNo },
	}
	tr := &http.Transport{}
	v := reflect.ValueOf(tr).Elem()
	for i := range v.NumField() {
		field, name := v.Field(i), v.Type().Field(i).Name
		if !v.Type().Field(i).IsExported() || chance.IntN(2) == 0 {
			continue
		}
		switch {
		case functions[name] != nil:
			field.Set(reflect.ValueOf(functions[name]))
		case field.Kind() == reflect.Bool:
			field.SetBool(true)
		case field.CanInt():
			field.SetInt(1 + chance.Int64N(1<<20))
		case name == "TLSClientConfig":
			tr.TLSClientConfig = &tls.Config{ServerName: fmt.Sprint(chance.Uint32()), MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
		case name == "ProxyConnectHeader":
			tr.ProxyConnectHeader = http.Header{"X-Chance": {fmt.Sprint(chance.Uint32())}}
		case name == "Protocols":
			tr.Protocols = new(http.Protocols)
			tr.Protocols.SetHTTP1(chance.IntN(2) == 0)
			tr.Protocols.SetHTTP2(chance.IntN(2) == 0)
			tr.Protocols.SetUnencryptedHTTP2(chance.IntN(2) == 0)
		case name == "HTTP2":
			tr.HTTP2 = new(http.HTTP2Config)
			h := reflect.ValueOf(tr.HTTP2).Elem()
			for j := range h.NumField() {
				if f := h.Field(j); f.CanInt() {
					f.SetInt(1 + chance.Int64N(1<<14))
				}
			}
		case name == "TLSNextProto":
			tr.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
			for _, proto := range []string{"h2", "custom"} {
				if chance.IntN(2) == 0 {
					tr.TLSNextProto[proto] = upgrade
				}
			}
		default:
			t.Fatalf("teach this test to set %s, a %s", name, field.Type())
		}
	}
	return tr
}

// upgrade is somebody's, as x/net's is.
func upgrade(string, *tls.Conn) http.RoundTripper { return rtFunc(unsent) }

// assertCarried compares every field of a clone with its original, as it was
// when it was cloned.
func assertCarried(t *testing.T, original, clone *http.Transport) {
	t.Helper()
	was, is := reflect.ValueOf(original).Elem(), reflect.ValueOf(clone).Elem()
	for name, how := range transportFields {
		a, b := was.FieldByName(name), is.FieldByName(name)
		switch how {
		case equal:
			assert.Equal(t, a.Interface(), b.Interface(), name)
		case same:
			assert.Equal(t, a.Pointer(), b.Pointer(), name)
		case copied:
			if name == "HTTP2" && gotPings(t, original, clone) {
				continue
			}
			require.Equal(t, a.IsNil(), b.IsNil(), name)
			if a.IsNil() {
				continue
			}
			assert.NotEqual(t, a.Pointer(), b.Pointer(), "%s is shared with the original", name)
			if config, ok := a.Interface().(*tls.Config); ok {
				assert.Equal(t, config.ServerName, clone.TLSClientConfig.ServerName)
				assert.Equal(t, config.MinVersion, clone.TLSClientConfig.MinVersion)
				assert.Equal(t, config.NextProtos, clone.TLSClientConfig.NextProtos)
				continue
			}
			assert.Equal(t, a.Interface(), b.Interface(), name)
		}
	}
	// The traps, see CloneTransport: who has net/http's or x/net's
	// HTTP/2 gets one of its own, and whoever chose otherwise keeps the choice.
	switch _, has := original.TLSNextProto["h2"]; {
	case has:
		assert.Empty(t, clone.TLSNextProto, "the original's pools are behind its entries")
		assert.True(t, clone.ForceAttemptHTTP2)
	default:
		assert.Equal(t, original.ForceAttemptHTTP2, clone.ForceAttemptHTTP2)
		assert.Equal(t, original.TLSNextProto == nil, clone.TLSNextProto == nil)
		for proto, upgrade := range original.TLSNextProto {
			assert.Equal(t, reflect.ValueOf(upgrade).Pointer(), reflect.ValueOf(clone.TLSNextProto[proto]).Pointer(), proto)
		}
		assert.Len(t, clone.TLSNextProto, len(original.TLSNextProto))
	}
}

// gotPings reports whether the clone has pings in place of x/net's, and checks that it
// has the original's other settings.
func gotPings(t *testing.T, original, clone *http.Transport) bool {
	t.Helper()
	h2, has := original.TLSNextProto["h2"]
	somebodys := reflect.ValueOf(h2).Pointer() == reflect.ValueOf(upgrade).Pointer()
	if !has || pings(original) || !somebodys && !pings(clone) {
		return false
	}
	want := http.HTTP2Config{}
	if original.HTTP2 != nil {
		want = *original.HTTP2
	}
	want.SendPingTimeout, want.PingTimeout = PingAfter, PingTimeout
	assert.Equal(t, &want, clone.HTTP2)
	return true
}

// Whatever a transport was set to, its clone is set to, and so is the clone's
// clone.
func FuzzCloneTransport(f *testing.F) {
	for seed := range uint64(16) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		chance := rand.New(rand.NewPCG(seed, 0))
		tr := someTransport(t, chance)
		clone := CloneTransport(tr)
		assertCarried(t, tr, clone)
		again := CloneTransport(clone)
		assertCarried(t, clone, again)
		for _, tr := range []*http.Transport{tr, clone, again} { // and all three can be used
			//lint:ignore SA1019 some still set them
			tr.Dial, tr.DialTLS, tr.DialTLSContext, tr.Proxy = nil, nil, nil, nil
			tr.DialContext = func(context.Context, string, string) (net.Conn, error) { return nil, refused() }
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://a.test/", nil)
			require.NoError(t, err)
			_, err = tr.RoundTrip(req)
			assert.Error(t, err)
			cancel()
		}
	})
}
